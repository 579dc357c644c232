"""prepare_calibrated_cutouts: one HDF5 file per ROI and filter with calibrated cutouts and PSFs of all epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table

from lightwatch.errors import TooFewStars
from lightwatch.flags import UNUSABLE_PIXEL, Flag
from lightwatch.pipeline.grouping import group_members
from lightwatch.pipeline.task import Group, Outcome, TaskContext, digest_of
from lightwatch.pipeline.tasks import prepared_epochs
from lightwatch.pipeline.tasks.roi_products import product_name
from lightwatch.pipeline.tasks.star_photometry import aperture_radius_px, load_psfs
from lightwatch.processes import astrometry_sky, star_selection
from lightwatch.processes.psf_model import PSFModel, local_psf, rendered_grid, stack_psfs
from lightwatch.processes.roi_shift import star_shift
from lightwatch.structure import queries, queries_joint, schema, store
from lightwatch.structure.catalogs_pinned import read_pinned
from lightwatch.structure.parts import rows_of
from lightwatch.structure.queries import Row, replace_rows
from lightwatch.structure.unknown import or_nan

_MASKED_NOISE_FACTOR = 1000.0
_UNKNOWN_NOISE = 1e7
_MAX_OTHERS = 6
_OTHERS_MAG_RANGE = 5.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Epoch:
    """One frame's cutout of the ROI, calibration and PSF."""

    frame: Row
    arrays: Mapping[str, Any]
    psf: PSFModel
    coefficient: Row
    zeropoint: Row | None
    star_shift: tuple[Floats, float]  # (2,) px and 1 sigma: where the frame's stars say its WCS errs
    mark: str  # of all that it is made of


@dataclass(frozen=True)
class RoiInputs:
    """All epochs of an ROI in a filter: those to be made, and those that the last product has."""

    roi: str
    filter: str
    epochs: list[Epoch]
    kept: prepared_epochs.Arrays
    frame_ids: list[int]  # of all epochs, in order of time
    size_px: int
    others_arcsec: Floats  # (n, 2) catalogue stars around the ROI, east and north of its centre
    subsampling_factor: int
    aperture_radius_fwhm: float


