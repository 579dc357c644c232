"""The simulator: its truth is what is in the frames, and the same seed gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lightwatch.errors import InputError
from lightwatch.simulation import (
    FieldSpec,
    Transit,
    draw_galaxies,
    draw_stars,
    empty_roi,
    joint_flux_bound,
    lens_roi,
    simulate_field,
    simulate_frame,
    transit_roi,
)
from lightwatch.simulation.psf import draw_psf, integrated, star_image
from lightwatch.simulation.sky import transit_factor

SMALL = FieldSpec(shape=(256, 320), n_stars=12, n_galaxies=2)


def frame_of(spec, k=0, seed=3):
    return simulate_frame(spec, seed, k, draw_stars(spec, seed), draw_galaxies(spec, seed))


@pytest.fixture(scope="module")
def lens_field(tmp_path_factory):
    return simulate_field(tmp_path_factory.mktemp("lens"), n_frames=3, seed=11, spec=SMALL)


def test_psf_has_unit_flux_and_its_centroid_at_the_source():
    for seed in range(5):
        psf = draw_psf(np.random.default_rng(seed), 3.0 + seed)
        image = star_image(psf, 0.3, -0.2, 150)
        offset = np.arange(-150, 151)
        # what lies beyond the image is the wing of the shallowest Moffat
        assert 0.99 < image.sum() < 1.0002
        x = (image * offset).sum() / image.sum()
        y = (image * offset[:, None]).sum() / image.sum()
        assert (x, y) == (pytest.approx(0.3, abs=0.02), pytest.approx(-0.2, abs=0.02))


@pytest.mark.parametrize("fwhm", [2.0, 3.0, 4.0, 6.5])
def test_pixel_integration_has_converged(fwhm):
    psf = draw_psf(np.random.default_rng(1), fwhm)
    exact = integrated(psf, 0.37, -0.11, 20, 15)
    assert np.abs(star_image(psf, 0.37, -0.11, 20) - exact).max() < 1e-4 * exact.max()


def test_same_seed_same_bytes_and_frame_independent_of_number(tmp_path, lens_field):
    again = simulate_field(tmp_path / "again", n_frames=2, seed=11, spec=SMALL)
    for first, second in zip(lens_field.frames, again.frames, strict=False):
        assert first.read_bytes() == second.read_bytes()
    other = simulate_field(tmp_path / "other", n_frames=1, seed=12, spec=SMALL)
    assert other.frames[0].read_bytes() != again.frames[0].read_bytes()


def test_later_frames_extend_the_truth(tmp_path, lens_field):
    simulate_field(tmp_path, n_frames=2, seed=11, spec=SMALL)
    simulate_field(tmp_path, n_frames=1, seed=11, spec=SMALL, first_frame=2)
    for name in ("frames.csv", "stars.csv", "sources.csv", "field.json"):
        assert (tmp_path / "truth" / name).read_text() == (lens_field.truth / name).read_text()
    assert [p.name for p in sorted((tmp_path / "raw").iterdir())] == [p.name for p in lens_field.frames]


def test_flux_in_the_frame_is_the_flux_in_the_truth():
    spec = replace(SMALL, n_stars=1, n_galaxies=0, rois=(empty_roi(),), star_mag=(17.0, 17.1), n_variable=0)
    spec = replace(spec, cosmics=0.0, integer_adu=False, sky_adu=(100.0, 101.0), dither_arcsec=0.0)
    ratios = []
    for seed in range(40):
        frame = frame_of(spec, seed=seed)
        for row in frame.stars:
            if not (70 < row["x"] < 250 and 70 < row["y"] < 186) or row["n_saturated"]:
                continue
            gain, exptime = frame.conditions.gain, spec.exptime
            y, x = np.indices(frame.image.shape)
            r = np.hypot(x - row["x"], y - row["y"])
            sky = np.median(frame.image[(r > 60) & (r < 68)])
            flux = (frame.image[r < 45] - sky).sum() * gain / exptime
            ratios.append(flux / row["flux"])
    assert len(ratios) >= 5
    assert np.median(ratios) == pytest.approx(0.995, abs=0.01)  # some light lies beyond the aperture


def test_header_wcs_puts_stars_where_the_truth_says(lens_field):
    stars = Table.read(lens_field.truth / "stars.csv")
    catalog = Table.read(lens_field.stars)
    catalog.add_index("source_id")
    conditions = Table.read(lens_field.truth / "frames.csv")
    for k, path in enumerate(lens_field.frames):
        wcs = WCS(fits.getheader(path))
        years = (conditions["mjd_mid"][k] - 57388.5) / 365.25
        for row in stars[stars["frame"] == k]:
            star = catalog.loc[row["source_id"]]
            ra = star["ra"] + years * star["pmra"] / 3.6e6 / np.cos(np.radians(star["dec"]))
            x, y = wcs.all_world2pix(ra, star["dec"] + years * star["pmdec"] / 3.6e6, 0)
            assert np.hypot(x - row["x"], y - row["y"]) < 0.2 / SMALL.pixel_scale


def test_raw_frames_are_unsigned_16_bit_with_what_a_parser_needs(lens_field):
    with fits.open(lens_field.frames[0]) as hdus:
        header, data = hdus[0].header, hdus[0].data
    assert data.dtype == np.uint16
    assert {"EXPTIME", "GAIN", "RDNOISE", "SATURATE", "FILTER", "MJD-OBS", "DATE-OBS"} <= set(header)
    assert header["FILTER"] == "r_sdss"


def test_frames_without_wcs_flipped_and_turned():
    spec = replace(SMALL, wcs="none", flip_probability=1.0, rotation_deg=(0.0, 360.0))
    frame = frame_of(spec)
    assert "CRVAL1" not in frame.header
    assert frame.conditions.flipped
    with pytest.raises(InputError):
        simulate_field("unused", n_frames=1, seed=1, spec=replace(SMALL, wcs="maybe"))


def test_wrong_wcs_is_wrong():
    spec = replace(SMALL, wcs="wrong")
    frame = frame_of(spec)
    source = frame.sources[0]
    x, y = WCS(frame.header).all_world2pix(spec.ra, spec.dec, 0)
    assert np.hypot(x - source["x"], y - source["y"]) > 10


def test_transit_is_in_the_truth_and_in_the_frames(tmp_path):
    transit = Transit(depth=0.05, mid_mjd=59800.2, duration_days=0.1, flat_days=0.06)
    spec = replace(
        SMALL, rois=(transit_roi(transit, mag=15.0),), cadence_days=0.01, cadence_jitter_days=0.0,
        exptime=60.0, transparency=(1.0, 1.0), start_mjd=59799.9,
    )  # fmt: skip
    inside = frame_of(replace(spec, start_mjd=59800.0)).sources[0]
    outside = frame_of(spec).sources[0]
    assert inside["flux"] / outside["flux"] == pytest.approx(0.95, abs=1e-6)
    assert transit_factor(transit, 59800.2 + 0.04) == pytest.approx(0.975)
    assert transit_factor(transit, 59800.3) == 1.0


def test_several_rois_filters_and_labels(tmp_path):
    first, second = lens_roi("J1_a", 0, 0), transit_roi(None, "star_1_b", 16.0, 15, 10)
    spec = replace(SMALL, rois=(first, second), filters=("r_sdss", "g_sdss"), targets_in_catalog=True)
    field = simulate_field(tmp_path, n_frames=2, seed=5, spec=spec)
    sources = Table.read(field.truth / "sources.csv")
    assert len(sources) == 2 * 5
    assert {*sources["roi"]} == {"J1_a", "star_1_b"}
    assert [*Table.read(field.truth / "frames.csv")["band"]] == ["r_sdss", "g_sdss"]
    plain = len(draw_stars(spec, 5)["ra"])
    assert len(Table.read(field.stars)) == plain + 5


def test_psf_gradient_widens_the_right_side():
    spec = replace(SMALL, psf_gradient=0.4)
    from lightwatch.simulation.frame import local_psf

    conditions = frame_of(spec).conditions
    left, right = local_psf(spec, conditions, 0.0), local_psf(spec, conditions, 320.0)
    assert right.fwhm / left.fwhm == pytest.approx(1.2 / 0.8)


def test_bounds_are_reached_by_the_best_linear_fit():
    rng = np.random.default_rng(0)
    psf = draw_psf(rng, 4.0)
    units = np.stack([integrated(psf, 0.0, 0.0, 12, 3), integrated(psf, 3.0, 1.0, 12, 3)])
    variance = 400.0 + 5000 * units[0]
    bound = joint_flux_bound(units, variance)
    design = (units / np.sqrt(variance)).reshape(2, -1).T
    noise = rng.standard_normal((design.shape[0], 4000))
    fitted = np.linalg.lstsq(design, noise, rcond=None)[0]
    np.testing.assert_allclose(fitted.std(axis=1), bound, rtol=0.05)
    assert (bound > [(unit**2 / variance).sum() ** -0.5 for unit in units]).all()


def test_truth_of_the_lens_is_complete(lens_field):
    sources = Table.read(lens_field.truth / "sources.csv")
    assert np.isfinite(sources["crb"]).all()
    assert (sources["crb"] > 0).all()
    truth = json.loads((lens_field.truth / "field.json").read_text())
    assert sorted(truth["source_positions"]["J0248"]) == ["A", "B", "C", "D"]
    assert sorted(truth["psf"]) == ["0", "1", "2"]


def test_config_is_accepted(lens_field):
    config_file = pytest.importorskip("lightwatch.structure.config_file")
    config = config_file.load_config(lens_field.config)
    assert list(config.rois) == ["J0248"]
    assert list(config.rois["J0248"].point_sources) == ["A", "B", "C", "D"]
    assert config.zeropoints.band == "r_sdss"
