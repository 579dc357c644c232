"""Width and shape of stars: many small Moffat fits at once, and the mode of a sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_N_STEPS = 9
#: Gaussian prior of (flux, x, y, ln fwhm, e1, e2, ln(beta - 1)), around the start
_PRIOR_SIGMA = np.array([np.inf, np.inf, np.inf, 0.3, 0.3, 0.5, 1.5])
_START_LB = np.log(2.2)
_MAX_TRIALS = 300
_LARGEST_STEP = np.array([np.inf, 0.5, 0.5, 0.4, 0.3, 0.3, 0.5])


@dataclass(frozen=True)
class MoffatFits:
    """One elliptical Moffat per star, arrays (K,).

    ``flux`` (unit of the cutouts), ``dx, dy`` px from the cutout's centre, ``fwhm_px`` (geometric mean of the
    axes, before integration over pixels), ``e1, e2`` shape (see ``ellipticity_of``), ``beta``,
    ``converged`` (the last step moved the width by less than 1 %).
    """

    flux: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    fwhm_px: NDArray[np.float64]
    e1: NDArray[np.float64]
    e2: NDArray[np.float64]
    beta: NDArray[np.float64]
    converged: NDArray[np.bool_]


def ellipticity_of(e1: float, e2: float) -> tuple[float, float]:
    """(1 - b/a, angle of the major axis in rad from +x towards +y) of a shape (e1, e2)."""
    e = np.hypot(e1, e2)
    return float(1 - (np.sqrt(1 + e * e) - e)), float(0.5 * np.arctan2(e2, e1))


def fit_moffats(
    cutouts: NDArray[np.floating],
    good: NDArray[np.bool_],
    background_rms: NDArray[np.floating],
    exptime: float,
    flux: NDArray[np.floating],
    fwhm_px: float,
) -> MoffatFits:
    """Fit ``cutouts`` (K, n, n) electron/s centred on stars of about ``flux`` (K,) and ``fwhm_px``.

    Gauss-Newton with the variance of the model; profile and parameters (ln fwhm, e1, e2, ln(beta - 1))
    free of bounds; integrated over pixels with 2 x 2 Gauss-Legendre nodes where stars are narrow.
    ``good`` (K, n, n) True = use, ``background_rms`` (K,) electron/s, ``exptime`` s.
    """
    n = cutouts.shape[1]
    offsets = np.arange(n) - (n - 1) / 2
    v, u = (g.ravel() for g in np.meshgrid(offsets, offsets, indexing="ij"))
    nodes = (-0.5 / np.sqrt(3), 0.5 / np.sqrt(3)) if fwhm_px < 8 else (0.0,)
    data = np.where(good, cutouts, 0).reshape(len(cutouts), -1).astype(float)
    used = good.reshape(len(cutouts), -1)
    prior = np.array([0, 0, 0, np.log(fwhm_px), 0, 0, _START_LB])
    p = np.tile(prior, (len(data), 1))
    p[:, 0] = np.maximum(flux, background_rms)
    step = np.zeros_like(p)
    for _ in range(_N_STEPS):
        model, slopes = _moffat_and_slopes(p, u, v, nodes)
        weight = used / (background_rms[:, None] ** 2 + np.maximum(model, 0) / exptime)
        step = _gauss_newton_step(data - model, slopes, weight, p - prior)
        step = np.clip(step, -_LARGEST_STEP, _LARGEST_STEP)
        p = p + step
    p = np.where(np.isfinite(p).all(axis=1, keepdims=True), p, np.nan)
    fwhm, beta = np.exp(p[:, 3]), 1 + np.exp(p[:, 6])
    converged = (np.abs(step[:, 3]) < 0.01) & (p[:, 0] > 0) & (np.hypot(p[:, 1], p[:, 2]) < fwhm)
    return MoffatFits(p[:, 0], p[:, 1], p[:, 2], fwhm, p[:, 4], p[:, 5], beta, converged)


def density_mode(values: NDArray[np.floating], width: float) -> float:
    """Where a sample is densest, smoothed by a Gaussian of ``width``; NaN without finite values."""
    x = np.sort(values[np.isfinite(values)].astype(float))
    if x.size == 0:
        return float("nan")
    trial = x[:: max(1, x.size // _MAX_TRIALS)]
    weight = np.exp(-0.5 * ((x[None, :] - trial[:, None]) / width) ** 2)
    best = weight[np.argmax(weight.sum(axis=1))]
    return float(np.sum(best * x) / best.sum())


def _gauss_newton_step(
    residual: NDArray[np.float64],
    slopes: NDArray[np.float64],
    weight: NDArray[np.float64],
    from_prior: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Solve the normal equations of each star: (K, 7)."""
    weighted = slopes * weight[:, None, :]
    hessian = weighted @ slopes.transpose(0, 2, 1)
    gradient = (weighted @ residual[:, :, None])[:, :, 0]
    precision = _PRIOR_SIGMA**-2.0
    hessian += np.diag(precision)
    gradient -= precision * from_prior
    scale = np.sqrt(np.maximum(np.einsum("kii->ki", hessian), 1e-30))
    hessian /= scale[:, :, None] * scale[:, None, :]
    hessian += 1e-9 * np.eye(hessian.shape[1])
    step: NDArray[np.float64] = np.linalg.solve(hessian, (gradient / scale)[:, :, None])[:, :, 0] / scale
    return step


def _moffat_and_slopes(
    p: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64], nodes: tuple[float, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Model (K, n^2) and its derivatives (K, 7, n^2), averaged over the nodes in a pixel."""
    flux, x, y, ln_fwhm, e1, e2, lb = (column[:, None] for column in p.T)
    lb = np.clip(lb, -1.2, 3.5)
    beta, root = 1 + np.exp(lb), np.sqrt(1 + e1 * e1 + e2 * e2)
    half = 2 ** (1 / beta) - 1  # (radius of half maximum / alpha)^2
    k = half * 4 * np.exp(-2 * ln_fwhm)  # 1 / alpha^2
    alpha_with_lb = 0.5 * np.log(2) * (1 + half) * (beta - 1) / (beta**2 * half)  # d ln alpha / d lb
    a, b, c = k * (root - e1), -k * e2, k * (root + e1)
    profile = np.zeros((len(p), u.size))
    slopes = np.zeros((len(p), 7, u.size))
    for node_u in nodes:
        for node_v in nodes:
            du, dv = u + node_u - x, v + node_v - y
            uu, uv, vv = du * du, du * dv, dv * dv
            r2 = a * uu + 2 * b * uv + c * vv
            log_term = np.log1p(r2)
            m = flux * np.exp(lb - beta * log_term) * k / np.pi / len(nodes) ** 2
            fall = m * beta / (1 + r2)
            profile += m
            slopes[:, 1] += 2 * fall * (a * du + b * dv)
            slopes[:, 2] += 2 * fall * (b * du + c * dv)
            wider = 2 * (fall * r2 - m)
            slopes[:, 3] += wider
            slopes[:, 4] -= fall * k * ((e1 / root - 1) * uu + (e1 / root + 1) * vv)
            slopes[:, 5] -= fall * k * (e2 / root * (uu + vv) - 2 * uv)
            slopes[:, 6] += m * (1 - (beta - 1) * log_term) + alpha_with_lb * wider
    slopes[:, 0] = profile / flux
    return profile, slopes
