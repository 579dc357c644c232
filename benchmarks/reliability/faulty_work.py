"""What a computation can do to its worker process, for the measurement of R6."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

from lightwatch.pipeline.task import Outcome

#: what an item does, and what must be told of it: the reason code, and a part of the text
FAULTS = {
    "segmentation fault": ("worker_died", "signal 11"),
    "division in C": ("worker_died", "signal 8"),
    "killed for memory": ("worker_died", "signal 9"),
    "abort": ("worker_died", "signal 6"),
    "terminated": ("worker_died", "signal 15"),
    "exit": ("worker_died", "exit code 3"),
    "hang": ("timeout", "stopped after"),
    "deaf to signals": ("timeout", "stopped after"),
    "too much memory": ("MemoryError", ""),
    "exception": ("ZeroDivisionError", "by zero"),
    "exits politely": ("SystemExit", "2"),
    "unreadable result": ("*", ""),
}
_SIGNALS = {
    "division in C": signal.SIGFPE,
    "killed for memory": signal.SIGKILL,
    "abort": signal.SIGABRT,
    "terminated": signal.SIGTERM,
}


def compute(job: str) -> Outcome:
    """Do what the item's name says; "good" ones take a moment and end well."""
    if job in _SIGNALS:
        os.kill(os.getpid(), _SIGNALS[job])
    elif job == "segmentation fault":
        ctypes.string_at(0)
    elif job == "exit":
        os._exit(3)
    elif job == "exits politely":
        sys.exit(2)
    elif job in ("hang", "deaf to signals"):
        if job == "deaf to signals":
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL})
        time.sleep(3600)
    elif job == "too much memory":
        return Outcome(output=len(bytearray(8_000_000_000)))
    elif job == "exception":
        return Outcome(output=1 // 0)
    elif job == "unreadable result":
        return Outcome(output=lambda: None)
    time.sleep(0.02)
    return Outcome(output=job)
