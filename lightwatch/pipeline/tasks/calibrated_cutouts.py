"""prepare_calibrated_cutouts: one HDF5 file per ROI and filter with calibrated cutouts and PSFs of all epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from lightwatch.errors import TooFewStars
from lightwatch.flags import UNUSABLE_PIXEL, Flag
from lightwatch.pipeline.grouping import group_members
from lightwatch.pipeline.task import Group, Outcome, TaskContext
from lightwatch.pipeline.tasks.roi_products import product_name
from lightwatch.pipeline.tasks.star_photometry import aperture_radius_px, load_psfs
from lightwatch.processes import astrometry_sky, star_selection
from lightwatch.processes.psf_model import PSFModel, local_psf, rendered_grid, stack_psfs
from lightwatch.processes.roi_shift import star_shift
from lightwatch.structure import queries, schema, store
from lightwatch.structure.catalogs_pinned import read_pinned
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
    coefficient: float
    coefficient_uncertainty: float
    flux_kind: str
    zeropoint: Row | None
    star_shift: tuple[Floats, float]  # (2,) px and 1 sigma: where the frame's stars say its WCS errs


@dataclass(frozen=True)
class RoiInputs:
    """All epochs of an ROI in a filter, in order of time."""

    roi: str
    filter: str
    epochs: list[Epoch]
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
    epochs = _epochs(context, group.roi, _frames_let_through(context, group, coefficients), coefficients)
    if not epochs:
        raise TooFewStars(
            "no_epochs",
            f"{group.roi}, filter '{group.filter}': no frame passes calibrated_cutouts' constraints with the ROI on it",
        )
    return RoiInputs(
        roi=group.roi,
        filter=group.filter,
        epochs=epochs,
        others_arcsec=_other_stars(context, group.roi, epochs),
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
    context: TaskContext, roi: str, frames: Sequence[Row], coefficients: Mapping[int, Row]
) -> list[Epoch]:
    """Those of the frames whose cutouts hold the ROI."""
    workspace = context.workspace
    ids = [frame["id"] for frame in frames]
    zeropoints = _zeropoints(context)
    psfs = load_psfs(context, ids)
    paths = {
        row["frame_id"]: row["relpath"]
        for row in queries.rows(workspace.reader, queries.regions_of(context.footprint_hash, ids))
    }
    offsets: dict[int, list[Row]] = {}
    for star in queries.rows(workspace.reader, queries.star_offsets(context.footprint_hash, ids)):
        offsets.setdefault(star["frame_id"], []).append(star)
    epochs = []
    for frame in frames:
        row = coefficients[frame["id"]]
        arrays = store.read_product(
            workspace.workdir, paths[frame["id"]], prefix=f"rois/{roi}", optional=True
        )
        if arrays:
            epochs.append(
                Epoch(
                    frame=frame,
                    arrays=arrays,
                    psf=psfs[frame["id"]],
                    coefficient=row["coefficient"],
                    coefficient_uncertainty=_unshared_uncertainty(row),
                    flux_kind=row["flux_kind"],
                    zeropoint=zeropoints.get(frame["id"]),
                    star_shift=_star_shift(offsets.get(frame["id"], []), psfs[frame["id"]]),
                )
            )
    return epochs


def _star_shift(stars: list[Row], psf: PSFModel) -> tuple[Floats, float]:
    values = np.array([[s["dx"], s["dy"], s["flux"] / s["flux_uncertainty"]] for s in stars]).reshape(-1, 3)
    return star_shift(values[:, :2], values[:, 2], psf.fwhm_px)


def _zeropoints(context: TaskContext) -> dict[int, Row]:
    band = context.workspace.config.zeropoints.band
    query = queries.zeropoints_of(
        context.footprint_hash, context.recipes["calculate_absolute_zeropoints"], band
    )
    return {row["frame_id"]: row for row in queries.rows(context.workspace.reader, query)}


def _other_stars(context: TaskContext, roi: str, epochs: list[Epoch]) -> Floats:
    """Catalogue stars within the ROI's cutouts that are none of its point sources, brightest first."""
    workspace = context.workspace
    row = queries.rows(workspace.reader, queries.current_footprint())[0]
    catalog = read_pinned(workspace.workdir, row["catalog_relpath"], row["catalog_digest"])
    settings = workspace.config.rois[roi]
    ra, dec = settings.coordinates
    frame = epochs[len(epochs) // 2].frame
    reach = max(epoch.arrays["data"].shape[-1] for epoch in epochs) * frame["pixel_scale"] * 0.75
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
    """Stack the epochs on one size and put them on the normalised scale."""
    size = _common_size([epoch.arrays["data"].shape[-1] for epoch in inputs.epochs])
    cut = [_resized(epoch, size) for epoch in inputs.epochs]
    coefficient = np.array([epoch.coefficient for epoch in inputs.epochs])
    scale = coefficient[:, None, None]
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
        "relative_normalization_error": np.array([e.coefficient_uncertainty for e in inputs.epochs])
        / coefficient,
        "subsampling_factor": inputs.subsampling_factor,
        "wcs": [str(item["wcs"]) for item in cut],
        **_columns(inputs),
        "model/coefficient": coefficient,
        "model/coefficient_uncertainty": np.array([e.coefficient_uncertainty for e in inputs.epochs]),
        "model/background_variance": np.square(np.where(good, rms, 1.0), dtype=float),
        "model/good": good,
        "model/mask": mask,
        "model/jacobian_px_per_arcsec": np.stack([e.arrays["jacobian_px_per_arcsec"] for e in inputs.epochs]),
        "model/origin": np.stack([item["origin"] for item in cut]),
        "model/star_shift": np.stack([epoch.star_shift[0] for epoch in inputs.epochs]),
        "model/star_shift_sigma": np.array([epoch.star_shift[1] for epoch in inputs.epochs]),
        "model/others_arcsec": inputs.others_arcsec,
        "model/flux_kind": inputs.epochs[0].flux_kind,
        "model/aperture_radius_px": np.array(
            [aperture_radius_px(inputs.aperture_radius_fwhm, epoch.psf.fwhm_px) for epoch in inputs.epochs]
        ),
        "model/psf_model_error": np.array([epoch.psf.model_error for epoch in inputs.epochs]),
        "model/quadrature": max(epoch.psf.quadrature for epoch in inputs.epochs),
    }
    local = stack_psfs([local_psf(e.psf, *e.arrays["image_pixel_coordinates"]) for e in inputs.epochs])
    arrays |= {f"model/psf/{name}": np.asarray(value) for name, value in local._asdict().items()}
    return Outcome(output=(inputs, arrays))


