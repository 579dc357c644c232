"""One run at a time in a workdir. Imports nothing heavy: a second cron job must be told so within a second."""

from __future__ import annotations

import fcntl
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from lightwatch.errors import AnotherRunActive, StorageError

_NAME = ".lightwatch.lock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class WorkdirLock:
    """An flock on a file of the workdir, which the death of the process releases; may be entered again.

    Where the file system is shared by machines, the open run in the table ``runs`` counts too
    (``structure.run_rows``): flock may not reach the others.
    """

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._descriptor: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        if self._descriptor is None:
            self._descriptor = _acquire(self._workdir)
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0 and self._descriptor is not None:
            os.close(self._descriptor)  # releases the lock, as the death of the process would
            self._descriptor = None


def _acquire(workdir: Path) -> int:
    path = workdir / _NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; the workdir must be writable") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        started = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
    except BlockingIOError:
        holder = os.read(descriptor, 500).decode(errors="replace").strip() or "a process that just began"
        os.close(descriptor)
        raise AnotherRunActive(f"another run is active in {workdir}: {holder}") from None
    except OSError as error:
        os.close(descriptor)
        raise StorageError(f"{path}: cannot be locked: {error.strerror}") from None
    return descriptor


def boot_id() -> str | None:
    """What tells this start of the machine from all others; None where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None
