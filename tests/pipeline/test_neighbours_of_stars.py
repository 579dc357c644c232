"""Whose wings reach into a star's cutout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lightwatch.pipeline.tasks import stamps_of_frame
from lightwatch.structure.config import Cutouts


def test_stars_beyond_the_corner_of_the_cutout_are_neighbours(monkeypatch):
    """A star of a quarter of the light 34 px away made the fluxes of a whole frame 0.7 % wrong at FWHM 6.2 px."""
    nothing = {name: np.zeros(0) for name in ("x", "y", "flux", "snr")}
    monkeypatch.setattr(stamps_of_frame.frame_store, "read_sources", lambda *_: nothing)
    size = 48
    catalog_x, catalog_y = np.array([200.0, 234.0, 200.0]), np.array([200.0, 200.0, 300.0])
    job = stamps_of_frame.StampJob(
        workdir=Path(), relpath="", image_relpath="", sources_relpath="", wcs="", exptime=100.0,
        fwhm_px=6.2, ellipticity=0.0, star_ids=np.array([1]), star_x=catalog_x[:1], star_y=catalog_y[:1],
        catalog_x=catalog_x, catalog_y=catalog_y, catalog_mag=np.array([15.0, 16.5, 15.0]),
        star_size_px=size, rois={}, settings=Cutouts(), recipe="",
    )  # fmt: skip
    stars = {
        "stars/data": np.zeros((1, size, size)),
        "stars/mask": np.zeros((1, size, size), np.int32),
        "stars/background_rms": np.ones((1, size, size)),
        "stars/corner": np.array([[176, 176]]),
    }
    found = stamps_of_frame._neighbours(job, stars)
    np.testing.assert_array_equal(found.x[found.present], [234.0])
