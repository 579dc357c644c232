"""psf_at: the PSF anywhere on a frame, as pixels show it, and errors that say what to do."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch import psf_at
from lightwatch.errors import InputError, NoUsableData, SchemaError
from lightwatch.processes.psf_model import PSFModel
from lightwatch.structure import store
from lightwatch.structure.workspace import Workspace

from .rows import make_workdir as make_empty

CENTRE = "SELECT ra, dec FROM rois WHERE name = 'pair'"
BRIGHTEST = """SELECT s.gaia_id, s.ra, s.dec, m.flux, m.x, m.y FROM current_star_fluxes m
    JOIN stars s ON s.gaia_id = m.star_gaia_id WHERE m.frame_id = 1 AND m.flags = 0 ORDER BY m.flux DESC LIMIT 3"""


@pytest.fixture(scope="module")
def workspace(night):
    opened = night.open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def psf(night, workspace):
    return psf_at(1, *night.sql(CENTRE)[0], workspace)


def test_it_is_what_stars_look_like(night, workspace):
    (relpath,) = night.sql("SELECT relpath FROM regions WHERE frame_id = 1")[0]
    stars = store.read_product(night.path, relpath, prefix="stars")
    for gaia_id, ra, dec, flux, x, y in night.sql(BRIGHTEST):
        psf = psf_at(1, ra, dec, workspace)
        k = list(stars["gaia_id"]).index(gaia_id)
        data, corner = stars["data"][k], stars["corner"][k]
        middle = (data.shape[-1] - 1) / 2
        model = flux * psf.render(data.shape[-1], dx=x - corner[0] - middle, dy=y - corner[1] - middle)
        bright = (model > 0.02 * model.max()) & (stars["mask"][k] == 0)
        assert bright.sum() > 20
        chi2 = np.square((data - model) / stars["noisemap"][k])[bright].mean()
        assert 0.4 < chi2 < 2.0


def test_it_is_that_of_the_place(night, psf):
    (relpath,) = night.sql("SELECT relpath FROM regions WHERE frame_id = 1")[0]
    place = store.read_product(night.path, relpath, names=["rois/pair/image_pixel_coordinates"])
    assert (psf.x, psf.y) == pytest.approx(next(iter(place.values())), abs=1e-6)


def test_light_is_counted_on_the_whole_plane(psf):
    small, large = psf.render(psf.cutout_size_px).sum(), psf.render(301).sum()
    assert small == pytest.approx(psf.norm, rel=1e-9)
    assert 0.9 < psf.norm < 1
    assert large == pytest.approx(1, abs=1e-3)


def test_an_offset_moves_the_light(psf):
    y, x = np.mgrid[:41, :41] - 20
    middle, moved = psf.render(41), psf.render(41, dx=0.4, dy=-0.3)
    assert np.sum((moved - middle) * x) == pytest.approx(0.4, rel=0.05)
    assert np.sum((moved - middle) * y) == pytest.approx(-0.3, rel=0.05)
    assert psf.render(41, dx=1.0)[:, 1:] == pytest.approx(middle[:, :-1], abs=1e-12)


def test_subsampled_values_are_those_of_shifted_pixels(psf):
    fine = psf.render(11, subsampling_factor=3)
    assert fine.shape == (33, 33)
    assert fine[1::3, 1::3] == pytest.approx(psf.render(11), abs=1e-12)
    assert fine[1::3, 2::3] == pytest.approx(psf.render(11, dx=-1 / 3), abs=1e-12)


def test_numbers_are_those_of_the_table(night, psf):
    chi2, fwhm = night.sql("SELECT chi2, fwhm_arcseconds FROM current_psfs WHERE frame_id = 1")[0]
    assert psf.reduced_chi2 == chi2
    assert fwhm < psf.fwhm_arcsec < 1.2 * fwhm  # pixels widen the Moffat of the table
    half = psf.render(15, subsampling_factor=8)
    area = (half > half.max() / 2).sum() / 64
    assert psf.fwhm_px == pytest.approx(np.sqrt(4 * area / np.pi), rel=0.02)
    assert 0 < psf.total_flux_error < 0.05


def test_a_frame_goes_by_id_and_by_file(night, monkeypatch):
    monkeypatch.setenv("LIGHTWATCH_CONFIG", str(night.config))
    here = night.sql(CENTRE)[0]
    path, relpath = night.sql("SELECT original_image_path, image_relpath FROM frames WHERE id = 2")[0]
    for name in (2, np.int64(2), "2", path, path.rsplit("/", 1)[-1], relpath):
        assert psf_at(name, *here).frame_id == 2


def refused(night, *arguments) -> tuple[str, str]:
    workspace = night.open()
    with pytest.raises(InputError) as caught:
        psf_at(*arguments, workspace)
    workspace.close()
    assert "\n" not in str(caught.value)
    return caught.value.reason_code, str(caught.value)


def test_wrong_names_and_places_say_what_to_do(night):
    here = night.sql(CENTRE)[0]
    code, text = refused(night, "nonsense", *here)
    assert (code, "lightwatch frames" in text) == ("unknown_frame", True)
    assert "did you mean " in refused(night, "smi_0001", *here)[1]
    code, text = refused(night, "frame", *here)
    assert code == "unknown_frame"
    assert "6 frames" in text
    assert text.endswith("give the id")
    code, text = refused(night, 1, here[0], here[1] + 0.1)
    assert (code, "320 x 320 pixels" in text) == ("off_frame", True)
    code, text = refused(night, 1, here[0] + 180, -here[1])
    assert (code, "nowhere near" in text) == ("off_frame", True)
    assert refused(night, 1, float("nan"), here[1])[0] == "off_frame"


def test_a_frame_without_psf_says_why(workdir):
    here = workdir.sql(CENTRE)[0]
    workdir.change('DELETE FROM "PSFs" WHERE frame_id IN (1, 2, 3)')
    workdir.change("UPDATE frames SET eliminated = 1 WHERE id = 1")
    workdir.change(
        "UPDATE task_results SET state = 'rejected', reason_code = 'too_few_psf_stars', reason = 'only 2 stars' "
        "WHERE task = 'psf_modeling' AND frame_id = 2"
    )
    for frame, told in ((1, "eliminated"), (2, "psf_modeling: only 2 stars"), (3, "model_all_psfs()")):
        code, text = refused(workdir, frame, *here)
        assert code == "no_psf"
        assert told in text
    workdir.change("UPDATE task_recipes SET recipe = 'changed' WHERE task = 'psf_modeling'")
    assert refused(workdir, 4, *here)[0] == "no_psf"  # the PSF of other settings is not this night's


def test_what_another_version_left_is_refused_in_words(workdir):
    here = workdir.sql(CENTRE)[0]
    workspace = workdir.open()
    (relpath,) = workdir.sql("SELECT relpath FROM PSFs WHERE frame_id = 1")[0]
    model = PSFModel.from_arrays(store.read_product(workspace.workdir, relpath, prefix="model"))
    older = {
        f"model/{name}": value for name, value in model.to_arrays().items() if name != "total_flux_error"
    }
    store.write_product(workspace.workdir, relpath, older, {})
    workspace.close()
    code, text = refused(workdir, 1, *here)
    assert (code, "model_all_psfs()" in text) == ("no_psf", True)
    workdir.change("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(SchemaError, match="db upgrade"):
        psf_at(1, *here, workdir.open())


def test_before_the_first_run(tmp_path):
    with pytest.raises(NoUsableData, match="psf_modeling first"):
        psf_at(1, 42.2, 19.2, Workspace.open(make_empty(tmp_path / "w")))


@pytest.mark.parametrize("size", [{"size_px": 0}, {"size_px": 5, "subsampling_factor": 0}])
def test_a_size_must_be_positive(psf, size):
    with pytest.raises(ValueError, match="positive"):
        psf.render(**size)
