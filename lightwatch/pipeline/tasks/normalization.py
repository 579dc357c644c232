"""calculate_normalization_coefficient: relative transparency of the frames of a filter, from all stars at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from lightwatch.errors import TooFewStars
from lightwatch.flags import Flag
from lightwatch.pipeline.task import Group, Outcome, TaskContext
from lightwatch.processes.normalization import Normalization as Solution
from lightwatch.processes.normalization import normalize
from lightwatch.structure import queries, schema
from lightwatch.structure.config import Normalization as Settings
from lightwatch.structure.queries import replace_rows

_SCATTER_FLOOR = 0.001
_VARIABLE_SCATTER = 0.01
_OUTLYING_FRAME_SCATTER = 0.05
_COEFFICIENT_RANGE = (0.02, 50.0)
_OUTLIER_SIGMA = 6.0
_MAX_ITERATIONS = 40
#: the scale is pinned to the catalogue, to the nearest half magnitude, so that new frames do not move it
_GAUGE_STEP_MAG = 0.5
_CLEARLY_STEADIER = 0.95
_FRAMES_TO_JUDGE = 10
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
    frame_ids = np.array([frame["id"] for frame in group.members], dtype=np.int64)
    column = {int(star): j for j, star in enumerate(star_ids)}
    row = {int(frame): i for i, frame in enumerate(frame_ids)}
    shape = (len(frame_ids), len(star_ids))
    flux, error, good = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, bool)
    aperture, aperture_error = np.full(shape, np.nan), np.full(shape, np.nan)
    allowed = [_is_allowed(settings, star) for star in stars]
    query = queries.star_fluxes(context.footprint_hash, context.recipes["star_photometry"], group.filter)
    for item in queries.rows(workspace.reader, query):
        i, j = row[item["frame_id"]], column[item["star_gaia_id"]]
        if item["flux"] is None or item["flux_uncertainty"] is None:
            continue
        flux[i, j], error[i, j] = item["flux"], item["flux_uncertainty"]
        aperture[i, j] = _or_nan(item["aperture_flux"])
        aperture_error[i, j] = _or_nan(item["aperture_flux_uncertainty"])
        psf_is_good = item["psf_chi2"] is None or item["psf_chi2"] <= settings.max_psf_chi2
        good[i, j] = allowed[j] and psf_is_good and not item["flags"] & int(_UNUSABLE)
    gmag = np.array([np.nan if star["gmag"] is None else star["gmag"] for star in stars], dtype=float)
    rois = workspace.config.rois.values()
    single = all(len(roi.point_sources or {}) <= 1 for roi in rois)
    return FluxTable(frame_ids, star_ids, flux, error, aperture, aperture_error, good, gmag, settings, single)


def _is_allowed(settings: Settings, star: Mapping[str, Any]) -> bool:
    names = {str(star["gaia_id"]), star["name"]}
    listed = settings.stars_to_use is None or bool(names & set(settings.stars_to_use))
    return listed and not names & set(settings.stars_to_exclude)


def compute(table: FluxTable) -> Outcome:
    """Solve all frames of the filter, with the kind of flux in which the stars are steadier.

    PSF fluxes are better wherever the PSF can be known. Where stars are smaller than pixels it cannot, and
    apertures repeat better; they serve when no ROI is a blend.
    """
    by_psf = _solve(table, table.flux, table.flux_uncertainty, table.good)
    if not table.only_single_sources:
        return Outcome(output=Normalized(table, by_psf, "psf"))
    sound = table.good & np.isfinite(table.aperture_flux) & (table.aperture_flux_uncertainty > 0)
    try:
        by_aperture = _solve(table, table.aperture_flux, table.aperture_flux_uncertainty, sound)
    except TooFewStars:
        return Outcome(output=Normalized(table, by_psf, "psf"))
    steadier = _unsteadiness(table.aperture_flux, sound, by_aperture) < _CLEARLY_STEADIER * _unsteadiness(
        table.flux, table.good, by_psf
    )
    if steadier:
        return Outcome(output=Normalized(table, by_aperture, "aperture"))
    return Outcome(output=Normalized(table, by_psf, "psf"))


def _solve(table: FluxTable, flux: Floats, error: Floats, good: NDArray[np.bool_]) -> Solution:
    return normalize(
        flux,
        error,
        good,
        gauge_flux=_gauge(table),
        min_stars=table.settings.min_stars,
        min_snr=table.settings.min_snr,
        scatter_floor=_SCATTER_FLOOR,
        variable_scatter=_VARIABLE_SCATTER,
        outlying_frame_scatter=_OUTLYING_FRAME_SCATTER,
        coefficient_range=_COEFFICIENT_RANGE,
        outlier_sigma=_OUTLIER_SIGMA,
        max_iterations=_MAX_ITERATIONS,
    )


def _unsteadiness(flux: Floats, good: NDArray[np.bool_], solution: Solution) -> float:
    """Median over the stars of their robust relative scatter once normalised."""
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = flux / solution.coefficient[:, None] / solution.star_flux[None, :] - 1
    scatter = []
    for j in range(flux.shape[1]):
        values = relative[good[:, j] & np.isfinite(relative[:, j]), j]
        if len(values) >= _FRAMES_TO_JUDGE:
            scatter.append(float(np.median(np.abs(values - np.median(values)))))
    return float(np.median(scatter)) if scatter else np.nan


def _gauge(table: FluxTable) -> Floats | None:
    """Expected fluxes of the stars, or None when the catalogue has no magnitudes for them."""
    bright = table.good & (table.flux > 0) & np.isfinite(table.gmag)[None, :]
    if not bright.any():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        each = table.gmag[None, :] + 2.5 * np.log10(table.flux)
    zeropoint = _GAUGE_STEP_MAG * round(float(np.median(each[bright])) / _GAUGE_STEP_MAG)
    return np.asarray(10 ** (-0.4 * (table.gmag - zeropoint)))


def save(connection: Connection, context: TaskContext, group: Group, output: Normalized) -> None:
    """Coefficients of the frames, and what was learned of the stars."""
    solution, table = output.solution, output.table
    key = {"combined_footprint_hash": context.footprint_hash, "filter": group.filter}
    frames = [
        {
            **key,
            "frame_id": int(frame),
            "coefficient": float(solution.coefficient[i]),
            "coefficient_uncertainty": _known(solution.coefficient_uncertainty[i]),
            "reduced_chi2": _known(solution.frame_chi2[i]),
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
            "mean_flux": _known(solution.star_flux[j]),
            "mean_flux_uncertainty": _known(solution.star_flux_uncertainty[j]),
            "excess_scatter": _known(solution.star_scatter[j]),
            "influence": _known(solution.influence_max[j]),
            "n_frames": int(solution.star_n_frames[j]),
            "recipe": context.recipe,
            "flags": int(solution.star_flags[j]),
        }
        for j, star in enumerate(table.star_ids)
    ]
    replace_rows(connection, schema.normalization_coefficients, key, frames)
    replace_rows(connection, schema.normalization_stars, key, stars)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
