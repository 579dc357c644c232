"""Small questions that several figures ask of a workdir."""

from __future__ import annotations

from collections.abc import Sequence

from lightwatch.structure import queries, queries_report
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace


def current_hash(workspace: Workspace) -> str:
    """Hash of the combined footprint in use; empty before there is one."""
    rows = queries.rows(workspace.reader, queries.current_footprint()) if workspace.has_database else []
    return str(rows[0]["hash"]) if rows else ""


def all_frames(workspace: Workspace) -> list[Row]:
    """Frames with the quality of their PSF, normalization and zero point, in order of time."""
    if not workspace.has_database:
        return []
    query = queries_report.quality_of_frames(current_hash(workspace), workspace.config.zeropoints.band)
    return queries.rows(workspace.reader, query)


def frame_of(workspace: Workspace, frame_id: int | None, *, with_psf: bool = False) -> Row | None:
    """A frame by id; without one the newest that is not eliminated, preferably with a PSF."""
    frames = all_frames(workspace)
    if frame_id is not None:
        return next((row for row in frames if row["id"] == frame_id), None)
    usable = [row for row in frames if not row["eliminated"]]
    best = [row for row in usable if row["psf_chi2"] is not None] if with_psf else []
    return next(reversed(best or usable), None)


def judged_stars(workspace: Workspace) -> Sequence[Row]:
    """Reference stars as the normalization judged them."""
    return queries.rows(workspace.reader, queries_report.normalization_stars_of(current_hash(workspace)))
