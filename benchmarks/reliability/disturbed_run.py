"""Runs of the recorded night that are disturbed on purpose, and what must be true after them."""

from __future__ import annotations

import errno
import gc
import mmap
import os
import shutil
import signal
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable, Collection
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy.exc import OperationalError

from lightwatch.pipeline import cli
from lightwatch.structure import failpoint
from lightwatch.structure.files import sha256_of
from lightwatch.structure.verify import verify
from reliability.recorded_night import Night, arrays_of, files_of
from reliability.small_night import Workdir, differences

_LIMIT_SECONDS = 60.0
_TOLERANCE = 1e-6  # of fits that see the frames in another order
_PAGE = 1 << 16
_WITHOUT_WCS = """
    SELECT image_relpath FROM frames WHERE id NOT IN (
        SELECT frame_id FROM task_results WHERE task = 'plate_solving' AND state = 'done')"""

Trap = Callable[[str, Path], None]


@dataclass(frozen=True)
class Ended:
    """How a run came to its end: exit code (minus the signal that killed it), what it said on standard error, and
    its steps of writing."""

    code: int
    said: str
    steps: int
    seconds: float


def run_in_child(
    night: Night,
    *,
    trap: Trap | None = None,
    before: Callable[[int], Any] | None = None,
    prepare: Callable[[], None] | None = None,
) -> Ended:
    """``lightwatch run`` on the night's workdir in a forked child.

    ``trap`` is called at every step of writing. ``before`` is given the child's process id, in this process, before the
    child begins; ``prepare`` is called in the child.
    """
    told = mmap.mmap(-1, _PAGE)  # shared with the child: telling how it ended takes no write that could fail
    gate_read, gate_write = os.pipe()
    begun = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of every fork; children do not use it
        child = os.fork()
    if child == 0:
        os.close(gate_write)
        os.read(gate_read, 1)
        os._exit(_run(night, trap, prepare, told))
    os.close(gate_read)
    attached = before(child) if before else None
    os.close(gate_write)
    code = _wait(child)
    if attached is not None:
        attached.wait(timeout=10)
    told.seek(0)
    steps, _, said = told.read().rstrip(b"\0").decode().partition("\n")
    return Ended(code, said, int(steps or 0), time.monotonic() - begun)


def _run(night: Night, trap: Trap | None, prepare: Callable[[], None] | None, told: mmap.mmap) -> int:
    gc.freeze()  # what the parent left is not searched for garbage again and again
    steps = 0
    told[:12] = f"{steps:<11d}\n".encode()

    def reached(step: str, path: Path) -> None:
        nonlocal steps
        steps += 1
        told[:12] = f"{steps:<11d}\n".encode()
        if trap is not None:
            trap(step, path)

    said = StringIO()
    code: Any = 70
    try:
        with (
            redirect_stdout(StringIO()),
            redirect_stderr(said),
            night.remembered(),
            mock.patch.object(failpoint, "reached", reached),
        ):
            if prepare:
                prepare()
            cli.main(["run", str(night.workdir.config), "--quiet"])
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        said.write(f"{type(error).__name__}: {error}")
        code = 70
    text = said.getvalue().encode("utf-8", "replace")[: _PAGE - 20]
    told[12 : 12 + len(text)] = text
    return int(code or 0)


def _wait(child: int) -> int:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGALRM  # took too long


# ---------------------------------------------------------------- traps
def kill_at(number: int) -> Trap:
    """The process ends at the step of that number (1 for the first), as by ``kill -9`` or a power cut."""
    return _at(number, lambda _step, _path: os.kill(os.getpid(), signal.SIGKILL), lasting=False)


def fail_at(number: int, error: int, *, lasting: bool) -> Trap:
    """Steps fail with an error of the disk: one, or (``lasting``) all from that one on."""

    def fail(step: str, path: Path) -> None:
        if step == "committed":
            return  # what is committed stays so
        if step == "commit":  # SQLite's words; nothing was written
            text = "database or disk is full" if error == errno.ENOSPC else "disk I/O error"
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError(text))
        raise OSError(error, os.strerror(error), str(path))

    return _at(number, fail, lasting=lasting)


def out_of_memory_at(number: int) -> Trap:
    """One step finds no memory."""

    def fail(step: str, _path: Path) -> None:
        if step != "committed":
            raise MemoryError

    return _at(number, fail, lasting=False)


def _at(number: int, act: Callable[[str, Path], None], *, lasting: bool) -> Trap:
    count = 0

    def trap(step: str, path: Path) -> None:
        nonlocal count
        count += 1
        if count == number or (lasting and count > number):
            act(step, path)

    return trap


