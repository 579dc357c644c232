"""Flux of every star in every frame, given the PSF of the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.processes.aperture import aperture_light
from lightwatch.processes.photometry_solver import (
    FrameStars,
    IntArray,
    Rules,
    Solution,
    matched_flux,
    rendered,
    solve,
)
from lightwatch.processes.psf_cutouts import BoolArray, StarCutouts, struck_pixels, usable_pixels
from lightwatch.processes.psf_model import FloatArray, PSFModel, local_psf

FIRST_POSITION_SIGMA_PX = 1.0  # before the frame's common shift is known
FIRST_ROBUST_SIGMA = 5.0
FIRST_TURNS = 2
SHIFT_STAR_SNR = 50.0
FEW_NODES_FWHM_PX = 3.0  # above, fluxes with 2 x 2 nodes per pixel are those with 3 x 3 to 3e-5
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
class PixelRules:
    """When a pixel is struck: beyond ``outlier_sigma`` of noise and of ``model_error`` (fraction) of the PSF."""

    outlier_sigma: float
    model_error: float


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
    fluxes = _empty(cutouts)
    pixels = PixelRules(outlier_sigma, model_error)
    for frame, psf in enumerate(psfs):
        chosen = np.flatnonzero(good[frame].any((1, 2)))
        if psf is None or len(chosen) == 0:
            continue
        stars, slots = _stars_of(psf, cutouts, good, frame, chosen)
        stars, solution, struck, shift = _measure(stars, position_sigma_px, fit_background, pixels)
        flags = _flags(stars, solution, struck, shift, position_sigma_px, fit_background, max_reduced_chi2)
        fluxes.frame_shift[frame] = shift
        _write(fluxes, frame, chosen, slots, stars, solution, struck, flags, fit_background)
    return fluxes


def _measure(
    stars: FrameStars, position_sigma_px: float, fit_background: bool, pixels: PixelRules
) -> tuple[FrameStars, Solution, BoolArray, FloatArray]:
    """(stars without their struck pixels, solution, struck pixels, common shift) of a frame.

    A first, robust measurement with free positions tells the common shift; then positions are held by the
    prediction, struck pixels left out, and the rest is plain least squares.
    """
    count = len(stars.data)
    predicted = stars.offset[:count]
    first_rules = Rules(predicted, FIRST_POSITION_SIGMA_PX, FIRST_ROBUST_SIGMA, fit_background)
    rendering = rendered(stars, predicted)
    flux = matched_flux(stars, rendering)
    first, rendering = solve(stars, rendering, flux, first_rules, turns=FIRST_TURNS)
    shift = _common_shift(first, predicted)
    rules = Rules(predicted + shift, position_sigma_px, np.inf, fit_background)
    struck = _struck(stars, first, pixels)
    solution, rendering = solve(_without(stars, struck), rendering, first.flux, rules)
    again = _struck(stars, solution, pixels)
    if (again != struck).any():
        struck = again
        solution, _ = solve(_without(stars, struck), rendering, solution.flux, rules)
    return _without(stars, struck), solution, struck, shift


def light_of_neighbours(psfs: list[PSFModel | None], cutouts: StarCutouts) -> FloatArray:
    """Known neighbours alone (F, K, n, n), from one robust measurement of star and neighbours; else 0."""
    crowded = replace(cutouts, present=cutouts.present & cutouts.neighbour_present.any(2))
    good = usable_pixels(crowded)
    light = np.zeros(cutouts.data.shape)
    for frame, psf in enumerate(psfs):
        chosen = np.flatnonzero(good[frame].any((1, 2)))
        if psf is None or len(chosen) == 0:
            continue
        stars, _ = _stars_of(psf, crowded, good, frame, chosen)
        predicted = stars.offset[: len(chosen)]
        rules = Rules(predicted, FIRST_POSITION_SIGMA_PX, FIRST_ROBUST_SIGMA, fit_background=False)
        rendering = rendered(stars, predicted)
        solution, _ = solve(stars, rendering, matched_flux(stars, rendering), rules)
        light[frame, chosen] = np.nan_to_num(solution.neighbour_model)
    return light


def _stars_of(
    psf: PSFModel, cutouts: StarCutouts, good: BoolArray, frame: int, chosen: IntArray
) -> tuple[FrameStars, tuple[IntArray, IntArray]]:
    """Chosen stars of a frame; also (row among the chosen, column) of each neighbour in the padded lists."""
    here = good[frame, chosen]
    row, column = np.nonzero(cutouts.neighbour_present[frame, chosen])
    neighbour = cutouts.neighbour_offset[frame, chosen[row], column]
    stars = FrameStars(
        data=np.where(here, cutouts.data[frame, chosen], 0.0).astype(np.float64),
        variance=np.where(here, cutouts.background_variance[frame, chosen], 1.0).astype(np.float64),
        weight=here.astype(np.float64),
        exposure=float(cutouts.exposure[frame]),
        model_error=psf.model_error,
        fwhm_px=psf.fwhm_px,
        quadrature=min(psf.quadrature, 2) if psf.fwhm_px > FEW_NODES_FWHM_PX else psf.quadrature,
        psf=local_psf(psf, *cutouts.position[frame, chosen].T),
        offset=np.concatenate([cutouts.offset[frame, chosen], neighbour]).astype(np.float64),
        owner=np.concatenate([np.arange(len(chosen)), row]),
    )
    return stars, (row, column)


def _common_shift(first: Solution, predicted: FloatArray) -> FloatArray:
    """Median displacement (2,) of the bright stars of a frame; if none is above the limit, of all,
    weighted by S/N^2 with the prediction itself as prior.
    """
    moved = first.position - predicted
    snr = first.flux[: len(predicted)] / np.sqrt(first.flux_variance)
    here = first.flux_step < CONVERGED_STEP_SIGMA
    bright = here & (snr > SHIFT_STAR_SNR)
    if bright.any():
        return np.asarray(np.median(moved[bright], axis=0))
    weight = np.where(here, np.clip(snr, 0, None) ** 2, 0.0)
    return np.asarray(weight @ moved / (weight.sum() + SHIFT_STAR_SNR))


def _struck(stars: FrameStars, solution: Solution, pixels: PixelRules) -> BoolArray:
    """Struck pixels (K, n, n); none where they would hold too much of what is known of the flux."""
    residual = stars.data - solution.model
    # most stars have no pixel that even noise alone leaves unexplained
    far = (stars.weight * residual**2 > pixels.outlier_sigma**2 * solution.variance).any((1, 2))
    struck = np.zeros(stars.data.shape, dtype=bool)
    struck[far] = struck_pixels(
        residual[far],
        solution.variance[far],
        solution.model[far],
        stars.weight[far] > 0,
        fwhm_px=stars.fwhm_px,
        outlier_sigma=pixels.outlier_sigma,
        model_error=max(pixels.model_error, stars.model_error),
    )
    return (
        struck & (_lost_information(stars.weight, solution, struck) < MAX_STRUCK_INFORMATION)[:, None, None]
    )


def _lost_information(weight: FloatArray, solution: Solution, struck: BoolArray) -> FloatArray:
    """Fraction (K,) of what the pixels tell of the flux that is in the struck ones."""
    lost = np.zeros(len(weight))
    hit = struck.any((1, 2))
    own = solution.model[hit] - solution.neighbour_model[hit]
    information = weight[hit] * own**2 / solution.variance[hit]
    lost[hit] = (struck[hit] * information).sum((1, 2)) / np.maximum(information.sum((1, 2)), 1e-300)
    return lost


def _without(stars: FrameStars, struck: BoolArray) -> FrameStars:
    return replace(stars, weight=stars.weight * ~struck) if struck.any() else stars


def _reduced_chi2(stars: FrameStars, solution: Solution, fit_background: bool) -> FloatArray:
    fitted = 2 + np.bincount(stars.owner, minlength=len(stars.data)) + fit_background
    return solution.chi2 / np.maximum(stars.weight.sum((1, 2)) - fitted, 1)


def _flags(
    stars: FrameStars,
    solution: Solution,
    struck: BoolArray,
    shift: FloatArray,
    position_sigma_px: float,
    fit_background: bool,
    max_reduced_chi2: float,
) -> NDArray[np.int64]:
    count = len(stars.data)
    snr = solution.flux[:count] / np.sqrt(solution.flux_variance)
    distance = np.hypot(*(solution.position - stars.offset[:count] - shift).T)
    reasons = {
        Flag.COSMIC_RAY: _lost_information(stars.weight + struck, solution, struck) > SOME_STRUCK_INFORMATION,
        Flag.LOW_COVERAGE: ~(solution.coverage >= MIN_COVERAGE),
        Flag.NOT_CONVERGED: ~(solution.flux_step < CONVERGED_STEP_SIGMA),
        Flag.LARGE_SHIFT: distance > LARGE_SHIFT_SIGMA * position_sigma_px,
        Flag.CONTAMINATED: np.abs(solution.contamination) > MAX_CONTAMINATION,
        Flag.POOR_FIT: ~(_reduced_chi2(stars, solution, fit_background) <= max_reduced_chi2),
        Flag.LOW_SNR: ~(snr >= MIN_SNR),
    }
    return np.sum([flag.value * hit for flag, hit in reasons.items()], axis=0, dtype=np.int64)


def _write(
    fluxes: StarFluxes,
    frame: int,
    chosen: IntArray,
    slots: tuple[IntArray, IntArray],
    stars: FrameStars,
    solution: Solution,
    struck: BoolArray,
    flags: NDArray[np.int64],
    fit_background: bool,
) -> None:
    """Put one frame's measurements into its row of the (F, K) arrays."""
    count = len(chosen)
    values = {
        "flux": solution.flux[:count],
        "flux_uncertainty": np.sqrt(solution.flux_variance),
        "x": solution.position[:, 0],
        "y": solution.position[:, 1],
        "background": solution.background,
        "reduced_chi2": _reduced_chi2(stars, solution, fit_background),
        "n_pixels": stars.weight.sum((1, 2)),
        "flags": flags,
        "rejected_pixels": struck,
        "model": solution.model,
        "neighbour_model": solution.neighbour_model,
    }
    for name, value in values.items():
        getattr(fluxes, name)[frame, chosen] = value
    row, column = slots
    fluxes.neighbour_flux[frame, chosen[row], column] = solution.flux[count:]


