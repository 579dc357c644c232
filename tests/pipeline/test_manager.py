"""The manager of a run: what goes wrong beside the items, and what is kept before anything changes."""

from __future__ import annotations

import ast
import sqlite3
from contextlib import closing
from pathlib import Path

import yaml

import lightwatch
from lightwatch.pipeline.night import NAMES
from lightwatch.report.site import write_report


def test_only_storage_builds_statements_that_write():
    package = Path(lightwatch.__file__).parent
    found = [
        (path.name, alias.name)
        for folder in ("pipeline", "report", "processes")
        for path in (package / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
        for alias in node.names
        if alias.name in ("insert", "update", "delete", "text")
    ]
    assert found == []


def test_task_that_breaks_beside_its_items_is_recorded(workdir, monkeypatch):
    """What is unforeseen in a task itself ends that task; the others go on, and the next run tries again."""

    def broken(*_arguments):
        raise ZeroDivisionError("by a mistake")

    monkeypatch.setattr("lightwatch.pipeline.tasks.zeropoints_groups.groups", broken)
    result = workdir.run()
    assert result.exit_code == 10
    assert "ended early: ZeroDivisionError" in result.line
    assert workdir.sql("SELECT task, reason_code FROM task_errors") == [(NAMES[9], "ZeroDivisionError")]
    monkeypatch.undo()
    assert workdir.run().exit_code == 0


def test_roi_that_leaves_the_configuration_is_in_a_copy_of_the_database(workdir):
    """Its light curve goes with it; a slip in the configuration must not lose it for ever."""
    before = workdir.sql("SELECT count(*) FROM roi_flux")[0][0]
    had = set((workdir.path / "backups").glob("*.sqlite3"))
    workdir.configure("  single:\n    coordinates", "  renamed:\n    coordinates")
    workdir.run(stop=NAMES[1])
    assert workdir.sql("SELECT count(*) FROM roi_flux")[0][0] < before
    (copy,) = set((workdir.path / "backups").glob("*.sqlite3")) - had
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM roi_flux").fetchone() == (before,)


def test_frames_of_another_place_of_the_sky_are_told_everywhere(empty_workdir, lightwatch, tmp_path):
    """Else later steps have nothing to do, and the run ends as if all were well."""
    workdir = empty_workdir([0])
    config = yaml.safe_load(workdir.config.read_text())
    for roi in config["rois"].values():
        roi["coordinates"] = [roi["coordinates"][0] + 1.0, roi["coordinates"][1]]
        roi.pop("point_sources", None)
    workdir.config.write_text(yaml.safe_dump(config))
    for _ in range(2):
        result = workdir.run()
        assert result.exit_code == 10
        assert result.line.startswith("no ROI lies on any of 1 solved frames: are the coordinates of rois in")
    assert workdir.run(stop=NAMES[1]).exit_code == 0, "asked for less, it is not the question"
    told = "no ROI lies on any of 1 solved frames"
    assert f"look at this: {told}" in lightwatch("status", workdir.path)[1]
    with closing(workdir.open()) as workspace:
        assert f"No light curves: {told}" in write_report(workspace, tmp_path / "report").read_text("utf-8")
