"""Flux of every star in every frame, given the PSF; and the aperture flux of the same star."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightwatch.processes.psf_fit import BoolArray, StarCutouts
from lightwatch.processes.psf_model import FloatArray, PSFModel


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
    flags: NDArray[np.int64]  # (F, K) lightwatch.flags.Flag
    neighbour_flux: FloatArray  # (F, K, N)
    rejected_pixels: BoolArray  # (F, K, n, n) found to be struck
    frame_shift: FloatArray  # (F, 2) px, common shift against the predicted positions


def measure_stars(
    psfs: list[PSFModel | None],
    cutouts: StarCutouts,
    *,
    position_sigma_px: float,
    fit_background: bool,
    outlier_sigma: float,
    model_error: float,
    max_reduced_chi2: float,
    batch_size: int,
) -> StarFluxes:
    """PSF flux of every present star of every frame with a PSF.

    ``model_error`` is the fractional error granted to the PSF when pixels are judged as outliers
    (never in the weights). ``batch_size`` frames are measured at once.
    """
    raise NotImplementedError


def aperture_fluxes(
    psfs: list[PSFModel | None], cutouts: StarCutouts, fluxes: StarFluxes, *, radius_px: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(flux, uncertainty), each (F, K), in circular apertures of ``radius_px`` (F,) around the fitted
    positions, corrected to the whole plane with the PSF; neighbours and background subtracted,
    unusable pixels replaced by the model.
    """
    raise NotImplementedError


def reserved_star_chi2(
    psf: PSFModel, cutouts: StarCutouts, *, position_sigma_px: float, outlier_sigma: float, model_error: float
) -> float:
    """Reduced chi2 of held-out stars (one frame, F = 1) measured with a PSF they did not shape."""
    raise NotImplementedError
