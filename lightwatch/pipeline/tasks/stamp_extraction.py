"""stamp_extraction: cutouts of all stars and ROIs of a frame, in one HDF5 file per frame and footprint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from sqlalchemy import Connection

from lightwatch.pipeline.task import TaskContext
from lightwatch.pipeline.tasks.stamps_of_frame import StampJob, Stamps, extract_stamps
from lightwatch.processes.astrometry_sky import apply_proper_motion, parse_wcs, sky_to_pixel
from lightwatch.processes.cutouts import cutout_size_px
from lightwatch.processes.star_selection import distance_to_roi_arcsec
from lightwatch.structure import queries, schema, store
from lightwatch.structure.catalogs import ReferenceCatalog
from lightwatch.structure.catalogs_pinned import read_pinned
from lightwatch.structure.parts import rows_of
from lightwatch.structure.queries import Row, replace_rows
from lightwatch.structure.workspace import Workspace

PARALLEL = True
compute = extract_stamps

_FALLBACK_FWHM_PX = 4.0
_EDGE_PX = 64.0
_ROI_SEEINGS = 4.5
_ROI_SIZES_PX = (16, 24, 32, 40, 48, 64, 96)


def load(context: TaskContext, items: Sequence[Row]) -> list[StampJob]:
    """One job per frame."""
    workspace = context.workspace
    footprint_row = queries.rows(workspace.reader, queries.current_footprint())[0]
    catalog = read_pinned(
        workspace.workdir, footprint_row["catalog_relpath"], footprint_row["catalog_digest"]
    )
    placed: dict[int, list[Row]] = {}
    query = partial(queries.stars_on_frames, context.footprint_hash)
    for row in rows_of(workspace.reader, query, [item["id"] for item in items]):
        placed.setdefault(row["frame_id"], []).append(row)
    return [_job(context, item, placed.get(item["id"], []), catalog) for item in items]


def _job(context: TaskContext, item: Row, stars: Sequence[Row], catalog: ReferenceCatalog) -> StampJob:
    workspace = context.workspace
    settings = workspace.config.cutouts
    fwhm = item["seeing_pixels"] or _FALLBACK_FWHM_PX
    x, y, mag = _catalog_on_frame(catalog, item)
    stem = PurePosixPath(item["image_relpath"]).stem
    return StampJob(
        workdir=workspace.workdir,
        relpath=f"regions/{context.footprint_hash[:16]}/{stem}.{context.recipe[:8]}.h5",
        image_relpath=item["image_relpath"],
        sources_relpath=item["sources_relpath"],
        wcs=item["wcs"],
        exptime=item["exptime"],
        fwhm_px=fwhm,
        ellipticity=item["ellipticity"] or 0.0,
        star_ids=np.array([star["star_gaia_id"] for star in stars], dtype=np.int64),
        star_x=np.array([star["x"] for star in stars], dtype=float),
        star_y=np.array([star["y"] for star in stars], dtype=float),
        catalog_x=x,
        catalog_y=y,
        catalog_mag=mag,
        star_size_px=settings.star_size_px or cutout_size_px(fwhm),
        rois={
            name: (
                *roi.coordinates,
                settings.roi_size_px or _roi_size(workspace, name, fwhm, item["pixel_scale"]),
            )
            for name, roi in workspace.config.rois.items()
        },
        settings=settings,
        recipe=context.recipe,
    )


def _catalog_on_frame(catalog: ReferenceCatalog, item: Row) -> tuple[Any, Any, Any]:
    ra, dec, _extra = apply_proper_motion(
        catalog.ra, catalog.dec, catalog.pmra, catalog.pmdec, catalog.ref_epoch, item["mjd_mid"]
    )
    x, y = sky_to_pixel(parse_wcs(item["wcs"]), ra, dec).T
    near = (
        (x > -_EDGE_PX) & (y > -_EDGE_PX) & (x < item["naxis1"] + _EDGE_PX) & (y < item["naxis2"] + _EDGE_PX)
    )  # NaN compares as False: off the sky of this WCS
    return x[near], y[near], catalog.phot_g_mean_mag[near]


def _roi_size(workspace: Workspace, name: str, fwhm_px: float, pixel_scale_arcsec: float) -> int:
    """Side of an ROI's cutout: its point sources, and the seeing around them."""
    roi = workspace.config.rois[name]
    sources = np.array([roi.coordinates, *(roi.point_sources or {}).values()], dtype=float)
    spread = float(distance_to_roi_arcsec(*sources.T, *sources[:1].T).max()) / pixel_scale_arcsec
    # a single source wants its wings; a blend wants to be cheap, its joint model grows with the sixth power
    wanted = 2 * spread + _ROI_SEEINGS * fwhm_px if spread else cutout_size_px(fwhm_px)
    return next((size for size in _ROI_SIZES_PX if size >= wanted), _ROI_SIZES_PX[-1])


def save(connection: Connection, context: TaskContext, item: Row, output: Stamps) -> None:
    """Row of the product."""
    key = {"combined_footprint_hash": context.footprint_hash, "frame_id": item["id"]}
    row = {
        **key,
        "relpath": output.product.relpath,
        "sha256": output.product.sha256,
        "size": output.product.size,
        "n_stars": output.n_stars,
        "star_size_px": output.star_size_px,
        "cosmic_fraction": output.cosmic_fraction,
        "recipe": context.recipe,
        "flags": 0,
    }
    replace_rows(connection, schema.regions, key, [row])


def finish(connection: Connection, context: TaskContext, _renew: bool) -> None:
    """regions.h5: one file through which every cutout is seen."""
    rows = connection.execute(queries.region_links(context.footprint_hash, context.recipe)).mappings()
    links = {row["image_relpath"]: row["relpath"] for row in rows}
    store.write_index(context.workspace.workdir / "regions.h5", links)
