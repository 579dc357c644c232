"""Questions that name many ids, asked in parts: a database binds only so many values (SQLite 32766)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Engine, Select

from lightwatch.structure.queries import Row, rows

_VALUES_PER_QUERY = 10_000
_Value = TypeVar("_Value")


def parts(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """Values in parts that one statement can name."""
    for i in range(0, len(values), _VALUES_PER_QUERY):
        yield values[i : i + _VALUES_PER_QUERY]


def rows_of(engine: Engine, query: Callable[[Sequence[int]], Select[Any]], ids: Sequence[int]) -> list[Row]:
    """All rows of ``query`` about ids."""
    return [row for part in parts(ids) for row in rows(engine, query(part))]
