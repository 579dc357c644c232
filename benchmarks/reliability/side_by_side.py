"""Trials of one recorded night in several processes, each with a workdir of its own at the same place."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import subprocess
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from reliability.goal import NotMeasured
from reliability.recorded_night import Night

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, see unshare(2)
_MOST = 2

#: picks a process's own trials
Mine = Callable[[Iterable[Any]], Iterable[Any]]
#: makes the trials that are its own and tells what came out, as JSON can write it
Work = Callable[[Mine], Any]


def side_by_side(night: Night, work: Work) -> list[Any]:
    """What ``work`` tells in each process; in this one alone where there is one core or no right to mount.

    A process sees in the place of the workdir a file system in memory that no other process sees.
    """
    processes = min(_MOST, len(os.sched_getaffinity(0)))
    if processes == 1 or not _told(_forked(lambda: _try_own_workdir(night))):
        return [work(lambda trials: trials)]

    def part(which: int) -> Any:
        _own_workdir(night)
        return work(lambda trials: itertools.islice(trials, which, None, processes))

    children = [_forked(lambda which=which: part(which)) for which in range(processes)]
    return [_told(child) for child in children]


def _own_workdir(night: Night) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for arguments in (("--make-rprivate", "/"), ("-t", "tmpfs", "tmpfs", str(night.workdir.path))):
        subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _try_own_workdir(night: Night) -> bool:
    try:
        _own_workdir(night)
    except (OSError, AttributeError, subprocess.CalledProcessError):
        return False
    return True


def _forked(task: Callable[[], Any]) -> tuple[int, int]:
    """A child that does a task: its process id, and where to read what it tells."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of every fork; children do not use it
        child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    try:
        told = {"told": task()}
    except NotMeasured as reason:
        told = {"not measured": str(reason)}
    except BaseException:
        told = {"failed": traceback.format_exc()}
    with os.fdopen(writing, "w") as stream:
        json.dump(told, stream)
    os._exit(0)


def _told(child: tuple[int, int]) -> Any:
    with os.fdopen(child[1]) as stream:
        told = json.loads(stream.read() or '{"failed": "it died"}')
    os.waitpid(child[0], 0)
    if "not measured" in told:
        raise NotMeasured(told["not measured"])
    assert "failed" not in told, f"a process that makes trials failed: {told['failed']}"
    return told["told"]
