"""R11 and R13: workdirs of many frames, and which tasks a change reaches."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightwatch.pipeline import night
from lightwatch.pipeline.planning import plan
from lightwatch.structure import queries, queries_overview
from lightwatch.structure.database import backup_sqlite
from reliability import invalidation
from reliability.generated_workdir import ROI, make_generated, raw_name
from reliability.goal import Effort, Goal, Measured
from reliability.small_night import Workdir

_FRAMES_OF_MATRIX = 3
_LAUNCH = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


# ---------------------------------------------------------------- R11
@dataclass(frozen=True)
class Timed:
    """What a command took: seconds of processor, for others may use the machine too, and its peak memory."""

    name: str
    code: int
    seconds: float
    megabytes: float


def _command(workdir: Workdir, name: str, *arguments: str) -> Timed:
    """A command as a user gives it, in a process of its own."""
    program = [sys.executable, "-m", "lightwatch.pipeline.cli", name, str(workdir.config), *arguments]
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCH, *program], capture_output=True, text=True, check=True
    )
    code, seconds, kilobytes = done.stdout.split()
    return Timed(name, int(code), float(seconds), float(kilobytes) / 1024)


def scale(scratch: Path, effort: Effort) -> Measured:
    """Commands and questions on a finished workdir of many frames."""
    n_frames = effort.of(10_000, 100_000)
    workdir = make_generated(scratch / "workdir", n_frames)
    status, again, why = (
        _command(workdir, "status"),
        _command(workdir, "run"),
        _command(workdir, "why", str(n_frames // 2)),
    )
    ended = workdir.sql("SELECT summary FROM runs ORDER BY id DESC LIMIT 1")[0][0]
    workspace = workdir.open()
    question, _ = _question(lambda: queries.rows(workspace.reader, queries_overview.progress()))
    curve, points = _question(lambda: workdir.sql("SELECT * FROM light_curves WHERE roi = ?", ROI))
    begun = time.process_time()
    backup_sqlite(workdir.path / "database.sqlite3", scratch / "copy.sqlite3")
    backup = time.process_time() - begun
    workspace.close()
    limits = {
        "status": (status.seconds, 1.0),
        "its question": (question, 0.1),
        "run with nothing to do": (again.seconds, 10.0),
        "light curve": (curve, 1.0),
        "why": (why.seconds, 1.0),
        "backup": (backup, 2.0),
    }
    sound = (
        ended == "nothing to do" and len(points) == n_frames and {status.code, again.code, why.code} == {0}
    )
    told = ", ".join(f"{name} {took:.2f} s" for name, (took, _limit) in limits.items())
    missed = [name for name, (took, limit) in limits.items() if took >= limit and effort.full]
    text = f"{n_frames} frames: {told}; memory of the run {again.megabytes:.0f} MB"
    if missed:
        text += f"; too slow: {', '.join(missed)}"
    return Measured(text if sound else f"{text}; not as it should be: {ended}", sound and not missed)


def _question(ask: Callable[[], list[Any]]) -> tuple[float, list[Any]]:
    """Seconds of processor, the best of three, and the answer."""
    best, answer = float("inf"), []
    for _ in range(3):
        begun = time.process_time()
        answer = ask()
        best = min(best, time.process_time() - begun)
    return best, answer


# ---------------------------------------------------------------- R13
def invalidation_matrix(scratch: Path, effort: Effort) -> Measured:
    """Every key, version and outside input x every task, by recipes; some, or all, by the plan of a workdir too."""
    workdir = make_generated(scratch / "workdir", _FRAMES_OF_MATRIX)
    workspace = workdir.open()
    keys = invalidation.keys_of(workspace.config)
    cells = [
        invalidation.setting_cells(workspace),
        invalidation.version_cells(workspace),
        invalidation.outside_cells(workspace),
    ]
    planned = keys if effort.full else keys[:: len(keys) // 12]
    cells += [invalidation.planned_cells(workspace, key) for key in planned]
    cells.append(invalidation.item_cells(workspace, raw_name(1)))
    (workdir.path / "raw" / raw_name(1)).write_bytes(b"other bytes")
    lines = {line.task: line.total for line in plan(workspace, night.NIGHT)}
    workspace.close()
    wrong = [text for found in cells for text in found.wrong]
    wrong += [f"a changed raw file: {task}: {n} items" for task, n in lines.items() if n != 1]
    reads = {task.name: invalidation.undeclared_reads(task) for task in night.NIGHT}
    wrong += [f"{task} reads {', '.join(found)} undeclared" for task, found in reads.items() if found]
    total = sum(found.n for found in cells) + len(lines)
    text = f"{total - len(wrong)} of {total} cells right ({len(keys)} keys, {len(planned)} of them planned)"
    return Measured("; ".join([text, *wrong[:3]]), not wrong)


GOALS = (
    Goal(
        "R11",
        "Scale",
        "100,000 frames x 10 fluxes: status < 1 s, its question < 0.1 s, no-op run < 10 s (10,000: < 3 s), "
        "light curve < 1 s, backup < 2 s",
        scale,
    ),
    Goal(
        "R13",
        "Invalidation",
        "100 % of the cells of keys, versions and inputs x tasks; no task reads what it does not declare",
        invalidation_matrix,
    ),
)
