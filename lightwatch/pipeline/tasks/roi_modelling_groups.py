"""Which ROIs have calibrated cutouts that the model has not seen."""

from __future__ import annotations

from lightwatch.pipeline.task import Group, TaskContext, digest_of
from lightwatch.pipeline.tasks import calibrated_cutouts_groups
from lightwatch.structure import queries

_PREPARE = "prepare_calibrated_cutouts"


def groups(context: TaskContext) -> list[Group]:
    """One group per ROI and filter whose cutouts are prepared; none when roi_model.enabled is false."""
    if not context.workspace.config.roi_model.enabled:
        return []
    prepared = []
    for group in calibrated_cutouts_groups.groups(context):
        row = queries.rows(
            context.workspace.reader, queries.group_result(_PREPARE, context.footprint_hash, group.key)
        )
        if row and row[0]["state"] == "done" and row[0]["recipe"] == context.recipes[_PREPARE]:
            digest = digest_of([row[0]["digest"], row[0]["recipe"]])
            prepared.append(Group(group.key, digest, group.members, group.filter, group.roi))
    return prepared
