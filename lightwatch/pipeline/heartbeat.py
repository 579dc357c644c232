"""Signs of life of a run, for other machines that share its disk."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from lightwatch.errors import LightwatchError
from lightwatch.pipeline.reporting import Reporter, TaskSummary
from lightwatch.structure.database import transaction
from lightwatch.structure.run_rows import renew_heartbeat
from lightwatch.structure.workspace import Workspace

_SECONDS = 60.0
#: without a word from the run; a small part of the silence after which it counts as crashed
_SECONDS_OF_SILENCE = 300.0
#: longer than a sign of life may wait for the lock of another program; a disk that hangs is not waited for
_SECONDS_TO_END = 60.0


class Heartbeat:
    """Passes on what a reporter is told, and renews the sign of life at most once a minute.

    It is told between transactions, never within one. While a fit, or the network, keeps the run from telling
    anything, a thread gives the sign, by the one connection that the run writes by. It gives none while the run
    writes, for that is told of right after; the run waits for a sign that is being written, however long that takes.
    """

    def __init__(self, reporter: Reporter, workspace: Workspace, run_id: int) -> None:
        self._reporter, self._workspace, self._run_id = reporter, workspace, run_id
        self._last = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_in_silence, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        # a sign that hangs beyond holds the one connection: the run's last row then waits for it, as any other would
        self._thread.join(_SECONDS_TO_END)

    def begin(self, task: str, total: int) -> None:
        """A task starts on so many items."""
        self._renew(_SECONDS)
        self._reporter.begin(task, total)

    def advance(self, task: str, count: int = 1) -> None:
        """Items ended."""
        self._renew(_SECONDS)
        self._reporter.advance(task, count)

    def end(self, summary: TaskSummary) -> None:
        """A task ended."""
        self._renew(_SECONDS)
        self._reporter.end(summary)

    def _renew(self, seconds: float, *, wait: bool = True) -> None:
        if time.monotonic() - self._last < seconds:
            return
        with transaction(self._workspace.engine, wait=wait) as connection:
            renew_heartbeat(connection, self._run_id)
        self._last = time.monotonic()

    def _renew_in_silence(self) -> None:
        while not self._ended.wait(_SECONDS_OF_SILENCE / 2):
            # the run writes, or a disk fails, of which the run itself will tell, or has told
            with suppress(LightwatchError, SQLAlchemyError):
                self._renew(_SECONDS_OF_SILENCE, wait=False)
