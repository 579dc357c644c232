"""Figures for notebooks, one per step of the pipeline: ``plot_*(workspace, ...) -> Figure``.

Each draws what there is and says so where there is nothing yet. They are matplotlib figures outside of
pyplot: a notebook shows them, and ``figure.savefig(path)`` keeps them.
"""

from __future__ import annotations

import json

import numpy as np
from matplotlib.figure import Figure

from lightwatch.processes.astrometry_sky import sky_to_plane
from lightwatch.report.figure import COLOURS, empty, new_figure, panels, plain, soften
from lightwatch.report.plots_pixels import plot_cutouts, plot_psf, plot_roi_model, plot_sources, plot_stars
from lightwatch.report.plots_time import (
    plot_light_curves,
    plot_normalization,
    plot_quality,
    plot_star_photometry,
    plot_zeropoints,
)
from lightwatch.structure import queries, queries_report
from lightwatch.structure.workspace import Workspace

__all__ = [
    "plot_cutouts",
    "plot_footprints",
    "plot_light_curves",
    "plot_normalization",
    "plot_psf",
    "plot_quality",
    "plot_roi_model",
    "plot_sources",
    "plot_star_photometry",
    "plot_stars",
    "plot_zeropoints",
]


def plot_footprints(workspace: Workspace) -> Figure:
    """Footprints of the frames, dashed the area common to all, stars and ROIs; north up, east left."""
    polygons = (
        queries.rows(workspace.reader, queries_report.polygons_of_frames()) if workspace.has_database else []
    )
    if not polygons:
        return empty("no footprints yet")
    centre = next(iter(workspace.config.rois.values())).coordinates
    figure = new_figure(7, 7)
    axes = panels(figure, 1, 1)[0, 0]
    for row in polygons:
        axes.plot(*_closed(json.loads(row["polygon"]), centre), color="0.5", lw=0.6, alpha=0.4)
    for footprint in queries.rows(workspace.reader, queries.current_footprint()):
        for polygon in json.loads(footprint["common"]) if footprint["common"] else []:
            axes.fill(*_closed(polygon, centre), facecolor="none", edgecolor=COLOURS[2], ls="--")
        for star in queries.rows(workspace.reader, queries.stars_of(footprint["hash"])):
            x, y = sky_to_plane(star["ra"], star["dec"], *centre)
            axes.plot(x / 60, y / 60, ".", color=COLOURS[0], ms=5)
            axes.annotate(star["name"], (x / 60, y / 60), (3, 3), textcoords="offset points", fontsize=7)
    for name, roi in workspace.config.rois.items():
        x, y = sky_to_plane(*roi.coordinates, *centre)
        axes.plot(x / 60, y / 60, "+", color=COLOURS[1], ms=14)
        axes.annotate(plain(name), (x / 60, y / 60), (8, -12), textcoords="offset points", color=COLOURS[1])
    axes.set(xlabel="east, arcmin", ylabel="north, arcmin", aspect="equal")
    axes.invert_xaxis()
    soften(axes)
    return figure


def _closed(polygon: list[list[float]], centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    ra, dec = np.array([*polygon, polygon[0]], dtype=float).T
    x, y = sky_to_plane(ra, dec, *centre)
    return x / 60, y / 60
