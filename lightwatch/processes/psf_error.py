"""What a PSF gets wrong, as a variance of pixels: the same for fits and for pictures of what they leave over."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def psf_error_variance(light: ArrayLike, model_error: ArrayLike) -> NDArray[np.float64]:
    """Variance e^2 m max(m) that a PSF with an error e (...) of its own adds to light m (..., n, n).

    Like that of photons, so that light which the PSF puts into the wrong pixels is granted where the light is.
    """
    lit = np.maximum(np.nan_to_num(np.asarray(light, dtype=float)), 0)
    error = np.asarray(model_error, dtype=float)[..., None, None]
    return np.asarray(error**2 * lit * lit.max(axis=(-2, -1), keepdims=True))
