"""A light curve measured in apertures says so: in the report and at the head of exported files."""

from __future__ import annotations

import json

import pytest
from astropy.table import Table
from sqlalchemy import update

from lightwatch.report import site
from lightwatch.report.exports import export_light_curves
from lightwatch.report.series import light_curve
from lightwatch.structure import schema
from lightwatch.structure.database import transaction

CAPTION = "Measured in apertures"


@pytest.fixture
def in_apertures(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", sources=("A",))
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.normalization_coefficients).values(flux_kind="aperture"))
        connection.execute(update(schema.roi_flux).values(reduced_chi2=None))
    return workspace


def test_in_apertures_report_and_files_say_so(in_apertures, tmp_path):
    page = site.render(in_apertures)
    kinds = [curve["kind"] for curve in json.loads(_data(page))["curves"]]
    assert set(kinds) == {"aperture"}
    assert page.count(CAPTION) == len(kinds)
    (path, *_) = export_light_curves(in_apertures, tmp_path / "out", formats=["ecsv"])
    assert Table.read(path).meta["FLUXKIND"] == "aperture"
    assert light_curve("A", filter="r", workspace=in_apertures).table.meta["FLUXKIND"] == "aperture"


def test_by_psf_nothing_is_said_of_apertures(workspace, tmp_path):
    page = site.render(workspace)
    assert CAPTION not in page
    (path, *_) = export_light_curves(workspace, tmp_path / "out", formats=["ecsv"])
    assert Table.read(path).meta["FLUXKIND"] == "psf"


def _data(page: str) -> str:
    return page.split('id="data">', 1)[1].split("</script>", 1)[0]
