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


def _ago(**time):
    return (datetime.now(UTC) - timedelta(**time)).isoformat()


def _gone():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_the_state_of_a_run_of_this_machine():
    assert run_rows.state_of_run(_row()) == "running"
    assert run_rows.state_of_run(_row(heartbeat=None)) == "running"
    assert run_rows.state_of_run(_row(ended=run_rows.now_text())) == "ended"
    assert run_rows.state_of_run(_row(pid=_gone())) == "crashed"
    assert run_rows.state_of_run(_row(pid=1)) == "running", "a process of somebody else is one"
    assert run_rows.state_of_run(_row(boot_id="another start")) == "crashed", "the pid is now somebody else's"
    assert run_rows.state_of_run(_row(boot_id=None)) == "running", "a row of an older version"


def test_the_state_of_a_run_elsewhere_is_told_by_its_last_sign_of_life():
    assert run_rows.state_of_run(_row(host="elsewhere", pid=_gone())) == "running"
    assert run_rows.state_of_run(_row(host="elsewhere", heartbeat=_ago(minutes=59))) == "running"
    assert run_rows.state_of_run(_row(host="elsewhere", heartbeat=_ago(minutes=61))) == "crashed"
    assert run_rows.state_of_run(_row(host="elsewhere", heartbeat=None, started=_ago(hours=2))) == "crashed"


def test_a_row_is_opened_kept_alive_and_closed(engine):
    with transaction(engine) as connection:
        key = run_rows.open_row(connection, ABOUT)
        first = dict(connection.execute(select(runs)).mappings().one())
        run_rows.renew_heartbeat(connection, key)
        run_rows.close_row(connection, key, 10, "x" * 5000)
    with engine.connect() as connection:
        row = dict(connection.execute(select(runs)).mappings().one())
    assert run_rows.state_of_run(first) == "running"
    assert row["heartbeat"] > first["heartbeat"]
    assert (row["exit_code"], len(row["summary"]), run_rows.state_of_run(row)) == (10, 2000, "ended")
    assert run_rows.latest_start(engine) == row["started"]


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"host": "elsewhere"}, True),
        ({"host": "elsewhere", "heartbeat": _ago(hours=2)}, False),
        ({"host": "elsewhere", "ended": run_rows.now_text()}, False),
        ({"pid": os.getppid()}, True),
        ({"pid": os.getppid(), "boot_id": "another start"}, False),
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


def test_on_a_local_disk_rows_of_another_name_of_this_machine_refuse_nothing(engine):
    with transaction(engine) as connection:
        connection.execute(insert(runs).values({**ABOUT, **_row(host="a-container-that-was-killed")}))
        run_rows.refuse_other_runs(connection, of_other_machines=False)


def test_a_number_that_was_given_to_another_process_is_no_run():
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert run_rows.state_of_run(_row(pid=process.pid)) == "running"
            before = _ago(minutes=5)
            assert run_rows.state_of_run(_row(pid=process.pid, started=before, heartbeat=before)) == "crashed"
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has taken notice yet
            assert run_rows.state_of_run(_row(pid=process.pid)) == "crashed"
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
