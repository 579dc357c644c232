"""Accuracy of the PSF fit and the photometry against truth, over a grid of conditions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cutout_sets import FRAME_SHAPE, CutoutSet, SetSpec
from psf_error import PLACES, error_at
from scores import FluxScore, score_fluxes

from lightwatch.processes.photometry import StarFluxes, measure_stars
from lightwatch.processes.psf_fit import PSFFit, fit_psfs
from lightwatch.structure.config import Psf, StarPhotometry

OUTLIER_SIGMA, MODEL_ERROR, MAX_REDUCED_CHI2 = 6.0, 0.02, 3.0  # as the tasks set them
BATCH_SIZES = {"cpu": 1, "gpu": 256}

GRID = (
    SetSpec("FWHM 2.0 px", fwhm_px=2.0),
    SetSpec("FWHM 2.8 px", fwhm_px=2.8),
    SetSpec("FWHM 4 px"),
    SetSpec("FWHM 6 px", fwhm_px=6.0),
    SetSpec("FWHM 12 px", fwhm_px=12.0, n_frames=4),
    SetSpec("faint PSF stars, S/N 30 to 100", psf_snr=(30.0, 100.0)),
    SetSpec("bright PSF stars, S/N 300 to 3000", psf_snr=(300.0, 3000.0), measured_snr=(10.0, 3000.0)),
    SetSpec("20 % gradient of the FWHM, 16 PSF stars", gradient=0.2, n_stars=16),
    SetSpec("crowded: 30 % have a neighbour", crowded=0.3),
    SetSpec("crowded: 60 % have a neighbour", crowded=0.6),
    SetSpec("cosmic rays no mask knows of, in 40 %", cosmics=0.4),
    SetSpec("one blended star among ten", hidden_blends=1),
    SetSpec("four of ten stars missing", missing=4),
    SetSpec("seeing guess x 0.6", guess=0.6),
    SetSpec("seeing guess x 1.7", guess=1.7),
)


@dataclass(frozen=True)
class Row:
    """What one set of the grid gave."""

    spec: SetSpec
    rms: np.ndarray  # (F,) normalized error of the PSF; NaN where there is none
    flagged: int  # frames whose PSF is marked as poor
    reserved_chi2: float  # reduced, median over the stars that did not make the PSF
    fluxes: FluxScore


def fit(cutouts: CutoutSet, batch_size: int) -> list[PSFFit]:
    """PSFs with the settings of the pipeline."""
    return fit_psfs(
        cutouts.stars, outlier_sigma=OUTLIER_SIGMA, min_stars=Psf().min_stars, batch_size=batch_size
    )


def measure(cutouts: CutoutSet, fits: list[PSFFit]) -> StarFluxes:
    """Fluxes with the settings of the pipeline."""
    settings = StarPhotometry()
    return measure_stars(
        [found.model for found in fits],
        cutouts.measured,
        position_sigma_px=settings.position_sigma_px,
        fit_background=settings.local_background,
        outlier_sigma=OUTLIER_SIGMA,
        model_error=MODEL_ERROR,
        max_reduced_chi2=MAX_REDUCED_CHI2,
    )


def score(cutouts: CutoutSet, batch_size: int) -> Row:
    """Fit, measure, compare with the truth."""
    fits = fit(cutouts, batch_size)
    fluxes = measure(cutouts, fits)
    alike = cutouts.flux / cutouts.bound >= cutouts.spec.psf_snr[0]
    return Row(
        spec=cutouts.spec,
        rms=psf_rms(cutouts, fits),
        flagged=sum(bool(found.flags) for found in fits),
        reserved_chi2=float(np.nanmedian(fluxes.reduced_chi2[alike])),
        fluxes=score_fluxes(fluxes.flux, fluxes.flux_uncertainty, cutouts.flux, cutouts.bound),
    )


def psf_rms(cutouts: CutoutSet, fits: list[PSFFit]) -> np.ndarray:
    """Normalized rms (F,): at the centre of the frame, over 3 x 3 places where the true PSF varies."""
    gradient = cutouts.spec.gradient
    places = PLACES if gradient else (0.5,)
    ny, nx = FRAME_SHAPE
    errors = np.full(len(fits), np.nan)
    for index, (found, psf) in enumerate(zip(fits, cutouts.psfs, strict=True)):
        if found.model is not None:
            errors[index] = np.mean([
                error_at(found.model, psf.stretched(1 + gradient * (px - 0.5)), px * nx, py * ny)
                for px in places for py in places
            ])  # fmt: skip
    return errors
