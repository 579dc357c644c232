"""The database: two runs at once, readers beside a run, wrong values, copies, migrations."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Integer, Text

from lightwatch.structure import backups, queries, queries_overview, schema, upgrade
from lightwatch.structure.database import open_engine, open_reader
from reliability.generated_workdir import FOOTPRINT, make_generated
from reliability.goal import Effort, Goal, Measured
from reliability.schema_rows import SCHEMAS, fill, is_number, load, tables

HERE = Path(__file__).resolve().parent
_ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
_CONFIG = """raw_dirs: [raw]
instrument: simulation
rois: {target: {coordinates: [42.2, 19.2]}}
network: {offline: true}
"""
_HOLDER = """
import sys, time
from lightwatch.structure.workspace import Workspace
with Workspace.open(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(600)
"""


def _lightwatch(*words: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """A command as cron runs it, and its wall time in seconds, start of the program included."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "lightwatch.pipeline.cli", *words]
    ended = subprocess.run(command, capture_output=True, text=True, env=_ENVIRONMENT, check=False)
    return ended, time.perf_counter() - begun


@contextmanager
def _script(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A Python script that runs meanwhile; killed at the end, if it has not ended."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True, env=_ENVIRONMENT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _empty_workdir(path: Path) -> Path:
    (path / "raw").mkdir(parents=True)
    (path / "config.yaml").write_text(_CONFIG)
    return path


# ---------------------------------------------------------------- R9
def _state(path: Path) -> dict[str, tuple[int, int, int]]:
    """Size, time and inode of a directory and everything below it."""
    found = {str(item): item.stat() for item in (path, *path.rglob("*"))}
    return {name: (stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in found.items()}


def two_runs(scratch: Path, effort: Effort) -> Measured:
    """A second run while one holds the workdir; then the holder is killed and a run is started."""
    workdir = _empty_workdir(scratch / "w")
    n_second, n_kill = effort.of(5, 20), effort.of(1, 5)
    seconds, refused, free = [], 0, 0
    for round_ in range(n_kill):
        with _script("-c", _HOLDER, str(workdir)) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            for _ in range(n_second if round_ == 0 else 1):
                before = _state(workdir)
                ended, wall = _lightwatch("run", str(workdir), "-q")
                seconds.append(wall)
                told = ended.stderr.splitlines()
                refused += (
                    ended.returncode == 75
                    and len(told) == 1
                    and f"pid {holder.pid}" in told[0]
                    and "since 20" in told[0]
                    and _state(workdir) == before
                )
            holder.send_signal(signal.SIGKILL)
            holder.wait()
        free += _lightwatch("run", str(workdir), "-q")[0].returncode == 65  # nothing to work on, but it ran
    text = (
        f"{refused} of {len(seconds)} second runs refused with 75, a line that names the holder, and no write; "
        f"whole command {statistics.median(seconds):.2f} s (median), {max(seconds):.2f} s (longest); "
        f"{free} of {n_kill} runs began at once after kill -9 of the holder"
    )
    quick = max(seconds) < 1.0 or not effort.full  # times are judged in full measurements, on an idle machine
    return Measured(text, refused == len(seconds) and quick and free == n_kill)


# ---------------------------------------------------------------- R10
_QUESTIONS: tuple[Callable[[], object], ...] = (
    queries.current_footprint,
    queries.last_run,
    queries_overview.newest_frame,
    queries_overview.frame_counts,
    queries_overview.progress,
    queries.file_states,
    lambda: queries_overview.rejections(FOOTPRINT),
    queries_overview.product_bytes,
)


@dataclass(frozen=True)
class Latency:
    """How long the questions of ``status`` took, each by itself, in ms; ``errors`` of them failed.

    ``sorted_cpu_ms``: of the processor alone, which tells what a busy machine added.
    """

    sorted_ms: Sequence[float]
    sorted_cpu_ms: Sequence[float]
    errors: int

    def at(self, fraction: float) -> float:
        """A quantile."""
        return _quantile(self.sorted_ms, fraction)

    def __str__(self) -> str:
        return (
            f"p50 {self.at(0.5):.1f}, p99 {self.at(0.99):.1f}, longest {self.sorted_ms[-1]:.1f} ms "
            f"({len(self.sorted_ms)} questions, {self.errors} errors; of the processor p99 "
            f"{_quantile(self.sorted_cpu_ms, 0.99):.1f}, longest {self.sorted_cpu_ms[-1]:.1f} ms)"
        )


def _quantile(ordered: Sequence[float], fraction: float) -> float:
    return ordered[min(int(fraction * len(ordered)), len(ordered) - 1)]


def _ask(url: str, seconds: float) -> Latency:
    """Ask what ``status`` asks, over and over."""
    reader, took, used, errors = open_reader(url), [], [], 0
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        for question in _QUESTIONS:
            asked, worked = time.perf_counter(), time.thread_time()
            try:
                queries.rows(reader, question())
            except Exception:
                errors += 1
            took.append(1e3 * (time.perf_counter() - asked))
            used.append(1e3 * (time.thread_time() - worked))
        time.sleep(0.02)  # nobody asks without pause, and the machine has few cores
    reader.dispose()
    return Latency(sorted(took), sorted(used), errors)


def readers(scratch: Path, effort: Effort) -> Measured:
    """A process that writes without pause, one that asks, and a connection that forgot to end its transaction."""
    n_frames, seconds = effort.of(2000, 10_000), float(effort.of(3, 60))
    workdir = make_generated(scratch / "w", n_frames)
    database = workdir.path / "database.sqlite3"
    url = f"sqlite:///{database}"
    alone = _ask(url, seconds / 3)
    script = str(HERE / "busy_writer.py")
    with _script(script, str(workdir.path), str(seconds + 1)) as writer, _listening(writer) as told:
        while not told:
            time.sleep(0.01)
        with closing(
            sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
        ) as forgetful:
            forgetful.execute("BEGIN")
            forgetful.execute("SELECT count(*) FROM frames").fetchall()
            during = _ask(url, seconds)
        writer.wait()
    _, failed, grown, left = (int(word) for word in told[-1].replace("end", "0").split())
    workdir.check_database()
    text = (
        f"{n_frames} frames: {during}; p99 without a writer {alone.at(0.99):.1f} ms; {len(told) - 1} transactions "
        f"written, {failed} failed beside a reader that forgot its transaction for {seconds:.0f} s; the log grew to "
        f"{grown / 1e6:.0f} MB meanwhile and had {left / 1e6:.1f} MB after the run"
    )
    quick = (during.at(0.99) < 50 and during.sorted_ms[-1] < 500) or not effort.full
    return Measured(text, quick and during.errors == 0 and failed == 0 and left < 64e6)


@contextmanager
def _listening(process: subprocess.Popen[str]) -> Iterator[list[str]]:
    """The lines that a script prints, as they come."""
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.extend(process.stdout or ()))
    thread.start()
    yield told
    thread.join()


# ---------------------------------------------------------------- R15
def integrity(scratch: Path, effort: Effort) -> Measured:
    """Every column of every table offered values of a wrong kind; databases new and migrated from each schema."""
    paths = [scratch / "new.sqlite3", *(scratch / f"{dump.stem}.sqlite3" for dump in SCHEMAS.glob("*.sql"))]
    if not effort.full:
        paths = [paths[0], min(paths[1:])]
    offered = refused = unknown = 0
    sound = True
    for path in paths:
        if path.stem != "new":
            load(SCHEMAS / f"{path.stem}.sql", path)
        engine = open_engine(f"sqlite:///{path}")
        upgrade.upgrade(engine)
        engine.dispose()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            fill(connection)
            for statement, value, wanted in _wrong_values():
                offered += 1
                try:
                    connection.execute("BEGIN")
                    connection.execute(statement, (value,))
                    stored = "null" if wanted == "null" else "stored"
                except sqlite3.IntegrityError:
                    stored = "refused"
                connection.execute("ROLLBACK")
                refused += stored == wanted
                unknown += wanted == "null" and stored == wanted
            sound &= connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            sound &= not connection.execute("PRAGMA foreign_key_check").fetchall()
            strict = connection.execute("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = "
                                        "'table' AND strict = 0 AND name NOT LIKE 'sqlite%' AND name <> "
                                        "'alembic_version'").fetchone()[0]  # fmt: skip
            sound &= strict == 0
    text = (
        f"{refused} of {offered} wrong values handled as they must be in {len(paths)} databases (new, and migrated): "
        f"text, infinities, fractions for whole numbers, bytes for text, references to nothing refused; NaN is refused "
        f"where a number is required, and becomes NULL ({unknown} times) elsewhere; all tables strict and sound: "
        f"{'yes' if sound else 'NO'}"
    )
    return Measured(text, refused == offered and sound)


def _wrong_values() -> Iterator[tuple[str, object, str]]:
    """Statement, value, and what must happen to it: 'refused', or 'null' for a NaN where unknown is allowed."""
    for table in tables():
        for column in table.columns:
            statement = f'UPDATE "{table.name}" SET "{column.name}" = ?'
            if is_number(column):
                for value in ("text", math.inf, -math.inf, 1e301, b"bytes"):
                    yield statement, value, "refused"
                yield statement, math.nan, "null" if column.nullable else "refused"
            elif isinstance(column.type, Integer):
                yield statement, "text", "refused"
                yield statement, 1.5, "refused"
            elif isinstance(column.type, Text):
                yield statement, b"bytes", "refused"
            if column.foreign_keys:
                yield statement, 99 if isinstance(column.type, Integer) else "nothing", "refused"
            if not column.nullable and not column.primary_key:
                yield statement, None, "refused"


# ---------------------------------------------------------------- R16
def copies(scratch: Path, effort: Effort) -> Measured:
    """Copies taken while a process writes: whole, and with every commit older than they are."""
    n_copies = effort.of(5, 20)
    workdir = make_generated(scratch / "w", effort.of(200, 10_000))
    engine = open_engine(f"sqlite:///{workdir.path / 'database.sqlite3'}")
    taken: list[tuple[float, Path]] = []
    cost = []
    with (
        _script(str(HERE / "busy_writer.py"), str(workdir.path), "600") as writer,
        _listening(writer) as told,
    ):
        while not told:
            time.sleep(0.01)
        for _ in range(n_copies):
            begun = time.monotonic()
            path = backups.backup(engine, backups.BY_HAND)
            cost.append(time.monotonic() - begun)
            assert path is not None
            taken.append((begun, path))
        writer.kill()
    engine.dispose()
    whole = [line.split() for line in told if line.endswith("\n")]  # the last one may be cut off by the kill
    commits = [(int(number), float(at)) for number, at in whole]
    sound = complete = 0
    for begun, path in taken:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            sound += connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            sound -= bool(connection.execute("PRAGMA foreign_key_check").fetchall())
            held = {
                int(row[0]) for row in connection.execute("SELECT item FROM task_errors WHERE task = 't'")
            }
        complete += {number for number, at in commits if at < begun} <= held
    kept, killed = _kept_by_rule(), _killed_copies(workdir.path, effort.of(2, 10))
    text = (
        f"{sound} of {n_copies} copies sound, {complete} hold every commit older than they are ({len(commits)} commits "
        f"meanwhile); {statistics.median(cost):.2f} s a copy; a year of nightly copies leaves {kept}; "
        f"{killed} damaged or partial copies after a kill in the middle"
    )
    return Measured(
        text, sound == complete == n_copies and killed == 0 and kept == "7 days, 4 weeks, 6 months"
    )


def _kept_by_rule() -> str:
    keep: set[datetime] = set()
    nights = [datetime(2026, 1, 1, 9) + timedelta(days=k) for k in range(365)]
    for night in nights:
        keep = backups.kept(keep | {night})
    days = sum(night in keep for night in nights[-7:])
    weeks = len({night.isocalendar()[:2] for night in keep if night > nights[-28]})
    return f"{days} days, {weeks} weeks, {len({(n.year, n.month) for n in keep})} months"


def _killed_copies(workdir: Path, n_kills: int) -> int:
    """Copies that are not whole after the process that made them was killed."""
    script = (
        "import sys; from lightwatch.structure.backups import backup; from lightwatch.structure.database import "
        "open_engine; e = open_engine(f'sqlite:///{sys.argv[1]}/database.sqlite3'); print('go', flush=True)\n"
        "while True: backup(e, 'killed')"
    )
    for k in range(n_kills):
        with _script("-c", script, str(workdir)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.02 + 0.013 * k)
            process.kill()
    bad = 0
    for path in (workdir / "backups").glob("*-killed.sqlite3"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            try:
                bad += connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]
            except sqlite3.DatabaseError:
                bad += 1
    return bad


# ---------------------------------------------------------------- R17
_KILLS = 20  # of the upgrade of one schema


def migrations(scratch: Path, effort: Effort) -> Measured:
    """Every schema that there was comes to the newest; killed on the way it is old or new; a newer one is refused."""
    dumps = sorted(SCHEMAS.glob("*.sql"))
    like_new = sum(_comes_to_head(dump, scratch) for dump in dumps)
    n_kills = killed = like_old = like_after = between = 0
    for dump in dumps[:-1] if effort.full else dumps[:1]:
        undisturbed, *trials = _killed(dump, scratch / dump.stem, _KILLS)
        old, new = undisturbed["old"], undisturbed["new"]
        assert (old["revision"], new["revision"], new["sound"]) == (dump.stem, dumps[-1].stem, True)
        for trial in trials:
            n_kills += 1
            killed += trial["killed"]
            good = trial["after"] == new
            like_old += good and trial["left"] == old
            like_after += good and trial["left"] == new
            between += not good or trial["left"] not in (old, new)
    refused = _newer_is_refused(_empty_workdir(scratch / "newer"))
    text = (
        f"{like_new} of {len(dumps)} schemas come to {dumps[-1].stem} with their rows and no difference to a new "
        f"database; {killed} of {n_kills} upgrades killed: {like_old} left every table and row as before, "
        f"{like_after} as after an undisturbed upgrade, {between} anything else; the next start brings them to the "
        f"latter; a newer database is {'refused with 78' if refused else 'NOT refused'}"
    )
    return Measured(text, like_new == len(dumps) and killed == n_kills > 0 and between == 0 and refused)


def _comes_to_head(dump: Path, scratch: Path) -> bool:
    path = scratch / f"{dump.stem}.sqlite3"
    load(dump, path)
    before = _rows(path)
    engine = open_engine(f"sqlite:///{path}")
    upgrade.upgrade(engine)
    with engine.connect() as connection:
        left = compare_metadata(MigrationContext.configure(connection), schema.metadata)
    engine.dispose()
    after = _rows(path)
    return not left and all(row.items() <= after[table].items() for table, row in before.items())


def _rows(path: Path) -> dict[str, dict[str, object]]:
    """The one row of each table that has one."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: connection.execute(f'SELECT * FROM "{name}"').fetchone() for name in names}
        return {name: dict(row) for name, row in found.items() if row and name != "alembic_version"}


def _killed(dump: Path, scratch: Path, n: int) -> Iterator[dict[str, Any]]:
    scratch.mkdir()
    script = [sys.executable, str(HERE / "killed_upgrade.py"), str(dump), str(scratch), str(n)]
    ended = subprocess.run(script, capture_output=True, text=True, env=_ENVIRONMENT, check=True)
    yield from map(json.loads, ended.stdout.splitlines())


def _newer_is_refused(workdir: Path) -> bool:
    path = workdir / "database.sqlite3"
    load(max(SCHEMAS.glob("*.sql")), path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = path.read_bytes()
    ended, _ = _lightwatch("run", str(workdir), "-q")
    return ended.returncode == 78 and len(ended.stderr.splitlines()) == 1 and path.read_bytes() == before


GOALS = (
    Goal("R9", "Two crons at once", "second exits 75 within 1 s, names the holder, writes nothing", two_runs),
    Goal(
        "R10",
        "Readers during a run",
        "p99 < 50 ms, max < 500 ms, no error, no writer fails, log < 64 MB",
        readers,
    ),
    Goal("R15", "Database integrity", "every wrong value refused; strict, sound, no dangling row", integrity),
    Goal("R16", "Backup", "every copy sound and complete; 7 + 4 + 6 kept", copies),
    Goal(
        "R17",
        "Migration",
        "every schema to the newest; killed: old or new; newer refused with 78",
        migrations,
    ),
)
