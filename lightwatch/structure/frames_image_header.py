"""The header of a frame alone: for looking at many frames in little time."""

from __future__ import annotations

import warnings
from pathlib import Path

from astropy.io import fits

from lightwatch.errors import FrameError
from lightwatch.structure.frames import _science_hdu
from lightwatch.structure.frames_guard import HduInfo, ReadLimits, open_fits, shown
from lightwatch.structure.frames_headers import merged_header


def read_image_header(path: Path, *, limits: ReadLimits) -> tuple[fits.Header, HduInfo]:
    """Merged header of the image that ``read_frame`` would take, and its HDU, without a look at the pixels.

    Of a compressed image the header is that of the table which holds it: structural keywords aside the same.
    Raises FrameError.
    """
    name = shown(path)
    stream, infos = open_fits(path, limits)
    with stream:
        science = _science_hdu(infos, None, name)
        assert science.plane is not None  # that is what makes it a science HDU
        headers = []
        for info in dict.fromkeys((infos[0], science)):
            stream.seek(info.offset)
            try:
                headers.append(fits.Header.fromfile(stream))
            except (OSError, ValueError, TypeError) as error:
                raise FrameError(
                    "bad_header", f"{name}: a header cannot be read: {shown(str(error))}"
                ) from error
    header = _merged(headers, name)
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, science.plane[1], science.plane[0]
    return header, science


def _merged(headers: list[fits.Header], name: str) -> fits.Header:
    """All cards parsed; the slow way, card by card, only where one of them cannot be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            merged = fits.Header()
            for header in headers:
                for card in header.cards:
                    _ = card.value, card.comment
                merged.extend(header, strip=True, update=True)
            return merged
        except (ValueError, TypeError, fits.VerifyError):
            return merged_header(headers, name=name)[0]
