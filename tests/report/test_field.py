"""Maps of the field: what is on them, which names, where north is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.wcs import WCS
from sqlalchemy import insert

from lightwatch.report import site
from lightwatch.report.orientation import nice, rose_of
from lightwatch.report.sky_map import frame_map, sky_map
from lightwatch.structure import schema
from lightwatch.structure.database import transaction

ROI = {"R": (80.0, 0.0)}
STARS = [
    {"gaia_id": i, "star_gaia_id": i, "name": f"s{i}", "gmag": 15.0, "ra": 80.0 + 0.01 * i, "dec": 0.0}
    for i in range(4)
]
SQUARE = [[79.9, -0.1], [80.1, -0.1], [80.1, 0.1], [79.9, 0.1]]


def kinds(star: int) -> str:
    return {0: "used", 1: "disowned"}.get(star, "unused")


def wcs(rotation: float) -> WCS:
    """1 arcsec/px, centred on the ROI at (200, 100); north up for 0 degrees."""
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval, made.wcs.crpix = ROI["R"], [201, 101]
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    made.wcs.cd = np.array([[-c, s], [s, c]]) / 3600
    return made


def test_only_names_that_matter_are_written():
    told = sky_map([{"polygon": json.dumps(SQUARE)}], json.dumps([SQUARE]), STARS, ROI, kinds)
    assert [mark.label for mark in told.marks] == ["s0", "s1", "", "", "R"]
    assert "star s3" in told.marks[3].told
    assert len(told.common) == 1


def test_stars_that_are_on_no_frame_are_left_out(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=4)
    far = {
        "combined_footprint_hash": "f" * 64,
        "gaia_id": 999,
        "name": "far",
        "ra": 43.9,
        "dec": 19.2,
        "gmag": 15.0,
    }
    with transaction(workspace.engine) as connection:
        connection.execute(insert(schema.stars), [far | {"distance_to_roi_arcsec": 5000.0, "recipe": "r0"}])
    page = site.render(workspace)
    assert "<title>star b" in page
    assert "<title>star far" not in page


@pytest.mark.parametrize("rotation", [0.0, 90.0, 215.0])
def test_north_east_and_the_scale_on_a_frame(rotation):
    frame = {"naxis1": 400, "naxis2": 200}
    stars = [row | {"x": 200.0 + 10 * i, "y": 100.0} for i, row in enumerate(STARS)]
    told = frame_map(frame, wcs(rotation), stars, ROI, kinds, json.dumps([SQUARE]))
    turned = np.radians(rotation)
    np.testing.assert_allclose(told.rose.north, (np.sin(turned), -np.cos(turned)), atol=1e-3)
    np.testing.assert_allclose(told.rose.east, (-np.cos(turned), -np.sin(turned)), atol=1e-3)
    assert told.rose.told == "1′"
    assert told.rose.bar == pytest.approx(60 * 600 / 400, rel=1e-3)
    assert (told.width, told.height) == (600, 300)
    roi = told.marks[-1]
    assert (roi.x, roi.y) == pytest.approx((200.5 * 1.5, 99.5 * 1.5), abs=0.01)
    assert len(told.common) == 1


@pytest.mark.parametrize("far", [95.0, 180.0])
def test_an_roi_on_the_other_side_of_the_sky_leaves_the_map_as_it_is(far):
    """Hours given as degrees: the report is where one looks then."""
    frame = {"naxis1": 400, "naxis2": 200}
    told = frame_map(frame, wcs(0.0), [], {"R": (80.0 + far, 0.0)}, kinds, json.dumps([SQUARE]))
    assert told.rose.told == "1′"
    assert told.marks == []


def test_bars_are_of_round_angles():
    assert [nice(value) for value in (0.07, 1.0, 4.9, 59.0, 61.0, 400.0)] == [0.05, 1, 2, 50, 60, 300]
    assert rose_of([[-4, 0], [0, 4]], 200).told == "10″"
