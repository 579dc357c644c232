"""A run stops before its work where it could not end well: no room, no right to write, a wrong clock."""

from __future__ import annotations

import shutil
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from reliability.schema_rows import valid_row
from sqlalchemy import insert

from lightwatch.errors import ConfigError, SchemaError, StorageError
from lightwatch.pipeline import preflight
from lightwatch.pipeline.workflow_manager import WorkflowManager
from lightwatch.structure import schema
from lightwatch.structure.database import transaction
from lightwatch.structure.frames_discovery import FoundFile
from lightwatch.structure.workspace import Workspace

from .rows import make_workdir

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def workspace(tmp_path):
    workspace = Workspace.open(make_workdir(tmp_path / "w"))
    workspace.initialize()
    yield workspace
    workspace.close()


def _files(n, size):
    return [FoundFile(Path(f"/raw/{k}.fits"), size, 1, k) for k in range(n)]


def _free(monkeypatch, n_bytes):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2 * n_bytes, n_bytes, n_bytes))


def test_room_for_three_times_the_new_frames_and_a_copy_of_the_database(workspace, monkeypatch):
    needed = 3 * 10 * 1_000_000 + workspace.database_path.stat().st_size
    _free(monkeypatch, needed)
    preflight.check_room(workspace, _files(10, 1_000_000))
    _free(monkeypatch, needed - 1)
    with pytest.raises(StorageError, match=r"30 MB free, but 10 new frames need about 30 MB; .*--limit"):
        preflight.check_room(workspace, _files(10, 1_000_000))
    preflight.check_room(workspace, [])


def test_compressed_files_are_taken_for_as_large_as_frames_known(workspace, monkeypatch):
    with transaction(workspace.engine) as connection:
        connection.execute(
            insert(schema.frames).values({**valid_row(schema.frames), "naxis1": 1000, "naxis2": 1000})
        )
    _free(monkeypatch, 10_000_000)
    with pytest.raises(StorageError, match="1 new frames need about 15 MB"):
        preflight.check_room(workspace, _files(1, 1000))


def test_a_clock_before_the_latest_run_or_before_2020_is_refused():
    preflight.check_clock(None, NOW)
    preflight.check_clock("2026-05-31T09:00:00.000000Z", NOW)
    preflight.check_clock((NOW + timedelta(minutes=59)).isoformat(), NOW)
    with pytest.raises(ConfigError, match="latest run began at 2026-06-01T13:01"):
        preflight.check_clock((NOW + timedelta(minutes=61)).isoformat(), NOW)
    with pytest.raises(ConfigError, match="the clock says 1970-01-01"):
        preflight.check_clock(None, datetime(1970, 1, 1, tzinfo=UTC))


def test_directories_must_be_writable(tmp_path, monkeypatch):
    (tmp_path / "frames").mkdir()
    preflight.check_workdir(tmp_path)
    # whoever runs the tests may be allowed to write everywhere
    monkeypatch.setattr(preflight.os, "access", lambda path, mode: path.name != "frames")
    with pytest.raises(StorageError, match=r"frames: not writable"):
        preflight.check_workdir(tmp_path)


def test_a_run_without_room_has_begun_nothing(workspace, monkeypatch):
    (raw,) = workspace.config.raw_dirs
    raw.mkdir(exist_ok=True)
    (raw / "a.fits").write_bytes(b"x" * 5000)
    _free(monkeypatch, 10_000)
    with pytest.raises(StorageError, match="make room"):
        WorkflowManager(Workspace.open(workspace.config_path)).run()
    with workspace.reader.connect() as connection:
        assert connection.execute(schema.files.select()).all() == []
        (run,) = connection.execute(schema.runs.select()).mappings()
    assert (run["exit_code"], "make room" in run["summary"]) == (74, True)
    assert not (workspace.workdir / "frames").exists()
    assert not (workspace.workdir / "backups").exists()


def test_a_run_with_a_wrong_clock_has_begun_nothing(workspace):
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    with transaction(workspace.engine) as connection:
        row = {"started": later, "version": "v", "config_hash": "c", "config": "{}"}
        connection.execute(insert(schema.runs).values(row))
    with pytest.raises(ConfigError, match="set the clock"):
        WorkflowManager(Workspace.open(workspace.config_path)).run()
    with workspace.reader.connect() as connection:
        assert len(connection.execute(schema.runs.select()).all()) == 1


def test_a_newer_database_is_refused(workspace):
    with transaction(workspace.engine) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="newer lightwatch"):
        WorkflowManager(Workspace.open(workspace.config_path)).run()
