"""R1 to R4: killed at any step, disk full, errors of the system, order of writing; R15 after every trial.

The trials are made on the recorded night: search, rows, files, transactions and command line are the program's own, and
what tasks compute is looked up. A trial tells of writing and resuming, and not of a kill in the middle of a fit (which
has written nothing then); kills of runs that compute are those of tests/pipeline/test_kill.py.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reliability import system_calls
from reliability.disturbed_run import (
    Ended,
    Way,
    after_rerun,
    after_reruns,
    committed_frames,
    fail_at,
    kill_at,
    out_of_memory_at,
    run_in_child,
    spread,
    unsound,
)
from reliability.false_done import badly_told, falsely_done
from reliability.goal import Effort, Goal, Measured
from reliability.recorded_night import Night, recorded_night
from reliability.side_by_side import Mine, Work, side_by_side

_FEW_FRAMES, _MANY_FRAMES = 2, 20
_TARGET_SECONDS = 30.0
_KILLED = -9
_FILE_LIMIT = 24
#: of what a whole run needs
_PARTS_OF_THE_DISK = (0.3, 0.75, 0.85, 0.95)
_REPLAYED = "fits looked up, not computed again"

Disturb = Callable[[], Ended]


@dataclass
class Trials:
    """Counts trials; ``problems`` tells of the first that failed."""

    n: int = 0
    good: int = 0
    problems: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, name: str, ended: Ended, problems: Sequence[str]) -> None:
        self.n += 1
        self.good += not problems
        self.slowest = max(self.slowest, ended.seconds)
        if problems and len(self.problems) < 3:
            self.problems.append(f"{name}: {'; '.join(problems)[:300]}")

    @classmethod
    def together(cls, parts: Sequence[Mapping[str, Any]]) -> Trials:
        """All trials, of which each process tells its own."""
        return cls(
            n=sum(part["n"] for part in parts),
            good=sum(part["good"] for part in parts),
            problems=[text for part in parts for text in part["problems"]][:3],
            slowest=max(part["slowest"] for part in parts),
        )

    @property
    def text(self) -> str:
        return f"{self.good} of {self.n}"

    @property
    def failures(self) -> str:
        return f" ({' | '.join(self.problems)})" if self.problems else ""


def _steps(night: Night) -> int:
    """Number of failpoints that an undisturbed run passes."""
    night.fresh()
    ended = run_in_child(night)
    assert ended.code == 0, ended
    return ended.steps


# ---------------------------------------------------------------- R1
def kills(_scratch: Path, effort: Effort) -> Measured:
    """SIGKILL at failpoints; in the whole procedure at system calls as well."""
    night = recorded_night(effort.of(_FEW_FRAMES, _MANY_FRAMES))
    begun = time.monotonic()
    own, system, steps, calls = _kills(night, effort)
    text = f"{own.text} kills at steps of writing ({steps} steps)"
    if effort.full:
        text = f"{system.text} kills at system calls ({calls} calls); {text}"
    passed = own.good == own.n and system.good == system.n
    text += f" resume identical, {time.monotonic() - begun:.0f} s; {_REPLAYED}{own.failures}{system.failures}"
    return Measured(text, passed)


def _kills(night: Night, effort: Effort) -> tuple[Trials, Trials, int, int]:
    """Trials at steps of writing and at system calls, and the numbers of both in an undisturbed run."""
    steps = _steps(night)
    calls = _calls(night, system_calls.WRITES) if effort.full else []

    def trials(mine: Mine) -> list[dict[str, Any]]:
        own, system = Trials(), Trials()
        for step in mine(spread(effort.of(5, 50), steps)):
            night.fresh()
            _judge_kill(night, own, f"step {step}", run_in_child(night, trap=kill_at(step)))
        for number in mine(spread(200, len(calls)) if calls else []):
            call = calls[number - 1]
            night.fresh()
            _judge_kill(night, system, f"{call.name} of {call.path}", system_calls.killed(night, call))
        return [asdict(own), asdict(system)]

    told = _made(night, effort, trials)
    own, system = (Trials.together(parts) for parts in zip(*told, strict=True))
    return own, system, steps, len(calls)


def _calls(night: Night, names: Sequence[str]) -> list[system_calls.Call]:
    """System calls of an undisturbed run."""
    night.fresh()
    ended, calls = system_calls.traced(night, names)
    assert ended.code == 0, ended
    return calls


def _made(night: Night, effort: Effort, trials: Work) -> list[Any]:
    """The whole procedure is made by two processes."""
    return side_by_side(night, trials) if effort.full else [trials(lambda all_of_them: all_of_them)]


def _judge_kill(night: Night, trials: Trials, name: str, ended: Ended) -> None:
    committed, problems = committed_frames(night.workdir)
    if ended.code != _KILLED:
        problems.append(f"not killed, but exit code {ended.code}: {ended.said}")
    trials.add(name, ended, problems or after_rerun(night, committed=committed))


# ---------------------------------------------------------------- R2
def full_disk(_scratch: Path, effort: Effort) -> Measured:
    """No space left from some step on; then there is space again."""
    night = recorded_night(effort.of(_FEW_FRAMES, _MANY_FRAMES))
    places = list(_of_full_disk(night, effort))

    def some(mine: Mine) -> dict[str, Any]:
        trials = Trials()
        for name, disturb in mine(places):
            night.fresh()
            ended = disturb()
            trials.add(name, ended, _badly_told(night, ended) or after_rerun(night))
        return asdict(trials)

    trials = Trials.together(_made(night, effort, some))
    text = (
        f"{trials.text} end with 74 and a line that names path and free space, and resume identical; "
        f"slowest end {trials.slowest:.1f} s; {_REPLAYED}{trials.failures}"
    )
    passed = trials.good == trials.n and trials.slowest < _TARGET_SECONDS
    if effort.full:
        real = Trials()
        try:
            for part in _PARTS_OF_THE_DISK:
                _on_a_small_disk(night, part, real)
        except (OSError, subprocess.CalledProcessError):
            return Measured(f"{text}; no file system of limited size could be mounted here", passed)
        text += f"; {real.text} on file systems that are too small{real.failures}"
        passed = passed and real.good == real.n
    return Measured(text, passed)


def _on_a_small_disk(night: Night, part: float, trials: Trials) -> None:
    """A run in a file system that has room for a part of its files; then there is more."""
    workdir = night.fresh().path
    needed = sum(night.sizes.values())
    shutil.rmtree(workdir)
    workdir.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={int(part * needed)}", "tmpfs", str(workdir))
    try:
        night.fresh()
        ended = run_in_child(night)
        _mount("-o", f"remount,size={10 * needed}", str(workdir))
        trials.add(f"room for {part:.0%}", ended, _badly_told(night, ended) or after_rerun(night))
    finally:
        subprocess.run(["umount", str(workdir)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _of_full_disk(night: Night, effort: Effort) -> Iterator[tuple[str, Disturb]]:
    if not effort.full:
        for step in spread(3, _steps(night) - 1):  # after the last step comes no other that could fail
            trap = fail_at(step, errno.ENOSPC, lasting=True)
            yield f"step {step}", lambda trap=trap: run_in_child(night, trap=trap)
        return
    calls = _calls(night, system_calls.WRITES)
    for number in spread(100, len(calls)):
        call = calls[number - 1]
        yield (
            f"{call.name} of {call.path}",
            lambda number=number: system_calls.failing(night, calls, number - 1, "ENOSPC", lasting=True),
        )


def _badly_told(night: Night, ended: Ended) -> list[str]:
    lines = ended.said.strip().splitlines()
    if ended.code != 74:
        return [f"exit code {ended.code}: {ended.said.strip()[:200]}"]
    if len(lines) != 1 or str(night.workdir.path) not in lines[0] or "MB free" not in lines[0]:
        return [f"told as: {lines}"]
    return []


# ---------------------------------------------------------------- R3
def errors(_scratch: Path, effort: Effort) -> Measured:
    """One error of the system: the item is in error or the run ends cleanly; the next run does what is missing.

    Told besides: how the results came to be those of the undisturbed night, of the trials that did.
    """
    night = recorded_night(effort.of(_FEW_FRAMES, _MANY_FRAMES))
    by_kind: dict[str, Trials] = {}
    ways: Counter[Way] = Counter()
    for kind, name, disturb in _of_errors(night, effort):
        night.fresh()
        ended = disturb()
        problems = badly_told(night, ended, kind) + unsound(night) + falsely_done(night, kind)
        if not problems:
            way, problems = after_reruns(night, ended)
            ways[way] += not problems
        by_kind.setdefault(kind, Trials()).add(name, ended, problems)
    text = ", ".join(f"{kind} {trials.text}" for kind, trials in by_kind.items())
    text += (
        " end with one line or items in error, nothing falsely done, and come to the undisturbed results: "
    )
    text += ", ".join(f"{ways[way]} {way}" for way in Way)
    text += f"; {_REPLAYED}"
    text += "".join(trials.failures for trials in by_kind.values())
    return Measured(text, all(trials.good == trials.n for trials in by_kind.values()))


def _of_errors(night: Night, effort: Effort) -> Iterator[tuple[str, str, Disturb]]:
    steps = _steps(night)
    for kind in ("EIO", "EMFILE"):
        for step in spread(effort.of(1, 10), steps):
            trap = fail_at(step, getattr(errno, kind), lasting=False)
            yield kind, f"step {step}", lambda trap=trap: run_in_child(night, trap=trap)
    for step in spread(effort.of(1, 40), steps):
        trap = out_of_memory_at(step)
        yield "MemoryError", f"step {step}", lambda trap=trap: run_in_child(night, trap=trap)
    if not effort.full:
        return
    for megabytes in range(0, 50, 5):
        limit = lambda megabytes=megabytes: _limit_memory(megabytes)  # noqa: E731
        yield "MemoryError", f"{megabytes} MB", lambda limit=limit: run_in_child(night, prepare=limit)
    yield "EMFILE", f"{_FILE_LIMIT} files", lambda: run_in_child(night, prepare=_limit_files)
    calls = _calls(night, (*system_calls.WRITES, *system_calls.READS))
    of_name = {
        "EIO": (*system_calls.WRITES, *system_calls.READS),
        "EMFILE": ("openat",),
        "EINTR": (*system_calls.WRITES, *system_calls.READS),
    }
    for kind, names in of_name.items():
        places = [k for k, call in enumerate(calls) if call.name in names]
        for number in spread({"EIO": 40, "EMFILE": 39, "EINTR": 50}[kind], len(places)):
            place = places[number - 1]
            yield (
                kind,
                f"{calls[place].name} of {calls[place].path}",
                lambda kind=kind, place=place: system_calls.failing(night, calls, place, kind, lasting=False),
            )


def _limit_memory(megabytes: int) -> None:
    """Leave this process so much more address space than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILE_LIMIT, _FILE_LIMIT))


# ---------------------------------------------------------------- R4
def order_of_writing(_scratch: Path, effort: Effort) -> Measured:
    """The order of syncs, renames and commits in the trace of a run."""
    night = recorded_night(effort.of(_FEW_FRAMES, _MANY_FRAMES))
    calls = _calls(night, system_calls.WRITES)
    found = system_calls.violations(calls, str(night.workdir.path))
    renames = sum(call.name.startswith("rename") for call in calls)
    text = f"{len(found)} violations in {len(calls)} calls with {renames} renames"
    return Measured("; ".join([text, *found[:3]]), not found and renames > 0)


GOALS = (
    Goal("R1", "Killed at any moment", "every kill, one run, identical results, no frame lost", kills),
    Goal("R2", "Disk full at any write", "exit code 74, one line, no loop; identical when there is space", full_disk),
    Goal("R3", "EIO, EMFILE, EINTR, MemoryError", "item in error or clean exit, never a false done; identical after",
         errors),
    Goal("R4", "Order of writing (power cut)", "0 violations over the trace of a run", order_of_writing),
)  # fmt: skip
