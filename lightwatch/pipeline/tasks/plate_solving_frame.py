"""The WCS of one frame, confirmed by its stars: what a worker does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.wcs import WCS

from lightwatch.errors import AstrometryError, CatalogError
from lightwatch.flags import Flag
from lightwatch.pipeline.task import Outcome
from lightwatch.processes import astrometry, footprint
from lightwatch.processes.astrometry_belief import believed_wcs
from lightwatch.processes.astrometry_sky import parse_wcs
from lightwatch.processes.astrometry_types import (
    AstrometricSolution,
    AstrometrySettings,
    Attempt,
    Detections,
    Hints,
    ReferenceStars,
    Sibling,
)
from lightwatch.structure import frame_store, solve_field
from lightwatch.structure.config import PlateSolving

_MAX_FALSE_ALARM = 1e-6
_MAX_HEADER_SHIFT_PX = 15.0
_MATCH_RADIUS_PX = 3.0
_POINTS_PER_EDGE = 8
_LOST = Flag.OUTSIDE | Flag.COSMIC_RAY
#: of a star whose core is masked, px: its wings still tell where it is
_MASKED_CENTROID_PX = 0.3


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


def solve_frame(job: SolveJob) -> Outcome:
    """Find a WCS that the stars confirm, write it into the frame's file, and tell the outline."""
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
    bad, saturated = ((columns["flags"] & int(flag)) != 0 for flag in (Flag.BAD, Flag.SATURATED))
    # a camera's mask of bad pixels names saturated stars too, which are the ones that a catalogue of bright stars has
    keep = ((columns["flags"] & int(_LOST)) == 0) & (saturated | ~bad)
    # centroid error of a star of FWHM w at signal to noise s (King 1983): about 0.6 w / s
    error = 0.6 * np.clip(columns["fwhm_px"], 1.0, 20.0) / np.maximum(columns["snr"], 1.0)
    error = np.where(bad | saturated, np.maximum(error, _MASKED_CENTROID_PX), error)
    return Detections(
        x=columns["x"][keep],
        y=columns["y"][keep],
        flux=columns["flux"][keep],
        uncertainty_px=np.maximum(error[keep], 0.02),
        nx=nx,
        ny=ny,
    )
