"""The command line inside this process: what it told, and how it ended."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from lightwatch.pipeline import cli


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
