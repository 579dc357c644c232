"""From raw counts to electron/s: conversion, saturation, gain from the data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from lightwatch.errors import FrameError, HeaderError, ProcessError

_BOX_PX = 32  # the scene is flat over a box, and its 1024 differences give the variance to 4 %
_MOST_BOXES = 900  # of a pair; more add time, not accuracy
_BOXES_PER_LEVEL = 12
_NEIGHBOURS = 5  # boxes on a side that a box is compared with, to find those with stars in them
_LEAST_SIGNIFICANCE = 10.0  # slope over its error
_LEAST_RANGE = 1.7  # variance of the brightest level over that of the faintest
SATURATED_FRACTION = 0.98  # of the highest level: where pixels pile up, the bend begins earlier
_TOP_PIXELS = 8  # the highest level is that of so many: cosmic rays are above it
_LEAST_PILE = 24  # pixels


@dataclass(frozen=True)
class PhotonTransfer:
    """Gain (electron/ADU) with its uncertainty (1 sigma), read noise (electron, NaN unknown)."""

    gain: float
    gain_uncertainty: float
    read_noise: float
    lowest_adu: float  # levels that were compared
    highest_adu: float


def to_electron_per_second(
    adu: NDArray[Any], gain: float, exptime: float, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Image (ny, nx) in ADU -> electron/s, float32: adu * gain / exptime.

    ``gain`` in electron/ADU, ``exptime`` in s. NaN stays NaN; the input is not altered, unless it is ``out``.
    Raises HeaderError ``bad_gain`` or ``bad_exptime`` unless both are positive and finite, and
    FrameError ``not_an_image`` unless ``adu`` is a non-empty two-dimensional array.
    """
    if not (np.isfinite(gain) and gain > 0):
        raise HeaderError("bad_gain", f"gain must be positive, not {gain}")
    if not (np.isfinite(exptime) and exptime > 0):
        raise HeaderError("bad_exptime", f"exposure time must be positive, not {exptime}")
    if adu.ndim != 2 or adu.size == 0:
        raise FrameError("not_an_image", f"a two-dimensional image is needed, not shape {adu.shape}")
    image = np.empty(adu.shape, np.float32) if out is None else out
    return np.multiply(adu, np.float32(gain / exptime), out=image, casting="same_kind", dtype=np.float32)


def saturated_pixels(adu: NDArray[Any], saturation_adu: float | None) -> NDArray[np.bool_]:
    """Pixels (ny, nx) at or above the saturation level (unit of the image); none when it is unknown."""
    if saturation_adu is None or not np.isfinite(saturation_adu):
        return np.zeros(adu.shape, bool)
    saturated: NDArray[np.bool_] = adu >= saturation_adu
    return saturated


Pair = tuple[NDArray[Any], NDArray[Any]]


