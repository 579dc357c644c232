"""What became of items, written: results of tasks, failures, and the recipes in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, tuple_

from lightwatch.structure import schema as s
from lightwatch.structure.database import upsert
from lightwatch.structure.queries import MAX_ATTEMPTS, Row, replace_rows


def save_result(connection: Connection, row: Row) -> None:
    """A frame's row of task_results in the place of the one before; attempts under one recipe are counted."""
    _save_counted(
        connection, s.task_results, ("task", "combined_footprint_hash", "frame_id"), ("recipe",), row
    )


def save_group_result(connection: Connection, row: Row) -> None:
    """The same in group_results, for a group of the same members."""
    key = ("task", "combined_footprint_hash", "group_key")
    _save_counted(connection, s.group_results, key, ("recipe", "digest"), row)


def _save_counted(
    connection: Connection, table: Table, key_names: Sequence[str], same: Sequence[str], row: Row
) -> None:
    key = {name: row[name] for name in key_names}
    query = select(table).where(*(table.c[name] == value for name, value in key.items()))
    before = connection.execute(query).mappings().first()
    again = before is not None and all(before[name] == row[name] for name in same)
    attempts = before["attempts"] + 1 if before is not None and again else 1
    replace_rows(connection, table, key, [{**row, "attempts": attempts}])


def record_error(connection: Connection, row: Row) -> None:
    """An unexpected failure, at this moment."""
    connection.execute(insert(s.task_errors).values(at=datetime.now(UTC).isoformat(), **row))


def has_attempts_left(connection: Connection, item: str, recipe: str) -> bool:
    """Whether an item that has just failed under a recipe may be tried again."""
    e = s.task_errors
    before = select(func.count()).where(e.c.item == item, e.c.recipe == recipe)
    return (connection.execute(before).scalar() or 0) + 1 < MAX_ATTEMPTS


def forget_frame(
    connection: Connection, frame_id: int, footprint_hash: str, *, tables: Iterable[str], tasks: Sequence[str]
) -> None:
    """Remove a frame's rows of some tables and its results of some tasks; without a footprint, those of all."""
    t = s.task_results
    _forget(connection, t, frame_id, footprint_hash, t.c.task.in_(tasks))
    for name in tables:
        _forget(connection, s.metadata.tables[name], frame_id, footprint_hash)


def _forget(
    connection: Connection, table: Table, frame_id: int, footprint_hash: str, *conditions: Any
) -> None:
    statement = delete(table).where(table.c.frame_id == frame_id, *conditions)
    if footprint_hash:
        statement = statement.where(table.c.combined_footprint_hash == footprint_hash)
    connection.execute(statement)


def register(
    connection: Connection, recipes: Sequence[Row], rois: Sequence[Row], point_sources: Sequence[Row]
) -> None:
    """The recipes, ROIs and point sources in use; light curves of those that are gone go with them."""
    replace_rows(connection, s.task_recipes, {}, recipes)
    _synchronise(connection, s.rois, rois, ("name",))
    _synchronise(connection, s.point_sources, point_sources, ("roi", "name"))


def _synchronise(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> None:
    """Make a small table hold just these rows; rows that stay are updated so that nothing cascades."""
    wanted = [tuple(row[key] for key in keys) for row in rows]
    connection.execute(delete(table).where(tuple_(*(table.c[key] for key in keys)).not_in(wanted)))
    upsert(connection, table, rows)
