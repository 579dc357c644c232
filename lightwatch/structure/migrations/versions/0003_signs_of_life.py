"""Signs of life of a run, and an index without which the removal of a frame reads all exclusions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns, unknown in older rows, and the index."""
    op.add_column("runs", sa.Column("boot_id", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("heartbeat", sa.Text(), nullable=True))
    op.create_index("ix_normalization_exclusions_frame", "normalization_exclusions", ["frame_id"])
