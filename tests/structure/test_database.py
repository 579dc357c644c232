"""Engine, transactions, upsert: everything or nothing, no stale column, no wrong type, no dangling row."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest
from sqlalchemy import Double, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from lightwatch.errors import SchemaError, StorageError
from lightwatch.structure import database, schema, upgrade
from lightwatch.structure.backups import backup
from lightwatch.structure.database import open_engine, open_reader, quick_check, transaction, upsert
from lightwatch.structure.views import VIEWS

FILE = {"path": "/raw/a.fits", "size": 1, "mtime_ns": 2, "inode": 3, "state": "imported", "recipe": "r"}
FRAME = {
    "id": 1, "content_hash": "c", "original_image_path": "/raw/a.fits", "image_relpath": "frames/a.fits",
    "mjd": 60000.0, "mjd_mid": 60000.1, "exptime": 30.0, "gain": 1.0, "naxis1": 10, "naxis2": 10, "recipe": "r",
}  # fmt: skip


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'database.sqlite3'}"


@pytest.fixture
def engine(url):
    engine = open_engine(url)
    upgrade.upgrade(engine)
    yield engine
    assert quick_check(engine, full=True) == []
    engine.dispose()


def _all(engine, table):
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def test_pragmas_of_writer_and_reader(engine, url):
    with engine.connect() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {p}").scalar()
            for p in ("journal_mode", "synchronous", "foreign_keys", "page_size")
        ]
    assert values == ["wal", 2, 1, 8192]
    reader = open_reader(url)
    with reader.connect() as connection, pytest.raises(DBAPIError, match="readonly"):
        connection.execute(insert(schema.files).values(FILE))
    reader.dispose()


@pytest.mark.parametrize("name", ["per%41cent", "ha#sh", "que?st", "a b"])
def test_any_directory_name_will_do(tmp_path, name):
    path = tmp_path / name / "database.sqlite3"
    path.parent.mkdir()
    writer, reader = open_engine(f"sqlite:///{path}"), open_reader(f"sqlite:///{path}")
    upgrade.upgrade(writer)
    assert _all(reader, schema.files) == []
    copy = backup(writer, "test")
    assert path.is_file()
    assert copy.parent.parent == path.parent
    assert [child.name for child in tmp_path.iterdir()] == [name]
    writer.dispose()
    reader.dispose()


def test_a_failed_transaction_leaves_nothing(engine):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117 - raised within
        with transaction(engine) as connection:
            connection.execute(insert(schema.files).values(FILE))
            raise ZeroDivisionError
    assert _all(engine, schema.files) == []
    with transaction(engine) as connection:  # and the next one is not disturbed by it
        connection.execute(insert(schema.files).values(FILE))
    assert len(_all(engine, schema.files)) == 1


def test_a_reader_neither_waits_nor_sees_half_a_transaction(engine, url):
    reader = open_reader(url)
    with transaction(engine) as connection:
        connection.execute(insert(schema.files).values(FILE))
        assert _all(reader, schema.files) == []
    assert len(_all(reader, schema.files)) == 1
    reader.dispose()


def test_a_reader_that_forgets_its_transaction_stops_no_writer(engine, url):
    reader = open_reader(url)
    forgotten = reader.connect()
    forgotten.execute(select(schema.files)).all()
    with transaction(engine) as connection:
        connection.execute(insert(schema.files).values(FILE))
    forgotten.close()
    reader.dispose()
    assert len(_all(engine, schema.files)) == 1


def test_a_locked_database_is_waited_for_but_not_for_ever(engine, url, monkeypatch, tmp_path):
    other = sqlite3.connect(tmp_path / "database.sqlite3", check_same_thread=False, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.4, lambda: other.execute("COMMIT"))
    timer.start()
    with transaction(engine) as connection:
        connection.execute(insert(schema.files).values(FILE))
    timer.join()
    monkeypatch.setattr(database, "_BUSY_MS", 100)
    impatient = open_engine(url)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked"), transaction(impatient):
        pass
    other.execute("ROLLBACK")
    other.close()
    impatient.dispose()


@pytest.fixture
def impatient(engine, url, monkeypatch):
    """An engine whose pool gives up on a connection at once."""
    monkeypatch.setattr(database, "_CONNECTION_SECONDS", 0.05)
    impatient = open_engine(url)
    yield impatient
    impatient.dispose()


def test_a_thread_that_writes_is_waited_for_however_long_or_not_at_all(impatient):
    begun, may_end = threading.Event(), threading.Event()

    def stall():
        with transaction(impatient) as connection:
            connection.execute(insert(schema.files).values(FILE))
            begun.set()
            may_end.wait(10)

    thread = threading.Thread(target=stall)
    thread.start()
    begun.wait(10)
    with pytest.raises(StorageError, match="another thread"), transaction(impatient, wait=False):
        pass
    threading.Timer(0.5, may_end.set).start()
    with transaction(impatient) as connection:
        assert connection.execute(select(schema.files)).all(), "the other one was committed first"
    thread.join()
    with transaction(impatient, wait=False):
        pass


def test_a_connection_that_is_not_to_be_had_is_told_in_a_line(impatient):
    with transaction(impatient):
        with pytest.raises(StorageError, match="all connections"), transaction(impatient):
            pass
        with pytest.raises(StorageError, match="all connections"):
            database.checkpoint(impatient)


def test_only_a_lock_is_waited_for(engine, monkeypatch):
    """A full disk, a damaged file, a wrong column: told at once, not tried again."""
    begun = time.monotonic()
    with transaction(engine) as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # it becomes the number of pages there are
    rows = [{**FILE, "path": f"/raw/{i:05d}.fits"} for i in range(5000)]
    with pytest.raises(StorageError, match="full"), transaction(engine) as connection:
        connection.execute(insert(schema.files), rows)
    with pytest.raises(SchemaError, match="no such column"), transaction(engine) as connection:
        connection.exec_driver_sql("UPDATE files SET colour = 1")
    assert time.monotonic() - begun < 5
    assert _all(engine, schema.files) == []


def test_the_log_is_emptied_as_far_as_readers_let_it(engine, tmp_path):
    log = tmp_path / "database.sqlite3-wal"
    rows = [{**FILE, "path": f"/raw/{i:05d}.fits", "reason": "x" * 2000} for i in range(20_000)]
    forgetful = sqlite3.connect(f"file:{tmp_path}/database.sqlite3?mode=ro", uri=True, isolation_level=None)
    forgetful.execute("BEGIN")
    forgetful.execute("SELECT count(*) FROM files").fetchall()
    with transaction(engine) as connection:
        connection.execute(insert(schema.files), rows)
    begun = time.monotonic()
    database.checkpoint(engine)
    assert time.monotonic() - begun < 5, "who forgot is not waited for"
    assert log.stat().st_size > database._LOG_BYTES
    forgetful.execute("COMMIT")
    forgetful.close()
    database.checkpoint(engine)
    assert log.stat().st_size == 0
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == database._BUSY_MS


def test_a_log_that_cannot_be_emptied_is_a_matter_of_the_disk(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'nowhere' / 'database.sqlite3'}")
    with pytest.raises(StorageError, match="unable to open"):
        database.checkpoint(engine)


def test_a_server_has_no_log():
    class Server:
        class dialect:
            name = "postgresql"

    database.checkpoint(Server())
    assert database.dangling_rows(Server()) == {}


def test_an_unwritable_database_is_told_at_once(tmp_path):
    path = tmp_path / "nowhere" / "database.sqlite3"
    with pytest.raises(StorageError, match="unable to open"), transaction(open_engine(f"sqlite:///{path}")):
        pass


def test_upsert_replaces_every_column(engine):
    with transaction(engine) as connection:
        upsert(connection, schema.files, [{**FILE, "reason": "old", "content_hash": "x"}])
        upsert(connection, schema.files, [{**FILE, "state": "quarantined"}])
    row = _all(engine, schema.files)[0]
    assert (row["state"], row["reason"], row["content_hash"]) == ("quarantined", None, None)


def test_upsert_of_rows_with_different_columns(engine):
    other = {**FILE, "path": "/raw/b.fits"}
    with transaction(engine) as connection:
        upsert(connection, schema.files, [{**FILE, "reason": "why"}, other])
        upsert(connection, schema.files, [])
    assert [row["reason"] for row in _all(engine, schema.files)] == ["why", None]
    with pytest.raises(SchemaError, match="no column colour"), transaction(engine) as connection:
        upsert(connection, schema.files, [{**FILE, "colour": 1}])


@pytest.mark.parametrize("column", ["mjd", "exptime", "gain", "airmass", "seeing_pixels"])
@pytest.mark.parametrize("value", ["much", float("inf"), float("-inf"), 1e301])
def test_text_and_infinities_are_no_numbers(engine, column, value):
    """Neither from the pipeline nor from a user's own SQL."""
    with pytest.raises(StatementError), transaction(engine) as connection:
        connection.execute(insert(schema.frames).values({**FRAME, column: value}))
    with transaction(engine) as connection:
        connection.execute(insert(schema.frames).values(FRAME))
    with pytest.raises(IntegrityError), transaction(engine) as connection:
        connection.exec_driver_sql(f"UPDATE frames SET {column} = ?", (value,))
    assert len(_all(engine, schema.frames)) == 1


