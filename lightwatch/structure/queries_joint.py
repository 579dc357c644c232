"""What is asked about joint tasks, and about the time that work takes, by runs that have nothing to do and by plans."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, func, select, union_all

from lightwatch.structure import queries
from lightwatch.structure import schema as s

_ITEMS_TIMED = 300


def finished_contents(task: str, recipe: str, footprint_hash: str) -> Select[Any]:
    """Filter, content hash, and run of the result, of the finished frames of a task, in order of time."""
    f, t = s.frames, s.task_results
    return (
        select(func.coalesce(f.c.filter, ""), f.c.content_hash, func.coalesce(t.c.run_id, 0))
        .join(t, t.c.frame_id == f.c.id)
        .where(
            queries.usable_frames_with_roi(),
            t.c.task == task,
            t.c.combined_footprint_hash == footprint_hash,
            t.c.recipe == recipe,
            t.c.state == "done",
        )
        .order_by(f.c.mjd_mid, f.c.content_hash)
    )


def frames_done_otherwise(task: str, recipe: str, footprint_hash: str) -> Select[Any]:
    """Ids of the frames whose result of a task was made under another recipe."""
    t = s.task_results.c
    return select(t.frame_id).where(
        t.task == task, t.combined_footprint_hash == footprint_hash, t.recipe != recipe
    )


def groups_done(task: str) -> Select[Any]:
    """What a joint task has solved under any recipe and footprint."""
    g = s.group_results
    return select(g).where(g.c.task == task, g.c.state == "done")


def rows_of_footprint(table: Table, footprint_hash: str) -> Select[Any]:
    """All rows of a table of products of frames that belong to a footprint."""
    return select(table).where(table.c.combined_footprint_hash == footprint_hash)


def coefficients_of_group(footprint_hash: str, filter_name: str) -> ColumnElement[bool]:
    """Rows of the normalization of a filter, of whatever recipe."""
    c = s.normalization_coefficients.c
    return and_(c.combined_footprint_hash == footprint_hash, c.filter == filter_name)


def zeropoints_of_group(footprint_hash: str, filter_name: str) -> ColumnElement[bool]:
    """Rows of the zero points of a filter, of whatever recipe and band."""
    c = s.absolute_zeropoints.c
    of_filter = c.frame_id.in_(queries.frames_of_filter(filter_name))
    return and_(c.combined_footprint_hash == footprint_hash, of_filter)


def zeropoints_of_filter(footprint_hash: str, recipe: str, band: str, filter_name: str) -> Select[Any]:
    """Zero points in a band of the frames of a filter."""
    of_filter = s.absolute_zeropoints.c.frame_id.in_(queries.frames_of_filter(filter_name))
    return queries.zeropoints_of(footprint_hash, recipe, band).where(of_filter)


def solved_groups(task: str, recipe: str, footprint_hash: str) -> Select[Any]:
    """What a joint task has solved under a recipe."""
    g = s.group_results
    return (
        select(g)
        .where(
            g.c.task == task,
            g.c.combined_footprint_hash == footprint_hash,
            g.c.recipe == recipe,
            g.c.state == "done",
        )
        .order_by(g.c.group_key)
    )


def number_of_groups(task: str, footprint_hash: str) -> Select[Any]:
    """How many groups a joint task has had."""
    g = s.group_results
    return select(func.count()).where(g.c.task == task, g.c.combined_footprint_hash == footprint_hash)


def seconds_of_items(task: str) -> Select[Any]:
    """Wall times of the latest items of a task."""
    measured = union_all(
        *(
            select(t.c.seconds, t.c.run_id).where(t.c.task == task, t.c.seconds.is_not(None))
            for t in (s.task_results, s.group_results)
        )
    ).subquery()
    return select(measured.c.seconds).order_by(measured.c.run_id.desc()).limit(_ITEMS_TIMED)
