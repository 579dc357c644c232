"""Visit-level statistics: found where they are, silent where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch.processes.visit_alarms import (
    deviations,
    failure_rates,
    joint_jumps,
    median_per_group,
    unusual_gaps,
)

RNG = np.random.default_rng(3)


def test_one_night_off():
    values = RNG.normal(0, 0.05, 30)
    values[[4, 11]] = 0.9, np.nan
    (found,) = deviations(values, sigma=5, least=0.3, min_count=6)
    assert (found.index, found.value) == (4, 0.9)
    assert abs(found.usual) < 0.05
    assert 0.02 < found.spread < 0.1


@pytest.mark.parametrize(
    ("offset", "least", "count"), [(0.2, 0.3, 30), (0.9, 1.0, 30), (0.9, 0.3, 5), (0.0, 0.0, 0)]
)
def test_no_deviation_where_small_or_unknown(offset, least, count):
    values = np.zeros(count) + 1e-3 * np.arange(count)
    values[:1] += offset
    assert deviations(values, sigma=5, least=least, min_count=6) == []


def test_wide_scatter_raises_no_alarm():
    values = np.where(np.arange(40) % 2, 0.8, -0.8)
    assert deviations(values, sigma=5, least=0.3, min_count=6) == []


def test_median_per_group():
    medians = median_per_group([1, 3, np.nan, 7, np.nan], [0, 0, 1, 2, 2], 3)
    assert medians[[0, 2]].tolist() == [2, 7]
    assert np.isnan(medians[1])


def _stars(n_frames: int = 25, n_stars: int = 12) -> tuple[np.ndarray, np.ndarray]:
    mean = np.geomspace(100, 10000, n_stars)
    error = np.full((n_frames, n_stars), 0.01) * mean
    return mean + error * RNG.normal(size=error.shape), error


def test_stars_that_jump_together():
    flux, error = _stars()
    flux[7, :9] *= 1.2
    (jump,) = joint_jumps(flux, error, sigma=4, min_stars=5, min_fraction=0.4)
    assert (jump.index, jump.n_off, jump.n_stars) == (7, 9, 12)
    assert jump.offset == pytest.approx(0.2, abs=0.02)


def test_no_jump_in_noise_or_of_few_stars():
    flux, error = _stars()
    flux[7, :2] *= 1.5
    flux[9, 4:] = np.nan  # four stars are left, and all are off
    flux[9, :4] *= 1.5
    flux[:, 5] = np.nan
    assert joint_jumps(flux, error, sigma=4, min_stars=5, min_fraction=0.4) == []
    assert joint_jumps(np.zeros((0, 0)), np.zeros((0, 0)), sigma=4, min_stars=5, min_fraction=0.4) == []


def test_star_that_varies_is_no_jump():
    flux, error = _stars(n_stars=5)
    flux *= 1 + 0.3 * np.sin(np.arange(25))[:, None]
    assert joint_jumps(flux, error, sigma=4, min_stars=5, min_fraction=0.4) == []


def test_failure_rates():
    night = np.repeat(np.arange(4), 10)
    failed = np.zeros(40, bool)
    failed[[3, 10, 11, 12, 13]] = True
    tried = np.ones(40, bool)
    (rate,) = failure_rates(tried, failed, night, min_failed=2, min_rate=0.2)
    assert (rate.index, rate.failed, rate.tried) == (1, 4, 10)
    assert rate.usual == pytest.approx(1 / 30)
    assert failure_rates(~tried, failed, night, min_failed=2, min_rate=0.2) == []


def test_a_rate_that_is_usual_is_no_alarm():
    failed = np.tile([True, True, False, False, False], 8)
    assert failure_rates(np.ones(40), failed, np.repeat(np.arange(4), 10), min_failed=2, min_rate=0.2) == []


def test_failure_of_the_only_night():
    (rate,) = failure_rates([1, 1, 1], [1, 1, 0], [0, 0, 0], min_failed=2, min_rate=0.2)
    assert np.isnan(rate.usual)


def test_gap():
    starts = np.cumsum([0, 1, 1, 2, 1, 1, 1, 2, 30, 1, 1, 1])
    (gap,) = unusual_gaps(starts, factor=3, least_days=3, min_nights=6)
    assert (gap.index, gap.value) == (8, 30)
    assert unusual_gaps(np.arange(5) ** 3, factor=3, least_days=3, min_nights=6) == []
    assert unusual_gaps(np.arange(20), factor=3, least_days=3, min_nights=6) == []
