"""The benchmarks measure what they say: their metrics on known cases, and every table on a tiny set."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import numpy as np
import pytest

from lightwatch.simulation import FieldSpec, simulate_field
from lightwatch.simulation.psf import draw_psf


@pytest.fixture
def truth() -> ModuleType:
    return import_module("simulated_truth")


@pytest.fixture
def metric() -> ModuleType:
    return import_module("psf_metric")


def test_error_of_psf_is_free_of_flux_and_centre_and_has_the_size_of_the_difference(truth, metric):
    psf = draw_psf(np.random.default_rng(1), 3.5)
    images, x, y = truth.unit_stars(psf, 24)

    def drawn(a, b, other=psf, shift=0.0):
        return np.array([truth.star_at(other, u + shift, v, 24) for u, v in zip(a, b, strict=True)])

    assert metric.normalized_rms(drawn, images, x, y) < 1e-6
    assert metric.normalized_rms(lambda a, b: 1.7 * drawn(a, b, shift=0.3), images, x, y) < 1e-4
    wide = metric.normalized_rms(lambda a, b: drawn(a, b, psf.stretched(1.02)), images, x, y)
    wider = metric.normalized_rms(lambda a, b: drawn(a, b, psf.stretched(1.04)), images, x, y)
    assert 0.005 < wide < 0.03
    assert wider == pytest.approx(2 * wide, rel=0.1)


def test_scores_of_fluxes_find_scatter_pulls_and_bias():
    rng = np.random.default_rng(2)
    true = np.exp(rng.uniform(np.log(10), np.log(1000), (50, 40)))
    bound = np.ones_like(true)
    noise = rng.normal(0, 1.3, true.shape)
    scale = 1 + 0.01 * rng.normal(size=(50, 1))
    flux = scale * (true + noise + 0.02 * true * (true < 50))
    flux[0, :3] = np.nan
    score = import_module("scores").score_fluxes(flux, scale * 2 * bound, true, bound)
    assert score.n == true.size - 3
    assert score.scatter == pytest.approx(1.3, rel=0.06)
    assert score.pulls == pytest.approx(0.65, rel=0.06)
    assert score.faint_bias == pytest.approx(0.02, abs=3 * 1.3 * score.faint_bias_error)
    assert score.scale_scatter == pytest.approx(np.std(scale), rel=0.1)


def test_joint_bound_of_point_sources_is_that_of_the_simulator(truth, tmp_path):
    spec = FieldSpec(shape=(256, 256), n_stars=4, n_galaxies=0, sky_adu=(300.0, 300.0))
    stated = truth.read_truth(simulate_field(tmp_path, n_frames=1, seed=4, spec=spec).truth)
    known = dict(stated.source_bounds)
    conditions = stated.frames[0]
    conditions |= {"exptime": spec.exptime, "sky_centre_e": conditions["sky_adu"] * conditions["gain"]}
    stated.sources.remove_column("crb")
    again = truth.Truth({0: conditions}, stated.stars, stated.sources, stated.psfs, 0.0, stated.shape)
    assert again.source_bounds == pytest.approx(known, rel=0.01)


def test_finished_workdir_against_truth(night, field, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["", str(night.path), str(field.truth)])
    import_module("against_truth").main()
    printed = capsys.readouterr().out
    for part in ("scatter/CRLB", "trend with FWHM", "joint CRLB", "at pixel scale", "reserved stars"):
        assert part in printed
    assert "nan +-" not in printed


def test_another_program_gets_the_same_cutouts_and_its_answer_is_scored(tmp_path, monkeypatch, truth):
    sets, comparison = import_module("cutout_sets"), import_module("comparison")
    other = import_module("other_programs")
    spec = sets.SetSpec("tiny", fwhm_px=3.4, size_px=24, n_frames=2, n_stars=4, n_measured=5)
    cutouts = sets.make_set(spec, 1)
    assert np.array_equal(cutouts.flux, sets.make_set(spec, 1).flux)

    def build(data, noise, fwhm_px):
        assert data.shape == noise.shape == (4, 24, 24)
        psf = draw_psf(np.random.default_rng(1), fwhm_px)
        return None, lambda a, b: np.array([truth.star_at(psf, *at, 24) for at in zip(a, b, strict=True)])

    def measure(psfs, data, noise):
        return data.sum((2, 3)), np.sqrt((noise**2).sum((2, 3)))

    monkeypatch.setitem(other.PROGRAMS, "sums", (build, measure))
    comparison._write(tmp_path / "in.npz", cutouts)
    with np.load(tmp_path / "in.npz", allow_pickle=False) as file:
        answer = other.run("sums", dict(file))
    assert (answer["rms"] > 0.01).all()
    score = import_module("scores").score_fluxes(
        answer["flux"], answer["claimed"], cutouts.flux, cutouts.bound
    )
    assert score.n == 10
    assert score.scatter > 1.5


def test_all_tables_of_a_tiny_set_and_nothing_compiled_twice(tmp_path, monkeypatch):
    bench, comparison = import_module("bench"), import_module("comparison")
    sets = import_module("cutout_sets")
    monkeypatch.setattr(comparison, "OTHER_PYTHON", tmp_path / "python")
    # the size and number of stars of the workdirs of other tests: compiled once for all
    spec = sets.SetSpec("tiny", fwhm_px=3.4, size_px=24, n_frames=2, n_stars=6, n_measured=6)
    text, recompiled = bench.report((spec,), (spec,), (spec,), roi=None, memory=False)
    assert recompiled == 0
    assert text.count("not installed") >= 2 * 6
    for heading in ("other programs", "Against truth", "Cost"):
        assert heading in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n")
    bench.write_between_markers(page, text)
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
    assert "| tiny" in written
