"""The database in a browser of this machine: datasette, which only reads, with a word on every table and column."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from lightwatch.errors import ConfigError
from lightwatch.structure.canned_queries import CANNED
from lightwatch.structure.database import open_reader
from lightwatch.structure.files import path_text
from lightwatch.structure.meanings import TABLES, columns_by_table, meaning

LOOPBACK = "127.0.0.1"
#: a query on a million rows may take its time; one that never ends would keep the write-ahead log from being emptied
_SETTINGS = {
    "sql_time_limit_ms": 20_000,
    "max_returned_rows": 5000,
    "default_cache_ttl": 0,
    "allow_download": False,
}
Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


def description(database: Path) -> dict[str, Any]:
    """What datasette shows beside an SQLite database of a workdir: tables, views, columns, queries to begin with."""
    engine = open_reader(f"sqlite:///{database}")
    try:
        with engine.connect() as connection:
            known = columns_by_table(connection)
    finally:
        engine.dispose()
    tables = {
        table: {
            "description": TABLES.get(table, ""),
            "columns": {name: meaning(table, name).replace("`", "") for name in columns},
        }
        for table, columns in known.items()
    }
    queries = {name: {"title": title, "sql": sql} for name, (title, sql) in CANNED.items()}
    title = f"lightwatch: {database.parent.name}"
    return {"title": title, "databases": {database.stem: {"tables": tables, "queries": queries}}}


class SqlServer:
    """Answers on loopback with the database of a workdir; ``run()`` begins and ends with Ctrl-C.

    Raises
    ------
    ConfigError
        When datasette is not installed, or would take a part of the path for something else.
    OSError
        When the port is taken; 0 takes any free one.
    """

    def __init__(self, database: Path, port: int = 0) -> None:
        if importlib.util.find_spec("datasette") is None:
            raise ConfigError("SQL in a browser needs datasette: pip install datasette")
        if set("?#%") & set(str(database)):
            raise ConfigError(f"{path_text(database)}: datasette cannot open a path with ?, # or % in it")
        import uvicorn
        from datasette.app import Datasette

        # not as immutable: a run may be writing. It is opened with mode=ro, and the writer waits for no reader
        served = Datasette(files=[str(database)], metadata=description(database), settings=_SETTINGS)
        self._socket = socket.create_server((LOOPBACK, port))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}{served.urls.database(database.stem)}"
        hosts = {f"{name}:{self.port}" for name in (LOOPBACK, "localhost")}
        app = for_hosts_alone(served.app(), hosts)
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))

    def run(self) -> None:
        """Answer until told to end."""
        try:
            self.server.run(sockets=[self._socket])
        finally:
            self._socket.close()


def for_hosts_alone(app: App, hosts: set[str]) -> App:
    """Pass on what reads and means one of these hosts: a page from elsewhere may have its name made to point here."""

    async def guarded(scope: Message, receive: Any, send: Any) -> None:
        told = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1").lower()
        if scope["type"] == "http" and told not in hosts:
            await _refuse(
                send, HTTPStatus.MISDIRECTED_REQUEST, b"this server answers to its own address only\n"
            )
        elif scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            await _refuse(send, HTTPStatus.METHOD_NOT_ALLOWED, b"here is nothing to write\n")
        else:
            await app(scope, receive, send)

    return guarded


async def _refuse(send: Any, status: HTTPStatus, text: bytes) -> None:
    await send({"type": "http.response.start", "status": int(status), "headers": []})
    await send({"type": "http.response.body", "body": text})
