"""What header parsers are made of: times are read right in every spelling, or refused; never a little wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwatch.structure.header_tools import degrees, filter_in_beam, first_of, number, utc_mjd, utc_of_days

START = datetime(1970, 1, 1)
MOMENTS = st.datetimes(datetime(1975, 1, 1), datetime(2035, 1, 1))
SECOND = 1 / 86400.0


def truth(moment: datetime) -> float:
    return 40587 + (moment - START) / timedelta(days=1)


@settings(deadline=None)
@given(MOMENTS, st.sampled_from(["T", " "]), st.sampled_from(["", "Z", "UTC", "+0000", "-00:00"]))
def test_text_and_moment_agree(moment, separator, zone):
    text = moment.isoformat(sep=separator, timespec="microseconds") + zone
    assert utc_mjd(text) == pytest.approx(truth(moment), abs=1e-10)


@settings(deadline=None)
@given(MOMENTS, st.integers(-14 * 4, 14 * 4), st.booleans())
def test_a_zone_is_taken_off_and_wins_over_the_time_scale(moment, quarters, colon):
    local = moment + timedelta(minutes=15 * quarters)
    sign, minutes = "-" if quarters < 0 else "+", abs(15 * quarters)
    zone = f"{sign}{minutes // 60:02d}{':' * colon}{minutes % 60:02d}"
    assert utc_mjd(local.isoformat() + zone, scale="TAI") == pytest.approx(truth(moment), abs=1e-9)


@settings(deadline=None)
@given(MOMENTS)
def test_date_and_clock_may_be_apart(moment):
    clock = f"{moment:%H:%M:%S}.{moment.microsecond:06d}"
    days = [f"{moment:%Y-%m-%d}", f"{moment:%Y/%m/%d}", f"{moment:%Y%m%d}", f"{moment:%Y-%m-%d}T00:00:00"]
    days += [f"{moment:%d/%m/%y}"] if moment.year < 2000 else []
    for day in days:
        for spelling in (clock, clock.replace(":", " ")):
            assert utc_mjd(day, spelling) == pytest.approx(truth(moment), abs=1e-10)


@settings(deadline=None)
@given(MOMENTS)
def test_scales_are_those_of_astropy(moment):
    text = moment.isoformat()
    for scale in ("TAI", "TT", "TDB"):
        expected = Time(text, scale=scale.lower()).utc.mjd
        assert utc_mjd(text, scale=scale) == pytest.approx(expected, abs=2e-10)
    # a day with a leap second is longer, and fractions of it a little smaller: 0.2 ms at most
    assert utc_mjd(text, scale="GPS") - utc_mjd(text, scale="TAI") == pytest.approx(19 * SECOND, abs=3e-9)
    assert utc_of_days(truth(moment), scale="UTC approximate") == truth(moment)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_other_text_is_a_value_error(text):
    try:
        value = utc_mjd(text)
    except ValueError:
        return
    assert 0 <= value + 678576 < 3_652_060  # the calendar from year 1 to 9999


@pytest.mark.parametrize(
    "text",
    ["2024-03-05", "2024-13-05T00:00:00", "2024-02-30T00:00:00", "2024-03-05T25:00:00", "2024-03-05T10:61:00",
     "05/03/24T10", "2024-03-05T10", "", "N/A", "60374.5", "2024-03-05T10:00:00 MST", "2024-03-05T24:00:01"],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        utc_mjd(text)


def test_odd_but_clear():
    day = truth(datetime(2024, 3, 5))
    assert utc_mjd("2024-03-05T24:00:00") == day + 1
    assert utc_mjd("2024-03-05T23:59:60.0") == pytest.approx(day + 1, abs=1e-10)
    assert utc_mjd("2024-03-05T9:05:07") == pytest.approx(day + (9 * 3600 + 5 * 60 + 7) * SECOND, abs=1e-10)
    assert utc_mjd("2024-03-05T09:05") == pytest.approx(day + (9 * 3600 + 5 * 60) * SECOND, abs=1e-10)
    assert utc_mjd(datetime(2024, 3, 5, tzinfo=UTC).isoformat()) == day
    with pytest.raises(ValueError, match="no time scale"):
        utc_mjd("2024-03-05T00:00:00", scale="LOCAL")


@settings(deadline=None)
@given(st.floats(-89.9, 89.9))
def test_angles_come_back_from_sexagesimal_text(angle):
    sign, rest = "-" if angle < 0 else "+", abs(angle)
    text = f"{sign}{int(rest):02d}:{int(rest * 60) % 60:02d}:{rest * 3600 % 60:09.6f}"
    if "60.000000" not in text:
        assert degrees(text) == pytest.approx(angle, abs=1e-8)
    assert degrees(str(angle)) == pytest.approx(angle)
    assert degrees(angle) == angle


def test_angles_of_other_kinds():
    assert degrees("02:00:00", hours=True) == pytest.approx(30)
    assert degrees("02h04m10.2s", hours=True) == pytest.approx(31.0425)
    assert degrees(31.0, hours=True) == 31.0  # numbers are degrees
    assert degrees("N/A") is None
    assert degrees(None) is None
    with pytest.raises(ValueError, match="no angle"):
        degrees("7 apples")


def test_numbers_and_first_keywords():
    assert [number(v) for v in (1, "2.5 ", "N/A", None, True)] == [1.0, 2.5, None, None, None]
    assert first_of({"A": " ", "B": None, "C": 0, "D": 1}, "A", "B", "C", "D") == 0
    assert first_of({}, "A") is None


@pytest.mark.parametrize(
    ("names", "beam"),
    [
        (("clear", "V"), "V"), (("Open", "r_SDSS", None), "r_SDSS"), (("B", "ND4"), "B+ND4"), (("V", "V"), "V"),
        (("Clear", "open"), "clear"), ((None, ""), None), (("Open_13", "Bes V 550_80"), "Bes V 550_80"),
        (("NOTPRESENT", "rp"), "rp"), ((3,), "3"),
    ],
)  # fmt: skip
def test_the_filter_in_the_beam(names, beam):
    assert filter_in_beam(*names) == beam
