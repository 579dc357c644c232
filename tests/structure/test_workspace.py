"""An open workdir: explicit, movable, locked by one run at a time, with paths that stay inside."""

from __future__ import annotations

import os
import shutil
import sys
import types
from pathlib import Path

import pytest

from lightwatch.errors import AnotherRunActive, ConfigError, StorageError
from lightwatch.structure import lock
from lightwatch.structure.workspace import Workspace

CONFIG = "raw_dirs: [raw]\nrois: {target: {coordinates: [10.0, 20.0]}}\n"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_paths_are_relative_to_the_config_file(config, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    workspace = Workspace.open(config)
    assert workspace.workdir == tmp_path.resolve()
    assert workspace.config.raw_dirs == [tmp_path / "raw"]
    assert Workspace.open(tmp_path).config_path == config.resolve(), "a directory stands for its config.yaml"
    assert not workspace.has_database
    assert list(tmp_path.iterdir()) == [config], "opening writes nothing"


def test_the_variables_are_only_defaults(config, tmp_path, monkeypatch):
    monkeypatch.delenv("LIGHTWATCH_CONFIG", raising=False)
    monkeypatch.delenv("LIGHTCURVER_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="LIGHTWATCH_CONFIG"):
        Workspace.open()
    monkeypatch.setenv("LIGHTCURVER_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("LIGHTWATCH_CONFIG", str(config))
    assert Workspace.open().config_path == config.resolve()
    (tmp_path / "other").mkdir()
    shutil.copy(config, tmp_path / "other")
    assert Workspace.open(tmp_path / "other").workdir == (tmp_path / "other").resolve()


def test_products_never_lead_out_of_the_workdir(config, tmp_path):
    workspace = Workspace.open(config)
    assert workspace.path("frames/a.fits") == tmp_path.resolve() / "frames" / "a.fits"
    for relpath in ("../a.fits", "/etc/passwd", "frames/../../x"):
        with pytest.raises(StorageError, match="leads out"):
            workspace.path(relpath)


def test_one_lock_at_a_time(config):
    one, two = Workspace.open(config), Workspace.open(config)
    with (
        one.lock(),
        pytest.raises(AnotherRunActive, match=r"another run is active in .*: pid \d+"),
        two.lock(),
    ):
        pass
    with two.lock():
        pass
    with pytest.raises(ZeroDivisionError), one.lock():
        raise ZeroDivisionError
    with two.lock():
        pass


def test_one_lock_at_a_time_on_a_database_that_two_workdirs_name(config, tmp_path):
    def other(name, url):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"{CONFIG}database: {{url: 'sqlite:///{url}'}}\n")
        return Workspace.open(tmp_path / name)

    elsewhere = tmp_path / "databases"
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(elsewhere)
    one = Workspace.open(config)
    sharing = other("two", tmp_path / "database.sqlite3")
    first, second = other("three", elsewhere / "a.db"), other("four", tmp_path / "link" / "a.db")
    beside = other("five", elsewhere / "b.db")
    for holder, refused in ((one, sharing), (sharing, one), (first, second), (second, first)):
        with holder.lock():
            with pytest.raises(AnotherRunActive, match=rf"pid {os.getpid()} on .* since 20"), refused.lock():
                pass
            with beside.lock():
                pass
        with refused.lock():
            pass
    assert not list(tmp_path.glob(".database*")), "a database in its workdir needs no lock of its own"


def test_a_workspace_may_enter_its_lock_again(config):
    one, two = Workspace.open(config), Workspace.open(config)
    with one.lock():
        with one.lock():
            pass
        with pytest.raises(AnotherRunActive), two.lock():
            pass
    with two.lock():
        pass


def test_a_lock_that_cannot_be_had_is_a_matter_of_the_disk(config, monkeypatch):
    workspace = Workspace.open(config)

    def no_locks(*_arguments):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    with pytest.raises(StorageError, match="No locks available"), workspace.lock():
        pass
    monkeypatch.setattr(lock.os, "open", no_locks)
    with pytest.raises(StorageError, match=r"no run can be locked in .*writable"), workspace.lock():
        pass


def test_a_machine_without_boot_id_says_so(monkeypatch, tmp_path):
    assert lock.boot_id() == lock.boot_id()
    monkeypatch.setattr(lock, "_BOOT_ID", tmp_path / "none")
    assert lock.boot_id() is None


def test_no_secret_in_the_stored_configuration(config, monkeypatch):
    monkeypatch.setitem(
        sys.modules, "psycopg", types.ModuleType("psycopg")
    )  # the driver, which is not needed
    config.write_text(CONFIG + "database: {url: 'postgresql://me:hunter2@host/db'}\n")
    workspace = Workspace.open(config)
    assert "hunter2" not in workspace.config_text()
    assert "hunter2" not in repr(workspace)
    assert workspace.database_url.endswith("hunter2@host/db")
    assert workspace.database_path is None


def test_hash_of_the_configuration_follows_its_values(config):
    before = Workspace.open(config).config_hash()
    config.write_text("# a comment\n" + CONFIG)
    assert Workspace.open(config).config_hash() == before
    config.write_text(CONFIG + "psf: {max_stars: 5}\n")
    assert Workspace.open(config).config_hash() != before


def test_a_moved_workdir_is_whole(workdir, tmp_path):
    """Rows hold relative paths: the moved workdir has nothing to do."""
    shutil.move(workdir.path, tmp_path / "elsewhere")
    moved = type(workdir)(tmp_path / "elsewhere")
    moved.more.mkdir(exist_ok=True)  # a raw directory that is missing would be told
    assert moved.run().line == "nothing to do"
    moved.configure("{kind: serial}", "{kind: serial}\nlight_curves: {limit_sigma: 4}")
    assert moved.run().exit_code == 0
    shutil.move(moved.path, workdir.path)


def test_the_write_ahead_log_is_emptied(workdir):
    """So that a copy of the one file is a copy of the database."""
    workdir.run()
    assert not list(workdir.path.glob("database.sqlite3-*"))


def test_a_path_that_is_not_utf_8_is_told_in_a_line(tmp_path):
    """No database could be opened there."""
    named = Path(os.fsdecode(os.fsencode(tmp_path / "night") + b"\xff"))
    named.mkdir()
    (named / "config.yaml").write_text("raw_dirs: [raw]\nrois: {J: {coordinates: [1, 2]}}\n")
    (tmp_path / "link").symlink_to(named)
    for directory in (named, tmp_path / "link"):
        with pytest.raises(ConfigError, match=r"night\\xff: not UTF-8, .*: rename the directory$"):
            Workspace.open(directory)
