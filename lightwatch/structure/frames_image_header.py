"""The header of a frame alone: for looking at many frames in little time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

from lightwatch.errors import FrameError
from lightwatch.structure.frames import _COMPANIONS, _find, _science_hdu
from lightwatch.structure.frames_guard import HduInfo, ReadLimits, open_fits, shown
from lightwatch.structure.frames_headers import merged_header


@dataclass(frozen=True)
class ImageHeader:
    """Merged header of the image that ``read_frame`` would take, its HDU, and the HDUs of images like it."""

    header: fits.Header
    hdu: HduInfo
    alike: tuple[int, ...]  # as large, and science too as far as names tell: other chips


def read_image_header(
    path: Path,
    *,
    limits: ReadLimits,
    hdu_data: int | str | None = None,
    hdu_headers: Sequence[int] | None = None,
) -> ImageHeader:
    """Without a look at the pixels; the HDUs are found as ``read_frame`` finds them.

    Of a compressed image the header is that of the table which holds it: structural keywords aside the same.
    Raises FrameError.
    """
    name = shown(path)
    stream, infos = open_fits(path, limits)
    with stream:
        science = _science_hdu(infos, hdu_data, name)
        assert science.plane is not None  # that is what makes it a science HDU
        wanted = [infos[0], science] if hdu_headers is None else [_find(infos, i, name) for i in hdu_headers]
        headers = []
        for info in dict.fromkeys(wanted):
            stream.seek(info.offset)
            try:
                headers.append(fits.Header.fromfile(stream))
            except (OSError, ValueError, TypeError) as error:
                raise FrameError(
                    "bad_header", f"{name}: a header cannot be read: {shown(str(error))}"
                ) from error
    header = _merged(headers, name)
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, science.plane[1], science.plane[0]
    return ImageHeader(header, science, _alike(infos, science))


def _alike(infos: Sequence[HduInfo], science: HduInfo) -> tuple[int, ...]:
    return tuple(
        hdu.index
        for hdu in infos
        if hdu is not science
        and (hdu.plane, hdu.bitpix) == (science.plane, science.bitpix)
        and hdu.name not in _COMPANIONS
        and (hdu.name == "SCI" or science.name != "SCI")
    )


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
