"""Headers of many observatories: what ``init`` writes reads every one of them right, or says what is missing."""

from __future__ import annotations

import runpy
from datetime import datetime, timedelta
from itertools import pairwise
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwatch.errors import HeaderError
from lightwatch.pipeline.init_notes import propose
from lightwatch.pipeline.init_sample import spread
from lightwatch.pipeline.init_survey import survey
from lightwatch.pipeline.init_time import choose_time
from lightwatch.structure.filter_names import band_of
from lightwatch.structure.header_parsing import HeaderParser, load_header_parser, read_metadata
from lightwatch.structure.header_tools import sky_position

_TABLE = runpy.run_path(str(Path(__file__).with_name("header_dialects.py")))
DIALECTS, START_MJD, EXPOSED = (_TABLE[name] for name in ("DIALECTS", "START_MJD", "EXPOSED"))
IMAGE = np.random.default_rng(5).normal(500, 20, (64, 96)).astype(np.float32)


def frames(folder: Path, header: fits.Header, n: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        fits.writeto(folder / f"frame_{number}.fits", IMAGE, header)
    return folder


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_read_right(tmp_path, name):
    dialect = DIALECTS[name]
    header = dialect.header()
    found = survey(frames(tmp_path / "raw", header))
    assert found.instrument == dialect.instrument
    told = found.parser + "\n".join(propose(found, catalog=None).remarks)
    for words in dialect.says:
        assert words in " ".join(told.replace("#", " ").split())
    if dialect.instrument:
        parser = load_header_parser(tmp_path, dialect.instrument)
    else:
        parser = HeaderParser(tmp_path / "parse_header.py", "", found.parser.encode())
    settings = {"name": name, "time_reference": "start"}
    if isnan(dialect.gain):
        assert found.missing == ("gain",)
        with pytest.raises(HeaderError, match="gain=None"):
            read_metadata(parser, header, **settings, overrides={})
        metadata = read_metadata(parser, header, **settings, overrides={"gain": 1.0})
    else:
        assert found.missing == ()
        metadata = read_metadata(parser, header, **settings, overrides={})
        assert metadata.gain == pytest.approx(dialect.gain)
    assert metadata.exptime_s == pytest.approx(dialect.exptime)
    assert metadata.filter == dialect.filter
    assert abs(metadata.mjd_mid - dialect.mjd_mid) * 86400 < dialect.within_s
    for key, value in dialect.others.items():
        assert getattr(metadata, key) == pytest.approx(value, abs=1e-3), key


def test_there_are_enough_dialects():
    assert len(DIALECTS) >= 30


def test_two_dialects_in_one_directory_are_both_read(tmp_path):
    one, other = (DIALECTS[name].header() for name in ("ccdsoft_ut_apart", "nina_asi"))
    frames(tmp_path / "raw" / "a", one)
    found = survey(frames(tmp_path / "raw" / "b", other).parent)
    assert found.refused == ()
    assert {meta.gain for meta in found.metadata} == {2.5, 0.246}
    assert {meta.filter for meta in found.metadata} == {"V", "L"}
    for meta in found.metadata:
        assert meta.mjd_mid == pytest.approx(START_MJD + EXPOSED / 2 / 86400, abs=1e-7)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"HJD": 2460374.547}, "HJD: heliocentric, sidereal or local"),
        ({"DATE-OBS": "2024-03-05"}, "a date without a time"),
        ({"DATE-OBS": "2024-03-05T01:02:03", "MJD-OBS": 60375.04309, "UT-OBS": "2024-03-05T01:02:03"}, "a day"),
        ({"DATE-OBS": "2024-03-05T01:02:03.5", "MJD-OBS": 60374.043443}, "half the exposure"),
        ({"DATE-OBS": "2024-03-05T01:02:03.5", "MJD-OBS": 60374.0437905}, "may be its end"),
        ({"DATE-OBS": "2024-03-05T06:32:03.5", "UT-OBS": "2024-03-05T01:02:03.5Z"}, "(+5.5 h): one of them may be"),
        ({"DATE-OBS": "2024-03-05T01:02"}, "steps of 60 s"),
    ],
)  # fmt: skip
def test_doubts_about_the_time_are_told(cards, words):
    choice = choose_time([fits.Header(cards)] * 3, [60.0] * 3)
    assert words in " ".join(choice.doubts)


#: ways to write the moment a of an exposure that begins at b, and the step of what is written, s
WRITTEN = {
    "DATE-OBS": (lambda m: m.isoformat(timespec="milliseconds"), 0.0, 0.001),
    "DATE-BEG": (lambda m: m.isoformat(timespec="microseconds"), 0.0, 1e-6),
    "DATE-AVG": (lambda m: m.isoformat(timespec="milliseconds"), 0.5, 0.001),
    "UT-OBS": (lambda m: m.isoformat(timespec="milliseconds") + "Z", 0.0, 0.001),
    "MJD-OBS": (lambda m: round(days(m), 6), 0.0, 0.0864),
    "MJD-MID": (lambda m: round(days(m), 8), 0.5, 0.000864),
    "MJD": (lambda m: round(days(m), 3), 0.0, 86.4),
    "JD": (lambda m: round(days(m) + 2400000.5, 5), 0.0, 0.864),
}


