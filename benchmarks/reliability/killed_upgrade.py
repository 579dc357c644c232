"""Upgrades a database in a child process that is killed at a step, for steps drawn evenly from all of them.

    python killed_upgrade.py DUMP SCRATCH N

A step is a statement, or a step of writing that ``failpoint`` tells of. For each of N steps prints whether the child
was killed, the revision and digest of the tables left behind, and those after the next start.
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
    total = _upgrade(dump, path, die_at=None)
    assert total is not None
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


#: tables without data of their own
_OF_THE_PROGRAM = ("alembic_version", "task_counts")


def _look(path: Path) -> dict[str, object]:
    connection = sqlite3.connect(path)
    try:
        objects = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        names = [name for kind, name, _ in objects if kind == "table" and name not in _OF_THE_PROGRAM]
        return {
            "revision": connection.execute("SELECT version_num FROM alembic_version").fetchone()[0],
            "schema": hashlib.sha256(repr(objects).encode()).hexdigest()[:12],
            "rows": sum(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names),
            "sound": connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            and not connection.execute("PRAGMA foreign_key_check").fetchall(),
        }
    finally:
        connection.close()


if __name__ == "__main__":
    main()