def load(context: TaskContext, group: Group) -> RoiInputs:
    """Cutouts of the frames that the constraints let through.

    Raises
    ------
    TooFewStars
        ``no_epochs`` when no frame is left.
    """
    coefficients = _coefficients(context, group.filter)
    frames = _frames_let_through(context, group, coefficients)
    last = prepared_epochs.remembered(context, group)
    epochs, kept = _epochs(context, group.roi, frames, coefficients, last)
    sizes = [epoch.arrays["data"].shape[-1] for epoch in epochs] + list(kept.get("model/cutout_px", []))
    if len(kept) and _common_size(sizes) != kept["data"].shape[-1]:  # all are cut anew
        epochs, kept = _epochs(context, group.roi, frames, coefficients, {})
    present = {epoch.frame["id"] for epoch in epochs} | {int(frame) for frame in kept.get("frame_id", [])}
    used = [frame for frame in frames if frame["id"] in present]
    if not used:
        raise TooFewStars(
            "no_epochs",
            f"{group.roi}, filter '{group.filter}': no frame passes calibrated_cutouts' constraints with the ROI on it",
        )
    return RoiInputs(
        roi=group.roi,
        filter=group.filter,
        epochs=epochs,
        kept=kept,
        frame_ids=[frame["id"] for frame in used],
        size_px=_common_size(sizes),
        others_arcsec=_other_stars(context, group.roi, used[len(used) // 2], max(sizes)),
        subsampling_factor=context.workspace.config.psf.subsampling_factor,
        aperture_radius_fwhm=context.workspace.config.star_photometry.aperture_radius_fwhm,
    )


def _frames_let_through(context: TaskContext, group: Group, coefficients: Mapping[int, Row]) -> list[Row]:
    """Frames of the group with a coefficient, within the user's constraints."""
    settings = context.workspace.config.calibrated_cutouts
    within = queries.frames_within(settings.constraints_on_frame_columns)
    query = queries.frames_of_filter(group.filter).where(within)
    allowed = {row["id"] for row in queries.rows(context.workspace.reader, query)} & coefficients.keys()
    low, high = settings.constraints_on_coefficient
    return [
        frame
        for frame in group_members(context, group)
        if frame["id"] in allowed and low <= coefficients[frame["id"]]["coefficient"] <= high
    ]


def _unshared_uncertainty(row: Row) -> float:
    """Error of a coefficient without the part of the PSF's total flux: the ROI's fluxes share that part, and
    on the normalised scale it cancels.
    """
    whole, shared = or_nan(row["coefficient_uncertainty"]), row["psf_uncertainty"] or 0.0
    return float(np.sqrt(max(whole**2 - shared**2, 0.0))) if np.isfinite(whole) else whole


def _coefficients(context: TaskContext, filter_name: str) -> dict[int, Row]:
    query = queries.normalization_of(
        context.footprint_hash, context.recipes["calculate_normalization_coefficient"], filter_name
    )
    return {row["frame_id"]: row for row in queries.rows(context.workspace.reader, query)}


def _epochs(
    context: TaskContext,
    roi: str,
    frames: Sequence[Row],
    coefficients: Mapping[int, Row],
    last: prepared_epochs.Arrays,
) -> tuple[list[Epoch], prepared_epochs.Arrays]:
    """Those of the frames whose cutouts hold the ROI: what must be made, and what is kept of the last product."""
    workspace, name = context.workspace, context.footprint_hash
    zeropoints = _zeropoints(context)
    regions, psfs = (_by_frame(context, table, frames) for table in (schema.regions, schema.PSFs))
    offsets = _offsets(context, frames)
    place = {str(mark): k for k, mark in enumerate(last.get("model/mark", []))}
    marks = {
        (k := frame["id"]): prepared_epochs.mark_of(
            frame,
            coefficients[k]["flux_kind"],
            offsets.get(k, []),
            (regions[k]["sha256"], psfs[k]["sha256"], name),
        )
        for frame in frames
    }
    new = [frame for frame in frames if marks[frame["id"]] not in place]
    models = load_psfs(context, [frame["id"] for frame in new])
    epochs = []
    for frame in new:
        k = frame["id"]
        arrays = store.read_product(
            workspace.workdir, regions[k]["relpath"], prefix=f"rois/{roi}", optional=True
        )
        if arrays:
            epochs.append(
                Epoch(
                    frame=frame,
                    arrays=arrays,
                    psf=models[k],
                    coefficient=coefficients[k],
                    zeropoint=zeropoints.get(k),
                    star_shift=_star_shift(offsets.get(k, []), models[k]),
                    mark=marks[k],
                )
            )
    known = [k for k, mark in marks.items() if mark in place]
    if not known:
        return epochs, {}
    kept = prepared_epochs.taken(last, [place[marks[k]] for k in known])
    columns = _calibration([coefficients[k] for k in known], [zeropoints.get(k) for k in known])
    return epochs, prepared_epochs.recalibrated(kept, columns, unknown_noise=_UNKNOWN_NOISE)


def _calibration(coefficients: Sequence[Row], zeropoints: Sequence[Row | None]) -> dict[str, Floats]:
    """What epochs have from normalization and zero points, one number per epoch."""

    def of_zeropoint(name: str) -> Floats:
        return np.array([or_nan(row[name]) if row else np.nan for row in zeropoints])

    coefficient = np.array([row["coefficient"] for row in coefficients])
    uncertainty = np.array([_unshared_uncertainty(row) for row in coefficients])
    return {
        "global_zeropoint": of_zeropoint("normalised_zeropoint"),
        "global_zeropoint_uncertainty": of_zeropoint("normalised_zeropoint_uncertainty"),
        "global_zeropoint_scatter": of_zeropoint("zeropoint_scatter"),
        "relative_normalization_error": uncertainty / coefficient,
        "model/coefficient": coefficient,
        "model/coefficient_uncertainty": uncertainty,
    }


def _by_frame(context: TaskContext, table: Table, frames: Sequence[Row]) -> dict[int, Row]:
    """Rows of products by frame."""
    wanted = {frame["id"] for frame in frames}
    query = queries_joint.rows_of_footprint(table, context.footprint_hash)
    rows = queries.rows(context.workspace.reader, query)
    return {row["frame_id"]: row for row in rows if row["frame_id"] in wanted}


def _offsets(context: TaskContext, frames: Sequence[Row]) -> dict[int, list[Row]]:
    """Measured less predicted positions of the stars, by frame."""
    ids = [frame["id"] for frame in frames]
    offsets: dict[int, list[Row]] = {}
    query = partial(queries.star_offsets, context.footprint_hash)
    for star in rows_of(context.workspace.reader, query, ids):
        offsets.setdefault(star["frame_id"], []).append(star)
    return offsets


def _star_shift(stars: list[Row], psf: PSFModel) -> tuple[Floats, float]:
    values = np.array([[s["dx"], s["dy"], s["flux"] / s["flux_uncertainty"]] for s in stars]).reshape(-1, 3)
    return star_shift(values[:, :2], values[:, 2], psf.fwhm_px)


def _zeropoints(context: TaskContext) -> dict[int, Row]:
    band = context.workspace.config.zeropoints.band
    query = queries.zeropoints_of(
        context.footprint_hash, context.recipes["calculate_absolute_zeropoints"], band
    )
    return {row["frame_id"]: row for row in queries.rows(context.workspace.reader, query)}


def _other_stars(context: TaskContext, roi: str, frame: Row, size_px: int) -> Floats:
    """Catalogue stars within the ROI's cutouts that are none of its point sources, brightest first."""
    workspace = context.workspace
    row = queries.rows(workspace.reader, queries.current_footprint())[0]
    catalog = read_pinned(workspace.workdir, row["catalog_relpath"], row["catalog_digest"])
    settings = workspace.config.rois[roi]
    ra, dec = settings.coordinates
    reach = size_px * frame["pixel_scale"] * 0.75
    cone = catalog.cone(ra, dec, reach / 3600)
    if not len(cone):
        return np.zeros((0, 2))
    at_ra, at_dec, _extra = astrometry_sky.apply_proper_motion(
        cone.ra, cone.dec, cone.pmra, cone.pmdec, cone.ref_epoch, frame["mjd_mid"]
    )
    sources = np.array([settings.coordinates, *(settings.point_sources or {}).values()], dtype=float)
    apart = star_selection.distance_to_roi_arcsec(at_ra, at_dec, sources[:, 0], sources[:, 1])
    brightest = np.nanmin(cone.phot_g_mean_mag) if np.isfinite(cone.phot_g_mean_mag).any() else np.inf
    keep = (apart > max(workspace.config.reference_stars.roi_exclusion_arcsec, frame["pixel_scale"])) & ~(
        cone.phot_g_mean_mag > brightest + _OTHERS_MAG_RANGE
    )
    east, north = astrometry_sky.sky_to_plane(at_ra, at_dec, ra, dec)
    order = np.argsort(cone.phot_g_mean_mag[keep], kind="stable")[:_MAX_OTHERS]
    return np.column_stack([east[keep], north[keep]])[order]


def compute(inputs: RoiInputs) -> Outcome:
    """All epochs on one size and on the normalised scale."""
    new = _prepared(inputs) if inputs.epochs else {}
    arrays: dict[str, Any] = prepared_epochs.joined(inputs.kept, new, inputs.frame_ids)
    arrays |= {
        "subsampling_factor": inputs.subsampling_factor,
        "model/others_arcsec": inputs.others_arcsec,
        "model/flux_kind": str(arrays["model/epoch_flux_kind"][0]),
        "model/quadrature": int(arrays["model/epoch_quadrature"].max()),
    }
    return Outcome(output=arrays)


def _prepared(inputs: RoiInputs) -> dict[str, NDArray[Any]]:
    """Arrays of the epochs that are to be made, one entry for each."""
    size = inputs.size_px
    cut = [_resized(epoch, size) for epoch in inputs.epochs]
    calibration = _calibration(
        [epoch.coefficient for epoch in inputs.epochs], [epoch.zeropoint for epoch in inputs.epochs]
    )
    scale = calibration["model/coefficient"][:, None, None]
    data = np.stack([item["data"] for item in cut])
    mask = np.stack([item["mask"] for item in cut])
    noisemap = np.stack([item["noisemap"] for item in cut]) / scale
    rms = np.stack([item["background_rms"] for item in cut])
    good = ((mask & int(UNUSABLE_PIXEL)) == 0) & np.isfinite(data) & np.isfinite(rms) & (rms > 0)
    unknown = ~np.isfinite(data) | ~np.isfinite(noisemap)
    shown_noise = np.where(unknown, _UNKNOWN_NOISE, np.where(good, noisemap, noisemap * _MASKED_NOISE_FACTOR))
    arrays: dict[str, Any] = {
        "frame_id": np.array([epoch.frame["id"] for epoch in inputs.epochs], dtype=np.int64),
        "data": np.where(unknown, 0.0, data / scale),
        "noisemap": shown_noise,
        "psf": _grids(inputs, size),
        **calibration,
        "wcs": np.array([str(item["wcs"]) for item in cut]),
        **_columns(inputs),
        "model/background_variance": np.square(np.where(good, rms, 1.0), dtype=float),
        "model/good": good,
        "model/mask": mask,
        "model/jacobian_px_per_arcsec": np.stack([e.arrays["jacobian_px_per_arcsec"] for e in inputs.epochs]),
        "model/origin": np.stack([item["origin"] for item in cut]),
        "model/star_shift": np.stack([epoch.star_shift[0] for epoch in inputs.epochs]),
        "model/star_shift_sigma": np.array([epoch.star_shift[1] for epoch in inputs.epochs]),
        "model/epoch_flux_kind": np.array([epoch.coefficient["flux_kind"] for epoch in inputs.epochs]),
        "model/aperture_radius_px": np.array(
            [aperture_radius_px(inputs.aperture_radius_fwhm, epoch.psf.fwhm_px) for epoch in inputs.epochs]
        ),
        "model/psf_model_error": np.array([epoch.psf.model_error for epoch in inputs.epochs]),
        "model/epoch_quadrature": np.array([epoch.psf.quadrature for epoch in inputs.epochs]),
        "model/cutout_px": np.array([epoch.arrays["data"].shape[-1] for epoch in inputs.epochs]),
        "model/mark": np.array([epoch.mark for epoch in inputs.epochs]),
    }
    local = stack_psfs([local_psf(e.psf, *e.arrays["image_pixel_coordinates"]) for e in inputs.epochs])
    arrays |= {f"model/psf/{name}": np.asarray(value) for name, value in local._asdict().items()}
    return arrays


def _columns(inputs: RoiInputs) -> dict[str, Any]:
    """One number per epoch, under the names that notebooks know."""
    frames = [epoch.frame for epoch in inputs.epochs]
    return {
        "mjd": np.array([frame["mjd_mid"] for frame in frames]),
        "bjd_tdb": np.array([or_nan(frame["bjd_tdb"]) for frame in frames]),
        "exptime": np.array([frame["exptime"] for frame in frames]),
        "seeing": np.array([or_nan(frame["seeing_arcseconds"]) for frame in frames]),
        "sky_level_electron_per_second": np.array(
            [or_nan(frame["sky_level_electron_per_second"]) for frame in frames]
        ),
        "pixel_scale": np.array([frame["pixel_scale"] for frame in frames]),
        "angle_to_north": np.array([frame["angle_to_north"] for frame in frames]),
    }


def _common_size(sizes: list[int]) -> int:
    """The size that most epochs have (the larger of two); others are cut or padded with masked pixels."""
    return int(np.percentile(sizes, 50, method="higher"))


def _resized(epoch: Epoch, size: int) -> dict[str, Any]:
    """The cutout on ``size`` pixels around the same middle, and the ROI's position in it."""
    have = epoch.arrays["data"].shape[-1]
    before = (size - have) // 2
    pad = max(0, before), max(0, size - have - max(0, before))
    crop = slice(max(0, -before), max(0, -before) + min(size, have))

    def resized(name: str, fill: float) -> NDArray[Any]:
        inner = epoch.arrays[name][0][crop, crop]
        return np.pad(inner, (pad, pad), constant_values=fill)

    corner = epoch.arrays["corner"][0] - before
    return {
        "data": resized("data", np.nan).astype(float),
        "noisemap": resized("noisemap", np.nan).astype(float),
        "background_rms": resized("background_rms", np.nan).astype(float),
        "mask": resized("mask", int(Flag.OUTSIDE)).astype(np.int32),
        "origin": epoch.arrays["image_pixel_coordinates"] - corner,
        "wcs": epoch.arrays["wcs"],
    }


def _grids(inputs: RoiInputs, size: int) -> Floats:
    return np.stack(
        [
            rendered_grid(
                local_psf(epoch.psf, *epoch.arrays["image_pixel_coordinates"]),
                size_px=size,
                subsampling_factor=inputs.subsampling_factor,
                quadrature=epoch.psf.quadrature,
            )
            for epoch in inputs.epochs
        ]
    )


def save(connection: Connection, context: TaskContext, group: Group, output: dict[str, Any]) -> None:
    """The product, then its row; an older model of the ROI goes with the older cutouts."""
    name = product_name(group.roi, group.filter)
    # the digest knows the inputs alone: with the recipe, no run of other settings writes in the place of this one
    state = digest_of([group.digest, context.recipe])
    relpath = f"prepared_roi_cutouts/cutouts_{context.footprint_hash[:16]}_{name}.{state[:8]}.h5"
    attributes = {
        "recipe": context.recipe,
        "roi": group.roi,
        "filter": group.filter,
        "unit": "electron/s, normalised",
    }
    product = store.write_product(context.workspace.workdir, relpath, output, attributes)
    key = {"combined_footprint_hash": context.footprint_hash, "roi": group.roi, "filter": group.filter}
    row = {
        **key,
        "n_epochs": len(output["frame_id"]),
        "cutouts_relpath": product.relpath,
        "cutouts_sha256": product.sha256,
        "recipe": context.recipe,
        "flags": 0,
    }
    replace_rows(connection, schema.roi_models, key, [row])
