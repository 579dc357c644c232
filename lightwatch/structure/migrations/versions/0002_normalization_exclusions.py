"""What the normalization left out, and the share that the PSF has in the errors of its coefficients."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NUMBER: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Add the columns, unknown in older rows, and the table."""
    _add_number("PSFs", "total_flux_error")
    _add_number("normalization_coefficients", "psf_uncertainty")
    _add_number("normalization_stars", "influence_rms")
    _normalization_exclusions()


def _add_number(table: str, name: str) -> None:
    """ALTER TABLE in words that SQLite takes: it adds a check only together with its column."""
    kind = NUMBER.compile(dialect=op.get_context().dialect)
    check = f'CONSTRAINT "ck_{table}_finite_{name}" CHECK ({name} IS NULL OR abs({name}) < 1e300)'
    op.execute(f'ALTER TABLE "{table}" ADD COLUMN {name} {kind} {check}')


def _normalization_exclusions() -> None:
    op.create_table(
        "normalization_exclusions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=True),
        sa.Column("star_gaia_id", BIG, nullable=True),
        sa.Column("residual", NUMBER, nullable=True),
        sa.Column("weight", NUMBER, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "residual IS NULL OR abs(residual) < 1e300",
            name=op.f("ck_normalization_exclusions_finite_residual"),
        ),
        sa.CheckConstraint(
            "weight IS NULL OR abs(weight) < 1e300",
            name=op.f("ck_normalization_exclusions_finite_weight"),
        ),
        sa.CheckConstraint(
            "frame_id IS NOT NULL OR star_gaia_id IS NOT NULL",
            name=op.f("ck_normalization_exclusions_frame_or_star"),
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_normalization_exclusions_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"],
            ["frames.id"],
            name=op.f("fk_normalization_exclusions_frame_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index(
        "ix_normalization_exclusions_group", "normalization_exclusions", ["combined_footprint_hash", "filter"]
    )
