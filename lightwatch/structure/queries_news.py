"""What the report asks of runs: what the last one brought, what it changed, and which frames have which cause."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, case, func, select, union_all

from lightwatch.errors import ExitCode
from lightwatch.structure import schema as s
from lightwatch.structure.task_names import IMPORT_TASK


def run_with_news() -> Select[Any]:
    """The latest run that worked on anything, or no row."""
    worked = union_all(select(s.task_results.c.run_id), select(s.group_results.c.run_id)).subquery()
    return select(s.runs).where(s.runs.c.id == select(func.max(worked.c.run_id)).scalar_subquery())


def finished_run_before(run_id: int) -> Select[Any]:
    """The last run before a run that came to its end, with or without frames set aside."""
    r = s.runs
    finished = r.c.exit_code.in_([int(ExitCode.CLEAN), int(ExitCode.PARTIAL)])
    return select(r).where(r.c.id < run_id, finished).order_by(r.c.id.desc()).limit(1)


def imported_frames(run_id: int) -> Select[Any]:
    """Frames that a run imported, in order of time; ``attempts`` 1: for the first time."""
    t, f = s.task_results, s.frames
    return (
        select(f.c.id, f.c.original_image_path, f.c.mjd_mid, f.c.filter, t.c.attempts)
        .join(t, t.c.frame_id == f.c.id)
        .where(t.c.task == IMPORT_TASK, t.c.run_id == run_id, t.c.state == "done")
        .order_by(f.c.mjd_mid, f.c.id)
    )


def items_of_run(run_id: int) -> Select[Any]:
    """Items that a run worked on: task, state, number, and how many belong to frames that it imported first.

    Joint tasks begin anew whenever there is a new frame: theirs count as new.
    """
    t, g, r = s.task_results, s.group_results, s.task_recipes
    imported = t.alias()
    new = select(imported.c.frame_id).where(
        imported.c.task == IMPORT_TASK, imported.c.run_id == run_id, imported.c.attempts == 1
    )
    is_new = func.sum(case((t.c.frame_id.in_(new), 1), else_=0)).label("n_new")
    frames = select(t.c.task, t.c.state, func.count().label("n"), is_new).where(t.c.run_id == run_id)
    groups = select(g.c.task, g.c.state, func.count().label("n"), func.count().label("n_new")).where(
        g.c.run_id == run_id
    )
    both = union_all(frames.group_by(t.c.task, t.c.state), groups.group_by(g.c.task, g.c.state)).subquery()
    return (
        select(both.c.task, both.c.state, both.c.n, both.c.n_new)
        .join(r, r.c.task == both.c.task)
        .order_by(r.c.position, both.c.state)
    )


def rejected_frames_of_run(run_id: int) -> Select[Any]:
    """How many frames of each filter a run rejected, by task."""
    t, f = s.task_results, s.frames
    return (
        select(t.c.task, f.c.filter, func.count().label("n"))
        .join(f, f.c.id == t.c.frame_id)
        .where(t.c.run_id == run_id, t.c.state == "rejected")
        .group_by(t.c.task, f.c.filter)
        .order_by(t.c.task, f.c.filter)
    )


def groups_without_result(footprint_hash: str) -> Select[Any]:
    """Groups (a filter, or an ROI and a filter) that a joint task of today's recipe has nothing for, with the cause."""
    g, r = s.group_results, s.task_recipes
    return (
        select(g.c.task, g.c.state, g.c.group_key, g.c.reason_code)
        .join(r, and_(r.c.task == g.c.task, r.c.recipe == g.c.recipe))
        .where(g.c.state != "done", g.c.combined_footprint_hash == footprint_hash)
        .order_by(r.c.position, g.c.group_key)
    )


def frames_without_result(footprint_hash: str, limit: int) -> Select[Any]:
    """Frames that a task of today's recipe rejected or failed on, newest first, with the cause."""
    t, r, f = s.task_results, s.task_recipes, s.frames
    return (
        select(t.c.task, t.c.state, t.c.reason_code, t.c.run_id, t.c.frame_id, f.c.original_image_path)
        .join(r, and_(r.c.task == t.c.task, r.c.recipe == t.c.recipe))
        .join(f, f.c.id == t.c.frame_id)
        .where(t.c.state != "done", t.c.combined_footprint_hash.in_(["", footprint_hash]))
        .order_by(f.c.mjd_mid.desc(), f.c.id)
        .limit(limit)
    )
