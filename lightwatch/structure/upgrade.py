"""Bringing a database to the schema of this version, with a copy kept of what was there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from lightwatch.errors import SchemaError
from lightwatch.structure.database import backup_sqlite, create_views, transaction, views_are_current
from lightwatch.structure.files import remove

_BACKUPS_KEPT = 7


def _alembic() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def current_revision(engine: Engine) -> str | None:
    """Revision of a database; None when it is empty.

    Raises
    ------
    SchemaError
        When the file holds tables that are not lightwatch's.
    """
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None and inspect(connection).has_table("frames"):
            raise SchemaError(
                "the database has a table 'frames' but is not lightwatch's; choose another workdir"
            )
    return revision


def refuse_older(engine: Engine) -> None:
    """For readers that no run has gone before, as notebooks are.

    Raises
    ------
    SchemaError
        When the database still waits for its migration, or is of a newer version.
    """
    if current_revision(engine) != ScriptDirectory.from_config(_alembic()).get_current_head():
        raise SchemaError(
            "the database was made by another version; initialize_database() or 'lightwatch db upgrade' mends that"
        )


def upgrade(engine: Engine) -> bool:
    """Create or migrate the tables and views; True when something changed.

    Raises
    ------
    SchemaError
        When the database was made by a newer version.
    """
    before = current_revision(engine)
    script = ScriptDirectory.from_config(_alembic())
    if before is not None and before not in {item.revision for item in script.walk_revisions()}:
        raise SchemaError(
            f"the database has schema {before}, made by a newer lightwatch; update lightwatch to use it"
        )
    if before == script.get_current_head():
        return _renew_views(engine)
    if before is not None:
        backup(engine, "before-migration")
    with transaction(engine) as connection:
        config = _alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        create_views(connection)
    return True


def _renew_views(engine: Engine) -> bool:
    """Views hold no data: they follow the program without a migration. True when they changed."""
    with engine.connect() as connection:
        if views_are_current(connection):
            return False
    with transaction(engine) as connection:
        create_views(connection)
    return True


def backup(engine: Engine, label: str) -> Path | None:
    """Copy of an SQLite database in ``backups/`` beside it; the oldest beyond seven of a label go."""
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    source = Path(engine.url.database)
    directory = source.parent / "backups"
    target = directory / f"{source.stem}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{label}.sqlite3"
    backup_sqlite(source, target)
    for old in sorted(directory.glob(f"{source.stem}-*-{label}.sqlite3"))[:-_BACKUPS_KEPT]:
        remove(old)
    return target
