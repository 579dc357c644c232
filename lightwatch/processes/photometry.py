"""Flux of every star in every frame, given the PSF of the frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import sep
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.processes.photometry_solver import BLOCK, Pair, PairSolution, solve_pairs
from lightwatch.processes.psf_batch import bucket, solve_in_batches
from lightwatch.processes.psf_cutouts import BoolArray, StarCutouts, struck_pixels, usable_pixels
from lightwatch.processes.psf_jax import jax
from lightwatch.processes.psf_model import FloatArray, LocalPSF, PSFModel, concatenate_psfs, local_psf

NEIGHBOUR_BUCKETS = (0, 2, 4, 8)
BLOCKS = 32  # of pairs in one call
FIRST_POSITION_SIGMA_PX = 1.0  # before the frame's common shift is known
SHIFT_STAR_SNR = 50.0
FIRST_ROBUST_SIGMA = 5.0
LEAST_SQUARES = 1e30  # sigma beyond which residuals would lose weight
NO_BACKGROUND = 1e30  # precision that keeps the background at zero
MIN_COVERAGE = 0.5
MIN_SNR = 3.0
MAX_CONTAMINATION = 0.05
CONVERGED_STEP_SIGMA = 0.1
LARGE_SHIFT_SIGMA = 3.0
SOME_STRUCK_INFORMATION = 0.002  # of what is known of the flux: below, nothing to report
MAX_STRUCK_INFORMATION = 0.3  # beyond, it is the star that is not as the PSF says


@dataclass(frozen=True)
class StarFluxes:
    """PSF photometry of (F, K) pairs; NaN where not measured. Fluxes are of the whole plane."""

    flux: FloatArray  # (F, K) data units (electron/s)
    flux_uncertainty: FloatArray  # (F, K) 1 sigma, includes position (and background) uncertainty
    x: FloatArray  # (F, K) px from the centre of the cutout
    y: FloatArray
    background: FloatArray  # (F, K) data units per pixel; 0 when not fitted
    reduced_chi2: FloatArray  # (F, K)
    n_pixels: NDArray[np.int64]  # (F, K) pixels used
    flags: NDArray[
        np.int64
    ]  # (F, K) lightwatch.flags.Flag; COSMIC_RAY: struck pixels that matter were left out
    neighbour_flux: FloatArray  # (F, K, N)
    rejected_pixels: BoolArray  # (F, K, n, n) found to be struck
    model: FloatArray  # (F, K, n, n) star, neighbours and background
    neighbour_model: FloatArray  # (F, K, n, n) neighbours and background only
    frame_shift: FloatArray  # (F, 2) px, common shift against the predicted positions


@dataclass(frozen=True)
class _Pairs:
    """The measurable (star, frame) pairs, flattened; N of them."""

    frame: NDArray[np.intp]  # (N,)
    star: NDArray[np.intp]
    neighbour_order: NDArray[np.intp]  # (N, neighbours) present ones first
    quadrature: NDArray[np.int64]  # (N,)
    fwhm_px: FloatArray  # (N,)
    pair: Pair  # fields (N, ...)


def measure_stars(
    psfs: list[PSFModel | None],
    cutouts: StarCutouts,
    *,
    position_sigma_px: float,
    fit_background: bool,
    outlier_sigma: float,
    model_error: float,
    max_reduced_chi2: float,
) -> StarFluxes:
    """PSF flux of every present star of every frame with a PSF (numerics of Stetson 1987, PASP 99, 191).

    ``psfs`` has one model (or None) per frame. Positions are free within ``position_sigma_px`` of the
    prediction once the common shift of the frame (median over stars with S/N > 50) is removed, which
    takes away the bias of free positions at low S/N. ``model_error`` is the least fractional error
    granted to the PSF when pixels are judged as outliers. The error that the fit of the PSF found
    (PSFModel.model_error) is granted when pixels are judged and in chi2. It moves light between pixels
    and is no error of the sum: with weights like those of photons it leaves the flux alone, and the
    rest cancels in the calibration; so it is neither in the weights nor in the uncertainties.
    """
    good = usable_pixels(cutouts)
    has_psf = np.array([psf is not None for psf in psfs], dtype=bool)
    frame, star = np.nonzero(good.any((2, 3)) & has_psf[:, None])
    if len(frame) == 0:
        return _empty(cutouts)
    pairs = _gather(psfs, cutouts, good, frame, star, fit_background)
    first = _solve(pairs)
    shift = _common_shift(pairs, first, len(psfs))
    pairs = _refined(pairs, shift, position_sigma_px)
    judge = partial(_struck, outlier_sigma=outlier_sigma, model_error=model_error)
    struck = judge(pairs, first)
    solution = _solve(_without(pairs, struck))
    solution, struck = _settle(pairs, solution, struck, judge(pairs, solution))
    pairs = _without(pairs, struck)
    flags = _flags(pairs, solution, struck, position_sigma_px, max_reduced_chi2)
    return _scatter(cutouts, pairs, solution, struck, shift, flags)


def light_of_neighbours(psfs: list[PSFModel | None], cutouts: StarCutouts) -> FloatArray:
    """Known neighbours alone (F, K, n, n), from one robust measurement of star and neighbours; else 0."""
    crowded = replace(cutouts, present=cutouts.present & cutouts.neighbour_present.any(2))
    good = usable_pixels(crowded)
    frame, star = np.nonzero(good.any((2, 3)) & np.array([psf is not None for psf in psfs])[:, None])
    light = np.zeros(cutouts.data.shape)
    if len(frame):
        solution = _solve(_gather(psfs, crowded, good, frame, star, False))
        light[frame, star] = np.nan_to_num(solution.neighbour_model)
    return light


def _gather(
    psfs: list[PSFModel | None],
    cutouts: StarCutouts,
    good: BoolArray,
    frame: NDArray[np.intp],
    star: NDArray[np.intp],
    fit_background: bool,
) -> _Pairs:
    """Data of the pairs for a first, robust measurement in which positions are free."""
    here = good[frame, star]
    present = cutouts.neighbour_present[frame, star]
    order = np.argsort(~present, axis=1, kind="stable")
    present = np.take_along_axis(present, order, 1)
    offset = np.take_along_axis(cutouts.neighbour_offset[frame, star], order[..., None], 1)
    count = len(frame)
    pair = Pair(
        data=np.where(here, cutouts.data[frame, star], 0.0).astype(np.float64),
        variance=np.where(here, cutouts.background_variance[frame, star], 1.0).astype(np.float64),
        weight=here.astype(np.float64),
        exposure=cutouts.exposure[frame].astype(np.float64),
        model_error=np.array([0.0 if psf is None else psf.model_error for psf in psfs])[frame],
        offset=cutouts.offset[frame, star].astype(np.float64),
        position_precision=np.full(count, FIRST_POSITION_SIGMA_PX**-2.0),
        background_precision=np.full(count, 0.0 if fit_background else NO_BACKGROUND),
        robust_sigma=np.full(count, FIRST_ROBUST_SIGMA),
        neighbour_offset=np.where(present[..., None], offset, 0.0),
        neighbour_present=present.astype(np.float64),
        psf=_local_psfs(psfs, cutouts.position, frame, star),
    )
    fwhm = np.array([np.nan if psf is None else psf.fwhm_px for psf in psfs])
    quadrature = np.array([0 if psf is None else psf.quadrature for psf in psfs], dtype=np.int64)
    return _Pairs(frame, star, order, quadrature[frame], fwhm[frame], pair)


def _local_psfs(
    psfs: list[PSFModel | None], position: FloatArray, frame: NDArray[np.intp], star: NDArray[np.intp]
) -> LocalPSF:
    """PSF at the place of every pair; ``frame`` is sorted."""
    batches = []
    for index, model in enumerate(psfs):
        places = position[index, star[frame == index]]
        if model is not None and len(places):
            batches.append(local_psf(model, places[:, 0], places[:, 1]))
    return concatenate_psfs(batches)


def _solve(pairs: _Pairs) -> PairSolution:
    """Solve all pairs, those alike in quadrature and in having neighbours together."""
    crowded = pairs.pair.neighbour_present.any(1)
    groups = [
        np.flatnonzero((pairs.quadrature == quadrature) & (crowded == with_neighbours))
        for quadrature in np.unique(pairs.quadrature)
        for with_neighbours in (False, True)
    ]
    groups = [group for group in groups if len(group)]
    parts = [_solve_alike(_take(pairs, group)) for group in groups]
    whole = jax.tree.map(lambda *columns: np.concatenate(columns), *parts)
    back = np.argsort(np.concatenate(groups))
    return jax.tree.map(lambda a: a[back], whole)


def _solve_alike(pairs: _Pairs) -> PairSolution:
    """Solve pairs of one compiled shape; the neighbour axis comes back at its full length."""
    total = pairs.pair.neighbour_present.shape[1]
    used = int(pairs.pair.neighbour_present.sum(1).max(initial=0))
    columns = bucket(used, NEIGHBOUR_BUCKETS)
    widen = max(columns - total, 0)
    pair = pairs.pair._replace(
        neighbour_offset=np.pad(pairs.pair.neighbour_offset, ((0, 0), (0, widen), (0, 0)))[:, :columns],
        neighbour_present=np.pad(pairs.pair.neighbour_present, ((0, 0), (0, widen)))[:, :columns],
    )
    solver = partial(solve_pairs, quadrature=int(pairs.quadrature[0]))
    solution = solve_in_batches(solver, pair, block=BLOCK, blocks=BLOCKS)
    fluxes = np.zeros((len(pairs.frame), total))
    fluxes[:, : min(columns, total)] = solution.neighbour_flux[:, :total]
    return solution._replace(neighbour_flux=fluxes)


def _take(pairs: _Pairs, index: NDArray[np.intp]) -> _Pairs:
    return _Pairs(*(jax.tree.map(lambda a: a[index], getattr(pairs, f.name)) for f in fields(pairs)))


def _common_shift(pairs: _Pairs, first: PairSolution, frames: int) -> FloatArray:
    """Median displacement of the bright stars of each frame: (F, 2); of the brightest ones if none is
    above the limit, weighted by S/N^2 with the prediction itself as prior.
    """
    moved = first.position - pairs.pair.offset
    snr = first.flux / np.sqrt(first.flux_variance)
    shift = np.zeros((frames, 2))
    for frame in np.unique(pairs.frame):
        here = (pairs.frame == frame) & (first.flux_step < CONVERGED_STEP_SIGMA)
        bright = here & (snr > SHIFT_STAR_SNR)
        if bright.any():
            shift[frame] = np.median(moved[bright], axis=0)
        else:
            weight = np.where(here, np.clip(snr, 0, None) ** 2, 0.0)
            shift[frame] = weight @ moved / (weight.sum() + SHIFT_STAR_SNR)
    return shift


def _struck(pairs: _Pairs, solution: PairSolution, outlier_sigma: float, model_error: float) -> BoolArray:
    """Struck pixels (N, n, n); none where they would hold too much of what is known of the flux."""
    pair = pairs.pair
    struck = struck_pixels(
        pair.data - solution.model,
        solution.variance,
        solution.model,
        pair.weight > 0,
        fwhm_px=pairs.fwhm_px,
        outlier_sigma=outlier_sigma,
        model_error=np.maximum(model_error, pair.model_error),
    )
    lost = _lost_information(pair.weight, solution, struck)
    return struck & (lost < MAX_STRUCK_INFORMATION)[:, None, None]


def _lost_information(weight: FloatArray, solution: PairSolution, struck: BoolArray) -> FloatArray:
    """Fraction (N,) of what the pixels tell of the flux that is in the struck ones."""
    information = weight * (solution.model - solution.neighbour_model) ** 2 / solution.variance
    return np.asarray((struck * information).sum((1, 2)) / np.maximum(information.sum((1, 2)), 1e-300))


def _refined(pairs: _Pairs, shift: FloatArray, position_sigma_px: float) -> _Pairs:
    """For the final measurement: the frame's shift taken out, positions held, plain least squares."""
    count = len(pairs.frame)
    moved = shift[pairs.frame]
    pair = pairs.pair._replace(
        offset=pairs.pair.offset + moved,
        neighbour_offset=pairs.pair.neighbour_offset + moved[:, None],
        position_precision=np.full(count, position_sigma_px**-2.0),
        robust_sigma=np.full(count, LEAST_SQUARES),
    )
    return replace(pairs, pair=pair)


