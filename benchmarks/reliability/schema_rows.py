"""One valid row for every table, and databases of every schema that there ever was.

python benchmarks/reliability/schema_rows.py        writes the dump of a schema that has none yet, the newest
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Double, Integer, Table

from lightwatch.structure import schema, upgrade
from lightwatch.structure.database import open_engine

#: SQL of a database of each schema with a row in every table, kept as they were
SCHEMAS = Path(__file__).resolve().parents[2] / "tests" / "structure" / "schemas"

_KEYS = {
    "frame_id": 1, "combined_footprint_hash": "h", "star_gaia_id": 7, "gaia_id": 7, "hash": "h", "roi": "target",
    "point_source": "A", "filter": "r", "run_id": 1, "is_current": 1,
}  # fmt: skip
_TEXTS = {
    ("rois", "name"): "target",
    ("point_sources", "name"): "A",
    ("files", "state"): "imported",
    ("runs", "started"): "2026-01-01T00:00:00.000000Z",
}


def tables() -> Iterator[Table]:
    """Every table, after those that it refers to, or that its rows follow from."""
    yield from sorted(schema.metadata.sorted_tables, key=lambda table: table is schema.task_counts)


def valid_row(table: Table) -> dict[str, Any]:
    """A row that the table takes, where the rows of the others are; every column has a value."""
    return {column.name: _value(table, column) for column in table.columns}


def is_number(column: Column[Any]) -> bool:
    """Whether a column holds real numbers."""
    return isinstance(column.type, Double)


def _value(table: Table, column: Column[Any]) -> Any:
    if (table.name, column.name) in _TEXTS:
        return _TEXTS[table.name, column.name]
    if column.name in _KEYS:
        return _KEYS[column.name]
    if column.name == "state":
        return "done"
    if is_number(column):
        return 1.5
    return 1 if isinstance(column.type, Integer) else f"{column.name} of {table.name}"


def fill(connection: sqlite3.Connection) -> None:
    """A row in every empty table that a database of any schema has."""
    for table in tables():
        known = {row[1] for row in connection.execute(f'PRAGMA table_info("{table.name}")')}
        row = {name: value for name, value in valid_row(table).items() if name in known}
        if row and not connection.execute(f'SELECT 1 FROM "{table.name}"').fetchone():
            columns, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
            connection.execute(f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})', list(row.values()))


def load(dump: Path, database: Path) -> None:
    """Make the database that a dump tells of."""
    connection = sqlite3.connect(database)
    connection.executescript(dump.read_text())
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def dump(database: Path) -> Path:
    """Make a database of the newest schema, fill it, and keep it as SQL."""
    engine = open_engine(f"sqlite:///{database}")
    upgrade.upgrade(engine)
    revision = upgrade.current_revision(engine)
    engine.dispose()
    connection = sqlite3.connect(database)
    fill(connection)
    connection.commit()
    kept = SCHEMAS / f"{revision}.sql"
    kept.write_text("\n".join(connection.iterdump()) + "\n")
    connection.close()
    return kept


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print(dump(Path(scratch) / "database.sqlite3"))
