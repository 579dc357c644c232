"""Writers of tables, one per format: units, descriptions and UCDs go where the format has them."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io.votable import from_table
from astropy.io.votable.tree import TimeSys
from astropy.table import Table

from lightwatch.structure.light_curve_columns import Column
from lightwatch.structure.light_curve_files import Head, one_line, unit_text, with_text
from lightwatch.structure.spreadsheets import no_formula


def write_votable(table: Table, head: Head, path: Path) -> None:
    """VOTable 1.4 with a TIMESYS for each time column."""
    told = with_text(table, one_line)
    units = {column.name: column.unit for column in told.columns.values()}
    for name in units:
        told[name].unit = None
    document = from_table(told)
    document.version = "1.4"
    resource = document.resources[0]
    latest = {"version_1_4_or_later": True}
    systems = {
        "bjd_tdb": TimeSys(
            ID="bjd", timescale="TDB", refposition="BARYCENTER", timeorigin=0.0, config=latest
        ),
        "mjd": TimeSys(
            ID="mjd_utc", timescale="UTC", refposition="TOPOCENTER", timeorigin=2400000.5, config=latest
        ),
    }
    resource.time_systems.extend(systems.values())
    body = resource.tables[0]
    body.description = "; ".join(f"{key}={one_line(str(value))}" for key, value in head.items())
    for field in body.fields:
        field._config = latest  # else its unit would be judged by the rules of VOTable 1.1
        field.ucd = told[field.name].meta["ucd"] or None
        if units[field.name] is not None:
            # VOUnits has no electron; a unit of one's own stands in quotes there
            field.unit = unit_text(units[field.name]).replace("electron", "'electron'")
        if field.name in systems:
            field.ref = systems[field.name].ID
    document.to_xml(str(path))


def write_csv(table: Table, _head: Head, path: Path) -> None:
    """Plain CSV (RFC 4180, UTF-8): unknown is an empty cell; no text can be taken for a formula."""
    with path.open("w", newline="", encoding="utf-8", errors="replace") as stream:
        writer = csv.writer(stream)
        writer.writerow(table.colnames)
        writer.writerows([_cell(value) for value in row] for row in table)


def write_column_dictionary(columns: Sequence[Column], path: Path) -> None:
    """What the columns mean, as CSV."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["name", "unit", "ucd", "description"])
        writer.writerows([column.name, column.unit, column.ucd, column.description] for column in columns)


def has_parquet() -> bool:
    """Whether pyarrow is there."""
    return importlib.util.find_spec("pyarrow") is not None


def write_parquet(table: Table, head: Head, path: Path) -> None:
    """Parquet: unknown is null; unit, description and UCD are in the metadata of each field."""
    import pyarrow as pa
    from pyarrow import parquet

    told = with_text(table, one_line)
    fields, arrays = [], []
    for column in told.columns.values():
        values = np.asarray(column)
        array = (
            pa.array(values, from_pandas=True)
            if values.dtype.kind == "f"
            else pa.array([str(value) for value in values] if values.dtype.kind == "U" else values)
        )
        about = {
            "unit": unit_text(column.unit or ""),
            "ucd": column.meta["ucd"],
            "description": column.description,
        }
        fields.append(pa.field(column.name, array.type, metadata=about))
        arrays.append(array)
    schema = pa.schema(fields, metadata={key: str(value) for key, value in head.items()})
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return no_formula(value, one_line(value))
    if isinstance(value, np.floating):
        return repr(float(value)) if np.isfinite(value) else ""
    return str(value)
