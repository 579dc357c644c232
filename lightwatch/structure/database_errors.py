"""What went wrong with a database, in a line for people, with the exit code that belongs to it and no password."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnection

from lightwatch.errors import ConfigError, LightwatchError, SchemaError, StorageError
from lightwatch.structure.files import free_space, path_text

_AGAIN = "nothing of this step was kept, run again when this is mended"
#: SQLSTATE: no such table, column, schema
_UNKNOWN_NAMES = {"42P01", "42703", "3F000"}
#: SQLSTATE, or the words of a server that refuses to connect (the driver then tells no code): name or password wrong
_REFUSED_CODES = {"28P01", "28000", "3D000", "42501"}
_REFUSED = re.compile(
    r"authentication failed|no password supplied|(role|database) \".*\" does not exist|no pg_hba.conf entry"
    r"|permission denied|could not translate host name|Name or service not known|failed to resolve host"
)


def told(url: URL, error: BaseException) -> LightwatchError | None:
    """The error to raise or to show in place of one of the database's driver, or None where that would be a bug."""
    reason = getattr(error, "orig", None) or error
    if isinstance(reason, sqlite3.Error):
        return _told_of_file(Path(url.database or "."), reason)
    if isinstance(error, NoConnection):
        return StorageError(f"database {place(url)}: all connections of this process are in use; {_AGAIN}")
    code, text = getattr(reason, "sqlstate", None), (str(reason).splitlines() or [""])[0]
    if code in _UNKNOWN_NAMES:
        return SchemaError(
            f"database {place(url)}: {text}: not made yet, or by another version; 'lightwatch db upgrade' mends that"
        )
    # all of a text: with several hosts, or both kinds of addresses, each has its line
    everything = " ".join(str(reason).split())
    if code in _REFUSED_CODES or (code is None and _REFUSED.search(everything)):
        return ConfigError(f"database.url: {place(url)}: {everything[:500]}")
    if isinstance(error, ProgrammingError) or not isinstance(error, OperationalError | InterfaceError):
        return None
    return StorageError(f"database {place(url)}: {everything[:500]}; {_AGAIN}")


def _told_of_file(path: Path, reason: sqlite3.Error) -> LightwatchError:
    if isinstance(reason, sqlite3.OperationalError) and "no such" in str(reason):
        return SchemaError(
            f"database {path_text(path)}: {reason}: not made yet, or by another version; "
            "'lightwatch db upgrade' mends that"
        )
    return StorageError(
        f"database {path_text(path)}: {reason} ({free_space(path.parent)}); {_AGAIN}; "
        "copies of it are in backups/"
    )


def place(url: URL) -> str:
    """Where a database is: a file, or a server's address without name and password."""
    if url.get_backend_name() == "sqlite":
        return path_text(Path(url.database or "."))
    port = f":{url.port}" if url.port else ""
    return f"{url.host or 'of this machine'}{port}/{url.database or ''}"
