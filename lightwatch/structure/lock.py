"""One run at a time in a workdir and on a database. Imports nothing heavy: a second cron job must end in a second."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from lightwatch.errors import AnotherRunActive, StorageError

_NAME = ".lightwatch.lock"
_DATABASE = "database.sqlite3"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def lock_files(workdir: Path, database: Path | None) -> dict[Path, str]:
    """What a run holds, and how people know it: its workdir, and its database, which another workdir may name too.

    A database with the name that it has in a workdir is held by holding its directory. Where another one is, is not
    told: ``database.url`` may hold what nobody else is to know.
    """
    files = {workdir / _NAME: f"in {workdir}"}
    if database is not None:
        database = database.resolve()
        path = database.with_name(_NAME if database.name == _DATABASE else f".{database.name}.lock")
        files.setdefault(path, "on the database of database.url")
    return files


class RunLock:
    """An flock on each of some files, which the death of the process releases; may be entered again.

    ``server``: holds a database that is no file. What flock does not reach, the runs of other machines on a shared
    disk, is told by the table ``runs`` (``structure.run_rows``).
    """

    def __init__(
        self, files: Mapping[Path, str], server: Callable[[], AbstractContextManager[None]] | None = None
    ) -> None:
        self._files = files
        self._server = server
        self._held: ExitStack | None = None
        self._depth = 0

    def __enter__(self) -> None:
        if self._held is None:
            with ExitStack() as held:
                for path, where in self._files.items():
                    held.enter_context(_flock(path, where))
                if self._server is not None:
                    held.enter_context(self._server())
                self._held = held.pop_all()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0 and self._held is not None:
            self._held.close()
            self._held = None


@contextmanager
def _flock(path: Path, where: str) -> Iterator[None]:
    descriptor = _acquire(path, where)
    try:
        yield
    finally:
        os.close(descriptor)  # releases the lock, as the death of the process would


def _acquire(path: Path, where: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(
            f"no run can be locked {where}: {error.strerror}; its directory must be there and writable"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{this_process()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.read(descriptor, 500).decode(errors="replace").strip() or "a process that just began"
        os.close(descriptor)
        raise AnotherRunActive(f"another run is active {where}: {holder}") from None
    except OSError as error:
        os.close(descriptor)
        raise StorageError(f"no run can be locked {where}: {error.strerror}") from None
    return descriptor


def this_process() -> str:
    """What others are told of who holds a lock."""
    return f"pid {os.getpid()} on {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def boot_id() -> str | None:
    """What tells this start of the machine from all others; None where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None
