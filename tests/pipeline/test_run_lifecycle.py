"""How a run begins beside others, and how it ends: by itself, by a signal, by a kill."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import insert

from lightwatch.errors import AnotherRunActive, ExitCode, StorageError
from lightwatch.pipeline import cli, heartbeat
from lightwatch.pipeline.heartbeat import Heartbeat
from lightwatch.pipeline.reporting import LoggingReporter, TaskSummary
from lightwatch.pipeline.runner import TaskRunner
from lightwatch.pipeline.workflow_manager import WorkflowManager
from lightwatch.structure import database, failpoint, run_rows, schema
from lightwatch.structure.database import transaction
from lightwatch.structure.lock import boot_id
from lightwatch.structure.workspace import Workspace

from .rows import make_workdir

#: a run with a worker that has a job, killed as a machine without memory would
KILLED = """
import os, signal, threading, time
from lightwatch.pipeline.executors import WorkerPool
from lightwatch.structure.config import Executor
with WorkerPool(Executor(kind="processes", jobs=1)) as pool:
    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
    print(list(pool.outcomes(time.sleep, [600])))
"""


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(tmp_path / "w")


def _runs(workdir):
    connection = sqlite3.connect(workdir / "database.sqlite3")
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute("SELECT * FROM runs ORDER BY id")]
    finally:
        connection.close()


def _command(*words):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code


# ---------------------------------------------------------------- the end
@pytest.mark.parametrize(
    ("number", "code", "summary"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_signal_ends_a_run_in_order(workdir, monkeypatch, number, code, summary):
    before = signal.getsignal(signal.SIGTERM)

    def work(*_arguments):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal came too late")

    monkeypatch.setattr(TaskRunner, "run", work)
    assert _command("run", workdir, "-q") == code
    (run,) = _runs(workdir)
    assert run["ended"] is not None
    assert (run["exit_code"], run["summary"]) == (code, summary)
    assert not list(workdir.glob("database.sqlite3-*"))
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.undo()
    assert _command("run", workdir, "-q") == 65, "the next run begins at once"


@pytest.mark.parametrize(
    ("error", "code", "summary"),
    [(StorageError("disk full"), 74, "disk full"), (OSError(5, "Input/output error"), 74, "Input/output error"),
     (ZeroDivisionError(), 70, "crashed: ZeroDivisionError")],
)  # fmt: skip
def test_the_row_of_a_run_tells_how_it_ended(workdir, monkeypatch, error, code, summary):
    def work(*_arguments):
        raise error

    monkeypatch.setattr(TaskRunner, "run", work)
    assert _command("run", workdir, "-q") == code
    (run,) = _runs(workdir)
    assert run["exit_code"] == code
    assert summary in run["summary"]


def test_the_help_names_every_exit_code(capsys):
    _command("run", "--help")
    told = capsys.readouterr().out
    codes = told[told.index("Exit codes:") :]
    for code in (*ExitCode, 128 + signal.SIGTERM):
        assert re.search(rf"\b{int(code)}\b", codes), code


def test_workers_of_a_killed_run_end(tmp_path):
    """They hold its output open: cron would wait for ever."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    ended = subprocess.run([sys.executable, script], capture_output=True, timeout=30, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b""


# ---------------------------------------------------------------- other machines
def _run_elsewhere(workdir):
    workspace = Workspace.open(workdir)
    workspace.initialize()
    now = run_rows.now_text()
    row = {"started": now, "heartbeat": now, "host": "elsewhere", "pid": 7, "version": "v", "config_hash": "c",
           "config": "{}"}  # fmt: skip
    with transaction(workspace.engine) as connection:
        connection.execute(insert(schema.runs).values(row))
    workspace.close()


def test_on_a_shared_disk_the_run_of_another_machine_is_respected(workdir, monkeypatch, capsys):
    _run_elsewhere(workdir)
    assert _command("run", workdir, "-q") == 65, "on a local disk the lock tells all"
    monkeypatch.setattr(database, "network_file_system", lambda directory: "nfs4")
    assert _command("run", workdir, "-q") == 75
    frames = ("frames", workdir, "--eliminate", "1")
    for words in (
        frames,
        ("verify", workdir, "--repair"),
        ("db", "upgrade", workdir),
        ("db", "restore", workdir, "x"),
    ):
        capsys.readouterr()
        assert _command(*words) == 75, words
    told = capsys.readouterr().err
    assert "pid 7 on elsewhere" in told
    assert len(told.splitlines()) == 1
    assert len(_runs(workdir)) == 2, "the refused run wrote nothing"
    assert _command("db", "unlock", workdir) in (None, 0)
    assert _command("run", workdir, "-q") == 65


