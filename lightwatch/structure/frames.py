"""Raw frames: reading one file of unknown origin into an array, safely.

Every failure is a FrameError whose reason code is one of ``not_fits``, ``truncated``,
``bad_header``, ``bad_pixels:<why>``, ``bad_shape``, ``bad_wcs``, ``too_large``.
Nothing is allocated before its declared size has been compared with the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lightwatch.structure.frames_discovery import (
    Discovery,
    FoundFile,
    content_hash,
    find_files,
    is_settled,
)
from lightwatch.structure.frames_guard import ReadLimits
from lightwatch.structure.frames_headers import FrameKind, classify_frame, header_wcs

__all__ = [
    "Discovery",
    "FoundFile",
    "FrameKind",
    "RawFrame",
    "ReadLimits",
    "check_pixels",
    "classify_frame",
    "content_hash",
    "find_files",
    "header_wcs",
    "is_settled",
    "read_frame",
    "trimmed",
]


@dataclass(frozen=True)
class RawFrame:
    """One image as the instrument wrote it."""

    image: NDArray[np.float32]  # (ny, nx), ADU, BZERO and BSCALE applied, BLANK is NaN
    good: NDArray[np.bool_]  # (ny, nx), finite and not in the bad-pixel map
    header: fits.Header  # merged
    hdu_index: int  # of the image
    has_bad_pixel_map: bool
    bitpix: int  # as stored, before scaling; negative for floats
    ceiling_adu: float  # largest value that the stored integers can hold; NaN for floats
    lossy: bool  # stored with a compression that does not give all bits back


def read_frame(
    path: Path,
    *,
    hdu_data: int | str | None,
    hdu_headers: Sequence[int] | None,
    hdu_bad_pixels: int | str | None,
    limits: ReadLimits,
) -> RawFrame:
    """Read one 2-D image and its merged header.

    ``hdu_data`` is an index or EXTNAME; None takes the extension named SCI, else the first 2-D image.
    ``hdu_headers`` None merges the primary header and the image's own (later ones win).
    ``hdu_bad_pixels`` names an extension where 0 is good; None for none; "auto" takes one named BPM,
    MASK or DQ when it is there and has the image's shape.

    Raises FrameError.
    """
    raise NotImplementedError


def check_pixels(
    image: NDArray[np.float32],
    good: NDArray[np.bool_],
    *,
    name: str,
    min_side_px: int,
    min_good_fraction: float,
    saturation_adu: float,
    max_saturated_fraction: float,
) -> None:
    """Raise FrameError(bad_shape or bad_pixels:<why>) when no photometry can come from these pixels.

    ``saturation_adu`` NaN: unknown, not tested.
    """
    raise NotImplementedError


def trimmed(frame: RawFrame, *, vertical_px: int, horizontal_px: int) -> RawFrame:
    """The frame without ``vertical_px`` rows and ``horizontal_px`` columns on each side; CRPIX follows.

    Raises FrameError(bad_shape) when nothing would be left.
    """
    raise NotImplementedError
