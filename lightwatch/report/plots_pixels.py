"""Figures of pixels: sources on a frame, cutouts, PSF, and the model of an ROI."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightwatch.errors import StorageError
from lightwatch.flags import UNUSABLE_PIXEL
from lightwatch.processes.astrometry_sky import parse_wcs
from lightwatch.report.chosen import representative_epochs
from lightwatch.report.figure import COLOURS, empty, image, new_figure, panels, plain
from lightwatch.report.light_curve_table import light_curve_rows
from lightwatch.report.pictures import epoch_variance, residual_sigma, stretch
from lightwatch.report.reading import current_hash, frame_of, judged_stars
from lightwatch.report.sky_map import disowned_stars, pixel_of
from lightwatch.structure import frame_store, queries, queries_report, store
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_RESIDUAL_SIGMA = 5.0
_MAX_CUTOUTS = 24
_STAR_KINDS = (
    ("makes its PSF", COLOURS[5], "-"),
    ("not in its PSF", "#f0e442", "--"),
    ("disowned", COLOURS[1], ":"),
)


def plot_sources(workspace: Workspace, frame_id: int | None = None) -> Figure:
    """A frame (default: the newest) with its detected sources."""
    frame = frame_of(workspace, frame_id)
    if frame is None:
        return empty("no frame yet")
    figure, axes = _frame_figure(workspace, frame)
    try:
        found = frame_store.read_sources(workspace.workdir, frame["sources_relpath"])
    except StorageError as error:
        return empty(str(error))
    axes.scatter(found["x"], found["y"], s=60, facecolors="none", edgecolors=COLOURS[1], linewidths=0.8)
    axes.set_title(f"{_title(frame)}: {len(found['x'])} sources", fontsize=10, parse_math=False)
    return figure


def plot_stars(workspace: Workspace, frame_id: int | None = None) -> Figure:
    """The reference stars on a frame (default: the newest with a PSF), and which make its PSF."""
    footprint_hash = current_hash(workspace)
    frame = frame_of(workspace, frame_id, with_psf=True)
    if frame is None:
        return empty("no frame yet")
    stars = queries.rows(workspace.reader, queries.stars_on_frames(footprint_hash, [frame["id"]]))
    if not stars:
        return empty("no reference stars on this frame yet")
    figure, axes = _frame_figure(workspace, frame)
    ids = np.array([row["star_gaia_id"] for row in stars])
    x, y = (np.array([row[name] for row in stars]) for name in "xy")
    bad = np.isin(ids, list(disowned_stars(judged_stars(workspace))))
    used = np.isin(ids, _psf_stars(workspace, footprint_hash, frame["id"])) & ~bad
    for (label, colour, dashes), chosen in zip(_STAR_KINDS, (used, ~used & ~bad, bad), strict=True):
        if chosen.any():
            axes.scatter(
                x[chosen],
                y[chosen],
                s=90,
                facecolors="none",
                edgecolors=colour,
                linestyles=dashes,
                label=label,
            )
    for row in stars:
        axes.annotate(
            row["name"], (row["x"], row["y"]), (5, 5), textcoords="offset points", fontsize=8, color="w"
        )
    if frame["wcs"]:
        for name, roi in workspace.config.rois.items():
            spot = pixel_of(parse_wcs(frame["wcs"]), roi.coordinates)
            axes.plot(*spot, marker="+", markersize=14, color="#ff79c6", linestyle="none")
            axes.annotate(
                plain(name), spot, (8, -12), textcoords="offset points", fontsize=9, color="#ff79c6"
            )
    axes.set_title(_title(frame), fontsize=10, parse_math=False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def plot_cutouts(workspace: Workspace, frame_id: int | None = None) -> Figure:
    """Cutouts of ROIs and stars of a frame; masked pixels in red."""
    frame = frame_of(workspace, frame_id, with_psf=True)
    rows = (
        queries.rows(workspace.reader, queries.regions_of(current_hash(workspace), [frame["id"]]))
        if frame
        else []
    )
    if frame is None or not rows:
        return empty("no cutouts of this frame yet")
    try:
        arrays = store.read_product(workspace.workdir, rows[0]["relpath"])
    except StorageError as error:
        return empty(str(error))
    names = {
        row["star_gaia_id"]: row["name"]
        for row in queries.rows(
            workspace.reader, queries.stars_on_frames(current_hash(workspace), [frame["id"]])
        )
    }
    tiles = [
        (key.split("/")[1], arrays[key][0], arrays[key.replace("/data", "/mask")][0])
        for key in arrays
        if key.startswith("rois/") and key.endswith("/data")
    ]
    tiles += [
        (f"star {names.get(int(star), star)}", arrays["stars/data"][i], arrays["stars/mask"][i])
        for i, star in enumerate(arrays["stars/gaia_id"][: _MAX_CUTOUTS - len(tiles)])
    ]
    columns = min(6, len(tiles))
    count = -(-len(tiles) // columns)
    figure = new_figure(1.7 * columns, 1.9 * count + 0.3)
    grid = panels(figure, count, columns).ravel()
    for axes, (name, data, mask) in zip(grid, tiles, strict=False):
        _cutout(axes, data, (mask & int(UNUSABLE_PIXEL)) != 0)
        axes.set_title(name, fontsize=8, parse_math=False)
    for axes in grid[len(tiles) :]:
        axes.set_visible(False)
    figure.suptitle(_title(frame), fontsize=10, parse_math=False)
    return figure


def plot_psf(workspace: Workspace, frame_id: int | None = None) -> Figure:
    """The PSF of a frame at the ROI, its radial profile, and the chi2 of the stars that made it."""
    frame = frame_of(workspace, frame_id, with_psf=True)
    rows = (
        queries.rows(workspace.reader, queries.psfs_of(current_hash(workspace), [frame["id"]]))
        if frame
        else []
    )
    if frame is None or not rows:
        return empty("no PSF of this frame yet")
    row = rows[0]
    try:
        arrays = store.read_product(workspace.workdir, row["relpath"])
    except StorageError as error:
        return empty(str(error))
    grid, factor = arrays["full_psf"], int(arrays["subsampling_factor"])
    share = np.maximum(grid / grid.max(), 1e-4)
    figure = new_figure(11, 3.6)
    picture, profile, stars = panels(figure, 1, 3)[0]
    shown = image(picture, np.log10(share), cmap="viridis", vmin=-4, vmax=0)
    figure.colorbar(shown, ax=picture, label="log10 of the peak", shrink=0.85)
    middle = (np.array(grid.shape) - 1) / 2
    yy, xx = np.indices(grid.shape)
    profile.semilogy(
        np.hypot(xx - middle[1], yy - middle[0]).ravel() / factor, share.ravel(), ".", ms=2, color=COLOURS[0]
    )
    profile.set(xlabel="radius, px", ylabel="of the peak", ylim=(1e-4, 1.5))
    used = arrays["stars/used"].astype(bool)
    order = np.arange(len(used))
    stars.plot(order[used], arrays["stars/reduced_chi2"][used], "o", color=COLOURS[0], label="used")
    stars.plot(order[~used], arrays["stars/reduced_chi2"][~used], "x", color=COLOURS[1], label="rejected")
    stars.axhline(1, color="0.6", lw=0.8)
    stars.set(xlabel="star", ylabel="reduced χ²")
    stars.legend(frameon=False)
    told = [f"FWHM {row['fwhm_pixels']:.2f} px"] if row["fwhm_pixels"] else []
    told += [
        f"{name} {row[key]:.2f}" for name, key in (("χ²", "chi2"), ("reserved", "reserved_chi2")) if row[key]
    ]
    told += [f"misses up to {100 * row['model_error']:.0f} % of the light"] if row["model_error"] else []
    figure.suptitle(f"{_title(frame)}: {', '.join(told)}", fontsize=10, parse_math=False)
    return figure


def plot_roi_model(
    workspace: Workspace,
    roi: str | None = None,
    filter_name: str | None = None,
    frame_ids: Sequence[int] | None = None,
) -> Figure:
    """Data, model and residual of an ROI on some frames (default: representative ones); a row per frame.

    Without ``roi`` or ``filter_name`` the first model that there is.
    """
    models = queries_report.roi_models_of(current_hash(workspace))
    rows = [
        row
        for row in (queries.rows(workspace.reader, models) if workspace.has_database else [])
        if row["model_relpath"] and roi in (None, row["roi"]) and filter_name in (None, row["filter"])
    ]
    if not rows:
        return empty("no model of this ROI yet")
    row = rows[0]
    if frame_ids is None:
        curves = [c for c in light_curve_rows(workspace, row["roi"]) if c["filter"] == row["filter"]]
        frame_ids = list(representative_epochs(curves))
    try:
        cut = store.read_product(workspace.workdir, row["cutouts_relpath"])
        fit = store.read_product(workspace.workdir, row["model_relpath"])
    except StorageError as error:
        return empty(str(error))
    shared = [i for i in frame_ids if i in cut["frame_id"] and i in fit["frame_id"]]
    if not shared:
        return empty("none of these frames is in the model")
    figure = new_figure(8.2, 2.5 * len(shared) + 0.4)
    for axes, frame_id in zip(panels(figure, len(shared), 3), shared, strict=True):
        _model_row(figure, axes, cut, fit, frame_id)
    figure.suptitle(f"{row['roi']} {row['filter']}", parse_math=False)
    return figure


def _model_row(figure: Figure, axes: np.ndarray, cut: dict, fit: dict, frame_id: int) -> None:
    t = int(np.flatnonzero(cut["frame_id"] == frame_id)[0])
    m = int(np.flatnonzero(fit["frame_id"] == frame_id)[0])
    model, good = fit["solution/model"][m], cut["model/good"][t]
    data = np.where(good, cut["data"][t] * cut["model/coefficient"][t], np.nan)
    variance, granted = epoch_variance(cut, t, model), float(cut["model/psf_model_error"][t])
    low, high = float(np.nanpercentile(data, 5)), float(np.nanmax(model))
    for one, values, name in zip(axes, (data, model), ("data", "model"), strict=False):
        shown = image(one, values, cmap="magma", vmin=low, vmax=high)
        one.set_title(f"{name}, frame {frame_id}", fontsize=9)
        figure.colorbar(shown, ax=one, shrink=0.85, label="electron/s")
    residual = residual_sigma(data, model, variance, good & ~fit["solution/rejected"][m].astype(bool))
    shown = image(axes[2], residual, cmap="RdBu_r", vmin=-_RESIDUAL_SIGMA, vmax=_RESIDUAL_SIGMA)
    told = f"residual, PSF error of {100 * granted:.0f} % granted" if granted else "residual"
    axes[2].set_title(told, fontsize=9)
    figure.colorbar(shown, ax=axes[2], shrink=0.85, label="σ")


def _cutout(axes: Axes, data: np.ndarray, masked: np.ndarray) -> None:
    known = data[np.isfinite(data)]
    low, high = np.percentile(known, [10, 99.8]) if known.size else (0.0, 1.0)
    image(axes, stretch(data, float(low), float(high)), cmap="gray", vmin=0, vmax=1)
    image(axes, np.where(masked, 1.0, np.nan), cmap="autumn", vmin=1, vmax=2, alpha=0.6)


def _frame_figure(workspace: Workspace, frame: Row) -> tuple[Figure, Axes]:
    """The frame as a picture; blank where its file is gone."""
    figure = new_figure(7.5, 7.5 * frame["naxis2"] / frame["naxis1"] + 0.6)
    axes = panels(figure, 1, 1)[0, 0]
    try:
        pixels = frame_store.read_stored_frame(workspace.workdir, frame["image_relpath"]).image
    except StorageError:
        pixels = np.zeros((frame["naxis2"], frame["naxis1"]), np.float32)
    low, high = np.nanpercentile(pixels, [20, 99.7])
    image(axes, stretch(pixels, float(low), float(high)), cmap="gray", vmin=0, vmax=1)
    axes.set(xlim=(-0.5, frame["naxis1"] - 0.5), ylim=(-0.5, frame["naxis2"] - 0.5))
    return figure, axes


def _psf_stars(workspace: Workspace, footprint_hash: str, frame_id: int) -> list[int]:
    rows = queries.rows(workspace.reader, queries.psfs_of(footprint_hash, [frame_id]))
    return [int(star) for row in rows for star in json.loads(row["stars_used"])]


def _title(frame: Row) -> str:
    return f"frame {frame['id']}, {PurePosixPath(frame['original_image_path']).name}"
