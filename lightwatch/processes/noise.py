"""Noise maps that do not know the noise: variance from a model of the light, never from the pixel itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate, gaussian_filter

from lightwatch.flags import UNUSABLE_PIXEL

_FWHM_PER_SIGMA = 2.354820045
_WIDTH_OF_WEIGHT = 0.5  # of the Gaussian that weighs the neighbours, in sigmas of the PSF
_SIGNIFICANT = 2.0


def noise_map(
    background_rms: NDArray[np.floating] | float, smooth_model: NDArray[np.floating], exptime: float
) -> NDArray[np.float32]:
    """1 sigma (electron/s) per pixel: sqrt(background_rms^2 + max(model, 0) / exptime), any shape.

    ``smooth_model`` electron/s without sky, ``exptime`` s. NaN in either input gives NaN.
    """
    variance = np.square(background_rms) + np.maximum(smooth_model, 0) / exptime
    return np.asarray(np.sqrt(variance), np.float32)


def smooth_model(
    cutouts: NDArray[np.floating],
    good: NDArray[np.bool_],
    background_rms: NDArray[np.floating] | float,
    fwhm_px: float,
) -> NDArray[np.float32]:
    """Light without noise in ``cutouts`` (N, n, n) electron/s, each pixel predicted by its neighbours only.

    The prediction is a quadratic surface through the neighbours within about a PSF of ``fwhm_px`` (local
    regression, Cleveland 1979, JASA 74, 829, with the pixel left out). ``good`` (N, n, n) True = use;
    ``background_rms`` broadcasts to the cutouts, electron/s. Predictions below 2 sigma of their own sky
    noise are 0. Shape (N, n, n) float32, finite everywhere.
    """
    kernel = _left_out_kernel(_WIDTH_OF_WEIGHT * fwhm_px / _FWHM_PER_SIGMA)
    usable = good & np.isfinite(cutouts)
    filled = _fill(cutouts, usable, fwhm_px / _FWHM_PER_SIGMA)
    if not usable.all():  # the mean around a bad pixel flattens a star, the quadratic surface does not
        filled = np.where(usable, filled, correlate(filled, kernel[None], mode="nearest"))
    model = correlate(filled, kernel[None], mode="nearest")
    own_noise = np.asarray(background_rms) * np.sqrt(np.sum(kernel**2))
    return np.where(model > _SIGNIFICANT * own_noise, model, 0).astype(np.float32)


def usable_pixels(
    data: NDArray[np.floating], noise: NDArray[np.floating], mask: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """True where data and noise are both finite, the noise is positive and no UNUSABLE_PIXEL bit is set."""
    unmasked = (mask & np.int32(UNUSABLE_PIXEL)) == 0
    with np.errstate(invalid="ignore"):
        return np.asarray(unmasked & np.isfinite(data) & np.isfinite(noise) & (noise > 0))


def _left_out_kernel(weight_sigma_px: float) -> NDArray[np.float64]:
    """Weights (2h+1, 2h+1), 0 in the middle: value there of the quadratic fitted to the other pixels."""
    half = max(1, round(2 * weight_sigma_px))
    offsets = np.arange(-half, half + 1)
    y, x = (g.ravel() for g in np.meshgrid(offsets, offsets, indexing="ij"))
    weight = np.exp(-0.5 * (x * x + y * y) / max(weight_sigma_px, 0.8) ** 2)
    weight[(x == 0) & (y == 0)] = 0
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1).astype(float)
    normal = terms.T @ (weight[:, None] * terms)
    # 3 x 3 pixels without the middle do not determine all terms: the smallest solution is the wanted one
    kernel = (np.linalg.pinv(normal) @ (terms * weight[:, None]).T)[0]
    return kernel.reshape(2 * half + 1, 2 * half + 1)


def _fill(cutouts: NDArray[np.floating], good: NDArray[np.bool_], sigma_px: float) -> NDArray[np.float64]:
    """Pixels that are not good replaced by the Gaussian mean of the good ones around them."""
    values = np.where(good, cutouts, 0.0).astype(float)
    if good.all():
        return values
    width = (0, sigma_px, sigma_px)
    weight = gaussian_filter(good.astype(float), width, mode="nearest")
    mean = gaussian_filter(values, width, mode="nearest") / np.maximum(weight, 1e-9)
    return np.where(good, values, np.where(weight > 1e-3, mean, 0.0))
