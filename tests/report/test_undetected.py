"""Coordinates on empty sky: told where no frame and not even the mean of all has any light."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import update

from lightwatch.report import site
from lightwatch.report.undetected import undetected_sources
from lightwatch.structure import schema
from lightwatch.structure.database import transaction

SIGMA = 10.0
LIMIT = 3.0


def points(level: float, n: int = 200) -> list[dict]:
    """Of a source of constant flux, among the noise."""
    flux = level + np.random.default_rng(3).normal(0, SIGMA, n)
    return [
        {"roi": "R", "point_source": "A", "filter": "r", "flux": one, "flux_uncertainty": SIGMA}
        for one in flux
    ]


def test_empty_sky_is_told_with_its_numbers():
    (one,) = undetected_sources(points(0.0), LIMIT)
    assert (one.roi, one.point_source, one.n_points) == ("R", "A", 200)
    assert abs(one.snr) < LIMIT
    assert one.text.startswith("R A is on none of 200 frames")


@pytest.mark.parametrize("level", [5.0, 100.0])
def test_a_faint_source_that_the_mean_shows_is_none(level):
    assert undetected_sources(points(level), LIMIT) == []


def test_what_was_seen_once_is_none():
    rows = points(0.0)
    rows[17]["flux"] = 20 * SIGMA
    assert undetected_sources(rows, LIMIT) == []


@pytest.mark.parametrize(("n", "asked"), [(1, 0), (4, 0), (5, 1)])
def test_a_night_or_two_ask_nothing(n, asked):
    assert len(undetected_sources([row | {"flux": 0.1} for row in points(0.0, n)], LIMIT)) == asked


def test_nothing_is_said_of_no_points():
    assert undetected_sources([], LIMIT) == []
    assert undetected_sources([row | {"flux_uncertainty": None} for row in points(0.0)], LIMIT) == []


def test_the_report_asks_for_the_coordinates(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w")
    assert "Is there a star?" not in site.render(workspace)
    with transaction(workspace.engine) as connection:
        x = schema.roi_flux
        connection.execute(update(x).where(x.c.point_source == "A").values(flux=0.1, flux_uncertainty=1.0))
    page = site.render(workspace)
    assert "Is there a star?" in page
    assert page.count("are its coordinates right?") == 1
