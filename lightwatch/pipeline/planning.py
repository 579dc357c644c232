"""What a run would do, and why, before it does it."""

from __future__ import annotations

import importlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightwatch.pipeline import recipes as recipe_book
from lightwatch.pipeline.night import NIGHT, task_named
from lightwatch.pipeline.runner import footprint_in_use, group_is_pending, pending_items
from lightwatch.pipeline.task import Task, TaskContext
from lightwatch.pipeline.tasks.frame_import_files import known_files
from lightwatch.structure import queries, queries_joint
from lightwatch.structure.files import path_text
from lightwatch.structure.frames_discovery import FoundFile, find_files, unlisted
from lightwatch.structure.workspace import Workspace


@dataclass(frozen=True)
class PlanLine:
    """What one task would do: items pending by now, items that earlier tasks would add, and the reason."""

    task: str
    pending: int
    expected: int
    reason: str
    seconds: float | None

    @property
    def total(self) -> int:
        """Items in all."""
        return self.pending + self.expected


def plan(workspace: Workspace, tasks: Sequence[Task]) -> list[PlanLine]:
    """One line per task, in order."""
    if not workspace.has_database:
        return _first_plan(workspace, tasks)
    current = recipe_book.all_recipes(workspace)
    before = {row["task"]: row["recipe"] for row in queries.rows(workspace.reader, queries.recipes_in_use())}
    lines: list[PlanLine] = []
    coming, again = 0, False
    for task in NIGHT:
        if task.scope == "once":
            continue
        pending, note, done_before = _pending(workspace, task, current)
        again |= done_before
        expected = 0 if task.scope == "files" else coming
        if (
            task.scope == "groups" and coming
        ):  # which filters the frames to come have, only their headers tell
            expected = max(1 - pending, _known_groups(workspace, task) - pending, 0)
        changed = task.name in before and (
            before[task.name] != current[task.name] or _speaks_anew_of_items(workspace, task)
        )
        if task in tasks:
            reason = _reason(workspace, task, changed, again, pending + expected, note)
            lines.append(_line(workspace, task, pending, expected, reason))
        coming += pending
    return lines


def _known_groups(workspace: Workspace, task: Task) -> int:
    query = queries_joint.number_of_groups(task.name, footprint_in_use(workspace, task))
    return int(queries.scalar(workspace.reader, query) or 0)


def _first_plan(workspace: Workspace, tasks: Sequence[Task]) -> list[PlanLine]:
    config = workspace.config
    found = find_files(
        config.raw_dirs, config.patterns, recursive=config.discovery.recursive, follow_links=True
    )
    n = len(found.files)
    missing = [path_text(path) for path, _reason in unlisted(config.raw_dirs)]
    reason = f"first run, {n} files found" + f"; cannot be listed: {', '.join(missing)}" * bool(missing)
    pending = {"files": n, "frames": 0, "groups": 0}
    expected = {"files": 0, "frames": n, "groups": 1 if n else 0}  # how many filters, only the headers tell
    return [
        PlanLine(t.name, pending[t.scope], expected[t.scope], reason, None)
        for t in tasks
        if t.scope != "once"
    ]


def _pending(workspace: Workspace, task: Task, current: dict[str, str]) -> tuple[int, str, bool]:
    """Number of items, what is to be told of them, and whether one was done before under what was set then."""
    footprint_hash = footprint_in_use(workspace, task)
    context = TaskContext(workspace, current[task.name], current, footprint_hash)
    if task.scope == "files":
        found = importlib.import_module(task.module + "_files").find_candidates(context)
        missing = unlisted(workspace.config.raw_dirs)
        note = "; ".join(f"{path_text(path)} cannot be listed: {reason}" for path, reason in missing)
        files = [item for item in found if not item.problem]
        return len(files), note, _imported_before(workspace, files)
    if task.scope == "frames":
        items = {item["id"] for item in pending_items(workspace, task, current, footprint_hash)}
        query = queries_joint.frames_done_otherwise(task.name, current[task.name], footprint_hash)
        other = items and {frame_id for (frame_id,) in queries.stream(workspace.reader, query)}
        return len(items), "", bool(other and items & other)
    if not footprint_hash:
        return 0, "", False
    groups = importlib.import_module(task.module + "_groups").groups(context)
    stale = [group.key for group in groups if group_is_pending(context, task, group)]
    return len(stale), ", ".join(stale), False


def _imported_before(workspace: Workspace, files: Sequence[FoundFile]) -> bool:
    """Whether one of the files became a frame and is as it was: what is set changed, in a run that did not end."""
    if not files:
        return False
    frames = {
        path: (row["size"], row["mtime_ns"], row["inode"])
        for path, row in known_files(workspace).items()
        if row["frame_id"] is not None
    }
    return any(frames.get(path_text(item.path)) == (item.size, item.mtime_ns, item.inode) for item in files)


def _reason(workspace: Workspace, task: Task, changed: bool, again: bool, work: int, note: str) -> str:
    if not work:
        return f"up to date; {note}" if note else "up to date"
    if changed:
        return f"settings of {_changed_section(workspace, task)} changed"
    if again and task.scope != "groups":
        return "done before under other settings or inputs"
    return {"files": "new files", "frames": "new frames", "groups": "frames changed"}[task.scope] + (
        f": {note}" if note else ""
    )


def _speaks_anew_of_items(workspace: Workspace, task: Task) -> bool:
    stored = _stored_settings(workspace).get(task.name, {})
    now = recipe_book.told_settings(workspace, task)
    return any(stored.get(name, {}) != now[name] for name in task.sections_of_items)


def _stored_settings(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Settings of the last run by task."""
    rows = queries.rows(workspace.reader, queries.recipes_in_use())
    return {row["task"]: json.loads(row["settings"]) for row in rows}


def _changed_section(workspace: Workspace, task: Task) -> str:
    """The first section, here or upstream, whose settings are not those of the last run."""
    chain: list[Task] = [task]
    while chain[0].after:
        chain.insert(0, task_named(chain[0].after[0]))
    known = _stored_settings(workspace)
    for item in chain:
        if item.name not in known:
            continue
        stored, now = known[item.name], recipe_book.told_settings(workspace, item)
        for section in sorted(set(stored) | set(now)):
            if stored.get(section, {}) != now.get(section, {}):
                return f"'{section}'"
    # the import takes one position: times and airmass are those of the first ROI
    name, first = next(iter(workspace.config.rois.items()))
    rois = next((told["rois"] for told in known.values() if "rois" in told), None)
    if rois is not None and rois.get(name, {}).get("coordinates") != list(first.coordinates):
        return "'rois'"
    return "an input (order of the ROIs, header parser, catalogue or program version)"


def _line(workspace: Workspace, task: Task, pending: int, expected: int, reason: str) -> PlanLine:
    return PlanLine(task.name, pending, expected, reason, _seconds(workspace, task, pending + expected))


def _seconds(workspace: Workspace, task: Task, items: int) -> float | None:
    """Time that so many items take: the median item counts, for the first one has waited for compilation."""
    if not items:
        return 0.0
    known = [
        seconds for (seconds,) in queries.stream(workspace.reader, queries_joint.seconds_of_items(task.name))
    ]
    return statistics.median(known) * items if known else None
