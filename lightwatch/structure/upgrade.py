"""Bringing a database to the schema of this version, with a copy kept of what was there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, inspect

from lightwatch.errors import SchemaError, StorageError
from lightwatch.structure.backups import BEFORE_MIGRATION, backup
from lightwatch.structure.counts import counts_are_kept, keep_counts
from lightwatch.structure.database import create_views, dangling_rows, transaction, views_are_current


def _alembic() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _script() -> ScriptDirectory:
    """The migrations; where their directory cannot be listed, alembic finds none and says nothing."""
    try:
        script = ScriptDirectory.from_config(_alembic())
        if script.get_current_head() is not None:
            return script
    except CommandError as error:
        raise _unreadable() from error
    raise _unreadable()


def _unreadable() -> StorageError:
    return StorageError(
        f"{Path(__file__).parent / 'migrations'}: cannot be read; run again when this is mended"
    )


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


def known_revision(engine: Engine) -> str | None:
    """As ``current_revision``, for a version that this program knows.

    Raises
    ------
    SchemaError
        When the database was made by a newer version, or is not lightwatch's.
    """
    revision = current_revision(engine)
    script = _script()
    if revision is not None and revision not in {item.revision for item in script.walk_revisions()}:
        raise SchemaError(
            f"the database has schema {revision}, made by a newer lightwatch; update lightwatch to use it"
        )
    return revision


def refuse_older(engine: Engine) -> None:
    """For readers that no run has gone before, as notebooks are.

    Raises
    ------
    SchemaError
        When the database still waits for its migration, or is of a newer version.
    """
    if current_revision(engine) != _script().get_current_head():
        raise SchemaError(
            "the database was made by another version; initialize_database() or 'lightwatch db upgrade' mends that"
        )


def upgrade(engine: Engine) -> bool:
    """Create or migrate the tables and views, in one transaction; True when something changed.

    Raises
    ------
    SchemaError
        When the database was made by a newer version, or a migration would leave rows without their partner.
    """
    before = known_revision(engine)
    if before == _script().get_current_head():
        return _renew_views(engine)
    if before is not None:
        backup(engine, BEFORE_MIGRATION)
    with transaction(engine) as connection:
        dangling = dangling_rows(connection)  # a user's own SQL may have made some
        config = _alembic()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise _unreadable() from error
        create_views(connection)
        keep_counts(connection)
        made = dangling_rows(connection) - dangling
        if made:
            raise SchemaError(
                f"the migration from schema {before} would leave {made.total()} rows without the ones they belong "
                f"to, such as in the table {min(made)[0]}; the database is as it was, please report this"
            )
    return True


def _renew_views(engine: Engine) -> bool:
    """Views and counts hold no data of their own: they follow the program without a migration. True if they changed."""
    with engine.connect() as connection:
        if views_are_current(connection) and counts_are_kept(connection):
            return False
    with transaction(engine) as connection:
        create_views(connection)
        keep_counts(connection)
    return True
