"""Where computations run: anything that is a concurrent.futures.Executor.

Worker processes are spawned, never forked: forking a process that holds threads (JAX, BLAS, HDF5) may hang.
They are also what protects the run from a frame: a crash in C code, a computation without end and memory without
bound cost a worker, and the frame is told so. With kind "serial" nothing of this holds: the time limit of header
parsers and all refusals of files remain, but whatever kills or stops a computation stops the run.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from lightwatch.errors import ConfigError, StorageError
from lightwatch.pipeline.guard import guarded, one_line, outcome_of_error
from lightwatch.pipeline.task import Outcome
from lightwatch.structure.config import Executor as ExecutorSettings

_SECONDS_TO_END = (
    10.0  # for a worker whose work is done; a thread that a header parser left behind may hold it
)
_SECONDS_TO_CONNECT = 10.0  # to the scheduler of Dask


class SerialExecutor(Executor):
    """Runs everything at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future carries every error to its reader
            future.set_exception(error)
        return future


#: a worker's start, with the libraries that it imports, costs as much as about so many frames
_JOBS_PER_WORKER = 16


def worker_count(settings: ExecutorSettings, n_jobs: int) -> int:
    """Number of worker processes that ``n_jobs`` are worth: one in any case, at most what is configured."""
    most = settings.jobs or min(os.cpu_count() or 1, 8)
    return max(1, min(most, n_jobs // _JOBS_PER_WORKER))


def make_executor(settings: ExecutorSettings, n_workers: int) -> Executor:
    """The executor that the configuration names, with ``n_workers`` where they are processes of its own.

    Raises
    ------
    ConfigError
        For Dask without an address, without the package, or without a scheduler that answers.
    """
    if settings.kind == "serial":
        return SerialExecutor()
    if settings.kind == "dask":
        if not settings.dask_scheduler:
            raise ConfigError(
                "executor.dask_scheduler: the address of the scheduler is required for kind 'dask'"
            )
        return DaskExecutor(settings.dask_scheduler)
    return ProcessPoolExecutor(
        n_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=begin_worker,
        initargs=(settings.worker_memory_gigabytes,),
    )


def begin_worker(memory_gigabytes: float) -> None:
    """In a worker process, before its first job."""
    limit_memory(memory_gigabytes)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches workers too; the run ends them itself
    threading.Thread(target=_end_with_the_run, daemon=True).start()


def _end_with_the_run() -> None:
    """A run that is killed cannot end its workers, which would wait for jobs, and hold its output open, for ever."""
    run = multiprocessing.parent_process()
    assert run is not None
    run.join()
    os._exit(1)


def limit_memory(gigabytes: float) -> None:
    """Let this process have no more memory of its own; beyond it allocations fail, and the item with them.

    The data segment is limited and not the address space, for libraries and the index files of astrometry.net are
    mapped far beyond what they use.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (min(wanted, hard) if hard >= 0 else wanted, hard))


class DaskExecutor(Executor):
    """Runs jobs on the workers of a Dask scheduler, which are not ours: they are neither started nor ended here.

    Raises
    ------
    ConfigError
        Without the package, or when the scheduler does not answer.
    """

    def __init__(self, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ConfigError(
                "executor.kind: dask needs the package 'distributed' (pip install distributed)"
            ) from None
        try:
            self._client = Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:  # a time-out is an OSError
            raise ConfigError(
                f"executor.dask_scheduler: {address}: no scheduler can be reached there ({one_line(error)})"
            ) from None
        self._executor = self._client.get_executor()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = self._executor.submit(_without_exit, fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Cancel what still waits. What runs cannot be stopped from here, and nobody waits for it."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        self._client.close()


def _without_exit(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A job that calls ``sys.exit`` would stop the worker's event loop, and all other jobs would wait for ever."""
    try:
        return fn(*args, **kwargs)
    except SystemExit as error:
        return outcome_of_error(error)


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Hide ``__main__`` while workers start.

    A spawned worker would import the user's script again, and a script without the ``if __name__`` guard would
    start the pipeline a second time. Everything that workers run lives in the package, so they need no script.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@dataclass(frozen=True)
class _Lost:
    """A worker ended while it had a job in hand."""

    how: str


class _InHand:
    """Jobs that an executor has, in the order in which its workers take them, and since when they are at work.

    ``slots`` is the number of workers; None where that is not known: then there is one clock for all jobs, which
    starts anew whenever one ends.
    """

    def __init__(self, slots: int | None) -> None:
        self.futures: dict[Future[Outcome], int] = {}
        self._slots = slots
        self._begun: dict[int, float] = {}  # monotonic seconds
        self._last_end = time.monotonic()

    def has_room(self) -> bool:
        """Whether more should be given out: each worker has a job, and the next one lies ready for it."""
        return self._slots is None or len(self.futures) < 2 * self._slots

    def take(self, future: Future[Outcome]) -> int:
        """The job that ended."""
        index = self.futures.pop(future)
        self._begun.pop(index, None)
        self._last_end = time.monotonic()
        return index

    def at_work(self) -> list[int]:
        """Those that workers compute now."""
        at_work = list(itertools.islice(self.futures.values(), self._slots))
        if self._slots is not None:
            for index in at_work:
                self._begun.setdefault(index, time.monotonic())
        return at_work

    def overdue(self, seconds: float) -> list[int]:
        """Those at work for longer than that."""
        latest = time.monotonic() - seconds
        return [index for index in self.at_work() if self._begun.get(index, self._last_end) <= latest]

    def patience(self, seconds: float) -> float:
        """Seconds until the first job will be overdue."""
        if self._slots is not None:
            self.at_work()
        oldest = min(self._begun.values(), default=self._last_end)
        return max(0.0, oldest + seconds - time.monotonic())


class WorkerPool:
    """An executor made when first needed, and made anew when one of its workers dies or more are worth it."""

    def __init__(self, settings: ExecutorSettings, executor: Executor | None = None) -> None:
        self._settings = settings
        self._given = executor
        self._executor: Executor | None = None
        self._n_workers = 0

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        self._drop(_SECONDS_TO_END if kind is None else 0.0)

    def release(self) -> None:
        """End the workers: they would hold memory while the main process fits. They start again when needed."""
        self._drop(_SECONDS_TO_END)

    def outcomes(
        self, compute: Callable[[Any], Outcome], jobs: Sequence[Any]
    ) -> Iterator[tuple[int, Outcome]]:
        """(index, outcome) of every job as they end; no exception of a job comes through but a full disk.

        Jobs at work when a worker dies are tried again, each alone: the one that kills its worker a second time is
        found and takes nobody along. A job that takes longer than its time is stopped, and the others go on.
        """
        waiting, suspects = deque(range(len(jobs))), deque[int]()
        while waiting or suspects:
            alone = bool(suspects)
            queue = deque([suspects.popleft()]) if alone else waiting
            for index, result in self._round(compute, jobs, queue):
                if isinstance(result, Outcome):
                    yield index, result
                elif alone:
                    yield index, Outcome("error", reason_code="worker_died", reason=f"{result.how}, twice")
                else:
                    suspects.append(index)

    def _round(
        self, compute: Callable[[Any], Outcome], jobs: Sequence[Any], queue: deque[int]
    ) -> Iterator[tuple[int, Outcome | _Lost]]:
        """Work off the queue until it is empty or a worker is lost; jobs that had not begun stay in it."""
        executor, slots = self._get(len(queue))
        in_hand = _InHand(slots)
        seconds = self._settings.frame_timeout_seconds
        while queue or in_hand.futures:
            self._give_out(executor, compute, jobs, queue, in_hand)
            ended, _ = wait(in_hand.futures, in_hand.patience(seconds), return_when=FIRST_COMPLETED)
            broken = not in_hand.futures or any(isinstance(f.exception(), BrokenExecutor) for f in ended)
            for future in sorted(ended, key=in_hand.futures.__getitem__):
                if not isinstance(future.exception(), BrokenExecutor):
                    yield in_hand.take(future), _result(future)
            out = in_hand.at_work() if broken else in_hand.overdue(seconds)
            if not (broken or out):
                continue
            left, out = list(in_hand.futures.values()), out or [queue.popleft()]
            queue.extendleft(i for i in reversed(left) if i not in out)
            lost = _Lost(self._how_a_worker_died()) if broken else _too_slow(seconds)
            self._drop(0.0)
            yield from ((index, lost) for index in out)
            return

    def _give_out(
        self,
        executor: Executor,
        compute: Callable[[Any], Outcome],
        jobs: Sequence[Any],
        queue: deque[int],
        in_hand: _InHand,
    ) -> None:
        try:
            with _no_main_module():
                while queue and in_hand.has_room():
                    in_hand.futures[executor.submit(guarded, compute, jobs[queue[0]])] = queue[0]
                    queue.popleft()
        except BrokenExecutor:
            pass  # those in hand will tell, and where there are none the caller sees that none could be given out

    def _get(self, n_jobs: int) -> tuple[Executor, int | None]:
        """The executor and its number of workers, None where that is not ours to know."""
        if self._given is not None:
            return self._given, None
        n_workers = worker_count(self._settings, n_jobs)
        if self._settings.kind == "processes" and n_workers > self._n_workers:
            self._drop(_SECONDS_TO_END)
        if self._executor is None:
            self._executor, self._n_workers = make_executor(self._settings, n_workers), n_workers
        return self._executor, {"processes": self._n_workers, "serial": 1}.get(self._settings.kind)

    def _workers(self) -> list[BaseProcess]:
        return list((getattr(self._executor, "_processes", None) or {}).values())

    def _how_a_worker_died(self) -> str:
        """The signal or exit code of the worker that ended first; the executor then terminated the others."""
        codes = []
        for process in self._workers():
            process.join(_SECONDS_TO_END)
            codes.append(process.exitcode)
        own = [code for code in codes if code not in (None, 0, -signal.SIGTERM)]
        code = next(iter(own or [code for code in codes if code is not None]), None)
        if code is None:
            return "worker died"
        if code > 0:
            return f"worker died (exit code {code})"
        return f"worker died (signal {-code}, {signal.strsignal(-code)})"

    def _drop(self, patience_seconds: float) -> None:
        """End the workers, by force when they do not end in time."""
        if self._executor is None:
            return
        workers, begun = self._workers(), time.monotonic()
        if patience_seconds == 0.0:
            for process in workers:
                process.kill()
        self._executor.shutdown(wait=not workers, cancel_futures=True)
        for process in workers:
            process.join(max(0.0, begun + patience_seconds - time.monotonic()))
            process.kill()
            process.join()
        self._executor, self._n_workers = None, 0


def _result(future: Future[Outcome]) -> Outcome:
    error = future.exception()
    if isinstance(error, StorageError):
        raise error
    return outcome_of_error(error) if error is not None else future.result()


def _too_slow(seconds: float) -> Outcome:
    return Outcome(
        "error",
        reason_code="timeout",
        reason=f"stopped after {seconds:g} s, the time that a frame may take (executor.frame_timeout_seconds)",
    )
