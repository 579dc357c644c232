"""Which raw files are there, are they complete, and what identifies them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class FoundFile:
    """A regular file in a raw directory; size, time and inode tell cheaply that it has not changed."""

    path: Path
    size: int  # bytes
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class Discovery:
    """What a search found, sorted by path; ``skipped`` are (path, reason) pairs to be counted."""

    files: tuple[FoundFile, ...]
    skipped: tuple[tuple[Path, str], ...]


def find_files(
    raw_dirs: Sequence[Path], patterns: Sequence[str], *, recursive: bool, follow_links: bool
) -> Discovery:
    """Regular files below ``raw_dirs`` whose names match one of ``patterns`` (case ignored).

    Directories, FIFOs, sockets, dangling links and, unless ``follow_links``, links that lead out of
    ``raw_dirs`` are skipped with the reason.  A missing raw directory is skipped likewise.
    """
    raise NotImplementedError


def content_hash(path: Path) -> str:
    """blake2b (hex, 32 bytes) of the file's bytes; raises FrameError(not_fits) when it cannot be read."""
    raise NotImplementedError


def is_settled(found: FoundFile, *, now_ns: int, min_age_seconds: float) -> bool:
    """False while the file may still be written: too young, or changed since it was found."""
    raise NotImplementedError