def spread(n: int, last: int) -> list[int]:
    """``n`` numbers spread evenly over 1 to ``last``."""
    return [1 + (2 * k + 1) * last // (2 * n) for k in range(n)]


# ---------------------------------------------------------------- what must be true
def committed_frames(workdir: Workdir) -> tuple[set[str], list[str]]:
    """Content hashes of the frames in the database, and what is wrong with it; looked at in a copy."""
    with tempfile.TemporaryDirectory() as folder:
        for path in workdir.path.glob("database.sqlite3*"):
            shutil.copy(path, folder)
        path = Path(folder) / "database.sqlite3"
        if not path.exists():
            return set(), []
        with closing(sqlite3.connect(path)) as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            problems += [f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'frames'").fetchone():
                return set(), problems
            return {row[0] for row in connection.execute("SELECT content_hash FROM frames")}, problems


def unsound(night: Night) -> list[str]:
    """Results that pass for done without their products, and what is wrong with the database.

    The file of a frame that waits for its WCS may have it already, and the row follows with the next run: it is then,
    byte for byte, the file that the undisturbed night left.
    """
    workspace = night.workdir.open()
    try:
        if not workspace.has_database or not has_tables(night.workdir):
            return []
        state = verify(workspace, full=True)
    finally:
        workspace.close()
    waiting = {row[0] for row in night.workdir.sql(_WITHOUT_WCS)}
    lost = [
        f"{item.relpath} counts as done"
        for item in (*state.missing, *state.damaged)
        if item not in state.damaged or item.relpath not in waiting or not _is_solved(night, item.relpath)
    ]
    return [*lost, *state.database]


def _is_solved(night: Night, relpath: str) -> bool:
    return sha256_of(night.workdir.path / relpath) == night.files.get(relpath)


def has_tables(workdir: Workdir) -> bool:
    return bool(workdir.sql("SELECT 1 FROM sqlite_master WHERE name = 'frames'"))


class Way(StrEnum):
    """How the workdir of a disturbed run came to hold what the undisturbed night left."""

    AT_ONCE = "identical at once and after one more run"
    BITWISE = "identical after one more run"
    OTHER_IDS = f"within {_TOLERANCE:g} after one more run that gave frames other ids"
    COMPUTED = f"within {_TOLERANCE:g} after two more runs, one to compute fits that the recorded night lacks"


def after_rerun(night: Night, *, committed: Collection[str] = ()) -> list[str]:
    """Run again as a user would, once, and compare with the undisturbed night: what differs."""
    ended = run_in_child(night)
    return compared(night, committed) if ended.code == 0 else _not_clean(ended)


def after_reruns(night: Night, first: Ended) -> tuple[Way, list[str]]:
    """As ``after_rerun``, where the run may ask what the undisturbed run did not ask: the way, and what differs.

    A frame that could not be imported at first comes after the others, with another id; a product that is made anew
    takes over what is left of the last one. What the run could not look up is then computed for good, in this process,
    and remembered: rows that tell of it are removed, for no user's run would have them, and the run is made once more.
    """
    at_once = first.code == 0 and not compared(night, ())
    ended = run_in_child(night)
    if ended.code == 0:
        if _other_ids(night):
            return Way.OTHER_IDS, _as_good(night)
        return Way.AT_ONCE if at_once else Way.BITWISE, compared(night, ())
    return Way.COMPUTED, _computed(night, ended)


def _not_clean(ended: Ended) -> list[str]:
    return [f"run again: exit code {ended.code}: {ended.said.strip()}"]


def _computed(night: Night, ended: Ended) -> list[str]:
    """What differs after a run for good, if it is for unknown fits that the last one ended as it did."""
    if not night.workdir.sql("SELECT count(*) FROM task_errors WHERE reason_code = 'UnknownJob'")[0][0]:
        return _not_clean(ended)
    night.workdir.change("DELETE FROM task_results WHERE reason_code = 'UnknownJob'")
    night.workdir.change("DELETE FROM group_results WHERE reason_code = 'UnknownJob'")
    with night.learning():
        result = night.workdir.run()
    if result.exit_code != 0:
        return [f"run again for good: {result.line}"]
    return _as_good(night)


def _other_ids(night: Night) -> bool:
    return dict(night.workdir.sql("SELECT content_hash, id FROM frames")) != night.ids


def _as_good(night: Night) -> list[str]:
    """The same results, but for rounding where frames came in another order; files name frames by their ids."""
    return differences(night.results, night.workdir.results(), rtol=_TOLERANCE) + unsound(night)


def compared(night: Night, committed: Collection[str]) -> list[str]:
    """Where the workdir differs from that of the undisturbed night."""
    workdir = night.workdir
    problems = differences(night.results, workdir.results())
    have = {row[0] for row in workdir.sql("SELECT content_hash FROM frames")}
    problems += [f"frame {digest} was committed and is lost" for digest in sorted(set(committed) - have)]
    workspace = workdir.open()
    state = verify(workspace, full=True)
    workspace.close()
    problems += [f"{item.relpath}: missing or damaged" for item in (*state.missing, *state.damaged)]
    files = files_of(workdir.path)
    problems += [
        f"{name}: {'differs' if name in files else 'is missing'}"
        for name, digest in night.files.items()
        if files.get(name) != digest and not _same_arrays(night, name)
    ]
    left = set(files) - set(night.files) - set(state.orphan)
    problems += [f"{name}: left over, and verify does not see it" for name in sorted(left)]
    problems += [f"integrity_check: {row}" for row in workdir.sql("PRAGMA integrity_check") if row != ("ok",)]
    problems += [f"foreign_key_check: {row}" for row in workdir.sql("PRAGMA foreign_key_check")]
    return problems


def _same_arrays(night: Night, name: str) -> bool:
    """HDF5 files whose arrays were written in another order hold the same."""
    path = night.workdir.path / name
    return name in night.arrays and path.is_file() and arrays_of(path) == night.arrays[name]
