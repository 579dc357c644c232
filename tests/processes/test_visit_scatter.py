"""Scatter within visits and between them, against stars whose noise is known."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch.processes.visit_scatter import nearest_in_brightness, visit_scatter

VISITS, PER_VISIT, STARS = 12, 5, 8
NOISE = 0.004


def stars(seed: int, between: float, level: float = 3000.0) -> tuple:
    """Stars that the stated noise scatters, and an offset of each star in each visit."""
    rng = np.random.default_rng(seed)
    visit = np.repeat(np.arange(VISITS), PER_VISIT)
    offset = rng.normal(0, between, (VISITS, STARS))[visit]
    flux = level * np.linspace(1, 1.5, STARS) * (1 + offset + rng.normal(0, NOISE, offset.shape))
    return flux, NOISE * np.median(flux, axis=0) * np.ones_like(flux), visit


def test_stars_that_scatter_as_their_errors_say():
    told = visit_scatter(*stars(1, between=0.0))
    assert told.n_visits == VISITS
    for spread, stated in (
        (told.total, NOISE), (told.within, NOISE), (told.between, NOISE / np.sqrt(PER_VISIT)),
    ):  # fmt: skip
        assert spread.stated == pytest.approx(stated, rel=0.02)
        assert spread.measured == pytest.approx(stated, rel=0.15)
    np.testing.assert_allclose(told.factors, 1.0, atol=0.4)


def test_what_differs_from_visit_to_visit_is_found_and_leaves_the_visits_alone():
    told = visit_scatter(*stars(2, between=0.012))
    assert told.within.measured == pytest.approx(NOISE, rel=0.1)
    assert told.between.excess == pytest.approx(0.012, rel=0.2)
    assert told.total.measured > 2.5 * told.total.stated
    assert told.factors.min() > 1.5


@pytest.mark.parametrize("per_visit", [2, 3])
def test_few_frames_a_visit_give_no_smaller_scatter(per_visit):
    rng = np.random.default_rng(3)
    visit = np.repeat(np.arange(200), per_visit)
    flux = 1000 * (1 + rng.normal(0, NOISE, (len(visit), STARS)))
    told = visit_scatter(flux, np.full_like(flux, 1000 * NOISE), visit)
    assert told.within.measured == pytest.approx(NOISE, rel=0.05)


def test_wild_points_and_gaps_change_little():
    flux, error, visit = stars(4, between=0.0)
    flux[::17, 0] *= 3
    flux[:, 1] = np.nan
    flux[10:20, 2] = np.nan
    told = visit_scatter(flux, error, visit)
    assert len(told.factors) == STARS - 1
    assert told.total.measured == pytest.approx(NOISE, rel=0.15)


def test_what_one_visit_or_one_frame_a_visit_cannot_tell_is_unknown():
    flux, error, visit = stars(5, between=0.0)
    one = visit_scatter(flux, error, np.zeros_like(visit))
    assert np.isnan(one.between.measured)
    assert one.within.measured == pytest.approx(NOISE, rel=0.15)
    single = visit_scatter(flux, error, np.arange(len(visit)))
    assert np.isnan(single.within.measured)
    assert single.between.measured == pytest.approx(NOISE, rel=0.15)
    nothing = visit_scatter(np.full((3, 2), np.nan), np.ones((3, 2)), np.zeros(3))
    assert np.isnan(nothing.total.measured)
    assert len(nothing.factors) == 0


def test_stars_next_in_brightness():
    magnitudes = [16.0, 12.0, 14.0, 13.0, 15.0]
    assert list(nearest_in_brightness(magnitudes, 14.5, 1)) == [2, 4]
    assert list(nearest_in_brightness(magnitudes, 10.0, 2)) == [1, 3]
    assert list(nearest_in_brightness(magnitudes, 20.0, 1)) == [0]
    assert list(nearest_in_brightness([], 20.0, 1)) == []
