"""Which filters have a normalization that the zero points have not seen."""

from __future__ import annotations

from lightwatch.pipeline.grouping import solved_groups
from lightwatch.pipeline.task import Group, TaskContext


def groups(context: TaskContext) -> list[Group]:
    """One group per filter."""
    return solved_groups(context, "calculate_normalization_coefficient")
