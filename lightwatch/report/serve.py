"""The report in a browser while a run goes on: a server for this machine alone, which only answers questions.

It binds to loopback, takes no request that names another host (a page from elsewhere cannot have a browser ask it,
even when its name is made to point here), knows GET only, and reads no path from a request but numbers of frames.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import re
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lightwatch.report import site
from lightwatch.report.frame_page import FramePages
from lightwatch.structure import queries, queries_overview, run_rows
from lightwatch.structure.workspace import Workspace

LOG = logging.getLogger("lightwatch")

LOOPBACK = "127.0.0.1"
_FRAME = re.compile(r"/frames/([1-9][0-9]{0,17})\.html")
_SECONDS_PER_REQUEST = 20
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class ReportServer(ThreadingHTTPServer):
    """Answers with the report of a workdir as it is now; ``serve_forever()`` begins, ``shutdown()`` ends it.

    ``port`` 0 takes any free one; ``url`` tells which.
    """

    daemon_threads = True

    def __init__(self, workspace: Workspace, *, address: str = LOOPBACK, port: int = 0) -> None:
        if ":" in address:
            self.address_family = socket.AF_INET6
        self._workspace = workspace
        self._lock = threading.Lock()
        self._page: tuple[str, str] | None = None
        self._frames: tuple[str, FramePages] | None = None
        super().__init__((address, port), _Handler)
        shown = f"[{address}]" if ":" in address else address
        self.url = f"http://{shown}:{self.server_port}/"
        names = [shown, "localhost", LOOPBACK, "[::1]"]
        names += [] if is_loopback(address) else [socket.gethostname(), socket.getfqdn()]
        self._hosts = {f"{name.lower()}:{self.server_port}" for name in names}
        self._wild = address in ("0.0.0.0", "::")  # noqa: S104 - asked for by name

    def knows_host(self, host: str | None) -> bool:
        """Whether a request's Host header means this server."""
        if host is None:
            return False
        name, _, port = host.lower().rpartition(":")
        # bound to all addresses, it may be asked by any of them: a number cannot be a foreign name in disguise
        is_number = self._wild and port == str(self.server_port) and _is_address(name.strip("[]"))
        return host.lower() in self._hosts or is_number

    def page(self) -> str:
        """The report; made anew when anything has changed."""
        with self._lock:
            stamp = str(self._state()["stamp"])
            if self._page is None or self._page[0] != stamp:
                self._page = (stamp, site.render_live(self._workspace))
            return self._page[1]

    def state(self) -> dict[str, Any]:
        """How far a run is, and a stamp that changes with every result."""
        with self._lock:
            return self._state()

    def frame(self, frame_id: int) -> str | None:
        """The page of a frame; None for one that there is not."""
        with self._lock:
            if not self._workspace.has_database:
                return None
            stamp = str(self._state()["stamp"])
            if self._frames is None or self._frames[0] != stamp:
                self._frames = (stamp, FramePages(self._workspace))
            pages = self._frames[1]
            return site.render_frame(pages, frame_id, pages.ids) if frame_id in pages.ids else None

    def _state(self) -> dict[str, Any]:
        if not self._workspace.has_database:
            return {"stamp": "none", "text": "No run yet."}
        reader = self._workspace.reader
        if not queries_overview.has_tables(reader):
            return {"stamp": "none", "text": "No run yet."}
        tasks = queries.rows(reader, queries_overview.progress())
        runs = queries.rows(reader, queries.last_run())
        run = runs[0] if runs else None
        told = [[dict(row) for row in tasks], run and (run["id"], run["ended"])]
        digest = hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:16]
        return {"stamp": digest, "text": _told(run, tasks, self._workspace.is_shared)}


def _told(run: Any, tasks: Any, shared: bool) -> str:
    if run is None:
        return "No run yet."
    state = run_rows.state_of_run(run, shared=shared)
    if state != "running":
        return f"No run goes on; the last began {run['started'][:16].replace('T', ' ')} UTC" + (
            " and did not end in order." if state == "crashed" else "."
        )
    waiting = [f"{row['task']} {row['done']} done, {row['pending']} to do" for row in tasks if row["pending"]]
    return "A run goes on: " + ("; ".join(waiting[:3]) or "its last steps") + "."


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address."""
    return address == "localhost" or (_is_address(address) and ipaddress.ip_address(address).is_loopback)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: ReportServer
    timeout = _SECONDS_PER_REQUEST
    server_version = "lightwatch"
    sys_version = ""

    def do_GET(self) -> None:
        """The report, a frame's page, or the state of the run."""
        if not self.server.knows_host(self.headers.get("Host")):
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to its own address only\n")
            return
        try:
            status, text, kind = self._content(self.path.partition("?")[0])
        except Exception as error:  # told here, and the server goes on
            LOG.exception("report: %s", self.path)
            status, text, kind = HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}\n", "text/plain"
        self._answer(status, text, kind)

    def _content(self, path: str) -> tuple[HTTPStatus, str, str]:
        if path in ("/", "/index.html"):
            return HTTPStatus.OK, self.server.page(), "text/html"
        if path == "/state":
            return HTTPStatus.OK, json.dumps(self.server.state()), "application/json"
        found = _FRAME.fullmatch(path)
        text = self.server.frame(int(found[1])) if found else None
        if text is None:
            return HTTPStatus.NOT_FOUND, "no such page\n", "text/plain"
        return HTTPStatus.OK, text, "text/html"

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        body = text.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Requests are nothing to talk about."""
        LOG.debug("report: " + format, *args)
