"""plate_solving: a WCS for every frame that the stars confirm, with every attempt written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from lightwatch.pipeline.catalogs import reference_catalog, target_centre
from lightwatch.pipeline.recipes import astrometric_catalog
from lightwatch.pipeline.task import TaskContext
from lightwatch.pipeline.tasks.plate_solving_frame import Solved, SolveJob, solve_frame
from lightwatch.processes.astrometry_sky import apply_proper_motion
from lightwatch.processes.astrometry_types import AstrometricSolution, Hints, ReferenceStars
from lightwatch.structure import frame_rows, queries, schema
from lightwatch.structure.queries import Row, replace_rows
from lightwatch.structure.unknown import or_null
from lightwatch.structure.workspace import Workspace

PARALLEL = True
compute = solve_frame

_CATALOG_ERROR_ARCSEC = 0.02
_TYCHO_EPOCH_ERROR_ARCSEC = 0.1
_SIBLINGS = 3


def load(context: TaskContext, items: Sequence[Row], siblings: Sequence[Row] = ()) -> list[SolveJob]:
    """One job per frame; the reference stars are read once."""
    workspace = context.workspace
    catalog = _catalog(context, items)
    jobs = []
    for item in items:
        stars = _stars_at(catalog, float(item["mjd_mid"])) if catalog is not None else None
        near = sorted(siblings, key=lambda row: (abs(row["mjd_mid"] - item["mjd_mid"]), row["content_hash"]))
        jobs.append(
            SolveJob(
                workdir=workspace.workdir,
                settings=workspace.config.plate_solving,
                image_relpath=item["image_relpath"],
                sources_relpath=item["sources_relpath"],
                nx=item["naxis1"],
                ny=item["naxis2"],
                header_wcs=item["header_wcs"],
                hints=_hints(workspace, item),
                stars=stars,
                siblings=tuple(_sibling_key(row) for row in near[:_SIBLINGS]),
            )
        )
    return jobs


def _sibling_key(row: Row) -> tuple[str, str, int, int, str, float]:
    rms = max(row["astrometric_rms_ra_arcsec"] or 0.0, row["astrometric_rms_dec_arcsec"] or 0.0, 0.05)
    return (row["image_relpath"], row["sources_relpath"], row["naxis1"], row["naxis2"], row["wcs"], rms)


def _catalog(context: TaskContext, items: Sequence[Row]) -> Any:
    workspace = context.workspace
    source = astrometric_catalog(workspace)
    if source == "frames":
        return None
    largest = max(
        (float(np.hypot(i["naxis1"], i["naxis2"])) * _scale_interval(workspace, i)[1] for i in items),
        default=0,
    )
    half_diagonal_deg = largest / 2 / 3600 if np.isfinite(largest) else 1.0
    radius = workspace.config.plate_solving.search_radius_arcmin / 60 + half_diagonal_deg
    return reference_catalog(context, source, radius)


def _stars_at(catalog: Any, mjd: float) -> ReferenceStars:
    ra, dec, extra = apply_proper_motion(
        catalog.ra, catalog.dec, catalog.pmra, catalog.pmdec, catalog.ref_epoch, mjd
    )
    unknown = ~np.isfinite(catalog.pmra)
    base = np.where(unknown, _TYCHO_EPOCH_ERROR_ARCSEC, _CATALOG_ERROR_ARCSEC)
    return ReferenceStars(ra, dec, catalog.phot_g_mean_mag, np.hypot(base, extra))


def _scale_interval(workspace: Workspace, item: Row) -> tuple[float, float]:
    given = workspace.config.plate_solving.pixel_scale_arcsec
    if isinstance(given, tuple):
        return given
    scale = given if given is not None else item["header_pixel_scale"]
    if scale is None:
        return (float("nan"), float("nan"))
    tolerance = workspace.config.plate_solving.scale_tolerance
    return (scale * (1 - tolerance), scale * (1 + tolerance))


def _hints(workspace: Workspace, item: Row) -> Hints:
    ra, dec, spread = target_centre(workspace)
    radius = workspace.config.plate_solving.search_radius_arcmin / 60
    if item["pointing_ra"] is not None and item["pointing_dec"] is not None:
        ra, dec, spread = item["pointing_ra"], item["pointing_dec"], 0.0
    low, high = _scale_interval(workspace, item)
    return Hints(ra, dec, radius + spread, low, high)


def second_chance(context: TaskContext, rejected: Sequence[Row]) -> list[Row]:
    """Frames that failed, now or in the last nights, may adopt the WCS of frames that are solved by now."""
    if not _solved_siblings(context.workspace):
        return []
    earlier = queries.rows(
        context.workspace.reader,
        queries.rejected_frames("plate_solving", context.recipe, queries.MAX_ATTEMPTS),
    )
    return list({item["id"]: item for item in (*rejected, *earlier)}.values())


def load_again(context: TaskContext, items: Sequence[Row]) -> list[SolveJob]:
    """Jobs with the solved frames of the field as siblings."""
    return load(context, items, _solved_siblings(context.workspace))


def _solved_siblings(workspace: Workspace) -> list[Row]:
    return queries.rows(workspace.reader, queries.plate_solved_frames())


def save(connection: Connection, context: TaskContext, item: Row, output: Solved) -> None:
    """Columns of the frame, its outline, and the attempts."""
    frame_id = item["id"]
    solution = output.solution
    frame_rows.set_columns(connection, frame_id, _columns(item, solution, output))
    outline = (
        [{"frame_id": frame_id, "polygon": output.polygon, "recipe": context.recipe}]
        if output.polygon
        else []
    )
    replace_rows(connection, schema.footprints, {"frame_id": frame_id}, outline)
    attempts = [
        {
            "frame_id": frame_id,
            "attempt": number,
            "method": attempt.method,
            "outcome": attempt.outcome,
            "n_matches": attempt.n_matches,
            "rms_arcsec": or_null(attempt.rms_px * solution.pixel_scale_arcsec) if solution else None,
            "message": attempt.message,
            "recipe": context.recipe,
        }
        for number, attempt in enumerate(output.attempts)
    ]
    replace_rows(connection, schema.plate_solve_attempts, {"frame_id": frame_id}, attempts)


def _columns(item: Row, solution: AstrometricSolution | None, output: Solved) -> dict[str, Any]:
    if solution is None:
        empty = dict.fromkeys(
            ("wcs", "plate_solve_method", "pixel_scale", "angle_to_north", "pixel_anisotropy", "seeing_arcseconds",
             "astrometric_rms_ra_arcsec", "astrometric_rms_dec_arcsec", "astrometric_matches", "roi_in_footprint")
        )  # fmt: skip
        return {**empty, "attempted_plate_solve": 1, "plate_solved": 0}
    seeing = item["seeing_pixels"]
    return {
        "attempted_plate_solve": 1,
        "plate_solved": 1,
        "wcs": solution.wcs_header,
        "plate_solve_method": solution.method,
        "pixel_scale": solution.pixel_scale_arcsec,
        "angle_to_north": solution.angle_to_north_deg,
        "pixel_anisotropy": solution.anisotropy,
        "astrometric_rms_ra_arcsec": or_null(solution.rms_ra_arcsec),
        "astrometric_rms_dec_arcsec": or_null(solution.rms_dec_arcsec),
        "astrometric_matches": solution.n_matches,
        "seeing_arcseconds": None if seeing is None else seeing * solution.pixel_scale_arcsec,
        "image_sha256": output.image_sha256,
    }
