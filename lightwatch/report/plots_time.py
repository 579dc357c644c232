"""Figures over time and of the stars as an ensemble: photometry, calibration, quality, light curves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightwatch.flags import DOUBTFUL
from lightwatch.report.figure import (
    COLOURS,
    MARKERS,
    dates,
    empty,
    new_figure,
    panels,
    plain,
    soften,
    time_axis,
)
from lightwatch.report.light_curve_table import (
    by_roi_and_filter,
    light_curve_rows,
    magnitude_system,
)
from lightwatch.report.reading import all_frames, judged_stars
from lightwatch.report.star_scatter import calibration_by_filter, star_scatter
from lightwatch.structure import queries, queries_report
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_QUALITY = (
    ("seeing_arcseconds", "seeing, arcsec"),
    ("sky_level_electron_per_second", "sky, electron/s/px"),
    ("airmass", "airmass"),
    ("ellipticity", "ellipticity"),
    ("psf_chi2", "PSF, reduced χ²"),
    ("psf_reserved_chi2", "reserved stars, reduced χ²"),
    ("coefficient", "normalization"),
    ("zeropoint", "zero point, mag"),
    ("limiting_magnitude", "5σ limit, mag"),
)


def plot_star_photometry(workspace: Workspace, filter_name: str | None = None) -> Figure:
    """Scatter of the normalised flux of each reference star against its magnitude, a panel per filter."""
    if not workspace.has_database:
        return empty("no star photometry yet")
    fluxes = queries.rows(workspace.reader, queries_report.star_fluxes_on_frames())
    frames = all_frames(workspace)
    found = star_scatter(fluxes, judged_stars(workspace), *calibration_by_filter(frames))
    found = [one for one in found if filter_name in (None, one.filter)]
    if not found:
        return empty("not enough star photometry yet")
    figure = new_figure(8, 4 * len(found))
    for axes, one in zip(panels(figure, len(found), 1)[:, 0], found, strict=True):
        kept = ~one.disowned
        order = np.argsort(one.mag)
        axes.semilogy(one.mag[kept], one.scatter[kept], "o", color=COLOURS[0], label="stars")
        if one.disowned.any():
            axes.semilogy(one.mag[~kept], one.scatter[~kept], "x", color=COLOURS[1], label="disowned")
        axes.semilogy(one.mag[order], one.stated[order], color=COLOURS[2], label="stated uncertainty")
        axes.semilogy(one.line_mag, one.photon_noise, "--", color="0.4", label="the star's photons alone")
        for name, mag, scatter in zip(one.names, one.mag, one.scatter, strict=True):
            axes.annotate(name, (mag, scatter), (3, 3), textcoords="offset points", fontsize=7, color="0.4")
        axes.set(xlabel=one.mag_label, ylabel="fractional scatter")
        axes.set_title(f"filter {one.filter or 'unknown'}", fontsize=10, parse_math=False)
        axes.legend(frameon=False, fontsize=8)
        soften(axes)
    return figure


def plot_normalization(workspace: Workspace) -> Figure:
    """Coefficients over time, and each star's normalised flux over its median."""
    frames = [row for row in all_frames(workspace) if row["coefficient"] is not None]
    if not frames:
        return empty("no normalization coefficients yet")
    figure = new_figure(10, 6)
    top, bottom = panels(figure, 2, 1, sharex=True)[:, 0]
    _by_filter(top, frames, "coefficient", "coefficient_uncertainty")
    top.set_ylabel("coefficient")
    fluxes = queries.rows(workspace.reader, queries_report.star_fluxes_on_frames())
    known = [row for row in fluxes if row["normalised_flux"] is not None]
    known.sort(key=lambda row: (row["filter"] or "", row["star_gaia_id"]))
    for _key, group in groupby(known, key=lambda row: (row["filter"], row["star_gaia_id"])):
        rows = list(group)
        flux = np.array([row["normalised_flux"] for row in rows])
        if np.median(flux) > 0:
            bottom.plot(dates([row["mjd_mid"] for row in rows]), flux / np.median(flux), ".", ms=3, alpha=0.5)
    bottom.set(ylabel="normalised flux / median", ylim=(0.9, 1.1))
    time_axis(bottom)
    return figure


