"""A server as the database: its lock, its errors, and a run on it; skipped where there is no server to start."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from lightwatch.errors import AnotherRunActive, ConfigError, SchemaError, StorageError
from lightwatch.pipeline import cli
from lightwatch.structure import database, database_errors
from lightwatch.structure.workspace import Workspace

CONFIG = "raw_dirs: [raw]\ninstrument: simulation\nrois: {target: {coordinates: [42.2, 19.2]}}\n"
HOLDER = """
import sys, time
from lightwatch.structure.workspace import Workspace
with Workspace.open(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""
SECRET = "hunter2hunter2"


def _tool(name):
    found = shutil.which(name) or next(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), None)
    return found and str(found)


@pytest.fixture(scope="module")
def server():
    """URL of a server of its own, on a free port; root starts it as the user 'postgres', as a server demands."""
    pytest.importorskip("psycopg")
    if not (_tool("initdb") and _tool("pg_ctl")):
        pytest.skip("no PostgreSQL here")
    with tempfile.TemporaryDirectory() as home:  # pytest's own directories are of one user alone
        yield from _served(Path(home))


def _served(home):
    as_user = []
    if os.geteuid() == 0:
        if not (
            shutil.which("runuser")
            and subprocess.run(["id", "postgres"], capture_output=True).returncode == 0
        ):
            pytest.skip("root may not start a server, and there is no user for it")
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(home, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "password").write_text(SECRET)
    (home / "password").chmod(0o644)
    data = home / "data"
    words = ["-A", "scram-sha-256", "-U", "me", f"--pwfile={home / 'password'}", "-D", data]
    subprocess.run([*as_user, _tool("initdb"), "--no-sync", *words], check=True, capture_output=True)
    control = [*as_user, _tool("pg_ctl"), "-D", data, "-w"]
    options = f"-p {port} -k {home} -F -c listen_addresses=127.0.0.1"
    subprocess.run(
        [*control, "-o", options, "-l", home / "log", "start"], check=True, stdout=subprocess.DEVNULL
    )
    yield f"postgresql+psycopg://me:{SECRET}@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)


@pytest.fixture
def url(server, request):
    """A database of its own."""
    name = f"t{abs(hash(request.node.name)) % 10**9}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.rsplit("/", 1)[0] + "/" + name


def _workdir(path, url):
    (path / "raw").mkdir(parents=True)
    (path / "config.yaml").write_text(f"{CONFIG}database: {{url: '{url}'}}\n")
    return path


def _command(*words):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code or 0


def test_a_workdir_on_a_server(url, tmp_path, capsys):
    """Made by the first run, read by all commands, and the second run has nothing to do."""
    workdir = _workdir(tmp_path / "w", url)
    assert _command("status", workdir) == 78
    told = capsys.readouterr().err
    assert "db upgrade" in told
    assert len(told.splitlines()) == 1
    assert _command("run", workdir, "-q") == 65
    assert _command("run", workdir, "-q") == 65
    for words in (("status",), ("status", "--json"), ("plan",), ("verify",), ("frames",)):
        assert _command(words[0], workdir, *words[1:]) == 0, words
    assert '"done": 0' in capsys.readouterr().out
    assert _command("verify", workdir, "--repair") == 0
    assert _command("db", "upgrade", workdir) == 0
    assert "up to date already" in capsys.readouterr().out
    assert _command("db", "unlock", workdir) == 0


def test_two_workdirs_on_one_server_are_refused_each_beside_the_other(url, tmp_path, capsys):
    one, two = _workdir(tmp_path / "one", url), _workdir(tmp_path / "two", url)
    assert _command("run", one, "-q") == 65
    with subprocess.Popen([sys.executable, "-c", HOLDER, one], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            capsys.readouterr()
            for words in (
                ("run", two, "-q"),
                ("verify", two, "--repair"),
                ("frames", two, "--eliminate", "1"),
            ):
                assert _command(*words) == 75
                told = capsys.readouterr().err
                assert f"pid {holder.pid} on {socket.gethostname()} since 20" in told
                assert len(told.splitlines()) == 1
        finally:
            holder.send_signal(signal.SIGKILL)
    for _ in range(50):  # the server takes notice of the closed connection
        if (code := _command("run", two, "-q")) != 75:
            break
        time.sleep(0.1)
    assert code == 65


def test_the_lock_is_of_one_schema_of_one_database(url):
    with database.hold_server(url):
        with pytest.raises(AnotherRunActive, match=r"pid \d+ on "), database.hold_server(url):
            pass
        with database.hold_server(url.rsplit("/", 1)[0] + "/postgres"):
            pass
    with database.hold_server(url):
        pass


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [(lambda url: url.set(password="wrongword"), 78, "password authentication failed"),
     (lambda url: url.set(database="nowhere"), 78, "does not exist"),
     (lambda url: url.set(port=1), 74, "refused")],
)  # fmt: skip
@pytest.mark.parametrize("words", [("status",), ("run", "-q"), ("frames", "--eliminate", "1")])
def test_a_server_that_cannot_be_used_is_told_in_a_line_without_the_password(
    server, tmp_path, capsys, change, code, what, words
):
    url = change(make_url(server))
    workdir = _workdir(tmp_path / "w", url.render_as_string(hide_password=False))
    assert _command(words[0], workdir, *words[1:]) == code
    out, err = capsys.readouterr()
    assert what in err
    assert len(err.splitlines()) == 1
    assert "127.0.0.1" in err
    assert (": database.url: " in err) == (code == 78)
    for path in (*workdir.glob("logs/*"), tmp_path / "none"):
        err += path.read_text() if path.exists() else ""
    assert url.password not in out + err


def test_a_server_that_goes_away_within_a_transaction_is_a_matter_of_the_disk(url, tmp_path):
    workspace = Workspace.open(_workdir(tmp_path / "w", url))
    workspace.initialize()
    other = create_engine(url, isolation_level="AUTOCOMMIT")
    with pytest.raises(StorageError, match=r"127\.0\.0\.1"):  # noqa: PT012, SIM117 - raised within
        with database.transaction(workspace.engine) as connection:
            key = connection.execute(text("SELECT pg_backend_pid()")).scalar()
            with other.connect() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": key})
            connection.execute(text("SELECT 1"))
    other.dispose()
    workspace.close()


class _DriverError(Exception):
    sqlstate = None


@pytest.mark.parametrize(
    ("state", "text_", "kind"),
    [("42P01", 'relation "runs" does not exist\nLINE 1: x', SchemaError),
     ("42501", "permission denied for table runs", ConfigError),
     (None, 'FATAL:  role "you" does not exist', ConfigError),
     ("57P01", "terminating connection", StorageError)],
)  # fmt: skip
def test_errors_of_a_server_are_told_apart(state, text_, kind):
    """Without a server: by its code, or its words where the driver tells none."""
    from sqlalchemy.exc import OperationalError

    driver = _DriverError(text_)
    driver.sqlstate = state
    url = make_url(f"postgresql://me:{SECRET}@host:5432/db")
    found = database_errors.told(url, OperationalError("SELECT 1", {}, driver))
    assert type(found) is kind
    assert len(str(found).splitlines()) == 1
    assert "host:5432/db" in str(found)
    assert SECRET not in str(found)


def test_what_is_no_matter_of_the_server_stays_a_bug():
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    driver = _DriverError("syntax error")
    driver.sqlstate = "42601"
    url = make_url("postgresql://me@host/db")
    assert database_errors.told(url, ProgrammingError("SELEC", {}, driver)) is None
    driver.sqlstate = "23505"
    assert database_errors.told(url, IntegrityError("INSERT", {}, driver)) is None
