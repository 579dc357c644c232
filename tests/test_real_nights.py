"""Whole nights of real frames, by the commands of their pages: what these show, and the light curves."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from sqlalchemy import text

from lightwatch import WorkflowManager, Workspace

from .docs.home import Home

REPOSITORY = Path(__file__).resolve().parent.parent
pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def followed(page: str, data: Path, home: Home) -> Workspace:
    """The workspace of a set of real frames after all that its page tells to do; what the page shows is compared."""
    name = Path(page).stem
    (home.path / "raw").mkdir()
    (home.path / "raw" / name).symlink_to(data / name / "raw")
    shutil.copy(data / name / "stars.ecsv", home.path / "raw" / f"{name}-stars.ecsv")
    home.follow_story(page)
    return Workspace.open(home.path / name)


@pytest.fixture
def home(tmp_path, monkeypatch, capsys):
    """The home directory of somebody who has the frames of the pages."""
    for variable in ("LIGHTWATCH_CONFIG", "LIGHTCURVER_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    return Home(tmp_path, capsys, exact=True)


def columns(workspace: Workspace, query: str) -> np.ndarray:
    with workspace.reader.connect() as connection:
        return np.array(connection.execute(text(query)).fetchall(), dtype=float).T


def transit_fit():
    spec = importlib.util.spec_from_file_location("transit", REPOSITORY / "benchmarks" / "transit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fit


def test_transit_of_hat_p_32(shared_data, home):
    """Undersampled frames without WCS, gain or calibration: depth and time of the published transit."""
    workspace = followed("docs/examples/hatp32.md", shared_data, home)
    assert columns(workspace, "SELECT sum(plate_solved) FROM frames")[0, 0] >= 138
    t, flux, sigma = columns(
        workspace, "SELECT bjd_tdb, flux, flux_uncertainty FROM light_curves ORDER BY bjd_tdb"
    )
    found = transit_fit()(t, flux, sigma)
    assert 0.021 <= found["depth"] <= 0.026
    assert abs(found["mid"] - 2458107.7107) * 1440 < 4
    assert found["scatter"] <= 0.0055


def test_constant_star_pds_110(shared_data, home):
    """Three cameras at two sites, two filters, a wrong nominal WCS in one of them."""
    workspace = followed("docs/examples/pds110.md", shared_data, home)
    solved = columns(workspace, "SELECT sum(plate_solved) FROM frames WHERE filter = 'rp'")
    assert solved[0, 0] == 15
    flux, flags = columns(workspace, "SELECT flux, flags FROM light_curves WHERE filter = 'rp'")
    assert len(flux) == 15
    assert np.sum(flags == 0) >= 12, "all but the last visit, whose stars no PSF describes"
    assert np.std(flux) / np.median(flux) <= 0.015


def test_a_visit_whose_brightest_stars_are_masked_is_solved_by_itself(shared_data, tmp_path):
    """Of nine stars in the frame the camera's mask of bad pixels has four, as saturated."""
    data = shared_data / "pds110"
    (tmp_path / "raw").mkdir()
    for number in (1159, 1160, 1161):
        name = f"ogg0m404-kb82-20170815-{number}-e91.fits.fz"
        (tmp_path / "raw" / name).symlink_to(data / "raw" / "20170815" / name)
    config = yaml.safe_load((REPOSITORY / "example_config" / "pds110_lco.yaml").read_text())
    config["raw_dirs"] = [str(tmp_path / "raw")]
    config["plate_solving"]["catalog"] = str(data / "stars.ecsv")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    WorkflowManager(Workspace.open(tmp_path)).run(stop="plate_solving")
    workspace = Workspace.open(tmp_path)
    with workspace.reader.connect() as connection:
        methods = connection.execute(text("SELECT plate_solve_method FROM frames")).scalars().all()
    assert methods == ["header"] * 3
