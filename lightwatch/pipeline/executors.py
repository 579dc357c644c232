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


def worker_count(settings: ExecutorSettings) -> int:
    """Number of worker processes."""
    return settings.jobs or min(os.cpu_count() or 1, 8)


def make_executor(settings: ExecutorSettings) -> Executor:
    """The executor that the configuration names.

    Raises
    ------
    ConfigError
        For Dask without an address, or without the package.
    """
    if settings.kind == "serial":
        return SerialExecutor()
    if settings.kind == "dask":
        return _dask_executor(settings)
    return ProcessPoolExecutor(worker_count(settings), mp_context=multiprocessing.get_context("spawn"))


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
    """An executor made when first needed, and made anew when one of its workers dies."""

    def __init__(self, settings: ExecutorSettings, executor: Executor | None = None) -> None:
        self._settings = settings
        self._given = executor
        self._executor: Executor | None = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_error: object) -> None:
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
        executor = self._get()
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

    def _get(self) -> Executor:
        if self._given is not None:
            return self._given
        if self._executor is None:
            self._executor = make_executor(self._settings)
        return self._executor

    def _drop(self, *, wait: bool) -> None:
        if self._executor is None:
            return
        if not wait:
            for process in list((getattr(self._executor, "_processes", None) or {}).values()):
                process.kill()
        self._executor.shutdown(wait=wait, cancel_futures=True)
        self._executor = None
