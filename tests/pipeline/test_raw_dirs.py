"""Raw directories on a disk that answers nothing."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from lightwatch.pipeline import raw_dirs
from lightwatch.structure.frames_discovery import unlisted
from lightwatch.structure.workspace import Workspace

from .rows import CONFIG, fill, make_workdir


@pytest.fixture
def dead(monkeypatch, tmp_path):
    """A directory that is not listed before the event is set, and how often it was asked."""
    mounted, asked = threading.Event(), []

    def waiting(folders):
        if folders == [tmp_path / "dead"]:
            asked.append(folders)
            mounted.wait(60)
        return unlisted(folders)

    monkeypatch.setattr(raw_dirs, "unlisted", waiting)
    yield tmp_path / "dead", mounted, asked
    mounted.set()


def test_a_disk_that_does_not_answer_is_told_in_time_and_asked_once(dead, tmp_path):
    folder, mounted, asked = dead
    told = raw_dirs.RawDirs([folder, tmp_path, tmp_path / "none"], seconds=0.3)
    begun = time.monotonic()
    for _ in range(3):
        assert told.unlisted() == [
            (folder, "it did not answer within 0.3 s"),
            (tmp_path / "none", "No such file or directory"),
        ]
    assert time.monotonic() - begun < 30
    assert len(asked) == 1
    folder.mkdir()
    mounted.set()
    told.seconds = 60
    assert told.unlisted() == [(tmp_path / "none", "No such file or directory")]


def test_status_tells_of_it_and_ends(dead, lightwatch):
    folder, _, _ = dead
    workdir = make_workdir(folder.parent / "w", CONFIG.replace("[raw]", f"[raw, {folder}]"))
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 2)
    code, out, _ = lightwatch("status", workdir)
    assert code == 0
    assert f"look at this: {folder} cannot be listed: it did not answer within 2 s: new frames may" in out
