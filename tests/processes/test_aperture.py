"""Light in apertures, by truth."""

import numpy as np

from lightwatch.flags import Flag
from lightwatch.processes.aperture import aperture_flags, aperture_light


def gaussian(n, x, y, sigma):
    grid = np.arange(n)
    return np.exp(-0.5 * ((grid[None, :] - x) ** 2 + (grid[:, None] - y) ** 2) / sigma**2) / (
        2 * np.pi * sigma**2
    )


def measured(noise=0.0, bad=False, flux=1000.0, seed=1):
    rng = np.random.default_rng(seed)
    psf = np.stack([gaussian(24, 11.3, 12.1, 1.5), gaussian(24, 11.9, 11.6, 2.2)])
    data = flux * psf + rng.normal(0, noise, psf.shape) if noise else flux * psf
    good = np.ones(psf.shape, bool)
    if bad:
        data = data.copy()
        data[:, 12, 11] = np.nan
        good[:, 12, 11] = False
    return aperture_light(
        data, flux * psf, np.full(psf.shape, max(noise, 1.0) ** 2), good,
        exposure=np.full(2, 60.0), x=np.array([11.3, 11.9]), y=np.array([12.1, 11.6]),
        model_flux=np.full(2, flux), radius_px=np.array([4.0, 5.0]),
    )  # fmt: skip


def test_flux_of_the_whole_psf_is_recovered():
    flux, sigma = measured()
    np.testing.assert_allclose(flux, 1000.0, rtol=1e-6)
    assert np.all(sigma > 0)


def test_an_unusable_pixel_takes_the_model_and_changes_nothing():
    np.testing.assert_allclose(measured(bad=True)[0], 1000.0, rtol=1e-6)


def test_uncertainty_is_that_of_the_noise():
    pulls = []
    for seed in range(200):
        flux, sigma = measured(noise=2.0, seed=seed)
        pulls += list((flux - 1000.0) / sigma)
    # photons are part of the uncertainty but not of this noise: the pulls are a little narrow
    assert 0.75 < np.std(pulls) < 1.05


def test_no_model_no_flux():
    nothing = np.zeros((1, 8, 8))
    flux, _ = aperture_light(
        nothing, nothing, nothing + 1, nothing == 0,
        exposure=np.ones(1), x=np.array([np.nan]), y=np.array([3.0]), model_flux=np.ones(1), radius_px=np.ones(1),
    )  # fmt: skip
    assert np.isnan(flux).all()


def test_unusable_pixels_count_by_the_light_they_hold():
    mask = np.zeros((3, 24, 24), int)
    mask[:, 12, 11] = int(Flag.SATURATED)
    mask[:, 12, 15] = int(Flag.BAD | Flag.CONTAMINATED)
    mask[:, 2, 2] = int(Flag.OUTSIDE)  # beyond the aperture
    model = np.tile(1000.0 * gaussian(24, 11.3, 12.1, 1.5), (3, 1, 1))
    flags = aperture_flags(
        mask, model, np.array([10.0, 200.0, np.nan]),
        x=np.full(3, 11.3), y=np.full(3, 12.1), radius_px=np.full(3, 4.0),
    )  # fmt: skip
    np.testing.assert_array_equal(flags, [int(Flag.SATURATED | Flag.BAD), 0, 0])
