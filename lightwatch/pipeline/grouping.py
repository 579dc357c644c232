"""Groups of frames that joint tasks solve together, and what tells that they changed.

A run with nothing to do asks for every group: so a group is told by its digest, and its frames are read only by
the task that works on them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from lightwatch.pipeline.task import Group, TaskContext, digest_of
from lightwatch.structure import queries, queries_joint
from lightwatch.structure.queries import Row

_MEASURED_BY = "star_photometry"


def photometry_groups(context: TaskContext) -> list[Group]:
    """Frames with star fluxes, by filter; frames of different filters never meet."""
    query = queries_joint.finished_contents(
        _MEASURED_BY, context.recipes[_MEASURED_BY], context.footprint_hash
    )
    contents: dict[str, list[str]] = defaultdict(list)
    newest: dict[str, int] = defaultdict(int)
    for name, content, run_id in queries.stream(context.workspace.reader, query):
        contents[name].append(content)
        newest[name] = max(newest[name], run_id)
    return [
        Group(name, digest_of(contents[name]), len(contents[name]), newest[name], filter=name)
        for name in sorted(contents)
    ]


def group_members(context: TaskContext, group: Group) -> list[Row]:
    """The frames of a group, in order of time."""
    query = queries.finished_frames(
        _MEASURED_BY, context.recipes[_MEASURED_BY], context.footprint_hash, filter_name=group.filter
    )
    return queries.rows(context.workspace.reader, query)


def solved_groups(context: TaskContext, task: str) -> list[Group]:
    """The groups that an earlier joint task has solved and that still have frames.

    Their digest follows the one of that task.
    """
    query = queries_joint.solved_groups(task, context.recipes[task], context.footprint_hash)
    return [
        _solved(row, row["group_key"])
        for row in queries.rows(context.workspace.reader, query)
        if _has_members(context, row["group_key"])
    ]


def roi_groups(context: TaskContext, members: Sequence[Group]) -> list[Group]:
    """One group per ROI and filter out of groups by filter."""
    return [
        replace(
            group,
            key=f"{roi}|{group.filter}",
            digest=digest_of([group.digest, list(settings.coordinates)]),
            roi=roi,
        )
        for roi, settings in context.workspace.config.rois.items()
        for group in members
    ]


def solved_roi_groups(context: TaskContext, task: str, members: Sequence[Group]) -> list[Group]:
    """Those of the ROIs' groups that an earlier joint task has solved, with a digest that follows its own."""
    query = queries_joint.solved_groups(task, context.recipes[task], context.footprint_hash)
    solved = {row["group_key"]: row for row in queries.rows(context.workspace.reader, query)}
    return [
        replace(_solved(solved[group.key], group.filter), roi=group.roi)
        for group in members
        if group.key in solved
    ]


def _solved(row: Row, filter_name: str) -> Group:
    return Group(
        key=row["group_key"],
        digest=digest_of([row["digest"], row["recipe"]]),
        n_members=row["n_items"],
        newest_input=row["run_id"] or 0,
        filter=filter_name,
    )


def _has_members(context: TaskContext, filter_name: str) -> bool:
    query = queries.finished_frames(
        _MEASURED_BY, context.recipes[_MEASURED_BY], context.footprint_hash, filter_name=filter_name
    )
    one = query.with_only_columns(queries.FRAME_ID).order_by(None).limit(1)
    return queries.scalar(context.workspace.reader, one) is not None
