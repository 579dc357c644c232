"""Which raw files wait to be imported: those unknown, changed, or imported under other settings."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import select

from lightwatch.pipeline.task import TaskContext
from lightwatch.structure import queries, schema
from lightwatch.structure.files import path_text
from lightwatch.structure.frames_discovery import FoundFile, find_files, is_settled
from lightwatch.structure.workspace import Workspace

#: a file younger than the configured age is taken when it kept its size for so long
_WATCH_SECONDS = 1.0


def find_candidates(context: TaskContext) -> list[FoundFile]:
    """Files to import, sorted by path."""
    config = context.workspace.config
    found = find_files(config.raw_dirs, config.patterns, recursive=config.discovery.recursive, follow_links=True)
    known = known_files(context.workspace)
    return [item for item in found.files if not _is_settled_business(item, known, context.recipe)]


def known_files(workspace: Workspace) -> dict[str, queries.Row]:
    """Rows of the table files by path."""
    return {row["path"]: row for row in queries.rows(workspace.reader, select(schema.files))}


def _is_settled_business(item: FoundFile, known: dict[str, queries.Row], recipe: str) -> bool:
    row = known.get(path_text(item.path))
    if row is None or row["recipe"] != recipe or row["state"] == "deferred":
        return False
    return (row["size"], row["mtime_ns"], row["inode"]) == (item.size, item.mtime_ns, item.inode)


def split_by_age(
    items: Sequence[FoundFile], min_age_seconds: float
) -> tuple[list[FoundFile], list[FoundFile], list[FoundFile]]:
    """(old enough, young but not growing, still growing); young ones are watched for a second."""
    now = time.time_ns()
    old = [item for item in items if is_settled(item, now_ns=now, min_age_seconds=min_age_seconds)]
    young = [item for item in items if not is_settled(item, now_ns=now, min_age_seconds=min_age_seconds)]
    if young:
        time.sleep(_WATCH_SECONDS)
    quiet = [item for item in young if is_settled(item, now_ns=now, min_age_seconds=0.0)]
    return old, quiet, [item for item in young if item not in quiet]
