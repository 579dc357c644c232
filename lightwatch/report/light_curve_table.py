"""Light curves as astropy tables: a row per point source and frame, or per night."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from astropy.table import Table

import lightwatch
from lightwatch.flags import DOUBTFUL, Flag
from lightwatch.processes import lightcurve
from lightwatch.structure import queries, queries_report
from lightwatch.structure.light_curve_columns import LIGHT_CURVE, NIGHTLY, numbers, table_of
from lightwatch.structure.light_curve_files import zero_point
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_NIGHT_CLIP_SIGMA = 3.0


def light_curve_rows(workspace: Workspace, roi: str | None = None) -> list[Row]:
    """Current points with covariates, by ROI, filter, source and time; none before the first model."""
    if not workspace.has_database:
        return []
    found = queries.rows(workspace.reader, queries_report.light_curves_with_covariates())
    return [row for row in found if roi is None or row["roi"] == roi]


def by_roi_and_filter(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows grouped by (ROI, filter): magnitudes of different filters are never mixed."""
    return {key: list(group) for key, group in groupby(rows, key=lambda row: (row["roi"], row["filter"]))}


def flux_kind(rows: Iterable[Row]) -> str:
    """How points of a light curve were measured: "aperture", or "psf" as part of the joint model.

    In apertures are the points of a single source whose reference stars were measured so: they have no chi2.
    """
    in_apertures = any(row["flux_kind"] == "aperture" and row["reduced_chi2"] is None for row in rows)
    return "aperture" if in_apertures else "psf"


def light_curve_table(rows: Sequence[Row]) -> Table:
    """Points as a table with units, descriptions and UCDs; unknown numbers are NaN."""
    told = [
        {**row, "frame": row["image_relpath"], "flag_names": " ".join(Flag(row["flags"]).names)}
        for row in rows
    ]
    return table_of(told, LIGHT_CURVE)


def nightly_table(workspace: Workspace, rows: Sequence[Row]) -> Table:
    """Nightly means of points of one filter; doubtful points take no part."""
    settings = workspace.config.light_curves
    told: list[dict[str, Any]] = []
    for (roi, filter_name, source), group in groupby(
        rows, key=lambda row: (row["roi"], row["filter"], row["point_source"])
    ):
        common = {"roi": roi, "filter": filter_name, "point_source": source}
        nights = _nights(list(group), gap_days=settings.night_gap_days, limit_sigma=settings.limit_sigma)
        told += [{**common, **night} for night in nights]
    return table_of(told, NIGHTLY)


def _nights(rows: Sequence[Row], *, gap_days: float, limit_sigma: float) -> list[dict[str, Any]]:
    mjd, bjd, flux, sigma, zeropoint = (
        numbers(rows, name) for name in ("mjd", "bjd_tdb", "flux", "flux_uncertainty", "zeropoint")
    )
    good = np.array([not row["flags"] & DOUBTFUL for row in rows])
    means = lightcurve.nightly_means(
        mjd, flux, sigma, good, night_gap_days=gap_days, clip_sigma=_NIGHT_CLIP_SIGMA
    )
    # one scale per filter: its zero point is the same for all frames up to the frames without one
    known = zeropoint[np.isfinite(zeropoint)]
    mags = lightcurve.magnitudes(
        means.flux, means.flux_uncertainty, np.array(np.median(known) if len(known) else np.nan),
        detection_sigma=limit_sigma, limit_sigma=limit_sigma,
    )  # fmt: skip
    dated = np.isfinite(bjd)
    # the light travel time is a straight line within a night
    mean_bjd = (
        np.interp(means.mjd, mjd[dated], bjd[dated]) if dated.any() else np.full(len(means.mjd), np.nan)
    )
    columns = {
        "bjd_tdb": mean_bjd, "mjd": means.mjd, "flux": means.flux, "flux_uncertainty": means.flux_uncertainty,
        "flux_scatter": means.scatter, "mag": mags.mag, "mag_uncertainty_up": mags.mag_uncertainty_up,
        "mag_uncertainty_down": mags.mag_uncertainty_down, "mag_limit": mags.limiting_mag,
        "reduced_chi2": means.reduced_chi2, "n_points": means.n_points, "n_rejected": means.n_rejected,
    }  # fmt: skip
    return [{name: values[i] for name, values in columns.items()} for i in range(len(means.mjd))]


def magnitude_system(workspace: Workspace) -> dict[str, str]:
    """Band, system and catalogue behind the magnitudes; empty where there is no zero point."""
    footprints = queries.rows(workspace.reader, queries.current_footprint())
    band = workspace.config.zeropoints.band
    found = (
        queries.rows(workspace.reader, queries_report.zeropoint_systems(footprints[0]["hash"], band))
        if footprints
        else []
    )
    if not found:
        return {}
    return {"band": band, "system": found[0]["system"], "catalog": found[0]["source_catalog"]}


def metadata(workspace: Workspace, rows: Sequence[Row]) -> dict[str, str | float]:
    """What belongs at the head of a file of points of one ROI and filter; keys that FITS can hold."""
    roi, filter_name = rows[0]["roi"], rows[0]["filter"]
    ra, dec = workspace.config.rois[roi].coordinates if roi in workspace.config.rois else (np.nan, np.nan)
    told = magnitude_system(workspace)
    head: dict[str, str | float] = {
        "ORIGIN": f"lightwatch {lightwatch.__version__}",
        "OBJECT": roi,
        "FILTER": filter_name or "unknown",
        "TIMESYS": "TDB",
        "TIMEUNIT": "d",
        "TREFPOS": "BARYCENTER",
        "MAGBAND": told.get("band", "unknown"),
        "MAGSYS": told.get("system", "unknown"),
        "MAGCAT": told.get("catalog", "unknown"),
        "LIMSIGMA": workspace.config.light_curves.limit_sigma,
        "FLUXKIND": flux_kind(rows),
        **zero_point(rows),
    }
    return head | ({"RA_OBJ": ra, "DEC_OBJ": dec} if np.isfinite(ra) else {})
