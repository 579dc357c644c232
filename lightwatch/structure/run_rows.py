"""The rows of the table ``runs``: opened, kept alive, closed, and read for whether their run still goes on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, func, insert, inspect, select, update

from lightwatch.errors import AnotherRunActive
from lightwatch.structure.lock import boot_id
from lightwatch.structure.schema import runs

#: a run that gave no sign of life for so long has ended: it gives one every few minutes, whatever it waits for
_SILENCE = timedelta(hours=1)
#: of the kernel's ticks and a clock that is being set
_CLOCK_TOLERANCE = timedelta(seconds=2)


def now_text() -> str:
    """The time as the table holds it: UTC, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def latest_start(engine: Engine) -> str | None:
    """When the latest run began."""
    with engine.connect() as connection:
        return connection.execute(select(func.max(runs.c.started))).scalar()


def open_row(connection: Connection, about: Mapping[str, Any]) -> int:
    """Row of a run of this process that begins; ``about``: version and configuration."""
    begun = now_text()
    row = {
        **about, "started": begun, "heartbeat": begun,
        "host": socket.gethostname(), "pid": os.getpid(), "boot_id": boot_id(),
    }  # fmt: skip
    key = connection.execute(insert(runs).values(row)).inserted_primary_key
    assert key is not None  # an autoincremented id
    return int(key[0])


def renew_heartbeat(connection: Connection, run_id: int) -> None:
    """Give a sign of life."""
    connection.execute(update(runs).where(runs.c.id == run_id).values(heartbeat=now_text()))


def close_row(connection: Connection, run_id: int, exit_code: int, summary: str) -> None:
    """A run ended."""
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(ended=now_text(), exit_code=exit_code, summary=summary[:2000])
    )


def state_of_run(row: Mapping[str, Any], *, shared: bool) -> Literal["ended", "running", "crashed"]:
    """Whether a run still goes on; of one on another machine only its last sign of life tells.

    ``shared``: other machines can write to this database. One may have the name of this machine, as containers have;
    its start is another then, as that of this machine before it was started anew.
    """
    if row["ended"] is not None:
        return "ended"
    if _is_of_this_start(row):
        return "running" if _is_alive(row["pid"], _last_seen(row)) else "crashed"
    started_anew = row["host"] == socket.gethostname() and not shared
    return "running" if _was_alive_lately(row) and not started_anew else "crashed"


def refuse_other_runs(connection: Connection, *, of_other_machines: bool) -> None:
    """Refuse to write beside a run that goes on.

    Of this machine the lock tells more; the table knows those whose lock file was removed. ``of_other_machines``:
    they can write to this database; on a local disk their rows are those of a machine that had another name, as
    containers have.

    Raises
    ------
    AnotherRunActive
        Naming it, and how to overrule it.
    """
    for row in _open_rows(connection):
        here = row["host"] == socket.gethostname()
        is_running = state_of_run(row, shared=of_other_machines) == "running"
        if (here or of_other_machines) and _was_alive_lately(row) and is_running:
            raise AnotherRunActive(
                f"another run is active: pid {row['pid']} on {row['host']} since {row['started']}, last sign of life "
                f"{row['heartbeat']}; if you know that it has ended, 'lightwatch db unlock' says so"
            )


def end_other_runs(connection: Connection) -> int:
    """Take the open runs of all other processes for ended; their number."""
    others = [row["id"] for row in _open_rows(connection)]
    connection.execute(
        update(runs).where(runs.c.id.in_(others)).values(ended=now_text(), summary="ended by hand")
    )
    return len(others)


def _open_rows(connection: Connection) -> list[Mapping[str, Any]]:
    """Runs without an end, but for those of this process; none where there is no table yet, or an older one."""
    catalogue = inspect(connection)
    if not catalogue.has_table("runs") or "heartbeat" not in {
        c["name"] for c in catalogue.get_columns("runs")
    }:
        return []
    rows = map(dict, connection.execute(select(runs).where(runs.c.ended.is_(None))).mappings())
    return [row for row in rows if not (_is_of_this_start(row) and row["pid"] == os.getpid())]


def _is_of_this_start(row: Mapping[str, Any]) -> bool:
    """Whether a run began on this machine since it was started, so that its process can be looked for."""
    return row["host"] == socket.gethostname() and row["boot_id"] in (None, boot_id())


def _last_seen(row: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(row["heartbeat"] or row["started"])


def _was_alive_lately(row: Mapping[str, Any]) -> bool:
    return datetime.now(UTC) - _last_seen(row) < _SILENCE


def _is_alive(pid: int, seen: datetime) -> bool:
    """Whether a process goes on; another one that has been given its number began after it was last seen."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # of somebody else
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return True
    if fields[0] in "ZX":  # killed, and not yet taken notice of by who started it
        return False
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return datetime.now(UTC) - timedelta(seconds=age) < seen + _CLOCK_TOLERANCE
