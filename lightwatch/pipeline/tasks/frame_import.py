"""read_convert_skysub_character_catalog: from raw files to frames in electron/s with sources and conditions."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from lightwatch.errors import FrameError
from lightwatch.pipeline.task import Outcome, TaskContext
from lightwatch.pipeline.tasks.frame_character import ImportedFrame, ImportJob, import_or_defer
from lightwatch.pipeline.tasks.frame_import_files import (
    FAILED,
    Copies,
    Owner,
    known_files,
    owners_of_content,
    recipe_of,
    split_by_age,
)
from lightwatch.pipeline.tasks.frame_import_inputs import Inputs, eliminated_of, inputs_of
from lightwatch.structure import frame_rows, header_parsing, schema
from lightwatch.structure.database import transaction, upsert
from lightwatch.structure.files import path_text
from lightwatch.structure.frames_discovery import FoundFile, content_hash
from lightwatch.structure.frames_guard import refuse_foreign, shown
from lightwatch.structure.result_rows import has_attempts_left
from lightwatch.structure.task_names import IMPORT_TASK

compute = import_or_defer

_HASHING_THREADS = 2


@dataclass(frozen=True)
class Work:
    """What the search found: frames to import, and rows for files that need no work."""

    jobs: list[ImportJob]
    rows: list[dict[str, Any]]
    deferred: int
    rejected: int
    note: str


def find_work(context: TaskContext, candidates: Sequence[FoundFile], limit: int | None) -> Work:
    """Look into files found; one job per new content, whatever the number of its copies."""
    discovery = context.workspace.config.discovery
    folders = [
        item for item in candidates if item.problem and (item.path.is_dir() or not os.path.lexists(item.path))
    ]
    odd = [item for item in candidates if item.problem and item not in folders]
    old, quiet, growing = split_by_age(
        [item for item in candidates if not item.problem], discovery.min_file_age_seconds
    )
    ready = sorted(old + quiet)[:limit]
    young = {item.path for item in quiet}
    with ThreadPoolExecutor(_HASHING_THREADS) as threads:
        hashes = list(
            threads.map(
                lambda item: _hash_or_error(item, discovery.max_frame_gigabytes, item.path in young), ready
            )
        )
    known, inputs = known_files(context.workspace), inputs_of(context)
    refused = [(item, FrameError("not_regular", f"{shown(item.path)}: {item.problem}")) for item in odd]
    copies: dict[str, list[FoundFile]] = defaultdict(list)
    for item, digest in zip(ready, hashes, strict=True):
        if isinstance(digest, FrameError):
            refused.append((item, digest))
        elif digest is not None:
            copies[digest].append(item)
    rows = [_unread_row(context, inputs, known, item, "deferred", "growing", None) for item in growing]
    rows += [
        _unread_row(context, inputs, known, item, "quarantined", error.reason_code, str(error))
        for item, error in refused
    ]
    owners = owners_of_content(context.workspace, known, copies)
    contents = ((path_text(item.path), digest) for digest, items in copies.items() for item in items)
    found = (path_text(item.path) for item in candidates if not item.problem)
    eliminated, told = eliminated_of(inputs, found, known, contents)
    jobs, others = _jobs(context, inputs, copies, owners, young, eliminated.comments)
    n_duplicates = sum(row["state"] == "duplicate" for row in others)
    notes = [f"{len(growing)} still being written"] * bool(growing)
    notes += [f"{n_duplicates} duplicates"] * bool(n_duplicates)
    notes += [f"{shown(str(item.path))} {item.problem}" for item in folders]
    notes += [told] * bool(told and jobs)
    news = [row for row in rows + others if not _is_known(row, known)]
    return Work(jobs, news, len(growing), len(refused), ", ".join(notes))


def _unread_row(
    context: TaskContext,
    inputs: Inputs,
    known: Mapping[str, Mapping[str, Any]],
    item: FoundFile,
    state: str,
    code: str,
    reason: str | None,
) -> dict[str, Any]:
    """What such a file holds now is not known: the frame of its old content stays its own."""
    path = path_text(item.path)
    recipe = recipe_of(context, inputs.recipe_of(path), code)
    return _row(item, recipe, state, None, code, reason, known.get(path, {}).get("frame_id"))


def _is_known(row: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether it is written down already: what cannot be read is looked at again by every run."""
    before = known.get(row["path"])
    return before is not None and all(before[name] == value for name, value in row.items())


