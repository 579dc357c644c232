"""The joint fit behind the normalization: robust bilinear least squares with variance components.

Rows are frames, columns are stars. With a = ln(coefficient), b = ln(star flux), model = exp(a_i + b_j),
the relative residual flux/model - 1 has the variance noise^2/model^2 + star scatter^2 + frame scatter^2.
Everything works in flux, so a negative flux of a faint star is a measurement like any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_HUBER_STEPS = 5  # convex steps first, so that the redescending weights start near the solution
_HUBER_SIGMA = 1.5
_MAX_STEP = 0.5
_TOLERANCE = 1e-9
_SCATTER_STEPS = 10  # then the scatters stay: stars of equal weight would else trade theirs for long
_WINSOR_SIGMA = 2.5
_PRIOR_FRAMES = 3.0  # a star's scatter is drawn to the typical one with the weight of this many frames
_MAX_LEVERAGE = 0.9


def _winsorized_variance(limit: float) -> float:
    """E[min(u^2, limit^2)] for a unit normal u."""
    inside = math.erf(limit / math.sqrt(2))
    density = math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi)
    return inside - 2 * limit * density + limit**2 * (1 - inside)


_WINSOR_VARIANCE = _winsorized_variance(_WINSOR_SIGMA)


@dataclass(frozen=True)
class Pairs:
    """Fluxes of linked frames and stars, shape (n_frames, n_stars); ``photon`` (n_frames,) is the slope of
    variance with flux, by which the variance of a measured flux becomes that of the model's flux."""

    flux: Floats  # 0 where not good
    variance: Floats  # infinite where not good
    good: Bools
    photon: Floats


@dataclass(frozen=True)
class Fit:
    """Converged state; weights and residuals are (n_frames, n_stars), 0 where there is no pair."""

    a: Floats
    b: Floats
    star_scatter: Floats
    star_scatter_uncertainty: Floats
    frame_scatter: Floats
    weight: Floats  # robust
    clean_weight: Floats  # inverse variance
    residual: Floats
    outlier: Bools
    converged: bool
    n_iterations: int


def make_pairs(flux: Floats, uncertainty: Floats, good: Bools) -> Pairs:
    """Fill what is not good with harmless numbers and find the photon slope of every frame."""
    flux = np.where(good, flux, 0.0)
    variance = np.where(good, uncertainty, 1.0) ** 2
    slope = _photon_slope(flux, variance, good)
    return Pairs(flux, np.where(good, variance, np.inf), good, slope)


def _photon_slope(flux: Floats, variance: Floats, good: Bools) -> Floats:
    """Slope of variance against flux among the stars of a frame, between 0 and what the noise allows."""
    weight = good / variance**2
    total = np.maximum(weight.sum(axis=1), np.finfo(float).tiny)
    flux_mean = (weight * flux).sum(axis=1) / total
    variance_mean = (weight * variance).sum(axis=1) / total
    offset = flux - flux_mean[:, None]
    power = (weight * offset**2).sum(axis=1)
    covariance = (weight * offset * (variance - variance_mean[:, None])).sum(axis=1)
    slope = np.divide(covariance, power, out=np.zeros_like(power), where=power > 0)
    ratio = np.divide(variance, flux, out=np.full_like(flux, np.inf), where=good & (flux > 0))
    return np.clip(slope, 0.0, np.where(np.isfinite(ratio.min(axis=1)), ratio.min(axis=1), 0.0))


def masked_median(values: Floats, good: Bools, axis: int) -> Floats:
    """Median along an axis of what is good; NaN without any. (Much faster than nanmedian.)"""
    ordered = np.sort(np.where(good, values, np.inf), axis=axis)
    count = good.sum(axis=axis)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[axis] - 1)
    picks = [np.take_along_axis(ordered, np.expand_dims(k, axis), axis).squeeze(axis) for k in (low, high)]
    return np.where(count > 0, (picks[0] + np.where(count > 0, picks[1], 0.0)) / 2, np.nan)


