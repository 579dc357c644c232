"""OmegaCAM at the VLT Survey Telescope (ESO Paranal), raw or reduced frames, one CCD each.

MJD-OBS is UTC at the start.  Raw ESO headers keep gain and read noise per output amplifier in
HIERARCH keywords: CONAD is electron/ADU (GAIN there is ADU/electron).  Reduced frames that were divided
by the exposure time say so in BUNIT; they need a parser of their own.
"""

from __future__ import annotations

from typing import Any


def parse_header(header: Any) -> dict[str, Any]:
    """The header of one CCD."""
    return {
        "exptime": header.get("EXPTIME"),
        "gain": _first(header, "ESO DET OUT1 CONAD", "GAIN"),
        "mjd": header.get("MJD-OBS"),
        "time_reference": "start",
        "filter": _first(header, "ESO INS FILT1 NAME", "FILTER"),
        "read_noise": _first(header, "ESO DET OUT1 RON", "RDNOISE"),
        "saturation": header.get("SATURATE"),
        "object": _first(header, "ESO OBS TARG NAME", "OBJECT"),
        "telescope": "VST",
        "instrument": "OmegaCAM",
        "airmass": header.get("ESO TEL AIRM START"),
        "frame_type": header.get("ESO DPR TYPE"),
        "ra": header.get("RA"),
        "dec": header.get("DEC"),
        "pixel_scale": 0.213,
        "latitude": -24.6276,
        "longitude": -70.4050,
        "elevation": 2635.0,
    }


def _first(header: Any, *keys: str) -> Any:
    """The value of the first keyword that is there."""
    return next((header[key] for key in keys if key in header), None)
