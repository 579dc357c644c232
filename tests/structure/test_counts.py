"""The counts kept of the results are those of the results, whoever changes these and however."""

from __future__ import annotations

import sqlite3

import pytest
from reliability.generated_workdir import FOOTPRINT, make_generated
from sqlalchemy import update

from lightwatch.structure import schema, upgrade
from lightwatch.structure.counts import miscounted, recount
from lightwatch.structure.database import open_engine, quick_check, transaction, upsert
from lightwatch.structure.verify import repair, verify

KEY = {"task": "psf_modeling", "combined_footprint_hash": FOOTPRINT, "frame_id": 3}


@pytest.fixture
def workdir(tmp_path):
    return make_generated(tmp_path / "w", 8, n_stars=2)


def counts(workdir):
    return {
        (task, state, recipe): n
        for task, state, recipe, n in workdir.sql("SELECT task, state, recipe, n FROM task_counts")
    }


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM task_results WHERE task = 'psf_modeling' AND frame_id > 5",
        "DELETE FROM task_results",
        "DELETE FROM frames WHERE id = 3",
        "UPDATE task_results SET state = 'rejected', reason_code = 'x' WHERE frame_id IN (2, 4)",
        "UPDATE task_results SET recipe = 'other'",
        "UPDATE task_results SET seconds = 7",
        "UPDATE task_results SET frame_id = frame_id + 100 WHERE 0",
        "INSERT INTO task_results SELECT * FROM task_results WHERE true ON CONFLICT DO UPDATE SET state = 'error'",
        "INSERT OR IGNORE INTO task_results SELECT * FROM task_results",
        "INSERT OR REPLACE INTO task_results (task, combined_footprint_hash, frame_id, state, recipe) "
        "VALUES ('new', '', 3, 'done', 'r')",
    ],
)
def test_counts_follow_every_change(workdir, change):
    before = counts(workdir)
    workdir.change(change)
    workdir.check_database()
    assert (counts(workdir) == before) == ("seconds" in change or "IGNORE" in change or "WHERE 0" in change)


def test_counts_follow_the_run(workdir):
    engine = open_engine(f"sqlite:///{workdir.path / 'database.sqlite3'}")
    for state in ("error", "error", "done"):
        with transaction(engine) as connection:
            upsert(connection, schema.task_results, [{**KEY, "state": state, "recipe": "new"}])
        workdir.check_database()
    assert counts(workdir)["psf_modeling", "done", "new"] == 1
    with engine.begin() as connection:
        connection.execute(update(schema.task_results).values(state="rejected"))
        connection.rollback()
    workdir.check_database()
    engine.dispose()


def test_wrong_counts_are_found_and_mended(workdir):
    """'INSERT OR REPLACE' by hand is the one way past the triggers: SQLite tells them nothing of what it replaces."""
    workdir.change(
        "INSERT OR REPLACE INTO task_results (task, combined_footprint_hash, frame_id, state, recipe) "
        "VALUES ('psf_modeling', ?, 3, 'done', 'other')",
        FOOTPRINT,
    )
    workspace = workdir.open()
    found = verify(workspace, full=False)
    assert found.database == ("task_counts: 1 of them disagree with task_results",)
    assert not found.sound
    repair(workspace, found)
    assert verify(workspace, full=False).database == ()
    workspace.close()
    workdir.check_database()


@pytest.mark.parametrize("name", ["task_counts_insert", "task_counts_delete", "task_counts_update"])
def test_lost_triggers_come_back_with_the_right_counts(workdir, name):
    connection = sqlite3.connect(workdir.path / "database.sqlite3")
    connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM task_results WHERE frame_id = 2")
    connection.execute("UPDATE task_results SET state = 'rejected' WHERE frame_id = 4")
    connection.commit()
    connection.close()
    engine = open_engine(f"sqlite:///{workdir.path / 'database.sqlite3'}")
    assert upgrade.upgrade(engine)
    assert not upgrade.upgrade(engine)
    assert quick_check(engine) == []
    engine.dispose()
    workdir.check_database()


def test_a_recount_of_right_counts_writes_nothing(workdir):
    engine = open_engine(f"sqlite:///{workdir.path / 'database.sqlite3'}")
    with transaction(engine) as connection:
        before = connection.exec_driver_sql("SELECT total_changes()").scalar()
        recount(connection)
        assert miscounted(connection) == 0
        assert connection.exec_driver_sql("SELECT total_changes()").scalar() == before
    engine.dispose()
