"""From detections and reference stars to a WCS that is believed for a reason.

A WCS, wherever it comes from, is accepted when many more stars fall on detections than chance
would give. The chain of attempts is ``solve``; its parts are public because a WCS found elsewhere
(an external solver, a user) must pass the same test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from lightwatch.errors import AstrometryError
from lightwatch.processes.astrometry_chance import Field, chance_of_matches, field_of, in_field, pair_up
from lightwatch.processes.astrometry_models import tan_wcs
from lightwatch.processes.astrometry_pattern import Limits, Recognition, recognitions
from lightwatch.processes.astrometry_refine import UNKNOWN_CENTROID_PX, describe, pixel_scale, refine
from lightwatch.processes.astrometry_sky import (
    mean_direction,
    parse_wcs,
    pixel_to_sky,
    plane_to_sky,
    sky_to_pixel,
    sky_to_plane,
)
from lightwatch.processes.astrometry_types import (
    AstrometricSolution,
    AstrometrySettings,
    Attempt,
    Detections,
    FloatArray,
    Hints,
    IntArray,
    ReferenceStars,
    Sibling,
    WcsCheck,
)

__all__ = ["accept_wcs", "adopt_wcs", "sibling_stars", "solve", "solve_pattern", "verify_wcs"]

NO_HINTS = Hints(np.nan, np.nan, np.nan, np.nan, np.nan)
SAME_PIXEL_PX = 0.5  # two frames' detections closer than this may be a defect of the detector
MOST_SHIFTS = 5  # constant offsets of a header WCS judged in full

Pairs = tuple[IntArray, IntArray]


def verify_wcs(
    wcs: WCS, detections: Detections, stars: ReferenceStars, *, settings: AstrometrySettings
) -> WcsCheck:
    """Does a WCS agree with the stars, as it is or after a constant shift of pixels?

    Without a shift a single hypothesis is tested; a shift within ``max_shift_px`` pays for all the
    places where it might have been found. ``contradicted`` needs enough stars and detections that a
    right WCS would have shown itself; otherwise the verdict is ``undecided``.
    """
    return _check(wcs, field_of(detections), stars, settings)[0]


def accept_wcs(
    wcs: WCS, detections: Detections, stars: ReferenceStars, *, method: str, settings: AstrometrySettings
) -> AstrometricSolution:
    """Verify a WCS found elsewhere (header, external solver) and refine it.

    Raises AstrometryError: ``wcs_contradicted``, ``too_few_sources``, ``no_match``, ``anisotropic``,
    ``rms_too_large``.
    """
    field = field_of(detections)
    check, pairs = _check(wcs, field, stars, settings)
    if check.verdict in ("contradicted", "undecided"):
        code = "wcs_contradicted" if check.verdict == "contradicted" else "too_few_sources"
        raise AstrometryError(code, check.message)
    trials = 1.0 if check.verdict == "agrees" else _n_shifts(settings)
    fit = refine(wcs, field, stars, pairs, simplest="shift", settings=settings)
    return describe(fit, field, NO_HINTS, method=method, trials=trials, settings=settings)


def solve_pattern(
    detections: Detections,
    stars: ReferenceStars,
    hints: Hints,
    *,
    method: str,
    settings: AstrometrySettings,
) -> AstrometricSolution:
    """Solve from nothing but the pattern of the stars, any rotation and parity, then refine.

    Raises AstrometryError: ``too_few_sources``, ``no_match``, ``scale_out_of_range``,
    ``anisotropic``, ``rms_too_large``.
    """
    field, limits = field_of(detections), _limits(hints)
    centre = _search_centre(stars, hints)
    east, north = sky_to_plane(stars.ra, stars.dec, *centre)
    near = np.hypot(east, north) < limits.radius_arcsec + 0.6 * field.diagonal * limits.scale_max_arcsec
    brightest = np.flatnonzero(near)
    brightest = brightest[np.argsort(np.nan_to_num(stars.mag[brightest], nan=np.inf), kind="stable")]
    few = min(len(field.xy), len(brightest))
    if few < settings.min_matches:
        raise AstrometryError("too_few_sources", f"{len(field.xy)} detections, {len(brightest)} stars")
    failure = AstrometryError("no_match", "no pattern of stars was recognised")
    for found in recognitions(field, east + 1j * north, brightest, limits, settings.match_radius_px):
        try:
            return _finish(found, field, stars, centre, hints, method, settings)
        except AstrometryError as error:
            failure = error
    raise failure


def sibling_stars(sibling: Sibling) -> ReferenceStars:
    """Detections of a solved frame as reference stars, their fluxes as magnitudes of their own."""
    detections = sibling.detections
    ra, dec = pixel_to_sky(sibling.wcs, detections.x, detections.y)
    flux = np.asarray(detections.flux, float)
    mag = -2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    error = np.nan_to_num(detections.uncertainty_px, nan=UNKNOWN_CENTROID_PX) * pixel_scale(sibling.wcs)
    return ReferenceStars(ra, dec, mag, np.hypot(error, sibling.uncertainty_arcsec))


def adopt_wcs(
    detections: Detections,
    sibling: Sibling,
    hints: Hints,
    *,
    method: str,
    settings: AstrometrySettings,
) -> AstrometricSolution:
    """Solve with the detections of a solved frame of the same field as reference stars.

    Any rotation and parity is allowed. What both frames have at the same pixel is left out: defects
    of the detector would make every frame agree with the sibling's pointing. Two frames with the
    very same pointing are hence not adopted from one another. ``matched_stars`` of the solution index
    ``sibling_stars(sibling)``. Errors as ``solve_pattern``.
    """
    moved, of_sibling = _not_at_the_same_pixel(detections, sibling.detections)
    reference = sibling_stars(sibling)
    stars = ReferenceStars(
        reference.ra[of_sibling],
        reference.dec[of_sibling],
        reference.mag[of_sibling],
        reference.uncertainty_arcsec[of_sibling],
    )
    solution = solve_pattern(moved, stars, hints, method=method, settings=settings)
    return replace(solution, matched_stars=of_sibling[solution.matched_stars])


def solve(
    detections: Detections,
    stars: ReferenceStars,
    header_wcs: WCS | None,
    hints: Hints,
    *,
    siblings: Sequence[Sibling],
    settings: AstrometrySettings,
) -> tuple[AstrometricSolution | None, tuple[Attempt, ...]]:
    """Try the header WCS, the WCS of siblings, the pattern of the catalogue, that of siblings.

    ``siblings``: solved frames of the field, most alike first. A WCS by the pattern of a sibling must
    not be contradicted by the catalogue, and is refined with it when that has enough stars. Returns
    the solution, None when nothing was believed, and every attempt in order.
    """
    guesses = [] if header_wcs is None else [("header", header_wcs)]
    guesses += [(f"wcs_of:{sibling.name}", sibling.wcs) for sibling in siblings]
    tries = [
        *(partial(_try_wcs, method, wcs, detections, stars, settings) for method, wcs in guesses),
        partial(_try_pattern, detections, stars, hints, settings),
        *(partial(_try_sibling, sibling, detections, stars, hints, settings) for sibling in siblings),
    ]
    attempts: list[Attempt] = []
    for one in tries:
        solution, attempt = one()
        attempts.append(attempt)
        if solution is not None:
            return solution, tuple(attempts)
    return None, tuple(attempts)


def _check(
    wcs: WCS, field: Field, stars: ReferenceStars, settings: AstrometrySettings
) -> tuple[WcsCheck, Pairs]:
    """Verdict on a WCS, and the pairs (indices into the field and the stars) of the best shift."""
    predicted = sky_to_pixel(wcs, stars.ra, stars.dec)
    reach = settings.max_shift_px
    shifts = np.zeros((1, 2))
    nearby = in_field(field, predicted, reach)
    if len(nearby) and len(field.xy):
        shifts = np.concatenate([shifts, _common_shifts(field, predicted[nearby], settings)])
    best: tuple[float, int, int, FloatArray, Pairs] = (2.0, 0, 0, shifts[0], _no_pairs())
    for i, shift in enumerate(shifts):
        inside = in_field(field, predicted + shift, 0.0)
        d, s = pair_up(field, predicted[inside] + shift, settings.match_radius_px)
        trials, free = (1.0, 0) if i == 0 else (_n_shifts(settings), 1)
        chance = chance_of_matches(
            field, len(inside), d, settings.match_radius_px, free_stars=free, trials=trials
        )
        if (chance, -len(d)) < (best[0], -best[1]):
            best = chance, len(d), len(inside), shift, (d, inside[s])
    return _verdict(best, field, settings), best[4]


def _common_shifts(field: Field, predicted: FloatArray, settings: AstrometrySettings) -> FloatArray:
    """Shifts (n, 2), at most a few, that bring most stars onto detections; no bright ones are favoured."""
    near = field.tree.query_ball_point(predicted, settings.max_shift_px, return_sorted=True)
    gaps = [field.xy[n] - predicted[i] for i, n in enumerate(near) if n]
    if not gaps:
        return np.zeros((0, 2))
    shifts = np.concatenate(gaps)
    tree = cKDTree(shifts)
    votes = tree.query_ball_point(shifts, settings.match_radius_px, return_length=True)
    chosen: list[FloatArray] = []
    while len(chosen) < MOST_SHIFTS and votes.max() > 1:
        seed = int(np.argmax(votes))
        members = tree.query_ball_point(shifts[seed], settings.match_radius_px)
        chosen.append(np.median(shifts[members], axis=0))
        votes[tree.query_ball_point(shifts[seed], 2.0 * settings.match_radius_px)] = 0
    return np.array(chosen).reshape(-1, 2)


def _n_shifts(settings: AstrometrySettings) -> float:
    """Number of distinguishable shifts within the largest one."""
    return 1.0 + (settings.max_shift_px / settings.match_radius_px) ** 2


def _verdict(
    best: tuple[float, int, int, FloatArray, Pairs], field: Field, settings: AstrometrySettings
) -> WcsCheck:
    chance, n_matches, n_stars, shift, _ = best
    size, verdict = float(np.hypot(*shift)), "undecided"
    expected = min(n_stars, len(field.xy))  # the deeper of the two should have most of the other
    if n_matches >= settings.min_matches and chance <= settings.max_false_alarm_probability:
        verdict = "agrees" if size == 0.0 else "shifted"
    elif n_matches < 0.5 * expected >= 0.5 * settings.min_matches:
        verdict = "contradicted"
    message = (
        f"{verdict}: {n_matches} of {n_stars} stars on one of {len(field.xy)} detections "
        f"with a shift of {size:.1f} px, false-alarm probability {chance:.1e}"
    )
    if verdict == "undecided" and n_matches and chance <= settings.max_false_alarm_probability:
        message += f"; fewer than the {settings.min_matches} that plate_solving.min_matches asks for"
    x, y = (float(shift[0]), float(shift[1])) if n_matches else (np.nan, np.nan)
    return WcsCheck(verdict, n_stars, n_matches, x, y, chance, message)  # type: ignore[arg-type]


def _no_pairs() -> Pairs:
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def _limits(hints: Hints) -> Limits:
    """Hints with bounds in place of what is unknown."""
    low, high = hints.scale_min_arcsec, hints.scale_max_arcsec
    return Limits(
        scale_min_arcsec=low if np.isfinite(low) else 1e-3,
        scale_max_arcsec=high if np.isfinite(high) else 1e3,
        radius_arcsec=hints.radius * 3600.0 if np.isfinite(hints.radius) else np.inf,
    )


def _search_centre(stars: ReferenceStars, hints: Hints) -> tuple[float, float]:
    if np.isfinite(hints.ra + hints.dec):
        return hints.ra, hints.dec
    if len(stars.ra) == 0:
        return 0.0, 0.0
    return mean_direction(stars.ra, stars.dec)


def _finish(
    found: Recognition,
    field: Field,
    stars: ReferenceStars,
    centre: tuple[float, float],
    hints: Hints,
    method: str,
    settings: AstrometrySettings,
) -> AstrometricSolution:
    """Turn a recognised pattern into a refined WCS whose reference pixel is the middle of the frame."""
    if found.false_alarm_probability > settings.max_false_alarm_probability:
        raise AstrometryError(
            "no_match",
            f"best pattern: {len(found.stars)} of {found.n_stars_in_frame} stars matched, "
            f"false-alarm probability {found.false_alarm_probability:.1e}",
        )
    middle = complex((field.nx - 1) / 2.0, (field.ny - 1) / 2.0)
    on_plane = found.similarity.plane(np.array([middle, middle + 1.0, middle + 1j]))
    crval = tuple(float(c[0]) for c in plane_to_sky(on_plane[:1].real, on_plane[:1].imag, *centre))
    step = (on_plane[1:] - on_plane[0]) / 3600.0
    cd = np.array([step.real, step.imag])
    start = tan_wcs(np.array([middle.real + 1.0, middle.imag + 1.0]), (crval[0], crval[1]), cd)
    pairs = found.detections, found.stars
    fit = refine(start, field, stars, pairs, simplest="similarity", settings=settings)
    return describe(fit, field, hints, method=method, trials=found.trials, settings=settings)


def _not_at_the_same_pixel(one: Detections, other: Detections) -> tuple[Detections, IntArray]:
    """``one`` with the flux of repeated detections unknown, and indices of the others not repeated."""
    here, there = np.column_stack([one.x, one.y]), np.column_stack([other.x, other.y])
    known = np.flatnonzero(np.isfinite(there).all(axis=1))
    kept = set(known.tolist())
    flux = np.where(np.isfinite(here).all(axis=1), np.asarray(one.flux, float), np.nan)
    usable = np.flatnonzero(np.isfinite(flux))
    repeats = cKDTree(there[known]).query_ball_point(here[usable], SAME_PIXEL_PX)
    for i, found in zip(usable, repeats, strict=True):
        flux[i] = np.nan if found else flux[i]
        kept -= set(known[found].tolist()) if found else set()
    return replace(one, flux=flux), np.array(sorted(kept), dtype=np.int64)


Outcome = tuple[AstrometricSolution | None, Attempt]


def _try_wcs(
    method: str, wcs: WCS, detections: Detections, stars: ReferenceStars, settings: AstrometrySettings
) -> Outcome:
    check = verify_wcs(wcs, detections, stars, settings=settings)
    shift = float(np.hypot(check.shift_x_px, check.shift_y_px))
    try:
        solution = accept_wcs(wcs, detections, stars, method=method, settings=settings)
    except AstrometryError as error:
        chance = check.false_alarm_probability
        return None, Attempt(method, error.reason_code, check.n_matches, chance, np.nan, shift, str(error))
    return solution, _solved(solution, shift)


def _try_pattern(
    detections: Detections, stars: ReferenceStars, hints: Hints, settings: AstrometrySettings
) -> Outcome:
    try:
        solution = solve_pattern(detections, stars, hints, method="pattern", settings=settings)
    except AstrometryError as error:
        return None, _failed("pattern", error)
    return solution, _solved(solution, np.nan)


def _try_sibling(
    sibling: Sibling,
    detections: Detections,
    stars: ReferenceStars,
    hints: Hints,
    settings: AstrometrySettings,
) -> Outcome:
    """The sibling's word is checked by the catalogue where that has enough stars to tell."""
    method = f"pattern_of:{sibling.name}"
    try:
        solution = adopt_wcs(detections, sibling, hints, method=method, settings=settings)
        wcs = parse_wcs(solution.wcs_header)
        if verify_wcs(wcs, detections, stars, settings=settings).verdict != "undecided":
            solution = accept_wcs(wcs, detections, stars, method=method, settings=settings)
    except AstrometryError as error:
        return None, _failed(method, error)
    return solution, _solved(solution, np.nan)


def _solved(solution: AstrometricSolution, shift_px: float) -> Attempt:
    return Attempt(
        method=solution.method,
        outcome="solved",
        n_matches=solution.n_matches,
        false_alarm_probability=solution.false_alarm_probability,
        rms_px=solution.rms_px,
        shift_px=shift_px,
        message=f"{solution.n_matches} stars, {solution.model}, {solution.rms_px:.2f} px",
    )


def _failed(method: str, error: AstrometryError) -> Attempt:
    return Attempt(method, error.reason_code, None, np.nan, np.nan, np.nan, str(error))
