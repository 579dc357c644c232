"""What the normalization writes down: nobody is left out in silence, and no error is counted twice."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lightwatch.pipeline.tasks.calibrated_cutouts import _unshared_uncertainty
from lightwatch.pipeline.tasks.normalization import FluxTable, _exclusions, compute
from lightwatch.structure.config import Normalization as Settings
from lightwatch.structure.store import read_product


def table(flux, error, good):
    frames, stars = flux.shape
    return FluxTable(
        frame_ids=np.arange(1, frames + 1),
        star_ids=np.arange(100, 100 + stars),
        flux=flux,
        flux_uncertainty=error,
        aperture_flux=flux,
        aperture_flux_uncertainty=error,
        good=good,
        psf_error=np.full(frames, np.nan),
        model_error=np.zeros(frames),
        fwhm_px=np.full(frames, 4.0),
        unsound=np.zeros(frames, bool),
        gmag=np.full(stars, np.nan),
        settings=Settings(),
        only_single_sources=False,
    )


def test_everything_left_out_is_listed_with_its_reason():
    rng = np.random.default_rng(3)
    true = 10 ** rng.uniform(3, 4, 12) * rng.uniform(0.5, 1, (30, 1))
    error = np.sqrt(9 + true / 300)
    flux = true + error * rng.standard_normal(true.shape)
    good = np.ones(flux.shape, bool)
    flux[11, 2] *= 1.6  # a struck pixel
    flux[:, 4] *= 1 + 0.15 * np.sin(np.arange(30) * 0.7)  # a variable
    good[5, 1:] = False  # a frame with one star
    listed = _exclusions(compute(table(flux, error, good)).output)
    by_place = {(row["frame_id"], row["star_gaia_id"]): row for row in listed}
    assert by_place[12, 102]["residual"] == pytest.approx(0.6, abs=0.05)
    assert by_place[12, 102]["weight"] == 0
    assert by_place[12, 102]["reason"].startswith("outlier: +")
    assert by_place[None, 104]["reason"].startswith("variable: scatter 1")
    assert by_place[6, None]["reason"] == "too_few_stars"
    assert {place for place in by_place if None in place} == {(None, 104), (6, None)}


def _measured(n_frames):
    rng = np.random.default_rng(5)
    true = 10 ** rng.uniform(3, 4, 8) * rng.uniform(0.5, 1, (n_frames, 1))
    error = np.sqrt(9 + true / 300)
    return table(true + error * rng.standard_normal(true.shape), error, np.ones(true.shape, bool))


def _at(measured, frames):
    """The same night with only some of its frames."""
    names = ("frame_ids", "flux", "flux_uncertainty", "aperture_flux", "aperture_flux_uncertainty", "good",
             "psf_error", "model_error", "fwhm_px", "unsound")  # fmt: skip
    return replace(measured, **{name: getattr(measured, name)[frames] for name in names})


@pytest.mark.parametrize("in_apertures", [False, True])
def test_frame_whose_psf_did_not_converge_moves_no_other(in_apertures):
    """R20: to the last bit as in a night without it, whatever its fluxes are; it is listed with its reason."""
    night = _measured(10)
    if in_apertures:
        night = replace(
            night, only_single_sources=True, fwhm_px=np.full(10, 1.5), model_error=np.full(10, 0.05)
        )
    unsound = np.arange(10) == 4
    flux = np.where(unsound[:, None], 40 * night.flux, night.flux)
    spoilt = replace(
        night, flux=flux, aperture_flux=flux, unsound=unsound, model_error=night.model_error * ~unsound
    )
    one, other = compute(spoilt).output, compute(_at(night, ~unsound)).output
    assert one.flux_kind == other.flux_kind == ("aperture" if in_apertures else "psf")
    for name in ("coefficient", "coefficient_uncertainty", "frame_chi2", "frame_flags"):
        assert (getattr(one.solution, name)[~unsound] == getattr(other.solution, name)).all()
    for name in ("star_flux", "star_scatter", "star_n_frames", "influence_max"):
        assert (getattr(one.solution, name) == getattr(other.solution, name)).all()
    assert np.isnan(one.solution.coefficient[4])
    listed = [(row["frame_id"], row["reason"]) for row in _exclusions(one) if row["star_gaia_id"] is None]
    assert listed == [(5, "not_converged")]


@pytest.mark.parametrize(("n_unsound", "n_solved"), [(4, 6), (5, 10), (10, 10)])
def test_frames_whose_psf_did_not_converge_stay_where_they_are_many(n_unsound, n_solved):
    solution = compute(replace(_measured(10), unsound=np.arange(10) < n_unsound)).output.solution
    assert np.isfinite(solution.coefficient).sum() == n_solved


def test_stars_with_flags_are_listed(night):
    flagged = night.sql("SELECT star_gaia_id, filter FROM normalization_stars WHERE flags != 0")
    listed = night.sql("SELECT star_gaia_id, filter FROM normalization_exclusions WHERE frame_id IS NULL")
    assert sorted(flagged) == sorted(listed)


def test_influence_of_every_star_is_stored(night):
    rows = night.sql("SELECT influence, influence_rms FROM normalization_stars WHERE n_frames > 1")
    assert rows
    assert all(0 <= rms <= largest < 0.5 for largest, rms in rows)


def test_what_the_roi_shares_is_not_counted_in_its_light_curve():
    row = {"coefficient_uncertainty": 0.005, "psf_uncertainty": 0.003}
    assert _unshared_uncertainty(row) == 0.004
    assert _unshared_uncertainty({**row, "psf_uncertainty": None}) == 0.005
    assert math.isnan(_unshared_uncertainty({**row, "coefficient_uncertainty": None}))


def test_the_rois_cutouts_get_the_error_without_it(night):
    rows = night.sql(
        "SELECT m.cutouts_relpath, k.frame_id, k.coefficient, k.coefficient_uncertainty, k.psf_uncertainty "
        "FROM roi_models m JOIN normalization_coefficients k ON k.filter = m.filter"
    )
    assert rows
    for relpath, frame, coefficient, whole, shared in rows:
        cutouts = read_product(night.path, relpath, names=["frame_id", "relative_normalization_error"])
        told = dict(zip(cutouts["frame_id"], cutouts["relative_normalization_error"], strict=True))
        assert 0 < shared < whole
        assert told[frame] == pytest.approx(np.sqrt(whole**2 - shared**2) / coefficient)
