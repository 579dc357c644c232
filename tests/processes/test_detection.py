from __future__ import annotations

import numpy as np
import pytest

from lightwatch.flags import Flag
from lightwatch.processes.detection import (
    detect_sources,
    limiting_flux,
    stellar_locus,
)

SETTINGS = {
    "exptime": 1.0,
    "threshold_sigma": 5.0,
    "min_area_px": 5,
    "kernel_fwhm_px": 3.0,
    "deblend_levels": 32,
    "deblend_contrast": 0.005,
    "max_sources": 5000,
}


def clean_mask(image):
    return np.zeros(image.shape, np.int32)


def detect(field, mask=None, **changes):
    image = field.image - np.float32(field.sky)
    rms = np.full(image.shape, field.rms, np.float32)
    mask = clean_mask(image) if mask is None else mask
    sources = detect_sources(image, rms, mask, **{**SETTINGS, **changes})
    seeing = stellar_locus(image, rms, mask, sources, exptime=1.0, min_snr=20.0, max_stars=40)
    return sources, seeing


def blank(seed, shape=(512, 512)):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def test_positions_and_fluxes_of_isolated_stars(make_field):
    field = make_field(21, size=512, n_stars=25, flux=(1e4, 3e5))
    sources, _ = detect(field)
    distance = np.hypot(field.x[:, None] - sources.x, field.y[:, None] - sources.y)
    alone = np.sort(np.hypot(field.x[:, None] - field.x, field.y[:, None] - field.y), axis=1)[:, 1] > 30
    inside = np.minimum.reduce([field.x, field.y, 511 - field.x, 511 - field.y]) > 15
    match = distance.argmin(axis=1)[alone & inside]
    assert (distance.min(axis=1)[alone & inside] < 0.1).all()
    ratio = sources.flux[match] / field.flux[alone & inside]
    assert np.median(ratio) == pytest.approx(0.96, abs=0.04)  # the aperture loses the wings
    assert (np.diff(sources.flux)[:5] < 0).all()
    assert (sources.snr > 0).all()


@pytest.mark.parametrize(
    ("fwhm", "beta"), [(2.0, 3.0), (2.0, 50.0), (2.6, 4.5), (3.5, 2.5), (5.0, 50.0), (8.0, 3.0), (12.0, 3.0)]
)
def test_seeing_is_recovered_among_cosmic_rays(make_field, fwhm, beta):
    field = make_field(22, size=560, n_stars=30, fwhm=fwhm, beta=beta, flux=(2e4, 3e5))
    rng = np.random.default_rng(23)
    struck = rng.integers(0, 560, (2, 40))
    field.image[struck[0], struck[1]] += rng.uniform(500, 5000, 40).astype(np.float32)
    _, seeing = detect(field)
    assert seeing.n_stars >= 5
    assert seeing.fwhm_px == pytest.approx(fwhm, rel=0.05)
    assert seeing.ellipticity < 0.05


def test_shape_of_elongated_stars():
    y, x = np.mgrid[:300, :300]
    rng = np.random.default_rng(24)
    scene = np.zeros((300, 300))
    angle = np.radians(30)
    for x0, y0 in rng.uniform(15, 285, (20, 2)):
        along = (x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)
        across = -(x - x0) * np.sin(angle) + (y - y0) * np.cos(angle)
        scene += 5000 * np.exp(-0.5 * ((along / 2.5) ** 2 + (across / 1.9) ** 2))
    image = (rng.poisson(scene + 300) - 300).astype(np.float32)
    rms, mask = np.full(image.shape, 300**0.5, np.float32), clean_mask(image)
    sources = detect_sources(image, rms, mask, **SETTINGS)
    seeing = stellar_locus(image, rms, mask, sources, exptime=1.0, min_snr=20.0, max_stars=40)
    assert seeing.ellipticity == pytest.approx(1 - 1.9 / 2.5, abs=0.03)
    assert np.degrees(seeing.theta) == pytest.approx(30, abs=4)
    assert seeing.fwhm_px == pytest.approx(2.3548 * np.sqrt(2.5 * 1.9), rel=0.05)


