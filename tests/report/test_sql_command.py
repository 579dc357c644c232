"""lightwatch sql: what it answers, what it refuses, and that nothing is written."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import http.client
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from reliability.commands import in_a_terminal
from sqlalchemy import update

from lightwatch.errors import ConfigError
from lightwatch.pipeline import cli, sql_server
from lightwatch.structure import schema
from lightwatch.structure.canned_queries import CANNED
from lightwatch.structure.database import transaction
from lightwatch.structure.meanings import TABLES

ROOT = Path(__file__).resolve().parent.parent.parent
HAS_DATASETTE = importlib.util.find_spec("datasette") is not None
#: gives some rows at once, and then thinks without an end
ENDLESS = """WITH RECURSIVE few(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM few LIMIT 3000),
n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
SELECT i FROM few UNION ALL SELECT count(*) FROM n"""


@pytest.fixture(scope="module")
def workdir(make_workdir, tmp_path_factory):
    workspace = make_workdir(tmp_path_factory.mktemp("asked") / "w", n_frames=4)
    workspace.close()
    return workspace.workdir


@pytest.fixture
def ask(workdir, capsys):
    """Run ``lightwatch sql`` on the workdir: (exit code, standard output, standard error)."""

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["sql", *words, str(workdir)])
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    return run


def bytes_of(workdir: Path) -> dict[str, str]:
    """What the database and its log hold; an empty log is none."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in workdir.rglob("*")
        if path.is_file() and path.stat().st_size and not path.name.endswith("-shm")
    }


# ---------------------------------------------------------------- queries
def test_table_holds_exact_numbers(ask):
    code, out, _ = ask("SELECT id, bjd_tdb, comment, NULL AS none FROM frames ORDER BY id")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["id", "bjd_tdb", "comment", "none"]
    assert lines[2].split()[:2] == ["2", "2460000.515"]
    assert lines[2].split()[-1] == "-"
    assert len(lines) == 5


def test_the_view_and_the_status_agree_on_what_is_pending(ask, workdir, capsys):
    told = json.loads(ask("SELECT task, done, pending, rejected, failed FROM progress", "--json")[1])
    with pytest.raises(SystemExit):
        cli.main(["status", str(workdir), "--json"])
    assert json.loads(capsys.readouterr().out)["tasks"] == told
    pending = {row["task"]: row["pending"] for row in told}
    assert pending["plate_solving"] == 0
    assert pending["calculate_normalization_coefficient"] is None


def test_csv_and_json(ask):
    query = "SELECT id, mjd, filter, NULL AS x, id FROM frames ORDER BY id"
    rows = list(csv.reader(io.StringIO(ask(query, "--csv")[1])))
    assert rows[0] == ["id", "mjd", "filter", "x", "id:1"]
    assert rows[1] == ["1", "60000.0", "r", "", "1"]
    told = json.loads(ask(query, "--json")[1])
    assert told[0] == {"id": 1, "mjd": 60000.0, "filter": "r", "x": None, "id:1": 1}
    assert json.loads(ask("SELECT 9e999 AS x", "--json")[1]) == [{"x": None}]


