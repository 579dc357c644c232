"""A TAP service on this machine that behaves as the first part of the path says: well, or badly in many ways."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from astropy.table import Table

RA, DEC = 42.2031, 19.22528
#: no service listens there
NOWHERE = "http://127.0.0.1:9/tap"


def gaia_like(n: int = 40, seed: int = 5) -> dict[str, Any]:
    """Columns of stars around (RA, DEC)."""
    rng = np.random.default_rng(seed)
    return {
        "source_id": rng.permutation(n).astype(np.int64) + 4_611_686_018_427_387_904,
        "ra": RA + rng.uniform(-0.05, 0.05, n),
        "dec": DEC + rng.uniform(-0.05, 0.05, n),
        "ref_epoch": np.full(n, 2016.0),
        "pmra": np.where(np.arange(n) % 7 == 0, np.nan, rng.normal(0, 5, n)),
        "pmdec": rng.normal(0, 5, n),
        "phot_g_mean_mag": rng.uniform(12, 20, n),
        "phot_g_mean_flux_over_error": rng.uniform(100, 5000, n),
        "astrometric_excess_noise_sig": rng.exponential(1, n),
    }


def votable(table: Table, status: str = "OK") -> bytes:
    """A table as a TAP service answers it."""
    out = io.BytesIO()
    table.write(out, format="votable", tabledata_format="binary2")
    info = f'<INFO name="QUERY_STATUS" value="{status}">said so</INFO>'.encode()
    return re.sub(rb"(<RESOURCE[^>]*>)", rb"\1" + info, out.getvalue(), count=1)


class FakeTap(BaseHTTPRequestHandler):
    """Behaves as the first part of the path says."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.respond("GET")

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.bodies.append(parse_qs(self.rfile.read(length).decode()))
        self.respond("POST")

    def respond(self, method):
        behaviour, _, rest = self.path.strip("/").partition("/")
        self.server.asked.append((method, behaviour, rest))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, behaviour)(rest)

    def send(self, body, status=200, kind="application/x-votable+xml", length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def ok(self, rest):
        self.send(votable(Table(self.server.columns)))

    def zero(self, rest):
        self.send(votable(Table(self.server.columns)[:0]))

    def html(self, rest):
        self.send(b"<!DOCTYPE html><html><body>maintenance</body></html>", kind="text/html")

    def truncated(self, rest):
        body = votable(Table(self.server.columns))
        self.send(body[: len(body) // 2])

    def broken(self, rest):
        body = votable(Table(self.server.columns))
        self.send(body[: len(body) // 2], length=len(body))

    def refused(self, rest):
        self.send(votable(Table(self.server.columns)[:0], status="ERROR"))

    def bad_request(self, rest):
        self.send(b"no such table", status=400, kind="text/plain")

    def error500(self, rest):
        self.send(b"oops", status=500, kind="text/plain")

    def recovers(self, rest):
        seen = sum(behaviour == "recovers" for _, behaviour, _ in self.server.asked)
        self.error500(rest) if seen < 3 else self.ok(rest)

    def silent(self, rest):
        time.sleep(self.server.slowness_s)

    def drips(self, rest):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _ in range(int(10 * self.server.slowness_s)):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.1)

    def endless(self, rest):
        self.send_response(200)
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b"<VOTABLE>" + b" " * 100_000)

    def busy(self, rest):
        self.send_response(503)
        self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def redirects(self, rest):
        self.send_response(302)
        self.send_header("Location", f"/redirects/{rest}x")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def endless_header(self, rest):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
        for _ in range(int(10 * self.server.slowness_s)):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.1)

    def wrong_columns(self, rest):
        table = Table(self.server.columns)
        table.rename_column("phot_g_mean_mag", "</script>=cmd()")
        self.send(votable(table))

    def not_numbers(self, rest):
        table = Table(self.server.columns)
        table["dec"] = np.nan
        self.send(votable(table))

    def bomb(self, rest):
        entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
        self.send(
            f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "x">{entities}]><VOTABLE>&a9;</VOTABLE>'.encode()
        )

    def gzip_bomb(self, rest):
        body = gzip.compress(b"<VOTABLE>" + b" " * 5_000_000, compresslevel=1)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def queue(self, rest):
        """Cuts synchronous answers short and holds the whole in a job."""
        if rest == "sync":
            self.send(votable(Table(self.server.columns)[:5], status="OVERFLOW"))
        elif rest == "async":
            self.send_response(303)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/queue/async/17")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif rest == "async/17/phase":
            seen = sum(asked == "async/17/phase" for _, _, asked in self.server.asked)
            self.send(b"EXECUTING" if seen < 2 else b"COMPLETED", kind="text/plain")
        elif rest == "async/17/results/result":
            self.ok(rest)
        else:
            self.send(b"<job/>", kind="text/xml")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, columns: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), FakeTap)
        self.columns = columns
        self.slowness_s = 3.0  # how long it keeps its clients waiting
        self.asked: list[tuple[str, str, str]] = []
        self.bodies: list[dict[str, list[str]]] = []

    def url(self, behaviour: str) -> str:
        """Address of a service that behaves so."""
        return f"http://127.0.0.1:{self.server_port}/{behaviour}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


@contextlib.contextmanager
def fake_tap(columns: Mapping[str, Any]) -> Iterator[Server]:
    """The service while it runs; it tells what it was asked."""
    server = Server(columns)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
