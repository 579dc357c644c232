"""Frames that show another place of the sky: every step after their footprints has nothing to do, and says nothing."""

from __future__ import annotations

from lightwatch.structure import queries
from lightwatch.structure.workspace import Workspace


def told_beside(workspace: Workspace) -> str:
    """A line where no ROI lies on any of the solved frames; '' where one does, or nothing is solved yet."""
    reader = workspace.reader
    if queries.scalar(reader, queries.any_frame_with_roi()) is not None:
        return ""
    n_beside = queries.scalar(reader, queries.frames_beside_rois())
    if not n_beside:
        return ""
    return (
        f"no ROI lies on any of {n_beside} solved frames: are the coordinates of rois in "
        f"{workspace.config_path.name} right? 'lightwatch config check' compares them with the headers"
    )
