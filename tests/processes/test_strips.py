"""Large frames in strips: the same results as in one piece, but for what noise decides."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch.processes import strips
from lightwatch.processes.background import estimate_background
from lightwatch.processes.detection import detect_sources
from lightwatch.processes.strips import row_strips

SHAPE = (1500, 600)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(4)
    y, x = np.indices(SHAPE)
    sky = 100 + 0.01 * y - 0.005 * x + rng.normal(0, 5, SHAPE)
    for _ in range(150):
        row, column = rng.uniform(5, SHAPE[0] - 5), rng.uniform(5, SHAPE[1] - 5)
        near = (
            slice(max(0, int(row) - 12), int(row) + 13),
            slice(max(0, int(column) - 12), int(column) + 13),
        )
        sky[near] += rng.uniform(300, 9000) * np.exp(-((y[near] - row) ** 2 + (x[near] - column) ** 2) / 6)
    return sky.astype(np.float32)


def _found(image):
    sky = estimate_background(image, np.isfinite(image), method="masked_mesh", box_px=64, filter_boxes=3)
    sources = detect_sources(
        image - sky.level, sky.rms_map, np.zeros(SHAPE, np.uint8), exptime=30.0, threshold_sigma=5.0, min_area_px=5,
        kernel_fwhm_px=2.0, deblend_levels=32, deblend_contrast=0.005, max_sources=20_000,
    )  # fmt: skip
    return sky, sources


def test_strips_cover_every_row_once(monkeypatch):
    monkeypatch.setattr(strips, "_PIXELS", 600 * 700)
    pieces = row_strips(SHAPE, 100)
    assert len(pieces) > 1
    assert np.array_equal(np.concatenate([np.arange(SHAPE[0])[p.inner] for p in pieces]), np.arange(SHAPE[0]))
    for piece in pieces:
        assert np.array_equal(np.arange(SHAPE[0])[piece.outer][piece.own], np.arange(SHAPE[0])[piece.inner])
    assert len(row_strips((600, 700), 100)) == 1


def test_strips_find_what_the_whole_frame_has(image, monkeypatch):
    whole_sky, whole = _found(image)
    monkeypatch.setattr(strips, "_PIXELS", 600 * 1000)
    assert len(row_strips(SHAPE, 256)) > 1
    sky, sources = _found(image)
    assert np.abs(sky.level - whole_sky.level).max() < 0.2 * whole_sky.global_rms
    assert np.abs(sky.rms / whole_sky.rms - 1).max() < 0.05
    assert abs(len(sources) - len(whole)) <= 0.02 * len(whole)
    distance = np.hypot(sources.x[:, None] - whole.x, sources.y[:, None] - whole.y)
    nearest = distance.argmin(axis=1)
    same = distance.min(axis=1) < 0.05
    assert same.mean() > 0.97
    assert np.abs(nearest[same] - np.flatnonzero(same)).max() <= 5, (
        "the brightest first, as in the whole frame"
    )
    ratio = sources.flux[same] / whole.flux[nearest[same]]
    assert np.abs(np.median(ratio) - 1) < 0.01