@pytest.mark.parametrize(
    "change", [{"exptime": -1.0}, {"exptime": 0.0}, {"gain": 0.0}, {"mjd": None}, {"eliminated": 2},
               {"plate_solved": "yes"}, {"exptime": float("nan")}]
)  # fmt: skip
def test_impossible_frames_are_refused(engine, change):
    with pytest.raises((IntegrityError, DBAPIError)), transaction(engine) as connection:
        connection.execute(insert(schema.frames).values({**FRAME, **change}))


def test_every_table_is_strict_and_every_number_is_checked(engine):
    with engine.connect() as connection:
        for table in schema.metadata.sorted_tables:
            sql = connection.exec_driver_sql(
                f"SELECT sql FROM sqlite_master WHERE name = '{table.name}'"
            ).scalar()
            assert sql.rstrip().endswith("STRICT"), table.name
            for column in table.columns:
                if isinstance(column.type, Double):
                    assert f"abs({column.name}) < 1e300" in sql, (table.name, column.name)


def test_rows_go_with_their_frame(engine):
    with transaction(engine) as connection:
        connection.execute(insert(schema.frames).values(FRAME))
        connection.execute(insert(schema.footprints).values(frame_id=1, polygon="[]", recipe="r"))
        connection.execute(insert(schema.files).values({**FILE, "frame_id": 1}))
    with pytest.raises(IntegrityError), transaction(engine) as connection:
        connection.execute(insert(schema.footprints).values(frame_id=99, polygon="[]", recipe="r"))
    with transaction(engine) as connection:
        connection.execute(schema.frames.delete())
    assert _all(engine, schema.footprints) == []
    assert _all(engine, schema.files)[0]["frame_id"] is None


