"""model_calibrated_cutouts: point sources and background of an ROI from all epochs of a filter at once."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from lightwatch.errors import StorageError
from lightwatch.flags import UNUSABLE_PIXEL, Flag
from lightwatch.pipeline.task import Group, Outcome, TaskContext
from lightwatch.pipeline.tasks import roi_memory
from lightwatch.pipeline.tasks.roi_products import model_path, product_name
from lightwatch.processes import astrometry_sky, lightcurve, roi_model
from lightwatch.processes.aperture import aperture_flags, aperture_light
from lightwatch.processes.psf_error import psf_error_variance
from lightwatch.processes.psf_model import LocalPSF
from lightwatch.processes.roi_place import far_from_expected
from lightwatch.processes.roi_result import LOW_SNR, forgiven_small_chi2
from lightwatch.structure import light_curve_files, queries, region_rows, store
from lightwatch.structure.config import LightCurves, RoiModel
from lightwatch.structure.unknown import or_null

_REJECTION_SIGMA = 6.0
_NEVER_REJECT = np.inf
_MAX_PASSES = 8
#: said of the PSF's fit to the pixels, on which a flux in an aperture does not rest
_OF_THE_FIT = Flag.POOR_FIT | Flag.NOT_CONVERGED

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ModelInputs:
    """Prepared cutouts of an ROI in a filter, and what its point sources are."""

    arrays: dict[str, Any]
    labels: list[str]
    positions_arcsec: Floats  # (n, 2) east and north of the ROI's centre
    centre: tuple[float, float]
    settings: RoiModel
    light_curves: LightCurves
    memory: roi_memory.Memory | None  # the last model, which new frames may join


@dataclass(frozen=True)
class Modelled:
    """The solution and what its rows belong to."""

    inputs: ModelInputs
    solution: roi_model.ROISolution
    reference: Floats  # (2, 2) px of the reference frame per arcsec (east, north)
    first_positions_arcsec: Floats  # (n, 2) of all sources
    marks: list[str]  # of the inputs of every epoch


def load(context: TaskContext, group: Group) -> ModelInputs:
    """Prepared cutouts and the configured point sources."""
    workspace = context.workspace
    row = queries.rows(
        workspace.reader, queries.roi_model_row(context.footprint_hash, group.roi, group.filter)
    )[0]
    roi = workspace.config.rois[group.roi]
    sources = roi.point_sources or {group.roi: roi.coordinates}
    ra, dec = np.array(list(sources.values()), dtype=float).T
    east, north = astrometry_sky.sky_to_plane(ra, dec, *roi.coordinates)
    return ModelInputs(
        arrays=store.read_product(workspace.workdir, row["cutouts_relpath"]),
        labels=list(sources),
        positions_arcsec=np.column_stack([east, north]),
        centre=roi.coordinates,
        settings=workspace.config.roi_model,
        light_curves=workspace.config.light_curves,
        memory=roi_memory.remembered(context, group),
    )


def compute(inputs: ModelInputs) -> Outcome:
    """Fit the joint model; catalogue stars in the cutouts take part with fixed positions."""
    a = inputs.arrays
    positions = np.vstack([inputs.positions_arcsec, a["model/others_arcsec"].reshape(-1, 2)])
    marks = roi_memory.epoch_marks(a)
    in_apertures = _measured_in_apertures(a, positions)
    found = None
    if not in_apertures and not (a["model/psf_model_error"] > 0).any():
        found = roi_memory.continued(inputs.memory, a, marks, inputs.labels, positions)
    if found is not None and inputs.memory is not None:
        # those of the last joint fit: small differences must not add up from run to run
        reference, positions = inputs.memory.reference, inputs.memory.positions_arcsec
        solution = _joined(inputs, *found, positions, reference)
    else:
        reference, jacobian = roi_model.reference_frame(a["model/jacobian_px_per_arcsec"])
        epochs = _epochs(a, jacobian)
        solution = _solve(inputs, epochs, _sources(inputs, positions, reference))
        if in_apertures:
            solution = _in_apertures(epochs, solution, a["model/aperture_radius_px"], a["model/mask"])
    flags = 0 if solution.converged else int(Flag.NOT_CONVERGED)
    return Outcome(output=Modelled(inputs, solution, reference, positions, marks), flags=flags)


def _measured_in_apertures(a: dict[str, Any], positions_arcsec: Floats) -> bool:
    return str(a["model/flux_kind"]) == "aperture" and len(positions_arcsec) == 1


def _sources(inputs: ModelInputs, positions_arcsec: Floats, reference: Floats) -> roi_model.PointSources:
    """The ROI's point sources with their prior, then the other stars of its cutouts, fixed."""
    n, astrometry = len(inputs.labels), inputs.settings.astrometry
    sigma = {"free": np.inf, "fixed": 0.0}.get(str(astrometry))
    sigmas = np.zeros(len(positions_arcsec))
    sigmas[:n] = float(astrometry) if sigma is None else sigma
    return roi_model.PointSources(position_px=positions_arcsec @ reference.T, sigma_px=sigmas)


