"""PSF and aperture photometry against fluxes that are known; the PSF itself is given, and exact."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightwatch.flags import Flag
from lightwatch.processes.photometry import (
    aperture_fluxes,
    light_of_neighbours,
    measure_stars,
    reserved_star_chi2,
)
from lightwatch.processes.psf_fit import fit_psfs
from lightwatch.processes.psf_model import PSFModel


def _load_truth() -> ModuleType:
    spec = importlib.util.spec_from_file_location("truth_stars", Path(__file__).with_name("truth_stars.py"))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["truth_stars"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


truth = _load_truth()
N = 24
SETTINGS = {
    "position_sigma_px": 0.3,
    "fit_background": False,
    "outlier_sigma": 6.0,
    "model_error": 0.02,
    "max_reduced_chi2": 2.0,
}
SNRS = np.repeat([3.0, 6.0, 12.0, 30.0, 100.0, 400.0], [96, 64, 64, 64, 64, 32])


def moffat_model(psf) -> PSFModel:
    """The PSF of a truth that is a mere round Moffat, written down rather than fitted."""
    alpha = psf.fwhm / (2 * np.sqrt(2 ** (1 / psf.beta) - 1))
    theta = np.array([[np.log(alpha), 0.0, 0.0, np.log(psf.beta - 1)]])
    return PSFModel(
        theta=theta,
        coefficients=np.zeros((20, 20)),
        amplitude=np.ones(1),
        extent=2.2,
        edge=N / 2,
        quadrature=3,
        frame_shape=truth.FRAME_SHAPE,
        size=N,
        fwhm_px=psf.fwhm,
        ellipticity=0.0,
        norm=1.0,
        prior_sigma=0.0,
        effective_modes=0.0,
        model_error=0.0,
        total_flux_error=0.0,
    )


@pytest.fixture(scope="module")
def night():
    """Two frames of 384 stars, S/N 3 to 400."""
    rng = np.random.default_rng(11)
    psfs = [truth.TruthPSF(fwhm, ratio=1.0, lobe=0.0, coma=0.0) for fwhm in (3.0, 4.5)]
    cutouts, flux = truth.make_cutouts(rng, psfs, SNRS, N)
    models = [moffat_model(psf) for psf in psfs]
    return psfs, models, cutouts, flux, measure_stars(models, cutouts, **SETTINGS)


@pytest.mark.parametrize("snr", np.unique(SNRS))
def test_fluxes_are_unbiased_and_their_errors_right(night, snr: float) -> None:
    _, _, _, flux, measured = night
    bin_ = snr == SNRS
    pull = ((measured.flux - flux) / measured.flux_uncertainty)[:, bin_].ravel()
    count = len(pull)
    assert abs(pull.mean()) < 3 / np.sqrt(count) + 0.05
    assert abs(pull.std() - 1) < 3 / np.sqrt(2 * count)
    true_error = flux[:, bin_] / snr
    assert (measured.flux_uncertainty[:, bin_] / true_error).mean() < 1.15 if snr < 10 else 1.05


def test_bright_stars_are_accurate(night) -> None:
    _, _, _, flux, measured = night
    ratio = (measured.flux / flux)[:, SNRS >= 30]
    weights = np.tile(SNRS[SNRS >= 30] ** 2, 2)
    assert abs(np.average(ratio.ravel(), weights=weights) - 1) < 1e-3


def test_the_common_shift_of_the_frame_is_found(night) -> None:
    _, _, cutouts, _, measured = night
    moved = replace(cutouts, offset=cutouts.offset + np.array([0.6, -0.5]))
    again = measure_stars(night[1], moved, **SETTINGS)
    np.testing.assert_allclose(measured.frame_shift - again.frame_shift, [[0.6, -0.5]] * 2, atol=0.01)
    np.testing.assert_allclose(again.flux[:, SNRS > 10], measured.flux[:, SNRS > 10], rtol=2e-3)
    assert not (again.flags[:, SNRS > 10] & Flag.LARGE_SHIFT).any()


def test_one_masked_pixel_hardly_changes_the_error(night) -> None:
    _, models, cutouts, _, measured = night
    good = cutouts.good.copy()
    good[:, :, N // 2 + 2, N // 2 - 2] = False
    again = measure_stars(models, replace(cutouts, good=good), **SETTINGS)
    assert np.max(again.flux_uncertainty / measured.flux_uncertainty) < 1.1
    assert (again.n_pixels == N * N - 1)[:, SNRS > 10].mean() > 0.99


def test_missed_cosmic_rays_are_left_out_and_bright_stars_are_not(night) -> None:
    _, models, cutouts, flux, measured = night
    assert (measured.rejected_pixels.sum((2, 3)) == 0).mean() > 0.99
    data = cutouts.data.copy()
    for step in range(6):
        data[:, :, 8 + step, 9] += 3000.0
    again = measure_stars(models, replace(cutouts, data=data), **SETTINGS)
    faint = SNRS <= 100
    pull = ((again.flux - flux) / again.flux_uncertainty)[:, faint]
    assert np.median(again.rejected_pixels.sum((2, 3))[:, faint]) == 6
    assert (np.abs(pull) < 5).mean() > 0.97
    assert ((again.flags & Flag.COSMIC_RAY) > 0)[:, faint].mean() > 0.97


def test_known_neighbours_are_fitted_jointly(night) -> None:
    psfs, models, cutouts, flux, _ = night
    bright = SNRS == 100
    chosen = truth.select_stars(cutouts, np.flatnonzero(bright))
    data = chosen.data.copy()
    offset = np.zeros((*chosen.present.shape, 3, 2))
    present = np.zeros(offset.shape[:3], dtype=bool)
    present[:, :, 1] = True
    for i, psf in enumerate(psfs):
        place = np.array([1.3, 0.6]) * psf.fwhm
        light = psf.cutout(*place, N)
        for k in range(data.shape[1]):
            shifted = psf.cutout(*(place + chosen.offset[i, k]), N) if k % 8 == 0 else None
            if shifted is not None:
                data[i, k] += 0.3 * flux[i, bright][k] * shifted
                offset[i, k, 1] = place + chosen.offset[i, k]
        present[i, :, 1] = np.arange(data.shape[1]) % 8 == 0
        assert light.sum() > 0.5
    crowded = replace(chosen, data=data, neighbour_offset=offset, neighbour_present=present)
    measured = measure_stars(models, crowded, **SETTINGS)
    with_neighbour = present[:, :, 1]
    pull = ((measured.flux - flux[:, bright]) / measured.flux_uncertainty)[with_neighbour]
    assert np.abs(pull).max() < 4.5
    assert ((measured.flags & Flag.CONTAMINATED) > 0)[with_neighbour].all()
    ratio = measured.neighbour_flux[..., 1] / flux[:, bright]
    assert np.mean(ratio[with_neighbour]) == pytest.approx(0.3, abs=0.02)
    assert np.isnan(measured.neighbour_flux[~with_neighbour]).all()


def with_companion(cutouts, psfs, shift, flux, distance_fwhm: float, ratio: float):
    """Every star with a known companion at this distance and of this part of its light, all around.

    ``shift`` (F, 2) is what the predicted positions lack, of star and companion alike.
    """
    data, offset = cutouts.data.copy(), np.zeros((*cutouts.present.shape, 1, 2))
    for i, j in np.ndindex(*cutouts.present.shape):
        angle = 2 * np.pi * j / cutouts.present.shape[1]
        apart = distance_fwhm * psfs[i].fwhm * np.array([np.cos(angle), np.sin(angle)])
        offset[i, j, 0] = cutouts.offset[i, j] + apart
        data[i, j] += ratio * flux[i, j] * psfs[i].cutout(*(offset[i, j, 0] + shift[i]), N)
    there = np.ones(offset.shape[:3], dtype=bool)
    return replace(cutouts, data=data, neighbour_offset=offset, neighbour_present=there)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("distance_fwhm", [0.5, 1.0, 1.5])
def test_a_catalogued_blend_leaves_no_bias(night, distance_fwhm: float, ratio: float) -> None:
    psfs, models, cutouts, flux, alone = night
    bright = np.flatnonzero(SNRS == 400)
    chosen = truth.select_stars(cutouts, bright)
    blended = with_companion(chosen, psfs, alone.frame_shift, flux[:, bright], distance_fwhm, ratio)
    measured = measure_stars(models, blended, **SETTINGS)
    error = measured.flux / flux[:, bright] - 1
    weight = (measured.flux_uncertainty / flux[:, bright]) ** -2
    sigma = weight.sum() ** -0.5
    assert sigma < 0.004  # else the test could not see 1 %
    assert abs(np.average(error, weights=weight)) < 0.001 + 3 * sigma
    pull = (measured.flux - flux[:, bright]) / measured.flux_uncertainty
    assert abs(pull.std() - 1) < 3 / np.sqrt(2 * pull.size) + 0.05
    assert not (measured.flags & Flag.NOT_CONVERGED).any()


def test_what_is_next_to_a_star_does_not_decide_how_it_is_measured(night) -> None:
    """Stars are solved side by side by their number of neighbours: alone or not, the same to rounding."""
    psfs, models, cutouts, flux, alone = night
    few = np.flatnonzero(SNRS == 100)[:12]
    chosen = truth.select_stars(cutouts, few)
    crowded = with_companion(chosen, psfs, alone.frame_shift, flux[:, few], 1.2, 0.5)
    present = crowded.neighbour_present & (np.arange(12) % 3 == 0)[:, None]
    mixed = replace(crowded, neighbour_present=present)
    whole = measure_stars(models, mixed, **SETTINGS)
    one = [measure_stars(models, truth.select_stars(mixed, [k]), **SETTINGS) for k in (0, 1)]
    moved = [np.abs(whole.frame_shift - each.frame_shift).max() for each in one]
    for k, each in enumerate(one):
        change = np.abs(each.flux[:, 0] - whole.flux[:, k]) / whole.flux_uncertainty[:, k]
        assert np.all(change < 0.02 + 0.5 * moved[k])


def test_light_of_neighbours_is_theirs_alone(night) -> None:
    psfs, models, cutouts, flux, alone = night
    few = np.flatnonzero(SNRS == 400)[:8]
    chosen = truth.select_stars(cutouts, few)
    crowded = with_companion(chosen, psfs, alone.frame_shift, flux[:, few], 1.5, 0.3)
    light = light_of_neighbours(models, crowded)
    added = crowded.data - chosen.data
    assert np.sum(light) == pytest.approx(np.sum(added), rel=0.01)
    assert np.abs(light - added).max() < 0.1 * added.max()
    assert not light_of_neighbours(models, chosen).any()


def test_a_background_is_fitted_when_asked_for(night) -> None:
    _, models, cutouts, flux, _ = night
    lifted = replace(cutouts, data=cutouts.data + 15.0)
    measured = measure_stars(models, lifted, **(SETTINGS | {"fit_background": True}))
    assert measured.background.mean() == pytest.approx(15, abs=0.5)
    pull = ((measured.flux - flux) / measured.flux_uncertainty)[:, SNRS >= 12]
    assert abs(pull.std() - 1) < 0.12


def test_apertures_give_the_same_total_flux(night) -> None:
    _, models, cutouts, flux, measured = night
    good = cutouts.good.copy()
    good[:, :, 10, 10] = False
    data = np.where(good, cutouts.data, np.nan)
    masked = replace(cutouts, data=data, good=good)
    measured = measure_stars(models, masked, **SETTINGS)
    aperture, error = aperture_fluxes(masked, measured, radius_px=1.2 * np.array([3.0, 4.5]))
    bright = SNRS >= 100
    assert np.mean((aperture / flux)[:, SNRS == 400]) == pytest.approx(1, abs=3e-3)
    pull = ((aperture - flux) / error)[:, bright]
    assert abs(pull.std() - 1) < 0.2
    assert np.all(error[:, bright] > 0.9 * measured.flux_uncertainty[:, bright])


def test_unknown_stays_unknown(night) -> None:
    _, models, cutouts, _, _ = night
    few = truth.select_stars(cutouts, slice(-4, None))
    present = few.present.copy()
    present[:, 0] = False
    good = few.good.copy()
    good[:, 1] = False
    good[:, 2, 10:15, 9:14] = False
    measured = measure_stars([models[0], None], replace(few, present=present, good=good), **SETTINGS)
    assert np.isnan(measured.flux[:, :2]).all()
    assert np.isnan(measured.flux[1]).all()
    assert measured.flags[0, 2] & Flag.LOW_COVERAGE
    assert np.isfinite(measured.flux[0, 2:]).all()
    nothing = measure_stars([None, None], few, **SETTINGS)
    assert np.isnan(nothing.flux).all()


def test_reserved_stars_tell_a_good_psf_from_a_bad_one() -> None:
    rng = np.random.default_rng(12)
    psf = truth.structured(rng, 4.0)
    cutouts, _ = truth.make_cutouts(rng, [psf], np.full(14, 400.0), N)
    fitted = fit_psfs(truth.select_stars(cutouts, slice(0, 10)), outlier_sigma=6.0, min_stars=3, batch_size=1)
    reserved = truth.select_stars(cutouts, slice(10, 14))
    rules = {"position_sigma_px": 0.3, "outlier_sigma": 6.0, "model_error": 0.02}
    assert 0.9 < reserved_star_chi2(fitted[0].model, reserved, **rules) < 1.15
    broad = moffat_model(replace(psf, fwhm=4.4, beta=3.0))
    assert reserved_star_chi2(broad, reserved, **rules) > 3
