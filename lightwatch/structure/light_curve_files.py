"""Light curves as ECSV and FITS tables that any astronomer's tool reads."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from lightwatch.structure.files import write_atomically

#: name: (unit, description), in the order of the file
COLUMNS: dict[str, tuple[str | None, str]] = {
    "point_source": (None, "label of the point source"),
    "frame_id": (None, "id of the frame in the database"),
    "filter": (None, "filter of the frame"),
    "bjd_tdb": ("d", "barycentric Julian date (TDB) of mid-exposure"),
    "mjd": ("d", "modified Julian date (UTC) of mid-exposure"),
    "flux": ("electron/s", "flux on the normalised scale"),
    "flux_uncertainty": ("electron/s", "1 sigma of flux"),
    "mag": ("mag", "magnitude; empty for a non-detection"),
    "mag_uncertainty_up": ("mag", "1 sigma towards fainter"),
    "mag_uncertainty_down": ("mag", "1 sigma towards brighter"),
    "mag_limit": ("mag", "limit of a non-detection"),
    "zeropoint": ("mag", "magnitude of 1 electron/s"),
    "reduced_chi2": (None, "of the model in the epoch's cutout"),
    "seeing_arcseconds": ("arcsec", "FWHM of stars"),
    "flags": (None, "bits of lightwatch.flags.Flag"),
}


def write_light_curves(directory: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write ``NAME.ecsv`` and ``NAME.fits``; rows in order of source and time."""
    table = _table(sorted(rows, key=lambda row: (row["point_source"], row["mjd"])))
    paths = [directory / f"{name}.ecsv", directory / f"{name}.fits"]
    write_atomically(paths[0], lambda path: table.write(path, format="ascii.ecsv", overwrite=True))
    write_atomically(paths[1], lambda path: _write_fits(table, path))
    return paths


def _write_fits(table: Table, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", AstropyUserWarning
        )  # FITS knows no "electron"; readers see it all the same
        table.write(path, format="fits", overwrite=True)


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table()
    for name, (unit, description) in COLUMNS.items():
        values = [row.get(name) for row in rows]
        if name in ("frame_id", "flags"):
            column = np.array(values, dtype=np.int64)
        elif name in ("point_source", "filter"):
            column = np.array([str(value) for value in values])
        else:
            column = np.array([np.nan if value is None else value for value in values], dtype=float)
        table[name] = column
        table[name].description = description
        if unit:
            table[name].unit = unit
    table.meta["TIMESYS"] = "TDB"
    return table