def test_stars_are_told_from_galaxies(make_field):
    field = make_field(25, size=512, n_stars=60, fwhm=3.5, beta=3.0, flux=(5e3, 3e5))
    y, x = np.mgrid[:512, :512]
    rng = np.random.default_rng(26)
    light = np.zeros((512, 512))
    for x0, y0 in rng.uniform(10, 500, (25, 2)):
        q, r_eff = rng.uniform(0.4, 1.0), rng.uniform(0.5, 1.5) * 3.5
        disc = np.exp(-1.68 * np.hypot((x - x0) * q**0.5, (y - y0) / q**0.5) / r_eff)
        light += np.exp(rng.uniform(np.log(5e3), np.log(1e5))) * disc / disc.sum()
    distance = np.minimum(np.arange(512), 512 - np.arange(512))
    alpha = 3.5 / (2 * np.sqrt(2 ** (1 / 3) - 1))
    psf = (1 + (distance[:, None] ** 2 + distance[None, :] ** 2) / alpha**2) ** -3.0
    light = np.fft.irfft2(np.fft.rfft2(light) * np.fft.rfft2(psf / psf.sum()), light.shape)
    field.image[:] += rng.poisson(np.maximum(light, 0))
    sources, seeing = detect(field)
    nearest = np.hypot(field.x[:, None] - sources.x, field.y[:, None] - sources.y).min(axis=0)
    chosen = seeing.is_star & (sources.snr > 30)
    usable = (nearest < 1) & (sources.snr > 30) & (sources.flags == 0)
    assert (nearest[chosen] < 2).mean() > 0.95
    assert chosen[usable].mean() > 0.8
    assert seeing.fwhm_px == pytest.approx(3.5, rel=0.05)


def test_a_saturated_star_is_detected_flagged_and_no_star_of_use(make_field):
    field = make_field(27, n_stars=12, flux=(5e4, 1e5))
    y, x = (round(v[0]) for v in (field.y, field.x))
    mask = clean_mask(field.image)
    mask[y - 1 : y + 2, x - 1 : x + 2] = Flag.SATURATED
    sources, seeing = detect(field, mask)
    i = np.hypot(sources.x - field.x[0], sources.y - field.y[0]).argmin()
    assert np.hypot(sources.x - field.x[0], sources.y - field.y[0])[i] < 1
    assert sources.flags[i] & Flag.SATURATED
    assert not seeing.is_star[i]
    assert seeing.fwhm_px == pytest.approx(3.5, rel=0.05)


def test_bad_data_neither_makes_nor_breaks_sources(make_field):
    field = make_field(28, n_stars=10, flux=(5e4, 1e5))
    field.image[:, 100] = np.nan
    field.image[50, 50] = np.inf
    field.image[200:204, 200:204] = 1e7
    mask = clean_mask(field.image)
    mask[199:205, 199:205] = Flag.BAD
    sources, _ = detect(field, mask)
    assert np.hypot(sources.x - 201.5, sources.y - 201.5).min() > 4
    for values in (sources.x, sources.y, sources.flux, sources.snr):
        assert np.isfinite(values).all()


def test_any_byte_order_and_layout(make_field):
    field = make_field(29, n_stars=10)
    image = (field.image - np.float32(field.sky)).astype(">f4")
    rms = np.full(image.shape, field.rms, ">f4")
    usual = detect_sources(image.astype("f4"), rms.astype("f4"), clean_mask(image), **SETTINGS)
    strange = detect_sources(np.asfortranarray(image), rms, clean_mask(image), **SETTINGS)
    np.testing.assert_array_equal(usual.x, strange.x)


def test_edges_are_flagged(make_field):
    field = make_field(30, n_stars=0)
    other = make_field(31, n_stars=1, flux=(1e5, 2e5))
    shift = round(other.x[0]) - 1
    field.image[:, : 320 - shift] += (other.image - np.float32(other.sky))[:, shift:]
    sources, _ = detect(field)
    i = np.hypot(sources.x - (other.x[0] - shift), sources.y - other.y[0]).argmin()
    assert sources.flags[i] & Flag.OUTSIDE


