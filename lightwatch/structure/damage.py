"""What it means that a product cannot be read: it is missing or damaged, or else the disk fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lightwatch.errors import ProductError, StorageError

_GONE = {errno.ENOENT, errno.ENOTDIR}


def unreadable(workdir: Path, relpath: str, error: Exception) -> StorageError:
    """The error to raise: a ProductError concerns one product, any other StorageError the whole disk.

    What the system refuses has a number (no such file, input/output error, too many open files); what a reader
    finds wrong with the bytes has none.
    """
    path = workdir / relpath
    number = getattr(error, "errno", None)
    if number is not None and number not in _GONE:
        return StorageError(f"{path}: cannot be read: {os.strerror(number)}")
    reason = "no such file" if number else (str(error).splitlines() or [type(error).__name__])[0]
    code = "missing_product" if number else "damaged_product"
    return ProductError(
        code, f"{path}: cannot be read ({reason}); 'lightwatch verify --repair' remakes it", relpath
    )
