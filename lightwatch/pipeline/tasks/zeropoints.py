"""calculate_absolute_zeropoints: the magnitude of 1 electron/s, for the normalised scale and for every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from lightwatch.errors import TooFewStars
from lightwatch.flags import Flag
from lightwatch.pipeline.grouping import group_members
from lightwatch.pipeline.task import Group, Outcome, TaskContext
from lightwatch.processes import zeropoint
from lightwatch.processes.detection import limiting_flux
from lightwatch.structure import frame_rows, queries, queries_joint, schema
from lightwatch.structure.config import ZeroPoints
from lightwatch.structure.magnitude_systems import INSTRUMENTAL
from lightwatch.structure.queries import Row, replace_rows
from lightwatch.structure.renewal import Tolerance, is_same, renew_rows
from lightwatch.structure.unknown import or_nan, or_null

_CLIP_SIGMA = 3.5
_MIN_COLOUR_STARS = 6
_LIMIT_SIGMA = 5.0
#: colour of a star without colour: mean and scatter of field stars at middle latitudes
_ASSUMED_BP_RP = (1.0, 0.4)
#: a row stays as it is until the solution with new frames differs by more (decision 011)
_SAME = {
    name: Tolerance(4e-7)
    for name in (
        "zeropoint",
        "zeropoint_uncertainty",
        "zeropoint_scatter",
        "normalised_zeropoint",
        "normalised_zeropoint_uncertainty",
    )
}
_SAME_DEPTH = {"limiting_magnitude": Tolerance(1e-6)}
_UNFIT = Flag.VARIABLE | Flag.UNLINKED

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ZeropointInputs:
    """Normalised star fluxes, frames and catalogue photometry of one filter."""

    frames: list[Row]
    coefficients: list[Row]
    star_ids: NDArray[np.int64]
    flux: Floats  # (n_stars,) normalised, NaN where unfit
    flux_uncertainty: Floats
    frame_flux: Floats  # (n_frames, n_stars)
    frame_flux_uncertainty: Floats
    gmag: Floats
    bmag: Floats
    rmag: Floats
    catalog: str
    settings: ZeroPoints
    stored_scale: Row | None  # a row of the last solution, which holds the common scale


@dataclass(frozen=True)
class ZeropointOutput:
    """Zero points of the frames and of their common scale."""

    inputs: ZeropointInputs
    band: zeropoint.Band
    magnitudes: zeropoint.CatalogMagnitudes
    scale: zeropoint.Zeropoints
    frames: zeropoint.Zeropoints
    each: zeropoint.Zeropoints


def load(context: TaskContext, group: Group) -> ZeropointInputs:
    """Everything from the database."""
    reader = context.workspace.reader
    name, recipe = context.footprint_hash, context.recipes["calculate_normalization_coefficient"]
    stars = queries.rows(reader, queries.stars_of(name))
    means = {
        row["star_gaia_id"]: row
        for row in queries.rows(reader, queries.normalised_stars(name, recipe, group.filter))
    }
    coefficients = sorted(
        queries.rows(reader, queries.normalization_of(name, recipe, group.filter)),
        key=lambda row: row["frame_id"],
    )
    frame_flux, frame_error = _frame_fluxes(context, group, coefficients, stars)
    flux, error = _mean_fluxes([means.get(star["gaia_id"]) for star in stars])
    footprint_row = queries.rows(reader, queries.current_footprint())[0]
    settings = context.workspace.config.zeropoints
    of_filter = queries_joint.zeropoints_of_filter(name, context.recipe, settings.band, group.filter)
    solved = {row["frame_id"] for row in coefficients}
    return ZeropointInputs(
        frames=[frame for frame in group_members(context, group) if frame["id"] in solved],
        coefficients=coefficients,
        star_ids=np.array([star["gaia_id"] for star in stars], dtype=np.int64),
        flux=flux,
        flux_uncertainty=error,
        frame_flux=frame_flux,
        frame_flux_uncertainty=frame_error,
        gmag=_column(stars, "gmag"),
        bmag=_column(stars, "bmag"),
        rmag=_column(stars, "rmag"),
        catalog=footprint_row["catalog_name"] or "unknown",
        settings=settings,
        stored_scale=next(iter(queries.rows(reader, of_filter.limit(1))), None),
    )


def _frame_fluxes(
    context: TaskContext, group: Group, coefficients: list[Row], stars: list[Row]
) -> tuple[Floats, Floats]:
    """Fluxes and their errors, (n_frames, n_stars), of the kind that the coefficients rest on; NaN where unknown."""
    row_of = {row["frame_id"]: i for i, row in enumerate(coefficients)}
    column_of = {star["gaia_id"]: j for j, star in enumerate(stars)}
    flux, error = np.full((2, len(coefficients), len(stars)), np.nan)
    query = queries.star_fluxes(context.footprint_hash, context.recipes["star_photometry"], group.filter)
    for item in queries.stream(context.workspace.reader, query):
        if item.frame_id not in row_of or item.flags & int(Flag.SATURATED):
            continue
        place = row_of[item.frame_id], column_of[item.star_gaia_id]
        value, sigma = item.flux, item.flux_uncertainty
        if coefficients[place[0]]["flux_kind"] == "aperture":
            value, sigma = item.aperture_flux, item.aperture_flux_uncertainty
        if value is not None and sigma is not None:
            flux[place], error[place] = value, sigma
    return flux, error


def _mean_fluxes(means: list[Row | None]) -> tuple[Floats, Floats]:
    """Mean fluxes of stars and their errors, NaN where a star is unfit."""
    flux, error = np.full((2, len(means)), np.nan)
    for j, row in enumerate(means):
        if row is not None and row["mean_flux"] is not None and not row["flags"] & int(_UNFIT):
            flux[j], error[j] = row["mean_flux"], or_nan(row["mean_flux_uncertainty"])
    return flux, error


def _column(stars: list[Row], name: str) -> Floats:
    return np.array([np.nan if star[name] is None else star[name] for star in stars], dtype=float)


def compute(inputs: ZeropointInputs) -> Outcome:
    """Zero point of the normalised scale, and from it and the coefficients those of the frames.

    Raises
    ------
    TooFewStars
        ``no_zeropoint`` when no star has a magnitude in the band.
    """
    settings = inputs.settings
    band = zeropoint.band_named(settings.band)
    # stars that were measured here: no catalogue stands behind their magnitudes
    if inputs.catalog == "frames":
        band = replace(band, system=INSTRUMENTAL)
    magnitudes = zeropoint.catalog_magnitudes(
        inputs.gmag, inputs.bmag, inputs.rmag,
        band=band,
        assumed_bp_rp=_ASSUMED_BP_RP if settings.use_uncoloured_stars else None,
    )  # fmt: skip
    colour = magnitudes.bp_rp
    term = zeropoint.NO_COLOUR_TERM
    if settings.colour_term:
        term = zeropoint.fit_colour_term(
            inputs.frame_flux, inputs.frame_flux_uncertainty, magnitudes.mag, magnitudes.mag_uncertainty, colour,
            clip_sigma=_CLIP_SIGMA, min_stars=_MIN_COLOUR_STARS,
        )  # fmt: skip

    def zeropoints(flux: Floats, error: Floats) -> zeropoint.Zeropoints:
        return zeropoint.frame_zeropoints(
            flux, error, magnitudes.mag, magnitudes.mag_uncertainty, colour,
            colour_term=term, clip_sigma=_CLIP_SIGMA, min_stars=1,
        )  # fmt: skip

    scale = _pinned(inputs, zeropoints(inputs.flux[None, :], inputs.flux_uncertainty[None, :]))
    if not np.isfinite(scale.zeropoint[0]):
        raise TooFewStars("no_zeropoint", f"no reference star has a magnitude in the band {settings.band}")
    coefficient = np.array([row["coefficient"] for row in inputs.coefficients], dtype=float)
    error = np.array([row["coefficient_uncertainty"] or np.nan for row in inputs.coefficients], dtype=float)
    frames = zeropoint.zeropoints_by_coefficient(scale, coefficient, error)
    each = zeropoints(inputs.frame_flux, inputs.frame_flux_uncertainty)
    return Outcome(output=ZeropointOutput(inputs, band, magnitudes, scale, frames, each))


def _pinned(inputs: ZeropointInputs, scale: zeropoint.Zeropoints) -> zeropoint.Zeropoints:
    """The scale as it is stored, while the present one is the same within its tolerance: all frames share it."""
    present = {
        "normalised_zeropoint": float(scale.zeropoint[0]),
        "normalised_zeropoint_uncertainty": or_null(scale.zeropoint_uncertainty[0]),
    }
    stored = inputs.stored_scale
    if stored is None or not is_same(stored, present, _SAME):
        return scale
    value, error = (or_nan(stored[name]) for name in present)
    return replace(scale, zeropoint=np.array([value]), zeropoint_uncertainty=np.array([error]))


def save(connection: Connection, context: TaskContext, group: Group, output: ZeropointOutput) -> None:
    """Catalogue photometry, zero points, and the depth of every frame."""
    inputs, band = output.inputs, output.band
    too_few = int(Flag.TOO_FEW_STARS) if output.scale.n_stars[0] < inputs.settings.min_stars else 0
    rows = []
    for i, row in enumerate(inputs.coefficients):
        rows.append(
            {
                "combined_footprint_hash": context.footprint_hash,
                "frame_id": row["frame_id"],
                "band": band.name,
                "source_catalog": inputs.catalog,
                "system": band.system,
                "zeropoint": float(output.frames.zeropoint[i]),
                "zeropoint_uncertainty": or_null(output.frames.zeropoint_uncertainty[i]),
                "zeropoint_scatter": or_null(output.each.scatter[i]),
                "normalised_zeropoint": float(output.scale.zeropoint[0]),
                "normalised_zeropoint_uncertainty": or_null(output.scale.zeropoint_uncertainty[0]),
                "n_stars": int(output.each.n_stars[i]),
                "recipe": context.recipe,
                "flags": int(output.frames.flags[i]) | too_few,
            }
        )
    ours = queries_joint.zeropoints_of_group(context.footprint_hash, group.filter)
    renew_rows(connection, schema.absolute_zeropoints, ours, rows, _SAME)
    _save_catalog(connection, context, output)
    _save_depth(connection, inputs, {row["frame_id"]: row["zeropoint"] for row in rows})


def _save_catalog(connection: Connection, context: TaskContext, output: ZeropointOutput) -> None:
    inputs, band = output.inputs, output.band
    rows: list[dict[str, Any]] = [
        {
            "catalog": inputs.catalog,
            "band": band.name,
            "star_gaia_id": int(star),
            "mag": float(output.magnitudes.mag[j]),
            "mag_err": or_null(output.magnitudes.mag_uncertainty[j]),
            "original_catalog_id": str(int(star)),
            "system": band.system,
            "recipe": context.recipe,
            "flags": int(output.magnitudes.flags[j]),
        }
        for j, star in enumerate(inputs.star_ids)
        if np.isfinite(output.magnitudes.mag[j])
    ]
    replace_rows(
        connection, schema.catalog_star_photometry, {"catalog": inputs.catalog, "band": band.name}, rows
    )


def _save_depth(connection: Connection, inputs: ZeropointInputs, zeropoints: dict[int, float]) -> None:
    """Column limiting_magnitude of the frames, where it changed."""
    depths: dict[int, float | None] = {}
    for frame in inputs.frames:
        rms, fwhm = frame["background_rms_electron_per_second"], frame["seeing_pixels"]
        depth = None
        if rms and fwhm:
            depth = zeropoints[frame["id"]] - 2.5 * float(np.log10(limiting_flux(rms, fwhm, _LIMIT_SIGMA)))
        if not is_same(frame, {"limiting_magnitude": depth}, _SAME_DEPTH):
            depths[frame["id"]] = depth
    frame_rows.set_limiting_magnitudes(connection, depths)
