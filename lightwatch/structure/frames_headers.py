"""What a header says without the user's parser: kind of frame, and its WCS."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, WcsError
from astropy.wcs.utils import proj_plane_pixel_scales

from lightwatch.errors import FrameError
from lightwatch.structure.frames_guard import shown

_TYPE_KEYS = (
    "IMAGETYP",
    "OBSTYPE",
    "FRAMETYP",
    "FRAME",
    "IMGTYPE",
    "EXPTYPE",
    "PICTTYPE",
    "ESO DPR TYPE",
)
#: first match wins: a "dark flat" is a dark, a "flat focus" is a flat
_KIND_WORDS = (
    ("bias", r"bias|zero|offset"),
    ("dark", r"dark"),
    ("flat", r"flat|dome|twilight"),
    ("focus", r"focus|hartmann"),
    ("science", r"light|object|science|expose|sky|std|standard|target"),
)
_CALIBRATION = r"(?:master[-_ ]?)?(bias|zero|dark|(?:dome|sky|twilight)?[-_ ]?flat|focus)"
_OBJECT_NAME = re.compile(_CALIBRATION + r"(?:s|[-_ ]?frames?|[-_ ]?field)?[-_ ]*\d*", re.IGNORECASE)
_FILE_NAME = re.compile(_CALIBRATION + r"(?:s?[-_. \d])", re.IGNORECASE)
_WCS_CARD = re.compile(
    r"WCSNAME|CTYPE[12]|CRVAL[12]|CRPIX[12]|CDELT[12]|CROTA[12]|CUNIT[12]|CD[12]_[12]|PC[12]_[12]|"
    r"PV[12]_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|(?:A|B|AP|BP)_(?:ORDER|DMAX|\d+_\d+)"
)
_REMARKS = ("COMMENT", "HISTORY", "")
_MAX_REMARKS = (
    5000  # cards after which remarks are left out: headers of 100,000 cards exist, and no parser needs them
)
_SCALE_RANGE_ARCSEC = (1e-3, 3.6e3)  # no camera has pixels smaller or larger
_MAX_SIP_ORDER = 9


@dataclass(frozen=True)
class FrameKind:
    """What a frame is for, why we think so, and how sure we are (0 to 1)."""

    kind: str  # science, bias, dark, flat, focus
    reason: str
    confidence: float


def merged_header(headers: Sequence[fits.Header], *, name: str) -> tuple[fits.Header, tuple[str, ...]]:
    """One header out of several, later ones winning, without structural keywords.

    Cards that cannot be parsed are left out, with a note: a parser that needs one will miss it.
    """
    cards: dict[tuple[str, int], fits.Card] = {}
    notes = []
    for header in headers:
        for card in header.cards:
            keyword = card.keyword
            remark = keyword in _REMARKS
            if remark and len(cards) > _MAX_REMARKS:
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    sound = fits.Card(keyword, card.value, card.comment)
            except (ValueError, TypeError, fits.VerifyError):
                notes.append(f"{name}: header card {shown(keyword)} cannot be parsed and is left out")
                continue
            cards[keyword, len(cards) if remark else 0] = sound
    merged = fits.Header(cards.values())
    merged.strip()
    return merged, tuple(notes)


def classify_frame(header: fits.Header, *, file_name: str, declared: str | None) -> FrameKind:
    """Kind of a frame from IMAGETYP and its relatives, OBJECT and the file name.

    An exposure time of 0 alone makes no bias: a science frame with a broken header would go without a word.

    ``declared`` is what the header parser or the user's override says; it wins.
    """
    if declared:
        return FrameKind(_kind_of(declared) or "science", f"declared as {shown(declared)}", 1.0)
    by_type = _kind_by_type(header)
    by_object = _OBJECT_NAME.fullmatch(str(header.get("OBJECT", "")).strip())
    named = _kind_of(by_object.group(1)) if by_object else None
    if by_type and by_type.kind != "science":
        return by_type
    if named:
        doubt = f", although {by_type.reason}" if by_type else ""
        return FrameKind(named, f"OBJECT is {shown(str(header['OBJECT']))}{doubt}", 0.6 if by_type else 0.8)
    if by_type:
        return by_type
    by_file = _FILE_NAME.match(file_name)
    if by_file and "OBJECT" not in header:
        return FrameKind(
            _kind_of(by_file.group(1)) or "science", f"the file is named {shown(file_name)}", 0.6
        )
    return FrameKind("science", "nothing says otherwise", 0.5)


def _kind_of(text: str) -> str | None:
    return next((kind for kind, words in _KIND_WORDS if re.search(words, text, re.IGNORECASE)), None)


def _kind_by_type(header: fits.Header) -> FrameKind | None:
    for key in _TYPE_KEYS:
        value = header.get(key)
        kind = _kind_of(value) if isinstance(value, str) else None
        if kind:
            return FrameKind(kind, f"{key} is {shown(str(value))}", 0.95)
    return None


def header_wcs(header: fits.Header, *, name: str) -> str | None:
    """The celestial WCS cards of a header, verbatim (SIP, TPV kept), as text for ``Header.fromstring``.

    None when the header has no celestial WCS.  Raises FrameError(bad_wcs) when it has a broken one:
    the caller may treat the frame as one to be solved.
    """
    types = [header.get(f"CTYPE{axis}") for axis in (1, 2)]
    if not all(isinstance(kind, str) for kind in types) or not _celestial(*types):
        return None
    cards = fits.Header([card for card in header.cards if _WCS_CARD.fullmatch(card.keyword)])
    _check_numbers(cards, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wcs = WCS(cards, relax=True)
            scales = proj_plane_pixel_scales(wcs) * 3600.0
            x, y = wcs.wcs.crpix - 1.0
            there = wcs.all_pix2world([[x, y], [x + 10.0, y + 10.0]], 0)
    except (WcsError, ValueError, KeyError, TypeError, MemoryError, np.linalg.LinAlgError) as error:
        raise _broken(name, str(error).strip().split("\n")[0]) from error
    low, high = _SCALE_RANGE_ARCSEC
    if not (np.all(np.isfinite(there)) and np.all((scales > low) & (scales < high))):
        raise _broken(name, f"pixel scales of {scales[0]:.3g} and {scales[1]:.3g} arcsec")
    return str(cards.tostring(sep="", endcard=False, padding=False))


def _celestial(first: str, second: str) -> bool:
    kinds = {kind.strip().upper()[:5].rstrip("-") for kind in (first, second)}
    return kinds in ({"RA", "DEC"}, {"GLON", "GLAT"}, {"ELON", "ELAT"})


def _check_numbers(cards: fits.Header, name: str) -> None:
    for card in cards.cards:
        if card.keyword.startswith(("CRVAL", "CRPIX", "CD", "PC", "PV", "CROTA", "A_", "B_", "AP_", "BP_")):
            value = card.value
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise _broken(name, f"{card.keyword} = {value} is not a number")
        if card.keyword.endswith("_ORDER") and not 0 <= card.value <= _MAX_SIP_ORDER:
            raise _broken(name, f"{card.keyword} = {card.value}, at most {_MAX_SIP_ORDER} exists")
    latitude = next(
        i for i in (1, 2) if cards[f"CTYPE{i}"].upper().lstrip().startswith(("DEC", "GLAT", "ELAT"))
    )
    if not {"CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"} <= set(cards):
        raise _broken(name, "CRVAL or CRPIX is missing")
    if not -90 <= cards[f"CRVAL{latitude}"] <= 90:
        raise _broken(name, f"a declination of {cards[f'CRVAL{latitude}']}")


def _broken(name: str, why: str) -> FrameError:
    return FrameError("bad_wcs", f"{shown(name)}: the WCS in the header cannot be used: {shown(why)}")
