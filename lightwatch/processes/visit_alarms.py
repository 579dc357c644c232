"""What of a visit looks unlike the others: plain statistics per frame or per night, robust against a few bad ones.

A deviation is told only where it is large against the scatter of the others *and* large enough to matter, so that
a very stable site raises no alarm over nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SIGMA_OF_MAD = 1.4826


@dataclass(frozen=True)
class Deviation:
    """Entry ``index`` of a series is ``value`` where the middle of all is ``usual`` and their 1 sigma ``spread``."""

    index: int
    value: float
    usual: float
    spread: float


@dataclass(frozen=True)
class Jump:
    """Frame ``index``: ``n_off`` of its ``n_stars`` are off their own means, by ``offset`` (fraction) in the middle."""

    index: int
    n_off: int
    n_stars: int
    offset: float


@dataclass(frozen=True)
class Rate:
    """Night ``index``: ``failed`` of ``tried``; ``usual``: the rate in all other nights, NaN without any."""

    index: int
    failed: int
    tried: int
    usual: float


def deviations(values: ArrayLike, *, sigma: float, least: float, min_count: int) -> list[Deviation]:
    """Entries more than ``sigma`` times the spread, and more than ``least``, from the median; NaN is no entry.

    None with fewer than ``min_count`` entries: what is usual is not known yet.
    """
    series = np.asarray(values, dtype=float)
    known = np.flatnonzero(np.isfinite(series))
    if len(known) < min_count:
        return []
    usual = float(np.median(series[known]))
    spread = float(_SIGMA_OF_MAD * np.median(np.abs(series[known] - usual)))
    return [
        Deviation(int(i), float(series[i]), usual, spread)
        for i in known
        if abs(series[i] - usual) > max(least, sigma * spread)
    ]


def median_per_group(values: ArrayLike, group: ArrayLike, n_groups: int) -> Floats:
    """Median of the known values of each of the groups 0 to n_groups - 1; NaN for one without any."""
    series, of_value = np.asarray(values, dtype=float), np.asarray(group)
    out = np.full(n_groups, np.nan)
    known = np.isfinite(series)
    for number in np.unique(of_value[known]):
        out[number] = np.median(series[known & (of_value == number)])
    return out


def joint_jumps(
    flux: ArrayLike, uncertainty: ArrayLike, *, sigma: float, min_stars: int, min_fraction: float
) -> list[Jump]:
    """Frames on which many stars leave their own means together, although the frames were normalized.

    flux, uncertainty (frames, stars), normalised; NaN where not measured. A star is off by more than ``sigma``
    times the larger of its uncertainty and its own scatter over the frames.
    """
    light, error = np.asarray(flux, dtype=float), np.asarray(uncertainty, dtype=float)
    if light.size == 0 or len(light) < 3:
        return []
    mean = _median_of_columns(light)
    offset = light / mean - 1
    scatter = _SIGMA_OF_MAD * _median_of_columns(np.abs(offset))
    allowed = sigma * np.fmax(error / mean, scatter)
    known = np.isfinite(offset) & np.isfinite(allowed)
    off = known & (np.abs(np.where(known, offset, 0.0)) > np.where(known, allowed, np.inf))
    count, bad = known.sum(axis=1), off.sum(axis=1)
    chosen = np.flatnonzero((count >= min_stars) & (bad > min_fraction * count))
    return [Jump(int(i), int(bad[i]), int(count[i]), float(np.median(offset[i][off[i]]))) for i in chosen]


def _median_of_columns(values: Floats) -> Floats:
    """(stars,) of (frames, stars); NaN for a star without any, and for a middle that is no flux."""
    out = np.full(values.shape[1], np.nan)
    some = np.isfinite(values).any(axis=0)
    out[some] = np.nanmedian(values[:, some], axis=0)
    return np.where(out >= 0, out, np.nan)


def failure_rates(
    tried: ArrayLike, failed: ArrayLike, night: ArrayLike, *, min_failed: int, min_rate: float
) -> list[Rate]:
    """Nights in which at least ``min_failed`` frames and ``min_rate`` of them failed, twice the rate of the others.

    tried, failed (frames,) bool; night (frames,) numbers from 0.
    """
    numbers = np.asarray(night, dtype=np.int64)
    if not len(numbers):
        return []
    attempts = np.bincount(numbers, np.asarray(tried, dtype=float))
    misses = np.bincount(numbers, np.asarray(tried, dtype=float) * np.asarray(failed, dtype=float))
    out = []
    for k in np.flatnonzero((misses >= min_failed) & (misses >= min_rate * attempts)):
        elsewhere = attempts.sum() - attempts[k]
        usual = float((misses.sum() - misses[k]) / elsewhere) if elsewhere else np.nan
        if not usual * 2 > misses[k] / attempts[k]:
            out.append(Rate(int(k), int(misses[k]), int(attempts[k]), usual))
    return out


def unusual_gaps(starts: ArrayLike, *, factor: float, least_days: float, min_nights: int) -> list[Deviation]:
    """Nights that follow a gap (days) ``factor`` times as long as nearly all others; ``starts``: MJD, in order.

    ``usual`` is the 90th percentile of the gaps. Entry i of ``starts`` may also be the present, to ask whether
    something should have come.
    """
    gaps = np.diff(np.asarray(starts, dtype=float))
    if len(gaps) + 1 < min_nights:
        return []
    usual = float(np.percentile(gaps, 90))
    spread = float(_SIGMA_OF_MAD * np.median(np.abs(gaps - np.median(gaps))))
    chosen = np.flatnonzero(gaps > max(factor * usual, least_days))
    return [Deviation(int(i) + 1, float(gaps[i]), usual, spread) for i in chosen]
