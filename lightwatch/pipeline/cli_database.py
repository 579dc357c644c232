"""lightwatch db upgrade, backup, restore, unlock."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightwatch.errors import LightwatchError
from lightwatch.pipeline.cli_session import ConfigArgument, say, session_of

db_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The database.")


@db_app.command(epilog="Example: lightwatch db upgrade ~/j0248")
def upgrade(ctx: typer.Context, config: ConfigArgument = None) -> None:
    """Bring the database to this version's schema; a copy of it is kept first."""
    workspace = session_of(ctx).open(config)
    with workspace.lock():
        changed = workspace.initialize()
    say("upgraded" if changed else "up to date already")


@db_app.command(epilog="Example: lightwatch db backup ~/j0248")
def backup(ctx: typer.Context, config: ConfigArgument = None) -> None:
    """A copy of the database in backups/, sound even while a run is going on; it stays until you remove it."""
    from lightwatch.structure import backups

    workspace = session_of(ctx).open_existing(config)
    path = backups.backup(workspace.engine, backups.BY_HAND)
    if path is None:
        raise LightwatchError("only an SQLite database is copied here; use pg_dump for a PostgreSQL server")
    say(str(path))


@db_app.command(
    epilog="Example: lightwatch db restore ~/j0248 database-20260301T091502000000-before-run.sqlite3"
)
def restore(
    ctx: typer.Context,
    config: ConfigArgument = None,
    copy: Annotated[
        Path | None, typer.Argument(metavar="COPY", help="A file of backups/, or a path; without: a list.")
    ] = None,
) -> None:
    """Put a copy of the database back; the one that is replaced is kept in backups/."""
    from lightwatch.structure import backups
    from lightwatch.structure.restore import refuse_other_runs
    from lightwatch.structure.restore import restore as put_back

    workspace = session_of(ctx).open(config)
    database = workspace.database_path
    if database is None:
        raise LightwatchError(
            "only an SQLite database is restored here; use pg_restore for a PostgreSQL server"
        )
    if copy is None:
        for known in backups.copies(database):
            say(f"{known.path.name}  {known.path.stat().st_size / 1e6:.1f} MB")
        return
    with workspace.lock():
        refuse_other_runs(workspace)
        aside = put_back(database, copy if copy.is_file() else database.parent / "backups" / copy)
    say(f"restored {copy.name}" + (f"; what was there is {aside}" if aside else ""))
    say("next: lightwatch verify --repair, then lightwatch run")


@db_app.command(epilog="Example: lightwatch db unlock ~/j0248")
def unlock(ctx: typer.Context, config: ConfigArgument = None) -> None:
    """Say that a run has ended that died without a word, such as one of another machine on a shared disk."""
    from lightwatch.structure.database import transaction
    from lightwatch.structure.run_rows import end_other_runs

    workspace = session_of(ctx).open_existing(config)
    with workspace.lock(), transaction(workspace.engine) as connection:
        n_ended = end_other_runs(connection)
    say(f"runs taken for ended: {n_ended}")
