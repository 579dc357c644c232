"""Disturbing a run at the calls it makes to the system, by strace, and reading what it wrote in which order.

Failpoints stand before the steps that lightwatch knows of; here SQLite's, HDF5's and astropy's own writes are hit too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reliability.disturbed_run import Ended, run_in_child
from reliability.goal import NotMeasured
from reliability.recorded_night import Night

#: calls that change the disk
WRITES = ("write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir", "mkdirat",
          "unlink", "unlinkat")  # fmt: skip
READS = ("openat", "read", "pread64")
_CALL = re.compile(
    r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*?)(?:\) += (?P<result>\S+).*| <unfinished .*)$"
)
_FD = re.compile(r"^\d+<(?P<path>.*?)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Call:
    """A system call: its name, which of that name in its thread it is (1 for the first), and what it is about."""

    name: str
    number: int
    arguments: str
    failed: bool

    @property
    def path(self) -> str:
        """Path behind its file descriptor, else the first quoted one."""
        told = _FD.match(self.arguments)
        if told:
            return told["path"]
        quoted = _QUOTED.findall(self.arguments)
        return quoted[0] if quoted else ""

    @property
    def target(self) -> str:
        """Where a rename leads."""
        quoted = _QUOTED.findall(self.arguments)
        return quoted[-1] if quoted else ""


def traced(night: Night, names: Sequence[str] = WRITES) -> tuple[Ended, list[Call]]:
    """Run the night under strace; the calls of the main thread in order."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "trace"
        ended = _under_strace(night, ["-y", "-o", str(log), "-e", f"trace={','.join(names)}"])
        return ended, parse(log.read_text(errors="replace").splitlines())


def parse(lines: Sequence[str]) -> list[Call]:
    """Calls of the thread that came first."""
    calls: list[Call] = []
    counts: Counter[str] = Counter()
    main = ""
    for line in lines:
        told = _CALL.match(line)
        if told is None:
            continue
        main = main or told["pid"]
        if told["pid"] == main:
            counts[told["name"]] += 1
            failed = (told["result"] or "").startswith("-")
            calls.append(Call(told["name"], counts[told["name"]], told["arguments"], failed))
    return calls


def killed(night: Night, call: Call) -> Ended:
    """Run the night and kill it as it makes this call."""
    return _under_strace(night, _injection([call.name], {call.name: f"signal=SIGKILL:when={call.number}"}))


def failing(night: Night, calls: Sequence[Call], index: int, error: str, *, lasting: bool) -> Ended:
    """Run the night with an error from the call of that index on: that one only, or (``lasting``) all from there."""
    if not lasting:
        call = calls[index]
        return _under_strace(night, _injection([call.name], {call.name: f"error={error}:when={call.number}"}))
    before = Counter(call.name for call in calls[:index])
    names = sorted({call.name for call in calls} | set(WRITES))
    return _under_strace(
        night, _injection(names, {name: f"error={error}:when={before[name] + 1}+" for name in names})
    )


def _injection(names: Sequence[str], faults: dict[str, str]) -> list[str]:
    options = ["-o", "/dev/null", "-e", f"trace={','.join(names)}"]
    for name, fault in faults.items():
        options += ["-e", f"inject={name}:{fault}"]
    return options


def _under_strace(night: Night, options: list[str]) -> Ended:
    program = require_strace()

    def attach(child: int) -> subprocess.Popen[bytes]:
        command = [program, "-f", "-qq", *options, "-p", str(child)]
        tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while _tracer_of(child) == 0:
            if tracer.poll() is not None:
                os.kill(child, 9)
                reason = tracer.stderr.read().decode(errors="replace").strip() if tracer.stderr else ""
                raise NotMeasured(f"strace cannot watch processes here: {reason}")
            time.sleep(0.002)
        return tracer

    return run_in_child(night, before=attach)


def _tracer_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("TracerPid:"):
            return int(line.split()[1])
    return 0


def require_strace() -> str:
    """Path of strace, or NotMeasured."""
    program = shutil.which("strace")
    if program is None:
        raise NotMeasured("strace is not installed")
    return program


# ---------------------------------------------------------------- order of writing
def violations(calls: Sequence[Call], workdir: str) -> list[str]:
    """Where the order of writing would let a power cut take away what a row names.

    A file renamed into the workdir must have been synced after its last write; its directory must be synced after the
    rename, before anything is written to the database; new directories must be synced into theirs likewise.
    """
    found: list[str] = []
    unsynced: set[str] = set()
    waiting: dict[str, str] = {}  # directory that must be synced before the next commit: why
    for call in calls:
        path = call.path
        if call.failed:
            continue
        if call.name in ("write", "pwrite64", "ftruncate"):
            if _is_database(path):
                found += [
                    f"written to the database before the directory was synced: {why}"
                    for why in waiting.values()
                ]
                waiting.clear()
            unsynced.add(path)
        elif call.name in ("fsync", "fdatasync"):
            unsynced.discard(path)
            waiting.pop(path, None)
        elif call.name.startswith("rename") and call.target.startswith(workdir):
            if path in unsynced:
                found.append(f"renamed before it was synced: {call.target}")
            waiting[str(Path(call.target).parent)] = f"rename to {call.target}"
        elif call.name.startswith("mkdir") and path.startswith(workdir) and not path.endswith("/logs"):
            waiting[str(Path(path).parent)] = f"new directory {path}"
    return found + [f"never synced: {why}" for why in waiting.values()]


def _is_database(path: str) -> bool:
    return Path(path).name in ("database.sqlite3", "database.sqlite3-wal")
