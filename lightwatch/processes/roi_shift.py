"""Where a region of interest lies in a frame: what the frame's stars know of it, and what the region adds.

The stars' positions are measured with the PSF that the region's model uses, so whatever displaces that PSF
from the WCS displaces both alike. The point sources then need not pay for a shift that the stars know a
hundred times better (without it their bound is 1.3 times higher at S/N 150).
"""

from __future__ import annotations

import numpy as np

from lightwatch.processes.roi_types import BoolArray, FloatArray

MIN_STARS = 3
POSITION_ERROR_FWHM = (
    0.6  # of a star at S/N 1, in FWHM: background-limited Gaussian (King 1983, PASP 95, 163)
)
CLIP_SIGMA = 4.0
ROUNDS = 5
SMALLEST_SCATTER_PX = 0.002
SCATTER_STEP = 1.25  # between the values of the scatter that are tried
DECISIVE = 2.0  # gain in log likelihood from which an additional scatter is believed
UNTOLD = 1e-9  # data that say less than this fraction of what the prior says: lost in rounding


def star_shift(offset_px: FloatArray, snr: FloatArray, fwhm_px: float) -> tuple[FloatArray, float]:
    """Common displacement of a frame's stars from the WCS, and how far a single place may differ from it.

    ``offset_px`` (K, 2) measured less predicted, ``snr`` (K,) of the fluxes. Returns (2,) px and 1 sigma per
    axis: error of the mean and scatter among stars beyond their noise (DerSimonian & Laird 1986), with the
    error of that scatter. Zeros and inf from fewer than three stars.
    """
    usable = np.isfinite(offset_px).all(axis=1) & (snr > 0)
    offset, variance = offset_px[usable], (POSITION_ERROR_FWHM * fwhm_px / snr[usable]) ** 2
    if len(offset) < MIN_STARS:
        return np.zeros(2), np.inf
    mean, scatter2, error2 = np.median(offset, axis=0), 0.0, 0.0
    for _ in range(ROUNDS):
        distance2 = ((offset - mean) ** 2).sum(axis=1) / (variance + scatter2)
        near = distance2 <= max(
            2 * CLIP_SIGMA**2, float(np.partition(distance2, MIN_STARS - 1)[MIN_STARS - 1])
        )
        weight = near / (variance + scatter2)
        mean = weight @ offset / weight.sum()
        scatter2, error2 = _scatter_beyond_noise(offset[near] - mean, variance[near])
    return mean, float(np.sqrt(1 / weight.sum() + scatter2 + error2))


def _scatter_beyond_noise(residual: FloatArray, variance: FloatArray) -> tuple[float, float]:
    """Variance per axis beyond ``variance`` (K,), not below 0, and its 1 sigma error; method of moments."""
    weight = 1 / variance
    freedom = 2 * (len(residual) - 1)
    excess = float(weight @ (residual**2).sum(axis=1)) - freedom
    scale = 2 * (weight.sum() - (weight**2).sum() / weight.sum())
    return max(0.0, excess / scale), float(np.sqrt(2 * freedom) / scale)


def additional_scatter(
    shift: FloatArray,
    covariance: FloatArray,
    expected_variance: FloatArray,
    applied: FloatArray,
    cap_px: float,
) -> float:
    """Scatter (px per axis) of the region's shifts beyond what the stars let expect; 0 unless evident.

    A target with a proper motion, or stars that say less than they claim, show here. ``shift`` (T, 2) and
    ``covariance`` (T, 2, 2) are posteriors under a prior of mean zero and variance ``applied`` (T,), which is
    divided out; ``expected_variance`` (T,) is the stars'. The scatter of highest likelihood up to ``cap_px``.
    Epochs without light for a shift to be seen by have no say.
    """
    whole = np.linalg.inv(covariance)
    of_data = whole - np.eye(2) / applied[:, None, None]
    told = np.linalg.eigvalsh(of_data)[:, 0] > UNTOLD / applied
    seen = np.asarray(np.linalg.inv(of_data[told]), dtype=np.float64)
    measured = np.einsum("tab,tbc,tc->ta", seen, whole[told], shift[told])
    expected = expected_variance[told]
    count = int(np.ceil(np.log(max(cap_px / SMALLEST_SCATTER_PX, 1)) / np.log(SCATTER_STEP)))
    tried = np.append(0.0, SMALLEST_SCATTER_PX * SCATTER_STEP ** np.arange(count + 1))
    likelihood = np.array([_log_likelihood(measured, seen, expected + s**2) for s in tried])
    best = int(likelihood.argmax())
    return float(tried[best]) if likelihood[best] > likelihood[0] + DECISIVE else 0.0


def _log_likelihood(measured: FloatArray, seen: FloatArray, variance: FloatArray) -> float:
    total = seen + np.eye(2) * variance[:, None, None]
    chi2 = np.einsum("ta,tab,tb->", measured, np.linalg.inv(total), measured)
    return float(-0.5 * (chi2 + np.log(np.linalg.det(total)).sum()))


def prior_variance(expected_sigma: FloatArray, scatter_px: float, cap_px: float) -> FloatArray:
    """Variance (T,) of the shifts' prior: the stars' with the additional scatter, at most ``cap_px`` squared."""
    return np.minimum(expected_sigma**2 + scatter_px**2, cap_px**2)


def known_by_stars(expected_sigma: FloatArray, cap_px: float) -> BoolArray:
    """(T,) whether the stars say more about the shift than the setting does."""
    return expected_sigma < cap_px
