"""A point source that was found elsewhere: told by the report, by status, and at the end of a run."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from lightwatch.pipeline import cli
from lightwatch.pipeline.displaced import displaced_sources
from lightwatch.report import site
from lightwatch.structure import queries, queries_report, schema
from lightwatch.structure.database import transaction


def found_off(workspace, source: str, arcsec: float) -> None:
    """As if the model had found a source so far north of its coordinates, and the others where they are."""
    placed = {row["name"]: row for row in queries.rows(workspace.reader, queries_report.point_sources())}
    found = {
        name: [row["ra"], row["dec"] + (arcsec / 3600 if name == source else 0.0), 0.01, 0.01]
        for name, row in placed.items()
    }
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.roi_models).values(astrometry=json.dumps(found)))
        connection.execute(update(schema.frames).values(seeing_arcseconds=1.2))


@pytest.fixture
def workdir(make_workdir, tmp_path):
    return make_workdir(tmp_path / "w")


def test_within_the_fwhm_nobody_is_alarmed(workdir):
    found_off(workdir, "A", 1.1)
    assert displaced_sources(workdir) == []
    assert "Is this the right star?" not in site.render(workdir)


def test_beyond_it_report_and_status_ask_for_the_coordinates(workdir, capsys):
    found_off(workdir, "A", 16.3)
    told = displaced_sources(workdir)
    assert {(one.roi, one.point_source) for one in told} == {("J0248", "A")}
    line = "J0248 A was found 16.3 arcsec from its coordinates"
    assert told[0].text.startswith(line)
    assert told[0].text.endswith("is rois.J0248.point_sources.A right?")
    page = site.render(workdir)
    assert page.count(line) == len(told)
    capsys.readouterr()
    for words, told_there in (([], f"look at this: {line}"), (["--json"], '"offset_arcsec": 16.3')):
        with pytest.raises(SystemExit):
            cli.main(["status", str(workdir.workdir), *words])
        assert told_there in capsys.readouterr().out