def test_an_empty_frame_has_no_sources_and_no_seeing():
    image = blank(0, (64, 64))
    rms, mask = np.ones_like(image), clean_mask(image)
    sources = detect_sources(image, rms, mask, **{**SETTINGS, "threshold_sigma": 8.0})
    seeing = stellar_locus(image, rms, mask, sources, exptime=1.0, min_snr=20.0, max_stars=40)
    assert len(sources) == 0
    assert seeing.n_stars == 0
    assert np.isnan(seeing.fwhm_px)


def test_a_faint_source_at_the_stated_significance_is_found():
    y, x = np.mgrid[:64, :64]
    sigma = 3.0 / 2.3548
    star = np.exp(-0.5 * ((x - 31.3) ** 2 + (y - 32.2) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    flux = limiting_flux(1.0, 3.0, n_sigma=8.0)
    settings = {**SETTINGS, "min_area_px": 1, "exptime": 1e9}
    found = 0
    for seed in range(40):
        image = blank(seed, (64, 64)) + (flux * star).astype(np.float32)
        sources = detect_sources(image, np.ones_like(image), clean_mask(image), **settings)
        found += bool(len(sources) and np.hypot(sources.x - 31.3, sources.y - 32.2).min() < 2)
    assert found >= 38


def test_limiting_flux_is_where_half_is_found():
    """At n sigma of the matched filter, noise lifts half of the sources above the threshold."""
    y, x = np.mgrid[:48, :48]
    sigma = 3.5 / 2.3548
    star = np.exp(-0.5 * ((x - 24) ** 2 + (y - 24) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    settings = {**SETTINGS, "kernel_fwhm_px": 3.5, "min_area_px": 1, "exptime": 1e9}

    def completeness(flux):
        found = 0
        for seed in range(100):
            image = blank(seed, (48, 48)) + (flux * star).astype(np.float32)
            sources = detect_sources(image, np.ones_like(image), clean_mask(image), **settings)
            found += bool(len(sources) and np.hypot(sources.x - 24, sources.y - 24).min() < 2)
        return found / 100

    limit = limiting_flux(1.0, 3.5, n_sigma=5.0)
    assert completeness(limit * 10**0.04) > 0.5 - 0.05
    assert completeness(limit * 10**-0.06) < 0.5


@pytest.mark.parametrize("angle", [0.0, 0.7, 2.1])
def test_two_stars_one_and_a_half_fwhm_apart_are_separated(angle):
    y, x = np.mgrid[:64, :64]
    fwhm = 4.0
    sigma, flux = fwhm / 2.3548, limiting_flux(1.0, fwhm, n_sigma=50.0)
    image = blank(3, (64, 64))
    for side in (-1, 1):
        x0, y0 = 32 + side * 0.75 * fwhm * np.cos(angle), 32 + side * 0.75 * fwhm * np.sin(angle)
        star = np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
        image += (flux * star).astype(np.float32)
    settings = {**SETTINGS, "exptime": 1e9, "kernel_fwhm_px": 2.0}
    sources = detect_sources(image, np.ones_like(image), clean_mask(image), **settings)
    assert len(sources) == 2
    assert np.hypot(*np.diff([sources.x, sources.y], axis=1).ravel()) == pytest.approx(6.0, abs=1.0)
    assert (sources.flags & Flag.CONTAMINATED).all()
    blended = detect_sources(
        image, np.ones_like(image), clean_mask(image), **{**settings, "deblend_contrast": 1.0}
    )
    assert len(blended) == 1


def test_a_hopelessly_crowded_frame_still_gives_its_brightest_sources():
    rng = np.random.default_rng(8)
    image = np.zeros((400, 400), np.float32)
    image[rng.integers(0, 400, 4000), rng.integers(0, 400, 4000)] = rng.uniform(50, 5000, 4000)
    image += 30  # all pixels are above the first threshold
    settings = {**SETTINGS, "min_area_px": 1, "max_sources": 300}
    sources = detect_sources(image, np.ones_like(image), clean_mask(image), **settings)
    assert 0 < len(sources) <= 300
