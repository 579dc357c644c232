"""Small squares of pixels around positions, safe at every edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from lightwatch.errors import ProcessError

SIZES_PX = (24, 32, 48, 64)
SIZE_PER_FWHM = 6.5


@dataclass(frozen=True)
class Cutouts:
    """N squares of ``size_px`` pixels.

    ``values`` (N, size, size) of the image's dtype; ``x0, y0`` (N,) int64 frame pixel of values[:, 0, 0];
    ``dx, dy`` (N,) position of the source relative to the centre of the cutout, within [-0.5, 0.5): column j
    lies at j - (size - 1) / 2; ``inside`` (N, size, size) True where the pixel lies on the frame;
    ``coverage`` (N,) its mean.
    """

    values: NDArray[Any]
    x0: NDArray[np.int64]
    y0: NDArray[np.int64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    inside: NDArray[np.bool_]
    coverage: NDArray[np.float64]


def cutout_corners(positions: ArrayLike, size_px: int) -> NDArray[np.int64]:
    """First pixel (N,) of the ``size_px`` pixels centred best on the ``positions`` (N,), along one axis."""
    return np.floor(np.asarray(positions, float) - (size_px - 1) / 2 + 0.5).astype(np.int64)


def extract_cutouts(image: NDArray[Any], x: ArrayLike, y: ArrayLike, size_px: int, fill: float) -> Cutouts:
    """Squares of ``image`` (ny, nx) around positions ``x, y`` (N,) px; pixels off the frame are ``fill``.

    For an image use ``fill=nan``, for a mask ``fill=Flag.OUTSIDE``. Any size, odd or even, also beyond the
    size of the frame, and positions off the frame. Raises ProcessError ``bad_position`` for positions that
    are not finite and ``bad_size`` for a size below 1.
    """
    xs, ys = (np.atleast_1d(np.asarray(p, np.float64)) for p in (x, y))
    if size_px < 1:
        raise ProcessError("bad_size", f"a cutout needs at least one pixel, not {size_px}")
    if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise ProcessError("bad_position", "positions of cutouts must be finite")
    x0, y0 = cutout_corners(xs, size_px), cutout_corners(ys, size_px)
    ny, nx = image.shape
    columns = x0[:, None] + np.arange(size_px)
    rows = y0[:, None] + np.arange(size_px)
    inside = ((rows >= 0) & (rows < ny))[:, :, None] & ((columns >= 0) & (columns < nx))[:, None, :]
    values = image[np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]]
    values[~inside] = fill
    half = (size_px - 1) / 2
    return Cutouts(values, x0, y0, xs - x0 - half, ys - y0 - half, inside, inside.mean(axis=(1, 2)))


def cutout_header(header_text: str, x0: int, y0: int) -> str:
    """WCS header of the cutout whose pixel (0, 0) is the frame's pixel (``x0``, ``y0``): CRPIX is shifted.

    ``header_text`` and the result: FITS cards as one string (``Header.tostring()``). SIP distortions stay
    valid as they are relative to CRPIX. Raises ProcessError ``no_wcs`` without CRPIX.
    """
    header = fits.Header.fromstring(header_text)
    if "CRPIX1" not in header or "CRPIX2" not in header:
        raise ProcessError("no_wcs", "the header has no CRPIX1, CRPIX2")
    header["CRPIX1"] -= x0
    header["CRPIX2"] -= y0
    return str(header.tostring())


def cutout_size_px(fwhm_px: float) -> int:
    """Side of star cutouts that leaves less than about 0.1 % of error on the flux of the whole plane."""
    return next((size for size in SIZES_PX if size >= SIZE_PER_FWHM * fwhm_px), SIZES_PX[-1])
