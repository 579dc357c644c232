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
_SMALL, _LARGE = 10_000, 100_000
#: wall time, s; the run with nothing to do by the number of frames
_RUN_SECONDS = {_SMALL: 3.0, _LARGE: 10.0}
_SECONDS = {"status": 1.0, "its question": 0.1, "light curve": 1.0, "why": 1.0, "backup": 2.0}
_MEMORY_GROWTH = 1.5  # of the run with nothing to do, from the small number of frames to the large one
_LAUNCH = """
import resource, subprocess, sys, time
begun = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
wall = time.perf_counter() - begun
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, wall, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


# ---------------------------------------------------------------- R11
@dataclass(frozen=True)
class Timed:
    """What something took: wall time and time of the processor, s, and, of a command, its peak memory, MB."""

    wall: float
    processor: float
    megabytes: float = 0.0
    code: int = 0


@dataclass(frozen=True)
class OfSize:
    """What the commands and questions took on a workdir of ``n_frames``, and whether they answered as they must."""

    n_frames: int
    sound: bool
    took: dict[str, Timed]
    megabytes: float  # of the database

    def __str__(self) -> str:
        told = ", ".join(f"{name} {t.wall:.2f} s ({t.processor:.2f})" for name, t in self.took.items())
        memory = self.took[_NOTHING].megabytes
        return (
            f"{self.n_frames} frames: {told}; memory of the run {memory:.0f} MB, database {self.megabytes:.0f} MB"
            + ("" if self.sound else "; not as it should be")
        )

    @property
    def too_slow(self) -> list[str]:
        """What took longer than it may, by wall time."""
        limits = {_NOTHING: _RUN_SECONDS[self.n_frames], **_SECONDS}
        return [f"{name} of {self.n_frames}" for name, t in self.took.items() if t.wall >= limits[name]]


_NOTHING = "run with nothing to do"


def scale(scratch: Path, effort: Effort) -> Measured:
    """Commands and questions on finished workdirs of many frames: wall time (of the processor in brackets)."""
    sizes = (_SMALL, _LARGE) if effort.full else (_SMALL,)
    found = [_of_size(scratch, n_frames) for n_frames in sizes]
    missed = [name for size in found for name in size.too_slow] if effort.full else []
    memory = [size.took[_NOTHING].megabytes for size in found]
    if effort.full and memory[-1] > _MEMORY_GROWTH * memory[0]:
        missed.append(f"memory grows from {memory[0]:.0f} to {memory[-1]:.0f} MB")
    text = "; ".join(map(str, found)) + (f"; missed: {', '.join(missed)}" if missed else "")
    return Measured(text, all(size.sound for size in found) and not missed)


def _of_size(scratch: Path, n_frames: int) -> OfSize:
    workdir = make_generated(scratch / f"workdir{n_frames}", n_frames)
    database = workdir.path / "database.sqlite3"
    took = {
        "status": _command(workdir, "status"),
        _NOTHING: _command(workdir, "run"),
        "why": _command(workdir, "why", str(n_frames // 2)),
    }
    ended = workdir.sql("SELECT summary FROM runs ORDER BY id DESC LIMIT 1")[0][0]
    sound = ended == "nothing to do" and not any(timed.code for timed in took.values())
    workspace = workdir.open()
    took["its question"], _ = _timed(lambda: queries.rows(workspace.reader, queries_overview.progress()))
    took["light curve"], points = _timed(lambda: workdir.sql("SELECT * FROM light_curves WHERE roi = ?", ROI))
    took["backup"], _ = _timed(lambda: backup_sqlite(database, scratch / "copy.sqlite3"), tries=1)
    workspace.close()
    return OfSize(n_frames, sound and len(points) == n_frames, took, database.stat().st_size / 1e6)


def _command(workdir: Workdir, name: str, *arguments: str) -> Timed:
    """A command as a user gives it, in a process of its own."""
    program = [sys.executable, "-m", "lightwatch.pipeline.cli", name, str(workdir.config), *arguments]
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCH, *program], capture_output=True, text=True, check=True
    )
    code, wall, processor, kilobytes = done.stdout.split()
    return Timed(float(wall), float(processor), float(kilobytes) / 1024, int(code))


def _timed(ask: Callable[[], Any], tries: int = 3) -> tuple[Timed, Any]:
    """The quickest of some tries, and the answer."""
    best, answer = Timed(float("inf"), 0.0), None
    for _ in range(tries):
        begun, worked = time.perf_counter(), time.process_time()
        answer = ask()
        best = min(best, Timed(time.perf_counter() - begun, time.process_time() - worked), key=_wall)
    return best, answer


def _wall(timed: Timed) -> float:
    return timed.wall


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
        "light curve < 1 s, backup < 2 s, memory flat",
        scale,
    ),
    Goal(
        "R13",
        "Invalidation",
        "100 % of the cells of keys, versions and inputs x tasks; no task reads what it does not declare",
        invalidation_matrix,
    ),
)
