"""A copy of the database is put back whole; what was there is kept; an unfit copy changes nothing."""

from __future__ import annotations

import sqlite3

import pytest
from reliability.schema_rows import SCHEMAS, load

from lightwatch.errors import SchemaError, StorageError
from lightwatch.structure import failpoint, upgrade
from lightwatch.structure.backups import BY_HAND, backup
from lightwatch.structure.database import open_engine
from lightwatch.structure.restore import restore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "database.sqlite3"


@pytest.fixture
def copy(path):
    """A copy with one ROI; the database has two by now."""
    engine = open_engine(f"sqlite:///{path}")
    upgrade.upgrade(engine)
    _add(engine, "one")
    copy = backup(engine, BY_HAND)
    _add(engine, "two")
    engine.dispose()
    return copy


def _add(engine, name):
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO rois (name, ra, dec) VALUES (?, 1.0, 2.0)", (name,))


def _rois(path):
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT name FROM rois ORDER BY name")]
    finally:
        connection.close()


def test_the_copy_is_put_back_and_the_old_one_kept(path, copy):
    aside = restore(path, copy)
    assert _rois(path) == ["one"]
    assert _rois(aside) == ["one", "two"]
    assert aside.name.endswith("-replaced.sqlite3")
    assert restore(path, aside)
    assert _rois(path) == ["one", "two"], "and back again"


def test_commits_that_are_only_in_the_log_are_kept_aside_and_not_mixed_in(path, copy):
    engine = open_engine(f"sqlite:///{path}")
    _add(engine, "three")
    held = sqlite3.connect(f"file:{path}?mode=ro", uri=True)  # a log is removed when its last reader goes
    held.execute("SELECT count(*) FROM rois").fetchall()
    engine.dispose()
    aside = restore(path, copy)
    held.close()
    assert _rois(path) == ["one"]
    assert _rois(aside) == ["one", "three", "two"]


def test_a_lost_database_is_restored(path, copy):
    path.unlink()
    assert restore(path, copy) is None
    assert _rois(path) == ["one"]


def test_a_damaged_database_is_replaced_and_kept(path, copy):
    path.write_bytes(b"not a database" * 1000)
    path.with_name(path.name + "-wal").write_bytes(b"nor a log")
    aside = restore(path, copy)
    assert _rois(path) == ["one"]
    assert aside.read_bytes() == b"not a database" * 1000
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"nor a log"


def test_an_older_copy_is_upgraded_by_the_next_run(path, copy, tmp_path):
    old = tmp_path / "old.sqlite3"
    load(SCHEMAS / "0001.sql", old)
    restore(path, old)
    engine = open_engine(f"sqlite:///{path}")
    assert upgrade.upgrade(engine)
    engine.dispose()
    assert _rois(path) == ["target"]


@pytest.mark.parametrize(
    ("make", "kind", "told"),
    [
        (lambda p: None, StorageError, "no such file"),
        (lambda p: p.write_bytes(b"x" * 5000), StorageError, "damaged"),
        (lambda p: sqlite3.connect(p).executescript("CREATE TABLE mine (a)"), SchemaError, "no tables"),
        (
            lambda p: sqlite3.connect(p).executescript("CREATE TABLE frames (a)"),
            SchemaError,
            "not lightwatch",
        ),
    ],
)
def test_an_unfit_copy_changes_nothing(path, copy, tmp_path, make, kind, told):
    unfit = tmp_path / "unfit.sqlite3"
    make(unfit)
    with pytest.raises(kind, match=told):
        restore(path, unfit)
    assert _rois(path) == ["one", "two"]
    assert list((tmp_path / "backups").iterdir()) == [copy]


def test_a_newer_copy_is_refused(path, copy):
    connection = sqlite3.connect(copy)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(SchemaError, match="newer lightwatch"):
        restore(path, copy)
    assert _rois(path) == ["one", "two"]


def test_a_program_that_holds_the_log_is_named_as_the_reason(path, copy):
    engine = open_engine(f"sqlite:///{path}")
    _add(engine, "three")
    held = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    held.execute("BEGIN")
    held.execute("SELECT count(*) FROM rois").fetchall()
    _add(engine, "four")
    with pytest.raises(StorageError, match="another program has it open"):
        restore(path, copy)
    held.close()
    engine.dispose()
    assert _rois(path) == ["four", "one", "three", "two"]


def test_interrupted_at_any_step_there_is_a_whole_database(path, copy, monkeypatch):
    class Interrupted(Exception):
        pass

    def stop_at(step):
        steps = iter(range(1000))

        def reached(*_what):
            if next(steps) == step:
                raise Interrupted

        monkeypatch.setattr(failpoint, "reached", reached)

    for step in range(100):
        stop_at(step)
        try:
            restore(path, copy)
            break
        except Interrupted:
            assert _rois(path) in (["one", "two"], ["one"])
    assert step > 5
    assert _rois(path) == ["one"]
