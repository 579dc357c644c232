"""Rows of a joint solution that took new frames in: those that say the same as before stay as they are.

A joint solution moves by a little with every new frame. What was published does not follow such moves: a row is
replaced once the new solution differs from what is stored by more than a tolerance. It is always the stored row
that is compared, so that small moves cannot add up unseen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, insert, select

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Tolerance:
    """How far a number may be off: a fraction of another column of its row, such as its uncertainty, or of itself."""

    fraction: float
    of: str | None = None


def is_same(old: Row, new: Row, tolerances: Mapping[str, Tolerance]) -> bool:
    """Whether all columns of ``new`` say what ``old`` says: numbers within their tolerance, all else exactly."""
    return all(_alike(old, name, value, tolerances.get(name)) for name, value in new.items())


def _alike(old: Row, name: str, value: Any, tolerance: Tolerance | None) -> bool:
    stored = old[name]
    if stored == value:
        return True
    if tolerance is None or stored is None or value is None:
        return False
    unit = old[tolerance.of or name]
    return unit is not None and abs(stored - value) <= tolerance.fraction * abs(unit)


def renew_rows(
    connection: Connection,
    table: Table,
    ours: ColumnElement[bool],
    new_rows: Sequence[Row],
    tolerances: Mapping[str, Tolerance],
) -> None:
    """Make the rows that meet a condition be ``new_rows``; those that say the same as before are not touched."""
    names = [column.name for column in table.primary_key.columns]

    def place(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in names)

    stored = {place(row): row for row in map(dict, connection.execute(select(table).where(ours)).mappings())}
    changed = [
        row
        for row in new_rows
        if place(row) not in stored or not is_same(stored[place(row)], row, tolerances)
    ]
    # a frame that came from another filter has a row there still
    gone = stored.keys() - {place(row) for row in new_rows} | {place(row) for row in changed}
    if gone:
        condition = [table.c[name] == bindparam(f"at_{name}") for name in names]
        places = [{f"at_{name}": value for name, value in zip(names, at, strict=True)} for at in gone]
        connection.execute(delete(table).where(*condition), places)
    if changed:
        connection.execute(insert(table), [dict(row) for row in changed])
