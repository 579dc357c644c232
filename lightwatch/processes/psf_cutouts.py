"""Cutouts of stars as the PSF fit and the photometry take them, and what both do with pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from lightwatch.processes.psf_model import FloatArray

BoolArray = NDArray[np.bool_]

# A pixel this much above the mean of its opposite neighbours, in the direction where they are
# faintest, cannot be light that came through the telescope.
SHARPNESS = 0.5


@dataclass(frozen=True)
class StarCutouts:
    """Square cutouts of K stars in F frames, padded with ``present=False``.

    Offsets are (x, y) px from the centre of the cutout, which lies at (n - 1) / 2 in its own
    pixel coordinates: offset = position in frame - lower-left pixel of the cutout - (n - 1) / 2.
    """

    data: FloatArray  # (F, K, n, n) electron/s, sky-subtracted; NaN allowed where not good
    background_variance: FloatArray  # (F, K, n, n) (electron/s)^2, without the stars' photons
    good: BoolArray  # (F, K, n, n)
    exposure: FloatArray  # (F,) electrons per data unit (= exposure time for electron/s)
    position: FloatArray  # (F, K, 2) px in the frame: where the PSF is taken
    offset: FloatArray  # (F, K, 2) predicted position relative to the cutout's centre
    present: BoolArray  # (F, K)
    fwhm_px: FloatArray  # (F,) first guess, good to a factor 0.6 to 1.7
    frame_shape: tuple[int, int]  # (ny, nx)
    neighbour_offset: FloatArray  # (F, K, N, 2) known neighbours, px from the centre of the cutout
    neighbour_present: BoolArray  # (F, K, N)


def usable_pixels(cutouts: StarCutouts) -> BoolArray:
    """Good pixels of present stars with finite data and a positive finite variance: (F, K, n, n)."""
    variance = cutouts.background_variance
    usable = cutouts.good & np.isfinite(cutouts.data) & np.isfinite(variance) & (variance > 0)
    return usable & cutouts.present[:, :, None, None]


def struck_pixels(
    residual: FloatArray,
    variance: FloatArray,
    model: FloatArray,
    good: BoolArray,
    *,
    fwhm_px: FloatArray | float,
    outlier_sigma: float,
    model_error: FloatArray | float,
) -> BoolArray:
    """Pixels that neither noise nor an imperfect PSF explains: cosmic rays missed by the masks.

    All arrays (..., n, n), ``fwhm_px`` and ``model_error`` broadcasting to (...). A pixel is struck when its
    residual exceeds ``outlier_sigma`` times the noise of the model plus ``model_error`` of the model there and
    next to it, and is sharper than the PSF allows: a blended star is not a cosmic ray and must stay visible
    in chi2.
    """
    error = np.asarray(model_error, dtype=np.float64)[..., None, None]
    # the next pixel counts too: where the light falls steeply, an error of the place is one of the value
    steep = maximum_filter(model, [0] * (model.ndim - 2) + [3, 3], mode="nearest")
    spread = np.sqrt(variance + (error * steep) ** 2)
    excess = np.where(good, residual / spread, 0.0)
    struck = np.asarray(good & (np.abs(excess) > outlier_sigma))
    suspects = struck.any((-2, -1))  # few cutouts have any pixel so far off
    if suspects.any():
        fwhm = np.broadcast_to(np.asarray(fwhm_px, dtype=np.float64), suspects.shape)[suspects][:, None, None]
        point_source = np.exp(-4 * np.log(2) / np.maximum(fwhm, 1.5) ** 2)
        seen = excess[suspects]
        flank = _faintest_opposite_neighbours(np.abs(seen), np.sign(seen))
        struck[suspects] &= flank < SHARPNESS * point_source * np.abs(seen)
    return struck


def _faintest_opposite_neighbours(size: FloatArray, sign: FloatArray) -> FloatArray:
    """Smallest mean, over four directions, of the two opposite neighbours' residuals of like sign."""
    signed = np.pad(size * sign, [(0, 0)] * (size.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    ny, nx = size.shape[-2:]

    def at(dy: int, dx: int) -> FloatArray:
        return signed[..., 1 + dy : 1 + dy + ny, 1 + dx : 1 + dx + nx]

    pairs = [at(dy, dx) + at(-dy, -dx) for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1))]
    return np.min([pair * sign / 2 for pair in pairs], axis=0)
