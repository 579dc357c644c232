"""Which ROIs have calibrations that their cutouts have not seen."""

from __future__ import annotations

from lightwatch.pipeline.grouping import roi_groups, solved_groups
from lightwatch.pipeline.task import Group, TaskContext


def groups(context: TaskContext) -> list[Group]:
    """One group per ROI and filter."""
    return roi_groups(context, solved_groups(context, "calculate_absolute_zeropoints"))
