"""query_gaia_for_stars: the reference stars of the footprint, and which frame holds which star."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from lightwatch.errors import CatalogError, NoUsableData
from lightwatch.flags import Flag
from lightwatch.pipeline.catalogs import reference_catalog
from lightwatch.pipeline.reporting import LOG
from lightwatch.pipeline.task import Outcome, TaskContext
from lightwatch.processes import footprint, frames_catalog, star_selection
from lightwatch.processes.astrometry_sky import apply_proper_motion, parse_wcs, pixel_to_sky, sky_to_pixel
from lightwatch.structure import frame_store, queries, region_rows, schema
from lightwatch.structure.catalogs import ReferenceCatalog
from lightwatch.structure.catalogs_pinned import read_pinned, write_pinned
from lightwatch.structure.database import transaction
from lightwatch.structure.queries import Row, replace_rows
from lightwatch.structure.workspace import Workspace

_MARGIN_PX = 4.0
_BATCH = 200
_SEEN_FRACTION = 0.5
_MATCH_PX = 2.0
_CROWDING_FWHM_ARCSEC = 2.0
_NOT_A_STAR = Flag.BAD | Flag.OUTSIDE | Flag.COSMIC_RAY | Flag.SATURATED | Flag.CONTAMINATED


@dataclass(frozen=True)
class StarsJob:
    """A frame's WCS and the stars that may lie on it."""

    wcs: str
    nx: int
    ny: int
    mjd: float
    stars: Sequence[Row]


# ---------------------------------------------------------------- which stars
def prepare(context: TaskContext) -> None:
    """Choose the stars of the footprint, once.

    Raises
    ------
    NoUsableData
        When fewer than reference_stars.min_number remain; the message counts the cuts.
    """
    workspace = context.workspace
    if not context.footprint_hash:
        return
    row = queries.rows(workspace.reader, queries.current_footprint())[0]
    if row["catalog_relpath"] and _has_stars(context):
        return
    catalog = _catalog(context, row)
    selection = _select(workspace, row, catalog)
    counts = dict(selection.counts)
    settings = workspace.config.reference_stars
    n_kept = int(selection.kept.sum())
    LOG.info("reference stars: %d of %d kept; dropped: %s", n_kept, len(catalog), counts)
    if n_kept < settings.min_number:
        dropped = ", ".join(f"{n} by {cut}" for cut, n in counts.items() if n) or "none dropped"
        raise NoUsableData(
            f"reference_stars: {n_kept} of {len(catalog)} stars remain, {settings.min_number} are needed ({dropped}); "
            "loosen the cuts, enlarge roi_disk_radius_arcsec or lower min_number"
        )
    relpath = f"catalogs/{context.footprint_hash[:16]}.ecsv"
    write_pinned(workspace.path(relpath), catalog)
    _save_stars(context, catalog, selection, counts, relpath)


def _has_stars(context: TaskContext) -> bool:
    count = queries.number_of_stars(context.footprint_hash, context.recipe)
    return bool(queries.scalar(context.workspace.reader, count))


def _catalog(context: TaskContext, row: Row) -> ReferenceCatalog:
    """All stars of the region, from the copy pinned to the footprint when there is one."""
    workspace = context.workspace
    if row["catalog_relpath"] and workspace.path(row["catalog_relpath"]).is_file():
        return read_pinned(workspace.workdir, row["catalog_relpath"], row["catalog_digest"])
    source = workspace.config.reference_stars.catalog
    if source == "frames":
        return _from_frames(workspace, json.loads(row["definition"]).get("catalog_frames", []))
    radius = json.loads(row["definition"]).get("roi_disk_radius_arcsec")
    if workspace.config.reference_stars.strategy != "ROI_disk" or radius is None:
        radius = _total_radius_arcsec(workspace, row)
    return reference_catalog(context, source, 1.2 * radius / 3600)


def _total_radius_arcsec(workspace: Workspace, row: Row) -> float:
    """Distance from the ROIs to the farthest corner of the total footprint."""
    region = footprint.region_from_json(row["largest"])
    corners = np.vstack([ring for polygon in region.polygons for ring in polygon])
    ra, dec = _roi_positions(workspace)
    distances = [
        star_selection.distance_to_roi_arcsec(
            corners[:, 0], corners[:, 1], ra[i : i + 1], dec[i : i + 1]
        ).max()
        for i in range(len(ra))
    ]
    return float(max(distances))


