"""A run's row tells whether it still goes on, on this machine and on others."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from lightwatch.errors import AnotherRunActive
from lightwatch.structure import run_rows, upgrade
from lightwatch.structure.database import open_engine, transaction
from lightwatch.structure.lock import boot_id
from lightwatch.structure.schema import runs

ABOUT = {"version": "v", "config_hash": "c", "config": "{}"}


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'database.sqlite3'}")
    upgrade.upgrade(engine)
    yield engine
    engine.dispose()


def _row(**change):
    here = {"host": socket.gethostname(), "pid": os.getpid(), "boot_id": boot_id(), "ended": None}
    return {**here, "started": run_rows.now_text(), "heartbeat": run_rows.now_text(), **change}


def _state(row, *, shared=False):
    return run_rows.state_of_run(row, shared=shared)


def _ago(**time):
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


def _gone():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_the_state_of_a_run_of_this_machine():
    assert _state(_row()) == "running"
    assert _state(_row(heartbeat=None)) == "running"
    assert _state(_row(ended=run_rows.now_text())) == "ended"
    assert _state(_row(pid=_gone())) == "crashed"
    assert _state(_row(pid=1)) == "running", "a process of somebody else is one"
    assert _state(_row(boot_id="another start")) == "crashed", "the pid is now somebody else's"
    assert _state(_row(boot_id=None)) == "running", "a row of an older version"


def test_a_machine_of_the_same_name_that_shares_the_disk_is_told_by_its_last_sign_of_life():
    other = {"boot_id": "another start", "pid": _gone()}
    assert _state(_row(**other), shared=True) == "running"
    assert _state(_row(**other, heartbeat=_ago(minutes=61)), shared=True) == "crashed"
    assert _state(_row(**other, ended=run_rows.now_text()), shared=True) == "ended"
    assert _state(_row(pid=_gone()), shared=True) == "crashed", "of this start: its process is looked for"


def test_the_state_of_a_run_elsewhere_is_told_by_its_last_sign_of_life():
    assert _state(_row(host="elsewhere", pid=_gone())) == "running"
    assert _state(_row(host="elsewhere", heartbeat=_ago(minutes=59))) == "running"
    assert _state(_row(host="elsewhere", heartbeat=_ago(minutes=61))) == "crashed"
    assert _state(_row(host="elsewhere", heartbeat=None, started=_ago(hours=2))) == "crashed"


def test_a_row_is_opened_kept_alive_and_closed(engine):
    with transaction(engine) as connection:
        key = run_rows.open_row(connection, ABOUT)
        first = dict(connection.execute(select(runs)).mappings().one())
        run_rows.renew_heartbeat(connection, key)
        run_rows.close_row(connection, key, 10, "x" * 5000)
    with engine.connect() as connection:
        row = dict(connection.execute(select(runs)).mappings().one())
    assert _state(first) == "running"
    assert row["heartbeat"] > first["heartbeat"]
    assert (row["exit_code"], len(row["summary"]), _state(row)) == (10, 2000, "ended")
    assert run_rows.latest_start(engine) == row["started"]


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"host": "elsewhere"}, True),
        ({"host": "elsewhere", "heartbeat": _ago(hours=2)}, False),
        ({"host": "elsewhere", "ended": run_rows.now_text()}, False),
        ({"pid": os.getppid()}, True),
        ({"boot_id": "another start"}, True),  # another machine of this name, and of the same pid by chance
        ({"boot_id": "another start", "heartbeat": _ago(hours=2)}, False),
        ({"pid": _gone()}, False),
        ({}, False),  # of this process, which holds the lock
    ],
)
def test_a_run_beside_another_is_refused_until_that_is_silent_or_said_to_have_ended(engine, change, refused):
    with transaction(engine) as connection:
        connection.execute(insert(runs).values({**ABOUT, **_row(**change)}))
        if refused:
            with pytest.raises(AnotherRunActive, match=r"pid \d+ on \S+ since .* db unlock"):
                run_rows.refuse_other_runs(connection, of_other_machines=True)
            assert run_rows.end_other_runs(connection) == 1
        run_rows.refuse_other_runs(connection, of_other_machines=True)


@pytest.mark.parametrize("change", [{"host": "a-container-that-was-killed"}, {"boot_id": "another start"}])
def test_on_a_local_disk_rows_of_another_name_or_start_of_this_machine_refuse_nothing(engine, change):
    with transaction(engine) as connection:
        connection.execute(insert(runs).values({**ABOUT, **_row(**change)}))
        run_rows.refuse_other_runs(connection, of_other_machines=False)


def test_a_number_that_was_given_to_another_process_is_no_run():
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert _state(_row(pid=process.pid)) == "running"
            before = _ago(minutes=5)
            assert _state(_row(pid=process.pid, started=before, heartbeat=before)) == "crashed"
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has taken notice yet
            assert _state(_row(pid=process.pid)) == "crashed"
        finally:
            process.kill()


def test_a_database_without_tables_or_of_an_older_version_tells_of_no_run(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'old.sqlite3'}")
    with transaction(engine) as connection:
        run_rows.refuse_other_runs(connection, of_other_machines=True)
        connection.exec_driver_sql("CREATE TABLE runs (id INTEGER PRIMARY KEY, started TEXT, ended TEXT)")
        connection.exec_driver_sql("INSERT INTO runs (started) VALUES ('2026-01-01T00:00:00Z')")
        run_rows.refuse_other_runs(connection, of_other_machines=True)
    engine.dispose()
