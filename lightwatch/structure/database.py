"""Engine, pragmas, transactions and upsert: the one file that knows the dialect."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from lightwatch.errors import SchemaError, StorageError
from lightwatch.structure import failpoint
from lightwatch.structure.files import free_space, path_text, put_whole
from lightwatch.structure.schema import VIEWS

#: lock errors are worth waiting for; everything else is not
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BUSY_SECONDS = 30.0
_SQLITE = "sqlite:///"
#: file systems where a write-ahead log cannot be shared between machines
_NETWORK_FILE_SYSTEMS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "fuse.ceph", "lustre", "gpfs", "beegfs", "fuse.sshfs", "afs",
}  # fmt: skip


def open_engine(url: str) -> Engine:
    """Engine that writes. SQLite: WAL on local disks, full sync, foreign keys, immediate transactions.

    All that follows ``sqlite:///`` is the path, whatever characters are in it.
    """
    is_path = url.startswith(_SQLITE)
    engine = create_engine(URL.create("sqlite", database=url.removeprefix(_SQLITE)) if is_path else url)
    if engine.dialect.name == "sqlite":
        journal = "DELETE" if network_file_system(Path(engine.url.database or ".").parent) else "WAL"
        _configure_sqlite(engine, begin="BEGIN IMMEDIATE", journal=journal)
    return engine


def open_reader(url: str) -> Engine:
    """Engine that only reads and never stands in the way of the writer."""
    if not url.startswith(_SQLITE):
        return create_engine(url, execution_options={"postgresql_readonly": True})
    path = quote(url.removeprefix(_SQLITE))
    engine = create_engine(URL.create("sqlite", database=f"file:{path}", query={"mode": "ro", "uri": "true"}))
    _configure_sqlite(engine, begin="BEGIN", journal=None)
    return engine


def _configure_sqlite(engine: Engine, *, begin: str, journal: str | None) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # the driver's own transaction handling begins deferred, which fails on a stale snapshot
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout = 10000")
        connection.execute("PRAGMA foreign_keys = ON")
        if journal is not None:
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def network_file_system(directory: Path) -> str | None:
    """Name of the network file system that holds a directory, or None for a local disk (Linux only)."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return None
    best = ("", "")
    target = str(directory.resolve())
    for line in mounts.read_text(errors="replace").splitlines():
        _device, point, kind = line.split(" ")[:3]
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) > len(best[0]):
            best = (point, kind)
    return best[1] if best[1].lower() in _NETWORK_FILE_SYSTEMS else None


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One writing transaction: everything or nothing.

    Raises
    ------
    StorageError
        When the database is full, read-only, damaged, or locked for longer than half a minute.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection = engine.connect()
            connection.begin()
            break
        except DBAPIError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise _storage_error(engine, error) from error
            time.sleep(0.05)
    try:
        yield connection
        failpoint.reached("commit", _path(engine))
        connection.commit()
        failpoint.reached("committed", _path(engine))
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.OperationalError):
            raise _storage_error(engine, error) from error
        raise
    finally:
        connection.close()


def _is_busy(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", None) in _BUSY


def _storage_error(engine: Engine, error: DBAPIError) -> StorageError:
    path = _path(engine)
    return StorageError(
        f"database {path_text(path)}: {error.orig} ({free_space(path.parent)}); "
        "nothing of this step was kept, run again when this is mended"
    )


def _path(engine: Engine) -> Path:
    """File of an SQLite database; of a server, the name of the database."""
    return Path(engine.url.database or ".")


def upsert(connection: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows; where the primary key exists, replace every other column (missing ones become NULL)."""
    rows = [dict(row) for row in rows]
    if not rows:
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    keys = [column.name for column in table.primary_key.columns]
    given = {name for row in rows for name in row}
    unknown = given - set(table.columns.keys())
    if unknown:
        raise SchemaError(f"table {table.name} has no column {', '.join(sorted(unknown))}")
    # all columns without a default of their own take part: a recomputed row never keeps a stale value
    names = [c.name for c in table.columns if c.name in given or (c.server_default is None and c.nullable)]
    update = {name: statement.excluded[name] for name in names if name not in keys}
    statement = (
        statement.on_conflict_do_update(index_elements=keys, set_=update)
        if update
        else statement.on_conflict_do_nothing(index_elements=keys)
    )
    defaults = dict.fromkeys(names)
    connection.execute(statement, [{**defaults, **row} for row in rows])


def create_views(connection: Connection) -> None:
    """(Re)create the views for users."""
    for name, body in VIEWS.items():
        connection.execute(text(f'DROP VIEW IF EXISTS "{name}"'))
        connection.execute(text(f'CREATE VIEW "{name}" AS {body}'))


def views_are_current(connection: Connection) -> bool:
    """Whether the views in the database are those of this version (only SQLite tells)."""
    if connection.dialect.name != "sqlite":
        return True
    views = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'view'"))
    stored: dict[str, str] = {row[0]: row[1] for row in views}
    return all(stored.get(name) == f'CREATE VIEW "{name}" AS {body}' for name, body in VIEWS.items())


def quick_check(engine: Engine, *, full: bool = False) -> list[str]:
    """Problems that SQLite itself finds in its file; an empty list when it is sound."""
    if engine.dialect.name != "sqlite":
        return []
    found: list[str] = []
    try:
        with engine.connect() as connection:
            pragma = "integrity_check" if full else "quick_check"
            found += [row[0] for row in connection.exec_driver_sql(f"PRAGMA {pragma}") if row[0] != "ok"]
            dangling = connection.exec_driver_sql("PRAGMA foreign_key_check")
            found += [f"foreign key: {tuple(row)}" for row in dangling]
    except DBAPIError as error:  # damaged so far that SQLite cannot go on looking
        found.append(str(error.orig))
    return found


def backup_sqlite(source: Path, target: Path) -> None:
    """Copy of a live database by SQLite's backup interface; appears whole or not at all."""
    put_whole(target, lambda temporary: _copy_database(source, temporary))


def _copy_database(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)  # of a process of this number that was killed
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as reader,
            closing(sqlite3.connect(target, isolation_level=None)) as writer,
        ):
            writer.execute("PRAGMA journal_mode = OFF")  # a copy that is not whole is thrown away
            writer.execute("PRAGMA synchronous = OFF")  # synced when it is whole
            reader.backup(writer)
    except sqlite3.Error as error:
        raise StorageError(
            f"{path_text(target.parent)}: no copy of the database could be made: {error} ({free_space(target.parent)})"
        ) from error
