"""Rows that tasks write: each item's by itself, and none of a frame that has no result any more."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from lightwatch.errors import ProductError, StorageError
from lightwatch.pipeline.guard import outcome_of_error
from lightwatch.pipeline.night import NIGHT
from lightwatch.pipeline.task import Outcome, Task
from lightwatch.structure.result_rows import forget_frame


def attempt(connection: Connection, save: Callable[[], None]) -> Outcome | None:
    """Save one item's output; where that fails, nothing of it is kept, and the failure is the item's.

    A full or failing disk concerns all items, and is raised.
    """
    savepoint = connection.begin_nested()
    try:
        save()
    except Exception as error:
        of_all = isinstance(error, StorageError) and not isinstance(error, ProductError)
        if of_all or isinstance(error, OSError | OperationalError):
            raise
        savepoint.rollback()
        return outcome_of_error(error)
    savepoint.commit()
    return None


def forget(connection: Connection, task: Task, footprint_hash: str, frame_id: int) -> None:
    """Remove what a task, and every later one of single frames, wrote of a frame that now has no result in it.

    Its settings may be those of before, so that nothing else would tell the old rows from current ones. The rows of
    joint tasks stay as the last solution: the group is solved again without the frame, and where it cannot be
    solved, its light curve of before is the best there is, and group_results tells of the failure.
    """
    concerned = [later for later in NIGHT[NIGHT.index(task) :] if later.scope == "frames"]
    tables = [name for later in concerned for name in later.outputs]
    tasks = [later.name for later in concerned if later is not task]
    forget_frame(connection, frame_id, footprint_hash, tables=tables, tasks=tasks)