def photon_transfer(pairs: Sequence[Pair], *, pedestal_adu: float) -> PhotonTransfer:
    """Gain and read noise from the noise of the sky, or of flat fields.

    ``pairs`` of frames (ny, nx) in ADU of one camera, the two of a pair taken alike one after the other. In
    small boxes the variance of their difference grows with the level: variance = (level - pedestal) / gain +
    (read_noise / gain)^2 (Janesick 2001, Scientific Charge-Coupled Devices, ch. 4). Pixels of stars, and boxes that
    stars brighten, are left out; what is fixed to pixels cancels in the difference. The pedestal (bias level)
    is not needed for the gain; with ``pedestal_adu`` NaN the read noise is NaN. Levels that drift without
    photons (a bias that changes with temperature) make the gain too large.
    Raises ProcessError ``too_few_frames``, ``no_range_of_levels``.
    """
    if not pairs:
        raise ProcessError("too_few_frames", "photon transfer needs at least two frames taken alike")
    boxes = np.concatenate([_boxes(*pair) for pair in pairs])
    boxes = boxes[np.argsort(boxes[:, 0], kind="stable")]
    if len(boxes) < 3 * _BOXES_PER_LEVEL:
        raise ProcessError(
            "no_range_of_levels", f"{len(boxes)} boxes of free sky are too few for photon transfer"
        )
    groups = np.array_split(boxes, min(20, len(boxes) // _BOXES_PER_LEVEL))
    level = np.array([np.median(group[:, 0]) for group in groups])
    variance = np.array([np.median(group[:, 1]) for group in groups])
    # a box's variance is known to sqrt(2 / pixels) of itself, the median of n boxes to 1.25 / sqrt(n) of that
    error = variance * 1.25 * np.sqrt(2.0 / _BOX_PX**2 / np.array([len(group) for group in groups]))
    if not variance.max() > _LEAST_RANGE * variance.min() > 0:
        raise ProcessError(
            "no_range_of_levels",
            f"levels from {level[0]:.0f} to {level[-1]:.0f} ADU do not differ enough for photon transfer",
        )
    (slope, intercept), covariance = np.polyfit(level, variance, 1, w=1 / error, cov="unscaled")
    scatter = max(1.0, float(np.sqrt(np.mean(((variance - slope * level - intercept) / error) ** 2))))
    slope_error = scatter * float(np.sqrt(covariance[0, 0]))
    if not slope > _LEAST_SIGNIFICANCE * slope_error:
        raise ProcessError("no_range_of_levels", "the noise of the sky does not follow its level")
    gain = float(1 / slope)
    dark = intercept + slope * pedestal_adu
    read_noise = gain * float(np.sqrt(dark)) if dark >= 0 else float("nan")
    return PhotonTransfer(
        gain, gain * float(slope_error / slope), read_noise, float(level[0]), float(level[-1])
    )


def _boxes(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """(level, variance of one frame) in ADU of the boxes of a pair without stars: (n, 2)."""
    ny, nx = (size // _BOX_PX for size in one.shape)
    if one.shape != other.shape or min(ny, nx) == 0:
        return np.empty((0, 2))
    step = max(1, int(np.sqrt(nx * ny / _MOST_BOXES)))
    a, b = (_cut(frame, ny, nx, step) for frame in (one, other))
    mean, difference = (a + b) / 2, a - b
    good = np.isfinite(difference)
    for _ in range(4):  # stars and cosmic rays out
        centre, width = _middle(mean, good)
        good &= (mean < centre + 4 * width) & (mean > centre - 5 * width)
    centre, width = _middle(difference, good)
    good &= np.abs(difference - centre) < 5 * width
    count = good.sum(axis=-1)
    enough = count > 0.7 * _BOX_PX**2
    level = np.where(enough, np.sum(mean, axis=-1, where=good) / np.maximum(count, 1), np.nan)
    shift = np.sum(difference, axis=-1, where=good) / np.maximum(count, 1)
    scatter = np.sum((difference - shift[..., None]) ** 2, axis=-1, where=good) / np.maximum(count - 1, 1)
    rounding = 1 / 12 if np.array_equal(a[0], np.rint(a[0])) else 0.0
    excess = level - median_filter(np.where(enough, level, np.nanmedian(level)), _NEIGHBOURS, mode="nearest")
    typical = 1.4826 * np.nanmedian(np.abs(excess)) if enough.any() else 0.0
    use = enough & (np.abs(excess) <= max(4 * typical, 1e-3 * np.nanmedian(level)))
    return np.stack([level[use], scatter[use] / 2 - rounding], axis=1)


def _cut(frame: NDArray[Any], ny: int, nx: int, step: int) -> NDArray[np.float64]:
    """Boxes (ny', nx', pixels), every ``step``-th in both directions."""
    boxes = frame[: ny * _BOX_PX, : nx * _BOX_PX].reshape(ny, _BOX_PX, nx, _BOX_PX).swapaxes(1, 2)
    chosen = boxes[::step, ::step]
    return chosen.reshape(*chosen.shape[:2], -1).astype(np.float64)


def _middle(values: NDArray[np.float64], good: NDArray[np.bool_]) -> tuple[Any, Any]:
    """Median and robust width of the good values of every box; integers may have no width: 0.5 at least."""
    masked = np.where(good, values, np.nan)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # boxes without a good pixel
        centre = np.nanmedian(masked, axis=-1, keepdims=True)
        width = 1.4826 * np.nanmedian(np.abs(masked - centre), axis=-1, keepdims=True)
    return centre, np.maximum(width, 0.5)


def pile_up_level(image: NDArray[Any]) -> float:
    """Level (unit of the image) at which its brightest pixels pile up, a little below: saturation. NaN: they do not."""
    values = image[np.isfinite(image)]
    if values.size <= _LEAST_PILE:
        return float("nan")
    top = float(np.partition(values, -_TOP_PIXELS)[-_TOP_PIXELS])
    if not top > 3 * abs(
        float(np.median(values))
    ):  # a frame without bright stars: its top is the sky's noise
        return float("nan")
    piled = int(np.sum(values >= SATURATED_FRACTION * top))
    below = int(np.sum((values >= 0.90 * top) & (values < SATURATED_FRACTION * top)))
    # the core of a star has a quarter as many pixels in the upper interval as in the lower
    return SATURATED_FRACTION * top if piled >= _LEAST_PILE and piled > 2 * below else float("nan")


def stored_step(image: NDArray[Any]) -> int:
    """Greatest common divisor of the counts above the lowest: 16 where 12 bits fill a word of 16, 1 as a rule."""
    values = image[np.isfinite(image)]
    values = values[:: max(1, values.size // 20_000)]
    if values.size == 0 or not np.array_equal(values, np.rint(values)) or np.abs(values).max() > 2**31:
        return 1
    whole = values.astype(np.int64)
    return max(1, int(np.gcd.reduce(whole - whole.min())))
