"""Upgrades a database in a child process that is killed at a step, for steps drawn evenly from all of them.

    python killed_upgrade.py DUMP SCRATCH N

A step is a statement, or a step of writing that ``failpoint`` tells of. The first line tells the database before and
after an undisturbed upgrade; then, for each of N steps, one tells whether the child was killed, what it left behind,
and what is there after the next start.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import sys
from itertools import count
from pathlib import Path

from sqlalchemy import event

import lightwatch.structure.schema  # noqa: F401 - a child must not spend its time importing
from lightwatch.structure import database, failpoint, upgrade
from reliability.schema_rows import load


def main() -> None:
    dump, scratch, n = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    path = scratch / "database.sqlite3"
    scratch.mkdir(exist_ok=True)
    load(dump, path)
    old = _look(path)
    total = _upgrade(dump, path, die_at=None)
    assert total is not None
    print(json.dumps({"old": old, "new": _look(path)}))
    for k in range(n):
        step = 1 + k * (total - 1) // max(n - 1, 1)
        killed = _upgrade(dump, path, die_at=step) is None
        left = _look(path)
        engine = database.open_engine(f"sqlite:///{path}")
        upgrade.upgrade(engine)
        engine.dispose()
        print(json.dumps({"step": step, "of": total, "killed": killed, "left": left, "after": _look(path)}))


def _upgrade(dump: Path, path: Path, die_at: int | None) -> int | None:
    """Number of steps of an upgrade in a child; None when it was killed."""
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    load(dump, path)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _child(path, die_at, writing)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    told = os.read(reading, 100)
    os.close(reading)
    return None if os.WIFSIGNALED(status) else int(told)


def _child(path: Path, die_at: int | None, writing: int) -> None:
    steps = count(1)
    reached = 0

    def step(*_what: object) -> None:
        nonlocal reached
        reached = next(steps)
        if reached == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoint.reached = step
    engine = database.open_engine(f"sqlite:///{path}")
    event.listen(engine, "before_cursor_execute", step)
    upgrade.upgrade(engine)
    os.write(writing, str(reached).encode())
    os._exit(0)


def _look(path: Path) -> dict[str, object]:
    """Everything that a database holds: tables, views and indices as they are declared, and all rows of all tables."""
    connection = sqlite3.connect(path)
    try:
        objects = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        names = [name for kind, name, _ in objects if kind == "table"]
        rows = {name: sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"'))) for name in names}
        return {
            "revision": connection.execute("SELECT version_num FROM alembic_version").fetchone()[0],
            "schema": _digest(objects),
            "rows": {name: _digest(found) for name, found in rows.items()},
            "sound": connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            and not connection.execute("PRAGMA foreign_key_check").fetchall(),
        }
    finally:
        connection.close()


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


if __name__ == "__main__":
    main()
