"""A user's own query: one statement that can only read, asked so that it can be broken off at any moment."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

_BUSY_SECONDS = 30
_ROWS_AT_ONCE = 1000
_LONGEST_VALUE = 100_000_000
#: opening for reading alone does not suffice: ATTACH and VACUUM INTO make files elsewhere
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_TELLING = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}
#: what is wrong with the file or the disk, not with the query
_TROUBLE = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL,
}  # fmt: skip


class QuestionError(Exception):
    """A query that SQLite does not understand, or that does more than read; its text is one line."""


@dataclass(frozen=True)
class Answer:
    """``names`` of the columns and the ``rows``, which are fetched as they are asked for."""

    names: list[str]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def answer(database: Path, query: str) -> Iterator[Answer]:
    """Ask an SQLite database; it is left when the answer has been read, or when an exception says so.

    Raises
    ------
    QuestionError
        On entering, or while rows are read.
    sqlite3.DatabaseError
        When the file is damaged or cannot be read.
    """
    try:
        query.encode()
    except UnicodeEncodeError as error:  # bytes of a command line that are no text
        raise QuestionError("not UTF-8") from error
    connection = sqlite3.connect(
        f"file:{quote(str(database))}?mode=ro",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    # a thread of its own: the interpreter would see Ctrl-C only when SQLite has answered
    with closing(connection), ThreadPoolExecutor(max_workers=1) as thread:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        connection.text_factory = _text
        connection.set_authorizer(_only_reading)
        try:
            cursor = thread.submit(connection.execute, query).result()
            if cursor.description is None:
                raise QuestionError("that is no query")
            yield Answer([column[0] for column in cursor.description], _rows(thread, cursor))
        except sqlite3.Error as error:
            # the low byte is the kind; the driver's own complaints have none
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _TROUBLE:
                raise
            raise QuestionError(_told(error)) from error
        except sqlite3.Warning as error:  # more than one statement, before Python 3.12
            raise QuestionError(_told(error)) from error
        finally:
            connection.interrupt()


def _rows(thread: ThreadPoolExecutor, cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    while rows := thread.submit(cursor.fetchmany, _ROWS_AT_ONCE).result():
        yield from rows


def _only_reading(action: int, first: str | None, *_: str | None) -> int:
    tells = action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _TELLING
    # so SQLite makes tables such as json_each(); it lets nobody else write there
    declares = action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"
    return sqlite3.SQLITE_OK if action in _READING or tells or declares else sqlite3.SQLITE_DENY


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    if text == "not authorized":
        return "only questions are answered here: SELECT, WITH, EXPLAIN"
    return text
