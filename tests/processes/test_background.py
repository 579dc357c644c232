from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, uniform_filter

from lightwatch.errors import ProcessError
from lightwatch.processes.background import (
    Mesh,
    _over_windows,
    box_size_px,
    estimate_background,
    expected_background_rms,
    from_mesh,
    noise_ratio,
    to_mesh,
)

MASKED = {"method": "masked_mesh", "box_px": 64, "filter_boxes": 3}


def everywhere(image):
    return np.ones(image.shape, bool)


@pytest.mark.parametrize("method", ["mesh", "masked_mesh"])
def test_sky_and_rms_of_a_sloped_starry_frame(make_field, method):
    field = make_field(2, size=512, n_stars=60)
    slope = 18.0 * np.linspace(-1, 1, 512)[None, :] * np.ones((512, 1))  # 6 % of the sky
    image = (field.image + slope).astype(np.float32)
    background = estimate_background(image, everywhere(image), method=method, box_px=64, filter_boxes=3)
    truth = field.sky + slope
    assert np.abs(np.median(background.level / truth) - 1) < 0.003
    assert np.abs(background.level / truth - 1).max() < 0.03
    assert background.global_rms == pytest.approx(field.rms, rel=0.03)
    assert background.global_level == pytest.approx(field.sky, rel=0.01)


@pytest.mark.parametrize(("n_stars", "fwhm"), [(0, 3.0), (60, 3.0), (120, 5.0)])
def test_masked_mesh_is_unbiased_with_and_without_stars(make_field, n_stars, fwhm):
    field = make_field(3, size=384, n_stars=n_stars, fwhm=fwhm, flux=(300.0, 3e5))
    background = estimate_background(field.image, everywhere(field.image), **MASKED)
    assert np.median(background.rms) == pytest.approx(field.rms, rel=0.01)
    assert np.median(background.level) == pytest.approx(field.sky, abs=0.03 * field.rms)


def test_nan_and_masked_regions_do_not_matter(make_field):
    field = make_field(4)
    image, good = field.image.copy(), everywhere(field.image)
    image[:, 40:44] = np.nan
    image[0:90, 0:90] = 1e6  # bigger than a box
    good[0:90, 0:90] = False
    untouched = image.copy()
    background = estimate_background(image, good, **MASKED)
    assert np.isfinite(background.level).all()
    assert (background.rms > 0).all()
    np.testing.assert_allclose(background.level, field.sky, rtol=0.06)
    np.testing.assert_allclose(background.rms, field.rms, rtol=0.15)
    np.testing.assert_array_equal(image, untouched)


def test_integer_counts_with_little_noise_are_measured():
    rng = np.random.default_rng(5)
    image = np.rint(rng.normal(350, 1.2, (256, 256))).astype(np.float32)
    background = estimate_background(image, everywhere(image), **MASKED)
    assert background.global_rms == pytest.approx(np.hypot(1.2, 12**-0.5), rel=0.015)
    assert background.global_level == pytest.approx(350, abs=0.05)


def test_level_of_integer_counts_is_smooth_from_box_to_box(make_field):
    """The first map jumps by tenths of an ADU from box to box; none of it may stay."""
    field = make_field(6, size=512, n_stars=150, fwhm=2.0, flux=(30.0, 3e4))
    sky = 350 + 1.5 * np.linspace(-1, 1, 512)[None, :] * np.ones((512, 1))
    rng = np.random.default_rng(6)
    stars = field.image - field.sky
    stars = np.where(stars > 4 * field.rms, stars, 0)
    image = np.rint(rng.normal(sky + stars, 1.2)).astype(np.float32)
    background = estimate_background(image, everywhere(image), **MASKED)
    assert np.std(background.level - sky) < 0.06


def test_corners_of_a_curved_sky_are_kept():
    y, x = np.mgrid[-1:1:768j, -1:1:768j]
    sky = 400 * (1 - 0.03 * (x**2 + y**2) + 0.02 * x)
    image = np.random.default_rng(7).normal(sky, 10.0).astype(np.float32)
    background = estimate_background(
        image, everywhere(image), method="masked_mesh", box_px=128, filter_boxes=3
    )
    # beyond the outermost nodes the map goes on as a line, which leaves 0.7 of the curvature
    assert np.abs(background.level - sky).max() < 2.0


@pytest.mark.parametrize(
    "image", [np.full((128, 128), np.nan), np.zeros((128, 128)), np.full((128, 128), 7.0)]
)
def test_frames_without_sky_noise_are_refused(image):
    with pytest.raises(ProcessError) as caught:
        estimate_background(image.astype(np.float32), everywhere(image), **MASKED)
    assert caught.value.reason_code == "no_good_pixels"


def test_an_unknown_method_is_refused():
    with pytest.raises(ProcessError, match="neither"):
        estimate_background(np.ones((8, 8), "f4"), np.ones((8, 8), bool), **{**MASKED, "method": "x"})


def test_windows_of_a_mesh_agree_with_the_whole(make_field):
    field = make_field(6)
    background = estimate_background(field.image, everywhere(field.image), **MASKED)
    assert background.level_mesh.values.size < 50
    window = from_mesh(background.level_mesh, 100, 37, 41, 20)
    assert window.dtype == np.float32
    np.testing.assert_allclose(window, background.level[37:57, 100:141], rtol=1e-6)


def test_windows_beyond_the_frame_repeat_its_edge():
    mesh = to_mesh(np.tile(np.linspace(10, 20, 60), (50, 1)), 12)
    window = from_mesh(mesh, -5, -5, 80, 60)
    np.testing.assert_allclose(window[:, 0], 10, rtol=1e-3)
    np.testing.assert_allclose(window[:, -1], 20, rtol=1e-3)


@pytest.mark.parametrize("shape", [(200, 300), (64, 64), (50, 75)])
def test_smooth_maps_survive_the_mesh(shape):
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    smooth = 100 + 6 * x - 4 * y + 3 * x * y + 2 * y**2
    mesh = to_mesh(smooth, 25)
    assert isinstance(mesh, Mesh)
    np.testing.assert_allclose(from_mesh(mesh, 0, 0, shape[1], shape[0]), smooth, rtol=2e-3)


def test_a_wrong_gain_shows_in_the_noise_ratio(make_field):
    field, exptime = make_field(7), 100.0
    for assumed_over_true, expected in ((1.0, 1.0), (2.0, np.sqrt(2.0)), (0.5, np.sqrt(0.5))):
        image = (field.image * assumed_over_true / exptime).astype(np.float32)
        background = estimate_background(image, everywhere(image), **MASKED)
        assert noise_ratio(background, exptime, 5.0 * assumed_over_true**0.5) == pytest.approx(
            expected, rel=0.02
        )
    assert np.isnan(noise_ratio(background, exptime, np.nan))


def test_expected_rms_adds_photons_and_read_noise():
    assert float(expected_background_rms(4.0, 100.0, 15.0)) == pytest.approx(np.sqrt(400 + 225) / 100)


def test_boxes_per_side():
    assert box_size_px((1000, 1500), 10) == 150
    assert box_size_px((20, 20), 100) == 8


@pytest.mark.parametrize("width", [1, 5, 13, 15])
def test_windows_are_those_of_the_plain_filters(width):
    values = np.random.default_rng(3).normal(size=(60, 41)).astype(np.float32)
    mean = _over_windows(np.add, values, width) / width**2
    np.testing.assert_allclose(mean, uniform_filter(values, width, mode="reflect"), atol=1e-6)
    bright = values > 2.5
    grown = _over_windows(np.logical_or, bright, width)
    np.testing.assert_array_equal(grown, maximum_filter(bright, width))