def days(moment: datetime) -> float:
    return 40587 + (moment - datetime(1970, 1, 1)) / timedelta(days=1)


@given(
    st.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1)),
    st.floats(1.0, 900.0),
    st.sets(st.sampled_from(sorted(WRITTEN)), min_size=1),
)
@settings(max_examples=60, deadline=None)
def test_of_statements_that_agree_a_precise_one_is_chosen(begin, exposure, keys):
    begins = [
        begin + timedelta(seconds=n * (exposure + 7.3173)) for n in range(5)
    ]  # one alone may be a round number
    headers = [fits.Header() for _ in begins]
    for header, start in zip(headers, begins, strict=True):
        for key in keys:
            write, part, _ = WRITTEN[key]
            header[key] = write(start + timedelta(seconds=part * exposure))
    choice = choose_time(headers, [exposure] * 5)
    (source,) = choice.sources
    part = {"start": 0.0, "mid": 0.5}[source.reference]
    best = min(WRITTEN[key][2] for key in keys)
    for header, start in zip(headers, begins, strict=True):
        error_s = (source.mjd(header) - part * exposure / 86400 - days(start)) * 86400
        assert abs(error_s) <= max(best, 0.06)
    assert bool(choice.doubts) == (best > 1.5)


@given(
    st.datetimes(datetime(1995, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from([-10, -7, -5, -3.5, 1, 2, 5.5, 8, 9.5, 12]),
)
@settings(max_examples=30, deadline=None)
def test_a_local_time_without_a_zone_is_never_taken_where_universal_time_is_there(begin, zone):
    local = begin + timedelta(hours=zone)
    header = fits.Header({"DATE-OBS": local.isoformat(timespec="milliseconds"), "EXPTIME": 60.0})
    header["UT-OBS"] = begin.isoformat(timespec="milliseconds")
    header["MJD-OBS"] = round(days(begin), 3)
    choice = choose_time([header], [60.0])
    assert choice.sources[0].keyword == "UT-OBS"
    assert "local time" in " ".join(choice.doubts)


@pytest.mark.parametrize(("longitude", "sign"), [(-110.88, 1), (110.88, -1), (249.12, 1)])
def test_the_sun_tells_which_way_longitudes_count(tmp_path, longitude, sign):
    cards = {
        "DATE-OBS": "2017-12-20T07:00:00",
        "EXPTIME": 60.0,
        "GAIN": 1.0,
        "LATITUDE": 31.68,
        "LONGITUD": longitude,
    }
    found = survey(frames(tmp_path / "raw", fits.Header(cards)))
    assert found.metadata[0].longitude_deg == pytest.approx(sign * longitude)
    assert found.doubts == ()


def test_frames_taken_at_noon_raise_a_doubt(tmp_path):
    cards = {
        "DATE-OBS": "2017-12-20T20:00:00",
        "EXPTIME": 60.0,
        "GAIN": 1.0,
        "SITELAT": 31.68,
        "SITELONG": -110.88,
    }
    found = survey(frames(tmp_path / "raw", fits.Header(cards)))
    assert any("the Sun is up" in doubt for doubt in found.doubts)


@pytest.mark.parametrize(
    ("ra", "dec", "words"),
    [("x", "0", "'x' is no right ascension"), ("10", "2 apples", "is no declination"), ("400", "0", "no position"),
     ("nan", "0", "no right ascension"), ("02:04", "91", "no position")],
)  # fmt: skip
def test_what_is_no_position_is_told_in_one_line(ra, dec, words):
    with pytest.raises(ValueError, match=words) as caught:
        sky_position(ra, dec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "band"),
    [("rp", "r_sdss"), ("SDSS-R", "r_sdss"), ("r_SDSS", "r_sdss"), ("R", "R"), ("Rc", "R"), ("V", "V"), ("Ic", "Ic"),
     ("Bes V 550_80", "V"), ("Clear", "G"), ("i", "i_sdss"), ("Ha", None), ("up", None), ("g", "g_sdss"), ("B", "B")],
)  # fmt: skip
def test_bands_of_filters(name, band):
    assert band_of(name) == band


def test_the_sample_is_spread_over_folders_and_files():
    paths = [Path(f"night{n}") / f"f{k:04d}.fits" for n in range(5) for k in range(400)] + [
        Path("late") / "f.fits"
    ]
    chosen = spread(paths, 60)
    assert len(chosen) == 60
    assert {path.parent for path in chosen} == {path.parent for path in paths}
    steps = np.diff([paths.index(path) for path in chosen])
    assert steps.max() < 100
    assert spread(paths[:7], 60) == paths[:7]
    assert all(a != b for a, b in pairwise(chosen))