def _joined(
    inputs: ModelInputs,
    solution: roi_model.ROISolution,
    new: NDArray[np.int64],
    positions_arcsec: Floats,
    reference: Floats,
) -> roi_model.ROISolution:
    """The stored solution with the epochs ``new``, all in the order of the cutouts."""
    if not len(new):
        return solution
    jacobian = inputs.arrays["model/jacobian_px_per_arcsec"] @ np.linalg.inv(reference)
    longer = roi_model.add_epochs(
        solution,
        _taken(_epochs(inputs.arrays, jacobian), new),
        _sources(inputs, positions_arcsec, reference),
        rejection_sigma=_REJECTION_SIGMA,
    )
    count = len(jacobian)
    order = np.concatenate([np.setdiff1d(np.arange(count), new), new])
    return roi_model.taken_epochs(longer, np.argsort(order))


def _taken(epochs: roi_model.ROIEpochs, index: NDArray[np.int64]) -> roi_model.ROIEpochs:
    values = {f.name: getattr(epochs, f.name) for f in fields(epochs)}
    psf = LocalPSF(*(np.asarray(field)[index] for field in values.pop("psf")))
    quadrature = values.pop("quadrature")
    return roi_model.ROIEpochs(psf=psf, quadrature=quadrature, **{k: v[index] for k, v in values.items()})


def _solve(
    inputs: ModelInputs, epochs: roi_model.ROIEpochs, sources: roi_model.PointSources
) -> roi_model.ROISolution:
    """The joint model; where PSFs miss the data beyond the noise, a second time with that error granted.

    The PSF's error decides about weights. It is common to the target and the reference stars and so no part of
    the light curve's uncertainty: that stays the noise's. Pixels are not judged by such a PSF: the cores of
    stars smaller than pixels would look struck, and cosmic rays were masked before.
    """
    model_error = inputs.arrays["model/psf_model_error"]
    if not (model_error > 0).any():
        return _fit(inputs, epochs, sources, _REJECTION_SIGMA)
    first = _fit(inputs, epochs, sources, _NEVER_REJECT)
    granted = _granting_model_error(epochs, first, model_error)
    solution = _fit(inputs, granted, sources, _NEVER_REJECT)
    local = solution.local_uncertainty * _share_of_noise(epochs, granted, solution)[:, None]
    total = np.sqrt(local**2 + solution.background_uncertainty**2 + solution.normalization_uncertainty**2)
    flags = forgiven_small_chi2(solution.flags, solution.reduced_chi2, first.reduced_chi2)
    return replace(solution, local_uncertainty=local, flux_uncertainty=total, flags=flags)


def _share_of_noise(
    epochs: roi_model.ROIEpochs, granted: roi_model.ROIEpochs, solution: roi_model.ROISolution
) -> Floats:
    """Part (T,) that noise has in the uncertainty of the light of each epoch, the rest being granted error."""
    light = np.maximum(np.nan_to_num(solution.point_source_model), 0)
    photons = np.maximum(np.nan_to_num(solution.model), 0) / epochs.exposure[:, None, None]
    good = epochs.good & ~solution.rejected

    def information(variance: Floats) -> Floats:
        return np.asarray(np.sum(np.where(good, light**2 / (variance + photons), 0.0), axis=(1, 2)))

    of_noise, of_both = information(epochs.background_variance), information(granted.background_variance)
    return np.sqrt(np.divide(of_both, of_noise, out=np.ones_like(of_both), where=of_noise > 0))


def _fit(
    inputs: ModelInputs,
    epochs: roi_model.ROIEpochs,
    sources: roi_model.PointSources,
    rejection_sigma: float,
) -> roi_model.ROISolution:
    background = inputs.settings.background
    return roi_model.fit_roi(
        epochs,
        sources,
        with_background=len(inputs.labels) > 1 if background == "auto" else background,
        fit_local_background=inputs.settings.local_background,
        shift_sigma_px=inputs.settings.translation_sigma_px,
        rejection_sigma=rejection_sigma,
        max_passes=_MAX_PASSES,
    )


