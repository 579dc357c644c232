"""plate_solving: a WCS for every frame that the stars confirm, with every attempt written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS
from sqlalchemy import Connection, update

from lightwatch.errors import AstrometryError, CatalogError
from lightwatch.flags import Flag
from lightwatch.pipeline.catalogs import reference_catalog, target_centre
from lightwatch.pipeline.recipes import astrometric_catalog
from lightwatch.pipeline.task import Outcome, TaskContext
from lightwatch.processes import astrometry, footprint
from lightwatch.processes.astrometry_belief import believed_wcs
from lightwatch.processes.astrometry_sky import apply_proper_motion, parse_wcs
from lightwatch.processes.astrometry_types import (
    AstrometricSolution,
    AstrometrySettings,
    Attempt,
    Detections,
    Hints,
    ReferenceStars,
    Sibling,
)
from lightwatch.structure import frame_store, queries, schema, solve_field
from lightwatch.structure.config import PlateSolving
from lightwatch.structure.queries import Row, replace_rows
from lightwatch.structure.workspace import Workspace

PARALLEL = True

_MAX_FALSE_ALARM = 1e-6
_MAX_HEADER_SHIFT_PX = 15.0
_MATCH_RADIUS_PX = 3.0
_UNKNOWN_MOTION_MAS_YR = 15.0
_CATALOG_ERROR_ARCSEC = 0.02
_TYCHO_EPOCH_ERROR_ARCSEC = 0.1
_SIBLINGS = 3
_POINTS_PER_EDGE = 8
_LOST = Flag.BAD | Flag.OUTSIDE | Flag.COSMIC_RAY


@dataclass(frozen=True)
class SolveJob:
    """What a worker needs to solve one frame."""

    workdir: Path
    settings: PlateSolving
    image_relpath: str
    sources_relpath: str
    nx: int
    ny: int
    header_wcs: str | None
    hints: Hints
    stars: ReferenceStars | None
    siblings: tuple[tuple[str, str, int, int, str, float], ...]


@dataclass(frozen=True)
class Solved:
    """Rows of one frame: solution (or none) and attempts."""

    solution: AstrometricSolution | None
    attempts: tuple[Attempt, ...]
    polygon: str | None
    image_sha256: str | None


def load(context: TaskContext, items: Sequence[Row], siblings: Sequence[Row] = ()) -> list[SolveJob]:
    """One job per frame; the reference stars are read once."""
    workspace = context.workspace
    catalog = _catalog(workspace, items)
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


def _catalog(workspace: Workspace, items: Sequence[Row]) -> Any:
    source = astrometric_catalog(workspace)
    if source == "frames":
        return None
    largest = max(
        (float(np.hypot(i["naxis1"], i["naxis2"])) * _scale_interval(workspace, i)[1] for i in items),
        default=0,
    )
    half_diagonal_deg = largest / 2 / 3600 if np.isfinite(largest) else 1.0
    radius = workspace.config.plate_solving.search_radius_arcmin / 60 + half_diagonal_deg
    return reference_catalog(workspace, source, radius)


def _stars_at(catalog: Any, mjd: float) -> ReferenceStars:
    ra, dec, extra = apply_proper_motion(
        catalog.ra, catalog.dec, catalog.pmra, catalog.pmdec, catalog.ref_epoch, mjd,
        unknown_motion_mas_yr=_UNKNOWN_MOTION_MAS_YR,
    )  # fmt: skip
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


def compute(job: SolveJob) -> Outcome:
    """Solve one frame; runs in a worker."""
    detections = _detections(job.workdir, job.sources_relpath, job.nx, job.ny)
    header = _header_wcs(job)
    solution, attempts = _solve(job, detections, header)
    if solution is None:
        last = attempts[0] if job.header_wcs and attempts else (attempts[-1] if attempts else None)
        code = last.outcome if last else "no_reference_stars"
        text = f"{job.image_relpath}: " + (last.message if last else "no reference stars and no header WCS")
        if code == "wcs_contradicted":
            text = (
                f"{job.image_relpath}: header WCS contradicted by the stars: {last.message if last else ''}"
            )
        return Outcome("rejected", Solved(None, attempts, None, None), reason_code=code, reason=text)
    wcs = parse_wcs(solution.wcs_header)
    outline = footprint.frame_outline(wcs, job.nx, job.ny, points_per_edge=_POINTS_PER_EDGE)
    written = frame_store.replace_wcs(job.workdir, job.image_relpath, solution.wcs_header)
    return Outcome(output=Solved(solution, attempts, footprint.outline_to_json(outline), written.sha256))


def _solve(
    job: SolveJob, detections: Detections, header: WCS | None
) -> tuple[AstrometricSolution | None, tuple[Attempt, ...]]:
    settings = _settings(job.settings)
    believe = job.settings.already_plate_solved is True or job.stars is None
    if believe and header is not None:
        return _believe(job, detections, header, settings)
    if job.settings.already_plate_solved is True:
        return None, (_attempt("header", "no_wcs", "already_plate_solved is true but the header has no WCS"),)
    if job.stars is None:
        return None, ()
    siblings = [
        Sibling(name, _detections(job.workdir, sources, nx, ny), parse_wcs(text), rms)
        for name, sources, nx, ny, text, rms in job.siblings
    ]
    guess = None if job.settings.already_plate_solved is False else header
    solution, attempts = astrometry.solve(
        detections, job.stars, guess, job.hints, siblings=siblings, settings=settings
    )
    if solution is None and job.settings.use_solve_field and solve_field.is_installed():
        solution, last = _external(job, detections, settings)
        attempts = (*attempts, last)
    return solution, attempts


def _believe(
    job: SolveJob, detections: Detections, header: WCS, settings: AstrometrySettings
) -> tuple[AstrometricSolution, tuple[Attempt, ...]]:
    """A header WCS that the user vouches for: refined when the stars allow it, else kept as it is."""
    if job.stars is not None:
        try:
            solution = astrometry.accept_wcs(
                header, detections, job.stars, method="header", settings=settings
            )
            return solution, (_attempt("header", "solved", "confirmed by the stars", solution),)
        except AstrometryError as error:
            refusal = _attempt("header", error.reason_code, str(error))
            return believed_wcs(header, job.nx, job.ny), (
                refusal,
                _attempt("header:believed", "solved", "as told"),
            )
    return believed_wcs(header, job.nx, job.ny), (
        _attempt("header:believed", "solved", "no reference stars"),
    )


def _external(
    job: SolveJob, detections: Detections, settings: AstrometrySettings
) -> tuple[AstrometricSolution | None, Attempt]:
    try:
        text = solve_field.solve(
            detections.x, detections.y, detections.flux, job.nx, job.ny,
            ra=job.hints.ra, dec=job.hints.dec, radius=job.hints.radius,
            scale=(job.hints.scale_min_arcsec, job.hints.scale_max_arcsec),
        )  # fmt: skip
        assert job.stars is not None  # the caller has checked
        solution = astrometry.accept_wcs(
            parse_wcs(text), detections, job.stars, method="solve-field", settings=settings
        )
    except (AstrometryError, CatalogError) as error:
        return None, _attempt("solve-field", error.reason_code, str(error))
    return solution, _attempt("solve-field", "solved", "", solution)


def _attempt(method: str, outcome: str, message: str, solution: AstrometricSolution | None = None) -> Attempt:
    return Attempt(
        method=method,
        outcome=outcome,
        n_matches=solution.n_matches if solution else None,
        false_alarm_probability=solution.false_alarm_probability if solution else np.nan,
        rms_px=solution.rms_px if solution else np.nan,
        shift_px=np.nan,
        message=message,
    )


def _settings(settings: PlateSolving) -> AstrometrySettings:
    return AstrometrySettings(
        min_matches=settings.min_matches,
        max_false_alarm_probability=_MAX_FALSE_ALARM,
        max_shift_px=_MAX_HEADER_SHIFT_PX,
        match_radius_px=_MATCH_RADIUS_PX,
        max_rms_px=settings.max_rms_px,
        max_anisotropy=settings.max_pixel_anisotropy,
        max_sip_order=settings.max_sip_order,
    )


def _header_wcs(job: SolveJob) -> WCS | None:
    if job.header_wcs is None:
        return None
    try:
        return parse_wcs(job.header_wcs)
    except AstrometryError:
        return None  # the header's cards make no WCS: the frame is one to be solved


def _detections(workdir: Path, relpath: str, nx: int, ny: int) -> Detections:
    columns = frame_store.read_sources(workdir, relpath)
    keep = (columns["flags"] & int(_LOST)) == 0
    # centroid error of a star of FWHM w at signal to noise s (King 1983): about 0.6 w / s
    error = 0.6 * np.clip(columns["fwhm_px"], 1.0, 20.0) / np.maximum(columns["snr"], 1.0)
    return Detections(
        x=columns["x"][keep],
        y=columns["y"][keep],
        flux=columns["flux"][keep],
        uncertainty_px=np.maximum(error[keep], 0.02),
        nx=nx,
        ny=ny,
    )


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
    connection.execute(
        update(schema.frames).where(schema.frames.c.id == frame_id).values(_columns(item, solution, output))
    )
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
            "rms_arcsec": _known(attempt.rms_px * solution.pixel_scale_arcsec) if solution else None,
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
        "astrometric_rms_ra_arcsec": _known(solution.rms_ra_arcsec),
        "astrometric_rms_dec_arcsec": _known(solution.rms_dec_arcsec),
        "astrometric_matches": solution.n_matches,
        "seeing_arcseconds": None if seeing is None else seeing * solution.pixel_scale_arcsec,
        "image_sha256": output.image_sha256,
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
