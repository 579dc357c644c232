"""A database of every schema comes to the newest one with its rows, whole or not at all, and is then like a new one."""

from __future__ import annotations

import io
import re
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from reliability.schema_rows import SCHEMAS, load
from sqlalchemy import CheckConstraint, inspect
from sqlalchemy.dialects import postgresql

from lightwatch.errors import SchemaError
from lightwatch.structure import schema, upgrade
from lightwatch.structure.database import open_engine, quick_check

REVISIONS = sorted(item.revision for item in ScriptDirectory.from_config(upgrade._alembic()).walk_revisions())


def rows_of(path):
    """Rows by table, as mappings."""
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')] for name in names}
    connection.close()
    return {name: found for name, found in rows.items() if name != "alembic_version"}


@pytest.fixture(params=REVISIONS)
def old(request, tmp_path):
    """File of a database with a row in every table, left by the version of a revision."""
    path = tmp_path / "database.sqlite3"
    load(SCHEMAS / f"{request.param}.sql", path)
    return path


@pytest.fixture
def migrated(old):
    engine = open_engine(f"sqlite:///{old}")
    upgrade.upgrade(engine)
    yield engine
    assert quick_check(engine, full=True) == []
    engine.dispose()


def test_every_schema_has_its_dump_with_a_row_in_every_table(old):
    assert sorted(path.stem for path in SCHEMAS.glob("*.sql")) == REVISIONS
    assert all(len(rows) == 1 for rows in rows_of(old).values())
    assert len(rows_of(old)) >= 23


def test_rows_are_kept_and_new_columns_are_unknown(old, tmp_path):
    before = rows_of(old)
    engine = open_engine(f"sqlite:///{old}")
    revision = upgrade.current_revision(engine)
    upgrade.upgrade(engine)
    engine.dispose()
    after = rows_of(old)
    for table, (row,) in before.items():
        (now,) = after[table]
        assert {name: now[name] for name in row} == row, table
        assert all(now[name] is None for name in set(now) - set(row)), table
    copies = list((tmp_path / "backups").glob("*before-migration*"))
    assert len(copies) == (revision != REVISIONS[-1]), "of what a migration is about to change a copy is kept"


def test_nothing_is_left_to_migrate(migrated):
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_tables_are_as_strict_as_those_of_a_new_database(migrated, tmp_path):
    new = open_engine(f"sqlite:///{tmp_path / 'new.sqlite3'}")
    schema.metadata.create_all(new)
    one, other = inspect(migrated), inspect(new)

    def checks(inspector, table):
        return {
            (c["name"], re.sub(r"\s+", " ", c["sqltext"])) for c in inspector.get_check_constraints(table)
        }

    for name in schema.metadata.tables:
        assert checks(one, name) == checks(other, name), name
        assert checks(one, name) or name in (
            "footprints",
            "runs",
            "task_recipes",
            "task_counts",
            "task_errors",
        ), name
        with migrated.connect() as connection:
            sql = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).scalar()
        assert sql.rstrip().endswith("STRICT"), name
    new.dispose()


def test_a_migration_that_would_leave_rows_without_partner_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "database.sqlite3"
    load(SCHEMAS / "0001.sql", path)
    engine = open_engine(f"sqlite:///{path}")
    real = upgrade.command.upgrade

    def clumsy(config, revision):
        real(config, revision)
        connection = config.attributes["connection"]
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")  # or SQLite itself would refuse
        connection.exec_driver_sql("UPDATE regions SET frame_id = 99")

    monkeypatch.setattr(upgrade.command, "upgrade", clumsy)
    with pytest.raises(SchemaError, match=r"would leave 1 rows .* table regions"):
        upgrade.upgrade(engine)
    assert upgrade.current_revision(engine) == "0001"
    engine.dispose()


def test_rows_that_a_user_left_dangling_do_not_stop_a_migration(tmp_path):
    path = tmp_path / "database.sqlite3"
    load(SCHEMAS / "0001.sql", path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE regions SET frame_id = 99")
    connection.commit()
    connection.close()
    engine = open_engine(f"sqlite:///{path}")
    assert upgrade.upgrade(engine)
    assert quick_check(engine) == ["1 rows of regions without the row of frames that they belong to"]
    engine.dispose()


def test_there_is_no_way_back():
    for item in ScriptDirectory.from_config(upgrade._alembic()).walk_revisions():
        assert not hasattr(item.module, "downgrade"), item.revision


def test_names_of_constraints_are_the_same_on_postgresql():
    """Rendered, not run: a name that is not quoted would be folded to small letters there."""
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written}
    )
    scripts = ScriptDirectory.from_config(upgrade._alembic())
    with Operations.context(context):
        for revision in REVISIONS:
            scripts.get_revision(revision).module.upgrade()
    preparer = postgresql.dialect().identifier_preparer
    names = [
        preparer.format_constraint(constraint)
        for table in schema.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    ]
    assert len(names) > 100
    told = {name.replace('"', "") if not preparer._requires_quotes(name.replace('"', "")) else name
            for name in re.findall(r"CONSTRAINT (\S+)", written.getvalue())}  # fmt: skip
    assert [name for name in names if name not in told] == []