def test_unknown_states_are_refused(engine):
    with pytest.raises(IntegrityError), transaction(engine) as connection:
        connection.execute(insert(schema.files).values({**FILE, "state": "fine"}))


@pytest.mark.parametrize("view", VIEWS)
def test_views_exist_and_run_on_an_empty_database(engine, view):
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT * FROM {view}").all() == []


@pytest.mark.parametrize("view", VIEWS)
def test_views_have_rows_after_a_night(night, view):
    n = {
        "progress": 11,
        "current_psfs": 6,
        "current_star_fluxes": 60,
        "frame_quality": 6,
        "light_curves": 18,
    }[view]
    assert night.sql(f"SELECT count(*) FROM {view}") == [(n,)]


def test_damage_of_the_file_is_found(engine, tmp_path):
    with transaction(engine) as connection:
        rows = [{**FILE, "path": f"/raw/{i:05d}.fits"} for i in range(2000)]
        connection.execute(insert(schema.files), rows)
    engine.dispose()
    path = tmp_path / "database.sqlite3"
    copy = tmp_path / "damaged.sqlite3"
    content = bytearray(path.read_bytes())
    content[-20000:-15000] = b"\x00" * 5000
    copy.write_bytes(content)
    damaged = open_engine(f"sqlite:///{copy}")
    assert quick_check(damaged, full=True)
    damaged.dispose()


def test_network_file_systems_are_recognised(tmp_path, monkeypatch):
    assert database.network_file_system(tmp_path) is None
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/export {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(
        database, "Path", lambda text: mounts if text == "/proc/self/mounts" else type(tmp_path)(text)
    )
    assert database.network_file_system(tmp_path / "below") == "nfs4"