def _in_apertures(
    epochs: roi_model.ROIEpochs,
    solution: roi_model.ROISolution,
    radius_px: Floats,
    mask: NDArray[np.int32],
) -> roi_model.ROISolution:
    """The flux of a single point source measured as the reference stars' were, where apertures are steadier:
    on the frame's own sky, for a local one follows the unlisted neighbours of a crowded field.

    Its flags are those of the epoch, of the pixels in the aperture (``mask``, (T, n, n)) and of its own noise.
    """
    place = (
        epochs.origin + solution.shift_px + np.einsum("tij,j->ti", epochs.jacobian, solution.position_px[0])
    )
    flux, sigma = aperture_light(
        epochs.data,
        solution.point_source_model,
        epochs.background_variance,
        epochs.good & ~solution.rejected,
        exposure=epochs.exposure,
        x=place[:, 0],
        y=place[:, 1],
        model_flux=solution.flux[:, 0] * epochs.coefficient,
        radius_px=radius_px,
    )
    unnamed = ~epochs.good & ((mask & int(UNUSABLE_PIXEL)) == 0)
    unusable = np.where(unnamed, int(Flag.BAD), mask)
    unusable = np.where(solution.rejected, unusable | int(Flag.COSMIC_RAY), unusable).astype(np.int64)
    of_pixels = aperture_flags(
        unusable, solution.point_source_model, sigma, x=place[:, 0], y=place[:, 1], radius_px=radius_px
    )
    faint = np.where(np.abs(flux) >= LOW_SNR * sigma, 0, int(Flag.LOW_SNR))  # or no flux at all
    of_source = (solution.source_flags & ~int(Flag.LOW_SNR)) | (of_pixels | faint)[:, None]
    flux, local = (values[:, None] / epochs.coefficient[:, None] for values in (flux, sigma))
    share = np.abs(flux) * (epochs.coefficient_uncertainty / epochs.coefficient)[:, None]
    total = np.sqrt(local**2 + solution.background_uncertainty**2 + share**2)
    return replace(
        solution,
        flux=flux,
        local_uncertainty=local,
        normalization_uncertainty=share,
        flux_uncertainty=total,
        flags=solution.flags & ~int(_OF_THE_FIT),
        source_flags=of_source,
    )


def _granting_model_error(
    epochs: roi_model.ROIEpochs, solution: roi_model.ROISolution, model_error: Floats
) -> roi_model.ROIEpochs:
    """The epochs with the PSF's own error in their variance, as the stars' photometry has it."""
    extra = psf_error_variance(solution.model, model_error)
    return replace(epochs, background_variance=epochs.background_variance + extra)


def _epochs(a: dict[str, Any], jacobian: Floats) -> roi_model.ROIEpochs:
    coefficient = a["model/coefficient"]
    return roi_model.ROIEpochs(
        data=a["data"] * coefficient[:, None, None],
        background_variance=a["model/background_variance"],
        good=a["model/good"],
        exposure=a["exptime"],
        psf=LocalPSF(**{name: a[f"model/psf/{name}"] for name in LocalPSF._fields}),
        quadrature=int(a["model/quadrature"]),
        jacobian=jacobian,
        origin=a["model/origin"],
        star_shift=a["model/star_shift"],
        star_shift_sigma=a["model/star_shift_sigma"],
        coefficient=coefficient,
        coefficient_uncertainty=a["model/coefficient_uncertainty"],
    )


def save(connection: Connection, context: TaskContext, group: Group, output: Modelled) -> None:
    """The model's product, the light curves as rows, and as files."""
    solution = output.solution
    arrays: dict[str, Any] = {f"solution/{key}": value for key, value in solution.to_arrays().items()}
    arrays |= {
        "frame_id": output.inputs.arrays["frame_id"],
        "labels": output.inputs.labels,
        "reference_px_per_arcsec": output.reference,
        "first_positions_arcsec": output.first_positions_arcsec,
        "marks": output.marks,
    }
    if solution.background.size:
        arrays["background_image"] = roi_model.background_image(solution)
    product = store.write_product(
        context.workspace.workdir,
        model_path(
            {
                "combined_footprint_hash": context.footprint_hash,
                "group_key": group.key,
                "digest": group.digest,
                "recipe": context.recipe,
            }
        ),
        arrays,
        {"recipe": context.recipe, "roi": group.roi, "filter": group.filter},
    )
    offsets = zip(output.inputs.labels, solution.constant_offset_uncertainty, strict=False)
    values = {
        "model_relpath": product.relpath,
        "model_sha256": product.sha256,
        "reduced_chi2": or_null(float(np.nanmedian(solution.reduced_chi2))),
        "astrometry": json.dumps(_astrometry(output)),
        "constant_offsets": json.dumps({label: or_null(s) for label, s in offsets}),
        "flags": 0 if solution.converged else int(Flag.NOT_CONVERGED),
    }
    key = {"combined_footprint_hash": context.footprint_hash, "roi": group.roi, "filter": group.filter}
    rows = [{**key, **row, "recipe": context.recipe} for row in _flux_rows(output)]
    region_rows.save_roi_model(connection, key, values, rows)
    _write_light_curves(context, product_name(group.roi, group.filter), rows, output)