def test_two_workdirs_with_one_database_are_refused_each_beside_the_other(workdir, tmp_path, capsys):
    other = make_workdir(tmp_path / "other")
    config = other / "config.yaml"
    config.write_text(config.read_text() + f"database: {{url: 'sqlite:///{workdir / 'database.sqlite3'}'}}\n")
    assert _command("run", workdir, "-q") == 65
    for holder, refused in ((workdir, other), (other, workdir)):
        with Workspace.open(holder).lock():
            capsys.readouterr()
            assert _command("run", refused, "-q") == 75
            told = capsys.readouterr().err
            assert f"pid {os.getpid()} on" in told
            assert len(told.splitlines()) == 1
    assert len(_runs(workdir)) == 1


def test_where_the_database_of_a_url_is_is_not_told(workdir, tmp_path, capsys):
    config, place = workdir / "config.yaml", tmp_path / "hidden-place"
    config.write_text(config.read_text() + f"database: {{url: 'sqlite:///{place / 'x.db'}'}}\n")
    assert _command("run", workdir, "-q") == 74
    place.mkdir()
    (place / "x.db").write_bytes(b"no database" * 1000)
    assert _command("status", workdir) == 74
    assert _command("run", workdir, "-q") == 74
    with Workspace.open(workdir).lock():
        assert _command("run", workdir, "-q") == 75
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 4
    assert "hidden-place" not in told


def test_a_database_without_tables_is_told_in_a_line(workdir, capsys):
    sqlite3.connect(workdir / "database.sqlite3").close()
    (workdir / "database.sqlite3").touch()
    for words in (("status", workdir), ("frames", workdir), ("status", workdir, "--json")):
        assert _command(*words) == 78, words
        told = capsys.readouterr().err
        assert "db upgrade" in told
        assert len(told.splitlines()) == 1


def test_a_run_whose_lock_file_was_removed_is_respected(workdir, capsys):
    workspace = Workspace.open(workdir)
    workspace.initialize()
    row = {"started": run_rows.now_text(), "heartbeat": run_rows.now_text(), "host": socket.gethostname(),
           "pid": os.getppid(), "boot_id": boot_id(), "version": "v", "config_hash": "c", "config": "{}"}  # fmt: skip
    with transaction(workspace.engine) as connection:
        connection.execute(insert(schema.runs).values(row))
    workspace.close()
    assert _command("run", workdir, "-q") == 75
    assert f"pid {os.getppid()} on" in capsys.readouterr().err
    assert len(_runs(workdir)) == 1


def test_a_manager_is_refused_too(workdir):
    with Workspace.open(workdir).lock(), pytest.raises(AnotherRunActive):
        WorkflowManager(Workspace.open(workdir)).run()


def test_signs_of_life_are_given_once_a_minute(workdir, monkeypatch):
    workspace = Workspace.open(workdir)
    workspace.initialize()
    with transaction(workspace.engine) as connection:
        key = run_rows.open_row(connection, {"version": "v", "config_hash": "c", "config": "{}"})
    clock = [0.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: clock[0])
    reporter = Heartbeat(LoggingReporter(), workspace, key)
    seen = [_runs(workdir)[0]["heartbeat"]]
    tell = [
        lambda: reporter.begin("task", 3),
        lambda: reporter.advance("task"),
        lambda: reporter.end(TaskSummary("task")),
    ]
    for seconds, what in ((59, tell[0]), (61, tell[1]), (100, tell[0]), (122, tell[2])):
        clock[0] = seconds
        what()
        seen.append(_runs(workdir)[0]["heartbeat"])
    workspace.close()
    assert [b > a for a, b in itertools.pairwise(seen)] == [False, True, False, True]


def test_a_run_that_tells_nothing_gives_signs_of_life(workdir, monkeypatch):
    """A fit may take longer than the silence after which others take a run for crashed."""
    monkeypatch.setattr(heartbeat, "_SECONDS_OF_SILENCE", 0.1)
    seen = []

    def work(runner, task):
        if seen:
            return TaskSummary(task.name)
        seen.append(_runs(workdir)[0]["heartbeat"])
        for _ in range(200):
            time.sleep(0.05)
            if len(set(seen)) == 3:
                break
            seen.append(_runs(workdir)[0]["heartbeat"])
        return TaskSummary(task.name)

    monkeypatch.setattr(TaskRunner, "run", work)
    before = threading.active_count()
    assert _command("run", workdir, "-q") == 65
    assert len(set(seen)) == 3
    assert threading.active_count() == before


