"""What the tables are made of: columns that accept no infinity, and tables that accept no wrong type."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

Number: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")
Big: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")


def number(name: str, comment: str, *, required: bool = False) -> tuple[Column[float], CheckConstraint]:
    """A column of numbers and the check that keeps infinities (and so overflows) out."""
    check = CheckConstraint(f"{name} IS NULL OR abs({name}) < 1e300", name=f"finite_{name}")
    return Column(name, Number, nullable=not required, comment=comment), check


def boolean(name: str, comment: str, default: int | None = 0) -> tuple[Column[int], CheckConstraint]:
    server_default = None if default is None else str(default)
    column = Column(name, Integer, nullable=default is None, comment=comment, server_default=server_default)
    return column, CheckConstraint(f"{name} IN (0, 1)", name=f"boolean_{name}")


def strict_table(name: str, *parts: SchemaItem | tuple[SchemaItem, ...]) -> Table:
    flat: list[SchemaItem] = []
    for part in parts:
        flat.extend(part if isinstance(part, tuple) else (part,))
    return Table(name, metadata, *flat, sqlite_strict=True)


def recipe_column() -> Column[str]:
    return Column(
        "recipe", Text, nullable=False, comment="what made this row: task, version, settings, upstream"
    )


def flags_column() -> Column[int]:
    return Column(
        "flags", Integer, nullable=False, server_default="0", comment="bits of lightwatch.flags.Flag"
    )


def frame_key(*, primary: bool = True) -> Column[int]:
    return Column(
        "frame_id", ForeignKey("frames.id", ondelete="CASCADE"), primary_key=primary, nullable=False
    )


def footprint_key() -> Column[str]:
    return Column(
        "combined_footprint_hash",
        ForeignKey("combined_footprint.hash", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    )


def star_key() -> Column[int]:
    return Column("star_gaia_id", Big, primary_key=True, nullable=False, comment="source_id of the catalogue")
