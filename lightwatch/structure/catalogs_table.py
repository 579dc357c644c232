"""The reference catalogue as arrays, and as a table on disk."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from lightwatch.errors import CatalogError
from lightwatch.structure.files import write_atomically
from lightwatch.structure.frames_guard import shown

_FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".fits": "fits",
    ".fit": "fits",
    ".vot": "votable",
    ".xml": "votable",
    ".votable": "votable",
    ".parquet": "parquet",
}
_REQUIRED = ("source_id", "ra", "dec", "phot_g_mean_mag")
_UNITS = {
    "ra": "deg",
    "dec": "deg",
    "ref_epoch": "yr",
    "pmra": "mas / yr",
    "pmdec": "mas / yr",
    "phot_g_mean_mag": "mag",
    "phot_bp_mean_mag": "mag",
    "phot_rp_mean_mag": "mag",
    "astrometric_excess_noise": "mas",
}
#: values outside cannot be meant; NaN passes where the column may be unknown
_RANGES = {
    "ra": (0.0, 360.0),
    "dec": (-90.0, 90.0),
    "phot_g_mean_mag": (-30.0, 40.0),
    "ref_epoch": (1800.0, 2200.0),
}
_SPELLINGS = {"phot_variable_flag": "phot_variable"}  # as in the Gaia archive
_READER_ERRORS = (OSError, ValueError, TypeError, LookupError, ImportError, ArithmeticError, UnicodeError)


@dataclass(frozen=True)
class ReferenceCatalog:
    """Stars of one region, sorted by source_id; every column (n,), read-only, NaN where unknown."""

    source_id: NDArray[np.int64]
    ra: NDArray[np.float64]  # deg ICRS at ref_epoch
    dec: NDArray[np.float64]
    ref_epoch: NDArray[np.float64]  # Julian year
    pmra: NDArray[np.float64]  # mas/yr, with cos(dec)
    pmdec: NDArray[np.float64]
    phot_g_mean_mag: NDArray[np.float64]
    phot_bp_mean_mag: NDArray[np.float64]
    phot_rp_mean_mag: NDArray[np.float64]
    phot_g_mean_flux_over_error: NDArray[np.float64]
    astrometric_excess_noise: NDArray[np.float64]  # mas
    astrometric_excess_noise_sig: NDArray[np.float64]
    phot_variable: NDArray[np.float64]  # 1 variable, 0 not, NaN unknown
    name: str  # gaia, frames, or the stem of the table's file name
    release: str  # gaia_dr3, ...; empty when unknown

    def __len__(self) -> int:
        return len(self.source_id)

    @property
    def digest(self) -> str:
        """blake2b of the content; neither the order of the rows nor the name matters."""
        digest = blake2b(digest_size=32)
        for column in COLUMNS:
            values = getattr(self, column)
            # one bit pattern for every NaN, and for both zeros
            plain = values if column == "source_id" else np.where(np.isnan(values), np.nan, values + 0.0)
            digest.update(column.encode() + np.ascontiguousarray(plain).tobytes())
        return digest.hexdigest()

    def taken(self, which: NDArray[Any]) -> ReferenceCatalog:
        """The stars at these indices, or where a boolean array is True."""
        columns = {column: getattr(self, column)[which] for column in COLUMNS}
        return make_catalog(columns, name=self.name, release=self.release)

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float) -> ReferenceCatalog:
        """The stars within ``radius_deg`` of a position."""
        ra, dec = np.radians(self.ra - ra_deg), np.radians(self.dec)
        centre = np.radians(dec_deg)
        half = np.sin((dec - centre) / 2) ** 2 + np.cos(dec) * np.cos(centre) * np.sin(ra / 2) ** 2
        return self.taken(half <= np.sin(np.radians(min(radius_deg, 180.0)) / 2) ** 2)


COLUMNS = tuple(field.name for field in fields(ReferenceCatalog) if field.name not in ("name", "release"))


def make_catalog(columns: Mapping[str, Any], *, name: str, release: str) -> ReferenceCatalog:
    """A catalogue from columns (n,) of which only source_id, ra, dec, phot_g_mean_mag must be there."""
    source_id = np.asarray(columns["source_id"], dtype=np.int64)
    order = np.argsort(source_id, kind="stable")
    arrays: dict[str, NDArray[Any]] = {"source_id": source_id[order]}
    for column in COLUMNS[1:]:
        given = columns.get(column)
        values = np.full(len(order), np.nan) if given is None else np.asarray(given, dtype=np.float64)[order]
        arrays[column] = values
    for values in arrays.values():
        values.flags.writeable = False
    return ReferenceCatalog(**arrays, name=name, release=release)


def read_catalog(path: Path) -> ReferenceCatalog:
    """Read csv, ecsv, fits, votable or parquet (gzipped or not) with Gaia column names.

    source_id, ra, dec and phot_g_mean_mag are required.
    Raises CatalogError: ``missing_file``, ``bad_table``, ``no_stars``.
    """
    if not path.is_file():
        raise CatalogError("missing_file", f"{path}: there is no such catalogue")
    suffix = next((s.lower() for s in reversed(path.suffixes) if s.lower() != ".gz"), "")
    if suffix not in _FORMATS:
        raise CatalogError("bad_table", f"{path}: {suffix or 'no suffix'}; known are {', '.join(_FORMATS)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = _read_parquet(path) if suffix == ".parquet" else Table.read(path, format=_FORMATS[suffix])
    except _READER_ERRORS as error:
        why = shown(str(error).strip().split("\n")[0])
        raise CatalogError("bad_table", f"{path}: cannot be read as {suffix}: {why}") from error
    stem = path.name.removesuffix(".gz").removesuffix(Path(path.name.removesuffix(".gz")).suffix)
    name = str(table.meta.get("catalog_name") or stem)
    return catalog_of_table(table, name=name, release=str(table.meta.get("release") or ""), where=str(path))


def _read_parquet(path: Path) -> Table:
    """A parquet file by pyarrow alone (astropy's reader needs pandas); needs the extra ``parquet``."""
    from pyarrow import parquet

    columns = parquet.read_table(path)
    wanted = {name for name in columns.column_names if name.lower() in {*COLUMNS, *_SPELLINGS}}
    table = Table()
    for name in sorted(wanted):
        column = columns.column(name).combine_chunks()
        missing = column.is_null().to_numpy(zero_copy_only=False)
        filled = column.fill_null("" if str(column.type).endswith("string") else 0)
        table[name] = np.ma.array(filled.to_numpy(zero_copy_only=False), mask=missing)
    return table


def catalog_of_table(table: Table, *, name: str, release: str, where: str) -> ReferenceCatalog:
    """Check the columns of a table, value by value.  Raises CatalogError naming column and row."""
    found = {_SPELLINGS.get(column.lower(), column.lower()): column for column in table.colnames}
    missing = [column for column in _REQUIRED if column not in found]
    if missing:
        raise CatalogError(
            "bad_table", f"{where}: no column {', '.join(missing)}; it has {shown(', '.join(table.colnames))}"
        )
    if len(table) == 0:
        raise CatalogError("no_stars", f"{where}: holds no star")
    columns = {column: _column(table[found[column]], column, where) for column in COLUMNS if column in found}
    for column, (low, high) in _RANGES.items():
        if column in columns:
            values = columns[column]
            unknown_allowed = column not in ("ra", "dec")
            wrong = ~((values >= low) & (values <= high)) & ~(np.isnan(values) & unknown_allowed)
            _refuse_rows(wrong, table[found[column]], column, f"{low:g} to {high:g}", where)
    _, first, counts = np.unique(columns["source_id"], return_index=True, return_counts=True)
    if np.any(counts > 1):
        twice = np.isin(np.arange(len(table)), first[counts > 1])
        _refuse_rows(twice, table[found["source_id"]], "source_id", "each star once", where)
    return make_catalog(columns, name=name, release=release)


def _column(column: Any, name: str, where: str) -> NDArray[Any]:
    if name == "source_id":
        return _source_ids(column, where)
    if name == "phot_variable" and column.dtype.kind in "USO":
        return _variability(np.ma.filled(np.ma.asarray(column).astype(str), ""))
    values = np.ma.asarray(column)
    try:
        numbers = np.ma.filled(values.astype(np.float64), np.nan)
    except (ValueError, TypeError):
        wrong = np.array([not _is_number(value) for value in values])
        _refuse_rows(wrong, column, name, "a number", where)
        numbers = np.array(
            [float(v) if not np.ma.is_masked(v) and str(v).strip() else np.nan for v in values]
        )
    if column.unit is not None and name in _UNITS and str(column.unit) != "":
        try:
            numbers = numbers * u.Unit(column.unit).to(_UNITS[name])
        except (u.UnitConversionError, ValueError, TypeError) as error:
            raise CatalogError(
                "bad_table", f"{where}: column {name} is in {column.unit}, expected {_UNITS[name]}"
            ) from error
    numbers[~np.isfinite(numbers)] = np.nan
    return np.asarray(numbers, dtype=np.float64)


def _is_number(value: object) -> bool:
    try:
        return np.ma.is_masked(value) or not str(value).strip() or bool(float(str(value)) or True)
    except ValueError:
        return False


def _source_ids(column: Any, where: str) -> NDArray[np.int64]:
    """64-bit ids; floating-point columns have lost digits of Gaia ids and are refused."""
    values = np.ma.asarray(column)
    _refuse_rows(np.ma.getmaskarray(values), column, "source_id", "an id", where)
    if values.dtype.kind in "iu":
        ids = np.asarray(values.data)
        _refuse_rows(ids > np.iinfo(np.int64).max, column, "source_id", "a 64-bit integer", where)
        return ids.astype(np.int64)
    texts = [re.sub(r"^Gaia E?DR\d ", "", str(value).strip()) for value in values.data]
    whole = np.array([re.fullmatch(r"-?\d{1,18}|-?[1-8]\d{18}", text) is not None for text in texts])
    _refuse_rows(~whole, column, "source_id", "an integer written in full", where)
    return np.array([int(text) for text in texts], dtype=np.int64)


def _variability(texts: NDArray[np.str_]) -> NDArray[np.float64]:
    """Gaia's phot_variable_flag: VARIABLE, CONSTANT or NOT_AVAILABLE."""
    upper = np.char.upper(np.char.strip(texts))
    return np.where(upper == "VARIABLE", 1.0, np.where(upper == "CONSTANT", 0.0, np.nan))


def _refuse_rows(wrong: NDArray[np.bool_], column: Any, name: str, expected: str, where: str) -> None:
    """Raise when any row is wrong, showing the first (rows count from 1, without the header)."""
    if np.any(wrong):
        row = int(np.flatnonzero(wrong)[0])
        value = shown(str(column[row]))
        raise CatalogError(
            "bad_table",
            f"{where}: column {name}, row {row + 1}: {value}: expected {expected}"
            f" ({int(np.sum(wrong))} such rows)",
        )


def write_catalog(path: Path, catalog: ReferenceCatalog, *, comments: tuple[str, ...] = ()) -> None:
    """Write an ECSV table that ``read_catalog`` gives back unchanged; the file appears whole or not at all.

    Raises StorageError.
    """
    write_atomically(path, lambda temporary: fill_catalog(temporary, catalog, comments))


def fill_catalog(path: Path, catalog: ReferenceCatalog, comments: tuple[str, ...] = ()) -> None:
    """The table of ``write_catalog``, written as it comes."""
    table = Table({column: getattr(catalog, column) for column in COLUMNS})
    for column, unit in _UNITS.items():
        table[column].unit = unit
    table.meta = {"catalog_name": catalog.name, "release": catalog.release, "comments": list(comments)}
    table.write(path, format="ascii.ecsv", overwrite=True)
