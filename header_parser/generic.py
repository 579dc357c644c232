"""Common keywords, tried in turn; what is not found stays unknown.

The time is the start of the exposure unless a keyword says that it is the middle.  Times of day without
a date, local times and anything ambiguous (the sign of LONGITUD, GAIN of CMOS cameras) are refused or left
out rather than guessed.
"""

from __future__ import annotations

from typing import Any

from astropy.coordinates import Angle
from astropy.time import Time

EXPOSURE = ("EXPTIME", "EXPOSURE", "EXP_TIME", "ITIME", "TEXPTIME")
GAIN = ("EGAIN", "CCDGAIN", "ESO DET OUT1 CONAD", "GAIN", "GAIN1")
LARGEST_GAIN = 30.0  # electron/ADU; CMOS cameras write a setting such as 100 into GAIN
FILTER = ("FILTER", "FILTNAM", "FILTER1", "FILTER2", "INSFILTE", "ESO INS FILT1 NAME")
READ_NOISE = ("RDNOISE", "READNOIS", "RON", "READNOISE", "ENOISE", "ESO DET OUT1 RON")
SATURATION = ("SATURATE", "SATLEVEL", "SATUR", "MAXLIN")
MIDDLE = ("MJD-MID", "MJDMID", "MJD-AVG")
START = ("MJD-OBS", "MJD_OBS", "MJD-BEG", "MJDSTART", "MJD")
MIDDLE_DATES = ("DATE-AVG", "DATE-MID")
START_DATES = ("DATE-OBS", "DATE-BEG", "DATE_OBS", "OBSTART")
TIMES_OF_DAY = ("TIME-OBS", "UT-OBS", "UTC-OBS", "UT", "UTSTART", "TIME-BEG")


def parse_header(header: Any) -> dict[str, Any]:
    """Whatever the header of an unknown instrument tells."""
    mjd, reference = time_of(header)
    return {
        "exptime": first(header, *EXPOSURE),
        "gain": gain_of(header),
        "mjd": mjd,
        "time_reference": reference,
        "filter": first(header, *FILTER),
        "read_noise": first_number(header, *READ_NOISE),
        "saturation": first_number(header, *SATURATION),
        "object": first(header, "OBJECT", "TARGNAME"),
        "telescope": first(header, "TELESCOP"),
        "instrument": first(header, "INSTRUME", "CAMERA", "DETECTOR"),
        "airmass": first_number(header, "AIRMASS", "AMSTART", "SECZ"),
        "ra": degrees(first(header, "RA", "OBJCTRA", "TELRA"), hours=True),
        "dec": degrees(first(header, "DEC", "OBJCTDEC", "TELDEC"), hours=False),
        "pixel_scale": first_number(header, "PIXSCALE", "SECPIX", "PIXSCAL1", "SCALE"),
        "latitude": first_number(header, "LATITUDE", "SITELAT", "OBSGEO-B", "LAT-OBS"),
        "longitude": first_number(header, "OBSGEO-L"),
        "elevation": first_number(header, "OBSGEO-H", "ALT-OBS", "HEIGHT", "SITEELEV"),
    }


def first(header: Any, *keys: str) -> Any:
    """The value of the first keyword that is there and not blank."""
    values = (header.get(key) for key in keys)
    return next((value for value in values if value is not None and str(value).strip()), None)


def first_number(header: Any, *keys: str) -> float | None:
    """As ``first``, for values that are only of use as a positive or negative number."""
    values = (header.get(key) for key in keys)
    return next(
        (float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)),
        None,
    )


def gain_of(header: Any) -> Any:
    """Electrons per ADU; what can only be a camera's setting is returned as text, which is refused."""
    gain = first(header, *GAIN)
    if isinstance(gain, int | float) and gain > LARGEST_GAIN:
        return f"{gain} (a setting of the camera?)"
    return gain


def time_of(header: Any) -> tuple[float | None, str]:
    """MJD (UTC) and whether it is the start or the middle of the exposure."""
    if (mid := first_number(header, *MIDDLE)) is not None:
        return mid, "mid"
    if (date := first(header, *MIDDLE_DATES)) is not None:
        return mjd_of(header, str(date)), "mid"
    date = first(header, *START_DATES)
    if date is not None and ("T" in str(date) or first(header, *TIMES_OF_DAY) is not None):
        return mjd_of(header, str(date)), "start"
    if (start := first_number(header, *START)) is not None:
        return start, "start"
    julian_day = first_number(header, "JD", "JD-OBS", "JD_UTC")
    return (julian_day - 2400000.5 if julian_day is not None else None), "start"


def mjd_of(header: Any, date: str) -> float:
    """MJD of an ISO date, with the time of day from another keyword where the date has none."""
    scale = str(header.get("TIMESYS", "UTC")).strip().lower() or "utc"
    text = date.strip().removesuffix("Z")
    if "T" not in text:
        text = f"{text}T{str(first(header, *TIMES_OF_DAY)).strip()}"
    return float(Time(text, format="isot", scale=scale).utc.mjd)


def degrees(value: Any, *, hours: bool) -> float | None:
    """Degrees from a number, or from a sexagesimal string (right ascension in hours)."""
    if value is None or isinstance(value, int | float):
        return value
    try:
        return float(Angle(value, unit="hourangle" if hours and not is_number(value) else "deg").deg)
    except ValueError:
        return None


def is_number(text: str) -> bool:
    """Whether a string is a plain decimal number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
