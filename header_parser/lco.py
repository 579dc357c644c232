"""Las Cumbres Observatory, frames reduced by BANZAI (``*-e91.fits.fz``).

Science image in extension SCI, bad-pixel map in extension BPM.  DATE-OBS and MJD-OBS are UTC at the
start of the exposure; MJD-OBS lacks a correction for the camera's latency and is 1 to 2 s before
DATE-OBS, but it is what other users of these frames quote.  RA and DEC are sexagesimal
strings; LONGITUD is East positive.
WCSERR is 0 where BANZAI solved the astrometry; otherwise the WCS is the nominal pointing.
The reduced image is in electrons when GAIN is 1, and RDNOISE, SATURATE and MAXLIN follow the same unit.
"""

from __future__ import annotations

from typing import Any

from astropy.coordinates import Angle


def parse_header(header: Any) -> dict[str, Any]:
    """The header of one reduced frame."""
    wcs_error = header.get("WCSERR")
    return {
        "exptime": header.get("EXPTIME"),
        "gain": header.get("GAIN"),
        "mjd": header.get("MJD-OBS"),
        "time_reference": "start",
        "filter": header.get("FILTER"),
        "read_noise": header.get("RDNOISE"),
        "saturation": _linear_limit(header),
        "object": header.get("OBJECT"),
        "telescope": f"{header.get('SITEID', '')} {header.get('TELESCOP', '')}".strip(),
        "instrument": header.get("INSTRUME"),
        "airmass": _number(header.get("AIRMASS")),
        "ra": _degrees(header.get("RA"), "hourangle"),
        "dec": _degrees(header.get("DEC"), "deg"),
        "pixel_scale": _number(header.get("PIXSCALE")),
        "latitude": header.get("LATITUDE"),
        "longitude": header.get("LONGITUD"),
        "elevation": header.get("HEIGHT"),
        "wcs_ok": None if wcs_error is None else wcs_error == 0,
    }


def _linear_limit(header: Any) -> float | None:
    """The lower of saturation and end of linearity: above it fluxes cannot be trusted."""
    limits = [_number(header.get(key)) for key in ("SATURATE", "MAXLIN")]
    known = [limit for limit in limits if limit]
    return min(known) if known else None


def _number(value: Any) -> float | None:
    """LCO writes 'N/A', 'UNKNOWN' and the like for unknown numbers."""
    return float(value) if isinstance(value, int | float) else None


def _degrees(value: Any, unit: str) -> float | None:
    try:
        return float(Angle(value, unit=unit).deg)
    except (ValueError, TypeError):
        return None
