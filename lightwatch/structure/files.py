"""Writing files so that they appear whole or not at all, and safe names for them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lightwatch.errors import StorageError
from lightwatch.structure import failpoint

#: what file systems say that cannot sync a directory, as some network ones: there is nothing to be done about it
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP}


#: directories of a workdir that hold nothing but products of rows
PRODUCT_DIRECTORIES = ("frames", "regions", "psfs", "prepared_roi_cutouts", "roi_models")


@dataclass(frozen=True)
class ProductRef:
    """A file that was written: its place below the workdir, sha256 and size in bytes."""

    relpath: str
    sha256: str
    size: int


def write_atomically(path: Path, write: Callable[[Path], object]) -> tuple[str, int]:
    """As ``put_whole``; sha256 and size of the file.

    Raises
    ------
    StorageError
        When the disk is full or fails; the temporary file is gone then.
    """
    told: list[tuple[str, int]] = []

    def write_and_look(temporary: Path) -> None:
        write(temporary)
        told.append((sha256_of(temporary), temporary.stat().st_size))

    put_whole(path, write_and_look)
    return told[0]


def put_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a temporary file, sync it, and rename it to ``path``.

    The rename comes after the sync of the file and before the sync of its directory, so that a row committed
    later never names a file that a power cut could take away.

    Raises
    ------
    StorageError
        When the disk is full or fails; the temporary file is gone then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make_directory(path.parent)
        failpoint.reached("write", temporary)
        write(temporary)
        failpoint.reached("fsync", temporary)
        _sync(temporary)
        failpoint.reached("rename", path)
        temporary.replace(path)
        _sync_directory(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise storage_error(path, error) from error
        raise


def make_directory(directory: Path) -> None:
    """Make a directory and those above it, so that a power cut cannot take them away again."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        failpoint.reached("mkdir", folder)
        folder.mkdir(exist_ok=True)
        _sync_directory(folder.parent)


def remove(path: Path) -> None:
    """Remove a file that may have gone already."""
    failpoint.reached("remove", path)
    path.unlink(missing_ok=True)


def storage_error(path: Path, error: OSError) -> StorageError:
    """What to tell of a write that failed: the path, the reason, and the free space."""
    reason = error.strerror or str(error).splitlines()[0]
    return StorageError(f"{path_text(path)}: could not be written: {reason} ({free_space(path.parent)})")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    failpoint.reached("fsync directory", directory)
    try:
        _sync(directory)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def free_space(directory: Path) -> str:
    """Free space of the disk that holds a directory, or would hold it, in words."""
    for folder in (directory, *directory.parents):
        with suppress(OSError):
            stat = os.statvfs(folder)
            return f"{stat.f_bavail * stat.f_frsize / 1e6:.0f} MB free"
    return "free space unknown"


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def safe_word(text: str) -> str:
    """Text as a part of a file name: runs of anything but letters, digits, ``._-`` become ``_``."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


def safe_name(text: str, digest: str) -> str:
    """A file name that says where it comes from and can hold nothing hostile: letters, digits, ``._-``."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:80] or "frame"
    return f"{stem}-{digest[:8]}"


def path_text(path: Path) -> str:
    """A path as text that a database and a log can hold, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
