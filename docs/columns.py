"""Write docs/columns.md out of the dictionary of columns and the schema: ``python docs/columns.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy import Column as SchemaColumn
from sqlalchemy import Table

from lightwatch.structure.light_curve_columns import LIGHT_CURVE, NIGHTLY, Column
from lightwatch.structure.light_curve_files import WRITTEN_BY_A_RUN
from lightwatch.structure.schema import metadata

TARGET = Path(__file__).with_name("columns.md")
HEAD = """# Every column

Of the files of light curves, and of the tables of the database.
(Made from the program by `python docs/columns.py`; a test holds the two together.)

## Files of light curves

One row per point source and frame. `lightwatch export` writes all columns, in this order, to ECSV, FITS, VOTable, CSV
and Parquet; a run by itself keeps ECSV and FITS with those marked in the last column up to date in `light_curves/`.
ECSV, FITS and VOTable carry unit, meaning and UCD within; beside CSV files lies `light_curve_columns.csv`. The view
`light_curves` of the database ([sql.md](sql.md)) uses the same names. Unknown is an empty cell in CSV, NaN in tables of
numbers, NULL in SQL. Bits of `flags`: [sql.md](sql.md#flags).
"""
NIGHTLY_HEAD = """## Files of nightly means

`lightwatch export --nightly` writes these beside the others: one row per point source and night, of the points that are
not doubtful.
"""
AAVSO = """## AAVSO files

The extended format has columns of its own: `NAME` is ROI and point source within 30 characters, `DATE` the Julian date
(UTC) of mid-exposure, `MAG` is `mag` or `<` and `mag_limit`, `MERR` the larger of `mag_uncertainty_up` and
`mag_uncertainty_down`, `FILT` the code of the zero point's band, `AMASS` is `airmass`; `NOTES` name band, filter and
frame.
"""
DATABASE_HEAD = """## Tables of the database

As the schema has them; the key of a table in bold. Queries for them are in [sql.md](sql.md). A star is known by
`star_gaia_id` within a `combined_footprint_hash`. Numbers are never infinite, booleans are 0 or 1, texts UTF-8.
"""


def document() -> str:
    """The whole page."""
    parts = [
        HEAD,
        _files(LIGHT_CURVE, written=WRITTEN_BY_A_RUN),
        NIGHTLY_HEAD,
        _files(NIGHTLY),
        AAVSO,
        DATABASE_HEAD,
    ]
    for table in sorted(metadata.tables.values(), key=lambda table: table.name.lower()):
        parts += [f"### `{table.name}`\n", _table(table)]
    return "\n".join(parts)


def _files(columns: Iterable[Column], written: Sequence[str] = ()) -> str:
    lines = ["| Column | Unit | UCD | Meaning |", "|---|---|---|---|"]
    if written:
        lines = [f"{lines[0]} By a run |", f"{lines[1]}---|"]
    for column in columns:
        cells = [f"`{column.name}`", column.unit, f"`{column.ucd}`", column.description]
        if written:
            cells.append("yes" if column.name in written else "")
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def _table(table: Table) -> str:
    lines = ["| Column | Type | Meaning |", "|---|---|---|"]
    for column in table.columns:
        name = f"**`{column.name}`**" if column.primary_key else f"`{column.name}`"
        lines.append(_row([name, _type(column), "; ".join(_meaning(column))]))
    return "\n".join(lines) + "\n"


def _type(column: SchemaColumn[object]) -> str:
    kind = {int: "integer", float: "number", str: "text"}[column.type.python_type]
    return kind if column.nullable else f"{kind}, never NULL"


def _meaning(column: SchemaColumn[object]) -> Iterable[str]:
    if column.comment:
        yield column.comment
    for name in sorted(key.target_fullname for key in column.foreign_keys):
        yield f"of `{name}`"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
