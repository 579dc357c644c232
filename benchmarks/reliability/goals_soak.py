"""R28: many nights, each disturbed, end as the same nights undisturbed."""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from lightwatch.simulation import SimulatedField
from lightwatch.structure.verify import verify
from reliability.disturbed_run import Trap, fail_at, kill_at, run_in_child
from reliability.goal import Effort, Goal, Measured
from reliability.recorded_night import Night, Recorder, computations
from reliability.small_night import Workdir, differences, make_field, make_workdir

_SEED = 28
_DAY_SECONDS = 86400.0
_LARGEST_LOG = 64 * 2**20  # bytes of a write-ahead log
_FINISHED = (0, 10)
_KILLED, _NO_SPACE = -9, 74
#: a run after one that was disturbed is not disturbed: one more is enough
_MOST_RUNS = 2
#: sections and keys of the configuration that somebody changes in the course of the year
_CHANGES = (("normalization", "min_snr"), ("light_curves", "limit_sigma"), ("zeropoints", "min_stars"))


@dataclass
class Year:
    """Two workdirs with the same raw files and settings: ``quiet`` is never disturbed, ``disturbed`` every night.

    Each is at ``root / "workdir"`` while it runs, so that what one has computed answers for the other.
    """

    folder: tempfile.TemporaryDirectory[str]
    simulated: SimulatedField
    draw: random.Random
    recorder: Recorder = field(default_factory=Recorder)
    settings: dict[tuple[str, str], int] = field(default_factory=dict)
    kills: int = 0
    full_disks: int = 0
    bad_files: int = 0
    copies: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return Path(self.folder.name)

    @contextmanager
    def placed(self, name: str) -> Iterator[Workdir]:
        """One of the two workdirs, at the place where they run."""
        (self.root / name).rename(self.root / "workdir")
        try:
            yield Workdir(self.root / "workdir")
        finally:
            (self.root / "workdir").rename(self.root / name)


def _begin(scratch: Path, n_frames: int) -> Year:
    folder = tempfile.TemporaryDirectory(dir=scratch)
    root = Path(folder.name)
    simulated = make_field(root / "field", n_frames)
    (root / "raw").mkdir()
    make_workdir(root / "workdir", simulated)
    shutil.copytree(root / "workdir", root / "quiet")
    (root / "workdir").rename(root / "disturbed")
    return Year(folder, simulated, random.Random(_SEED))


# ---------------------------------------------------------------- a night
def _night(year: Year, number: int, frames: list[Path]) -> None:
    for path in frames:
        _arrives(year, path.read_bytes(), path.name)
    _something_odd(year, number, frames)
    if number % 3 == 2:
        year.settings[year.draw.choice(_CHANGES)] = year.draw.randint(3, 6)
    with year.placed("quiet") as workdir:
        _configure(workdir, year)
        with year.recorder.listening(), computations(year.recorder.computed):
            code = workdir.run().exit_code
        wanted = workdir.results()
    if code not in _FINISHED:
        year.problems.append(f"night {number}, undisturbed: exit code {code}")
    with year.placed("disturbed") as workdir:
        _configure(workdir, year)
        _disturb(year, number)
        found = differences(wanted, workdir.results())
        year.problems += [f"night {number}: {text}" for text in found[:1]]
        _judge_files(year, number, workdir)


def _arrives(year: Year, content: bytes, name: str) -> None:
    path = year.root / "raw" / name
    path.write_bytes(content)
    os.utime(path, (time.time() - _DAY_SECONDS,) * 2)


def _something_odd(year: Year, number: int, frames: list[Path]) -> None:
    """A file that is no frame, one that was cut off, or a copy of a frame under another name."""
    kind = year.draw.choice(("text", "cut", "copy"))
    whole = year.draw.choice(frames).read_bytes()
    content = {"text": b"no picture", "cut": whole[: len(whole) // 2], "copy": whole}[kind]
    _arrives(year, content, f"odd_{number:03d}.fits")
    year.copies += kind == "copy"
    year.bad_files += kind != "copy"


def _configure(workdir: Workdir, year: Year) -> None:
    content = yaml.safe_load(workdir.config.read_text())
    for (section, key), value in year.settings.items():
        content.setdefault(section, {})[key] = value
    workdir.config.write_text(yaml.safe_dump(content))


def _disturb(year: Year, number: int) -> None:
    """Run, be killed or find the disk full at some step, and run again."""
    night = Night(year.root, year.recorder.answers, {}, {}, {}, year.folder)
    step = year.draw.randint(1, 150)
    killed = year.draw.random() < 0.6
    trap: Trap | None = kill_at(step) if killed else fail_at(step, errno.ENOSPC, lasting=True)
    for _ in range(_MOST_RUNS):
        ended = run_in_child(night, trap=trap)
        if ended.code in _FINISHED:
            return
        if ended.code not in (_KILLED, _NO_SPACE):
            break
        year.kills += ended.code == _KILLED
        year.full_disks += ended.code == _NO_SPACE
        trap = None
    year.problems.append(f"night {number}: exit code {ended.code}: {ended.said.strip()}")


def _judge_files(year: Year, number: int, workdir: Workdir) -> None:
    """Rows and files agree; what a killed run left is a day old by the next night, and gone after it."""
    workspace = workdir.open()
    state = verify(workspace, full=True)
    workspace.close()
    if not state.sound:
        year.problems.append(f"night {number}: missing {state.missing}, damaged {state.damaged}")
    log = workdir.path / "database.sqlite3-wal"
    if log.exists() and log.stat().st_size > _LARGEST_LOG:
        year.problems.append(f"night {number}: write-ahead log of {log.stat().st_size} bytes")
    for relpath in state.orphan:
        age = time.time() - (workdir.path / relpath).stat().st_mtime
        if age > _DAY_SECONDS:
            year.problems.append(f"night {number}: {relpath} was not removed")
        os.utime(workdir.path / relpath, (time.time() - 2 * _DAY_SECONDS,) * 2)


# ---------------------------------------------------------------- R28
def soak(scratch: Path, effort: Effort) -> Measured:
    """Nights of new frames with a kill or a full disk in each, odd files, copies and changed settings."""
    nights, each = effort.of(3, 30), effort.of(3, 10)
    year = _begin(scratch.resolve(), nights * each)
    for number in range(nights):
        _night(year, number, list(year.simulated.frames[number * each : (number + 1) * each]))
    text = (
        f"{nights} nights of {each} frames, {year.kills} kills, {year.full_disks} full disks, {year.bad_files} bad "
        f"files, {year.copies} copies, {nights // 3} changes of settings: "
    )
    if year.problems:
        return Measured(f"{text}{len(year.problems)} differences, first: {year.problems[0][:300]}", False)
    disturbed = year.kills > 0 and (year.full_disks > 0 or not effort.full)
    return Measured(f"{text}every night ends as undisturbed, nothing left behind", disturbed)


GOALS = (
    Goal("R28", "Soak", "30 disturbed nights end as 30 quiet ones; nothing grows", soak, every_commit=False),
)