@pytest.mark.parametrize("text", ["=cmd|x!A0", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1"])
def test_csv_cells_are_no_formulas(ask, text):
    codes = "||".join(f"char({ord(c)})" for c in text)
    _, out, _ = ask(f"SELECT {codes} AS x, -1 AS y, 'a-b' AS [=1]", "--csv")
    names, row = csv.reader(io.StringIO(out))
    assert names == ["x", "y", "'=1"]
    assert row == [f"'{text.strip()}", "-1", "a-b"]


def test_more_rows_than_a_table_shows(ask):
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT i FROM n"
    code, out, err = ask(query)
    assert (code, len(out.splitlines())) == (0, 1001)
    assert "the first 1000 rows; --csv and --json give all of them" in err
    assert len(ask(query, "--csv")[1].splitlines()) == 5001
    endless = query.replace("LIMIT 5000", "")  # rows without an end are not waited for
    assert ask(endless)[0] == 0


def test_long_and_hostile_text_is_a_cell(ask):
    _, out, _ = ask("SELECT 'a' || char(27) || '[2J' || char(10) || 'b' AS t, CAST(x'ff41' AS TEXT) AS u")
    assert out.splitlines()[1].split() == ["a?[2J", "b", "\N{REPLACEMENT CHARACTER}A"]
    _, out, _ = ask(f"SELECT '{'x' * 500}' AS t")
    assert len(out.splitlines()[1]) == 60


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT * FROM frmaes", "query: no such table: frmaes: did you mean frames?"),
        ("SELECT seeing_arcsecond FROM frames", "did you mean seeing_arcseconds?"),
        ("SELECT * FROM qqqqqq", "docs/columns.md has all names"),
        ("SELEC 1", 'near "SELEC": syntax error'),
        ("", "that is no query"),
        ("SELECT '\udcff'", "query: not UTF-8"),
        ("/* nothing */", "that is no query"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT ?", "bindings"),
        ("SELECT zeroblob(2000000000)", "too big"),
        ("SELECT abs(-9223372036854775808)", "integer overflow"),
    ],
)
def test_mistakes_are_told_in_a_line(ask, query, told):
    code, out, err = ask(query)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM frames", "UPDATE frames SET eliminated = 1", "DROP VIEW light_curves", "CREATE TABLE t (x)",
        "INSERT INTO rois VALUES ('x', 1, 1)", "VACUUM", "VACUUM INTO '{}/new.sqlite3'", "BEGIN IMMEDIATE",
        "ATTACH '{}/new.sqlite3' AS other", "PRAGMA query_only = OFF", "PRAGMA wal_checkpoint(TRUNCATE)",
        "UPDATE sqlite_master SET sql = ''",
        "PRAGMA journal_mode = DELETE", "PRAGMA writable_schema = 1", "REINDEX", "ANALYZE", "SAVEPOINT s",
        "SELECT load_extension('{}/x.so')", "WITH x AS (SELECT 1) DELETE FROM frames",
    ],
)  # fmt: skip
def test_nothing_but_reading(ask, workdir, tmp_path, query):
    before = bytes_of(workdir)
    code, _, err = ask(query.format(tmp_path))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert bytes_of(workdir) == before
    assert not list(tmp_path.iterdir())


def test_what_asks_about_tables_and_plans_is_reading(ask):
    assert "content_hash" in ask("PRAGMA table_info(frames)")[1]
    assert ask("EXPLAIN QUERY PLAN SELECT * FROM light_curves")[0] == 0
    assert ask("SELECT name FROM pragma_table_info('frames')")[0] == 0
    assert ask("SELECT j.value FROM combined_footprint, json_each('[3]') j")[1].split() == ["value", "3"]
    assert ask("SELECT group_concat(filter) FROM frames WHERE object LIKE '%'")[0] == 0


def test_a_writer_is_not_waited_for_and_does_not_wait(ask, make_workdir, tmp_path, capsys):
    workspace = make_workdir(tmp_path / "w", n_frames=2)
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.frames).values(comment="being written"))
        with pytest.raises(SystemExit) as end:
            cli.main(["sql", "SELECT DISTINCT comment FROM frames", str(workspace.workdir)])
        assert not end.value.code
        assert "being written" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["sql", "SELECT DISTINCT comment FROM frames", str(workspace.workdir)])
    assert "being written" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_long_query_can_be_broken_off(workdir, number, code):
    with in_a_terminal("sql", ENDLESS, str(workdir), "--csv") as process:
        assert process.stdout.readline() == "i\n"
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err


def test_words_that_do_not_go_together(ask, capsys, monkeypatch):
    monkeypatch.delenv("LIGHTWATCH_CONFIG", raising=False)
    assert ask("SELECT 1", "--csv", "--json")[0] == 2
    assert ask("--serve", "--csv")[0] == 2
    code, _, err = ask("--serve", "elsewhere")  # and the workdir
    assert code == 2
    assert "--serve takes the workdir alone" in " ".join(err.split())
    with pytest.raises(SystemExit) as end:
        cli.main(["sql"])
    assert end.value.code == 2
    assert "give a query in quotes, or --serve" in capsys.readouterr().err


def test_damaged_database_is_not_the_query_s_fault(make_workdir, tmp_path, capsys):
    workspace = make_workdir(tmp_path / "w", n_frames=2)
    workspace.close()
    (workspace.workdir / "database.sqlite3").write_bytes(b"no database at all" * 1000)
    with pytest.raises(SystemExit) as end:
        cli.main(["sql", "SELECT 1 FROM frames", str(workspace.workdir)])
    assert end.value.code == 74
    assert "copies of it are in backups/" in capsys.readouterr().err


