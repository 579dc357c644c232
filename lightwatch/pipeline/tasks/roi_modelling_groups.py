"""Which ROIs have calibrated cutouts that the model has not seen."""

from __future__ import annotations

from lightwatch.pipeline.grouping import solved_roi_groups
from lightwatch.pipeline.task import Group, TaskContext
from lightwatch.pipeline.tasks import calibrated_cutouts_groups


def groups(context: TaskContext) -> list[Group]:
    """One group per ROI and filter whose cutouts are prepared; none when roi_model.enabled is false."""
    if not context.workspace.config.roi_model.enabled:
        return []
    return solved_roi_groups(context, "prepare_calibrated_cutouts", calibrated_cutouts_groups.groups(context))
