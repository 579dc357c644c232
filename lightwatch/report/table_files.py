"""Writers of tables, one per format: units, descriptions and UCDs go where the format has them."""

from __future__ import annotations

import csv
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.io.votable.tree import TimeSys
from astropy.table import Table

from lightwatch.report.columns import Column

Head = Mapping[str, str | float]

#: a spreadsheet takes a cell that begins with one of these for a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """Text without control characters."""
    return _CONTROL.sub(" ", text)


def write_ecsv(table: Table, head: Head, path: Path) -> None:
    """ECSV 1.0; UCDs are in the columns' meta."""
    told = _with_text(table, one_line)
    told.meta.update(head)
    told.write(path, format="ascii.ecsv", overwrite=True)


def write_fits(table: Table, head: Head, path: Path) -> None:
    """FITS binary table with TUNITn, TCOMMn and TUCDn; text in ASCII, other letters escaped."""
    told = _with_text(table, _ascii)
    hdu = fits.BinTableHDU(
        Table([np.asarray(column) for column in told.columns.values()], names=told.colnames)
    )
    hdu.name = "LIGHTCURVE"
    for number, column in enumerate(told.columns.values(), start=1):
        if column.unit is not None:
            hdu.header[f"TUNIT{number}"] = _unit(column.unit)
        hdu.header[f"TCOMM{number}"] = column.description
        hdu.header[f"TUCD{number}"] = column.meta["ucd"]
    for key, value in head.items():
        hdu.header[key] = _ascii(value)[:68] if isinstance(value, str) else value
    hdu.header["JDREF"] = (0.0, "bjd_tdb is a full Julian date")
    if "zeropoint" in told.colnames and np.isfinite(told["zeropoint"]).any():
        hdu.header["ZPTMAG"] = (float(np.nanmedian(told["zeropoint"])), "mag of 1 electron/s, median")
        error = told["zeropoint_uncertainty"]
        if np.isfinite(error).any():
            hdu.header["ZPTMUCER"] = (float(np.nanmedian(error)), "its 1 sigma")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True, checksum=True)


def write_votable(table: Table, head: Head, path: Path) -> None:
    """VOTable 1.4 with a TIMESYS for each time column."""
    told = _with_text(table, one_line)
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
            field.unit = _unit(units[field.name]).replace("electron", "'electron'")
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

    told = _with_text(table, one_line)
    fields, arrays = [], []
    for column in told.columns.values():
        values = np.asarray(column)
        array = (
            pa.array(values, from_pandas=True)
            if values.dtype.kind == "f"
            else pa.array([str(value) for value in values] if values.dtype.kind == "U" else values)
        )
        about = {
            "unit": _unit(column.unit or ""),
            "ucd": column.meta["ucd"],
            "description": column.description,
        }
        fields.append(pa.field(column.name, array.type, metadata=about))
        arrays.append(array)
    schema = pa.schema(fields, metadata={key: str(value) for key, value in head.items()})
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def _with_text(table: Table, clean: Any) -> Table:
    """A copy with every text cell cleaned."""
    told = table.copy()
    for column in table.columns.values():
        if column.dtype.kind == "U":
            values = np.array([clean(str(value)) for value in column], dtype=str)
            told[column.name] = type(column)(values, description=column.description, meta=dict(column.meta))
    return told


def _unit(unit: Any) -> str:
    """A unit as the dictionary of columns spells it."""
    return str(unit).replace(" ", "")


def _ascii(text: str) -> str:
    return one_line(text).encode("ascii", "backslashreplace").decode("ascii")


def _cell(value: Any) -> str:
    if isinstance(value, str):
        plain = one_line(value)
        return f"'{plain}" if plain.startswith(_FORMULA) or value.startswith(_FORMULA) else plain
    if isinstance(value, np.floating):
        return repr(float(value)) if np.isfinite(value) else ""
    return str(value)
