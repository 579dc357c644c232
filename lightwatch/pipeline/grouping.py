"""Groups of frames that joint tasks solve together, and the digests that tell when they changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from lightwatch.pipeline.task import Group, TaskContext, digest_of
from lightwatch.structure import queries
from lightwatch.structure.queries import Row


def photometry_groups(context: TaskContext) -> list[Group]:
    """Frames with star fluxes, by filter; frames of different filters never meet."""
    rows = queries.rows(
        context.workspace.reader,
        queries.finished_frames(
            "star_photometry", context.recipes["star_photometry"], context.footprint_hash
        ),
    )
    by_filter: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_filter[row["filter"] or ""].append(row)
    return [
        Group(
            key=name,
            digest=digest_of([frame["content_hash"] for frame in frames]),
            members=tuple(frames),
            filter=name,
        )
        for name, frames in sorted(by_filter.items())
    ]


def solved_groups(context: TaskContext, task: str) -> list[Group]:
    """The groups of an earlier joint task that it has solved, with a digest that follows its own."""
    solved = []
    for group in photometry_groups(context):
        row = queries.rows(
            context.workspace.reader, queries.group_result(task, context.footprint_hash, group.key)
        )
        if row and row[0]["state"] == "done" and row[0]["recipe"] == context.recipes[task]:
            digest = digest_of([row[0]["digest"], row[0]["recipe"]])
            solved.append(Group(group.key, digest, group.members, group.filter))
    return solved


def roi_groups(context: TaskContext, task: str, members: Sequence[Group]) -> list[Group]:
    """One group per ROI and filter out of groups by filter."""
    return [
        Group(
            key=f"{roi}|{group.filter}",
            digest=digest_of([group.digest, list(settings.coordinates)]),
            members=group.members,
            filter=group.filter,
            roi=roi,
        )
        for roi, settings in context.workspace.config.rois.items()
        for group in members
    ]