def _hash_or_error(item: FoundFile, max_gigabytes: float, young: bool) -> str | FrameError | None:
    """Hash of a file's content; None when the file is gone.

    What cannot be a frame is not read to its end; a young file may still become one.
    """
    try:
        if item.size > max_gigabytes * 1e9:
            raise FrameError(
                "too_large", f"{shown(item.path)}: {item.size} bytes: see discovery.max_frame_gigabytes"
            )
        if not young:
            refuse_foreign(item.path)
        return content_hash(item.path)
    except FrameError as error:
        return error if os.path.lexists(item.path) else None


def _jobs(
    context: TaskContext,
    inputs: Inputs,
    copies: Copies,
    owners: Mapping[str, Owner],
    young: set[Path],
    eliminated: Mapping[str, str],
) -> tuple[list[ImportJob], list[dict[str, Any]]]:
    """Jobs for contents that are new or wait for new settings, and rows for all other files."""
    parser = header_parsing.load_header_parser(context.workspace.workdir, context.workspace.config.instrument)
    jobs: list[ImportJob] = []
    rows: list[dict[str, Any]] = []
    for digest, items in sorted(copies.items(), key=lambda pair: pair[1][0]):
        owner = owners.get(digest)
        first = items[0] if owner is None else owner.item
        if owner is not None and owner.missing:
            rows.append({**owner.row, "state": "missing", "frame_id": None, "recipe": context.recipe})
        recipe = "" if first is None else inputs.recipe_of(path_text(first.path))
        if first is not None and owner is not None and owner.row["recipe"] == recipe:
            rows.append({**_row(first, recipe, owner.row["state"], digest), **owner.result})
        elif first is not None:
            jobs.append(
                ImportJob(
                    workdir=context.workspace.workdir,
                    config=context.workspace.config,
                    parser=parser,
                    path=first.path,
                    found=first,
                    content_hash=digest,
                    recipe=recipe,
                    beside=inputs.beside(path_text(first.path), eliminated.get(digest)),
                    young=first.path in young,
                )
            )
        original = (
            owner.row["path"] if owner is not None and first is None else path_text((first or items[0]).path)
        )
        rows += [_duplicate(inputs, item, digest, original) for item in items if item is not first]
    return jobs, rows


def _duplicate(inputs: Inputs, item: FoundFile, digest: str, original: str) -> dict[str, Any]:
    recipe = inputs.recipe_of(path_text(item.path))
    return _row(item, recipe, "duplicate", digest, "duplicate", f"same content as {original}")


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
        for row in work.rows:
            if row["state"] == "duplicate":
                frame_rows.supersede(connection, row["path"], None)
        upsert(connection, schema.files, work.rows)


def save(
    connection: Connection,
    context: TaskContext,
    job: ImportJob,
    outcome: Outcome,
    run_id: int,
    seconds: float,
) -> None:
    """Rows of one file: its frame, or the reason why it is none."""
    if outcome.reason_code == "vanished":
        return
    imported: ImportedFrame | None = outcome.output
    state = {"done": "imported", "rejected": "quarantined", "error": "quarantined"}[outcome.state]
    if outcome.reason_code == "deferred":
        state = "deferred"
    elif imported is not None and imported.calibration:
        state = "calibration"
    frame_id = None
    if imported is not None and imported.row is not None:
        frame_id = _save_frame(connection, context, job, imported.row, run_id, seconds)
    frame_rows.supersede(connection, path_text(job.path), frame_id)
    reason = imported.calibration if imported is not None and imported.calibration else outcome.reason
    # a failure is tried again, at the next runs
    recipe = recipe_of(context, job.recipe, outcome.reason_code)
    if outcome.state == "error" and has_attempts_left(connection, path_text(job.path), context.recipe):
        recipe = FAILED
    upsert(
        connection,
        schema.files,
        [_row(job.found, recipe, state, job.content_hash, outcome.reason_code, reason, frame_id)],
    )


def _save_frame(
    connection: Connection,
    context: TaskContext,
    job: ImportJob,
    row: dict[str, Any],
    run_id: int,
    seconds: float,
) -> int:
    why = job.beside.eliminated
    verdict = {} if why is None else {"eliminated": 1, "comment": why}
    before = frame_rows.times_imported(connection, row["content_hash"])
    frame_id = frame_rows.save_frame(connection, row, verdict)
    result = {
        "task": IMPORT_TASK,
        "combined_footprint_hash": "",
        "frame_id": frame_id,
        "state": "done",
        "flags": row["flags"],
        "attempts": before + 1,  # whatever the recipes: news tells frames that are new by it
        "seconds": seconds,
        "run_id": run_id,
        "recipe": context.recipe,
    }
    upsert(connection, schema.task_results, [result])
    return frame_id
