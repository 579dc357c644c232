"""Write docs/columns.md out of the dictionary of columns and the schema: ``python docs/columns.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlalchemy import Column as SchemaColumn
from sqlalchemy import Table, create_engine

from lightwatch.structure.database import create_views
from lightwatch.structure.light_curve_columns import LIGHT_CURVE, NIGHTLY, Column
from lightwatch.structure.light_curve_files import WRITTEN_BY_A_RUN
from lightwatch.structure.meanings import TABLES, columns_by_table, meaning
from lightwatch.structure.schema import metadata
from lightwatch.structure.views import VIEWS

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

`lightwatch export --format aavso --observer CODE`: the extended format has columns of its own.

| Field | What is written |
|---|---|
| `NAME` | ROI and point source within 30 characters |
| `DATE` | Julian date (UTC) of mid-exposure |
| `MAG` | `mag`, or `<` and `mag_limit` |
| `MERR` | the larger of `mag_uncertainty_up` and `mag_uncertainty_down`; `na` for a limit |
| `FILT` | the code of the zero point's band; `O` where filter and band differ, `CV` and `CR` without a filter |
| `CNAME`, `CMAG` | `ENSEMBLE`, `na`: the scale rests on all reference stars |
| `KNAME`, `KMAG` | a check star by its id in the catalogue, and its magnitude on that frame by the same zero point |
| `AMASS` | `airmass` |
| `CHART` | the catalogue |
| `NOTES` | how it was measured, then `BAND`, `SYSTEM`, `FILTER`, `FRAME`, `ZPERR`, `KREFMAG` and `KREFERR` |

`ZPERR` is `zeropoint_uncertainty`, which `MERR` leaves out because all points share it; `KREFMAG` is the check star's
magnitude in the catalogue. The check star is the steady reference star, measured on nearly all frames, that is nearest
to the point source in magnitude. It is itself one of the ensemble: its scatter is telling, an error that all stars
share it cannot show.
"""
DATABASE_HEAD = """## Tables of the database

As the schema has them; the key of a table in bold. Queries for them are in [sql.md](sql.md). A star is known by
`star_gaia_id` within a `combined_footprint_hash`. Numbers are never infinite, booleans are 0 or 1, texts UTF-8.
"""
VIEWS_HEAD = """## Views of the database

They show what is in force: the present settings, and the present choice of stars.
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
        parts += [f"### `{table.name}`\n", f"{TABLES[table.name]}\n", _table(table)]
    parts.append(VIEWS_HEAD)
    for name, columns in sorted(_columns_of_views().items()):
        parts += [
            f"### `{name}`\n",
            f"{TABLES[name].removeprefix('View: ').capitalize()}\n",
            _view(name, columns),
        ]
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
        lines.append(_row([name, _type(column), meaning(table.name, column.name)]))
    return "\n".join(lines) + "\n"


def _type(column: SchemaColumn[object]) -> str:
    kind = {int: "integer", float: "number", str: "text"}[column.type.python_type]
    return kind if column.nullable else f"{kind}, never NULL"


def _columns_of_views() -> dict[str, Sequence[str]]:
    with create_engine("sqlite://").begin() as connection:
        metadata.create_all(connection)
        create_views(connection)
        return {name: names for name, names in columns_by_table(connection).items() if name in VIEWS}


def _view(view: str, columns: Sequence[str]) -> str:
    lines = ["| Column | Meaning |", "|---|---|"]
    lines += [_row([f"`{name}`", meaning(view, name)]) for name in columns]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
