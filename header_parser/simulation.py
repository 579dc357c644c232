"""Frames written by lightwatch's own simulator: every keyword is there and true."""

from __future__ import annotations

from typing import Any


def parse_header(header: Any) -> dict[str, Any]:
    """The header of a simulated frame; its MJD-OBS is the time for which the truth was drawn."""
    return {
        "exptime": header.get("EXPTIME"),
        "gain": header.get("GAIN"),
        "mjd": header.get("MJD-OBS"),
        "time_reference": "start",
        "filter": header.get("FILTER"),
        "read_noise": header.get("RDNOISE"),
        "saturation": header.get("SATURATE"),
        "object": header.get("OBJECT"),
    }