def _start(pairs: Pairs) -> tuple[Floats, Floats, Floats]:
    """Median polish of the log fluxes, and star scatters from the median absolute residual."""
    usable = pairs.good & (pairs.flux > 0)
    log_flux = np.log(np.where(usable, pairs.flux, 1.0))
    b = masked_median(log_flux, usable, 0)
    for _ in range(2):
        a = np.nan_to_num(masked_median(log_flux - b, usable, 1))
        b = masked_median(log_flux - a[:, None], usable, 0)
    deviation = np.abs(log_flux - a[:, None] - b)
    noise = masked_median(pairs.variance / np.where(usable, pairs.flux, 1.0) ** 2, usable, 0)
    scatter2 = (1.4826 * masked_median(deviation, usable, 0)) ** 2 - noise
    return a, b, np.maximum(scatter2, 0.0)


def _solve_step(weight: Floats, residual: Floats) -> tuple[Floats, Floats]:
    """Weighted least squares of residual = da_i + db_j, the longer side eliminated (sum of the kept = 0)."""
    if weight.shape[1] > weight.shape[0]:
        db, da = _solve_step(weight.T, residual.T)
        return da, db
    rows = _positive(weight.sum(axis=1))
    weighted = weight * residual
    row_side = weighted.sum(axis=1)
    schur = _schur(weight, rows)
    db = cho_solve(cho_factor(schur), weighted.sum(axis=0) - weight.T @ (row_side / rows))
    return (row_side - weight @ db) / rows, db


def _positive(total: Floats) -> Floats:
    return np.maximum(total, 1e-12 * max(float(total.max()), np.finfo(float).tiny))


def _schur(weight: Floats, rows: Floats) -> Floats:
    """Normal matrix of the columns after elimination of the rows; the common mode is made definite."""
    columns = _positive(weight.sum(axis=0))
    schur = np.diag(columns) - weight.T @ (weight / rows[:, None])
    return schur + columns.mean() / len(columns)


def _weights(pairs: Pairs, a: Floats, b: Floats, star2: Floats, frame2: Floats) -> tuple[Floats, Floats]:
    """Relative residuals and inverse variances at the model's fluxes."""
    model = np.exp(a)[:, None] * np.exp(b)
    variance = model - pairs.flux
    variance *= pairs.photon[:, None]
    variance += pairs.variance
    np.maximum(variance, 0.1 * pairs.variance, out=variance)
    variance /= model
    variance /= model
    variance += star2 + frame2[:, None]
    residual = pairs.flux / model
    residual -= 1
    return residual, np.divide(1.0, variance, out=variance)


def _standardized(residual: Floats, clean: Floats, weight: Floats) -> Floats:
    """Residuals in sigma, allowing for the part of each pair that the fit itself absorbs (leverage)."""
    rows, columns = _positive(weight.sum(axis=1)), _positive(weight.sum(axis=0))
    square = weight * (1 / rows[:, None] + 1 / columns)
    np.minimum(square, _MAX_LEVERAGE, out=square)
    np.subtract(1, square, out=square)
    np.divide(clean, square, out=square)
    np.sqrt(square, out=square)
    square *= np.abs(residual)
    return square


def _robust(sigma: Floats, step: int, outlier_sigma: float) -> Floats:
    if step < _HUBER_STEPS:
        return np.minimum(1.0, _HUBER_SIGMA / np.maximum(sigma, _HUBER_SIGMA))
    return np.maximum(1 - (sigma / outlier_sigma) ** 2, 0.0) ** 2


def _scatter_step(
    clean: Floats, sigma: Floats, owned: Bools, axis: int, current: Floats
) -> tuple[Floats, Floats]:
    """One Fisher-scoring step of the variance components along an axis, and their standard error."""
    information = np.where(owned, clean, 0.0) ** 2
    excess = np.minimum(sigma, _WINSOR_SIGMA) ** 2 / _WINSOR_VARIANCE - 1
    total = _positive(information.sum(axis=axis))
    change = np.where(owned, clean * excess, 0.0).sum(axis=axis) / total
    return np.maximum(current + change, 0.0), np.sqrt(2 / total)


def _update_stars(estimate: Floats, n_frames: Floats, floor: float) -> Floats:
    """Draw the scatter of stars with few frames to the typical one, which tames chance agreement."""
    typical = float(np.median(estimate))
    drawn = (n_frames * estimate + _PRIOR_FRAMES * typical) / (n_frames + _PRIOR_FRAMES)
    return np.maximum(drawn, floor**2)


