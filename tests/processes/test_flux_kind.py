"""Apertures or PSFs: the choice against the true fluxes of simulated stars."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightwatch.pipeline.tasks.normalization import _LEAST_MODEL_ERROR, _UNDERSAMPLED_FWHM_PX
from lightwatch.processes.normalization import apertures_serve_better
from lightwatch.processes.photometry import aperture_fluxes, measure_stars
from lightwatch.processes.psf_cutouts import StarCutouts
from lightwatch.processes.psf_fit import fit_psfs


def _load_truth() -> ModuleType:
    spec = importlib.util.spec_from_file_location("truth_stars", Path(__file__).with_name("truth_stars.py"))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["truth_stars"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


truth = _load_truth()
N, FRAMES = 24, 4
SNR = np.geomspace(80, 800, 16)


def stars_unlike_each_other(fwhm_px: float, spread: float) -> tuple[StarCutouts, np.ndarray]:
    """Stars whose FWHM and axis ratios scatter by the fraction ``spread``, no light lost."""
    rng = np.random.default_rng(8)
    psfs = [truth.structured(rng, fwhm_px) for _ in range(FRAMES)]
    cutouts, flux = truth.make_cutouts(rng, psfs, SNR, N)
    data = cutouts.data.copy()
    for i, j in np.ndindex(flux.shape):
        wide, thin = np.exp(rng.normal(0, spread, 2))
        other = replace(psfs[i], fwhm=psfs[i].fwhm * wide, ratio=min(psfs[i].ratio * thin, 1.0))
        where = cutouts.offset[i, j]
        data[i, j] += flux[i, j] * (other.cutout(*where, N) - psfs[i].cutout(*where, N))
    return replace(cutouts, data=data), flux


@pytest.mark.parametrize(("fwhm_px", "spread"), [(1.4, 0.08), (1.4, 0.0), (4.0, 0.0)])
def test_the_kind_of_flux_that_is_chosen_is_not_the_worse_one(fwhm_px: float, spread: float) -> None:
    cutouts, flux = stars_unlike_each_other(fwhm_px, spread)
    psfs = [fit.model for fit in fit_psfs(cutouts, outlier_sigma=6.0, min_stars=3, batch_size=1)]
    found = measure_stars(
        psfs, cutouts, position_sigma_px=0.3, fit_background=False,
        outlier_sigma=6.0, model_error=0.02, max_reduced_chi2=2.0,
    )  # fmt: skip
    width = np.array([psf.fwhm_px for psf in psfs])
    aperture, _ = aperture_fluxes(cutouts, found, radius_px=np.maximum(1.2 * width, 4.0))
    in_apertures = apertures_serve_better(
        np.array([psf.model_error for psf in psfs]), width,
        least_model_error=_LEAST_MODEL_ERROR, largest_fwhm_px=_UNDERSAMPLED_FWHM_PX,
    )  # fmt: skip
    by_psf, by_aperture = (scatter(values / flux) for values in (found.flux, aperture))
    assert in_apertures == (fwhm_px < 2 and spread > 0)
    if in_apertures:
        assert by_aperture < 0.6 * by_psf
    else:
        assert by_psf < 1.15 * by_aperture


def scatter(ratio: np.ndarray) -> float:
    """Typical relative deviation of a star from the median of its frame."""
    return float(np.nanmedian(np.abs(ratio / np.nanmedian(ratio, 1)[:, None] - 1)))