def test_signs_of_life_leave_out_a_transaction_and_survive_a_disk_that_fails(workdir, monkeypatch):
    workspace = Workspace.open(workdir)
    workspace.initialize()
    with transaction(workspace.engine) as connection:
        key = run_rows.open_row(connection, {"version": "v", "config_hash": "c", "config": "{}"})
    begun = _runs(workdir)[0]["heartbeat"]
    monkeypatch.setattr(heartbeat, "_SECONDS_OF_SILENCE", 0.02)
    tried = []

    def trying(engine, *, wait):
        tried.append(wait)
        return transaction(engine, wait=wait)

    monkeypatch.setattr(heartbeat, "transaction", trying)
    with Heartbeat(LoggingReporter(), workspace, key):
        with transaction(workspace.engine):
            tried.clear()
            during = _runs(workdir)[0]["heartbeat"]
            time.sleep(0.3)
            assert _runs(workdir)[0]["heartbeat"] == during, "it is the one connection that writes"
            assert len(tried) > 2, "and is not waited for"
        for _ in range(200):
            if _runs(workdir)[0]["heartbeat"] > during:
                break
            time.sleep(0.05)
        assert _runs(workdir)[0]["heartbeat"] > during >= begun

        def full(step, _path):
            if step == "commit":
                failed.append(step)
                raise StorageError("disk full")

        failed = []
        with monkeypatch.context() as broken:
            broken.setattr(failpoint, "reached", full)
            for _ in range(200):
                if len(failed) > 2:
                    break
                time.sleep(0.05)
        assert len(failed) > 2, "and tries again"
    workspace.close()


def test_a_sign_of_life_that_hangs_does_not_hold_up_the_end_for_ever(workdir, monkeypatch):
    workspace = Workspace.open(workdir)
    workspace.initialize()
    monkeypatch.setattr(heartbeat, "_SECONDS_OF_SILENCE", 0.02)
    monkeypatch.setattr(heartbeat, "_SECONDS_TO_END", 0.1)
    hangs, may_end = threading.Event(), threading.Event()

    def hang(_step, _path):
        hangs.set()
        may_end.wait(20)

    monkeypatch.setattr(failpoint, "reached", hang)
    begun = time.monotonic()
    with Heartbeat(LoggingReporter(), workspace, 1):
        assert hangs.wait(10)
    assert time.monotonic() - begun < 10
    may_end.set()
    with transaction(workspace.engine):  # once it is written the run goes on
        pass
    workspace.close()


# ---------------------------------------------------------------- copies
def test_a_copy_is_listed_and_put_back(workdir, capsys):
    _command("run", workdir, "-q")
    _command("db", "backup", workdir)
    _command("run", workdir, "-q")
    capsys.readouterr()
    _command("db", "restore", workdir)
    name, size, unit = capsys.readouterr().out.split()
    assert unit == "MB"
    assert _command("db", "restore", workdir, name) in (None, 0)
    assert "verify --repair" in capsys.readouterr().out
    assert len(_runs(workdir)) == 1
    assert float(size) > 0.1
    with Workspace.open(workdir).lock():
        assert _command("db", "restore", workdir, name) == 75
    assert _command("db", "restore", workdir, "none.sqlite3") == 74


def test_an_sqlite_with_a_known_fault_is_told_of_by_the_whole_check_of_the_database(
    workdir, capsys, monkeypatch
):
    """With what to do, and nowhere else: there is nothing to mend in a configuration."""
    Workspace.open(workdir).initialize()
    for version, told in (((3, 51, 2), True), ((3, 51, 3), False)):
        monkeypatch.setattr(database.sqlite3, "sqlite_version_info", version)
        _command("verify", workdir, "--full")
        assert ("WAL-reset bug); lightwatch writes with one alone" in capsys.readouterr().out) == told
        for words in (["verify"], ["config", "check"]):
            _command(*words, workdir)
            assert "WAL-reset" not in capsys.readouterr().out


def test_the_check_tells_of_a_network_disk(workdir, capsys, monkeypatch):
    monkeypatch.setattr(database, "network_file_system", lambda directory: "nfs4")
    _command("config", "check", workdir)
    assert "network file system (nfs4)" in capsys.readouterr().out
