"""MicroObservatory (Whipple Observatory, Amado, Arizona), telescopes Ben, Cecilia, Donald and Ed.

Traps of these headers:
- DATE-OBS is local time with its offset ("-0700"); UT-OBS is universal time at the start of the
  exposure; MJD-OBS has three decimals only (86 s), so the time is taken from UT-OBS.
- LONGITUD 110.88 is West positive: -110.88 East.
- IM_SCALE says 5.21 arcsec/pixel; it is a nominal value (about 5.16 is measured), good as a first guess.
- There is no gain keyword.  GAIN below is an estimate from the photon transfer of stars: variance of the
  flux differences between consecutive frames against flux, for some 700 star sequences of 500 to 4000 ADU
  in the frames of one night (142 frames of 2017-12-20).  It gave 11 electron/ADU, good to about 20 %;
  brighter stars show extra scatter of about 0.3 %, as expected of scintillation and missing flat fields.
  It agrees with a full well of 45,000 electrons spread over 12 bits.  Uncertainties of fluxes scale with
  it, fluxes relative to other stars do not.
- Pixels are 12 bits: they saturate at 4095 ADU; 4000 leaves room for the onset.
- No read noise is given; it stays unknown and the noise comes from the measured background.
"""

from __future__ import annotations

from typing import Any

from astropy.time import Time

GAIN = 11.0  # electron/ADU, see above
SATURATION = 4000.0  # ADU


def parse_header(header: Any) -> dict[str, Any]:
    """The header of one raw frame."""
    longitude = header.get("LONGITUD")
    return {
        "exptime": header.get("EXPTIME"),
        "gain": GAIN,
        "mjd": universal_time(str(header["UT-OBS"])),
        "time_reference": "start",
        "filter": header.get("FILTER"),
        "saturation": SATURATION,
        "object": header.get("OBJECT"),
        "telescope": header.get("TELESCOP"),
        "instrument": header.get("INSTRUME"),
        "ra": header.get("RA"),
        "dec": header.get("DEC"),
        "pixel_scale": header.get("IM_SCALE"),
        "latitude": header.get("LATITUDE"),
        "longitude": -longitude if isinstance(longitude, int | float) else None,
    }


def universal_time(text: str) -> float:
    """MJD of a time such as ``2017-12-20T01:42:12.368-0000``; an offset other than zero is an error."""
    clock, offset = text.strip()[:-5], text.strip()[-5:]
    if offset not in ("-0000", "+0000"):
        raise ValueError(f"UT-OBS = {text} is not universal time")
    return float(Time(clock, format="isot", scale="utc").mjd)
