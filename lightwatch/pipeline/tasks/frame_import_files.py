"""Which raw files wait to be imported: those unknown, changed, or imported under other settings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightwatch.pipeline.task import TaskContext
from lightwatch.pipeline.tasks.frame_import_inputs import inputs_of
from lightwatch.structure import queries, wcs_files
from lightwatch.structure.files import PRODUCT_DIRECTORIES, path_text
from lightwatch.structure.frames_discovery import FoundFile, each_file, is_settled
from lightwatch.structure.workspace import Workspace

#: a file younger than the configured age is taken when it kept its size for so long
_WATCH_SECONDS = 1.0
#: in place of a recipe: to be tried again
FAILED = "failed"
_OWN_DIRECTORIES = (
    *PRODUCT_DIRECTORIES,
    "light_curves",
    "catalogs",
    "report",
    wcs_files.FOLDER,
)

Copies = Mapping[str, Sequence[FoundFile]]


@dataclass(frozen=True)
class Owner:
    """The file whose content became a frame, by its row; ``item``: the file found now that is, or becomes, that file.

    ``item`` is None while the frame's file is elsewhere, untouched. ``missing``: it is gone from its old place.
    """

    row: queries.Row
    item: FoundFile | None
    missing: bool

    @property
    def result(self) -> dict[str, Any]:
        """What became of the content."""
        return {name: self.row[name] for name in ("frame_id", "reason_code", "reason")}


def find_candidates(context: TaskContext) -> list[FoundFile]:
    """Files to import, sorted by path; then what has the name of a frame, or should hold some, and cannot be read."""
    config = context.workspace.config
    settled = _settled_files(context)
    own = _own_directories(context.workspace)
    every = each_file(
        config.raw_dirs, config.patterns, recursive=config.discovery.recursive, follow_links=True
    )
    found = {
        item.path: item
        for item in every
        if settled.get(path_text(item.path)) != (item.size, item.mtime_ns, item.inode)
        and own.isdisjoint(item.path.parents)
    }
    return sorted(found.values(), key=lambda item: (bool(item.problem), item))


def _settled_files(context: TaskContext) -> dict[str, tuple[int, int, int]]:
    """Size, time and inode of the files about which nothing more is to be done, by path: of most that there are."""
    inputs, too_large = inputs_of(context), too_large_under(context)
    query = queries.settled_files(context.recipe)
    return {
        path: (size, mtime_ns, inode)
        for path, size, mtime_ns, inode, recipe in queries.stream(context.workspace.reader, query)
        if recipe in (inputs.recipe_of(path), too_large)
    }


def _own_directories(workspace: Workspace) -> set[Path]:
    """Where products are: a raw directory above them does not feed the pipeline its own frames."""
    raw = [path.resolve() for path in workspace.config.raw_dirs]
    own = {workspace.workdir / name for name in _OWN_DIRECTORIES}
    return {path for path in own if not any(path == place or path in place.parents for place in raw)}


def known_files(workspace: Workspace) -> dict[str, queries.Row]:
    """Rows of the table files by path."""
    return {row["path"]: row for row in queries.rows(workspace.reader, queries.all_files())}


def owners_of_content(
    workspace: Workspace, known: Mapping[str, queries.Row], copies: Copies
) -> dict[str, Owner]:
    """Which known file owns each content that was found again: touched, moved, copied, or under new settings."""
    raw_dirs = workspace.config.raw_dirs
    now = {path_text(item.path): digest for digest, items in copies.items() for item in items}
    owners: dict[str, Owner] = {}
    for path, row in known.items():
        digest = row["content_hash"]
        if row["state"] not in ("imported", "calibration") or digest not in copies:
            continue
        place = Path(path)
        there = place.exists() and any(place.is_relative_to(raw) for raw in raw_dirs)
        moved = not there or now.get(path, digest) != digest
        same = next((item for item in copies[digest] if path_text(item.path) == path), None)
        owners[digest] = Owner(row, copies[digest][0] if moved else same, missing=not there)
    return owners


def recipe_of(context: TaskContext, recipe: str, code: str | None) -> str:
    """The recipe of a verdict on a file whose own is ``recipe``.

    What a disk or a permission is to blame for is no verdict, and is tried again. The largest size of a frame decides
    no numbers, but whether a file is too large.
    """
    if code == "unreadable":
        return FAILED
    if code == "too_large":
        return too_large_under(context)
    return recipe


def too_large_under(context: TaskContext) -> str:
    """The recipe of files that are larger than a frame may be, whatever else is said of them."""
    return f"{context.recipe} {context.workspace.config.discovery.max_frame_gigabytes:g} GB"


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
