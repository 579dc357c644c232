from __future__ import annotations

import numpy as np
import pytest

from lightwatch.flags import Flag
from lightwatch.processes.noise import noise_map, smooth_model, usable_pixels

SIZE, RMS = 25, 15.0


def star_cutouts(rng, flux, fwhm, n, beta=3.0):
    """(truth, data, unit-flux profiles): stars at random sub-pixel places, electrons, exptime 1."""
    grid = np.arange(SIZE) - (SIZE - 1) / 2
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    dx, dy = rng.uniform(-0.5, 0.5, (2, n, 1, 1))
    profile = np.zeros((n, SIZE, SIZE))
    for a in (-1 / 3, 0, 1 / 3):
        for b in (-1 / 3, 0, 1 / 3):
            r2 = ((grid[None, None, :] + a - dx) ** 2 + (grid[None, :, None] + b - dy) ** 2) / alpha**2
            profile += (beta - 1) / (9 * np.pi * alpha**2) * (1 + r2) ** -beta
    truth = flux * profile
    data = rng.poisson(truth + 200) - 200 + rng.normal(0, 5, truth.shape)
    return truth, data, profile


def test_noise_map_is_the_sum_of_variances():
    noise = noise_map(np.array([3.0, 3.0, np.nan, 3.0]), np.array([160.0, -50.0, 1.0, np.nan]), exptime=10.0)
    assert noise.dtype == np.float32
    np.testing.assert_allclose(noise[:2], [5.0, 3.0])
    assert np.isnan(noise[2:]).all()


@pytest.mark.parametrize("fwhm", [2.2, 4.0, 8.0])
def test_chi2_of_blank_sky_is_one(fwhm):
    _, data, _ = star_cutouts(np.random.default_rng(0), 0.0, fwhm, 60)
    noise = noise_map(RMS, smooth_model(data, np.ones(data.shape, bool), RMS, fwhm), 1.0)
    assert np.mean((data / noise) ** 2) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("fwhm", [2.0, 2.2, 3.5, 8.0])
@pytest.mark.parametrize("flux", [1e3, 1e5])
def test_variance_follows_the_star(fwhm, flux):
    truth, data, profile = star_cutouts(np.random.default_rng(1), flux, fwhm, 100)
    noise = noise_map(RMS, smooth_model(data, np.ones(data.shape, bool), RMS, fwhm), 1.0)
    core = profile > profile.max() / 2
    assert np.mean(noise[core] ** 2 / (RMS**2 + truth[core])) == pytest.approx(1, abs=0.1)


def test_fluxes_of_faint_stars_are_not_biased():
    """Weights that know the noise of their own pixel bias faint fluxes: |data| does, the model must not."""
    fwhm, n = 3.0, 1000
    sigma = RMS * np.sqrt(4 * np.pi) * fwhm / 2.3548
    truth, data, profile = star_cutouts(np.random.default_rng(2), 3 * sigma, fwhm, n)

    def flux(noise):
        weight = profile / noise**2
        return (weight * data).sum(axis=(1, 2)) / (weight * profile).sum(axis=(1, 2))

    best = flux(np.sqrt(RMS**2 + truth))
    model = noise_map(RMS, smooth_model(data, np.ones(data.shape, bool), RMS, fwhm), 1.0)
    assert abs(np.mean(flux(model) - best)) < 0.03 * best.std()
    assert np.mean(flux(np.sqrt(RMS**2 + np.abs(data))) - best) < -0.05 * best.std()  # the test can tell


def test_a_pixel_does_not_influence_its_own_noise():
    _, data, _ = star_cutouts(np.random.default_rng(3), 1e4, 3.0, 1)
    good = np.ones(data.shape, bool)
    struck = data.copy()
    struck[0, 12, 12] += 1e5
    before, after = (smooth_model(d, good, RMS, 3.0)[0, 12, 12] for d in (data, struck))
    assert before == after


def test_a_masked_pixel_changes_only_its_surroundings():
    _, data, _ = star_cutouts(np.random.default_rng(4), 1e4, 3.0, 2)
    good = np.ones(data.shape, bool)
    struck, masked = data.copy(), good.copy()
    struck[0, 12, 13] = np.nan
    masked[0, 12, 13] = False
    before, after = smooth_model(data, good, RMS, 3.0), smooth_model(struck, masked, RMS, 3.0)
    assert np.isfinite(after).all()
    np.testing.assert_array_equal(before[1], after[1])
    np.testing.assert_array_equal(before[0, :8], after[0, :8])
    assert after[0, 12, 12] == pytest.approx(before[0, 12, 12], rel=0.25)


def test_either_nan_masks_a_pixel():
    nan = np.nan
    data, noise = np.array([1.0, nan, 1.0, nan, 1.0, 1.0, 1.0]), np.array([1.0, 1.0, nan, nan, 0.0, 1.0, 1.0])
    mask = np.array([0, 0, 0, 0, 0, Flag.COSMIC_RAY, Flag.CONTAMINATED], np.int32)
    assert usable_pixels(data, noise, mask).tolist() == [True, False, False, False, False, False, True]
