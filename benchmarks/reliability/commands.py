"""The command line, inside this process or as from a terminal: what it told, and how it ended."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from lightwatch.pipeline import cli

_HEEDING = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from lightwatch.pipeline import cli
cli.main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Ended:
    """Exit code, and what went to standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """All of it."""
        return self.out + self.err


def command(*words: str) -> Ended:
    """``lightwatch WORDS``."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(list(words))
        except SystemExit as end:
            code = end.code or 0
    return Ended(code if isinstance(code, int) else 1, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def in_a_terminal(*words: str, seconds: float = 180.0) -> Iterator[subprocess.Popen[str]]:
    """``lightwatch WORDS`` as a process that heeds Ctrl-C, which what a shell starts in the background does not.

    After ``seconds`` it is killed, so that nobody waits for a line or an end that does not come.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _HEEDING, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        process.kill()
        process.communicate()
