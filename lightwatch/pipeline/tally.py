"""What became of the items of one task in one run, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightwatch.pipeline.task import Outcome
from lightwatch.structure.queries import Row


class Tally:
    """Counts outcomes."""

    def __init__(self) -> None:
        self.done = self.rejected = self.failed = self.deferred = self.lost = 0
        self.rejected_ids: set[int] = set()

    @property
    def items(self) -> int:
        """Items counted."""
        return self.done + self.rejected + self.failed

    def count(self, outcome: Outcome, item_id: int | None = None) -> None:
        waits = outcome.reason_code in ("deferred", "vanished")  # while it was read: no work was done
        self.deferred += outcome.reason_code == "deferred"
        self.done += outcome.state == "done" and not waits
        self.rejected += outcome.state == "rejected"
        self.failed += outcome.state == "error"
        if outcome.state == "rejected" and item_id is not None:
            self.rejected_ids.add(item_id)

    def forget(self, items: Sequence[Row]) -> None:
        """Items that were rejected are tried again and must not count twice."""
        again = self.rejected_ids & {int(item["id"]) for item in items}
        self.rejected -= len(again)
        self.rejected_ids -= again

    def add(self, other: Tally) -> None:
        self.done += other.done
        self.rejected += other.rejected
        self.failed += other.failed
        self.deferred += other.deferred
        self.lost += other.lost
        self.rejected_ids |= other.rejected_ids

    def as_dict(self) -> dict[str, Any]:
        note = (
            f"{self.lost} missing or damaged products will be made again by the next run" if self.lost else ""
        )
        return {
            "done": self.done,
            "rejected": self.rejected,
            "failed": self.failed,
            "deferred": self.deferred,
            "note": note,
        }
