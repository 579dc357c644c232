"""Frames, written: by their import, and columns that later tasks fill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from lightwatch.structure import schema as s
from lightwatch.structure.queries import Row
from lightwatch.structure.task_names import IMPORT_TASK

_SUPERSEDED = "superseded: the raw file changed"


def save_frame(connection: Connection, row: Row, verdict: Row) -> int:
    """A frame that was imported, new or once more; its id.

    ``verdict``: columns ``eliminated`` and ``comment`` of a new one. Of a known one, what its owner wrote stays, what
    other tasks found goes.
    """
    frames = s.frames
    query = select(frames.c.id, frames.c.comment).where(frames.c.content_hash == row["content_hash"])
    known = connection.execute(query).first()
    if known is None:
        key = connection.execute(insert(frames).values(**row, **verdict)).inserted_primary_key
        assert key is not None  # an autoincremented id
        return int(key[0])
    frame_id = int(known.id)
    empty = {column.name: None for column in frames.columns if column.nullable and column.name != "comment"}
    reset: dict[str, Any] = {**empty, "attempted_plate_solve": 0, "plate_solved": 0}
    if known.comment == _SUPERSEDED:  # the file has its old content again
        reset |= {"eliminated": 0, "comment": None}
    set_columns(connection, frame_id, {**reset, **row})
    connection.execute(delete(s.task_results).where(s.task_results.c.frame_id == frame_id))
    return frame_id


def times_imported(connection: Connection, content_hash: str) -> int:
    """How often the content of a raw file has become a frame so far; to be asked before ``save_frame``."""
    f, t = s.frames, s.task_results
    query = (
        select(func.coalesce(t.c.attempts, 1))  # without its result: it was forgotten, the frame is known
        .select_from(f)
        .outerjoin(t, (t.c.frame_id == f.c.id) & (t.c.task == IMPORT_TASK))
        .where(f.c.content_hash == content_hash)
    )
    return int(connection.execute(query).scalar() or 0)


def supersede(connection: Connection, path: str, frame_id: int | None) -> None:
    """A file whose content changed: the frame made of its old content no longer exists."""
    f = s.files
    before = connection.execute(select(f.c.frame_id).where(f.c.path == path)).scalar()
    if before is None or before == frame_id:
        return
    others = connection.execute(select(f.c.path).where(f.c.frame_id == before, f.c.path != path)).first()
    if others is None:
        connection.execute(
            update(s.frames)
            .where(s.frames.c.id == before, s.frames.c.eliminated == 0)
            .values(eliminated=1, comment=_SUPERSEDED)
        )


def set_columns(connection: Connection, frame_id: int, values: Mapping[str, Any]) -> None:
    """Columns of a frame."""
    connection.execute(update(s.frames).where(s.frames.c.id == frame_id).values(values))


def set_limiting_magnitudes(connection: Connection, depths: Mapping[int, float | None]) -> None:
    """Column limiting_magnitude of frames, by id."""
    if not depths:
        return
    change = update(s.frames).where(s.frames.c.id == bindparam("frame"))
    rows = [{"frame": frame_id, "depth": depth} for frame_id, depth in depths.items()]
    connection.execute(change.values(limiting_magnitude=bindparam("depth")), rows)
