"""What must be true before a run begins, so that it stops before its work and not in the middle of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from lightwatch.errors import ConfigError, StorageError
from lightwatch.structure import queries, queries_overview
from lightwatch.structure.files import PRODUCT_DIRECTORIES
from lightwatch.structure.frames_discovery import FoundFile
from lightwatch.structure.workspace import Workspace

#: free space that a new frame must find, in bytes of the frame it will be: frame, cutouts, PSF, temporary files
_ROOM = 3
_DIRECTORIES = ("", *PRODUCT_DIRECTORIES, "backups", "logs")
_FIRST_YEAR = 2020
#: clocks of machines that share a disk may differ a little
_CLOCK_TOLERANCE = timedelta(hours=1)


def check_workdir(workdir: Path) -> None:
    """Products can be written.

    Raises
    ------
    StorageError
        Naming the directory.
    """
    for directory in (workdir / name for name in _DIRECTORIES):
        if directory.exists() and not os.access(directory, os.W_OK | os.X_OK):
            raise StorageError(
                f"{directory}: not writable; mend its permissions, or mount the disk for writing"
            )


def check_clock(last_run: str | None, now: datetime) -> None:
    """The clock does not say a time before the latest run began (ISO 8601, UTC), or long ago.

    By a wrong clock no file is old enough to be complete, and copies of the database are thinned wrongly.

    Raises
    ------
    ConfigError
        With both times.
    """
    if now.year < _FIRST_YEAR:
        raise ConfigError(f"the clock says {now:%Y-%m-%d}: set it")
    if last_run is not None and datetime.fromisoformat(last_run) - now > _CLOCK_TOLERANCE:
        raise ConfigError(
            f"the clock says {now:%Y-%m-%dT%H:%MZ}, but the latest run began at {last_run}: set the clock, or, if it "
            "is right now, remove the rows of the future from the table runs"
        )


def check_room(workspace: Workspace, files: Sequence[FoundFile]) -> None:
    """New frames, and the copy of the database that is made before them, have room.

    Raises
    ------
    StorageError
        With the bytes needed and free, before anything is written.
    """
    if not files:
        return
    known = queries.rows(workspace.reader, queries_overview.frame_counts())[0]
    # a raw file may be compressed: frames known already tell better how large one becomes
    mean = known["bytes"] / known["frames"] if known["frames"] else 0.0
    expected = sum(max(float(item.size), mean) for item in files)
    database = workspace.database_path
    needed = _ROOM * expected + (database.stat().st_size if database is not None else 0)
    free = shutil.disk_usage(workspace.workdir).free
    if free < needed:
        raise StorageError(
            f"{workspace.workdir}: {free / 1e6:.0f} MB free, but {len(files)} new frames need about "
            f"{needed / 1e6:.0f} MB; make room, or take fewer at a time (--limit)"
        )
