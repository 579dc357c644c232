"""Light curves as ECSV and FITS tables that any astronomer's tool reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from lightwatch.structure.files import write_atomically
from lightwatch.structure.fits_files import write_hdus
from lightwatch.structure.light_curve_columns import LIGHT_CURVE, numbers, table_of

Head = Mapping[str, str | float]

#: besides control characters: what is invisible, turns the direction of writing, or is no character at all
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
#: the columns that a run knows when it writes the files beside its rows, in their order
WRITTEN_BY_A_RUN = (
    "point_source", "frame_id", "filter", "bjd_tdb", "mjd", "flux", "flux_uncertainty", "mag", "mag_uncertainty_up",
    "mag_uncertainty_down", "mag_limit", "zeropoint", "zeropoint_uncertainty", "reduced_chi2",
    "seeing_arcseconds", "flags",
)  # fmt: skip
#: of keywords at the head of a FITS file
_COMMENTS = {
    "ZPTMAG": "mag of 1 electron/s, median",
    "ZPTMUCER": "its 1 sigma, common to all points",
}


def write_light_curves(directory: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write ``NAME.ecsv`` and ``NAME.fits``; rows in order of source and time."""
    known = {column.name: column for column in LIGHT_CURVE}
    told = [dict.fromkeys(WRITTEN_BY_A_RUN) | dict(row) for row in rows]
    told.sort(key=lambda row: (row["point_source"], row["mjd"]))
    table = table_of(told, [known[column] for column in WRITTEN_BY_A_RUN])
    head: Head = {"TIMESYS": "TDB", **zero_point(told)}
    paths = [directory / f"{name}.ecsv", directory / f"{name}.fits"]
    write_atomically(paths[0], partial(write_ecsv, table, head))
    write_atomically(paths[1], partial(write_fits, table, head))
    return paths


def zero_point(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the head of a file says of the zero point of its points; nothing where there is none."""
    medians = {}
    for key, name in (("ZPTMAG", "zeropoint"), ("ZPTMUCER", "zeropoint_uncertainty")):
        values = numbers(rows, name)
        if np.isfinite(values).any():
            medians[key] = float(np.nanmedian(values))
    return medians


def one_line(text: str) -> str:
    """Text without control characters."""
    return _CONTROL.sub(" ", text)


def write_ecsv(table: Table, head: Head, path: Path) -> None:
    """ECSV 1.0; UCDs are in the columns' meta."""
    told = with_text(table, one_line)
    told.meta.update(head)
    told.write(path, format="ascii.ecsv", overwrite=True)


def write_fits(table: Table, head: Head, path: Path) -> None:
    """FITS binary table with TUNITn, TCOMMn and TUCDn; text in ASCII, other letters escaped."""
    told = with_text(table, _ascii)
    hdu = fits.BinTableHDU(
        Table([np.asarray(column) for column in told.columns.values()], names=told.colnames)
    )
    hdu.name = "LIGHTCURVE"
    for number, column in enumerate(told.columns.values(), start=1):
        if column.unit is not None:
            hdu.header[f"TUNIT{number}"] = unit_text(column.unit)
        hdu.header[f"TCOMM{number}"] = column.description
        hdu.header[f"TUCD{number}"] = column.meta["ucd"]
    for key, value in head.items():
        hdu.header[key] = (_ascii(value)[:68] if isinstance(value, str) else value, _COMMENTS.get(key))
    hdu.header["JDREF"] = (0.0, "bjd_tdb is a full Julian date")
    write_hdus(fits.HDUList([fits.PrimaryHDU(), hdu]), path)


def with_text(table: Table, clean: Callable[[str], str]) -> Table:
    """A copy with every text cell cleaned."""
    told = table.copy()
    for column in table.columns.values():
        if column.dtype.kind == "U":
            values = np.array([clean(str(value)) for value in column], dtype=str)
            told[column.name] = type(column)(values, description=column.description, meta=dict(column.meta))
    return told


def unit_text(unit: Any) -> str:
    """A unit as the dictionary of columns spells it."""
    return str(unit).replace(" ", "")


def _ascii(text: str) -> str:
    return one_line(text).encode("ascii", "backslashreplace").decode("ascii")
