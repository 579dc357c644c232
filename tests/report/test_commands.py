"""lightwatch report --serve and status --watch: where they listen, what they refuse, how they end."""

from __future__ import annotations

import socket
import time

import pytest
from sqlalchemy import update

from lightwatch.report.serve import ReportServer
from lightwatch.structure import schema
from lightwatch.structure.database import transaction


@pytest.fixture
def workdir(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=4)
    return workspace.workdir


@pytest.fixture
def served(monkeypatch):
    """Addresses that servers were started at; each ends as by Ctrl-C."""
    addresses = []

    def end(server):
        addresses.append(server.server_address[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(ReportServer, "serve_forever", end)
    return addresses


def test_serve_is_for_this_machine_alone(lightwatch, workdir, served):
    code, out, err = lightwatch("report", workdir, "--serve", "--port", 0)
    assert (code, served) == (0, ["127.0.0.1"])
    assert out.startswith("http://127.0.0.1:")
    assert "no password" not in err
    assert not (workdir / "report").exists()


def test_other_addresses_are_asked_for_by_name(lightwatch, workdir, served):
    code, _, err = lightwatch("report", workdir, "--serve", "--port", 0, "--bind", "0.0.0.0")
    assert (code, served) == (0, ["0.0.0.0"])
    assert "there is no password" in err
    code, _, err = lightwatch("report", workdir, "--bind", "0.0.0.0")
    assert code == 2
    assert "give --serve too" in err


def test_port_that_is_taken(lightwatch, workdir):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, _, err = lightwatch("report", workdir, "--serve", "--port", port)
    assert code == 2
    assert f"cannot listen on 127.0.0.1, port {port}" in " ".join(err.split())


def test_watch_tells_what_changes_until_it_is_ended(lightwatch, workdir, make_workdir, tmp_path, monkeypatch):
    workspace = make_workdir(tmp_path / "other", n_frames=4)
    rounds = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 2:
            with transaction(workspace.engine) as connection:
                connection.execute(update(schema.frames).where(schema.frames.c.id == 1).values(eliminated=1))
        if len(rounds) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    code, out, _ = lightwatch("status", workspace.workdir, "--watch")
    assert code == 0
    assert rounds == [2.0] * 4
    assert out.count("last run:") == 2  # four looks, one change
    assert out.index("of which 0 eliminated") < out.index("of which 1 eliminated")


def test_watch_begins_before_the_first_run(lightwatch, workdir, monkeypatch):
    for path in workdir.glob("database.sqlite3*"):
        path.unlink()
    monkeypatch.setattr(time, "sleep", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    code, out, _ = lightwatch("status", workdir, "--watch")
    assert code == 0
    assert "no run yet" in out


def test_watch_is_for_people(lightwatch, workdir):
    assert lightwatch("status", workdir, "--watch", "--json")[0] == 2
