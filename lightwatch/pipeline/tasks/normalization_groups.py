"""Which filters have star fluxes that the normalization has not seen."""

from __future__ import annotations

from lightwatch.pipeline.grouping import photometry_groups
from lightwatch.pipeline.task import Group, TaskContext


def groups(context: TaskContext) -> list[Group]:
    """One group per filter."""
    return photometry_groups(context)