def plot_zeropoints(workspace: Workspace) -> Figure:
    """Zero points over time."""
    frames = [row for row in all_frames(workspace) if row["zeropoint"] is not None]
    if not frames:
        return empty("no zero points yet")
    figure = new_figure(10, 3.6)
    axes = panels(figure, 1, 1)[0, 0]
    _by_filter(axes, frames, "zeropoint", "zeropoint_uncertainty")
    axes.set_ylabel("magnitude of 1 electron/s")
    axes.set_title(_system(workspace), fontsize=10, parse_math=False)
    return figure


def plot_quality(workspace: Workspace) -> Figure:
    """Seeing, sky, airmass, PSF, normalization, zero point and depth over time."""
    frames = [row for row in all_frames(workspace) if not row["eliminated"]]
    told = [(name, label) for name, label in _QUALITY if any(row[name] is not None for row in frames)]
    if not told:
        return empty("no frame yet")
    figure = new_figure(10, 1.7 * len(told))
    for axes, (name, label) in zip(panels(figure, len(told), 1, sharex=True)[:, 0], told, strict=True):
        _by_filter(axes, [row for row in frames if row[name] is not None], name, None)
        axes.set_ylabel(label, fontsize=8)
    return figure


def plot_light_curves(
    workspace: Workspace, roi: str | None = None, quantity: Literal["mag", "flux"] = "mag"
) -> Figure:
    """Light curves, a panel per ROI and filter; doubtful points hollow, limits as arrows."""
    curves = by_roi_and_filter(light_curve_rows(workspace, roi))
    if not curves:
        return empty("no light curves yet")
    figure = new_figure(10, 3.8 * len(curves))
    for axes, ((name, filter_name), rows) in zip(
        panels(figure, len(curves), 1)[:, 0], curves.items(), strict=True
    ):
        for k, (source, group) in enumerate(groupby(rows, key=lambda row: row["point_source"])):
            _curve(axes, list(group), quantity, COLOURS[k % 6], MARKERS[k % 6], plain(source))
        axes.set_title(f"{name}, filter {filter_name or 'unknown'}", fontsize=10, parse_math=False)
        axes.set_ylabel(f"magnitude, {_system(workspace)}" if quantity == "mag" else "flux, electron/s")
        if quantity == "mag":
            axes.invert_yaxis()
        axes.legend(frameon=False, fontsize=9, ncols=6)
        time_axis(axes)
    return figure


def _curve(axes: Axes, rows: Sequence[Row], quantity: str, colour: str, marker: str, label: str) -> None:
    errors = (
        ("mag_uncertainty_down", "mag_uncertainty_up") if quantity == "mag" else ("flux_uncertainty",) * 2
    )
    style: dict[str, Any] = {"color": colour, "fmt": marker, "ms": 4, "elinewidth": 0.8}
    for doubtful in (False, True):
        chosen = [
            row for row in rows if bool(row["flags"] & DOUBTFUL) == doubtful and row[quantity] is not None
        ]
        if chosen:
            spread = np.array([[row[name] for row in chosen] for name in errors], dtype=float)  # None: NaN
            look: dict[str, Any] = {"mfc": "none", "alpha": 0.6} if doubtful else {"label": label}
            when = dates([row["mjd"] for row in chosen])
            axes.errorbar(when, [row[quantity] for row in chosen], spread, **style, **look)
    limits = [row for row in rows if row["mag_limit"] is not None] if quantity == "mag" else []
    if limits:
        when = dates([row["mjd"] for row in limits])
        axes.plot(when, [row["mag_limit"] for row in limits], "v", mfc="none", color=colour, ms=5)


def _by_filter(axes: Axes, rows: Sequence[Row], name: str, error: str | None) -> None:
    filters = sorted({row["filter"] or "" for row in rows})
    for k, filter_name in enumerate(filters):
        own = [row for row in rows if (row["filter"] or "") == filter_name]
        spread = np.array([row[error] for row in own], dtype=float) if error else None
        axes.errorbar(
            dates([row["mjd_mid"] for row in own]),
            [row[name] for row in own],
            spread,
            fmt=MARKERS[k % 6],
            ms=3.5,
            color=COLOURS[k % 6],
            elinewidth=0.8,
            label=plain(filter_name or "unknown"),
        )
    if len(filters) > 1:
        axes.legend(frameon=False, fontsize=8, ncols=6)
    time_axis(axes)


def _system(workspace: Workspace) -> str:
    told = magnitude_system(workspace)
    return plain(f"{told['band']} {told['system']}") if told else "instrumental"