def _roi_positions(workspace: Workspace) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    positions = [
        position
        for roi in workspace.config.rois.values()
        for position in (roi.coordinates, *(roi.point_sources or {}).values())
    ]
    ra, dec = np.array(positions, dtype=float).T
    return ra, dec


def _from_frames(workspace: Workspace, names: Sequence[str]) -> ReferenceCatalog:
    """Catalogue made of the detections of the frames of these contents, the best first."""
    rows = {
        row["content_hash"]: row for row in queries.rows(workspace.reader, queries.frames_by_content(names))
    }
    best = [rows[name] for name in names if name in rows]
    if not best:
        raise CatalogError(
            "no_stars",
            "the frames that the reference stars were made of are gone; lightwatch run --renew-footprint takes others",
        )
    scale = float(np.median([row["pixel_scale"] for row in best]))
    combined = frames_catalog.combine_sources(
        [_sky_sources(workspace, row) for row in best],
        match_arcsec=_MATCH_PX * scale,
        min_fraction=_SEEN_FRACTION,
    )
    epoch = 2000.0 + (float(np.median([row["mjd_mid"] for row in best])) - 51544.5) / 365.25
    return _as_catalog(combined, epoch)


def _as_catalog(combined: frames_catalog.FramesCatalog, epoch: float) -> ReferenceCatalog:
    n = len(combined.ra)
    unknown = np.full(n, np.nan)
    return ReferenceCatalog(
        source_id=np.arange(1, n + 1, dtype=np.int64),
        ra=combined.ra,
        dec=combined.dec,
        ref_epoch=np.full(n, epoch),
        pmra=np.zeros(n),
        pmdec=np.zeros(n),
        phot_g_mean_mag=combined.mag,
        phot_bp_mean_mag=unknown,
        phot_rp_mean_mag=unknown,
        phot_g_mean_flux_over_error=unknown,
        astrometric_excess_noise=unknown,
        astrometric_excess_noise_sig=unknown,
        phot_variable=unknown,
        name="frames",
        release="",
    )


def _sky_sources(workspace: Workspace, row: Row) -> frames_catalog.FrameSources:
    columns = frame_store.read_sources(workspace.workdir, row["sources_relpath"])
    keep = ((columns["flags"] & int(_NOT_A_STAR)) == 0) & (columns["snr"] > 10) & (columns["flux"] > 0)
    ra, dec = pixel_to_sky(parse_wcs(row["wcs"]), columns["x"][keep], columns["y"][keep])
    return frames_catalog.FrameSources(ra, dec, columns["flux"][keep])


def _select(workspace: Workspace, row: Row, catalog: ReferenceCatalog) -> star_selection.Selection:
    settings = workspace.config.reference_stars
    definition = json.loads(row["definition"])
    roi_ra, roi_dec = _roi_positions(workspace)
    distance = star_selection.distance_to_roi_arcsec(catalog.ra, catalog.dec, roi_ra, roi_dec)
    region = {
        "common_footprint_stars": row["common"],
        "stars_per_frame": row["largest"],
    }.get(settings.strategy)
    inside = (
        footprint.contains(footprint.region_from_json(region), catalog.ra, catalog.dec)
        if region
        else np.ones(len(catalog), dtype=bool)
    )
    in_region = star_selection.region_members(
        settings.strategy,
        distance_arcsec=distance,
        radius_arcsec=definition.get("roi_disk_radius_arcsec") or np.inf,
        in_frames=inside[None, :],
    )
    excluded = {"excluded": [int(name) for name in settings.exclude]}
    return star_selection.select_stars(
        _candidates(catalog),
        in_region=in_region,
        roi_ra_deg=roi_ra,
        roi_dec_deg=roi_dec,
        cuts=star_selection.StarCuts(
            min_g_mag=settings.min_gmag,
            max_g_mag=settings.max_gmag,
            max_astrometric_excess_noise_sig=settings.max_astrometric_excess_noise_sig,
            min_flux_over_error=settings.min_phot_g_mean_flux_over_error,
            max_contamination=None,
            exclude_variable=True,
            unknown_passes=True,
            roi_exclusion_arcsec=settings.roi_exclusion_arcsec,
            max_number=settings.max_number,
        ),
        excluded=excluded,
        fwhm_arcsec=_CROWDING_FWHM_ARCSEC,
        aperture_radius_arcsec=_CROWDING_FWHM_ARCSEC,
    )


