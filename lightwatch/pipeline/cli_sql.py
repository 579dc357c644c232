"""lightwatch sql: a query, or the database in a browser; neither can change it."""

from __future__ import annotations

import csv
import difflib
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightwatch.errors import LightwatchError
from lightwatch.pipeline.cli_session import (
    ConfigArgument,
    JsonOption,
    complain,
    printable,
    say,
    say_json,
    session_of,
)
from lightwatch.structure.spreadsheets import no_formula

if TYPE_CHECKING:
    from lightwatch.structure.question import Answer

#: of a table for people; --csv and --json tell all
_ROWS_SHOWN, _WIDEST_CELL = 1000, 60

sql_epilog = (
    "Example: lightwatch sql 'SELECT task, done FROM progress' ~/j0248, or lightwatch sql --serve ~/j0248"
)


def sql(
    ctx: typer.Context,
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="One SELECT; none with --serve.")
    ] = None,
    config: ConfigArgument = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="For spreadsheets: all rows as CSV.")] = False,
    as_json: JsonOption = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Show the database to your browser: the address told is a key (needs datasette)."
        ),
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For --serve; 0: any free one.")] = 8712,
) -> None:
    """Ask the database: a query of yours that only reads, or all tables in a browser."""
    if serve and query is not None:  # the only word is the workdir
        source = ctx.get_parameter_source("config")  # the environment may name another
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter("--serve takes the workdir alone, and no query")
        config = Path(query)
    elif query is None:
        raise typer.BadParameter("give a query in quotes, or --serve")
    elif config is not None and os.path.exists(query) and not config.exists():
        raise typer.BadParameter(
            "the query comes first, then the workdir: lightwatch sql 'SELECT ...' ~/j0248"
        )
    if serve and (as_csv or as_json):
        raise typer.BadParameter("--csv and --json are for a query, not for --serve")
    if as_csv and as_json:
        raise typer.BadParameter("give --csv or --json")
    workspace = session_of(ctx).open_existing(config)
    if workspace.database_path is None:
        raise LightwatchError("only an SQLite database is asked here; use psql for a PostgreSQL server")
    if query is None or serve:
        _serve(workspace.database_path, port)
    else:
        _ask(workspace.database_path, query, _say_csv if as_csv else _say_json if as_json else _say_table)


def _serve(database: Path, port: int) -> None:
    from lightwatch.pipeline.sql_server import LOOPBACK, SqlServer

    try:
        server = SqlServer(database, port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise typer.BadParameter(f"cannot listen on {LOOPBACK}, port {port}: {reason}") from error
    say(f"{server.url}  (the address is a key: keep it to yourself; Ctrl-C ends it)")
    try:
        # what goes wrong stands on the page; datasette prints where in its code, too
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            server.run()
    except KeyboardInterrupt:
        say()


def _ask(database: Path, query: str, tell: Any) -> None:
    from lightwatch.structure.question import QuestionError, answer

    try:
        with answer(database, query) as found:
            tell(found)
    except QuestionError as error:
        complain(f"query: {printable(str(error))}{_meant(str(error))}")
        raise typer.Exit(2) from error


def _meant(error: str) -> str:
    """The name nearest to one that does not exist."""
    from lightwatch.structure.meanings import TABLES
    from lightwatch.structure.schema import metadata

    missing = re.match(r"no such (table|column): (?:\w+\.)?(\w+)$", error)
    if missing is None:
        return ""
    columns = {column.name for table in metadata.tables.values() for column in table.columns}
    known = sorted(TABLES) if missing[1] == "table" else sorted(columns)
    near = difflib.get_close_matches(missing[2], known, n=1)
    where = "; docs/columns.md has all names, and so has 'lightwatch sql --serve'"
    return f": did you mean {near[0]}?" if near else where


def _say_table(found: Answer) -> None:
    """Aligned columns, numbers as exact as times need."""
    rows = list(islice(found.rows, _ROWS_SHOWN))
    more = next(found.rows, None) is not None
    cells = [[_cell(value) for value in row] for row in rows]
    names = [_cell(name) for name in found.names]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    right = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(names))]
    for line in [names, *cells]:
        parts = [t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True)]
        say("  ".join(parts).rstrip())
    if more:
        complain(f"the first {_ROWS_SHOWN} rows; --csv and --json give all of them")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.13g}"  # a Julian date to a microday
    text = printable(str(value))
    return text if len(text) <= _WIDEST_CELL else f"{text[: _WIDEST_CELL - 3]}..."


def _say_csv(found: Answer) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(_csv_cell, _told_apart(found.names)))
    writer.writerows(map(_csv_cell, row) for row in found.rows)


def _csv_cell(value: object) -> object:
    return no_formula(value, printable(value)) if isinstance(value, str) else value


def _say_json(found: Answer) -> None:
    names = _told_apart(found.names)
    say_json([dict(zip(names, _finite(row), strict=True)) for row in found.rows])


def _told_apart(names: Sequence[str]) -> list[str]:
    """Names of columns, the second of the same name with a number, as SQLite itself does."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        told.append(f"{name}:{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return told


def _finite(row: Sequence[Any]) -> Iterator[Any]:
    for value in row:
        yield None if isinstance(value, float) and not math.isfinite(value) else value
