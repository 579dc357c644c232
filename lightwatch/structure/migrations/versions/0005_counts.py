"""Counts of results, so that the state of the tasks is told without looking at each; an index of what is not done."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the table, which is filled and kept by triggers (structure/counts.py), and the index."""
    where = sa.text("state <> 'done'")
    op.create_index(
        "ix_task_results_not_done",
        "task_results",
        ["task", "recipe"],
        sqlite_where=where,
        postgresql_where=where,
    )
    if op.get_context().dialect.name != "sqlite":  # a view of this name there
        return
    op.create_table(
        "task_counts",
        *(
            sa.Column(name, sa.Text(), primary_key=True, nullable=False)
            for name in ("task", "combined_footprint_hash", "recipe", "state")
        ),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("n", "ids", "squares")),
        sqlite_strict=True,
    )