def _columns(inputs: RoiInputs) -> dict[str, Any]:
    """One number per epoch, under the names that notebooks know."""
    frames = [epoch.frame for epoch in inputs.epochs]

    def of_zeropoint(name: str) -> Floats:
        return np.array([or_nan(e.zeropoint[name]) if e.zeropoint else np.nan for e in inputs.epochs])

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
        "global_zeropoint": of_zeropoint("normalised_zeropoint"),
        "global_zeropoint_uncertainty": of_zeropoint("normalised_zeropoint_uncertainty"),
        "global_zeropoint_scatter": of_zeropoint("zeropoint_scatter"),
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


def save(
    connection: Connection, context: TaskContext, group: Group, output: tuple[RoiInputs, dict[str, Any]]
) -> None:
    """The product, then its row; an older model of the ROI goes with the older cutouts."""
    inputs, arrays = output
    name = product_name(group.roi, group.filter)
    relpath = f"prepared_roi_cutouts/cutouts_{context.footprint_hash[:16]}_{name}.{group.digest[:8]}.h5"
    attributes = {
        "recipe": context.recipe,
        "roi": group.roi,
        "filter": group.filter,
        "unit": "electron/s, normalised",
    }
    product = store.write_product(context.workspace.workdir, relpath, arrays, attributes)
    key = {"combined_footprint_hash": context.footprint_hash, "roi": group.roi, "filter": group.filter}
    row = {
        **key,
        "n_epochs": len(inputs.epochs),
        "cutouts_relpath": product.relpath,
        "cutouts_sha256": product.sha256,
        "recipe": context.recipe,
        "flags": 0,
    }
    replace_rows(connection, schema.roi_models, key, [row])
