"""The server of the report: this machine alone, GET alone, nothing but its own pages."""

from __future__ import annotations

import html
import http.client
import json
import threading

import pytest
from sqlalchemy import insert, update

from lightwatch.report import site
from lightwatch.report.serve import ReportServer, is_loopback
from lightwatch.structure import run_rows, schema
from lightwatch.structure.database import transaction


@pytest.fixture(scope="module")
def served(make_workdir, tmp_path_factory):
    workspace = make_workdir(tmp_path_factory.mktemp("served") / "w", n_frames=4)
    server = ReportServer(workspace)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server, workspace
    server.shutdown()
    server.server_close()


def ask(server: ReportServer, path: str, method: str = "GET", **headers: str):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode("utf-8")


def test_it_listens_on_loopback(served):
    assert served[0].server_address[0] == "127.0.0.1"
    assert served[0].url == f"http://127.0.0.1:{served[0].server_port}/"


def test_page_state_and_frames(served):
    status, headers, text = ask(served[0], "/")
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "connect-src 'self'" in html.unescape(text)
    assert "fetch(" in text
    status, _, text = ask(served[0], "/state")
    assert status == 200
    assert json.loads(text)["text"].startswith("No run goes on")
    status, _, text = ask(served[0], "/frames/2.html")
    assert status == 200
    assert "1.fits" in text
    assert "script" not in text.partition("</head>")[0].replace("script-src", "")


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/frames/../index.html", "/frames/99.html", "/frames/0.html", "/frames/2.html/",
        "/frames/9999999999999999999999.html", "/frames/%32.html", "/config.yaml", "/state/", "/database.sqlite3",
        "/frames/2.htmlx", "/frames/-1.html",
    ],
)  # fmt: skip
def test_nothing_else_is_there(served, path):
    assert ask(served[0], path)[0] == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "10.0.0.1:{port}"]
)
def test_another_host_is_refused(served, host):
    status, _, text = ask(served[0], "/", Host=host.format(port=served[0].server_port))
    assert status == 421
    assert "J0248" not in text


def test_localhost_is_a_name_of_it(served):
    assert ask(served[0], "/state", Host=f"localhost:{served[0].server_port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT"])
def test_other_methods_are_refused(served, method):
    assert ask(served[0], "/", method)[0] == 501


def test_stamp_changes_with_a_result_and_the_page_with_it(served):
    server, workspace = served
    before = json.loads(ask(server, "/state")[2])["stamp"]
    assert json.loads(ask(server, "/state")[2])["stamp"] == before
    results = schema.task_results
    with transaction(workspace.engine) as connection:
        connection.execute(
            update(results)
            .where(results.c.task == "star_photometry", results.c.frame_id == 1)
            .values(state="rejected", reason_code="no_good_pixels", reason="all masked")
        )
    assert json.loads(ask(server, "/state")[2])["stamp"] != before
    assert "all masked" in ask(server, "/")[2]


def test_run_that_goes_on_is_told(served):
    import os
    import socket

    server, workspace = served
    run = {
        "id": 7, "started": run_rows.now_text(), "host": socket.gethostname(), "pid": os.getpid(),
        "version": "1", "config_hash": "1", "config": "{}",
    }  # fmt: skip
    with transaction(workspace.engine) as connection:
        connection.execute(insert(schema.runs), [run])
    assert server.state()["text"].startswith("A run goes on: ")


def test_failure_is_told_and_the_server_goes_on(served, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret")

    with monkeypatch.context() as patch:
        patch.setattr(site, "render_frame", fail)
        status, _, text = ask(served[0], "/frames/1.html")
    assert (status, text) == (500, "RuntimeError\n")
    assert ask(served[0], "/frames/1.html")[0] == 200


def test_before_the_first_run(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=1, steps=())
    workspace.close()
    (workspace.workdir / "database.sqlite3").unlink()
    server = ReportServer(workspace)
    try:
        assert server.state()["text"] == "No run yet."
        assert "No light curves yet" in server.page()
        assert server.frame(1) is None
    finally:
        server.server_close()


def test_bound_to_all_addresses_it_knows_numbers_and_its_own_name(make_workdir, tmp_path):
    server = ReportServer(make_workdir(tmp_path / "w", n_frames=4), address="0.0.0.0")
    try:
        port = server.server_port
        assert server.knows_host(f"192.0.2.7:{port}")
        assert server.knows_host(f"localhost:{port}")
        assert not server.knows_host(f"evil.example:{port}")
        assert not server.knows_host(f"192.0.2.7:{port + 1}")
    finally:
        server.server_close()


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.1.2.3", False),
    ],
)
def test_loopback(address, own):
    assert is_loopback(address) == own
