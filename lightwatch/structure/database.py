"""Engine, pragmas, transactions and upsert: the one file that knows the dialect."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from lightwatch.errors import AnotherRunActive, SchemaError, StorageError
from lightwatch.structure import failpoint
from lightwatch.structure.counts import SERVER_VIEW, miscounted
from lightwatch.structure.database_errors import place, told
from lightwatch.structure.files import free_space, path_text, put_whole
from lightwatch.structure.lock import this_process
from lightwatch.structure.views import VIEWS

#: SQLite itself waits so long for a lock, and for nothing else: every other error is told at once
_BUSY_MS = 30_000
#: threads take turns at the one connection that writes, however long one's commit takes; that it is not free even so
#: is a transaction within another, which would wait for itself
_CONNECTION_SECONDS = 60.0
#: name of the option of an engine that holds whose turn it is to write
_TURN = "lightwatch_turn"
#: readers who are about to end are waited for before the log is emptied; those who forgot are not
_CHECKPOINT_MS = 300
#: a log that grew beyond, because of a reader who forgot to end, is cut to this when it is next emptied
_LOG_BYTES = 2**24
_WAL_RESET_MENDED = (3, 51, 3)
_SQLITE = "sqlite:///"
#: marks advisory locks as ours: 'lw'; with the schema, for several may share a database
_ADVISORY = {"kind": 0x6C77}
_HOLDERS = """
    SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = :kind AND a.datname = current_database()
    AND l.objid::bigint = hashtext(coalesce(current_schema(), ''))::bigint & 4294967295"""
#: seconds after which a server takes notice that the machine of a holder is gone (60 idle, 6 probes of 10)
_KEEPALIVES = {"tcp_keepalives_idle": "60", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "6"}
#: by which SQLite is told the order of a join; standard SQL knows no condition there
_STEERED_JOIN = re.compile(r"CROSS JOIN (\w+(?: \w+)?)\s+ON\b")
#: a row of ``frames`` takes 2.5 kB: of SQLite's 4 kB pages nearly half would stay empty, and copies take longer
_PAGE_BYTES = 8192
_APPLICATION_NAME = 63  # bytes that a server keeps
#: file systems where a write-ahead log cannot be shared between machines
_NETWORK_FILE_SYSTEMS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "fuse.ceph", "lustre", "gpfs", "beegfs", "fuse.sshfs", "afs",
}  # fmt: skip


def parsed(url: str) -> URL:
    """All that follows ``sqlite:///`` is the path, whatever characters are in it."""
    is_path = url.startswith(_SQLITE)
    return URL.create("sqlite", database=url.removeprefix(_SQLITE)) if is_path else make_url(url)


def open_engine(url: str) -> Engine:
    """Engine that writes, by one connection. SQLite: WAL on local disks, full sync, foreign keys, BEGIN IMMEDIATE."""
    engine = create_engine(
        parsed(url),
        pool_size=1,
        max_overflow=0,
        pool_timeout=_CONNECTION_SECONDS,
        execution_options={_TURN: threading.RLock()},
    )
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
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA foreign_keys = ON")
        if journal is not None:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # heeded where there is no database yet
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
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
        point = point.replace("\\040", " ")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) > len(best[0]):
            best = (point, kind)
    return best[1] if best[1].lower() in _NETWORK_FILE_SYSTEMS else None


@contextmanager
def transaction(engine: Engine, *, wait: bool = True) -> Iterator[Connection]:
    """One writing transaction: everything or nothing.

    Another thread's transaction is waited for as long as it takes, or, with ``wait`` false, not at all.

    Raises
    ------
    StorageError
        When the database is full, read-only, damaged, not to be reached, or locked by another program for longer than
        half a minute; when another thread writes and is not to be waited for.
    ConfigError, SchemaError
        When a server refuses name or password; when tables are not those of this version.
    """
    with _turn(engine, wait):
        with _telling(engine.url):
            connection = engine.connect()
            connection.begin()
        try:
            yield connection
            failpoint.reached("commit", _path(engine))
            connection.commit()
            failpoint.reached("committed", _path(engine))
        except OperationalError as error:
            raise told(engine.url, error) or error from error
        finally:
            connection.close()


@contextmanager
def _turn(engine: Engine, wait: bool) -> Iterator[None]:
    turn = engine.get_execution_options()[_TURN]
    if not turn.acquire(blocking=wait):
        raise StorageError(f"database {place(engine.url)}: another thread is writing")
    try:
        yield
    finally:
        turn.release()