# ---------------------------------------------------------------- what is shown beside the tables
def test_every_table_view_and_column_is_described(workdir):
    shown = sql_server.description(workdir / "database.sqlite3")["databases"]["database"]["tables"]
    assert set(shown) == set(TABLES)
    assert {"frames", "light_curves", "progress", "alembic_version"} <= set(shown)
    for table, about in shown.items():
        assert len(about["description"]) > 10, table
        assert about["columns"]
        assert [name for name, text in about["columns"].items() if len(text) < 6] == [], table
    assert shown["light_curves"]["columns"]["flux"].endswith("electron/s")
    assert set(shown["frames"]["columns"]) == set(schema.frames.columns.keys())


def test_queries_to_begin_with_are_those_of_the_page():
    page = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    blocks = {block.strip() for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)}
    assert len(CANNED) > 5
    assert {query for _, query in CANNED.values()} <= blocks


# ---------------------------------------------------------------- in a browser
def test_without_datasette_a_line_says_how_to_get_it(ask, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert ask("--serve") == (78, "", "SQL in a browser needs datasette: pip install datasette\n")


def broken_datasette(folder: Path, **modules: str) -> dict[str, str]:
    """The environment of a command that finds these modules in place of those of datasette."""
    (folder / "datasette").mkdir(parents=True)
    for name, source in {"__init__": "", **modules}.items():
        (folder / "datasette" / f"{name}.py").write_text(source)
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import a_module_that_nobody_has", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
        ("def Datasette(**_):\n    raise ValueError('no\\nplugins')", "datasette failed: ValueError: no plugins"),
        ("import sys\nsys.exit(3)", "datasette failed: SystemExit: 3"),
    ],
)  # fmt: skip
def test_a_datasette_that_fails_is_told_in_a_line(workdir, tmp_path, source, told):
    command = [sys.executable, "-m", "lightwatch.pipeline.cli", "sql", "--serve", str(workdir), "--port", "0"]
    environment = broken_datasette(tmp_path / "path", app=source)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (ended.returncode, ended.stdout) == (78, "")
    (line,) = ended.stderr.splitlines()
    assert told in line


@pytest.mark.skipif(not HAS_DATASETTE, reason="datasette is not installed")
def test_a_server_that_ends_at_its_start_is_told_in_a_line(ask, monkeypatch):
    """As uvicorn does when the application that it serves says that it cannot begin."""
    import uvicorn

    async def startup(self, sockets=None):
        sys.exit(3)

    monkeypatch.setattr(uvicorn.Server, "startup", startup)
    code, _, err = ask("--serve", "--port", "0")
    assert code == 78
    assert err.startswith("datasette failed: SystemExit: 3")