def _astrometry(output: Modelled) -> dict[str, list[float | None]]:
    """Fitted positions in degrees, with 1 sigma in arcsec east and north."""
    inverse = np.linalg.inv(output.reference)
    out = {}
    for s, label in enumerate(output.inputs.labels):
        east, north = inverse @ output.solution.position_px[s]
        ra, dec = astrometry_sky.plane_to_sky(east, north, *output.inputs.centre)
        block = slice(2 * s, 2 * s + 2)
        covariance = inverse @ output.solution.position_covariance_px2[block, block] @ inverse.T
        sigma = np.sqrt(np.maximum(np.diag(covariance), 0))
        out[label] = [or_null(float(value)) for value in (ra, dec, sigma[0], sigma[1])]
    return out


def _displaced(output: Modelled) -> NDArray[np.int64]:
    """(S,) flag of the point sources that the fit has found too far from where they were said to be."""
    count, seeing = len(output.inputs.labels), output.inputs.arrays["seeing"]
    found = output.solution.position_px[:count] @ np.linalg.inv(output.reference).T
    offset = np.hypot(*(found - output.inputs.positions_arcsec).T)
    known = seeing[np.isfinite(seeing)]
    fwhm = float(known.mean()) if len(known) else np.nan
    return np.where(far_from_expected(offset, fwhm), int(Flag.LARGE_SHIFT), 0)


def _flux_rows(output: Modelled) -> list[dict[str, Any]]:
    solution, inputs = output.solution, output.inputs
    a = inputs.arrays
    displaced = _displaced(output)
    rows: list[dict[str, Any]] = []
    chi2 = solution.reduced_chi2
    if _measured_in_apertures(a, output.first_positions_arcsec):
        chi2 = np.full(len(chi2), np.nan)  # the model's is no measure of what was measured
    for s, label in enumerate(inputs.labels):
        flux, sigma = solution.flux[:, s], solution.flux_uncertainty[:, s]
        told = lightcurve.magnitudes(
            flux, sigma, a["global_zeropoint"],
            detection_sigma=inputs.light_curves.limit_sigma, limit_sigma=inputs.light_curves.limit_sigma,
        )  # fmt: skip
        for t, frame in enumerate(a["frame_id"]):
            measured = np.isfinite(flux[t]) and np.isfinite(sigma[t]) and sigma[t] > 0
            flags = int(solution.flags[t] | solution.source_flags[t, s] | displaced[s])
            rows.append(
                {
                    "point_source": label,
                    "frame_id": int(frame),
                    "flux": or_null(flux[t]) if measured else None,
                    "flux_uncertainty": or_null(sigma[t]) if measured else None,
                    "photon_uncertainty": or_null(solution.local_uncertainty[t, s]),
                    "background_uncertainty": or_null(solution.background_uncertainty[t, s]),
                    "normalization_uncertainty": or_null(solution.normalization_uncertainty[t, s]),
                    "reduced_chi2": or_null(chi2[t]),
                    "dx": or_null(solution.shift_px[t, 0]),
                    "dy": or_null(solution.shift_px[t, 1]),
                    "local_background": or_null(solution.local_background[t]),
                    "zeropoint": or_null(a["global_zeropoint"][t]),
                    "zeropoint_uncertainty": or_null(a["global_zeropoint_uncertainty"][t]),
                    "mag": or_null(told.mag[t]),
                    "mag_uncertainty_up": or_null(told.mag_uncertainty_up[t]),
                    "mag_uncertainty_down": or_null(told.mag_uncertainty_down[t]),
                    "mag_limit": or_null(told.limiting_mag[t]),
                    "flags": flags,
                }
            )
    return rows


def _write_light_curves(
    context: TaskContext, name: str, rows: list[dict[str, Any]], output: Modelled
) -> None:
    """ECSV and FITS tables beside the database; a failure here would undo the rows, so that both agree."""
    a = output.inputs.arrays
    when = {
        int(frame): {
            "mjd": float(a["mjd"][t]),
            "bjd_tdb": or_null(a["bjd_tdb"][t]),
            "seeing_arcseconds": or_null(a["seeing"][t]),
        }
        for t, frame in enumerate(a["frame_id"])
    }
    table = [{**row, **when[row["frame_id"]]} for row in rows]
    try:
        light_curve_files.write_light_curves(context.workspace.workdir / "light_curves", name, table)
    except OSError as error:
        raise StorageError(f"light_curves/{name}: {error.strerror}") from error
