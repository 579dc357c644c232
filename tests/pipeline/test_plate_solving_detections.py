"""Which detections may confirm a WCS."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lightwatch.flags import Flag
from lightwatch.pipeline.tasks import plate_solving_frame


def test_stars_that_the_camera_masks_as_saturated_count_and_bad_pixels_do_not(monkeypatch):
    flags = [
        0,
        Flag.SATURATED,
        Flag.BAD | Flag.SATURATED,
        Flag.BAD,
        Flag.COSMIC_RAY,
        Flag.OUTSIDE | Flag.SATURATED,
    ]
    n = len(flags)
    columns = {
        "x": np.arange(n, dtype=float),
        "y": np.zeros(n),
        "flux": np.ones(n),
        "fwhm_px": np.full(n, 3.0),
        "snr": np.full(n, 600.0),
        "flags": np.array([int(flag) for flag in flags]),
    }
    monkeypatch.setattr(plate_solving_frame.frame_store, "read_sources", lambda *_path: columns)
    detections = plate_solving_frame._detections(Path(), "sources.fits", 10, 10)
    assert detections.x.tolist() == [0.0, 1.0, 2.0]
    assert detections.uncertainty_px.tolist() == [0.02, 0.3, 0.3]
