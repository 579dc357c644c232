"""A light curve in a notebook: as a table, and as the time series of astropy and lightkurve.

>>> from lightwatch.report.series import light_curve  # doctest: +SKIP
>>> series = light_curve("A", filter="r_sdss").to_timeseries()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from astropy.time import Time
from astropy.timeseries import TimeSeries

from lightwatch.errors import ConfigError, InputError, NoUsableData
from lightwatch.report.light_curve_table import light_curve_rows, light_curve_table, metadata
from lightwatch.report.places import with_places
from lightwatch.structure import upgrade
from lightwatch.structure.workspace import Workspace

if TYPE_CHECKING:
    import lightkurve

#: the same in all rows of one light curve: told once, in ``meta``
_COMMON = ("roi", "point_source", "filter")


@dataclass(frozen=True)
class LightCurve:
    """All points of one point source in one filter, in order of time, doubtful ones too (see ``flags``).

    ``table`` has the columns of an exported file (docs/columns.md) with units, descriptions and UCDs.
    """

    roi: str
    point_source: str
    filter: str
    table: Table

    def to_timeseries(self) -> TimeSeries:
        """The same as a time series: ``time`` is the barycentric date on the scale TDB, numbers have units.

        Unknown numbers are NaN; points without a barycentric date are left out.
        """
        dated = self.table[np.isfinite(self.table["bjd_tdb"])]
        series = TimeSeries(time=Time(np.asarray(dated["bjd_tdb"]), format="jd", scale="tdb"))
        series.meta.update(self.table.meta)
        for column in dated.columns.values():
            if column.name == "bjd_tdb" or column.name in _COMMON:
                continue
            series[column.name] = column if column.unit is None else column.quantity
            series[column.name].info.description = column.description
            series[column.name].info.meta = dict(column.meta)
        return series

    def to_lightkurve(self) -> lightkurve.LightCurve:
        """The same for lightkurve: ``flux_err`` is ``flux_uncertainty``, ``quality`` is ``flags`` (0 = good).

        Raises
        ------
        ConfigError
            When lightkurve is not installed.
        """
        if importlib.util.find_spec("lightkurve") is None:
            raise ConfigError("to_lightkurve needs lightkurve: pip install lightkurve")
        import lightkurve

        series = self.to_timeseries()
        names = {"flux_uncertainty": "flux_err", "flags": "quality"}
        meta = {**series.meta, "LABEL": f"{self.roi} {self.point_source} {self.filter}"}
        for ours, theirs in (("RA_OBJ", "RA"), ("DEC_OBJ", "DEC")):
            if ours in meta:  # an ROI that the config no longer has is nowhere
                meta[theirs] = meta.pop(ours)
        curve = lightkurve.LightCurve(
            time=series.time,
            flux=series["flux"],
            flux_err=series["flux_uncertainty"],
            meta=meta,
        )
        for name in series.colnames:
            if name not in ("time", "flux", "flux_uncertainty"):
                curve[names.get(name, name)] = series[name]
        return curve


def light_curve(
    point_source: str | None = None,
    *,
    roi: str | None = None,
    filter: str | None = None,  # noqa: A002 - the name of the column
    workspace: Workspace | None = None,
) -> LightCurve:
    """The light curve of a point source; what is not told apart by a name may be left out.

    Without a workspace, of the workdir whose config file the variable LIGHTWATCH_CONFIG names.

    Raises
    ------
    NoUsableData
        Before the first light curve.
    SchemaError
        When another version of lightwatch has made the database.
    InputError
        ``no_such_light_curve`` or ``which_light_curve``, with those that there are.
    """
    wanted = (roi, point_source, filter)
    if workspace is not None:
        return _light_curve(workspace, wanted)
    opened = Workspace.open()
    try:
        return _light_curve(opened, wanted)
    finally:
        opened.close()


def _light_curve(workspace: Workspace, wanted: tuple[str | None, str | None, str | None]) -> LightCurve:
    if workspace.has_database:
        upgrade.refuse_older(workspace.reader)
    rows = light_curve_rows(workspace)
    if not rows:
        raise NoUsableData("no light curves yet: run the pipeline through model_calibrated_cutouts first")
    known = sorted({(row["roi"], row["point_source"], row["filter"]) for row in rows})
    found = [key for key in known if all(want in (None, has) for want, has in zip(wanted, key, strict=True))]
    if len(found) != 1:
        code, text = (
            ("which_light_curve", f"{len(found)} light curves are meant")
            if found
            else ("no_such_light_curve", "there is no such light curve")
        )
        there = ", ".join(
            f"(roi={r!r}, point_source={p!r}, filter={f!r})" for r, p, f in (found or known)[:20]
        )
        raise InputError(code, f"{text}; there are {there}")
    key = found[0]
    points = [row for row in rows if (row["roi"], row["point_source"], row["filter"]) == key]
    table = light_curve_table(with_places(workspace.reader, points))
    table.meta.update(metadata(workspace, points), POINT_SOURCE=key[1])
    return LightCurve(*key, table)