def _candidates(catalog: ReferenceCatalog) -> star_selection.CandidateStars:
    return star_selection.CandidateStars(
        source_id=catalog.source_id,
        ra_deg=catalog.ra,
        dec_deg=catalog.dec,
        g_mag=catalog.phot_g_mean_mag,
        astrometric_excess_noise_sig=catalog.astrometric_excess_noise_sig,
        flux_over_error=catalog.phot_g_mean_flux_over_error,
        variable=catalog.phot_variable,
    )


def _save_stars(
    context: TaskContext,
    catalog: ReferenceCatalog,
    selection: star_selection.Selection,
    counts: dict[str, int],
    relpath: str,
) -> None:
    rows = [_star_row(context, catalog, selection, int(i)) for i in np.flatnonzero(selection.kept)]
    with transaction(context.workspace.engine) as connection:
        about = {
            "catalog_relpath": relpath,
            "catalog_name": catalog.name,
            "catalog_digest": catalog.digest,
            "selection": json.dumps(counts),
        }
        region_rows.save_stars(connection, context.footprint_hash, rows, about)


def _star_row(
    context: TaskContext, catalog: ReferenceCatalog, selection: star_selection.Selection, i: int
) -> dict[str, Any]:
    def known(values: NDArray[np.float64]) -> float | None:
        return float(values[i]) if np.isfinite(values[i]) else None

    return {
        "combined_footprint_hash": context.footprint_hash,
        "gaia_id": int(catalog.source_id[i]),
        "name": str(selection.name[i]),
        "ra": float(catalog.ra[i]),
        "dec": float(catalog.dec[i]),
        "gmag": known(catalog.phot_g_mean_mag),
        "rmag": known(catalog.phot_rp_mean_mag),
        "bmag": known(catalog.phot_bp_mean_mag),
        "pmra": known(catalog.pmra),
        "pmdec": known(catalog.pmdec),
        "ref_epoch": known(catalog.ref_epoch),
        "distance_to_roi_arcsec": float(selection.distance_to_roi_arcsec[i]),
        "recipe": context.recipe,
        "flags": 0,
    }


# ---------------------------------------------------------------- stars on frames
def batches(context: TaskContext, items: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Many frames at once: the work is small."""
    return (items[i : i + _BATCH] for i in range(0, len(items), _BATCH))


def load(context: TaskContext, items: Sequence[Row]) -> list[StarsJob]:
    """One job per frame."""
    stars = queries.rows(context.workspace.reader, queries.stars_of(context.footprint_hash))
    return [StarsJob(item["wcs"], item["naxis1"], item["naxis2"], item["mjd_mid"], stars) for item in items]


def compute(jobs: list[StarsJob]) -> list[Outcome]:
    """Pixel positions of the stars on each frame, proper motion applied."""
    return [_stars_on_frame(job) for job in jobs]


def _stars_on_frame(job: StarsJob) -> Outcome:
    def column(name: str) -> NDArray[np.float64]:
        return np.array([np.nan if star[name] is None else star[name] for star in job.stars], dtype=float)

    ra, dec, _extra = apply_proper_motion(
        column("ra"), column("dec"), column("pmra"), column("pmdec"), column("ref_epoch"), job.mjd
    )
    x, y = sky_to_pixel(parse_wcs(job.wcs), ra, dec).T
    inside = (
        np.isfinite(x + y)
        & (x > _MARGIN_PX)
        & (y > _MARGIN_PX)
        & (x < job.nx - 1 - _MARGIN_PX)
        & (y < job.ny - 1 - _MARGIN_PX)
    )
    found = [(int(job.stars[int(i)]["gaia_id"]), float(x[i]), float(y[i])) for i in np.flatnonzero(inside)]
    if not found:
        return Outcome(
            "rejected", [], reason_code="no_reference_stars", reason="no reference star lies on the frame"
        )
    return Outcome(output=found)


def save(
    connection: Connection, context: TaskContext, item: Row, output: list[tuple[int, float, float]]
) -> None:
    """Rows of stars_in_frames."""
    key = {"combined_footprint_hash": context.footprint_hash, "frame_id": item["id"]}
    rows = [{**key, "star_gaia_id": star, "x": x, "y": y, "recipe": context.recipe} for star, x, y in output]
    replace_rows(connection, schema.stars_in_frames, key, rows)
