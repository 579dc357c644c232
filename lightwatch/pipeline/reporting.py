"""What a run tells while it works: implemented by the command line, silent by default."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

LOG = logging.getLogger("lightwatch")


@dataclass(frozen=True)
class TaskSummary:
    """What a task did in one run."""

    task: str
    done: int = 0
    rejected: int = 0
    failed: int = 0
    deferred: int = 0
    seconds: float = 0.0
    note: str = ""
    waits: bool = False  # for something outside: its items stay pending

    @property
    def items(self) -> int:
        """Number of items that were worked on."""
        return self.done + self.rejected + self.failed


class Reporter(Protocol):
    """Told of the progress of a run."""

    def begin(self, task: str, total: int) -> None:
        """A task starts on so many items."""

    def advance(self, task: str, count: int = 1) -> None:
        """Items ended."""

    def end(self, summary: TaskSummary) -> None:
        """A task ended."""


class LoggingReporter:
    """Plain lines to the log."""

    def begin(self, task: str, total: int) -> None:
        LOG.info("%s: %d to do", task, total)

    def advance(self, task: str, count: int = 1) -> None:
        LOG.debug("%s: %d more", task, count)

    def end(self, summary: TaskSummary) -> None:
        LOG.info(
            "%s: %d done, %d rejected, %d failed in %.1f s%s",
            summary.task, summary.done, summary.rejected, summary.failed, summary.seconds,
            f" ({summary.note})" if summary.note else "",
        )  # fmt: skip
