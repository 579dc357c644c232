"""Frames that their owner takes out of the analysis, and back in."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from lightwatch.errors import NoUsableData
from lightwatch.structure import schema
from lightwatch.structure.database import transaction
from lightwatch.structure.parts import parts
from lightwatch.structure.workspace import Workspace


def set_eliminated(
    workspace: Workspace, frame_ids: Sequence[int], *, eliminated: bool, comment: str | None
) -> None:
    """Write ``frames.eliminated`` and ``frames.comment``; all of the frames or none.

    Raises
    ------
    NoUsableData
        Naming the ids that do not exist.
    AnotherRunActive
        When a run is at work on the database.
    """
    if not frame_ids:
        return
    frames = schema.frames
    with transaction(workspace.engine) as connection:
        workspace.refuse_other_runs(connection)
        known = {
            frame_id
            for part in parts(frame_ids)
            for frame_id in connection.execute(select(frames.c.id).where(frames.c.id.in_(part))).scalars()
        }
        unknown = sorted(set(frame_ids) - known)
        if unknown:
            raise NoUsableData(f"no frame has the id {', '.join(map(str, unknown))}; nothing was changed")
        for part in parts(frame_ids):
            statement = update(frames).where(frames.c.id.in_(part))
            connection.execute(statement.values(eliminated=int(eliminated), comment=comment))
