"""Which band a filter is, by the name that a camera gives it."""

from __future__ import annotations

import re

#: filter names as cameras write them, and the band of the zero point that is closest
_BANDS = (
    (r"(sdss|sloan)?[ _-]?g[p'′]?([ _-]?(sdss|sloan|gunn).*)?", "g_sdss"),
    (r"(sdss|sloan)?[ _-]?r[p'′]?([ _-]?(sdss|sloan|gunn|decam).*)?", "r_sdss"),
    (r"(sdss|sloan)?[ _-]?i[p'′]?([ _-]?(sdss|sloan|gunn|decam).*)?", "i_sdss"),
    (r"(sdss|sloan)?[ _-]?z[ps'′]?([ _-]?(sdss|sloan|gunn|decam).*)?", "z_sdss"),
    (r"(clear|open|none|l|lum|luminance|g ?band|white|unfiltered)", "G"),
)
_BANDS_BY_CASE = (
    (r"(?i:bessell?|johnson|bes)?[ _-]?B([ _#/-].*)?", "B"),
    (r"(?i:bessell?|johnson|bes)?[ _-]?V([ _#/-].*)?", "V"),
    (r"(?i:bessell?|cousins|johnson|bes)?[ _-]?Rc?([ _#/-].*)?", "R"),
    (r"(?i:bessell?|cousins|johnson|bes)?[ _-]?Ic?([ _#/-].*)?", "Ic"),
)


def band_of(name: str) -> str | None:
    """Band of the zero point for a filter's name; None when it is not one of the known ones."""
    text = name.strip()
    for patterns, flags in ((_BANDS_BY_CASE, re.RegexFlag(0)), (_BANDS, re.IGNORECASE)):
        for pattern, band in patterns:
            if re.fullmatch(pattern, text, flags):
                return band
    return None
