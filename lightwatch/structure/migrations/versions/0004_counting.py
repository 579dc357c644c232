"""Indices from which the state of a workdir of many frames is counted without reading its rows."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the indices."""
    op.create_index(
        "ix_task_results_counting",
        "task_results",
        ["task", "recipe", "combined_footprint_hash", "frame_id", "state", "run_id"],
    )
    op.create_index("ix_frames_counting", "frames", ["naxis1", "naxis2", "eliminated", "roi_in_footprint"])
    op.create_index("ix_files_state", "files", ["state", "reason_code"])
    op.create_index("ix_regions_size", "regions", ["size"])
    op.create_index("ix_PSFs_size", "PSFs", ["size"])