def _without(pairs: _Pairs, struck: BoolArray) -> _Pairs:
    return replace(pairs, pair=pairs.pair._replace(weight=pairs.pair.weight * ~struck))


def _settle(
    pairs: _Pairs, solution: PairSolution, before: BoolArray, after: BoolArray
) -> tuple[PairSolution, BoolArray]:
    """Solve again the pairs whose struck pixels look different after the measurement."""
    index = np.flatnonzero((before != after).any((1, 2)))
    if len(index) == 0:
        return solution, after
    again = _solve(_take(_without(pairs, after), index))

    def put(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        merged = old.copy()
        merged[index] = new
        return merged

    return jax.tree.map(put, solution, again), after


def _reduced_chi2(pairs: _Pairs, solution: PairSolution) -> FloatArray:
    fitted = 3 + pairs.pair.neighbour_present.sum(1) + (pairs.pair.background_precision < NO_BACKGROUND)
    return solution.chi2 / np.maximum(pairs.pair.weight.sum((1, 2)) - fitted, 1)


def _flags(
    pairs: _Pairs,
    solution: PairSolution,
    struck: BoolArray,
    position_sigma_px: float,
    max_reduced_chi2: float,
) -> NDArray[np.int64]:
    snr = solution.flux / np.sqrt(solution.flux_variance)
    distance = np.hypot(*(solution.position - pairs.pair.offset).T)
    reasons = {
        Flag.COSMIC_RAY: _lost_information(pairs.pair.weight + struck, solution, struck)
        > SOME_STRUCK_INFORMATION,
        Flag.LOW_COVERAGE: ~(solution.coverage >= MIN_COVERAGE),
        Flag.NOT_CONVERGED: ~(solution.flux_step < CONVERGED_STEP_SIGMA),
        Flag.LARGE_SHIFT: distance > LARGE_SHIFT_SIGMA * position_sigma_px,
        Flag.CONTAMINATED: np.abs(solution.contamination) > MAX_CONTAMINATION,
        Flag.POOR_FIT: ~(_reduced_chi2(pairs, solution) <= max_reduced_chi2),
        Flag.LOW_SNR: ~(snr >= MIN_SNR),
    }
    return np.sum([flag.value * hit for flag, hit in reasons.items()], axis=0, dtype=np.int64)


def _scatter(
    cutouts: StarCutouts,
    pairs: _Pairs,
    solution: PairSolution,
    struck: BoolArray,
    shift: FloatArray,
    flags: NDArray[np.int64],
) -> StarFluxes:
    """Back from pairs to (F, K) arrays, NaN where nothing was measured."""
    shape = cutouts.present.shape

    def spread(values: np.ndarray, empty: float | bool | int = np.nan) -> np.ndarray:
        out = np.full(shape + values.shape[1:], empty)
        out[pairs.frame, pairs.star] = values
        return out

    neighbours = np.zeros_like(solution.neighbour_flux)
    np.put_along_axis(neighbours, pairs.neighbour_order, solution.neighbour_flux, 1)
    return StarFluxes(
        flux=spread(solution.flux),
        flux_uncertainty=spread(np.sqrt(solution.flux_variance)),
        x=spread(solution.position[:, 0]),
        y=spread(solution.position[:, 1]),
        background=spread(solution.background),
        reduced_chi2=spread(_reduced_chi2(pairs, solution)),
        n_pixels=spread(pairs.pair.weight.sum((1, 2)).astype(np.int64), 0),
        flags=spread(flags, 0),
        neighbour_flux=spread(
            np.where(cutouts.neighbour_present[pairs.frame, pairs.star], neighbours, np.nan)
        ),
        rejected_pixels=spread(struck, False),
        model=spread(solution.model),
        neighbour_model=spread(solution.neighbour_model),
        frame_shift=shift,
    )


def _empty(cutouts: StarCutouts) -> StarFluxes:
    """No pair can be measured: NaN everywhere."""
    shape, nothing = cutouts.present.shape, np.full(cutouts.data.shape, np.nan)
    nan = np.full(shape, np.nan)
    return StarFluxes(
        flux=nan,
        flux_uncertainty=nan,
        x=nan,
        y=nan,
        background=nan,
        reduced_chi2=nan,
        n_pixels=np.zeros(shape, dtype=np.int64),
        flags=np.zeros(shape, dtype=np.int64),
        neighbour_flux=np.full(cutouts.neighbour_present.shape, np.nan),
        rejected_pixels=np.zeros(cutouts.data.shape, dtype=bool),
        model=nothing,
        neighbour_model=nothing,
        frame_shift=np.zeros((shape[0], 2)),
    )


def aperture_fluxes(
    cutouts: StarCutouts, fluxes: StarFluxes, *, radius_px: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(flux, uncertainty), each (F, K), in circular apertures of ``radius_px`` (F,) around the fitted
    positions, exact in pixel overlap (sep), corrected to the whole plane with the fitted PSF.

    Neighbours and background are subtracted, unusable pixels take the value of the model. NaN where
    the PSF photometry has no flux.
    """
    good = usable_pixels(cutouts) & ~fluxes.rejected_pixels
    star = fluxes.model - fluxes.neighbour_model
    light = np.where(good, cutouts.data - fluxes.neighbour_model, star)
    photons = np.maximum(fluxes.model - np.nan_to_num(fluxes.background)[..., None, None], 0)
    background = np.where(good, cutouts.background_variance, _typical(cutouts.background_variance, good))
    variance = background + photons / cutouts.exposure[:, None, None, None]
    flux, uncertainty = np.full((2, *fluxes.flux.shape), np.nan)
    centre = (cutouts.data.shape[-1] - 1) / 2
    for f, k in np.argwhere(np.isfinite(fluxes.flux)):
        # arrays of one: sep takes the length of what it is given
        place = ([fluxes.x[f, k] + centre], [fluxes.y[f, k] + centre], float(radius_px[f]))
        inside, _, _ = sep.sum_circle(star[f, k] / fluxes.flux[f, k], *place, subpix=0)
        total, error, _ = sep.sum_circle(light[f, k], *place, var=variance[f, k], subpix=0)
        flux[f, k], uncertainty[f, k] = total[0] / inside[0], error[0] / inside[0]
    return flux, uncertainty


def _typical(variance: FloatArray, good: BoolArray) -> FloatArray:
    """Mean variance of the good pixels of each cutout, (F, K, 1, 1), for those that are not."""
    total = np.where(good, variance, 0.0).sum((2, 3), keepdims=True)
    return total / np.maximum(good.sum((2, 3), keepdims=True), 1)


def reserved_star_chi2(
    psf: PSFModel, cutouts: StarCutouts, *, position_sigma_px: float, outlier_sigma: float, model_error: float
) -> float:
    """Reduced chi2 of held-out stars (one frame: F = 1) measured with a PSF that they did not shape.

    The median over the stars: one blend says nothing of the PSF. NaN when none can be measured.
    """
    fluxes = measure_stars(
        [psf],
        cutouts,
        position_sigma_px=position_sigma_px,
        fit_background=False,
        outlier_sigma=outlier_sigma,
        model_error=model_error,
        max_reduced_chi2=np.inf,
    )
    measured = fluxes.reduced_chi2[np.isfinite(fluxes.reduced_chi2)]
    return float(np.median(measured)) if len(measured) else float("nan")