def test_a_datasette_that_hangs_is_told_in_a_line(workdir, tmp_path):
    """An import that waits for a disk of the network."""
    source = "import time\ntry:\n    time.sleep(600)\nexcept Exception:\n    pass"
    begun = (
        f"sql_server.SECONDS_TO_BEGIN = 1.0; cli.main(['sql', '--serve', {str(workdir)!r}, '--port', '0'])"
    )
    command = [sys.executable, "-c", f"from lightwatch.pipeline import cli, sql_server; {begun}"]
    environment = broken_datasette(tmp_path / "path", app=source)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.startswith("datasette did not begin within 1 s; ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.skipif(not HAS_DATASETTE, reason="datasette is not installed")
@pytest.mark.parametrize("waits", [True, False])
def test_a_server_that_hangs_at_its_start_is_told_in_a_line(ask, monkeypatch, waits):
    """A plugin that waits for what never comes, or thinks for ever; not before datasette is there."""
    from datasette.app import Datasette

    async def hanging(self):
        await asyncio.sleep(600) if waits else time.sleep(600)

    monkeypatch.setattr(Datasette, "invoke_startup", hanging)
    monkeypatch.setattr(sql_server, "SECONDS_TO_BEGIN", 3.0)
    code, _, err = ask("--serve", "--port", "0")
    assert code == 78
    assert err.startswith("datasette did not begin within 3 s; ")


@pytest.mark.parametrize("name", ["a?mode=rwc", "100%", "a#b"])
def test_path_that_would_be_taken_for_something_else(monkeypatch, tmp_path, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    with pytest.raises(ConfigError, match="cannot open a path with"):
        sql_server.SqlServer(tmp_path / name / "database.sqlite3")


def test_a_query_is_asked_whatever_the_path(make_workdir, tmp_path, capsys):
    workspace = make_workdir(tmp_path / "100% a?mode=rwc#b", n_frames=2)
    with pytest.raises(SystemExit) as end:
        cli.main(["sql", "SELECT count(*) AS n FROM frames", str(workspace.workdir)])
    assert not end.value.code
    assert capsys.readouterr().out.split() == ["n", "2"]


COOKIE = {"cookie": "theme=dark; lightwatch-8712=secret"}


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/database", COOKIE, 299), ("HEAD", "/database", COOKIE | {"host": "LOCALHOST:8712"}, 299),
        ("GET", "/database", COOKIE | {"host": "evil.example:8712"}, 421),
        ("GET", "/database", COOKIE | {"host": "127.0.0.1"}, 421), ("GET", "/database", COOKIE | {"host": ""}, 421),
        ("POST", "/database", COOKIE, 405), ("PUT", "/database", COOKIE | {"host": "localhost:8712"}, 405),
        ("GET", "/database", COOKIE | {"sec-fetch-site": "same-origin"}, 299),
        ("GET", "/database", COOKIE | {"sec-fetch-site": "none"}, 299),
        ("GET", "/database", COOKIE | {"sec-fetch-site": "cross-site"}, 403),
        ("GET", "/database", COOKIE | {"sec-fetch-site": "same-site"}, 403),
        ("GET", "/database", {}, 403), ("GET", "/database", {"cookie": "lightwatch-8712=secre"}, 403),
        ("GET", "/database", {"cookie": "lightwatch-8713=secret"}, 403),
        ("GET", "/?key=secret", {"sec-fetch-site": "cross-site"}, 200), ("GET", "/?key=secre", {}, 403),
        ("GET", "/?key=", {}, 403), ("GET", "/?key=\xff", {"cookie": "\xff"}, 403), ("POST", "/?key=secret", {}, 405),
        ("GET", "/?key=secret", {"host": "evil.example:8712"}, 421),
    ],
)  # fmt: skip
def test_what_is_passed_on(method, target, headers, status):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 299, "headers": []})

    async def send(message):
        told.append(message)

    told: list[dict] = []
    path, _, query = target.partition("?")
    with_host = {"host": "127.0.0.1:8712"} | headers
    raw = [(name.encode(), value.encode("latin-1")) for name, value in with_host.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode("latin-1")}
    guarded = sql_server.Door(8712, "/database", "secret").guarding(app)
    asyncio.run(guarded(scope | {"headers": raw}, None, send))
    assert told[0]["status"] == status
    assert (b"set-cookie" in dict(told[0]["headers"])) == (status == 200)


@pytest.fixture(scope="module")
def served(workdir):
    if not HAS_DATASETTE:
        pytest.skip("datasette is not installed")
    server = sql_server.SqlServer(workdir / "database.sqlite3")
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.skipif(not HAS_DATASETTE, reason="datasette is not installed")
@pytest.mark.parametrize("fails", [False, True])
def test_datasette_is_left_as_it_was(workdir, monkeypatch, fails):
    """A program that imports both may serve something else with it."""
    from datasette import handle_exception
    from datasette.plugins import pm

    async def startup(self, sockets=None):
        assert not fails
        self.should_exit = True

    rich, plugins = object(), pm.get_plugins()
    alarm = signal.getsignal(signal.SIGALRM)
    server = sql_server.SqlServer(workdir / "database.sqlite3")
    monkeypatch.setattr(handle_exception, "rich", rich)
    monkeypatch.setattr(server.server.__class__.__base__, "startup", startup)
    with pytest.raises(ConfigError, match="AssertionError") if fails else nullcontext():
        server.run()
    assert handle_exception.rich is rich
    assert pm.get_plugins() == plugins
    assert signal.getsignal(signal.SIGALRM) is alarm


def fetch(server, path: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, str]:
    """With the cookie of a browser that has been to the address with the key."""
    return fetch_at(server.url, path, method, body, **headers)


