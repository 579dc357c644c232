"""The PSF fit against PSFs that are known."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightwatch.flags import Flag
from lightwatch.processes.cutouts import cutout_size_px
from lightwatch.processes.psf_fit import PSFFit, fit_psfs
from lightwatch.processes.psf_model import local_psf, render


def _load_truth() -> ModuleType:
    spec = importlib.util.spec_from_file_location("truth_stars", Path(__file__).with_name("truth_stars.py"))
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules["truth_stars"] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


truth = _load_truth()
N = 32
SETTINGS = {"outlier_sigma": 6.0, "min_stars": 3, "batch_size": 1}


def psf_error(fit: PSFFit, psf, x: float = 600.0, y: float = 500.0) -> float:
    """rms of P against the truth over the rms of the truth, position and flux taken out."""
    assert fit.model is not None
    local = local_psf(fit.model, x, y)
    offsets = np.arange(24) - 11.5
    target = psf.cutout(0.2, -0.3, 24)
    position = np.array([0.2, -0.3])
    for _ in range(6):
        p = render(local, offsets - position[0], offsets - position[1], quadrature=2)
        by_x = (render(local, offsets - position[0] - 1e-4, offsets - position[1], quadrature=2) - p) / 1e-4
        by_y = (render(local, offsets - position[0], offsets - position[1] - 1e-4, quadrature=2) - p) / 1e-4
        columns = np.stack([p.ravel(), by_x.ravel(), by_y.ravel()], 1)
        solution = np.linalg.lstsq(columns, target.ravel(), rcond=None)[0]
        position = position + solution[1:] / solution[0]
    return float(np.sqrt(((solution[0] * p - target) ** 2).sum() / (target**2).sum()))


@pytest.fixture(scope="module")
def night():
    """Eight frames of ten stars each, S/N 100 to 1500, and their true PSFs and fluxes."""
    rng = np.random.default_rng(1)
    psfs = [truth.structured(rng, fwhm) for fwhm in np.linspace(2.9, 6.0, 8)]
    cutouts, flux = truth.make_cutouts(rng, psfs, np.geomspace(100, 1500, 10), N)
    return psfs, cutouts, flux, fit_psfs(cutouts, **SETTINGS)


def test_psfs_are_found(night) -> None:
    psfs, _, _, fits = night
    errors = np.array([psf_error(fit, psf) for fit, psf in zip(fits, psfs, strict=True)])
    assert np.exp(np.log(errors).mean()) < 0.0033
    assert errors.max() < 0.007
    assert all(fit.converged and fit.flags == 0 for fit in fits)
    assert all(0.93 < fit.reduced_chi2 < 1.07 for fit in fits)
    assert not any(fit.model.varies for fit in fits)


def test_fluxes_are_those_of_the_whole_plane_in_any_seeing(night) -> None:
    _, _, flux, fits = night
    ratio = np.array([np.average(fit.flux / flux[i], weights=flux[i]) for i, fit in enumerate(fits)])
    assert np.abs(ratio - 1).max() < 0.005
    assert ratio.std() < 0.003


def test_fwhm_is_that_of_the_pixels(night) -> None:
    psfs, _, _, fits = night
    measured = np.array([fit.model.fwhm_px for fit in fits])
    assert np.all(measured > [psf.fwhm for psf in psfs])
    assert np.all(measured < [1.15 * psf.fwhm for psf in psfs])


def test_a_wrong_seeing_guess_does_no_harm(night) -> None:
    psfs, cutouts, _, _ = night
    guesses = cutouts.fwhm_px * np.array([1.6, 0.62] * 4)
    fits = fit_psfs(replace(cutouts, fwhm_px=guesses), **SETTINGS)
    errors = [psf_error(fit, psf) for fit, psf in zip(fits, psfs, strict=True)]
    assert max(errors) < 0.007


def test_a_frame_alone_gives_what_it_gave_among_others(night) -> None:
    _, cutouts, _, fits = night
    names = [name for name in cutouts.__dataclass_fields__ if name != "frame_shape"]
    alone = replace(cutouts, **{name: getattr(cutouts, name)[3:4] for name in names})
    again = fit_psfs(alone, **SETTINGS)[0]
    np.testing.assert_array_equal(again.model.coefficients, fits[3].model.coefficients)


def test_frames_side_by_side_give_what_each_gives_alone(night) -> None:
    """As on an accelerator."""
    _, cutouts, _, fits = night
    names = [name for name in cutouts.__dataclass_fields__ if name != "frame_shape"]
    three = replace(cutouts, **{name: getattr(cutouts, name)[2:5] for name in names})
    for fit, alone in zip(fit_psfs(three, **{**SETTINGS, "batch_size": 2}), fits[2:5], strict=True):
        np.testing.assert_allclose(fit.model.coefficients, alone.model.coefficients, atol=1e-10)
        np.testing.assert_allclose(fit.flux, alone.flux, rtol=1e-9)


def test_missed_cosmic_rays_a_blend_a_hole_and_an_empty_cutout(night) -> None:
    psfs, cutouts, _, _ = night
    rng = np.random.default_rng(2)
    data, good = cutouts.data.copy(), cutouts.good.copy()
    for i in range(8):
        track = rng.integers(4, 20)
        data[i, 2, track, 5:15] += rng.uniform(1000, 10000, 10)  # a cosmic ray that no mask knows
        data[i, 3] += 0.4 * data[i, 3].sum() * psfs[i].cutout(7.0, 3.0, N)  # a star that no catalogue knows
        good[i, 9, 13:19, 13:19] = False  # a saturated core
        data[i, 9, 13:19, 13:19] = np.nan
        data[i, 1] = rng.normal(0, 20, (N, N))  # a star that is not there
    fits = fit_psfs(replace(cutouts, data=data, good=good), **SETTINGS)
    for fit, psf in zip(fits, psfs, strict=True):
        assert psf_error(fit, psf) < 0.01
        assert fit.rejected_pixels[2].sum() >= 8
        assert not fit.used[3]
        assert fit.star_flags[3] & Flag.OUTLIER
        assert not fit.used[1]
        assert fit.star_flags[1] & Flag.LOW_SNR
        assert fit.used[[0, 2, 4, 5, 6, 7, 8]].all()
        assert 0.9 < fit.reduced_chi2 < 1.1


def test_a_known_neighbour_is_measured_and_subtracted(night) -> None:
    psfs, cutouts, _, _ = night
    data = cutouts.data.copy()
    offset = np.zeros((8, 10, 1, 2))
    present = np.zeros((8, 10, 1), dtype=bool)
    for i, psf in enumerate(psfs):
        for k in (4, 8):
            place = np.array([1.7, 1.2]) * psf.fwhm
            data[i, k] += 0.5 * data[i, k].sum() * psf.cutout(*place, N)
            offset[i, k, 0], present[i, k, 0] = place, True
    crowded = replace(cutouts, data=data, neighbour_offset=offset, neighbour_present=present)
    fits = fit_psfs(crowded, **SETTINGS)
    errors = [psf_error(fit, psf) for fit, psf in zip(fits, psfs, strict=True)]
    assert np.exp(np.log(errors).mean()) < 0.004
    assert all(fit.used[[4, 8]].all() for fit in fits)


def test_a_psf_that_changes_across_the_field_is_noticed_and_followed() -> None:
    rng = np.random.default_rng(5)
    psfs = [truth.structured(rng, fwhm) for fwhm in (3.2, 4.0, 5.0)]
    cutouts, flux = truth.make_cutouts(rng, psfs, np.geomspace(150, 1500, 14), N, gradient=0.2)
    for i, fit in enumerate(fit_psfs(cutouts, **SETTINGS)):
        assert fit.model.varies
        assert fit.used.all()
        left, right = (local_psf(fit.model, x, 500.0).u0 for x in (0.0, truth.FRAME_SHAPE[1]))
        assert np.log(right / left) == pytest.approx(0.2, abs=0.03)
        x = cutouts.position[i, :, 0] / truth.FRAME_SHAPE[1] - 0.5
        slope = np.polyfit(x, fit.flux / flux[i], 1, w=np.geomspace(150, 1500, 14))[0]
        assert abs(slope) < 0.003


def test_too_few_stars_is_said_and_nothing_is_invented(night) -> None:
    _, cutouts, _, _ = night
    few = replace(cutouts, present=cutouts.present & (np.arange(10) < 2))
    for fit in fit_psfs(few, **SETTINGS):
        assert fit.model is None
        assert fit.flags == Flag.TOO_FEW_STARS
        assert np.isnan(fit.flux).all()


def test_cutouts_grow_with_the_seeing() -> None:
    sizes = [cutout_size_px(fwhm) for fwhm in (1.9, 2.8, 3.9, 5.5, 7.5, 12.0)]
    assert sizes == [24, 24, 32, 48, 64, 64]


def test_what_noise_does_not_explain_is_granted_to_an_undersampled_psf(night) -> None:
    """Pixels of uneven response: the PSF stays light, and its error is the one that was put in."""
    _, _, _, fits = night
    assert all(fit.model.model_error == 0 for fit in fits)
    rng = np.random.default_rng(7)
    psfs = [truth.TruthPSF(fwhm, lobe=0.0, coma=0.0) for fwhm in (1.3, 1.6, 2.0)]
    sharp, flux = truth.make_cutouts(rng, psfs, np.geomspace(300, 1500, 10), N)
    uneven = sharp.data * rng.normal(1, 0.06, sharp.data.shape)
    for i, fit in enumerate(fit_psfs(replace(sharp, data=uneven), **SETTINGS)):
        assert 0.01 < fit.model.model_error < 0.1
        assert not fit.flags & Flag.POOR_FIT
        assert 0.9 < fit.model.norm <= 1.01
        assert fit.model.fwhm_px == pytest.approx(np.hypot(psfs[i].fwhm, 0.9), rel=0.15)
        assert fit.rejected_pixels.any((1, 2)).sum() <= 2
        ratio = fit.flux / flux[i]
        assert np.nanstd(ratio / np.nanmedian(ratio)) < 0.05


def test_a_galaxy_behind_the_wings_of_a_bright_star_does_not_change_the_scale_of_the_frame() -> None:
    rng = np.random.default_rng(11)
    psfs = [truth.structured(rng, fwhm) for fwhm in (4.2, 4.6, 5.0, 5.4)]
    cutouts, flux = truth.make_cutouts(rng, psfs, np.geomspace(150, 1200, 14), 48)
    grid = np.arange(48) - 23.5
    galaxy = np.exp(-((grid[None, :] - 13) ** 2 + (grid[:, None] + 9) ** 2) / (2 * 5.0**2))
    data = cutouts.data.copy()
    data[:, 13] += 0.02 * flux[:, 13, None, None] * galaxy / galaxy.sum()  # the brightest star
    clean = fit_psfs(cutouts, **SETTINGS)
    for i, fit in enumerate(fit_psfs(replace(cutouts, data=data), **SETTINGS)):
        assert not fit.used[13]
        assert fit.star_flags[13] & Flag.OUTLIER
        assert fit.used[:13].sum() >= 12
        assert np.nanmedian(fit.flux[:13] / clean[i].flux[:13]) == pytest.approx(1, abs=0.002)
        assert clean[i].used.sum() >= 13


def test_light_of_neighbours_does_not_pass_for_a_psf_that_varies() -> None:
    rng = np.random.default_rng(12)
    psfs = [truth.structured(rng, fwhm) for fwhm in (3.6, 4.0, 4.4)]
    cutouts, _ = truth.make_cutouts(rng, psfs, np.geomspace(150, 1500, 10), N)
    data, offset, present = cutouts.data.copy(), np.zeros((3, 10, 1, 2)), np.zeros((3, 10, 1), bool)
    for i, psf in enumerate(psfs):
        for k in range(0, 10, 2):
            place = psf.fwhm * rng.uniform(1, 3) * np.array([np.cos(k), np.sin(k)])
            data[i, k] += rng.uniform(0.2, 1) * data[i, k].sum() * psf.cutout(*place, N)
            offset[i, k, 0], present[i, k, 0] = place, True
    fits = fit_psfs(
        replace(cutouts, data=data, neighbour_offset=offset, neighbour_present=present), **SETTINGS
    )
    assert not any(fit.model.varies for fit in fits)
    assert max(psf_error(fit, psf) for fit, psf in zip(fits, psfs, strict=True)) < 0.01