@contextmanager
def _telling(url: URL) -> Iterator[None]:
    try:
        yield
    except (DBAPIError, NoConnection, sqlite3.OperationalError) as error:
        raise told(url, error) or error from error


@contextmanager
def hold_server(url: str) -> Iterator[None]:
    """Hold the database of a server by an advisory lock on a connection of its own, whose end frees it.

    No query ever runs on it meanwhile, or the server would not take notice of its end before the query's.

    Raises
    ------
    AnotherRunActive
        Naming the holder.
    StorageError, ConfigError
        When the server cannot be reached, or refuses.
    """
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with _telling(engine.url):
        connection = engine.connect()
    try:
        with _telling(engine.url):
            _take_advisory_lock(connection)
        yield
    finally:
        connection.close()


def _take_advisory_lock(connection: Connection) -> None:
    settings = {**_KEEPALIVES, "application_name": this_process()[:_APPLICATION_NAME]}
    for name, value in settings.items():
        connection.execute(text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value})
    free = text("SELECT pg_try_advisory_lock(:kind, hashtext(coalesce(current_schema(), '')))")
    if not connection.execute(free, _ADVISORY).scalar():
        holder = connection.execute(text(_HOLDERS), _ADVISORY).scalar() or "a process that has just ended"
        raise AnotherRunActive(
            f"another run is active on the database {place(connection.engine.url)}: {holder}"
        )


def _path(engine: Engine) -> Path:
    """File of an SQLite database; of a server, the name of the database."""
    return Path(engine.url.database or ".")


def checkpoint(engine: Engine) -> None:
    """Bring the write-ahead log into the database and empty it, as far as readers let it; for the lock holder.

    Raises StorageError.
    """
    if engine.dialect.name != "sqlite":
        return
    with _telling(engine.url), closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")


def remark_on_sqlite() -> str:
    """What is worth knowing about the SQLite of this Python; '' for one without known fault."""
    if sqlite3.sqlite_version_info >= _WAL_RESET_MENDED:
        return ""
    return (
        f"SQLite {sqlite3.sqlite_version} of this Python: before 3.51.3, two programs that write to a database at the "
        "same moment may damage it (WAL-reset bug); lightwatch writes with one alone, so that nothing is to be done, "
        "but let programs of your own only read it (docs/reliability.md, One writer)"
    )


def remark_on_disk(database: Path) -> str:
    """What is worth knowing about the disk that a database is on; '' for a local one."""
    kind = network_file_system(database.parent)
    if kind is None:
        return ""
    return (
        f"{database.parent} is on a network file system ({kind}): readers and the run wait for each other there, "
        "and no two machines should run it; a local disk, or PostgreSQL by database.url, is better"
    )


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
    """(Re)create the views for users; on a server also the one that counts what SQLite keeps in a table."""
    views = VIEWS if connection.dialect.name == "sqlite" else {"task_counts": SERVER_VIEW, **VIEWS}
    for name in reversed(views):
        connection.execute(text(f'DROP VIEW IF EXISTS "{name}"'))
    for name, body in views.items():
        if connection.dialect.name != "sqlite":
            body = _STEERED_JOIN.sub(r"JOIN \1 ON", body)
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
            found += [
                f"{count} rows of {table} without the row of {partner} that they belong to"
                for (table, partner), count in dangling_rows(connection).items()
            ]
            wrong = miscounted(connection)
            found += [f"task_counts: {wrong} of them disagree with task_results"] * bool(wrong)
    except DBAPIError as error:  # damaged so far that SQLite cannot go on looking
        found.append(str(error.orig))
    return found


def damage_of(database: Path) -> str:
    """The first problem of the structure of an SQLite file that nobody writes to; empty when it is sound."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
            (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:  # damaged so far that SQLite cannot go on looking
        return str(error)
    return "" if first == "ok" else " ".join(str(first).split())


def dangling_rows(connection: Connection) -> Counter[tuple[str, str]]:
    """Number of rows whose foreign key points to nothing, by table and the table pointed to."""
    if connection.dialect.name != "sqlite":  # a server lets none in
        return Counter()
    found = connection.exec_driver_sql("PRAGMA foreign_key_check")
    return Counter((row[0], row[2]) for row in found)


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
            writer.execute("PRAGMA journal_mode = DELETE")  # so that who opens it leaves no log beside it
    except sqlite3.Error as error:
        raise StorageError(
            f"{path_text(target.parent)}: no copy of the database could be made: {error} ({free_space(target.parent)})"
        ) from error
