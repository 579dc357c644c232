"""Copies of the database: sound at any moment, thinned by a rule, never lost to one that failed."""

from __future__ import annotations

import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwatch.errors import StorageError
from lightwatch.structure import backups, database, upgrade
from lightwatch.structure.backups import BEFORE_MIGRATION, BEFORE_RUN, BY_HAND, backup, copies, kept
from lightwatch.structure.database import open_engine

MOMENTS = st.lists(st.datetimes(datetime(2020, 1, 1), datetime(2023, 12, 31)), max_size=60)
NIGHTS = [datetime(2026, 1, 1, 9) + timedelta(days=k) for k in range(365)]


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'database.sqlite3'}")
    upgrade.upgrade(engine)
    yield engine
    engine.dispose()


# ---------------------------------------------------------------- the rule
@given(MOMENTS)
def test_the_newest_is_kept_and_at_most_seventeen_are(moments):
    keep = kept(moments)
    assert keep <= set(moments)
    assert len(keep) <= 7 + 4 + 6
    if moments:
        assert max(moments) in keep


@given(MOMENTS)
def test_what_is_kept_is_the_newest_of_its_day_and_all_recent_periods_are_held(moments):
    keep = kept(moments)
    for moment in keep:
        assert moment == max(other for other in moments if other.date() == moment.date())
    for period, count in (
        (datetime.date, 7),
        (lambda m: m.isocalendar()[:2], 4),
        (lambda m: (m.year, m.month), 6),
    ):
        latest = sorted({period(m) for m in moments})[-count:]
        assert set(latest) <= {period(m) for m in keep}


@given(MOMENTS)
def test_keeping_twice_changes_nothing(moments):
    assert kept(kept(moments)) == kept(moments)


@given(MOMENTS)
def test_thinning_as_copies_come_keeps_what_thinning_at_the_end_keeps_of_the_latest_days(moments):
    keep: set[datetime] = set()
    for moment in sorted(set(moments)):
        keep = kept(keep | {moment})
    assert sorted({m.date() for m in keep})[-7:] == sorted({m.date() for m in moments})[-7:]


def test_a_year_of_nights_leaves_days_weeks_and_months():
    keep: set[datetime] = set()
    for moment in NIGHTS:
        keep = kept(keep | {moment})
    ages = sorted((NIGHTS[-1] - moment).days for moment in keep)
    assert ages == [*range(7), 11, 18, 31, 61, 92, 122, 153]


# ---------------------------------------------------------------- files
def _name(engine, moment, label):
    return (
        backups._directory(backups.Path(engine.url.database))
        / f"database-{moment:%Y%m%dT%H%M%S%f}-{label}.sqlite3"
    )


def test_copies_hold_everything_and_only_the_automatic_ones_are_thinned(engine, tmp_path):
    by_hand = [backup(engine, BY_HAND), backup(engine, BY_HAND)]
    for i in range(3):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"INSERT INTO rois (name, ra, dec) VALUES ('r{i}', 1.0, 2.0)")
        last = backup(engine, BEFORE_RUN)
    assert [copy.path for copy in copies(tmp_path / "database.sqlite3")] == [*by_hand, last]
    connection = sqlite3.connect(f"file:{last}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("SELECT count(*) FROM rois").fetchone() == (3,)
    connection.close()
    assert not list((tmp_path / "backups").glob("*-wal")), "a copy is one file, even after it was looked at"


def test_a_year_of_copies_becomes_few_and_strangers_stay(engine, tmp_path):
    (tmp_path / "backups").mkdir()
    for moment in NIGHTS:
        _name(engine, moment, BEFORE_RUN).touch()
    strangers = [tmp_path / "backups" / name for name in ("notes.txt", "database-mine.sqlite3")]
    for path in strangers:
        path.touch()
    last = backup(engine, BEFORE_RUN)
    left = sorted((tmp_path / "backups").glob("*before-run*"))
    assert last in left
    assert 7 <= len(left) <= 17
    assert all(path.exists() for path in strangers)


def test_a_clock_that_was_set_back_does_not_cost_the_copy_just_made(engine, tmp_path):
    (tmp_path / "backups").mkdir()
    for k in range(30):
        _name(engine, datetime(2090, 1, 1) + timedelta(days=40 * k), BEFORE_RUN).touch()
    assert backup(engine, BEFORE_RUN).exists()


def test_a_copy_that_fails_costs_no_older_one(engine, tmp_path, monkeypatch):
    good = backup(engine, BEFORE_RUN)

    def fails(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database, "_copy_database", fails)
    with pytest.raises(StorageError, match="No space left"):
        backup(engine, BEFORE_RUN)
    assert list((tmp_path / "backups").iterdir()) == [good]


def test_a_damaged_database_is_not_written_to_and_costs_no_copy(engine, tmp_path):
    older = [backup(engine, BEFORE_RUN) for _ in range(2)]
    engine.dispose()
    path = tmp_path / "database.sqlite3"
    content = bytearray(path.read_bytes())
    content[8192:40960] = bytes(32768)
    path.write_bytes(content)
    left = [copy.path for copy in copies(path)]
    assert older[-1] in left
    for label in (BEFORE_RUN, BEFORE_MIGRATION):
        with pytest.raises(
            StorageError, match=r"^database .* is damaged \(.*older copies are kept.*db restore"
        ):
            backup(engine, label)
        assert [copy.path for copy in copies(path)] == left
    assert backup(engine, BY_HAND), "what is left of it can be kept"


def test_leftovers_of_a_killed_process_go_and_a_copy_in_the_making_stays(engine, tmp_path):
    (tmp_path / "backups").mkdir()
    old, new = tmp_path / "backups" / ".a.sqlite3.1.tmp", tmp_path / "backups" / ".b.sqlite3.2.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    backup(engine, BEFORE_RUN)
    assert not old.exists()
    assert new.exists()


def test_a_server_is_not_copied_here():
    class Server:
        class dialect:
            name = "postgresql"

    assert backup(Server(), BY_HAND) is None


def test_the_time_of_a_copy_is_read_from_its_name(engine, tmp_path):
    before = datetime.now(UTC)
    backup(engine, BY_HAND)
    (copy,) = copies(tmp_path / "database.sqlite3")
    assert before <= copy.made <= datetime.now(UTC)
    assert copy.label == BY_HAND
