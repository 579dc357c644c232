"""What a header says without the user's parser: kind of frame, and its WCS."""

from __future__ import annotations

from dataclasses import dataclass

from astropy.io import fits


@dataclass(frozen=True)
class FrameKind:
    """What a frame is for, why we think so, and how sure we are (0 to 1)."""

    kind: str  # science, bias, dark, flat, focus
    reason: str
    confidence: float


def classify_frame(header: fits.Header, *, file_name: str, declared: str | None) -> FrameKind:
    """Kind of a frame from IMAGETYP and its relatives, OBJECT, EXPTIME and the file name.

    ``declared`` is what the header parser or the user's override says; it wins.
    """
    raise NotImplementedError


def header_wcs(header: fits.Header, *, name: str) -> str | None:
    """The celestial WCS cards of a header, verbatim (SIP, TPV kept), as text for ``Header.fromstring``.

    None when the header has no celestial WCS.  Raises FrameError(bad_wcs) when it has a broken one:
    the caller may treat the frame as one to be solved.
    """
    raise NotImplementedError
