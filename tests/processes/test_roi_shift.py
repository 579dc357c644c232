"""What the stars of a frame know of a region's place."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch.processes.roi_shift import additional_scatter, prior_variance, star_shift

SHIFT = np.array([0.12, -0.07])


def stars(seed: int, scatter: float = 0.0, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    snr = 10 ** rng.uniform(1, 3, count)
    noise = np.hypot(0.6 * 4 / snr, scatter)[:, None] * rng.normal(0, 1, (count, 2))
    return SHIFT + noise, snr


@pytest.mark.parametrize("scatter", [0.0, 0.01, 0.05])
def test_uncertainty_is_that_of_a_further_star_without_noise(scatter: float) -> None:
    found = [star_shift(*stars(seed, scatter), 4.0) for seed in range(60)]
    elsewhere = np.random.default_rng(99).normal(0, scatter, (60, 2))
    error = np.array([shift for shift, _ in found]) - SHIFT - elsewhere
    sigma = np.array([s for _, s in found])
    pull = error / sigma[:, None]
    # the error of the scatter is granted, so that pulls fall below 1 where there is none
    assert pull.std() < 1.15
    assert pull.std() > 0.8 or scatter < 0.02
    assert np.median(sigma) < max(0.006, 1.5 * scatter)


def test_wrong_stars_do_not_move_it() -> None:
    offset, snr = stars(3)
    offset[:6] += np.array([0.8, -0.5])
    shift, sigma = star_shift(offset, snr, 4.0)
    assert np.abs(shift - SHIFT).max() < 4 * sigma
    assert sigma < 0.01


def test_too_few_stars_say_nothing() -> None:
    offset, snr = stars(4, count=2)
    shift, sigma = star_shift(offset, snr, 4.0)
    np.testing.assert_array_equal(shift, 0)
    assert sigma == np.inf
    assert star_shift(np.zeros((0, 2)), np.zeros(0), 4.0)[1] == np.inf
    offset, snr = stars(5, count=5)
    offset[0] = np.nan
    assert np.isfinite(star_shift(offset, snr, 4.0)[0]).all()


@pytest.mark.parametrize("scatter", [0.0, 0.05])
def test_scatter_of_the_shifts_is_recovered_whatever_prior_was_applied(scatter: float) -> None:
    rng = np.random.default_rng(6)
    count, noise, expected = 200, 0.02, np.full(200, 0.003**2)
    measured = rng.normal(0, np.sqrt(noise**2 + 0.003**2 + scatter**2), (count, 2))
    for applied in (0.003**2, 0.1**2):
        precision = 1 / noise**2 + 1 / applied
        covariance = np.broadcast_to(np.eye(2) / precision, (count, 2, 2))
        found = additional_scatter(
            measured / noise**2 / precision, covariance, expected, np.full(count, applied), 1.0
        )
        assert found == pytest.approx(scatter, rel=0.25)


def test_epochs_without_light_have_no_say() -> None:
    """A source that is not there yet: its epochs' posterior is the prior, to the last digit."""
    rng = np.random.default_rng(7)
    applied, expected = np.full(60, 0.1**2), np.full(60, 0.003**2)
    precision = np.where(np.arange(60) < 40, 0.02**-2, 0.0) + 1 / applied
    covariance = np.eye(2) / precision[:, None, None]
    shift = rng.normal(0, np.hypot(0.02, 0.05), (60, 2)) * (1 - 1 / applied / precision)[:, None]
    found = additional_scatter(shift, covariance, expected, applied, 1.0)
    assert found == pytest.approx(0.05, rel=0.35)
    assert found == additional_scatter(shift[:40], covariance[:40], expected[:40], applied[:40], 1.0)
    assert additional_scatter(shift[40:], covariance[40:], expected[40:], applied[40:], 1.0) == 0


def test_prior_is_at_most_as_wide_as_the_setting() -> None:
    variance = prior_variance(np.array([0.01, 0.5, np.inf]), 0.02, 0.3)
    np.testing.assert_allclose(variance, [0.01**2 + 0.02**2, 0.09, 0.09])
