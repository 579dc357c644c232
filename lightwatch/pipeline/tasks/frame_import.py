"""read_convert_skysub_character_catalog: from raw files to frames in electron/s with sources and conditions."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from lightwatch.errors import FrameError
from lightwatch.pipeline.guard import guarded
from lightwatch.pipeline.task import Outcome, TaskContext
from lightwatch.pipeline.tasks.frame_character import ImportedFrame, ImportJob, import_frame
from lightwatch.pipeline.tasks.frame_import_files import find_candidates, known_files, split_by_age
from lightwatch.structure import header_parsing, schema
from lightwatch.structure.database import transaction, upsert
from lightwatch.structure.files import path_text
from lightwatch.structure.frames_discovery import FoundFile, content_hash

_HASHING_THREADS = 2
_YOUNG_REASONS = ("truncated", "not_fits")


@dataclass(frozen=True)
class Work:
    """What the search found: frames to import, and rows for files that need no work."""

    jobs: list[ImportJob]
    rows: list[dict[str, Any]]
    deferred: int
    rejected: int
    note: str


def find_work(context: TaskContext, limit: int | None) -> Work:
    """Look for new files; one job per new content, whatever the number of its copies."""
    candidates = find_candidates(context)
    if not candidates:
        return Work([], [], 0, 0, "")
    old, quiet, growing = split_by_age(candidates, context.workspace.config.discovery.min_file_age_seconds)
    ready = sorted(old + quiet)[:limit]
    with ThreadPoolExecutor(_HASHING_THREADS) as threads:
        hashes = list(threads.map(_hash_or_error, ready))
    rows = [_row(item, context.recipe, "deferred", reason_code="growing") for item in growing]
    copies: dict[str, list[FoundFile]] = defaultdict(list)
    unreadable = 0
    for item, digest in zip(ready, hashes, strict=True):
        if isinstance(digest, FrameError):
            unreadable += 1
            rows.append(_row(item, context.recipe, "quarantined", reason_code=digest.reason_code, reason=str(digest)))
        else:
            copies[digest].append(item)
    jobs, duplicates = _jobs(context, copies, {item.path for item in quiet})
    notes = [f"{len(growing)} still being written"] * bool(growing) + [f"{len(duplicates)} duplicates"] * bool(
        duplicates
    )
    return Work(jobs, rows + duplicates, len(growing), unreadable, ", ".join(notes))


def _hash_or_error(item: FoundFile) -> str | FrameError:
    try:
        return content_hash(item.path)
    except FrameError as error:
        return error


def _jobs(
    context: TaskContext, copies: dict[str, list[FoundFile]], young: set[Path]
) -> tuple[list[ImportJob], list[dict[str, Any]]]:
    known = known_files(context.workspace)
    owner = {
        row["content_hash"]: row["path"] for row in known.values() if row["state"] in ("imported", "calibration")
    }
    parser = header_parsing.load_header_parser(context.workspace.workdir, context.workspace.config.instrument)
    jobs: list[ImportJob] = []
    duplicates: list[dict[str, Any]] = []
    for digest, items in sorted(copies.items(), key=lambda pair: pair[1][0]):
        # the copy that is already known stays the frame's file; a later one never takes its place
        first = next((item for item in items if path_text(item.path) == owner.get(digest)), None)
        if first is None and digest not in owner:
            first = items[0]
        if first is not None:
            jobs.append(
                ImportJob(
                    workdir=context.workspace.workdir,
                    config=context.workspace.config,
                    parser=parser,
                    path=first.path,
                    found=first,
                    content_hash=digest,
                    recipe=context.recipe,
                    young=first.path in young,
                )
            )
        original = owner.get(digest) or path_text(items[0].path)
        duplicates += [
            _row(item, context.recipe, "duplicate", digest, "duplicate", f"same content as {original}")
            for item in items
            if item is not first
        ]
    return jobs, duplicates


def _row(
    item: FoundFile,
    recipe: str,
    state: str,
    digest: str | None = None,
    reason_code: str | None = None,
    reason: str | None = None,
    frame_id: int | None = None,
) -> dict[str, Any]:
    return {
        "path": path_text(item.path),
        "size": item.size,
        "mtime_ns": item.mtime_ns,
        "inode": item.inode,
        "content_hash": digest,
        "state": state,
        "reason_code": reason_code,
        "reason": reason,
        "frame_id": frame_id,
        "recipe": recipe,
    }


def save_findings(context: TaskContext, work: Work) -> None:
    """Write down the files that need no import."""
    with transaction(context.workspace.engine) as connection:
        upsert(connection, schema.files, work.rows)


def compute(job: ImportJob) -> Outcome:
    """Import one frame; runs in a worker. A young file that is incomplete waits instead of being refused."""
    outcome = guarded(import_frame, job)
    if job.young and outcome.state == "rejected" and outcome.reason_code in _YOUNG_REASONS:
        return replace(outcome, state="done", output=None, reason_code="deferred")
    return outcome


def save(connection: Connection, context: TaskContext, job: ImportJob, outcome: Outcome, run_id: int) -> None:
    """Rows of one file: its frame, or the reason why it is none."""
    imported: ImportedFrame | None = outcome.output
    state = {"done": "imported", "rejected": "quarantined", "error": "quarantined"}[outcome.state]
    if outcome.reason_code == "deferred":
        state = "deferred"
    elif imported is not None and imported.calibration:
        state = "calibration"
    frame_id = None
    if imported is not None and imported.row is not None:
        frame_id = _save_frame(connection, context, job, imported.row, run_id)
    _supersede(connection, job, frame_id)
    reason = imported.calibration if imported is not None and imported.calibration else outcome.reason
    recipe = context.recipe if outcome.state != "error" else "failed"  # a failure is tried again, at the next run
    upsert(
        connection,
        schema.files,
        [_row(job.found, recipe, state, job.content_hash, outcome.reason_code, reason, frame_id)],
    )


def _save_frame(
    connection: Connection, context: TaskContext, job: ImportJob, row: dict[str, Any], run_id: int
) -> int:
    frames = schema.frames
    known = connection.execute(
        select(frames.c.id, frames.c.eliminated, frames.c.comment).where(frames.c.content_hash == job.content_hash)
    ).first()
    if known is None:
        key = connection.execute(insert(frames).values(**row)).inserted_primary_key
        assert key is not None  # an autoincremented id
        frame_id = int(key[0])
    else:  # imported again: what its owner wrote stays, what other tasks found goes
        frame_id = int(known.id)
        empty = {column.name: None for column in frames.columns if column.nullable and column.name != "comment"}
        unsolved = {"attempted_plate_solve": 0, "plate_solved": 0}
        connection.execute(update(frames).where(frames.c.id == frame_id).values({**empty, **unsolved, **row}))
    result = {
        "task": "read_convert_skysub_character_catalog",
        "combined_footprint_hash": "",
        "frame_id": frame_id,
        "state": "done",
        "flags": row["flags"],
        "run_id": run_id,
        "recipe": context.recipe,
    }
    upsert(connection, schema.task_results, [result])
    return frame_id


def _supersede(connection: Connection, job: ImportJob, frame_id: int | None) -> None:
    """A file whose content changed: the frame made of its old content no longer exists."""
    before = connection.execute(
        select(schema.files.c.frame_id).where(schema.files.c.path == path_text(job.path))
    ).scalar()
    if before is None or before == frame_id:
        return
    others = connection.execute(
        select(schema.files.c.path).where(
            schema.files.c.frame_id == before, schema.files.c.path != path_text(job.path)
        )
    ).first()
    if others is None:
        connection.execute(
            update(schema.frames)
            .where(schema.frames.c.id == before, schema.frames.c.eliminated == 0)
            .values(eliminated=1, comment="superseded: the raw file changed")
        )


