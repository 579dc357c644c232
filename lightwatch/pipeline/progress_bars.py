"""Progress bars of a terminal: how far a task is, how fast it goes, and how much longer it takes."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

#: seconds that the rate is a mean of: some items take a minute, and come in batches
_RATE_PERIOD_S = 300.0


class RateColumn(ProgressColumn):
    """Items per second; seconds per item where one takes longer. The task's field ``item`` names them."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        if rate is None and task.completed and task.elapsed:  # one batch so far: no two moments to compare
            rate = task.completed / task.elapsed
        return Text(told_rate(rate, task.fields["item"]))


def told_rate(rate: float | None, item: str) -> str:
    """A rate in items/s in words; '' while it is unknown."""
    if not rate:
        return ""
    return f"{rate:.1f} {item}s/s" if rate >= 1.0 else f"{1.0 / rate:.1f} s/{item}"


def new_bars() -> Progress:
    """Bars on standard error."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), speed_estimate_period=_RATE_PERIOD_S)