def fetch_at(
    url: str, path: str, method: str = "GET", body: str | None = None, **headers: str
) -> tuple[int, str]:
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=60)) as connection:
        connection.request("GET", f"{parts.path}?{parts.query}")
        welcome = connection.getresponse()
        assert (welcome.status, b"url=/database" in welcome.read()) == (200, True)
        cookie = welcome.headers["Set-Cookie"]
        assert cookie.endswith("HttpOnly; SameSite=Strict")
        connection.request(method, path, body, {"Cookie": cookie.split(";")[0]} | headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8")


def test_pages_tell_what_tables_and_columns_are(served, workdir):
    before = bytes_of(workdir)
    assert re.fullmatch(rf"http://127\.0\.0\.1:{served.port}/\?key=[\w-]{{43}}", served.url)
    status, text = fetch(served, "/database/frames")
    assert status == 200
    assert "An imported frame" in text
    assert "barycentric Julian date (TDB) of mid-exposure at the ROI" in text
    status, text = fetch(served, "/database/light_curves")
    assert status == 200
    assert "flux of the whole PSF on the normalised scale, electron/s" in text
    assert "How far is the work?" in fetch(served, "/database")[1]
    for name in CANNED:
        assert fetch(served, f"/database/{name}.json")[0] == 200
    status, text = fetch(served, "/database.json?sql=select+count(*)+as+n+from+frames&_shape=array")
    assert (status, json.loads(text)) == (200, [{"n": 4}])
    assert bytes_of(workdir) == before


@pytest.mark.parametrize(
    "statement",
    ["delete from frames", "update frames set eliminated=1", "drop table runs", "attach 'x' as y", "vacuum"],
)
def test_pages_write_nothing(served, workdir, statement):
    before = bytes_of(workdir)
    status, text = fetch(served, f"/database.json?sql={statement.replace(' ', '+')}")
    assert status == 400
    assert not json.loads(text)["ok"]
    assert fetch(served, "/database/frames", "POST", "x=1")[0] == 405
    assert fetch(served, "/database.db")[0] in (403, 404)
    assert bytes_of(workdir) == before


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "10.0.0.1:{port}"])
def test_another_host_is_refused(served, host):
    status, text = fetch(served, "/database/frames", Host=host.format(port=served.port))
    assert status == 421
    assert "frames" not in text


def test_who_has_no_key_is_refused(served):
    status, text = fetch(served, "/database/frames", Cookie="")
    assert (status, text) == (403, "open the address that 'lightwatch sql --serve' told\n")


@pytest.mark.skipif(not HAS_DATASETTE, reason="datasette is not installed")
def test_command_of_the_page_is_quiet_and_ends_while_queries_run(workdir):
    page = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    (words,) = re.findall(r"^lightwatch (.*--serve.*) ~/j0248$", page, re.MULTILINE)
    with in_a_terminal(*words.split(), str(workdir), "--port", "0") as process:
        told = process.stdout.readline()
        assert "keep it to yourself; Ctrl-C ends it" in told
        url = told.split()[0]
        assert fetch_at(url, "/database/nothing")[0] == 404
        assert fetch_at(url, "/database?sql=delete+from+frames")[0] == 400
        endless = f"/database?{urlencode({'sql': ENDLESS})}"
        asking = [threading.Thread(target=_asked_in_vain, args=(url, endless)) for _ in range(5)]
        for thread in asking:
            thread.start()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip(), err) == (0, "", "")
    for thread in asking:
        thread.join(5)


@pytest.mark.skipif(not HAS_DATASETTE, reason="datasette is not installed")
def test_a_server_that_is_told_to_end_has_not_failed(workdir):
    with in_a_terminal("sql", "--serve", str(workdir), "--port", "0") as process:
        assert fetch_at(process.stdout.readline().split()[0], "/database/frames.json")[0] == 200
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")


def _asked_in_vain(url: str, path: str) -> None:
    with suppress(OSError, http.client.HTTPException):
        fetch_at(url, path)


def test_it_listens_on_loopback_and_the_writer_does_not_wait(served, make_workdir, tmp_path):
    assert served._socket.getsockname()[0] == "127.0.0.1"
    workspace = make_workdir(tmp_path / "w", n_frames=2)
    other = sql_server.SqlServer(workspace.workdir / "database.sqlite3")
    thread = threading.Thread(target=other.run, daemon=True)
    thread.start()
    try:
        assert fetch(other, "/database/frames.json")[0] == 200
        began = time.monotonic()
        with transaction(workspace.engine) as connection:
            connection.execute(update(schema.frames).values(comment="new"))
            assert fetch(other, "/database/frames.json?_shape=array")[0] == 200
        assert time.monotonic() - began < 5
        told = json.loads(fetch(other, "/database/frames.json?_shape=array")[1])
        assert {row["comment"] for row in told} == {"new"}
    finally:
        other.server.should_exit = True
        thread.join(20)


@pytest.mark.skipif(not HAS_DATASETTE, reason="datasette is not installed")
def test_port_that_is_taken(ask, served):
    code, _, err = ask("--serve", "--port", str(served.port))
    assert code == 2
    assert f"port {served.port}" in " ".join(err.split())
