"""Which raw files are there, are they complete, and what identifies them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path

from lightwatch.structure.frames_guard import cannot_be_read, open_regular, shown


@dataclass(frozen=True, order=True, slots=True)
class FoundFile:
    """A regular file in a raw directory; size, time and inode tell cheaply that it has not changed.

    ``problem``: why what bears the name of a frame is none (size, time and inode are 0 then); empty for files.
    """

    path: Path
    size: int  # bytes
    mtime_ns: int
    inode: int
    problem: str = ""


@dataclass(frozen=True)
class Discovery:
    """What a search found, sorted by path; ``skipped`` are (path, reason) pairs to be counted."""

    files: tuple[FoundFile, ...]
    skipped: tuple[tuple[Path, str], ...]


def find_files(
    raw_dirs: Sequence[Path], patterns: Sequence[str], *, recursive: bool, follow_links: bool
) -> Discovery:
    """All that ``each_file`` finds."""
    found = {
        item.path: item
        for item in each_file(raw_dirs, patterns, recursive=recursive, follow_links=follow_links)
    }
    files = sorted(item for item in found.values() if not item.problem)
    skipped = sorted((item.path, item.problem) for item in found.values() if item.problem)
    return Discovery(tuple(files), tuple(skipped))


def each_file(
    raw_dirs: Sequence[Path], patterns: Sequence[str], *, recursive: bool, follow_links: bool
) -> Iterator[FoundFile]:
    """Regular files below ``raw_dirs`` whose names match one of ``patterns`` (case ignored), one after the other.

    Directories, FIFOs, sockets, dangling links and, unless ``follow_links``, links that lead out of
    ``raw_dirs`` come with a problem.  A missing raw directory does likewise.  A file below two raw
    directories comes twice.
    """
    roots = [Path(os.path.realpath(raw_dir)) for raw_dir in raw_dirs]
    lowered = [pattern.lower() for pattern in patterns]
    for raw_dir in raw_dirs:
        for item in _walk(Path(raw_dir), recursive, follow_links, set()):
            if isinstance(item, FoundFile):
                yield item
            elif any(fnmatchcase(item.name.lower(), pattern) for pattern in lowered):
                found = _inspect(item, roots, follow_links)
                if not found.problem or os.path.lexists(found.path):  # else it vanished this moment
                    yield found


def unlisted(folders: Sequence[Path]) -> list[tuple[Path, str]]:
    """Folders that cannot be listed now, and why: missing, not mounted, not permitted."""
    found = []
    for folder in folders:
        try:
            os.scandir(folder).close()
        except OSError as error:
            found.append((folder, error.strerror or type(error).__name__))
    return found


def _walk(
    folder: Path, recursive: bool, follow_links: bool, seen: set[tuple[int, int]]
) -> Iterator[os.DirEntry[str] | FoundFile]:
    """Everything in a folder that is not a directory; unreadable folders with their problem."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield FoundFile(folder, 0, 0, 0, f"cannot be listed: {error.strerror}")
        return
    if (status.st_dev, status.st_ino) in seen:  # a link that leads back
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if not _is_folder(entry, follow_links):
            yield entry
        elif recursive:
            yield from _walk(folder / entry.name, recursive, follow_links, seen)


def _is_folder(entry: os.DirEntry[str], follow_links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow_links)
    except OSError:  # a loop of links
        return False


def _inspect(entry: os.DirEntry[str], roots: Sequence[Path], follow_links: bool) -> FoundFile:
    """The file, or why it is not one that we read."""
    path = Path(entry.path)
    try:
        status = entry.stat()
    except OSError as error:
        return FoundFile(path, 0, 0, 0, f"cannot be read: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return FoundFile(path, 0, 0, 0, "not a regular file")
    if entry.is_symlink() and not follow_links:
        target = Path(os.path.realpath(path))
        if not any(target.is_relative_to(root) for root in roots):
            return FoundFile(path, 0, 0, 0, "a link that leads out of the raw directories")
    return FoundFile(path, status.st_size, status.st_mtime_ns, status.st_ino)


def content_hash(path: Path) -> str:
    """blake2b (hex, 32 bytes) of the file's bytes; raises FrameError (not_regular, unreadable)."""
    digest = blake2b(digest_size=32)
    try:
        with open_regular(path) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise cannot_be_read(shown(path), error) from error
    return digest.hexdigest()


def is_unchanged(found: FoundFile) -> bool:
    """Whether the file still is the one that was found."""
    try:
        status = found.path.stat()
    except OSError:
        return False
    now = (status.st_size, status.st_mtime_ns, status.st_ino)
    return now == (found.size, found.mtime_ns, found.inode)


def is_settled(found: FoundFile, *, now_ns: int, min_age_seconds: float) -> bool:
    """False while the file may still be written: too young, or changed since it was found.

    A modification time in the future (a camera's clock ahead of ours) counts as too young only as long
    as it is within ``min_age_seconds`` of now.
    """
    try:
        status = found.path.stat()
    except OSError:
        return False
    unchanged = (status.st_size, status.st_mtime_ns) == (found.size, found.mtime_ns)
    return unchanged and abs(now_ns - found.mtime_ns) >= min_age_seconds * 1e9
