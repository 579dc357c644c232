"""Signs of life of a run, for other machines that share its disk."""

from __future__ import annotations

import time

from lightwatch.pipeline.reporting import Reporter, TaskSummary
from lightwatch.structure.database import transaction
from lightwatch.structure.run_rows import renew_heartbeat
from lightwatch.structure.workspace import Workspace

_SECONDS = 60.0


class Heartbeat:
    """Passes on what a reporter is told, and renews the sign of life at most once a minute.

    It is told between transactions, never within one.
    """

    def __init__(self, reporter: Reporter, workspace: Workspace, run_id: int) -> None:
        self._reporter, self._workspace, self._run_id = reporter, workspace, run_id
        self._last = time.monotonic()

    def begin(self, task: str, total: int) -> None:
        """A task starts on so many items."""
        self._renew()
        self._reporter.begin(task, total)

    def advance(self, task: str, count: int = 1) -> None:
        """Items ended."""
        self._renew()
        self._reporter.advance(task, count)

    def end(self, summary: TaskSummary) -> None:
        """A task ended."""
        self._renew()
        self._reporter.end(summary)

    def _renew(self) -> None:
        if time.monotonic() - self._last < _SECONDS:
            return
        with transaction(self._workspace.engine) as connection:
            renew_heartbeat(connection, self._run_id)
        self._last = time.monotonic()
