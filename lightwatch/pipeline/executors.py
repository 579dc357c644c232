"""Where computations run: anything that is a concurrent.futures.Executor.

Worker processes are spawned, never forked: forking a process that holds threads (JAX, BLAS, HDF5) may hang.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import types
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
from typing import Any

from lightwatch.errors import ConfigError, StorageError
from lightwatch.pipeline.guard import guarded
from lightwatch.pipeline.task import Outcome
from lightwatch.structure.config import Executor as ExecutorSettings


class SerialExecutor(Executor):
    """Runs everything at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - a future carries every exception to its reader
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
        For Dask without an address, or without the package.
    """
    if settings.kind == "serial":
        return SerialExecutor()
    if settings.kind == "dask":
        return _dask_executor(settings)
    return ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn"))


def _dask_executor(settings: ExecutorSettings) -> Executor:
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(
            "executor.kind: dask needs the package 'distributed' (pip install distributed)"
        ) from None
    if not settings.dask_scheduler:
        raise ConfigError("executor.dask_scheduler: the address of the scheduler is required for kind 'dask'")
    executor: Executor = Client(settings.dask_scheduler).get_executor()
    return executor


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


class WorkerPool:
    """An executor made when first needed, and made anew when one of its workers dies or more are worth it."""

    def __init__(self, settings: ExecutorSettings, executor: Executor | None = None) -> None:
        self._settings = settings
        self._given = executor
        self._executor: Executor | None = None
        self._n_workers = 0

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()

    def release(self) -> None:
        """End the workers: they would hold memory while the main process fits. They start again when needed."""
        self._drop(wait=True)

    def outcomes(
        self, compute: Callable[[Any], Outcome], jobs: Sequence[Any]
    ) -> Iterator[tuple[int, Outcome]]:
        """(index, outcome) of every job as they end; no exception of a job comes through but a full disk."""
        suspects: list[int] = []
        for index, outcome in self._round(compute, jobs, range(len(jobs))):
            if outcome is None:
                suspects.append(index)
            else:
                yield index, outcome
        for index in suspects:  # alone, so that the one that kills its worker is found and takes nobody along
            for _index, outcome in self._round(compute, jobs, [index]):
                yield (
                    index,
                    outcome
                    or Outcome(
                        "error",
                        reason_code="worker_died",
                        reason="the worker process died or took too long, twice",
                    ),
                )

    def _round(
        self, compute: Callable[[Any], Outcome], jobs: Sequence[Any], indices: Sequence[int]
    ) -> Iterator[tuple[int, Outcome | None]]:
        executor = self._get(len(indices))
        try:
            with _no_main_module():
                waiting = {executor.submit(guarded, compute, jobs[i]): i for i in indices}
        except BrokenExecutor:
            self._drop(wait=False)
            yield from ((i, None) for i in indices)
            return
        while waiting:
            ended, _ = wait(
                waiting, timeout=self._settings.frame_timeout_seconds, return_when=FIRST_COMPLETED
            )
            if not ended:  # nothing ended within the time of a single frame: whoever runs now hangs
                self._drop(wait=False)
                yield from ((i, None) for i in waiting.values())
                return
            for future in ended:
                yield waiting.pop(future), self._result(future)

    def _result(self, future: Future[Outcome]) -> Outcome | None:
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, StorageError):
            raise error
        self._drop(wait=False)
        return None

    def _get(self, n_jobs: int) -> Executor:
        if self._given is not None:
            return self._given
        n_workers = worker_count(self._settings, n_jobs)
        if self._settings.kind == "processes" and n_workers > self._n_workers:
            self._drop(wait=True)
        if self._executor is None:
            self._executor, self._n_workers = make_executor(self._settings, n_workers), n_workers
        return self._executor

    def _drop(self, *, wait: bool) -> None:
        if self._executor is None:
            return
        if not wait:
            for process in list((getattr(self._executor, "_processes", None) or {}).values()):
                process.kill()
        self._executor.shutdown(wait=wait, cancel_futures=True)
        self._executor, self._n_workers = None, 0
