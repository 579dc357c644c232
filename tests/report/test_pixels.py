"""Pictures of models and stars: in the noise of their chi2, with neighbours, or left out with a word."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lightwatch.processes.psf_model import PSFModel
from lightwatch.report import site
from lightwatch.report.frame_page import FramePages
from lightwatch.report.pictures import RoiProducts
from lightwatch.report.star_strips import measured_pixels, star_strips
from lightwatch.structure import queries, queries_report, store
from lightwatch.structure.workspace import Workspace

ERROR = 0.1


def test_residuals_are_in_the_noise_of_chi2(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=6)
    (row, _) = queries.rows(workspace.reader, queries_report.roi_models_of("f" * 64))
    before = RoiProducts(workspace, row)
    plain = before.pixels(before.frame_ids[1])
    with h5py.File(workspace.workdir / row["cutouts_relpath"], "r+") as file:
        file["model/psf_model_error"][:] = ERROR
    pixels = RoiProducts(workspace, row).pixels(plain.frame_id)
    light = before.fit["solution/model"][1]
    noise = 0.04 + light / 300
    expected = plain.residual / np.sqrt(1 + ERROR**2 * light * light.max() / noise)
    np.testing.assert_allclose(pixels.residual, expected)
    assert (plain.granted, pixels.granted) == (0.0, ERROR)
    assert "PSF error of 10 % granted" in site.render(workspace)


@pytest.fixture(scope="module")
def finished(night):
    workspace = Workspace.open(night.path / "config.yaml")
    yield workspace
    workspace.close()


def _of_frame(workspace: Workspace) -> tuple:
    footprint_hash = queries.rows(workspace.reader, queries.current_footprint())[0]["hash"]
    psf = queries.rows(workspace.reader, queries.psfs_of(footprint_hash, [1]))[0]
    region = queries.rows(workspace.reader, queries.regions_of(footprint_hash, [1]))[0]
    measured = queries.rows(workspace.reader, queries_report.measured_stars(footprint_hash, 1))
    cut = store.read_product(workspace.workdir, region["relpath"])
    return footprint_hash, psf, [row for row in measured if row["flux"] is not None], cut


def test_residuals_of_stars_are_in_the_noise_of_their_chi2(finished):
    _, psf, measured, cut = _of_frame(finished)
    model = PSFModel.from_arrays(store.read_product(finished.workdir, psf["relpath"], prefix="model"))
    stars = measured_pixels(cut, model, measured[:12])
    ratio = [
        np.nanmean(star.residual**2) / star.row["chi2"] for star in stars
    ]  # more where pixels were struck
    assert np.median(ratio) == pytest.approx(1, abs=0.02)


def test_a_psf_without_its_stars_is_left_out_with_a_word(workdir):
    workspace = Workspace.open(workdir.path / "config.yaml")
    footprint_hash, psf, _, _ = _of_frame(workspace)
    assert star_strips(workspace, footprint_hash, psf).stars
    with h5py.File(workspace.workdir / psf["relpath"], "r+") as file:
        del file["stars/gaia_id"]
    left = star_strips(workspace, footprint_hash, psf)
    assert left.stars == []
    assert "have no stars/gaia_id" in left.problem
    assert "The stars cannot be shown" in site.render_frame(FramePages(workspace), 1, [1])
    workspace.close()
