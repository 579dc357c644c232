from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from lightwatch.errors import ProcessError
from lightwatch.flags import Flag
from lightwatch.processes.masks import bad_lines, bad_pixels, combine_mask, cosmic_rays, grow

SETTINGS = {"sigclip": 4.5, "sigfrac": 0.3, "objlim": 5.0, "max_iterations": 4}


def strike(rng, shape, n):
    """Electrons deposited along ``n`` straight tracks of 1 to 25 pixels."""
    hit = np.zeros(shape)
    for _ in range(n):
        steps = np.arange(rng.integers(1, 26))
        angle, x0, y0 = rng.uniform(0, 2 * np.pi), *rng.uniform(0, shape[0], 2)
        x, y = (
            np.rint(x0 + steps * np.cos(angle)).astype(int),
            np.rint(y0 + steps * np.sin(angle)).astype(int),
        )
        on = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
        hit[y[on], x[on]] += np.exp(rng.uniform(np.log(300), np.log(15000)))
    return hit


def find(image, field, fwhm, mask=None, exptime=1.0, ellipticity=0.0, with_stars=False):
    subtracted = ((image - field.sky) / exptime).astype(np.float32)
    rms = np.full(image.shape, field.rms / exptime, np.float32)
    mask = np.zeros(image.shape, np.int32) if mask is None else mask
    return cosmic_rays(
        subtracted,
        rms,
        mask,
        exptime=exptime,
        fwhm_px=fwhm,
        ellipticity=ellipticity,
        star_x=field.x if with_stars else field.x[:0],
        star_y=field.y if with_stars else field.y[:0],
        **SETTINGS,
    )


@pytest.mark.parametrize("with_stars", [False, True])
@pytest.mark.parametrize(("fwhm", "beta"), [(2.2, 4.5), (2.2, 2.5), (2.6, 3.0), (4.5, 3.0)])
def test_cosmic_rays_are_found_and_stars_are_not(make_field, fwhm, beta, with_stars):
    field = make_field(11, size=384, n_stars=150, fwhm=fwhm, beta=beta, flux=(1e3, 1e6))
    hit = strike(np.random.default_rng(12), field.image.shape, 40)
    found = find(field.image + hit, field, fwhm, with_stars=with_stars)
    significant = hit > 5 * np.sqrt(field.rms**2 + field.scene)
    assert (found & significant).sum() > 0.95 * significant.sum()
    struck = binary_dilation(hit > 0, np.ones((5, 5)))
    cores = [
        (slice(max(0, y - 2), y + 3), slice(max(0, x - 2), x + 3))
        for x, y in zip(np.rint(field.x).astype(int), np.rint(field.y).astype(int), strict=True)
    ]
    assert sum((found & ~struck)[core].any() for core in cores) <= 0.01 * len(cores)
    assert (found & ~struck).mean() < 1e-4


def test_cosmic_rays_on_a_star_are_found(make_field):
    field = make_field(13, size=64, n_stars=0)
    star = make_field(13, size=64, n_stars=1, fwhm=3.0, flux=(1e5, 1e5 + 1))
    image = star.image.copy()
    y, x = int(np.rint(star.y[0])) + 1, int(np.rint(star.x[0])) + 1
    image[y, x] += 2e4
    assert find(image, field, 3.0)[y, x]


def test_elongated_undersampled_stars_are_spared():
    y, x = np.mgrid[:200, :200]
    rng = np.random.default_rng(14)
    scene = np.zeros((200, 200))
    for x0, y0 in rng.uniform(5, 195, (40, 2)):
        scene += 4000 * np.exp(-0.5 * (((x - x0) / 1.3) ** 2 + ((y - y0) / 0.78) ** 2))  # FWHM 2.4, b/a 0.6
    image = rng.poisson(scene + 300).astype(np.float32)
    rms = np.full(image.shape, 300**0.5, np.float32)
    mask = np.zeros(image.shape, np.int32)
    nothing = np.zeros(0)
    known = {"exptime": 1.0, "fwhm_px": 2.2, "ellipticity": 0.4, "star_x": nothing, "star_y": nothing}
    assert cosmic_rays(image - 300, rms, mask, **known, **SETTINGS).sum() <= 4