def _update_frames(clean: Floats, sigma: Floats, owned: Bools, frame2: Floats) -> Floats:
    """Frame scatter, counted only beyond two standard errors of its value under no scatter."""
    estimate, _ = _scatter_step(clean, sigma, owned, 1, frame2)
    without = np.where(owned, 1 / np.maximum(1 / np.maximum(clean, 1e-300) - frame2[:, None], 1e-300), 0.0)
    return np.maximum(estimate - 2 * np.sqrt(2 / _positive((without**2).sum(axis=1))), 0.0)


def fit_pairs(pairs: Pairs, *, scatter_floor: float, outlier_sigma: float, max_iterations: int) -> Fit:
    """Iterate solution, robust weights and scatters until nothing moves. The gauge is left open."""
    a, b, star2 = _start(pairs)
    star2 = np.maximum(star2, scatter_floor**2)
    frame2 = np.zeros_like(a)
    n_frames = pairs.good.sum(axis=0).astype(float)
    star_error = np.full_like(b, np.inf)
    weight, converged, step = pairs.good.astype(float), False, 0
    for step in range(max_iterations):
        residual, clean = _weights(pairs, a, b, star2, frame2)
        sigma = _standardized(residual, clean, weight if step else clean)
        weight = clean * _robust(sigma, step, outlier_sigma)
        da, db = _solve_step(weight, residual)
        moved = max(float(np.ptp(da)), float(np.ptp(db)))
        a, b = a + np.clip(da, -_MAX_STEP, _MAX_STEP), b + np.clip(db, -_MAX_STEP, _MAX_STEP)
        if step < _SCATTER_STEPS:
            owned = pairs.good & (sigma < outlier_sigma)
            estimate, star_error = _scatter_step(clean, sigma, owned, 0, star2)
            frame2 = _update_frames(clean, sigma, owned, frame2)
            star2 = np.sqrt(star2 * _update_stars(estimate, n_frames, scatter_floor))  # damped
        elif moved < _TOLERANCE:
            converged = True
            break
    residual, clean = _weights(pairs, a, b, star2, frame2)
    sigma = _standardized(residual, clean, weight)
    return Fit(
        a=a, b=b, star_scatter=np.sqrt(star2), star_scatter_uncertainty=star_error,
        frame_scatter=np.sqrt(frame2), weight=clean * _robust(sigma, _HUBER_STEPS, outlier_sigma),
        clean_weight=clean, residual=residual, outlier=pairs.good & (sigma >= outlier_sigma),
        converged=converged, n_iterations=step + 1,
    )  # fmt: skip


def row_variance(weight: Floats, row_gauge: Floats | None, column_gauge: Floats | None) -> Floats:
    """Variance of the row parameters of residual = row + column, in a gauge.

    Exactly one gauge is given, weights that sum to 1: either sum(row_gauge * rows) = 0, or
    sum(column_gauge * columns) = 0. Call with ``weight.T`` for the columns' variance.
    """
    rows, columns = _positive(weight.sum(axis=1)), _positive(weight.sum(axis=0))
    if weight.shape[1] <= weight.shape[0]:
        share = weight / rows[:, None]
        own = 1 / rows
        if row_gauge is not None:
            target = row_gauge @ share
            own = own * (1 - 2 * row_gauge) + float((row_gauge**2 / rows).sum())
        else:
            target = np.asarray(column_gauge)
        half = cholesky(_schur(weight, rows), lower=True)
        return own + (solve_triangular(half, (share - target).T, lower=True) ** 2).sum(axis=0)
    own = np.zeros(len(rows))
    if row_gauge is not None:
        target = row_gauge
    else:
        gauge = np.asarray(column_gauge)
        target = (weight / columns) @ gauge
        own = own + float((gauge**2 / columns).sum())
    half = cholesky(_schur(weight.T, columns), lower=True)
    return own + (solve_triangular(half, (np.eye(len(rows)) - target).T, lower=True) ** 2).sum(axis=0)
