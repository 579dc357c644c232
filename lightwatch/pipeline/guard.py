"""Turning whatever happens to one item into an outcome, so that one item never stops the night."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

from lightwatch.errors import InputError, LightwatchError, ProcessError, ProductError, StorageError
from lightwatch.pipeline.task import Outcome


def one_line(text: object) -> str:
    """Text for a log or a table: one line, printable, not longer than 500 characters."""
    flat = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in flat)[:500]


def outcome_of_error(error: BaseException) -> Outcome:
    """Expected errors reject the item with their reason; all others are recorded and tried again."""
    if isinstance(error, InputError | ProcessError):
        return Outcome("rejected", reason_code=error.reason_code, reason=one_line(error))
    if isinstance(error, ProductError):
        reason = one_line(error)
        return Outcome("error", reason_code=error.reason_code, reason=reason, product=error.relpath)
    where = traceback.extract_tb(error.__traceback__)
    details = "; ".join(
        f"{frame.name} ({frame.filename.rsplit('/', 1)[-1]}:{frame.lineno})" for frame in where[-4:]
    )
    code = "storage" if isinstance(error, StorageError) else type(error).__name__
    return Outcome("error", reason_code=code, reason=one_line(error) or code, details=details)


def guarded(compute: Callable[[Any], Outcome], job: Any) -> Outcome:
    """Run a task's computation on one job; every exception becomes an outcome, but a full disk is raised."""
    try:
        return compute(job)
    except ProductError as error:
        return outcome_of_error(error)
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - this is the one place where unknown errors end
        return outcome_of_error(error)


def guarded_batch(compute: Callable[[list[Any]], list[Outcome]], jobs: list[Any]) -> list[Outcome]:
    """Run a computation on a batch; when the batch fails, on its jobs one by one to find who is to blame."""
    try:
        return compute(jobs) if jobs else []
    except Exception as error:
        if isinstance(error, StorageError) and not isinstance(error, ProductError):
            raise
        if len(jobs) == 1:
            return [outcome_of_error(error)]
    return [outcome for job in jobs for outcome in guarded_batch(compute, [job])]


def guarded_load(load: Callable[[Sequence[Any]], list[Any]], items: Sequence[Any]) -> list[Any]:
    """Jobs of items; when loading fails, of one by one, with an outcome in the place of those that cannot be loaded.

    What concerns all items (the configuration, the disk, no catalogue to be had) is raised.
    """
    try:
        return load(items)
    except Exception as error:
        if isinstance(error, LightwatchError) and not isinstance(error, ProductError | ProcessError):
            raise
        if len(items) == 1:
            return [outcome_of_error(error)]
    return [job for item in items for job in guarded_load(load, [item])]
