"""What header parsers need again and again: times as MJD (UTC), angles in degrees, the filter in the beam.

For ``header_parser/parse_header.py`` of a workdir, and for the parsers that are shipped. Nothing is guessed here:
text that can be read in two ways raises ValueError, and the frame is put aside with that reason.
"""

from __future__ import annotations

import math
import re
import warnings
from datetime import date as calendar_date
from typing import Any

from astropy.coordinates import Angle
from astropy.time import Time
from astropy.utils.exceptions import AstropyWarning

#: time scales of FITS headers (TIMESYS) by the names astropy has for them; GPS is 19 s behind TAI
_SCALES = {
    "utc": "utc", "ut": "utc", "gmt": "utc", "z": "utc", "ut1": "ut1", "tai": "tai", "tt": "tt", "tdt": "tt",
    "et": "tt", "tdb": "tdb", "tcb": "tcb", "tcg": "tcg", "gps": "gps",
}  # fmt: skip
_GPS_BEHIND_TAI_DAYS = 19.0 / 86400.0
_DATE = re.compile(r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)|(\d{4})(\d\d)(\d\d)")
OLD_DATE = re.compile(r"(\d\d)/(\d\d)/(\d\d)")  # FITS before 1999: day, month, year
_FIRST_YEAR = 70  # of the 20th century: CCDs are not older, and some programs write two digits to this day
_CLOCK = re.compile(r"(\d{1,2})[: ](\d\d?)(?:[: ](\d\d?(?:\.\d*)?))?")
_ZONE = re.compile(r"\s*(?:(Z|UTC?|GMT)|([+-])(\d\d):?(\d\d)?)$", re.IGNORECASE)
_ZONE_NAME = re.compile(r"(?:UTC?|GMT)?\s*([+-])(\d\d?)(?::?(\d\d))?", re.IGNORECASE)
_FARTHEST_ZONE_HOURS = 14.0
_UNIX_EPOCH_MJD = 40587
_UNIX_EPOCH_ORDINAL = calendar_date(1970, 1, 1).toordinal()
#: what filter wheels call a hole
OPEN_WORDS = frozenset(
    (
        "",
        "open",
        "clear",
        "air",
        "none",
        "empty",
        "blank",
        "notpresent",
        "n/a",
        "na",
        "hole",
        "free",
        "out",
        "null",
    )
)


def utc_mjd(date: Any, clock: Any = None, *, scale: Any = "UTC") -> float:
    """MJD (UTC) of a date and time of day in one text, or in two.

    ``date`` such as ``2017-12-20T01:33:43.317``, with a zone if it has one (``Z``, ``-0700``, ``+01:00``), which
    then wins over ``scale``; also ``2017/12/20``, ``20171220`` and the old ``20/12/97`` (day, month, year; of years
    below 70 the century is this one). ``clock`` such as ``01:33:43.317``. ``scale`` is the header's TIMESYS: UTC, TAI,
    TT, TDB, GPS.
    """
    text = str(date).strip()
    if clock is not None:
        text = f"{re.split('[T ]', text)[0]}T{str(clock).strip()}"
    day_text, separator, time_text = text.partition("T" if "T" in text[:11] else " ")
    if not separator:
        raise ValueError(f"{text!r} has no time of day")
    zone = _ZONE.search(time_text)
    fraction = _day_fraction(time_text[: zone.start()] if zone else time_text)
    mjd = _day(day_text) + fraction
    if zone is None:
        return utc_of_days(mjd, scale=scale)
    minutes = int(zone[3] or 0) * 60 + int(zone[4] or 0)
    return mjd - (-minutes if zone[2] == "-" else minutes) / 1440.0


def _day(text: str) -> float:
    old = OLD_DATE.fullmatch(text.strip())
    match = _DATE.fullmatch(text.strip())
    if old:
        day, month, year = (int(part) for part in old.groups())
        year += 1900 if year >= _FIRST_YEAR else 2000
    elif match:
        year, month, day = (int(part) for part in match.groups() if part)
    else:
        raise ValueError(f"{text!r} is no date such as 2017-12-20")
    return float(calendar_date(year, month, day).toordinal() - _UNIX_EPOCH_ORDINAL + _UNIX_EPOCH_MJD)


