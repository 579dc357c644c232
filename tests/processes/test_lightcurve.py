"""Magnitudes, limits and nightly means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwatch.processes.lightcurve import magnitudes, nightly_means, split_nights


def one(flux, sigma, zeropoint=25.0):
    return magnitudes(
        np.array([flux]), np.array([sigma]), np.array(zeropoint), detection_sigma=3.0, limit_sigma=3.0
    )


def test_errors_are_the_magnitudes_of_flux_plus_and_minus_sigma():
    result = one(100.0, 10.0)
    assert result.mag[0] == pytest.approx(20.0)
    assert result.mag[0] + result.mag_uncertainty_up[0] == pytest.approx(25 - 2.5 * np.log10(90))
    assert result.mag[0] - result.mag_uncertainty_down[0] == pytest.approx(25 - 2.5 * np.log10(110))
    assert result.mag_uncertainty_up[0] > result.mag_uncertainty_down[0]
    assert np.isnan(result.limiting_mag[0])


@pytest.mark.parametrize("flux", [29.9, 0.0, -5.0, -500.0])
def test_no_detection_gives_the_limit_of_the_error_alone(flux):
    result = one(flux, 10.0)
    assert np.isnan(result.mag[0])
    assert np.isnan(result.mag_uncertainty_up[0])
    assert result.limiting_mag[0] == pytest.approx(25 - 2.5 * np.log10(30))


@pytest.mark.parametrize(("flux", "sigma"), [(np.nan, 1.0), (10.0, np.nan), (10.0, 0.0), (10.0, np.inf)])
def test_unknown_stays_unknown(flux, sigma):
    result = one(flux, sigma)
    assert np.isnan(result.mag[0])
    assert np.isnan(result.limiting_mag[0])


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_either_a_magnitude_or_a_limit(flux, sigma):
    result = one(flux, sigma)
    assert np.isfinite(result.mag[0]) != np.isfinite(result.limiting_mag[0])
    assert np.isfinite(result.mag[0]) == (flux >= 3 * sigma)


def test_nights_are_split_at_gaps_in_any_order():
    mjd = np.array([59001.4, 59000.1, 59000.3, 59001.2, 59004.9, 59000.2])
    assert split_nights(mjd, night_gap_days=0.8).tolist() == [1, 0, 0, 1, 2, 0]
    assert split_nights(np.array([]), night_gap_days=0.8).size == 0


def test_nightly_mean_clips_and_has_an_honest_error():
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(400):
        flux = 50 + rng.normal(0, 1.0, 12)
        flux[3] += 40
        result = nightly_means(
            59000 + np.arange(12) / 100, flux, np.full(12, 1.0), np.ones(12, bool),
            night_gap_days=0.8, clip_sigma=4.0,
        )  # fmt: skip
        assert result.n_rejected[0] >= 1
        pulls.append((result.flux[0] - 50) / result.flux_uncertainty[0])
    assert 0.85 < np.std(pulls) < 1.1


def test_error_grows_when_points_disagree():
    flux = np.array([90.0, 110.0, 95.0, 105.0])
    result = nightly_means(
        np.arange(4) / 100, flux, np.ones(4), np.ones(4, bool), night_gap_days=0.8, clip_sigma=4.0
    )
    assert result.flux_uncertainty[0] == pytest.approx(np.std(flux, ddof=1) / 2)
    assert result.scatter[0] == pytest.approx(np.std(flux, ddof=1))


def test_nights_without_usable_points_have_no_entry_and_order_does_not_matter():
    mjd = np.array([10.1, 10.2, 12.1, 14.1, 14.2, 14.15])
    flux = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 5.0])
    sigma = np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.1])
    good = np.array([True, True, False, True, True, True])
    options = {"night_gap_days": 0.8, "clip_sigma": 4.0}
    first = nightly_means(mjd, flux, sigma, good, **options)
    assert len(first.mjd) == 2
    assert first.n_points.sum() + first.n_rejected.sum() == 4
    order = np.array([5, 3, 1, 0, 2, 4])
    second = nightly_means(mjd[order], flux[order], sigma[order], good[order], **options)
    np.testing.assert_array_equal(first.flux, second.flux)
    np.testing.assert_array_equal(first.mjd, second.mjd)


def test_nothing_gives_nothing():
    empty = np.array([])
    result = nightly_means(empty, empty, empty, empty.astype(bool), night_gap_days=0.8, clip_sigma=3.0)
    assert result.mjd.shape == (0,)
