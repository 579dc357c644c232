"""Defects seen in other pipelines, a test for each: numbered as in the list of known defects that we keep.

Where a module's own test goes deeper, the one here is the short proof that the defect is not ours.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

import lightwatch
from lightwatch.errors import ConfigError
from lightwatch.flags import Flag
from lightwatch.pipeline.night import NAMES, task_named
from lightwatch.pipeline.recipes import all_recipes
from lightwatch.pipeline.runner import footprint_in_use
from lightwatch.pipeline.task import Group, TaskContext
from lightwatch.pipeline.tasks import (
    footprints,
    normalization,
    psf_modeling,
    stamp_extraction,
    star_photometry,
)
from lightwatch.processes import cutouts, footprint, noise, star_selection
from lightwatch.processes.normalization import normalize
from lightwatch.processes.psf_model import local_psf, rendered_grid
from lightwatch.processes.zeropoint import NO_COLOUR_TERM, frame_zeropoints
from lightwatch.structure import queries, schema
from lightwatch.structure.config import ReferenceStars
from lightwatch.structure.database import transaction
from lightwatch.structure.files import sha256_of
from lightwatch.structure.light_curve_files import write_light_curves

PACKAGE = Path(lightwatch.__file__).parent
IMPORT, SOLVE, FOOTPRINT, STARS, STAMPS, PSF, FLUX, NORM, ZERO, PREPARE, MODEL = NAMES[1:]


def _context(workspace, task):
    recipes = all_recipes(workspace)
    return TaskContext(workspace, recipes[task], recipes, footprint_in_use(workspace, task_named(task)))


def _first_frame(workspace):
    return queries.rows(workspace.reader, select(schema.frames).order_by(schema.frames.c.mjd_mid).limit(1))[0]


# ---------------------------------------------------------------- photometry
def test_01_one_masked_pixel_hardly_changes_the_flux_error(night):
    """One pixel lost to a cosmic ray costs its own information, not the whole cutout's."""
    workspace = night.open()
    job = star_photometry.load(_context(workspace, FLUX), [_first_frame(workspace)])[0]
    mask = job.stars.arrays["mask"].copy()
    n = mask.shape[-1]
    mask[:, n // 2 + 3, n // 2 + 2] |= int(Flag.COSMIC_RAY)
    struck = replace(job, stars=replace(job.stars, arrays={**job.stars.arrays, "mask": mask}))
    for before, after in zip(*(star_photometry.compute([j])[0].output for j in (job, struck)), strict=True):
        assert before["flux_uncertainty"] < after["flux_uncertainty"] * 1.0001 or before["flags"]
        assert after["flux_uncertainty"] < 1.1 * before["flux_uncertainty"]
    workspace.close()


def _fluxes(seed=1, n_frames=20, n_stars=12):
    rng = np.random.default_rng(seed)
    transparency = rng.uniform(0.6, 1.0, n_frames)
    flux = transparency[:, None] * 10 ** rng.uniform(3, 4, n_stars)
    return flux * (1 + 0.001 * rng.standard_normal(flux.shape)), 0.001 * flux


SETTINGS = {
    "common_error": None, "gauge_flux": None, "min_stars": 2, "min_snr": 5.0, "scatter_floor": 0.001,
    "variable_scatter": 0.01, "outlying_frame_scatter": 0.05, "coefficient_range": (0.02, 50.0),
    "outlier_sigma": 6.0, "max_iterations": 40,
}  # fmt: skip


def test_02_an_outlier_does_not_move_the_normalization():
    flux, error = _fluxes()
    good = np.ones(flux.shape, bool)
    before = normalize(flux, error, good, **SETTINGS).coefficient
    spoilt = flux.copy()
    spoilt[4, 3] *= 1.5
    after = normalize(spoilt, error, good, **SETTINGS).coefficient
    assert np.abs(after / before - 1).max() < 1e-3


@pytest.mark.parametrize("by", ["name", "gaia_id"])
@pytest.mark.parametrize("key", ["stars_to_exclude", "stars_to_use"])
def test_03_an_excluded_star_never_enters_the_normalization(night, by, key):
    workspace = night.open()
    context = _context(workspace, NORM)
    stars = queries.rows(workspace.reader, queries.stars_of(context.footprint_hash))
    named = [str(star[by]) for star in stars]
    out = 4
    listed = named[out : out + 1] if key == "stars_to_exclude" else named[:out] + named[out + 1 :]
    settings = workspace.config.normalization.model_copy(update={key: listed})
    config = workspace.config.model_copy(update={"normalization": settings})
    context = replace(context, workspace=replace(workspace, config=config))
    table = normalization.load(context, Group("r_sdss", "", 4, 0, "r_sdss"))
    assert table.star_ids[out] == stars[out]["gaia_id"]
    assert not table.good[:, out].any()
    assert np.delete(table.good, out, axis=1).any(axis=0).sum() >= 5
    workspace.close()


def test_04_a_measurement_done_again_replaces_the_whole_row(workdir):
    """No column of the old row survives: neither chi2 nor anything else."""
    workspace = workdir.open()
    context, frame = _context(workspace, FLUX), _first_frame(workspace)
    star = workdir.sql(
        "SELECT star_gaia_id FROM star_flux_in_frame WHERE frame_id = ? AND chi2 IS NOT NULL", frame["id"]
    )[0][0]
    with transaction(workspace.engine) as connection:
        star_photometry.save(
            connection,
            context,
            frame,
            [{"star_gaia_id": star, "flux": 5.0, "flux_uncertainty": 1.0, "flags": 0}],
        )
    rows = workdir.sql(
        "SELECT star_gaia_id, flux, chi2, aperture_flux, x FROM star_flux_in_frame WHERE frame_id = ?",
        frame["id"],
    )
    assert rows == [(star, 5.0, None, None, None)]
    workspace.close()


# ---------------------------------------------------------------- the footprint and its hash
OTHER = {
    "catalog": "gaia", "strategy": "stars_per_frame", "roi_disk_radius_arcsec": 27.0, "min_gmag": 12.0,
    "max_gmag": 18.0,
    "max_astrometric_excess_noise_sig": None, "min_phot_g_mean_flux_over_error": 50.0, "exclude": ["1"],
    "roi_exclusion_arcsec": 4.0, "min_number": 4, "max_number": 9,
}  # fmt: skip


def _hash_with(workspace, **changes):
    config = workspace.config.model_copy(update=changes)
    workspace = replace(workspace, config=config)
    frames = queries.rows(workspace.reader, select(schema.frames))
    definition = footprints._definition(workspace, frames, footprint.SkyRegion(()), renew=False)
    return footprint.footprint_hash(definition)


def test_05_every_cut_is_in_the_footprint_hash(night):
    workspace = night.open()
    stars = workspace.config.reference_stars
    hashes = [_hash_with(workspace)] + [
        _hash_with(workspace, reference_stars=stars.model_copy(update={key: value}))
        for key, value in OTHER.items()
    ]
    roi = workspace.config.rois["pair"]
    moved = {**workspace.config.rois, "pair": roi.model_copy(update={"coordinates": (42.21, 19.225)})}
    hashes.append(_hash_with(workspace, rois=moved))
    assert set(OTHER) == set(ReferenceStars.model_fields)
    assert len(set(hashes)) == len(OTHER) + 2
    assert hashes[0] == night.sql("SELECT hash FROM combined_footprint WHERE is_current = 1")[0][0]
    workspace.close()


def test_05_the_hash_is_the_same_in_every_process():
    code = (
        "from lightwatch.processes.footprint import footprint_hash; "
        "print(footprint_hash({'strategy': 'ROI_disk', 'radius': 15.0, 'rois': [[1.5, 2.0]], 'cut': None}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_06_footprints_of_two_kinds_never_share_a_hash(night):
    workspace = night.open()
    stars = workspace.config.reference_stars
    kinds = ["ROI_disk", "stars_per_frame"]
    hashes = {
        _hash_with(workspace, reference_stars=stars.model_copy(update={"strategy": kind})) for kind in kinds
    }
    assert len(hashes) == 2
    for table in (
        schema.stars,
        schema.stars_in_frames,
        schema.PSFs,
        schema.star_flux_in_frame,
        schema.normalization_coefficients,
    ):
        assert "combined_footprint_hash" in table.primary_key.columns, table.name
    workspace.close()


def _second_footprint(workdir):
    """Another choice of stars with a PSF of its own, far worse, for every frame."""
    workdir.change(
        "INSERT INTO combined_footprint (hash, strategy, definition, is_current) VALUES ('other', 'ROI_disk', '{}', 0)"
    )
    columns = [row[1] for row in workdir.sql('PRAGMA table_info("PSFs")')]
    values = {"combined_footprint_hash": "'other'", "psf_ref": "'psf_other'", "chi2": "chi2 + 100"}
    chosen = ", ".join(values.get(name, f'"{name}"') for name in columns)
    workdir.change(f'INSERT INTO "PSFs" SELECT {chosen} FROM "PSFs"')


def test_07_bounds_on_chi2_are_those_of_the_selection_in_use(workdir):
    """PSFs of another choice of stars neither widen nor narrow what is accepted here."""
    workspace = workdir.open()
    context = _context(workspace, FLUX)
    query = queries.star_fluxes(context.footprint_hash, context.recipe, "r_sdss")
    before = queries.rows(workspace.reader, query)
    _second_footprint(workdir)
    after = queries.rows(workspace.reader, query)
    assert before
    assert sorted(map(str, before)) == sorted(map(str, after))
    workspace.close()


def test_08_one_row_per_frame_whatever_the_number_of_psfs(workdir):
    _second_footprint(workdir)
    for table in ("current_psfs", "frame_quality"):
        assert workdir.sql(f"SELECT count(*), count(DISTINCT frame_id) FROM {table}") == [(6, 6)]
    assert workdir.sql("SELECT count(*) FROM current_star_fluxes") == [(60,)]
    workspace = workdir.open()
    row = queries.rows(workspace.reader, select(schema.PSFs).limit(1))[0]
    with pytest.raises(IntegrityError), transaction(workspace.engine) as connection:
        connection.execute(schema.PSFs.insert(), [{**row, "psf_ref": "psf_another"}])
    workspace.close()


# ---------------------------------------------------------------- zero points
def test_09_and_10_another_band_is_another_row_and_complete(workdir):
    workdir.configure("  band: r_sdss", "  band: G")
    workdir.run(stop=ZERO)
    bands = workdir.sql(
        "SELECT band, count(*), count(DISTINCT star_gaia_id) FROM catalog_star_photometry GROUP BY band ORDER BY 1"
    )
    assert [band for band, *_ in bands] == ["G", "r_sdss"]
    assert all(n == stars for _band, n, stars in bands)
    a, b = (
        dict(workdir.sql("SELECT star_gaia_id, mag FROM catalog_star_photometry WHERE band = ?", x))
        for x in ("G", "r_sdss")
    )
    assert all(abs(a[star] - b[star]) > 1e-4 for star in set(a) & set(b)), "each band has its own magnitudes"
    gmag = dict(workdir.sql("SELECT gaia_id, gmag FROM stars"))
    assert all(a[star] == pytest.approx(gmag[star]) for star in a)
    rows = workdir.sql(
        "SELECT frame_id, band, source_catalog, system, zeropoint, zeropoint_scatter, n_stars, recipe "
        "FROM absolute_zeropoints"
    )
    assert len(rows) == len({row[0] for row in rows}), "one zero point per frame"
    recipe = workdir.sql("SELECT recipe FROM task_recipes WHERE task = ?", ZERO)[0][0]
    assert all(row[1] == "G" and row[3] == "Vega" and row[-1] == recipe and None not in row for row in rows)


def test_10_a_deviant_star_does_not_move_the_zero_point():
    rng = np.random.default_rng(4)
    mag = rng.uniform(14, 17, 15)
    flux = 10 ** (-0.4 * (mag - 25.0)) * (1 + 0.002 * rng.standard_normal(15))
    arguments = {"colour_term": NO_COLOUR_TERM, "clip_sigma": 3.5, "min_stars": 3}

    def zeropoint(values):
        return frame_zeropoints(
            values[None], 0.002 * flux[None], mag, np.full(15, 0.002), np.ones(15), **arguments
        ).zeropoint[0]

    spoilt = flux.copy()
    spoilt[3] *= 2.5
    assert zeropoint(flux) == pytest.approx(25.0, abs=0.003)
    assert abs(zeropoint(spoilt) - zeropoint(flux)) < 0.002


# ---------------------------------------------------------------- import
def test_11_frames_of_one_name_in_two_nights_are_two_frames(empty_workdir, field):
    workdir = empty_workdir()
    for night, k in (("night1", 0), ("night2", 1)):
        (workdir.more / night).mkdir()
        shutil.copy2(field.frames[k], workdir.more / night / "image_001.fits")
    workdir.run(stop=IMPORT)
    rows = workdir.sql("SELECT image_relpath, mjd FROM frames")
    assert len({path for path, _ in rows}) == len({mjd for _, mjd in rows}) == 2
    assert all((workdir.path / path).is_file() for path, _ in rows)


def test_12_trimming_shifts_the_wcs(empty_workdir):
    """A position of the sky falls on the same light: its pixel moves by what was cut off."""
    workdir = empty_workdir(frames=[0])
    workdir.configure(
        "executor: {kind: serial}",
        "executor: {kind: serial}\nimportation: {trim_vertical_px: 5, trim_horizontal_px: 9}",
    )
    workdir.run(stop=IMPORT)
    raw, path = workdir.sql("SELECT original_image_path, image_relpath FROM frames")[0]
    whole, trimmed = WCS(fits.getheader(raw)), WCS(fits.getheader(workdir.path / path))
    x, y = np.array([10.3, 200.0, 300.7]), np.array([20.1, 250.5, 11.9])
    np.testing.assert_allclose(
        trimmed.all_world2pix(*whole.all_pix2world(x, y, 0), 0), [x - 9, y - 5], atol=1e-6
    )
    assert workdir.sql("SELECT naxis1, naxis2 FROM frames") == [(320 - 18, 320 - 10)]


def test_13_saturated_stars_are_used_for_nothing(night):
    assert night.sql("SELECT count(*) FROM frames WHERE saturation_adu IS NULL") == [(0,)], (
        "known for every frame"
    )
    workspace = night.open()
    job = psf_modeling.load(_context(workspace, PSF), [_first_frame(workspace)])[0]
    usual = psf_modeling._choose(job)
    star = int(np.flatnonzero(usual.used)[0])
    mask = job.stars.arrays["mask"].copy()
    x, y = (job.stars.position - job.stars.arrays["corner"])[star].round().astype(int)
    mask[star, y, x] |= int(Flag.SATURATED)
    spoilt = replace(job.stars, arrays={**job.stars.arrays, "mask": mask})
    choice = psf_modeling._choose(replace(job, stars=spoilt))
    assert not choice.used[star]
    assert not choice.reserved[star]
    assert choice.reasons[star] & int(Flag.SATURATED)
    photometry = star_photometry.load(_context(workspace, FLUX), [_first_frame(workspace)])[0]
    row = star_photometry.compute([replace(photometry, stars=spoilt)])[0].output[star]
    assert row["flags"] & int(Flag.SATURATED)
    assert Flag.SATURATED in normalization._UNUSABLE
    workspace.close()


@pytest.mark.parametrize(("ra", "dec"), [(0.002, 10.0), (359.999, -60.0), (40.0, 88.7), (123.0, -89.95)])
def test_14_footprints_are_spherical(ra, dec):
    """Across RA 0 and at a pole: the area is the solid angle, and membership is that of the pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [500.5, 500.5]
    wcs.wcs.cdelt = [-1 / 3600, 1 / 3600]
    outline = footprint.frame_outline(wcs, 1000, 1000, points_per_edge=8)
    common, total = footprint.common_and_total([outline, outline])
    assert footprint.area_deg2(common) == pytest.approx((1000 / 3600) ** 2, rel=1e-3)
    assert footprint.area_deg2(total) == pytest.approx((1000 / 3600) ** 2, rel=1e-3)
    x, y = np.array([5.0, 994.0, 500.0, -5.0, 1005.0]), np.array([5.0, 994.0, 500.0, 500.0, 500.0])
    sky = wcs.all_pix2world(x, y, 0)
    assert footprint.contains(common, *sky).tolist() == [True, True, True, False, False]
    assert footprint.in_frame(wcs, 1000, 1000, *sky, margin_px=0).tolist() == [True, True, True, False, False]


def test_15_a_pointing_is_judged_by_the_roi_alone(night):
    """Whatever the others are: a frame that holds an ROI stays; one that does not is set aside, not eliminated."""
    workspace = night.open()
    frame = _first_frame(workspace)
    job = footprints.load(_context(workspace, FOOTPRINT), [frame])[0]
    header = fits.Header.fromstring(job.wcs)
    header["CRVAL2"] = 25.0
    far = replace(job, wcs=header.tostring())
    assert [o.output for o in footprints.compute([job])] == [1]
    assert [o.output for o in footprints.compute([job] + [far] * 20)] == [1] + [0] * 20
    assert night.sql("SELECT sum(eliminated) FROM frames") == [(0,)]
    workspace.close()


# ---------------------------------------------------------------- noise and masks
def test_16_noise_is_of_the_model_and_faint_fluxes_are_unbiased():
    rng = np.random.default_rng(3)
    fwhm, rms, n = 3.0, 15.0, 4000
    grid = np.arange(15) - 7.0
    profile = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * (fwhm / 2.3548) ** 2))
    profile /= profile.sum()
    flux = 3 * rms / np.sqrt((profile**2).sum())
    data = flux * profile + rms * rng.standard_normal((n, 15, 15))

    def measured(sigma):
        weight = profile / sigma**2
        return (weight * data).sum((1, 2)) / (weight * profile).sum((1, 2))

    model = noise.smooth_model(data, np.ones(data.shape, bool), rms, fwhm)
    mean_error = rms / np.sqrt((profile**2).sum()) / np.sqrt(n)
    ours = measured(noise.noise_map(rms, model, 1.0)).mean() - flux
    theirs = measured(np.sqrt(rms**2 + np.abs(data))).mean() - flux
    assert abs(ours) < 3 * mean_error
    assert abs(theirs) > 3 * mean_error, "the test sees the defect"


def test_17_either_nan_masks_a_pixel():
    data, sigma = np.array([1.0, np.nan, 1.0, np.nan]), np.array([1.0, 1.0, np.nan, np.nan])
    assert noise.usable_pixels(data, sigma, np.zeros(4, int)).tolist() == [True, False, False, False]


def test_18_labels_may_hold_underscores(tmp_path):
    rows = [
        {
            "point_source": label,
            "frame_id": k,
            "filter": "r_sdss",
            "mjd": 60000.0 + k,
            "flux": flux,
            "flags": 0,
        }
        for label, flux in (("J_0248_A", 1.0), ("J_0248", 2.0), ("_", 3.0))
        for k in range(2)
    ]
    path, _fits = write_light_curves(tmp_path, "a_b_r_sdss", rows)
    table = Table.read(path)
    assert {(row["point_source"], row["flux"]) for row in table} == {
        ("J_0248_A", 1.0),
        ("J_0248", 2.0),
        ("_", 3.0),
    }


# ---------------------------------------------------------------- code and configuration
def test_19_no_print_no_bare_except_no_busy_waiting():
    patient = {"frame_import_files.py", "catalogs_tap.py", "cli_status.py"}  # bounded waits; status --watch
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), where
            if isinstance(node, ast.Call):
                assert not (isinstance(node.func, ast.Name) and node.func.id == "print"), where
                sleeps = isinstance(node.func, ast.Attribute) and node.func.attr == "sleep"
                assert not sleeps or path.name in patient, where


def test_20_every_roi_is_modelled(night):
    rois = night.sql(
        "SELECT roi, count(DISTINCT point_source), count(*) FROM light_curves GROUP BY roi ORDER BY roi"
    )
    assert [(roi, n) for roi, n, _ in rois] == [("pair", 2), ("single", 1)]
    assert all(points for *_, points in rois)
    assert night.sql("SELECT DISTINCT roi FROM roi_models ORDER BY roi") == [("pair",), ("single",)]


def test_21_no_row_without_its_product(empty_workdir, monkeypatch):
    """Interrupted between the file and its row: the file is an orphan, and the next run makes the row."""
    workdir = empty_workdir(frames=[0, 1])
    workdir.run(stop=STARS)
    original, calls = stamp_extraction.replace_rows, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(stamp_extraction, "replace_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        workdir.run(stop=STAMPS)
    monkeypatch.undo()
    rows = workdir.sql("SELECT relpath FROM regions")
    assert all((workdir.path / relpath).is_file() for (relpath,) in rows)
    assert workdir.sql("SELECT count(*) FROM task_results WHERE task = ?", STAMPS) == [(len(rows),)]
    workdir.run(stop=STAMPS)
    rows = workdir.sql("SELECT relpath, sha256 FROM regions")
    assert len(rows) == 2
    assert all(sha256_of(workdir.path / relpath) == sha256 for relpath, sha256 in rows)
    workdir.check_database()


def test_22_the_report_opens_offline(night, tmp_path):
    from lightwatch.report.site import write_report

    workspace = night.open()
    html = Path(write_report(workspace, tmp_path / "report")).read_text()
    workspace.close()
    loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)\s*=\s*[\"']?([^\"'\s>]+)", html)
    assert all(address.startswith(("data:", "#")) for address in loaded)
    assert not re.search(r"@import|url\(\s*[\"']?(?!data:|#)", html)
    assert "single" in html


def test_23_null_is_no_cut(empty_workdir):
    n = 4
    stars = star_selection.CandidateStars(
        source_id=np.arange(n), ra_deg=10 + np.arange(n) / 60, dec_deg=np.zeros(n),
        g_mag=np.array([3.0, 14.0, 22.0, np.nan]),
        astrometric_excess_noise_sig=np.array([0.0, 50.0, np.nan, 1.0]),
        flux_over_error=np.array([1e4, 3.0, np.nan, 100.0]),
        variable=np.full(n, np.nan),
    )  # fmt: skip
    none = star_selection.StarCuts(None, None, None, None, None, True, True, 0.0, None)
    chosen = star_selection.select_stars(
        stars, in_region=np.ones(n, bool), roi_ra_deg=np.array([11.0]), roi_dec_deg=np.array([1.0]),
        cuts=none, excluded={}, fwhm_arcsec=2.0, aperture_radius_arcsec=2.0,
    )  # fmt: skip
    assert chosen.kept.all()
    workdir = empty_workdir()
    workdir.configure("  max_number: 10", "  max_number: 10\n  min_gmag: null\n  max_gmag: null")
    assert workdir.open().config.reference_stars.min_gmag is None
    workdir.configure("min_gmag: null", "min_gmag: none")
    with pytest.raises(ConfigError, match=r"config.yaml:\d+: reference_stars.min_gmag"):
        workdir.open()


def test_24_options_of_init_land_in_the_config(tmp_path):
    options = ["--name", "J_1", "--ra", "42.25", "--dec", "-19.5", "--band", "r_sdss"]
    done = subprocess.run(
        [sys.executable, "-m", "lightwatch.pipeline.cli", "init", str(tmp_path / "new"), *options],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((tmp_path / "new" / "config.yaml").read_text())
    assert config["zeropoints"]["band"] == "r_sdss"
    assert config["rois"]["J_1"]["coordinates"] == [42.25, -19.5]


# ---------------------------------------------------------------- seen in another pipeline
def test_the_psf_is_centred_and_not_cut(night):
    """An off-by-one index of the unshifted model, and zeros at the edges, seen elsewhere."""
    workspace = night.open()
    context = _context(workspace, FLUX)
    model = star_photometry.load_psfs(context, [_first_frame(workspace)["id"]]).popitem()[1]
    grid = rendered_grid(
        local_psf(model, 160.0, 160.0), size_px=25, subsampling_factor=1, quadrature=model.quadrature
    )
    middle = (grid.shape[0] - 1) / 2
    at = np.arange(grid.shape[0]) - middle
    core = np.hypot(at[:, None], at) < 5
    total = (grid * core).sum()
    assert abs((grid * core * at).sum() / total) < 0.1
    assert abs((grid * core * at[:, None]).sum() / total) < 0.1
    assert grid[0].max() > 0
    workspace.close()


def test_beyond_the_edge_is_unknown_not_zero():
    cut = cutouts.extract_cutouts(
        np.ones((40, 40), np.float32), np.array([2.0]), np.array([39.0]), 12, fill=np.nan
    )
    inside = np.isfinite(cut.values[0])
    assert 0 < inside.sum() < 144
    assert (cut.values[0][inside] == 1).all()


def _settings_that_nobody_reads():
    from lightwatch.structure.config import Config

    code = "\n".join(
        path.read_text()
        for path in PACKAGE.rglob("*.py")
        if not path.name.startswith(("config_template", "config.py", "init"))
    )
    unread = []
    for section, field in Config.model_fields.items():
        for name in getattr(field.annotation, "model_fields", {}):
            if not re.search(rf"\.{name}\b|[\"']{name}[\"']", code):
                unread.append(f"{section}.{name}")
    return unread


def test_every_setting_is_read_somewhere():
    """A documented switch works (asked for in many trackers); one that nothing reads is a promise broken."""
    assert _settings_that_nobody_reads() == []


def test_config_in_the_runs_table_is_the_effective_one(night):
    stored = json.loads(night.sql("SELECT config FROM runs ORDER BY id LIMIT 1")[0][0])
    assert stored["cutouts"]["star_size_px"] == 24
    assert stored["normalization"]["min_snr"] == 20.0
