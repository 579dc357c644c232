"""Runs a workdir and is killed, again and again: a program for tests/pipeline/test_kill.py.

    python killed_run.py CONFIG SEED FIRST LAST MOST [STOP]

Every step of writing (see lightwatch.structure.failpoint) is counted; each run is killed by SIGKILL at a step
drawn from FIRST..LAST, until one comes to its end, which the one after the MOST-th kill does undisturbed. Runs are
forks of this process, so that the libraries are imported once; JAX does not start before the fork.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sys
from pathlib import Path

from lightwatch import WorkflowManager, Workspace
from lightwatch.pipeline.night import NIGHT
from lightwatch.structure import failpoint


class Countdown:
    """Kills this process at the n-th step of writing."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self, _step: str, _path: Path) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    config, seed, first, last, most = sys.argv[1], *map(int, sys.argv[2:6])
    stop = sys.argv[6] if len(sys.argv) > 6 else None
    for task in NIGHT:
        importlib.import_module(task.module)
    rng = random.Random(seed)
    kills = 0
    while True:
        child = os.fork()
        if child == 0:
            failpoint.reached = Countdown(rng.randint(first, last) if kills < most else 10**9)
            os._exit(WorkflowManager(Workspace.open(config)).run(stop=stop).exit_code)
        rng.random()
        _pid, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            kills += 1
            continue
        print(json.dumps({"kills": kills, "exit": os.waitstatus_to_exitcode(status)}))
        return


if __name__ == "__main__":
    main()
