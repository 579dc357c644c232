"""A database is created, kept, refused when newer or foreign, and copied before it is changed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from lightwatch.errors import SchemaError, StorageError
from lightwatch.structure import schema, upgrade
from lightwatch.structure.backups import BEFORE_RUN, copies
from lightwatch.structure.database import open_engine
from lightwatch.structure.views import VIEWS


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'database.sqlite3'}")
    yield engine
    engine.dispose()


def test_new_database_has_all_tables_at_head(engine):
    assert upgrade.current_revision(engine) is None
    assert upgrade.upgrade(engine)
    scripts = Path(upgrade.__file__).parent / "migrations" / "versions"
    assert upgrade.current_revision(engine) == max(path.name[:4] for path in scripts.glob("0*.py"))
    with engine.connect() as connection:
        names = {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master")}
    assert set(schema.metadata.tables) | set(VIEWS) <= names
    assert not upgrade.upgrade(engine), "nothing to do the second time"


@pytest.mark.parametrize("there", [True, False])
def test_migrations_that_cannot_be_read_are_no_newer_database(engine, tmp_path, monkeypatch, there):
    upgrade.upgrade(engine)
    config = upgrade._alembic()
    config.set_main_option("script_location", str(tmp_path / "migrations"))
    if there:
        (tmp_path / "migrations").mkdir()
    monkeypatch.setattr(upgrade, "_alembic", lambda: config)
    with pytest.raises(StorageError, match="cannot be read"):
        upgrade.upgrade(engine)


def test_newer_database_is_refused(engine):
    upgrade.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="newer lightwatch"):
        upgrade.upgrade(engine)


def test_foreign_database_is_refused_and_untouched(tmp_path):
    path = tmp_path / "database.sqlite3"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE frames (id INTEGER PRIMARY KEY, mine TEXT)")
    foreign.commit()
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(SchemaError, match="not lightwatch's"):
        upgrade.upgrade(engine)
    assert [row[0] for row in foreign.execute("SELECT name FROM sqlite_master")] == ["frames"]
    foreign.close()
    engine.dispose()


def test_a_run_that_changes_something_keeps_a_copy_of_what_was(workdir):
    from lightwatch.structure.workspace import Workspace

    before = {copy.path for copy in copies(workdir.path / "database.sqlite3")}
    workdir.run()
    assert {copy.path for copy in copies(workdir.path / "database.sqlite3")} == before, "nothing was done"
    workdir.configure("{kind: serial}", "{kind: serial}\nnormalization: {min_snr: 21}")
    workdir.run(only="calculate_normalization_coefficient")
    newest = copies(workdir.path / "database.sqlite3")[-1]
    assert newest.label == BEFORE_RUN
    assert newest.path not in before
    connection = sqlite3.connect(newest.path)
    assert connection.execute("SELECT count(*) FROM roi_flux").fetchone() == (18,)
    connection.close()
    assert isinstance(workdir.open(), Workspace)
