"""The rows of the table ``runs``: opened, kept alive, closed, and read for whether their run still goes on."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Engine, func, insert, select, update

from lightwatch.errors import AnotherRunActive
from lightwatch.structure.lock import boot_id
from lightwatch.structure.schema import runs

#: a run of another machine that gave no sign of life for so long has ended (one step may take long)
_SILENCE = timedelta(hours=1)


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


def state_of_run(row: Mapping[str, Any]) -> Literal["ended", "running", "crashed"]:
    """Whether a run still goes on; of one on another machine only its last sign of life tells."""
    if row["ended"] is not None:
        return "ended"
    if row["host"] == socket.gethostname():
        same_start = row["boot_id"] in (None, boot_id())
        return "running" if same_start and _is_alive(row["pid"]) else "crashed"
    return "running" if _was_alive_lately(row) else "crashed"


def refuse_run_elsewhere(connection: Connection) -> None:
    """Where machines share the disk: refuse to begin beside a run of another machine.

    Raises
    ------
    AnotherRunActive
        Naming it, and how to overrule it.
    """
    for row in _open_elsewhere(connection):
        if _was_alive_lately(row):
            raise AnotherRunActive(
                f"another run is active: pid {row['pid']} on {row['host']} since {row['started']}, last sign of life "
                f"{row['heartbeat']}; if you know that it has ended, 'lightwatch db unlock' says so"
            )


def end_runs_elsewhere(connection: Connection) -> int:
    """Take the open runs of other machines for ended; their number."""
    elsewhere = [row["id"] for row in _open_elsewhere(connection)]
    connection.execute(
        update(runs).where(runs.c.id.in_(elsewhere)).values(ended=now_text(), summary="ended by hand")
    )
    return len(elsewhere)


def _open_elsewhere(connection: Connection) -> list[Mapping[str, Any]]:
    query = select(runs).where(runs.c.ended.is_(None), runs.c.host != socket.gethostname())
    return [dict(row) for row in connection.execute(query).mappings()]


def _was_alive_lately(row: Mapping[str, Any]) -> bool:
    seen = datetime.fromisoformat(row["heartbeat"] or row["started"])
    return datetime.now(UTC) - seen < _SILENCE


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
