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

    ``flux_uncertainty`` is that of the weighted mean, scaled up by sqrt(reduced chi2) where the points
    scatter more than their errors say; ``scatter`` is the standard deviation of the points used (NaN for
    one point); ``n_rejected`` were clipped.
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
    """Magnitudes with asymmetric errors, or upper limits.

    flux and flux_uncertainty in electron/s, zeropoint in mag, all (n,) or broadcastable. A flux below
    ``detection_sigma`` times its uncertainty is no detection: its limit is the magnitude of
    ``limit_sigma`` times the uncertainty, whatever the sign of the flux. Unknown stays NaN.
    """
    flux, sigma, zeropoint = np.broadcast_arrays(
        np.asarray(flux, float), np.asarray(flux_uncertainty, float), np.asarray(zeropoint, float)
    )
    known = np.isfinite(flux) & np.isfinite(sigma) & (np.where(np.isfinite(sigma), sigma, 0.0) > 0)
    detected = known & (np.where(known, flux, 0.0) >= detection_sigma * np.where(known, sigma, np.inf))
    detected &= np.where(known, flux, 0.0) > 0
    relative = np.divide(sigma, flux, out=np.full(flux.shape, np.nan), where=detected)
    brightness = np.where(detected, flux, np.nan)
    limit = np.where(known & ~detected, limit_sigma * sigma, np.nan)
    return Magnitudes(
        mag=zeropoint - 2.5 * np.log10(brightness),
        # below 1 sigma of detection the faint side is open
        mag_uncertainty_up=-2.5 * np.log10(np.where(relative < 1, 1 - relative, np.nan)),
        mag_uncertainty_down=2.5 * np.log10(1 + relative),
        limiting_mag=zeropoint - 2.5 * np.log10(limit),
    )


def split_nights(mjd: Floats, *, night_gap_days: float) -> Ints:
    """Night number of every point, from 0 in order of time; a longer gap than this begins a new night."""
    order = np.argsort(mjd, kind="stable")
    night = np.empty(len(mjd), np.int64)
    night[order] = np.concatenate([[0], np.cumsum(np.diff(mjd[order]) > night_gap_days)])[: len(mjd)]
    return night


def nightly_means(
    mjd: Floats,
    flux: Floats,
    flux_uncertainty: Floats,
    good: Bools,
    *,
    night_gap_days: float,
    clip_sigma: float,
) -> NightlyMeans:
    """Weighted means per night of one source, points beyond clip_sigma of the night's median left out.

    Arrays (n,) in any order. The nights are those of all points, usable or not; one without usable points
    has no entry. Clipping uses the larger of the point's error and the night's scatter.
    """
    usable = good & np.isfinite(flux) & np.isfinite(flux_uncertainty) & np.isfinite(mjd)
    usable &= np.where(usable, flux_uncertainty, 0.0) > 0
    night = split_nights(mjd[np.isfinite(mjd)], night_gap_days=night_gap_days)
    of_point = np.full(len(mjd), -1)
    of_point[np.isfinite(mjd)] = night
    rows = []
    for number in np.unique(of_point[usable]):
        chosen = np.flatnonzero(usable & (of_point == number))
        # in order of time, so that the order of arrival cannot show in the last digits
        chosen = chosen[np.lexsort((flux[chosen], mjd[chosen]))]
        rows.append(_one_night(mjd[chosen], flux[chosen], flux_uncertainty[chosen], clip_sigma))
    table = np.array(rows, float).reshape(-1, 7)
    return NightlyMeans(
        mjd=table[:, 0],
        flux=table[:, 1],
        flux_uncertainty=table[:, 2],
        scatter=table[:, 3],
        reduced_chi2=table[:, 4],
        n_points=table[:, 5].astype(np.int64),
        n_rejected=table[:, 6].astype(np.int64),
    )


def _one_night(
    mjd: Floats, flux: Floats, sigma: Floats, clip_sigma: float
) -> tuple[float, float, float, float, float, int, int]:
    """The columns of NightlyMeans for the points of one night."""
    offset = np.abs(flux - np.median(flux))
    kept = offset <= clip_sigma * np.maximum(sigma, 1.4826 * np.median(offset))
    weight = 1 / sigma[kept] ** 2
    total = float(weight.sum())
    mean = float(np.sum(weight * flux[kept]) / total)
    count = int(kept.sum())
    chi2 = float(np.sum(weight * (flux[kept] - mean) ** 2) / (count - 1)) if count > 1 else np.nan
    error = total**-0.5 * (max(chi2, 1.0) ** 0.5 if count > 1 else 1.0)
    scatter = float(np.std(flux[kept], ddof=1)) if count > 1 else np.nan
    time = float(np.sum(weight * mjd[kept]) / total)
    return time, mean, error, scatter, chi2, count, len(flux) - count
