"""Common keywords, tried in turn; what is not found stays unknown.

The time is the start of the exposure unless a keyword says that it is the middle.  Times of day without
a date, local times and anything ambiguous (the sign of LONGITUD, GAIN of CMOS cameras) are refused or left
out rather than guessed: ``lightwatch init --frames`` looks at many frames and writes a parser made for them.
"""

from __future__ import annotations

from typing import Any

from lightwatch.structure.header_tools import degrees, filter_in_beam, first_of, number, utc_mjd, utc_of_days

EXPOSURE = ("EXPTIME", "EXPOSURE", "EXP_TIME", "ITIME", "TEXPTIME")
GAIN = ("EGAIN", "CCDGAIN", "ESO DET OUT1 CONAD", "GAIN", "GAIN1")
LARGEST_GAIN = 30.0  # electron/ADU; CMOS cameras write a setting such as 100 into GAIN
FILTER = ("FILTER", "FILTNAM", "INSFILTE", "ESO INS FILT1 NAME")
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
    wheels = filter_in_beam(header.get("FILTER1"), header.get("FILTER2"))
    return {
        "exptime": first_of(header, *EXPOSURE),
        "gain": gain_of(header),
        "mjd": mjd,
        "time_reference": reference,
        "filter": first_of(header, *FILTER) or wheels,
        "read_noise": first_number(header, *READ_NOISE),
        "saturation": first_number(header, *SATURATION),
        "object": first_of(header, "OBJECT", "TARGNAME"),
        "telescope": first_of(header, "TELESCOP"),
        "instrument": first_of(header, "INSTRUME", "CAMERA", "DETECTOR"),
        "airmass": first_number(header, "AIRMASS", "AMSTART", "SECZ"),
        "ra": angle(first_of(header, "RA", "OBJCTRA", "TELRA"), hours=True),
        "dec": angle(first_of(header, "DEC", "OBJCTDEC", "TELDEC"), hours=False),
        "pixel_scale": first_number(header, "PIXSCALE", "SECPIX", "PIXSCAL1", "SCALE"),
        "latitude": first_number(header, "LATITUDE", "SITELAT", "OBSGEO-B", "LAT-OBS"),
        "longitude": first_number(header, "OBSGEO-L"),
        "elevation": first_number(header, "OBSGEO-H", "ALT-OBS", "HEIGHT", "SITEELEV"),
    }


def first_number(header: Any, *keys: str) -> float | None:
    """The first keyword that holds a number."""
    values = (number(header.get(key)) for key in keys)
    return next((value for value in values if value is not None), None)


def gain_of(header: Any) -> Any:
    """Electrons per ADU; what can only be a camera's setting is returned as text, which is refused."""
    gain = first_of(header, *GAIN)
    if isinstance(gain, int | float) and gain > LARGEST_GAIN:
        return f"{gain} (a setting of the camera?)"
    return gain


def time_of(header: Any) -> tuple[float | None, str]:
    """MJD (UTC) and whether it is the start or the middle of the exposure."""
    scale = header.get("TIMESYS", "UTC")
    if (mid := first_number(header, *MIDDLE)) is not None:
        return utc_of_days(mid, scale=scale), "mid"
    if (date := first_of(header, *MIDDLE_DATES)) is not None:
        return utc_mjd(date, scale=scale), "mid"
    date = first_of(header, *START_DATES)
    clock = first_of(header, *TIMES_OF_DAY)
    if date is not None and ("T" in str(date) or clock is not None):
        return utc_mjd(date, None if "T" in str(date) else clock, scale=scale), "start"
    if (start := first_number(header, *START)) is not None:
        return utc_of_days(start, scale=scale), "start"
    julian_day = first_number(header, "JD", "JD-OBS", "JD_UTC")
    return (utc_of_days(julian_day - 2400000.5, scale=scale) if julian_day is not None else None), "start"


def angle(value: Any, *, hours: bool) -> float | None:
    """Degrees; unknown where the text is none, a pointing is a help only."""
    try:
        return degrees(value, hours=hours)
    except ValueError:
        return None
