"""Putting a copy of the database back; what was there is kept aside."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.exc import DBAPIError

from lightwatch.errors import SchemaError, StorageError
from lightwatch.structure import backups, upgrade
from lightwatch.structure.database import backup_sqlite, open_reader, quick_check
from lightwatch.structure.files import put_whole, remove
from lightwatch.structure.workspace import Workspace

_HEADER = b"SQLite format 3\0"


def restore(database: Path, copy: Path) -> Path | None:
    """Make ``copy`` the database, for the holder of the lock; where the old one is kept aside, or None without one.

    Whenever this is interrupted, there is a whole database: the old one or the copy.

    Raises
    ------
    StorageError
        When the copy is missing or damaged, or a program has the database open.
    SchemaError
        When it is no database of lightwatch, or of a newer version.
    """
    _refuse_unfit(copy)
    aside = None
    if database.exists():
        _fold_log(database)
        aside = backups.new_copy_path(database, backups.REPLACED)
        for suffix in ("-wal", ""):  # a damaged database may leave its log unfolded
            source = Path(f"{database}{suffix}")
            if source.exists():
                put_whole(Path(f"{aside}{suffix}"), partial(shutil.copyfile, source))
    for suffix in ("-wal", "-shm"):  # or SQLite would take them for the copy's
        remove(Path(f"{database}{suffix}"))
    backup_sqlite(copy, database)
    return aside


def refuse_other_runs(workspace: Workspace) -> None:
    """As the workspace does, where the database is so far whole that it can tell of runs.

    Raises
    ------
    AnotherRunActive
        Naming the run.
    """
    if workspace.has_database:
        with suppress(DBAPIError), workspace.reader.connect() as connection:
            workspace.refuse_other_runs(connection)
    workspace.close()


def _refuse_unfit(copy: Path) -> None:
    if not copy.is_file():
        raise StorageError(f"{copy}: no such file")
    engine = open_reader(f"sqlite:///{copy}")
    try:
        problems = quick_check(engine, full=True)
        if problems:
            raise StorageError(f"{copy}: damaged: {problems[0]}; nothing was changed, choose another copy")
        if upgrade.known_revision(engine) is None:
            raise SchemaError(f"{copy}: holds no tables of lightwatch; nothing was changed")
    finally:
        engine.dispose()


def _fold_log(database: Path) -> None:
    """Bring the write-ahead log into the file, where the file is sound enough."""
    with database.open("rb") as stream:
        if (
            stream.read(len(_HEADER)) != _HEADER
        ):  # SQLite would remove the log of what it takes for no database
            return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=rw", uri=True)) as connection:
            held = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.DatabaseError:  # damaged: it is kept aside as it is
        return
    if held:
        raise StorageError(f"{database}: another program has it open; close that and try again")
