"""Writing files so that they appear whole or not at all, and safe names for them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightwatch.errors import StorageError


@dataclass(frozen=True)
class ProductRef:
    """A file that was written: its place below the workdir, sha256 and size in bytes."""

    relpath: str
    sha256: str
    size: int


def write_atomically(path: Path, write: Callable[[Path], None]) -> tuple[str, int]:
    """Let ``write`` make a temporary file, sync it, and rename it to ``path``; sha256 and size of it.

    The rename comes after the sync of the file and before the sync of its directory, so that a row committed
    later never names a file that a power cut could take away.

    Raises
    ------
    StorageError
        When the disk is full or fails; the temporary file is gone then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        digest, size = sha256_of(temporary), temporary.stat().st_size
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error).splitlines()[0]
        raise StorageError(f"{path}: could not be written: {reason} ({_free_space(path.parent)})") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return digest, size


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_space(directory: Path) -> str:
    try:
        stat = os.statvfs(directory)
    except (OSError, AttributeError):
        return "free space unknown"
    return f"{stat.f_bavail * stat.f_frsize / 1e6:.0f} MB free"


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def safe_name(text: str, digest: str) -> str:
    """A file name that says where it comes from and can hold nothing hostile: letters, digits, ``._-``."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:80] or "frame"
    return f"{stem}-{digest[:8]}"


def path_text(path: Path) -> str:
    """A path as text that a database and a log can hold, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
