"""The database in a browser of this machine: datasette, which only reads, with a word on every table and column."""

from __future__ import annotations

import hmac
import importlib.util
import secrets
import socket
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from lightwatch.errors import ConfigError, LightwatchError
from lightwatch.structure.canned_queries import CANNED
from lightwatch.structure.database import open_reader
from lightwatch.structure.files import path_text
from lightwatch.structure.meanings import TABLES, columns_by_table, meaning

if TYPE_CHECKING:
    from datasette.app import Datasette

LOOPBACK = "127.0.0.1"
SECONDS_TO_BEGIN = 60.0
_SECONDS_TO_END = 10.0
_OF_A_SIGNAL = 128  # exit codes above are those of a program that was told to end
#: few queries are answered at a time: one that never ends makes other pages wait, and keeps the log from being emptied
_SETTINGS = {
    "sql_time_limit_ms": 5000,
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
        When datasette is not installed or cannot begin, or would take a part of the path for something else.
    OSError
        When the port is taken; 0 takes any free one.
    """

    def __init__(self, database: Path, port: int = 0) -> None:
        if importlib.util.find_spec("datasette") is None:
            raise ConfigError("SQL in a browser needs datasette: pip install datasette")
        if set("?#%") & set(str(database)):
            raise ConfigError(f"{path_text(database)}: datasette cannot open a path with ?, # or % in it")
        self._socket = socket.create_server((LOOPBACK, port))
        self.port: int = self._socket.getsockname()[1]
        self._connections: list[sqlite3.Connection] = []
        self._has_begun = threading.Event()
        try:
            with _said_in_a_line():
                beginning = _Apart(partial(self._begin, database), threading.Event())
                beginning.begun_in_time()
                beginning.result()
        except BaseException:
            self._socket.close()
            raise

    def _begin(self, database: Path) -> None:
        from datasette.app import Datasette

        # not as immutable: a run may be writing. It is opened with mode=ro, and the writer waits for no reader
        self._served = Datasette(files=[str(database)], metadata=description(database), settings=_SETTINGS)
        home = self._served.urls.database(database.stem)
        self.door = Door(self.port, home, secrets.token_urlsafe())
        self.url = f"http://{LOOPBACK}:{self.port}/?{self.door.key}"
        app = self.door.guarding(self._served.app())
        self.server = _server(app, self._served, self._connections, self._has_begun)

    def run(self) -> None:
        """Answer until told to end.

        Raises
        ------
        ConfigError
            When it ends before it has begun to answer, or does not begin in time.
        """
        try:
            with _said_in_a_line(), _adapted(self._served, self._connections):
                self._answer()
        finally:
            self._socket.close()

    def _answer(self) -> None:
        answering = _Apart(partial(self.server.run, sockets=[self._socket]), self._has_begun)
        try:
            answering.begun_in_time()
            answering.result()
        finally:  # Ctrl-C comes here, to the main thread
            self.server.should_exit = True
            if self._has_begun.is_set():
                answering.join(_SECONDS_TO_END)
        if self.server.lifespan.should_exit:
            raise RuntimeError("it could not start")


@contextmanager
def _said_in_a_line() -> Iterator[None]:
    """What other people's code raises, or ends the program with, as an error of this program."""
    try:
        yield
    except (LightwatchError, sqlite3.Error, SQLAlchemyError):  # of the database, which has words of its own
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > _OF_A_SIGNAL:
            raise
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ConfigError(
            f"datasette failed: {what}; try 'datasette --version', or install it anew"
        ) from error


class _Apart(threading.Thread):
    """Other people's code beside the main thread, which need not wait for it: an import may wait for a disk."""

    def __init__(self, work: Callable[[], object], has_begun: threading.Event) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._raised: BaseException | None = None
        self._has_begun = has_begun  # or ended before it had
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - for who asks for the result
            self._raised = error
        finally:
            self._has_begun.set()

    def begun_in_time(self) -> None:
        if not self._has_begun.wait(SECONDS_TO_BEGIN):
            raise ConfigError(
                f"datasette did not begin within {SECONDS_TO_BEGIN:g} s; try 'datasette --version', or install it anew"
            )

    def result(self) -> None:
        """Wait for its end; what it raised."""
        self.join()
        if self._raised is not None:
            raise self._raised


@contextmanager
def _adapted(served: Datasette, connections: list[sqlite3.Connection]) -> Iterator[None]:
    """Datasette while it answers here: its connections are known, and mistyped queries cost no time."""
    from datasette import handle_exception, hookimpl
    from datasette.plugins import pm

    class Plugin:
        @staticmethod
        @hookimpl
        def prepare_connection(conn: sqlite3.Connection, datasette: Datasette) -> None:
            if datasette is served:
                connections.append(conn)

    rich = handle_exception.rich
    pm.register(Plugin, name=f"lightwatch {id(served)}")
    # with rich, a screenful of local variables would be told for every mistyped query, and take a second
    handle_exception.rich = None
    try:
        yield
    finally:
        handle_exception.rich = rich
        pm.unregister(Plugin)


def _server(
    app: App, served: Datasette, connections: Sequence[sqlite3.Connection], has_begun: threading.Event
) -> Any:
    """A server that breaks off its queries when told to end: their threads would be waited for."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            has_begun.set()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            served.executor.shutdown(wait=False, cancel_futures=True)
            for connection in connections:
                connection.interrupt()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app, log_level="critical", access_log=False, lifespan="on", timeout_graceful_shutdown=1
        )
    )


@dataclass(frozen=True)
class Door:
    """Who is let in to the server on a port: a browser that has been to ``/?KEY``, from there led to ``home``.

    Other users of the machine reach its ports, and so do pages from elsewhere in the user's own browser.
    """

    port: int
    home: str
    secret: str

    @property
    def key(self) -> str:
        """What the address has that is to be kept secret."""
        return f"key={self.secret}"

    def guarding(self, app: App) -> App:
        """Pass on what reads, means this address, comes from its own pages, and has the key as a cookie."""

        async def guarded(scope: Message, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            headers = {name: value.decode("latin-1") for name, value in scope.get("headers", ())}
            if headers.get(b"host", "").lower() not in {f"{LOOPBACK}:{self.port}", f"localhost:{self.port}"}:
                await _tell(
                    send, HTTPStatus.MISDIRECTED_REQUEST, "this server answers to its own address only"
                )
            elif scope["method"] not in ("GET", "HEAD"):
                await _tell(send, HTTPStatus.METHOD_NOT_ALLOWED, "here is nothing to write")
            elif _same(scope["query_string"].decode("latin-1"), self.key):
                await self._welcome(send)
            elif headers.get(b"sec-fetch-site", "none") not in ("none", "same-origin"):
                await _tell(send, HTTPStatus.FORBIDDEN, "pages from elsewhere are not answered")
            elif not any(_same(part.strip(), self._cookie) for part in headers.get(b"cookie", "").split(";")):
                await _tell(send, HTTPStatus.FORBIDDEN, "open the address that 'lightwatch sql --serve' told")
            else:
                await app(scope, receive, send)

        return guarded

    @property
    def _cookie(self) -> str:
        # browsers send cookies to all ports of a host
        return f"lightwatch-{self.port}={self.secret}"

    async def _welcome(self, send: Any) -> None:
        """Led on by a page, since a browser that came here by a link would not send the cookie with a redirection."""
        cookie = f"{self._cookie}; Path=/; HttpOnly; SameSite=Strict"
        page = f'<meta http-equiv="refresh" content="0; url={self.home}"><a href="{self.home}">On</a>'
        more = {"set-cookie": cookie, "cache-control": "no-store", "content-type": "text/html"}
        await _tell(send, HTTPStatus.OK, page, more)


def _same(told: str, secret: str) -> bool:
    """Whether they are, in a time that tells nothing."""
    return hmac.compare_digest(told.encode(), secret.encode())


async def _tell(send: Any, status: HTTPStatus, text: str, more: Mapping[str, str] | None = None) -> None:
    told = {"content-type": "text/plain", **(more or {})}
    headers = [(name.encode(), value.encode()) for name, value in told.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
