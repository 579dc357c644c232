"""Frame normalization: one joint robust fit of all reference stars in all frames of one filter.

Model: ``flux[i, j] = coefficient[i] * star_flux[j] * (1 + v[i, j]) + noise``, where ``v`` has the star's
own excess scatter (variability, flat-field residuals) and, when needed, the frame's. A frame is *divided*
by its coefficient. All (star, frame) pairs are solved together, so stars may come and go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lightwatch.errors import InputError, TooFewStars
from lightwatch.flags import Flag
from lightwatch.processes.normalization_fit import Fit, fit_pairs, make_pairs, masked_median, row_variance

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Normalization:
    """The solution for one filter; NaN where there is none, with the reason in the flags.

    Frames, shape (n_frames,):
        ``coefficient`` and its 1 sigma ``coefficient_uncertainty`` (joint covariance, relative to the mean frame,
        and the error common to the fluxes of the frame), ``common_uncertainty`` the latter alone, NaN if unknown,
        ``frame_scatter`` relative scatter of the stars in this frame beyond all other noise,
        ``frame_chi2`` reduced chi2, ``frame_n_stars`` number of stars used, ``frame_flags``
        (``TOO_FEW_STARS``, ``OUTLIER``, ``UNLINKED``), ``frame_group`` connected group, -1 without data.
    Stars, shape (n_stars,):
        ``star_flux`` mean flux on the normalised scale (electron/s) and ``star_flux_uncertainty``,
        ``star_scatter`` relative excess scatter, ``star_n_frames``, ``star_flags`` (``VARIABLE``,
        ``LOW_SNR``, ``UNLINKED``), ``influence_rms`` and ``influence_max``: relative change of the
        coefficients (over the star's frames) were this star left out.
    Pairs, shape (n_frames, n_stars):
        ``pair_share`` the star's share of the weight in the frame (rows sum to one),
        ``pair_outlier`` True where the pair was disowned, ``pair_residual`` fraction by which the flux is
        off the model, and ``pair_weight`` fraction of its weight that was kept; NaN where there is no pair.
    """

    coefficient: Floats
    coefficient_uncertainty: Floats
    common_uncertainty: Floats
    frame_scatter: Floats
    frame_chi2: Floats
    frame_n_stars: Ints
    frame_flags: Ints
    frame_group: Ints
    star_flux: Floats
    star_flux_uncertainty: Floats
    star_scatter: Floats
    star_n_frames: Ints
    star_flags: Ints
    influence_rms: Floats
    influence_max: Floats
    pair_share: Floats
    pair_outlier: Bools
    pair_residual: Floats
    pair_weight: Floats
    converged: bool
    n_iterations: int


def normalize(
    flux: Floats,
    flux_uncertainty: Floats,
    good: Bools,
    *,
    common_error: Floats | None,
    gauge_flux: Floats | None,
    min_stars: int,
    min_snr: float,
    scatter_floor: float,
    variable_scatter: float,
    outlying_frame_scatter: float,
    coefficient_range: tuple[float, float],
    outlier_sigma: float,
    max_iterations: int,
) -> Normalization:
    """Solve the normalization of all frames of one filter.

    Parameters
    ----------
    flux, flux_uncertainty : (n_frames, n_stars), electron/s, 1 sigma; may hold NaN where ``good`` is False.
    good : (n_frames, n_stars), True = use. An excluded star is a column of False.
    common_error : (n_frames,) relative error that all fluxes of a frame share, None or NaN = unknown: that
        of the total flux of its PSF. The stars cannot tell it from the transparency, so it changes no coefficient,
        but a coefficient's error as a transparency. Fluxes measured with the same PSF share it: their
        ratios to the coefficient are free of it.
    gauge_flux : (n_stars,) or None. The overall scale is a convention. None: the median coefficient of the
        frames is 1. An array of expected fluxes (NaN = unknown; e.g. ``10**(-0.4 * (mag - zeropoint))`` of
        the catalogue with a pinned zero point, or the star fluxes of an earlier solution): the median ratio
        of the stars to it is 1, so that the scale does not move when frames are added.
    min_stars : frames with fewer usable stars get no coefficient.
    min_snr : stars whose median S/N over their frames is lower do not enter.
    scatter_floor : relative excess scatter that every star is given at least (for instance 0.001).
    variable_scatter : stars with a significant excess scatter above this are flagged ``VARIABLE``.
    outlying_frame_scatter : frames with a significant excess scatter above this are flagged ``OUTLIER``.
    coefficient_range : frames whose coefficient over the median is outside of it are flagged ``OUTLIER``.
    outlier_sigma : a pair farther off than this has no weight (biweight; 6 keeps 98 % efficiency).

    Raises
    ------
    InputError ``bad_shape``; TooFewStars ``no_stars_in_common`` when no frame can be solved.

    Source: bilinear model by Gauss-Newton in log coefficient and log flux; robust weights by Beaton &
    Tukey (1974) biweight; variance components by Fisher scoring; own derivation of the Schur form.
    """
    good = _checked(flux, flux_uncertainty, good, gauge_flux)
    chosen = _choose(flux, flux_uncertainty, good, min_stars=min_stars, min_snr=min_snr)
    frames, stars = np.flatnonzero(chosen.frame_linked), np.flatnonzero(chosen.star_linked)
    block = np.ix_(frames, stars)
    pairs = make_pairs(flux[block], flux_uncertainty[block], good[block])
    fit = fit_pairs(
        pairs, scatter_floor=scatter_floor, outlier_sigma=outlier_sigma, max_iterations=max_iterations
    )
    solution = _in_gauge(fit, None if gauge_flux is None else gauge_flux[stars])
    frame_flags = chosen.frame_flags.copy()
    frame_flags[frames] |= _frame_flags(
        fit, solution.coefficient, min_stars, outlying_frame_scatter, coefficient_range
    )
    star_flags = chosen.star_flags.copy()
    star_flags[stars] |= _bits(_is_variable(fit, variable_scatter), Flag.VARIABLE)
    lost = (frame_flags[frames] & Flag.TOO_FEW_STARS) > 0
    coefficient = np.where(lost, np.nan, solution.coefficient)
    rms, largest = leave_one_out(fit)
    common = coefficient * (np.full(len(frames), np.nan) if common_error is None else common_error[frames])
    uncertainty = np.hypot(coefficient * solution.coefficient_error, np.nan_to_num(common))
    share = fit.weight / np.maximum(fit.weight.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    kept = np.divide(fit.weight, fit.clean_weight, out=np.full(share.shape, np.nan), where=pairs.good)
    n_frames, n_stars = flux.shape
    return Normalization(
        coefficient=_spread(coefficient, frames, n_frames),
        coefficient_uncertainty=_spread(uncertainty, frames, n_frames),
        common_uncertainty=_spread(common, frames, n_frames),
        frame_scatter=_spread(fit.frame_scatter, frames, n_frames),
        frame_chi2=_spread(_frame_chi2(fit), frames, n_frames),
        frame_n_stars=_counts((fit.weight > 0).sum(axis=1), frames, n_frames),
        frame_flags=frame_flags,
        frame_group=chosen.frame_group,
        star_flux=_spread(solution.star_flux, stars, n_stars),
        star_flux_uncertainty=_spread(solution.star_flux * solution.star_flux_error, stars, n_stars),
        star_scatter=_spread(fit.star_scatter, stars, n_stars),
        star_n_frames=_counts((fit.weight > 0).sum(axis=0), stars, n_stars),
        star_flags=star_flags,
        influence_rms=_spread(rms, stars, n_stars),
        influence_max=_spread(largest, stars, n_stars),
        pair_share=_spread_block(share, block, flux.shape, 0.0),
        pair_outlier=_spread_block(fit.outlier, block, flux.shape, False).astype(bool),
        pair_residual=_spread_block(np.where(pairs.good, fit.residual, np.nan), block, flux.shape, np.nan),
        pair_weight=_spread_block(kept, block, flux.shape, np.nan),
        converged=fit.converged,
        n_iterations=fit.n_iterations,
    )


@dataclass(frozen=True)
class _Chosen:
    frame_linked: Bools
    star_linked: Bools
    frame_flags: Ints
    star_flags: Ints
    frame_group: Ints


@dataclass(frozen=True)
class _Solution:
    coefficient: Floats
    coefficient_error: Floats  # relative
    star_flux: Floats
    star_flux_error: Floats  # relative


def _checked(flux: Floats, uncertainty: Floats, good: Bools, gauge: Floats | None) -> Bools:
    """The pairs that hold numbers, after a look at the shapes."""
    if flux.ndim != 2 or uncertainty.shape != flux.shape or good.shape != flux.shape:
        raise InputError("bad_shape", "flux, flux_uncertainty and good must share one 2-D shape")
    if gauge is not None and gauge.shape != flux.shape[1:]:
        raise InputError("bad_shape", "gauge_flux must have one entry per star")
    usable: Bools = good & np.isfinite(flux) & np.isfinite(uncertainty)
    usable &= np.where(usable, uncertainty, 0.0) > 0
    return usable


def _choose(flux: Floats, uncertainty: Floats, good: Bools, *, min_stars: int, min_snr: float) -> _Chosen:
    """Stars bright enough, frames with enough of them, and of these the largest linked group."""
    # the star's median decides, for a cut on single measurements would keep those that scattered upwards
    snr = masked_median(np.divide(flux, uncertainty, out=np.zeros_like(flux), where=good), good, 0)
    faint = ~(np.nan_to_num(snr, nan=-np.inf) >= max(min_snr, np.finfo(float).tiny))
    positive = np.nan_to_num(masked_median(flux, good, 0), nan=-1.0) > 0
    usable = good & ~faint & positive
    enough = usable.sum(axis=1) >= max(min_stars, 1)
    usable &= enough[:, None]
    if not usable.any():
        raise TooFewStars("no_stars_in_common", "no frame has enough reference stars for a normalization")
    frame_group, star_group = _groups(usable, np.where(usable, flux, 0.0))
    unlinked_frame, unlinked_star = enough & (frame_group != 0), usable.any(axis=0) & (star_group != 0)
    return _Chosen(
        frame_linked=frame_group == 0,
        star_linked=star_group == 0,
        frame_flags=_bits(~enough, Flag.TOO_FEW_STARS) | _bits(unlinked_frame, Flag.UNLINKED),
        star_flags=_bits(good.any(axis=0) & (faint | ~positive), Flag.LOW_SNR)
        | _bits(unlinked_star, Flag.UNLINKED),
        frame_group=frame_group,
    )


def _groups(usable: Bools, flux: Floats) -> tuple[Ints, Ints]:
    """Groups of frames and stars linked by common pairs, 0 = the largest; -1 without any pair."""
    n_frames, n_stars = usable.shape
    row, column = np.nonzero(usable)
    size = n_frames + n_stars
    graph = coo_matrix((np.ones(len(row)), (row, column + n_frames)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    pairs = np.bincount(label[row], minlength=label.max() + 1)
    light = np.bincount(label[row], weights=flux[row, column], minlength=label.max() + 1)
    # by size, not by order of arrival; light breaks ties
    rank = np.empty(len(pairs), np.int64)
    rank[np.lexsort((-light, -pairs))] = np.arange(len(pairs))
    group = rank[label]
    return (
        np.where(usable.any(axis=1), group[:n_frames], -1),
        np.where(usable.any(axis=0), group[n_frames:], -1),
    )


def _in_gauge(fit: Fit, gauge_flux: Floats | None) -> _Solution:
    """Fix the open scale and give the errors relative to it.

    The scale is a convention: an error that all coefficients share is none of theirs (it is one of the zero
    point), so theirs are relative to the mean frame, weighted by what is known of each.
    """
    of_frames = fit.weight.sum(axis=1) / fit.weight.sum()
    of_stars: Floats | None = None
    if gauge_flux is None:
        shift = float(np.log(np.median(np.exp(fit.a))))
    else:
        known = np.isfinite(gauge_flux) & (np.where(np.isfinite(gauge_flux), gauge_flux, 0.0) > 0)
        if not known.any():
            raise InputError("no_gauge_star", "none of the reference stars used has a known gauge flux")
        shift = -float(np.median(fit.b[known] - np.log(gauge_flux[known])))
        of_stars = known / known.sum()
    star_variance = row_variance(fit.weight.T, of_stars, of_frames if of_stars is None else None)
    return _Solution(
        coefficient=np.exp(fit.a - shift),
        coefficient_error=np.sqrt(row_variance(fit.weight, of_frames, None)),
        star_flux=np.exp(fit.b + shift),
        star_flux_error=np.sqrt(star_variance),
    )


def _frame_flags(
    fit: Fit, coefficient: Floats, min_stars: int, worst_scatter: float, allowed: tuple[float, float]
) -> Ints:
    ratio = coefficient / np.median(coefficient)
    outlying = (fit.frame_scatter > worst_scatter) | (ratio < allowed[0]) | (ratio > allowed[1])
    few = (fit.weight > 0).sum(axis=1) < min_stars
    return _bits(outlying, Flag.OUTLIER) | _bits(few, Flag.TOO_FEW_STARS)


def _is_variable(fit: Fit, variable_scatter: float) -> Bools:
    """Scatter beyond the limit, well beyond what is usual in this field, and significant."""
    usual = 2.5 * float(np.median(fit.star_scatter))
    significant = fit.star_scatter**2 > 3 * fit.star_scatter_uncertainty
    found: Bools = (fit.star_scatter > max(variable_scatter, usual)) & significant
    return found


def _frame_chi2(fit: Fit) -> Floats:
    used = fit.weight > 0
    chi2 = np.where(used, fit.residual**2 * fit.clean_weight, 0.0).sum(axis=1)
    freedom = used.sum(axis=1) - 1.0
    return np.divide(chi2, freedom, out=np.full_like(chi2, np.nan), where=freedom > 0)


def leave_one_out(fit: Fit) -> tuple[Floats, Floats]:
    """Relative change of the coefficients (rms and largest over frames) were each star left out.

    Closed form, the other stars' mean fluxes held: da_i = -w_ij r_ij / (sum_k w_ik - w_ij).
    """
    rest = fit.weight.sum(axis=1, keepdims=True) - fit.weight
    used = (fit.weight > 0) & (rest > 1e-9 * fit.weight)
    change = np.divide(fit.weight * fit.residual, rest, out=np.zeros_like(rest), where=used)
    count = used.sum(axis=0)
    mean_square = np.divide((change**2).sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)
    return np.sqrt(mean_square), np.where(count > 0, np.abs(change).max(axis=0), np.nan)


def gauge_fluxes(flux: Floats, good: Bools, g_mag: Floats, *, step_mag: float) -> Floats | None:
    """Expected fluxes (n_stars,) of stars of catalogue magnitude ``g_mag``, NaN where it is unknown.

    The zero point behind them is the median of ``flux`` (n_frames, n_stars) in steps of ``step_mag``, so that
    it stays when frames are added. None when no star has both a magnitude and a flux.
    """
    known = good & (flux > 0) & np.isfinite(g_mag)
    if not known.any():
        return None
    each = (g_mag + 2.5 * np.log10(np.where(known, flux, 1.0)))[known]
    zeropoint = step_mag * round(float(np.median(each)) / step_mag)
    return np.asarray(10 ** (-0.4 * (g_mag - zeropoint)))


def apertures_serve_better(
    model_error: Floats, fwhm_px: Floats, *, least_model_error: float, largest_fwhm_px: float
) -> bool:
    """Whether the PSF misses the light of stars that are small against pixels, on most of the frames.

    ``model_error`` (n_frames,) fraction of the light by which the PSF misses the data of its stars, and
    ``fwhm_px`` (n_frames,) its FWHM; NaN where a frame has no PSF: it has no say. Each frame is judged by
    itself and most of them decide, so that one more frame matters only where opinions are even.
    """
    known = np.isfinite(model_error) & np.isfinite(fwhm_px)
    missed = known & (model_error > least_model_error) & (fwhm_px < largest_fwhm_px)
    return bool(2 * missed.sum() > known.sum())


def unsound_minority(unsound: Bools) -> Bools:
    """Frames (n_frames,) to be left out: the ``unsound`` ones, as long as fewer than half of the frames are.

    Where they are many, the mark says more of the night than of single frames, and without them little would remain.
    """
    return unsound if 2 * unsound.sum() < len(unsound) else np.zeros_like(unsound)


def _bits(where: Bools, flag: Flag) -> Ints:
    return where.astype(np.int64) * int(flag)


def _spread(values: Floats, index: Ints, size: int) -> Floats:
    full = np.full(size, np.nan)
    full[index] = values
    return full


def _counts(values: Ints, index: Ints, size: int) -> Ints:
    full = np.zeros(size, np.int64)
    full[index] = values
    return full


def _spread_block(
    values: Floats | Bools, block: tuple[Ints, ...], shape: tuple[int, ...], empty: float
) -> Floats:
    full = np.full(shape, empty, dtype=float)
    full[block] = values
    return full
