"""From calibrated fluxes to magnitudes, limits and nightly means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Magnitudes:
    """Shape (n,). ``mag`` is NaN for a non-detection, which has an upper limit instead.

    ``mag_uncertainty_up``: how much fainter (numerically larger) 1 sigma less flux is;
    ``mag_uncertainty_down``: how much brighter 1 sigma more flux is. ``limiting_mag`` is finite only where
    there is no detection.
    """

    mag: Floats
    mag_uncertainty_up: Floats
    mag_uncertainty_down: Floats
    limiting_mag: Floats


@dataclass(frozen=True)
class NightlyMeans:
    """One entry per night, shape (n_nights,), in order of time.

    ``flux_uncertainty`` is that of the mean, scaled up when the points scatter more than their errors say;
    ``scatter`` is the standard deviation of the points (NaN for one), ``n_rejected`` were clipped.
    """

    mjd: Floats
    flux: Floats
    flux_uncertainty: Floats
    scatter: Floats
    reduced_chi2: Floats
    n_points: Ints
    n_rejected: Ints


def magnitudes(
    flux: Floats, flux_uncertainty: Floats, zeropoint: Floats, *, detection_sigma: float, limit_sigma: float
) -> Magnitudes:
    """Magnitudes with asymmetric errors; flux below detection_sigma sigma becomes a limit_sigma limit.

    flux and flux_uncertainty in electron/s, zeropoint in mag, all (n,) or broadcastable.
    """
    raise NotImplementedError


def split_nights(mjd: Floats, *, night_gap_days: float) -> Ints:
    """Night number of every point, from 0 in order of time; a gap longer than this starts a night."""
    raise NotImplementedError


def nightly_means(
    mjd: Floats,
    flux: Floats,
    flux_uncertainty: Floats,
    good: Bools,
    *,
    night_gap_days: float,
    clip_sigma: float,
) -> NightlyMeans:
    """Weighted means of one source per night, points beyond clip_sigma of the night's median left out.

    Arrays (n,) in any order; a night without usable points has no entry.
    """
    raise NotImplementedError
