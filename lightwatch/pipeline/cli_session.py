"""What one invocation of the command line shares: the opened workdir, the way to speak, and how it ends."""

from __future__ import annotations

import difflib
import errno
import json
import logging
import os
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightwatch.errors import ConfigError, ExitCode, LightwatchError, NoUsableData
from lightwatch.pipeline.console import redacted, secrets_of
from lightwatch.structure.files import free_space, path_text

if TYPE_CHECKING:
    from lightwatch.structure.workspace import Workspace

_DISK_TROUBLE = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE}

ConfigArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="CONFIG",
        envvar=["LIGHTWATCH_CONFIG", "LIGHTCURVER_CONFIG"],
        help="config.yaml, or the directory that holds it; default: the current directory.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]


@dataclass
class Session:
    """Made by ``main``, handed to every command as ``ctx.obj``."""

    stack: ExitStack = field(default_factory=ExitStack)
    workspace: Workspace | None = None
    secrets: tuple[str, ...] = ()
    log_path: Path | None = None

    def open(self, config: Path | None) -> Workspace:
        """The workdir of a config file."""
        from lightwatch.structure.workspace import Workspace

        self.workspace = Workspace.open(config_file(config))
        self.secrets = secrets_of(self.workspace.config)
        self.stack.callback(self.workspace.close)
        return self.workspace

    def open_existing(self, config: Path | None) -> Workspace:
        """The same, where a database is needed.

        Raises
        ------
        NoUsableData
            Before the first run.
        """
        workspace = self.open(config)
        if not workspace.has_database:
            raise NoUsableData(
                f"{workspace.workdir}: no database yet; 'lightwatch run {workspace.config_path}' makes it"
            )
        return workspace


def session_of(ctx: typer.Context) -> Session:
    """The session of a command's context."""
    session: Session = ctx.find_root().obj
    return session


def config_file(config: Path | None) -> Path:
    """Path of the config file that an argument names, or else the environment, or else that of the current directory.

    Raises
    ------
    ConfigError
        When the directory that is meant is no workdir.
    """
    from lightwatch.structure.workspace import config_of_environment

    config = config or config_of_environment() or Path()
    try:
        config.stat()
    except FileNotFoundError:
        raise ConfigError(
            f"{path_text(config)}: no such file or directory{_did_you_mean(config)}; give a workdir or its config.yaml"
        ) from None
    except OSError:  # told by who reads it
        return config
    if not config.is_dir():
        return config
    if not (config / "config.yaml").exists():
        raise ConfigError(
            f"there is no config.yaml in {path_text(config.absolute())}{_did_you_mean(config)}: go to a workdir, name "
            "it, as in 'lightwatch status ~/j0248', or set LIGHTWATCH_CONFIG; 'lightwatch init DIR' begins a new one"
        )
    return config / "config.yaml"


def _did_you_mean(path: Path) -> str:
    """The workdir within a directory that is none, or the workdir or config file named nearly as what is not there."""
    folder = path if path.is_dir() else path.parent
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    known = [name for name in names if os.path.isfile(folder / name / "config.yaml")]
    if not path.is_dir():
        known += [name for name in names if name.endswith((".yaml", ".yml"))]
        known = difflib.get_close_matches(path.name, known, n=1)
    return f" (did you mean {path_text(folder / known[0])}?)" if known else ""


def say(text: str = "") -> None:
    """A line on standard output."""
    typer.echo(text)


def say_json(value: Any) -> None:
    """A value as JSON on standard output."""
    typer.echo(json.dumps(value, indent=1, default=str, allow_nan=False))


def say_causes(causes: Iterable[Mapping[str, Any]]) -> None:
    """A line per cause: how many, what became of them and why, with the name of one unless the reason has it."""
    for cause in causes:
        reason, example = str(cause["reason"] or cause["reason_code"]), str(cause["example"])
        # as a word: the name of a filter may be a single letter
        is_named = re.search(rf"(?<!\w){re.escape(example)}(?!\w)", reason) is not None
        where = "" if is_named else f" ({printable(example)})"
        say(f"  {cause['n']} x {cause['task']}: {cause['reason_code']}: {printable(reason)}{where}")


def say_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows in aligned columns: numbers to the right, text to the left, unknown as '-'."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headings, *cells, strict=True)]
    right = [all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(headings))]
    for line in [list(headings), *cells]:
        parts = [t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True)]
        say("  ".join(parts).rstrip())


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.2f}"
    return printable(str(value))


def printable(text: str) -> str:
    """Text of foreign origin as one line that no terminal takes for a command."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def complain(text: str, secrets: Sequence[str] = ()) -> None:
    """A line on standard error."""
    typer.echo(redacted(text, secrets), err=True)


def end_with_error(error: Exception, session: Session) -> int:
    """Tell an error in a line (a line per problem of a configuration); the exit code that belongs to it."""
    if isinstance(error, LightwatchError):
        problems = _located(error, session) if isinstance(error, ConfigError) else [str(error)]
        for problem in problems:
            complain(printable(problem), session.secrets)
        return error.exit_code
    database_error = _told_by_database(error, session)
    if database_error is not None:
        return end_with_error(database_error, session)
    if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
        place = Path(os.fsdecode(error.filename)) if error.filename else _workdir(session)
        complain(f"{path_text(place)}: {error.strerror} ({free_space(place.parent)})", session.secrets)
        return ExitCode.STORAGE
    if isinstance(error, MemoryError):
        complain(
            "not enough memory; nothing of this step was kept, run again when there is more", session.secrets
        )
        return ExitCode.STORAGE
    path = _write_traceback(error, session)
    complain(
        f"this is a bug in lightwatch: {type(error).__name__}; please report it with {path}", session.secrets
    )
    return ExitCode.BUG


def _located(error: ConfigError, session: Session) -> list[str]:
    """Problems that begin with a key of the config file, with its line."""
    if session.workspace is None:
        return error.problems
    from lightwatch.structure.config_file import located

    return [located(problem, session.workspace.config_path) for problem in error.problems]


def _told_by_database(error: Exception, session: Session) -> LightwatchError | None:
    """What an error of the database's driver says to people; None for other errors, and for bugs."""
    if session.workspace is None or not ("sqlalchemy" in sys.modules or isinstance(error, sqlite3.Error)):
        return None
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.exc import TimeoutError as NoConnection

    from lightwatch.structure.database import parsed
    from lightwatch.structure.database_errors import told

    known = isinstance(error, DBAPIError | NoConnection | sqlite3.Error)
    return told(parsed(session.workspace.database_url), error) if known else None


def _workdir(session: Session) -> Path:
    return session.workspace.workdir if session.workspace else Path.cwd()


def _write_traceback(error: Exception, session: Session) -> Path:
    """Log an unexpected error where the run's log is, else in a file of its own."""
    from lightwatch.pipeline.console import log_to

    path = session.log_path
    if path is None:
        folder = session.workspace.workdir / "logs" if session.workspace else Path(tempfile.gettempdir())
        path = folder / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
        session.stack.enter_context(log_to(path, session.secrets, verbose=0))
    logging.getLogger("lightwatch").error(
        "%s: command: %s", type(error).__name__, " ".join(sys.argv[1:]), exc_info=error
    )
    return path
