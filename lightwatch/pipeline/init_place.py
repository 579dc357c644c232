"""Where the telescope stands, where it points, and its pixel scale, as headers tell."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightwatch.pipeline.init_keywords import (
    Guess,
    Headers,
    asked,
    comment,
    covering,
    is_number,
    quoted,
    told,
)
from lightwatch.processes.ephemeris import frame_ephemeris
from lightwatch.structure.header_tools import degrees, number, sky_position

_LATITUDE = (
    "LATITUDE", "SITELAT", "LAT-OBS", "OBS-LAT", "OBSLAT", "GEOLAT", "OBSGEO-B", "ESO TEL GEOLAT", "LAT_OBS", "TELLAT",
    "OBS_LAT", "SITE-LAT", "LATITUD", "SITELATI", "LAT",
)  # fmt: skip
_LONGITUDE = (
    "LONGITUD", "SITELONG", "LONG-OBS", "OBS-LONG", "OBSLON", "OBSLONG", "GEOLON", "OBSGEO-L", "ESO TEL GEOLON",
    "LON_OBS", "LONG_OBS", "TELLONG", "OBS_LONG", "SITE-LON", "SITELON", "LON-OBS", "LONGITUDE", "LONG", "LON",
)  # fmt: skip
_ELEVATION = (
    "HEIGHT", "SITEELEV", "ALT-OBS", "OBS-ELEV", "OBSALT", "GEOELEV", "OBSGEO-H", "ESO TEL GEOELEV", "ALT_OBS",
    "ELEVATIO", "OBS_ELEV", "OBSELEV", "SITEALT", "HEIGHT_M",
)  # fmt: skip
_PIXEL_SCALE = (
    "PIXSCALE", "SECPIX", "PIXSCAL1", "SCALE", "IM_SCALE", "SECPIX1", "CCDSCALE", "PSCALE", "PIXELSCA", "SCALE1",
    "ESO INS PIXSCALE", "PLTSCALE", "PIXSCAL",
)  # fmt: skip
_SCALE_RANGE_ARCSEC = (0.01, 100.0)
_POSITIONS = (
    ("RA", "DEC"), ("OBJCTRA", "OBJCTDEC"), ("TELRA", "TELDEC"), ("OBSRA", "OBSDEC"), ("CAT-RA", "CAT-DEC"),
    ("RA_TARG", "DEC_TARG"), ("RA_OBJ", "DEC_OBJ"), ("TARGRA", "TARGDEC"), ("RA_D", "DEC_D"), ("RADEG", "DECDEG"),
    ("CRVAL1", "CRVAL2"),
)  # fmt: skip
_WEST = re.compile(
    r"west positive|positive west|\+\s*west|deg(rees)? ?w|\[?\bwest\b|\+W\b|-E\b", re.IGNORECASE
)
_EAST = re.compile(
    r"east positive|positive east|\+\s*east|deg(rees)? ?e\b|\beast\b|\+E\b|-W\b", re.IGNORECASE
)
_HOURS = re.compile(r"\bhours?\b|\bhrs?\b|\[h\]", re.IGNORECASE)
_DAYLIGHT_SUN_DEG = -4.0
_EPOCHS = 12


# ---------------------------------------------------------------- site
def site(headers: Headers, mjds: Sequence[float]) -> tuple[dict[str, Guess], tuple[str, ...]]:
    """Latitude, longitude (east positive) and elevation, and doubts.

    The sign of a longitude follows from its comment, else from the Sun: frames are taken at night.
    """

    def angle(header: Any, key: str) -> bool:
        return _angle(header.get(key)) is not None

    latitudes, longitudes = covering(headers, _LATITUDE, angle), covering(headers, _LONGITUDE, angle)
    if not latitudes or not longitudes:
        return {}, ()
    latitude, longitude = _angle(headers[0].get(latitudes[0])), _angle(headers[0].get(longitudes[0]))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 360:
        return {}, ()
    if latitude == 0 and longitude == 0:
        return {}, (f"{latitudes[0]} and {longitudes[0]} are 0: the site is not set; see telescope",)
    heights = covering(headers, _ELEVATION, is_number)
    height = number(headers[0].get(heights[0])) if heights else None
    places = [
        (_angle(h.get(latitudes[0])), _angle(h.get(longitudes[0])), t)
        for h, t in zip(headers, mjds, strict=True)
    ]
    exposed = [
        (lat, lon, t) for lat, lon, t in places if lat is not None and lon is not None and math.isfinite(t)
    ]
    suns = {sign: _sun([(lat, sign * lon, t) for lat, lon, t in exposed]) for sign in (1, -1)}
    sign, why, doubts = _sign(comment(headers[0], longitudes[0]), suns, longitudes[0], longitude)
    code = f"degrees({asked(longitudes)})"
    if sign < 0:
        code = f"-degrees(header[{quoted(longitudes[0])}])"
    guesses = {
        "latitude": Guess(f"degrees({asked(latitudes)})", latitude, told(headers[0], latitudes[0])),
        "longitude": Guess(code, sign * longitude, f"{told(headers[0], longitudes[0])}: {why}"),
    }
    if heights and height is not None and -500 < height < 9000:
        guesses["elevation"] = Guess(f"number({asked(heights)})", height, told(headers[0], heights[0]))
    return guesses, doubts


def longitude_east(header: Any) -> float | None:
    """Longitude (degrees) where the header tells that it is counted to the east, or to the west."""
    key = next((key for key in _LONGITUDE if _angle(header.get(key)) is not None), None)
    value = _angle(header.get(key)) if key else None
    if key is None or value is None:
        return None
    sign = 1 if key == "OBSGEO-L" else _said_sign(comment(header, key), value)
    return sign * value if sign else None


def _angle(value: Any) -> float | None:
    try:
        angle = degrees(value)
    except ValueError:
        return None
    return angle if angle is not None and math.isfinite(angle) else None


def _sun(exposed: Sequence[tuple[float, float, float]]) -> float:
    """Median altitude of the Sun of some (latitude, longitude, MJD), degrees; NaN when no time is known."""
    if not exposed:
        return math.nan
    chosen = [exposed[i] for i in np.unique(np.linspace(0, len(exposed) - 1, _EPOCHS).astype(int))]
    by_place: dict[tuple[float, float], list[float]] = {}
    for latitude, longitude, mjd in chosen:
        by_place.setdefault((latitude, (longitude + 180.0) % 360.0 - 180.0), []).append(mjd)
    altitudes = [
        frame_ephemeris(times, 0.0, 0.0, *place, 0.0).sun_altitude_deg for place, times in by_place.items()
    ]
    return float(np.median(np.concatenate(altitudes)))


_WORDS = {1: "east positive", -1: "west positive, turned over"}


def _sign(remark: str, suns: dict[int, float], key: str, value: float) -> tuple[int, str, tuple[str, ...]]:
    """+1 when the header counts longitudes to the east, -1 when to the west."""
    said = _said_sign(remark, value)
    unknown = math.isnan(suns[1])
    night = {sign: unknown or sun < _DAYLIGHT_SUN_DEG for sign, sun in suns.items()}
    usual = said or 1
    if night[usual] and (said or night[-usual]):
        return usual, _WORDS[usual] if said else "east positive is assumed; check it", ()
    if night[usual]:
        return usual, f"{_WORDS[usual]}: else the Sun would be up at {suns[-usual]:+.0f} degrees", ()
    if not said and night[-1] and value > 0:
        return -1, f"{_WORDS[-1]}: else the Sun would be up at {suns[1]:+.0f} degrees", ()
    doubt = (
        f"at the times of the frames the Sun is up ({suns[usual]:+.0f} degrees) at the site that {key} tells: "
        "local times, a wrong site, or a longitude with the other sign?"
    )
    return usual, f"{_WORDS[usual]} is assumed", (doubt,)


def _said_sign(remark: str, value: float) -> int:
    """What a comment tells; a negative number called west is one that counts to the east."""
    west, east = _WEST.search(remark), _EAST.search(remark)
    if west and not east and (value > 0 or "positive" in remark.lower()):
        return -1
    return 1 if east else 0


# ---------------------------------------------------------------- pointing
def pointing(headers: Headers) -> tuple[float, float] | None:
    """Median right ascension and declination (degrees) that the headers give."""
    positions = [position for header in headers if (position := position_of(header)) is not None]
    if not positions:
        return None
    ra0 = positions[0][0]  # around the first, so that 359 and 1 degree are neighbours
    ra = ra0 + statistics.median((p[0] - ra0 + 180.0) % 360.0 - 180.0 for p in positions)
    return round(ra % 360.0, 5), round(statistics.median(p[1] for p in positions), 5)


def position_of(header: Any) -> tuple[float, float] | None:
    """Where one header says that the telescope points."""
    keys = position_keys(header)
    return _position(header, *keys) if keys else None


def position_keys(header: Any) -> tuple[str, str] | None:
    """The keywords of the pointing."""
    return next((pair for pair in _POSITIONS if _position(header, *pair) is not None), None)


def _position(header: Any, ra_key: str, dec_key: str) -> tuple[float, float] | None:
    try:
        hours = 15.0 if in_hours(header, ra_key) else 1.0
        return sky_position(
            hours * float(header[ra_key]) if hours > 1 else header.get(ra_key), header.get(dec_key)
        )
    except ValueError:
        return None


def in_hours(header: Any, key: str) -> bool:
    """Whether a right ascension is a number of hours, as its comment says."""
    return is_number(header, key) and float(header[key]) <= 24 and bool(_HOURS.search(comment(header, key)))


def separation_deg(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Angle between two positions."""
    ra1, dec1, ra2, dec2 = (math.radians(angle) for angle in (*one, *other))
    half = math.sin((dec2 - dec1) / 2) ** 2 + math.cos(dec1) * math.cos(dec2) * math.sin((ra2 - ra1) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


# ---------------------------------------------------------------- scale
def _degrees_per_pixel(headers: Headers) -> Guess | None:
    """CDELT1 and CDELT2, or the CD matrix, of headers that are no WCS for want of CTYPE."""
    low, high = (limit / 3600.0 for limit in _SCALE_RANGE_ARCSEC)
    header = headers[0]
    if header.get("CTYPE1"):
        return None
    for keys in (("CDELT1", "CDELT2"), ("CD1_1", "CD2_2"), ("CD1_2", "CD2_1")):
        steps = [abs(number(header.get(key)) or 0.0) for key in keys]
        if all(low < step < high for step in steps) and max(steps) < 1.05 * min(steps):
            scale = float(f"{3600.0 * statistics.mean(steps):.4g}")
            return Guess(None, scale, f"{told(header, keys[0])}, taken for degrees per pixel")
    return None


def nominal_scale(headers: Headers) -> Guess:
    """Arcsec per pixel that keywords give; ``value`` is a number, or (low, high) where binning is ambiguous."""

    def sound(header: Any, key: str) -> bool:
        low, high = _SCALE_RANGE_ARCSEC
        return is_number(header, key) and low < float(header[key]) < high

    keys = covering(headers, _PIXEL_SCALE, sound)
    if keys:
        return Guess(asked(keys), float(headers[0][keys[0]]), told(headers[0], keys[0]))
    steps = _degrees_per_pixel(headers)
    if steps is not None:
        return steps
    pixel_um, focal_mm = (number(headers[0].get(key)) for key in ("XPIXSZ", "FOCALLEN"))
    if not pixel_um or not focal_mm or pixel_um <= 0 or focal_mm <= 0:
        return Guess(None)
    scale = float(f"{206.265 * pixel_um / focal_mm:.4g}")
    if not _SCALE_RANGE_ARCSEC[0] < scale < _SCALE_RANGE_ARCSEC[1]:
        return Guess(None)
    why = f"XPIXSZ = {pixel_um:g} um and FOCALLEN = {focal_mm:g} mm"
    binning = number(headers[0].get("XBINNING")) or 1.0
    if binning > 1:
        interval = (float(f"{0.9 * scale:.3g}"), float(f"{1.1 * scale * binning:.3g}"))
        return Guess(None, interval, f"{why}; XPIXSZ may or may not include the binning of {binning:g}")
    return Guess(None, scale, why)
