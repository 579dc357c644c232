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
) -> int:
    """Write ``frames.eliminated`` and ``frames.comment``; all of the frames or none. How many it takes out, or back in.

    A frame that is in keeps its comment when it is restored.

    Raises
    ------
    NoUsableData
        Naming the ids that do not exist.
    AnotherRunActive
        When a run is at work on the database.
    """
    if not frame_ids:
        return 0
    frames = schema.frames
    with transaction(workspace.engine) as connection:
        workspace.refuse_other_runs(connection)
        query = select(frames.c.id, frames.c.eliminated)
        known = {
            frame_id: bool(out)
            for part in parts(frame_ids)
            for frame_id, out in connection.execute(query.where(frames.c.id.in_(part)))
        }
        unknown = sorted(set(frame_ids) - set(known))
        if unknown:
            raise NoUsableData(
                f"no frame has the id {', '.join(map(str, unknown))}; nothing was changed; 'lightwatch frames' "
                "lists them"
            )
        to_write = [frame_id for frame_id, out in known.items() if eliminated or out]
        for part in parts(to_write):
            statement = update(frames).where(frames.c.id.in_(part))
            connection.execute(statement.values(eliminated=int(eliminated), comment=comment))
    return sum(out != eliminated for out in known.values())
