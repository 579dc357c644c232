"""Noise maps that do not know the noise: variance from a model of the light, never from the pixel itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def noise_map(
    background_rms: NDArray[np.floating] | float, smooth_model: NDArray[np.floating], exptime: float
) -> NDArray[np.float32]:
    """1 sigma (electron/s) per pixel: sqrt(background_rms^2 + max(model, 0) / exptime), any shape.

    ``smooth_model`` electron/s without sky, ``exptime`` s. NaN in either input gives NaN.
    """
    raise NotImplementedError


def smooth_model(
    cutouts: NDArray[np.floating],
    good: NDArray[np.bool_],
    background_rms: NDArray[np.floating],
    fwhm_px: float,
) -> NDArray[np.float32]:
    """Light without noise in ``cutouts`` (N, n, n) electron/s, each pixel predicted by its neighbours only.

    ``good`` (N, n, n) True = use; ``background_rms`` (N, n, n), (N, 1, 1) or scalar electron/s.
    Predictions below 2 sigma of their own noise are 0. Shape (N, n, n) float32.
    """
    raise NotImplementedError


def usable_pixels(
    data: NDArray[np.floating], noise: NDArray[np.floating], mask: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """True where data and noise are both finite, the noise is positive and no UNUSABLE_PIXEL bit is set."""
    raise NotImplementedError
