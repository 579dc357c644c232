"""calculate_normalization_coefficient: relative transparency of the frames of a filter, from all stars at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from lightwatch.flags import Flag
from lightwatch.pipeline.grouping import group_members
from lightwatch.pipeline.task import Group, Outcome, TaskContext
from lightwatch.processes.normalization import Normalization as Solution
from lightwatch.processes.normalization import (
    apertures_serve_better,
    gauge_fluxes,
    normalize,
    unsound_minority,
)
from lightwatch.structure import queries, queries_joint, schema
from lightwatch.structure.config import Normalization as Settings
from lightwatch.structure.queries import replace_rows
from lightwatch.structure.renewal import Tolerance, renew_rows
from lightwatch.structure.unknown import or_nan, or_null

_SCATTER_FLOOR = 0.001
_VARIABLE_SCATTER = 0.01
_OUTLYING_FRAME_SCATTER = 0.05
_COEFFICIENT_RANGE = (0.02, 50.0)
_OUTLIER_SIGMA = 6.0
_MAX_ITERATIONS = 40
#: the scale is pinned to the catalogue, to the nearest half magnitude, so that new frames do not move it
_GAUGE_STEP_MAG = 0.5
#: a PSF that misses more of the light measures stars worse than apertures do (decision 006: simulated stars)
_LEAST_MODEL_ERROR = 0.03
#: pixel-integrated; of larger stars, apertures lose light when the PSF changes
_UNDERSAMPLED_FWHM_PX = 2.5
#: single fluxes that kept less than this part of their weight are listed
_LISTED_WEIGHT = 0.5
#: a row stays as it is until the solution with new frames differs by more (decision 011)
_SAME = {
    name: Tolerance(4e-7)
    for name in ("coefficient", "coefficient_uncertainty", "psf_uncertainty", "reduced_chi2")
}
#: a blend or a shifted star repeats itself, and what does not repeat shows as its scatter
_UNUSABLE = Flag.SATURATED | Flag.LOW_COVERAGE | Flag.EXTENDED

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FluxTable:
    """Fluxes of one filter as a matrix, (n_frames, n_stars)."""

    frame_ids: NDArray[np.int64]
    star_ids: NDArray[np.int64]
    flux: Floats
    flux_uncertainty: Floats
    aperture_flux: Floats
    aperture_flux_uncertainty: Floats
    good: NDArray[np.bool_]
    psf_error: Floats  # (n_frames,) relative error of the PSF's total flux
    model_error: Floats  # (n_frames,) fraction of the light by which the PSF misses the data
    fwhm_px: Floats  # (n_frames,)
    unsound: NDArray[np.bool_]  # (n_frames,) the fit of the PSF did not converge
    gmag: Floats
    settings: Settings
    only_single_sources: bool  # every ROI is one point source: its flux may be an aperture's


@dataclass(frozen=True)
class Normalized:
    """The solution and what its rows belong to."""

    table: FluxTable
    solution: Solution
    flux_kind: str


def load(context: TaskContext, group: Group) -> FluxTable:
    """All fluxes of a filter."""
    workspace = context.workspace
    settings = workspace.config.normalization
    stars = queries.rows(workspace.reader, queries.stars_of(context.footprint_hash))
    star_ids = np.array([star["gaia_id"] for star in stars], dtype=np.int64)
    frame_ids = np.array([frame["id"] for frame in group_members(context, group)], dtype=np.int64)
    column = {int(star): j for j, star in enumerate(star_ids)}
    row = {int(frame): i for i, frame in enumerate(frame_ids)}
    shape = (len(frame_ids), len(star_ids))
    flux, error, good = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, bool)
    aperture, aperture_error = np.full(shape, np.nan), np.full(shape, np.nan)
    psf_error, model_error, fwhm_px = np.full((3, len(frame_ids)), np.nan)
    unsound = np.zeros(len(frame_ids), bool)
    allowed = [_is_allowed(settings, star) for star in stars]
    query = queries.star_fluxes(context.footprint_hash, context.recipes["star_photometry"], group.filter)
    for item in queries.stream(workspace.reader, query):
        if item.frame_id not in row:  # what is left of a frame that must be measured again
            continue
        i, j = row[item.frame_id], column[item.star_gaia_id]
        if item.flux is None or item.flux_uncertainty is None:
            continue
        flux[i, j], error[i, j] = item.flux, item.flux_uncertainty
        aperture[i, j] = or_nan(item.aperture_flux)
        aperture_error[i, j] = or_nan(item.aperture_flux_uncertainty)
        psf_error[i] = or_nan(item.psf_total_flux_error)
        model_error[i], fwhm_px[i] = or_nan(item.psf_model_error), or_nan(item.psf_fwhm_pixels)
        unsound[i] = bool(item.psf_flags & int(Flag.NOT_CONVERGED))
        psf_is_good = item.psf_chi2 is None or item.psf_chi2 <= settings.max_psf_chi2
        good[i, j] = allowed[j] and psf_is_good and not item.flags & int(_UNUSABLE)
    gmag = np.array([or_nan(star["gmag"]) for star in stars])
    rois = workspace.config.rois.values()
    single = all(len(roi.point_sources or {}) <= 1 for roi in rois)
    return FluxTable(
        frame_ids=frame_ids,
        star_ids=star_ids,
        flux=flux,
        flux_uncertainty=error,
        aperture_flux=aperture,
        aperture_flux_uncertainty=aperture_error,
        good=good,
        psf_error=psf_error,
        model_error=model_error,
        fwhm_px=fwhm_px,
        unsound=unsound,
        gmag=gmag,
        settings=settings,
        only_single_sources=single,
    )


def _is_allowed(settings: Settings, star: Mapping[str, Any]) -> bool:
    names = {str(star["gaia_id"]), star["name"]}
    listed = settings.stars_to_use is None or bool(names & set(settings.stars_to_use))
    return listed and not names & set(settings.stars_to_exclude)


def compute(table: FluxTable) -> Outcome:
    """Solve all frames of the filter, with PSF fluxes or with those in apertures.

    PSF fluxes are better wherever the PSF can be known. Where stars are smaller than pixels it cannot, and
    apertures serve when no ROI is a blend: their sums do not depend on how the light lies on the pixels.

    A frame whose PSF did not converge has fluxes of any size: it takes no part, gets no coefficient, and the other
    frames' values are those of a night without it.
    """
    left_out = unsound_minority(table.unsound)
    table = replace(
        table,
        good=table.good & ~left_out[:, None],
        model_error=np.where(left_out, np.nan, table.model_error),
    )
    in_apertures = table.only_single_sources and apertures_serve_better(
        table.model_error,
        table.fwhm_px,
        least_model_error=_LEAST_MODEL_ERROR,
        largest_fwhm_px=_UNDERSAMPLED_FWHM_PX,
    )
    if not in_apertures:
        solution = _solve(table, table.flux, table.flux_uncertainty, table.good)
        return Outcome(output=Normalized(table, _told(solution, left_out), "psf"))
    sound = table.good & np.isfinite(table.aperture_flux) & (table.aperture_flux_uncertainty > 0)
    solution = _solve(table, table.aperture_flux, table.aperture_flux_uncertainty, sound)
    return Outcome(output=Normalized(table, _told(solution, left_out), "aperture"))


def _told(solution: Solution, left_out: NDArray[np.bool_]) -> Solution:
    """The solution with the reason why frames have none."""
    return replace(solution, frame_flags=np.where(left_out, int(Flag.NOT_CONVERGED), solution.frame_flags))


def _solve(table: FluxTable, flux: Floats, error: Floats, good: NDArray[np.bool_]) -> Solution:
    return normalize(
        flux,
        error,
        good,
        common_error=table.psf_error,
        gauge_flux=gauge_fluxes(table.flux, table.good, table.gmag, step_mag=_GAUGE_STEP_MAG),
        min_stars=table.settings.min_stars,
        min_snr=table.settings.min_snr,
        scatter_floor=_SCATTER_FLOOR,
        variable_scatter=_VARIABLE_SCATTER,
        outlying_frame_scatter=_OUTLYING_FRAME_SCATTER,
        coefficient_range=_COEFFICIENT_RANGE,
        outlier_sigma=_OUTLIER_SIGMA,
        max_iterations=_MAX_ITERATIONS,
    )


def save(connection: Connection, context: TaskContext, group: Group, output: Normalized) -> None:
    """Coefficients of the frames, and what was learned of the stars."""
    solution, table = output.solution, output.table
    key = {"combined_footprint_hash": context.footprint_hash, "filter": group.filter}
    frames = [
        {
            **key,
            "frame_id": int(frame),
            "coefficient": float(solution.coefficient[i]),
            "coefficient_uncertainty": or_null(solution.coefficient_uncertainty[i]),
            "psf_uncertainty": or_null(solution.common_uncertainty[i]),
            "reduced_chi2": or_null(solution.frame_chi2[i]),
            "n_stars": int(solution.frame_n_stars[i]),
            "flux_kind": output.flux_kind,
            "recipe": context.recipe,
            "flags": int(solution.frame_flags[i]),
        }
        for i, frame in enumerate(table.frame_ids)
        if np.isfinite(solution.coefficient[i]) and solution.coefficient[i] > 0
    ]
    stars = [
        {
            **key,
            "star_gaia_id": int(star),
            "mean_flux": or_null(solution.star_flux[j]),
            "mean_flux_uncertainty": or_null(solution.star_flux_uncertainty[j]),
            "excess_scatter": or_null(solution.star_scatter[j]),
            "influence": or_null(solution.influence_max[j]),
            "influence_rms": or_null(solution.influence_rms[j]),
            "n_frames": int(solution.star_n_frames[j]),
            "recipe": context.recipe,
            "flags": int(solution.star_flags[j]),
        }
        for j, star in enumerate(table.star_ids)
    ]
    ours = queries_joint.coefficients_of_group(context.footprint_hash, group.filter)
    renew_rows(connection, schema.normalization_coefficients, ours, frames, _SAME)
    exclusions = [{**key, **row, "recipe": context.recipe} for row in _exclusions(output)]
    replace_rows(connection, schema.normalization_stars, key, stars)
    replace_rows(connection, schema.normalization_exclusions, key, exclusions)


def _exclusions(output: Normalized) -> list[dict[str, Any]]:
    """Stars, frames and single fluxes that the solution rests on less than on others, or not at all."""
    solution, table = output.solution, output.table
    empty: dict[str, Any] = {"frame_id": None, "star_gaia_id": None, "residual": None, "weight": None}
    stars = [
        {**empty, "star_gaia_id": int(table.star_ids[j]), "flags": flags, "reason": _reason(flags, scatter)}
        for j, (flags, scatter) in enumerate(
            zip(solution.star_flags.tolist(), solution.star_scatter, strict=True)
        )
        if flags
    ]
    frames = [
        {**empty, "frame_id": int(table.frame_ids[i]), "flags": flags, "reason": _reason(flags, scatter)}
        for i, (flags, scatter) in enumerate(
            zip(solution.frame_flags.tolist(), solution.frame_scatter, strict=True)
        )
        if flags
    ]
    pairs = [
        {
            "frame_id": int(table.frame_ids[i]),
            "star_gaia_id": int(table.star_ids[j]),
            "residual": or_null(solution.pair_residual[i, j]),
            "weight": or_null(solution.pair_weight[i, j]),
            "flags": int(Flag.OUTLIER),
            "reason": f"outlier: {100 * solution.pair_residual[i, j]:+.1f} % off its model",
        }
        for i, j in np.argwhere(solution.pair_weight < _LISTED_WEIGHT)
    ]
    return stars + frames + pairs


def _reason(flags: int, scatter: float) -> str:
    """The flags in words, with the scatter beyond the noise where it is known."""
    names = ", ".join(Flag(flags).names)
    return f"{names}: scatter {100 * scatter:.1f} % beyond the noise" if np.isfinite(scatter) else names