def test_stars_sharper_than_their_fwhm_are_spared_where_they_are_known():
    """A comatic image: a sharp spot on a wide disc, not of the shape that its FWHM makes expect."""
    y, x = np.mgrid[:300, :300]
    rng = np.random.default_rng(20)
    scene = np.zeros((300, 300))
    stars = rng.uniform(8, 292, (2, 50))
    for x0, y0 in stars.T:
        for offset, sigma, share in ((0.0, 0.55, 0.5), (1.5, 1.6, 0.5)):
            r2 = (x - x0) ** 2 + (y - y0 - offset) ** 2
            scene += 6e4 * share * np.exp(-0.5 * r2 / sigma**2) / (2 * np.pi * sigma**2)
    hit = strike(rng, scene.shape, 20)
    image = (rng.poisson(scene + 300) - 300 + hit).astype(np.float32)
    rms, mask = np.full(image.shape, 300**0.5, np.float32), np.zeros(image.shape, np.int32)
    known = {"exptime": 1.0, "fwhm_px": 3.0, "ellipticity": 0.1}
    found = cosmic_rays(image, rms, mask, **known, star_x=stars[0], star_y=stars[1], **SETTINGS)
    blind = cosmic_rays(image, rms, mask, **known, star_x=stars[0, :0], star_y=stars[1, :0], **SETTINGS)
    column, row = np.rint(stars).astype(int)
    assert blind[row, column].mean() > 0.2  # the test can tell
    assert found[row, column].mean() <= 0.02
    significant = hit > 8 * np.sqrt(scene + 300)
    assert (found & significant).sum() > 0.9 * significant.sum()


def test_result_does_not_depend_on_the_unit(make_field):
    field = make_field(15, size=200, fwhm=3.0)
    image = field.image + strike(np.random.default_rng(16), field.image.shape, 10)
    np.testing.assert_array_equal(find(image, field, 3.0), find(image, field, 3.0, exptime=256.0))


def test_known_bad_pixels_and_nan_are_left_alone(make_field):
    field = make_field(17, size=128, n_stars=5)
    image = field.image.copy()
    image[40, 40], image[60:63, 70] = np.nan, 50000
    image[90, 90] += 3000
    mask = np.zeros(image.shape, np.int32)
    mask[60:63, 70] = Flag.SATURATED
    found = find(image, field, np.nan, mask, ellipticity=np.nan)
    assert found[90, 90]
    assert not found[40, 40]
    assert not found[60:63, 70].any()


def test_cosmic_rays_at_the_edges_are_found(make_field):
    field = make_field(18, size=70, n_stars=0)
    image = field.image.copy()
    places = [(0, 30), (69, 31), (33, 0), (35, 69), (1, 1), (68, 68)]
    for place in places:
        image[place] += 5000
    found = find(image, field, 3.0)
    assert all(found[place] for place in places)


def test_bits_of_the_mask():
    none = np.zeros((20, 20), bool)
    bad, saturated, struck = none.copy(), none.copy(), none.copy()
    bad[3, 3] = saturated[10, 10] = struck[3, 10] = struck[10, 11] = True
    mask = combine_mask(bad, saturated, struck, grow_saturated_px=1, grow_px=1)
    assert mask.dtype == np.int32
    assert mask[3, 3] == Flag.BAD
    assert mask[3, 10] == Flag.COSMIC_RAY
    assert mask[10, 10] == Flag.SATURATED
    assert mask[10, 11] == Flag.SATURATED | Flag.COSMIC_RAY  # grown into
    assert mask[2, 3] == mask[3, 9] == mask[12, 10] == Flag.NEIGHBOUR_OF_BAD
    assert mask[0, 0] == 0
    assert set(np.unique(mask)) == {0, 1, 2, 4, 6, 8}


def test_growing_by_nothing_is_a_copy():
    flagged = np.eye(5, dtype=bool)
    same = grow(flagged, 0)
    assert (same == flagged).all()
    assert same is not flagged
    assert grow(flagged, 1).sum() == 19


def test_bad_pixels_join_nan_and_the_detector_map():
    image = np.array([[1.0, np.nan], [np.inf, 2.0]])
    assert bad_pixels(image, None).tolist() == [[False, True], [True, False]]
    assert bad_pixels(image, np.array([[0, 0], [0, 5]])).tolist() == [[False, True], [True, True]]
    with pytest.raises(ProcessError, match="map"):
        bad_pixels(image, np.zeros((3, 2), bool))


def test_bad_rows_and_columns_are_found_and_stars_are_not(make_field):
    field = make_field(19, size=256, n_stars=60, flux=(1e3, 1e6))
    image = field.image - np.float32(field.sky)
    rms = np.full(image.shape, field.rms, np.float32)
    good = np.ones(image.shape, bool)
    assert not bad_lines(image, rms, good, n_sigma=10.0).any()
    image[:, 77] += 3 * field.rms
    image[0:3] -= 8 * field.rms
    good[200] = False
    bad = bad_lines(image, rms, good, n_sigma=10.0)
    assert np.flatnonzero(bad.all(axis=0)).tolist() == [77]
    assert np.flatnonzero(bad.all(axis=1)).tolist() == [0, 1, 2, 200]
