"""From raw counts to electron/s: conversion, saturation, gain from the data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwatch.errors import FrameError, HeaderError, ProcessError

#: a frame needs this many pixels per group for its variance to be worth a point of the transfer curve
_PIXELS_PER_LEVEL = 2000


def to_electron_per_second(adu: NDArray[Any], gain: float, exptime: float) -> NDArray[np.float32]:
    """Image (ny, nx) in ADU -> electron/s, float32: adu * gain / exptime.

    ``gain`` in electron/ADU, ``exptime`` in s. NaN stays NaN; the input is not altered.
    Raises HeaderError ``bad_gain`` or ``bad_exptime`` unless both are positive and finite, and
    FrameError ``not_an_image`` unless ``adu`` is a non-empty two-dimensional array.
    """
    if not (np.isfinite(gain) and gain > 0):
        raise HeaderError("bad_gain", f"gain must be positive, not {gain}")
    if not (np.isfinite(exptime) and exptime > 0):
        raise HeaderError("bad_exptime", f"exposure time must be positive, not {exptime}")
    if adu.ndim != 2 or adu.size == 0:
        raise FrameError("not_an_image", f"a two-dimensional image is needed, not shape {adu.shape}")
    image = adu.astype(np.float32)  # a copy, in native byte order
    image *= np.float32(gain / exptime)
    return image


def saturated_pixels(adu: NDArray[Any], saturation_adu: float | None) -> NDArray[np.bool_]:
    """Pixels (ny, nx) at or above the saturation level (unit of the image); none when it is unknown."""
    if saturation_adu is None or not np.isfinite(saturation_adu):
        return np.zeros(adu.shape, bool)
    saturated: NDArray[np.bool_] = adu >= saturation_adu
    return saturated


def estimate_gain_read_noise(frames_adu: NDArray[Any], n_levels: int) -> tuple[float, float]:
    """Gain (electron/ADU) and read noise (electron) by photon transfer.

    ``frames_adu`` (n >= 2, ny, nx): exposures of the same, unmoving, bias-subtracted, unsaturated scene with
    a range of levels (flat fields, or a scene with gradient). Differences of consecutive frames, in
    ``n_levels`` groups of equal population by level: variance = level / gain + (read_noise / gain)^2
    (Janesick 2001, Scientific Charge-Coupled Devices, ch. 4). Read noise is NaN when the fit gives it
    a negative square. Raises ProcessError ``too_few_frames`` or ``no_range_of_levels``.
    """
    frames = np.asarray(frames_adu, np.float64)
    if frames.ndim != 3 or len(frames) < 2:
        raise ProcessError("too_few_frames", "photon transfer needs at least two frames of one scene")
    level = ((frames[1:] + frames[:-1]) / 2).ravel()
    difference = (frames[1:] - frames[:-1]).ravel()
    finite = np.isfinite(difference)
    order = np.argsort(level[finite], kind="stable")
    groups = np.array_split(order, n_levels)
    if len(groups[-1]) < _PIXELS_PER_LEVEL:
        raise ProcessError("no_range_of_levels", f"{finite.sum()} pixels are too few for {n_levels} levels")
    levels = np.array([level[finite][group].mean() for group in groups])
    variances = np.array([_clipped_variance(difference[finite][group]) / 2 for group in groups])
    (slope, intercept), covariance = np.polyfit(levels, variances, 1, w=1 / variances, cov="unscaled")
    # a variance from n differences is known to sqrt(2 / n) of itself
    slope_error = np.sqrt(covariance[0, 0] * 2 / len(groups[-1]))
    if not slope > 10 * slope_error:
        raise ProcessError("no_range_of_levels", "the levels of the frames do not differ enough")
    gain = float(1 / slope)
    return gain, gain * float(np.sqrt(intercept)) if intercept >= 0 else float("nan")


def _clipped_variance(values: NDArray[np.float64]) -> float:
    """Variance within 5 sigma of a robust width: free of cosmic rays, and of Gaussian noise nearly all."""
    centred = values - np.median(values)
    width = max(1.4826 * float(np.median(np.abs(centred))), 1.0)  # 1 ADU: integers may have no width
    return float(np.var(centred[np.abs(centred) < 5 * width]))
