"""What it means that a product cannot be read: it is missing or damaged, or else the disk fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lightwatch.errors import ProductError, StorageError

_GONE = {errno.ENOENT, errno.ENOTDIR}
#: a bad sector, or a file that became somebody else's: other products can be read
_ONE_FILE = {errno.EIO, errno.EACCES, errno.EPERM, errno.EISDIR}


def unreadable(workdir: Path, relpath: str, error: Exception) -> StorageError:
    """The error to raise: a ProductError concerns one product, any other StorageError the whole disk.

    What the system refuses has a number (no such file, input/output error, too many open files); what a reader
    finds wrong with the bytes has none.
    """
    path = workdir / relpath
    number = getattr(error, "errno", None)
    if number is not None and number not in _GONE | _ONE_FILE:
        return StorageError(f"{path}: cannot be read: {os.strerror(number)}")
    reason = os.strerror(number) if number else (str(error).splitlines() or [type(error).__name__])[0]
    code = "missing_product" if number in _GONE else "damaged_product"
    return ProductError(
        code, f"{path}: cannot be read ({reason}); 'lightwatch verify --repair' remakes it", relpath
    )