def _empty(cutouts: StarCutouts) -> StarFluxes:
    """Nothing measured yet: NaN everywhere."""
    shape, pixels = cutouts.present.shape, cutouts.data.shape
    unknown = {
        name: np.full(shape, np.nan)
        for name in ("flux", "flux_uncertainty", "x", "y", "background", "reduced_chi2")
    }
    return StarFluxes(
        **unknown,
        n_pixels=np.zeros(shape, dtype=np.int64),
        flags=np.zeros(shape, dtype=np.int64),
        neighbour_flux=np.full(cutouts.neighbour_present.shape, np.nan),
        rejected_pixels=np.zeros(pixels, dtype=bool),
        model=np.full(pixels, np.nan),
        neighbour_model=np.full(pixels, np.nan),
        frame_shift=np.zeros((shape[0], 2)),
    )


def aperture_fluxes(
    cutouts: StarCutouts, fluxes: StarFluxes, *, radius_px: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(flux, uncertainty), each (F, K), in circular apertures of ``radius_px`` (F,) around the fitted
    positions, exact in pixel overlap, corrected to the whole plane with the fitted PSF.

    Neighbours and background are subtracted, unusable pixels take the value of the model. NaN where
    the PSF photometry has no flux.
    """
    good = usable_pixels(cutouts) & ~fluxes.rejected_pixels
    flux, uncertainty = np.full((2, *fluxes.flux.shape), np.nan)
    centre = (cutouts.data.shape[-1] - 1) / 2
    for frame, exposure in enumerate(cutouts.exposure):
        here = frame, np.flatnonzero(np.isfinite(fluxes.flux[frame]))
        others, count = fluxes.neighbour_model[here], len(here[1])
        their_photons = np.maximum(others - fluxes.background[here][:, None, None], 0) / exposure
        flux[here], uncertainty[here] = aperture_light(
            cutouts.data[here] - others,
            fluxes.model[here] - others,
            cutouts.background_variance[here] + their_photons,
            good[here],
            exposure=np.full(count, exposure),
            x=fluxes.x[here] + centre,
            y=fluxes.y[here] + centre,
            model_flux=fluxes.flux[here],
            radius_px=np.full(count, radius_px[frame]),
        )
    return flux, uncertainty


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
