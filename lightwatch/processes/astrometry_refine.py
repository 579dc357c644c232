"""Refine a roughly right WCS with matched stars, and describe how good the result is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from lightwatch.errors import AstrometryError
from lightwatch.processes.astrometry_chance import Field, chance_of_matches, in_field, pair_up
from lightwatch.processes.astrometry_models import (
    FEWEST_STARS,
    PARAMETERS,
    fit_model,
    is_distorted,
    residuals_arcsec,
)
from lightwatch.processes.astrometry_sky import frame_geometry, sky_to_pixel, wcs_to_header
from lightwatch.processes.astrometry_types import (
    AstrometricSolution,
    AstrometrySettings,
    FloatArray,
    Hints,
    IntArray,
    ReferenceStars,
)

FLOOR_PX = 0.05  # no centroid is trusted more than this
UNKNOWN_CENTROID_PX = 0.3
UNKNOWN_POSITION_ARCSEC = 0.1
CLIP = 4.0  # sigma, the dispersion being measured from the residuals
ROUNDS = 7
SMALLEST_SPREAD2 = 0.5  # variance in units of the expected one, below which it is chance


@dataclass(frozen=True)
class Matches:
    """Indices of matched detections (into the field) and stars, and among how many they were found."""

    detections: IntArray
    stars: IntArray
    n_stars_in_frame: int
    radius_px: float


@dataclass(frozen=True)
class Fit:
    """A fitted WCS with the stars behind it; residuals (n, 2) in arcsec."""

    wcs: WCS
    model: str
    detections: IntArray  # into the field
    stars: IntArray
    residuals: FloatArray
    n_stars_in_frame: int
    radius_px: float

    @property
    def rms_arcsec(self) -> FloatArray:
        """Dispersion in east and north, corrected for the fitted parameters."""
        n, used = len(self.residuals), PARAMETERS[self.model] / 2.0
        return np.sqrt(np.sum(self.residuals**2, axis=0) / (n - used if n > used else np.nan))


def pixel_scale(wcs: WCS) -> float:
    """Arcsec per pixel of the linear part."""
    return float(np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix)))) * 3600.0


def refine(
    wcs: WCS,
    field: Field,
    stars: ReferenceStars,
    first_pairs: tuple[IntArray, IntArray],
    *,
    simplest: str,
    settings: AstrometrySettings,
) -> Fit:
    """Match, fit, choose the model, clip; again with what was learnt, until the matches stay the same.

    ``first_pairs``: indices of matched detections (into the field) and stars. ``simplest``: the model
    that the fewest stars may fit. Raises AstrometryError ``no_match`` when matches get lost on the way.
    """
    matched = Matches(*first_pairs, n_stars_in_frame=len(stars.ra), radius_px=settings.match_radius_px)
    fit = _fit(wcs, field, stars, matched, simplest, settings.max_sip_order)
    for turn in range(ROUNDS):
        if turn < 2:  # a distortion may have moved stars beyond the radius
            radius = _wide_radius(field, (3.0 - turn) * settings.match_radius_px, settings.match_radius_px)
        else:
            radius = 5.0 * float(np.max(fit.rms_arcsec)) / pixel_scale(fit.wcs)
            radius = min(settings.match_radius_px, max(1.0, radius)) if np.isfinite(radius) else 1.0
        matched = match(fit.wcs, field, stars, radius)
        before, fit = fit, _fit(wcs, field, stars, matched, simplest, settings.max_sip_order)
        if turn > 1 and np.array_equal(before.stars, fit.stars) and before.model == fit.model:
            break
    return fit


def _wide_radius(field: Field, wanted_px: float, least_px: float) -> float:
    """As wide as wanted, unless more than a twentieth of the stars would find a detection by chance."""
    crowded = np.sqrt(0.05 * field.nx * field.ny / (np.pi * max(len(field.xy), 1)))
    return max(least_px, min(wanted_px, float(crowded)))


def match(wcs: WCS, field: Field, stars: ReferenceStars, radius_px: float) -> Matches:
    """Stars of the frame and their detections under a WCS."""
    predicted = sky_to_pixel(wcs, stars.ra, stars.dec)
    inside = in_field(field, predicted, 0.0)
    d, s = pair_up(field, predicted[inside], radius_px)
    return Matches(d, inside[s], len(inside), radius_px)


def describe(
    fit: Fit, field: Field, hints: Hints, *, method: str, trials: float, settings: AstrometrySettings
) -> AstrometricSolution:
    """Measure a fit and refuse it when it is not to be believed.

    Raises AstrometryError: ``no_match`` (chance would do as well), ``scale_out_of_range``,
    ``anisotropic``, ``rms_too_large``.
    """
    free = int(np.ceil(PARAMETERS[fit.model] / 2))
    chance = chance_of_matches(
        field, fit.n_stars_in_frame, fit.detections, fit.radius_px, free_stars=free, trials=trials
    )
    solution = _measured(fit, field, method, chance)
    _refuse_if_wrong(solution, hints, settings)
    return solution


def _measured(fit: Fit, field: Field, method: str, chance: float) -> AstrometricSolution:
    scale, angle, parity, anisotropy = frame_geometry(fit.wcs, field.nx, field.ny)
    rms, offset = fit.rms_arcsec, np.median(fit.residuals, axis=0)
    return AstrometricSolution(
        wcs_header=wcs_to_header(fit.wcs),
        method=method,
        model=fit.model,
        n_matches=len(fit.stars),
        rms_ra_arcsec=float(rms[0]),
        rms_dec_arcsec=float(rms[1]),
        rms_px=float(np.sqrt(np.mean(rms**2)) / scale),
        median_offset_ra_arcsec=float(offset[0]),
        median_offset_dec_arcsec=float(offset[1]),
        pixel_scale_arcsec=scale,
        angle_to_north_deg=angle,
        parity=parity,
        anisotropy=anisotropy,
        false_alarm_probability=chance,
        matched_detections=field.index[fit.detections],
        matched_stars=fit.stars,
    )


def _refuse_if_wrong(solution: AstrometricSolution, hints: Hints, settings: AstrometrySettings) -> None:
    n, chance, scale = solution.n_matches, solution.false_alarm_probability, solution.pixel_scale_arcsec
    if n < settings.min_matches or chance > settings.max_false_alarm_probability:
        raise AstrometryError("no_match", f"{n} matched stars, false-alarm probability {chance:.1e}")
    if scale < hints.scale_min_arcsec or scale > hints.scale_max_arcsec:
        expected = f"{hints.scale_min_arcsec:.4g} to {hints.scale_max_arcsec:.4g}"
        raise AstrometryError("scale_out_of_range", f"{scale:.4g} arcsec per pixel, expected {expected}")
    if solution.anisotropy > settings.max_anisotropy:
        raise AstrometryError("anisotropic", f"the scales of the axes differ by {solution.anisotropy:.1%}")
    if not solution.rms_px <= settings.max_rms_px:
        raise AstrometryError("rms_too_large", f"dispersion of {solution.rms_px:.2f} px per axis")


def _fit(
    wcs: WCS, field: Field, stars: ReferenceStars, matched: Matches, simplest: str, max_sip_order: int
) -> Fit:
    """The model that the matches support, fitted with clipping."""
    covered = _covers_frame(field, matched.detections)
    models = _supported(wcs, len(matched.stars), simplest, max_sip_order if covered else 1)
    if not models:
        raise AstrometryError("no_match", f"{len(matched.stars)} matched stars are too few to fit a WCS")
    xy, sky = field.xy[matched.detections], np.column_stack([stars.ra, stars.dec])[matched.stars]
    sigma = _sigma_arcsec(wcs, field, stars, matched)
    *simpler, richest = models
    fitted, keep = _clipped(richest, wcs, xy, sky, sigma)
    fits = {m: fit_model(m, wcs, xy[keep], sky[keep], sigma[keep] ** -2) for m in simpler} | {richest: fitted}
    best = _best_model(fits, xy[keep], sky[keep], sigma[keep])
    if best != richest:
        fitted, keep = _clipped(best, wcs, xy, sky, sigma)
    return Fit(
        wcs=fitted,
        model=best,
        detections=matched.detections[keep],
        stars=matched.stars[keep],
        residuals=residuals_arcsec(fitted, xy[keep], sky[keep]),
        n_stars_in_frame=matched.n_stars_in_frame,
        radius_px=matched.radius_px,
    )


def _supported(wcs: WCS, n_stars: int, simplest: str, max_sip_order: int) -> list[str]:
    """Models, simple ones first, that so many stars may fit; a distortion of the header is kept."""
    names = list(PARAMETERS)
    order = 1 if is_distorted(wcs) else max_sip_order
    allowed = [m for m in names if not m.startswith("sip") or int(m[3:]) <= order]
    return [m for m in allowed[names.index(simplest) :] if n_stars >= FEWEST_STARS[m]]


def _covers_frame(field: Field, detections: IntArray) -> bool:
    """Whether every quarter of the frame has a tenth of the matches: a polynomial must not extrapolate."""
    quarter = (field.xy[detections] > np.array([field.nx, field.ny]) / 2.0) @ np.array([1, 2])
    return bool(np.bincount(quarter, minlength=4).min() >= 0.1 * len(detections))


def _sigma_arcsec(wcs: WCS, field: Field, stars: ReferenceStars, matched: Matches) -> FloatArray:
    """Expected error per axis of each match: centroid and catalogue."""
    centroid = field.uncertainty_px[matched.detections]
    centroid = np.where(np.isfinite(centroid), np.hypot(centroid, FLOOR_PX), UNKNOWN_CENTROID_PX)
    position = np.asarray(stars.uncertainty_arcsec, float)[matched.stars]
    position = np.where(np.isfinite(position), position, UNKNOWN_POSITION_ARCSEC)
    return np.hypot(centroid * pixel_scale(wcs), position)


def _clipped(
    model: str, wcs: WCS, xy: FloatArray, sky: FloatArray, sigma: FloatArray
) -> tuple[WCS, NDArray[np.bool_]]:
    """Fit and the stars it kept: within CLIP times the dispersion that the residuals show."""
    keep = np.ones(len(xy), bool)
    fitted = fit_model(model, wcs, xy, sky, sigma**-2)
    for _ in range(3):
        pull = np.abs(residuals_arcsec(fitted, xy, sky)) / sigma[:, None]
        left = max(2.0 * keep.sum() - PARAMETERS[model], 1.0)
        spread = 1.4826 * float(np.median(pull[keep])) * np.sqrt(2.0 * keep.sum() / left)
        spread *= 1.0 + 4.0 / left  # a few residuals know little of their dispersion
        now = pull.max(axis=1) < CLIP * max(spread, 0.3)
        if now.sum() < FEWEST_STARS[model] or np.array_equal(now, keep):
            break
        keep = now
        fitted = fit_model(model, wcs, xy[keep], sky[keep], sigma[keep] ** -2)
    return fitted, keep


def _best_model(fits: dict[str, WCS], xy: FloatArray, sky: FloatArray, sigma: FloatArray) -> str:
    """Smallest BIC; the size of the errors is what the richest model leaves, if more than expected."""
    chi2 = {m: float(np.sum((residuals_arcsec(w, xy, sky) / sigma[:, None]) ** 2)) for m, w in fits.items()}
    n, richest = 2.0 * len(xy), list(fits)[-1]
    spread2 = max(chi2[richest] / max(n - PARAMETERS[richest], 1.0), SMALLEST_SPREAD2)
    return min(fits, key=lambda m: chi2[m] / spread2 + PARAMETERS[m] * np.log(max(n, np.e)))