def zone_hours(value: Any) -> float:
    """Hours that a zone is ahead of UTC: of a number as it stands, or of text such as ``UTC-7`` or ``+05:30``."""
    hours = number(value)
    if hours is None:
        text = str(value).strip()
        match = _ZONE_NAME.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is no time zone such as -7 or +05:30")
        hours = (int(match[2]) + int(match[3] or 0) / 60) * (-1 if match[1] == "-" else 1)
    if not abs(hours) <= _FARTHEST_ZONE_HOURS:
        raise ValueError(f"{value!r} is no time zone: expected hours")
    return hours


def _day_fraction(text: str) -> float:
    match = _CLOCK.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no time of day such as 01:33:43.3")
    hours, minutes, seconds = int(match[1]), int(match[2]), float(match[3] or 0)
    # 24:00:00 and a second of 60, rounded up or a leap second, are written by some cameras
    if hours > 24 or minutes > 59 or seconds >= 61 or (hours == 24 and (minutes or seconds)):
        raise ValueError(f"{text!r} is no time of day")
    return (hours * 3600 + minutes * 60 + seconds) / 86400.0


def utc_of_days(mjd: Any, *, scale: Any = "UTC") -> float:
    """MJD (UTC) of an MJD in another time scale."""
    words = str(scale).split() or ["UTC"]  # "UTC approximate"
    known = _SCALES.get(re.split(r"[^a-z0-9]", words[0].lower())[0])
    if known is None:
        raise ValueError(f"{scale!r} is no time scale: expected UTC, TAI, TT, TDB or GPS")
    value = float(mjd)
    if known in ("utc", "ut1"):  # less than a second apart
        return value
    if known == "gps":
        value, known = value + _GPS_BEHIND_TAI_DAYS, "tai"
    whole = value // 1
    return float(Time(whole, value - whole, format="mjd", scale=known).utc.mjd)


def degrees(value: Any, *, hours: bool = False) -> float | None:
    """Degrees of a number, or of sexagesimal text (right ascension: ``hours``); None when there is no value."""
    if value is None or isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    text = str(value).strip()
    if not re.search(r"\d", text):
        return None  # N/A, UNKNOWN
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # 24 hours, a second of 60: rounded up
            return float(Angle(text, unit="hourangle" if hours else "deg").deg)
    except ValueError:
        raise ValueError(f"{text!r} is no angle") from None


def sky_position(ra: Any, dec: Any) -> tuple[float, float]:
    """(ra, dec) in degrees, of numbers (degrees) or of sexagesimal text (hours and degrees).

    Raises
    ------
    ValueError
        When they are no position; the message is one line.
    """
    angles = []
    for value, hours, example in ((ra, True, "31.0427 or 02:04:10.2"), (dec, False, "46.6878 or +46:41:16")):
        try:
            angle = degrees(
                value.replace("\N{MINUS SIGN}", "-") if isinstance(value, str) else value, hours=hours
            )
        except ValueError:
            angle = None
        if angle is None or not math.isfinite(angle):
            word = "right ascension" if hours else "declination"
            raise ValueError(f"{str(value)!r} is no {word}: write {example}")
        angles.append(angle)
    if not (0.0 <= angles[0] < 360.0 and -90.0 <= angles[1] <= 90.0):
        raise ValueError(f"{ra} {dec} is no position: expected degrees, 0 <= ra < 360 and -90 <= dec <= 90")
    return angles[0], angles[1]


def number(value: Any) -> float | None:
    """A number, also where it is written as text; None for anything else (``N/A``, ``UNKNOWN``)."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def first_of(header: Any, *keys: str) -> Any:
    """The value of the first keyword that is there and not blank."""
    values = (header.get(key) for key in keys)
    return next((value for value in values if value is not None and str(value).strip()), None)


def filter_in_beam(*names: Any) -> str | None:
    """What the filter wheels name together: openings left out, several filters joined by ``+``.

    ``clear`` when all are open; None when none says anything.
    """
    said = [str(name).strip() for name in names if name is not None and str(name).strip()]
    filters = [name for name in said if re.split(r"[\s_#]", name.lower())[0] not in OPEN_WORDS]
    return "+".join(dict.fromkeys(filters)) if filters else ("clear" if said else None)
