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
        ({}, False),  # of this machine: the lock has told already
    ],
)
def test_a_run_beside_one_elsewhere_is_refused_until_that_is_silent_or_said_to_have_ended(
    engine, change, refused
):
    with transaction(engine) as connection:
        connection.execute(insert(runs).values({**ABOUT, **_row(**change)}))
        if refused:
            with pytest.raises(AnotherRunActive, match=r"pid \d+ on elsewhere since .* db unlock"):
                run_rows.refuse_run_elsewhere(connection)
            assert run_rows.end_runs_elsewhere(connection) == 1
        run_rows.refuse_run_elsewhere(connection)
