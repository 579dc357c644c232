"""The columns of light curves: one dictionary for the files of a run, every format of export, and the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray


@dataclass(frozen=True)
class Column:
    """A column: ``unit`` in the FITS standard's spelling ('' = none), ``ucd`` an IVOA UCD1+ ('' = none)."""

    name: str
    kind: Literal["number", "integer", "text"]
    unit: str
    ucd: str
    description: str


_FLUX_UCD = "phot.flux;em.opt"
_MAG_UCD = "phot.mag;em.opt"

_MAG_UP = Column(
    "mag_uncertainty_up",
    "number",
    "mag",
    f"stat.error;{_MAG_UCD}",
    "1 sigma of mag towards fainter, without that of the zero point",
)
_MAG_LIMIT = Column(
    "mag_limit",
    "number",
    "mag",
    f"{_MAG_UCD};stat.max",
    "upper limit in brightness; only where there is no mag",
)
_MAG_DOWN = Column(
    "mag_uncertainty_down",
    "number",
    "mag",
    f"stat.error;{_MAG_UCD}",
    "1 sigma of mag towards brighter, without that of the zero point",
)

#: one row per point source and frame, in the order of the files: when, flux, magnitude, conditions, identity
LIGHT_CURVE: tuple[Column, ...] = (
    Column(
        "bjd_tdb", "number", "d", "time.epoch", "barycentric Julian date (TDB) of mid-exposure at the ROI"
    ),
    Column("mjd", "number", "d", "time.epoch", "modified Julian date (UTC) of mid-exposure at the telescope"),
    Column("exptime", "number", "s", "time.duration;obs.exposure", "exposure time"),
    Column("roi", "text", "", "meta.id", "region of interest"),
    Column("point_source", "text", "", "meta.id;meta.main", "label of the point source in its ROI"),
    Column("filter", "text", "", "meta.id;instr.filter", "filter of the frame"),
    Column("flux", "number", "electron/s", _FLUX_UCD, "flux of the whole PSF on the normalised scale"),
    Column(
        "flux_uncertainty",
        "number",
        "electron/s",
        f"stat.error;{_FLUX_UCD}",
        "1 sigma of flux: its parts of photons, background and normalization in quadrature",
    ),
    Column(
        "photon_uncertainty",
        "number",
        "electron/s",
        f"stat.error;{_FLUX_UCD}",
        "part of flux_uncertainty: photons of source and sky, shift and local background of the epoch",
    ),
    Column(
        "background_uncertainty",
        "number",
        "electron/s",
        f"stat.error;{_FLUX_UCD}",
        "part of flux_uncertainty: what errors of the common background and positions change from epoch to epoch",
    ),
    Column(
        "normalization_uncertainty",
        "number",
        "electron/s",
        f"stat.error;{_FLUX_UCD}",
        "part of flux_uncertainty: flux times the relative 1 sigma of the frame's normalization coefficient",
    ),
    Column("mag", "number", "mag", _MAG_UCD, "magnitude; empty for a non-detection"),
    _MAG_UP,
    _MAG_DOWN,
    _MAG_LIMIT,
    Column(
        "zeropoint", "number", "mag", "phot.mag;arith.zp", "magnitude of 1 electron/s of the normalised scale"
    ),
    Column(
        "zeropoint_uncertainty",
        "number",
        "mag",
        "stat.error;phot.mag;arith.zp",
        "1 sigma of zeropoint, common to all points and part of no other uncertainty",
    ),
    Column("airmass", "number", "", "obs.airMass", "airmass at mid-exposure"),
    Column("seeing_arcseconds", "number", "arcsec", "instr.obsty.seeing", "FWHM of the stars"),
    Column("sky_level_electron_per_second", "number", "electron/s", "instr.skyLevel", "sky per pixel"),
    Column("normalization_coefficient", "number", "", "arith.factor", "the frame was divided by it"),
    Column("normalization_coefficient_uncertainty", "number", "", "stat.error", "its 1 sigma, all parts"),
    Column(
        "x", "number", "pix", "pos.cartesian.x;instr.det", "column on the frame by its WCS, first pixel 0"
    ),
    Column("y", "number", "pix", "pos.cartesian.y;instr.det", "row on the frame by its WCS, first pixel 0"),
    Column("dx", "number", "pix", "pos.cartesian.x;arith.diff", "shift of the epoch in x against its WCS"),
    Column("dy", "number", "pix", "pos.cartesian.y;arith.diff", "shift of the epoch in y against its WCS"),
    Column(
        "local_background", "number", "electron/s", "instr.background", "constant under the ROI, per pixel"
    ),
    Column("psf_chi2", "number", "", "stat.fit.chi2", "reduced chi2 of the frame's PSF"),
    Column("reduced_chi2", "number", "", "stat.fit.chi2", "reduced chi2 of the model in the epoch's cutout"),
    Column("flags", "integer", "", "meta.code.qual", "bits of lightwatch.flags.Flag, 0 = good"),
    Column("flag_names", "text", "", "meta.code.qual", "the bits of flags by name"),
    Column("frame_id", "integer", "", "meta.id;obs.image", "id of the frame in the database"),
    Column("frame", "text", "", "meta.id;obs.image;meta.file", "file of the frame, relative to the workdir"),
)

#: one row per point source and night
NIGHTLY: tuple[Column, ...] = (
    Column("bjd_tdb", "number", "d", "time.epoch;stat.mean", "weighted mean of the night, BJD (TDB)"),
    Column("mjd", "number", "d", "time.epoch;stat.mean", "weighted mean of the night, MJD (UTC)"),
    Column("roi", "text", "", "meta.id", "region of interest"),
    Column("point_source", "text", "", "meta.id;meta.main", "label of the point source in its ROI"),
    Column("filter", "text", "", "meta.id;instr.filter", "filter of the frames"),
    Column("flux", "number", "electron/s", f"{_FLUX_UCD};stat.mean", "weighted mean flux"),
    Column(
        "flux_uncertainty",
        "number",
        "electron/s",
        f"stat.error;{_FLUX_UCD}",
        "1 sigma of the mean, scaled up where the points scatter more than their errors say",
    ),
    Column(
        "flux_scatter", "number", "electron/s", f"stat.stdev;{_FLUX_UCD}", "standard deviation in the night"
    ),
    Column("mag", "number", "mag", _MAG_UCD, "magnitude of the mean flux; empty for a non-detection"),
    _MAG_UP,
    _MAG_DOWN,
    _MAG_LIMIT,
    Column("reduced_chi2", "number", "", "stat.fit.chi2", "reduced chi2 of the points around their mean"),
    Column("n_points", "integer", "", "meta.number", "points used"),
    Column("n_rejected", "integer", "", "meta.number", "points left out as outliers of the night"),
)


def numbers(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """A column of rows (n,), NaN where unknown."""
    return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float)


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Table:
    """Rows as a table with units, descriptions and UCDs."""
    table = Table()
    for column in columns:
        if column.kind == "text":
            values: NDArray[Any] = np.array([str(row[column.name]) for row in rows], dtype=str)
        elif column.kind == "integer":
            values = np.array([row[column.name] for row in rows], dtype=np.int64)
        else:
            values = numbers(rows, column.name)
        table[column.name] = values
        table[column.name].description = column.description
        table[column.name].meta["ucd"] = column.ucd
        if column.unit:
            table[column.name].unit = column.unit
    return table
