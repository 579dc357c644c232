"""psf_modeling: the PSF of every frame from its stars, with some kept aside to judge it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from sqlalchemy import Connection

from lightwatch.flags import Flag
from lightwatch.pipeline.task import Outcome, TaskContext
from lightwatch.pipeline.tasks.star_cutouts import (
    FrameStars,
    batches_by_size,
    load_stars,
    rough_snr,
    saturated_core,
    stack,
)
from lightwatch.processes.astrometry_sky import parse_wcs, sky_to_pixel
from lightwatch.processes.photometry import reserved_star_chi2
from lightwatch.processes.psf_fit import PSFFit, fit_psfs
from lightwatch.processes.psf_jax import frames_side_by_side
from lightwatch.processes.psf_model import fwhm_of_theta, local_psf, rendered_grid
from lightwatch.processes.psf_star_selection import PsfStars, choose_psf_stars, min_snr_for, told_reasons
from lightwatch.structure import queries, schema, store
from lightwatch.structure.config import Psf
from lightwatch.structure.files import ProductRef
from lightwatch.structure.queries import Row, replace_rows
from lightwatch.structure.unknown import or_null

_OUTLIER_SIGMA = 6.0
_MODEL_ERROR = 0.02
_MAX_CONTAMINATION = 0.05
_MIN_COVERAGE = 0.7
_CELLS_PER_SIDE = 3
_MIN_TO_RESERVE = 8
_POSITION_SIGMA_PX = 0.3
_RESERVED_CHI2_RANGE = (0.7, 1.6)
_USEFUL_SNR = 5.0  # no PSF is made of what is hardly there
_STARS_OF_FRAMES = "reference_stars.catalog: frames"


@dataclass(frozen=True)
class PsfJob:
    """One frame's stars, the choice among them, and where its ROI is."""

    stars: FrameStars
    named: dict[int, str]
    settings: Psf
    roi_position: tuple[float, float]
    pixel_scale: float
    relpath: str
    image_relpath: str
    recipe: str
    stars_of_frames: bool


@dataclass(frozen=True)
class PsfOutput:
    """A PSF to be written, and its row."""

    arrays: dict[str, Any]
    row: dict[str, Any]
    relpath: str
    recipe: str


def batches(context: TaskContext, items: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Frames with cutouts of one size."""
    return batches_by_size(context, items)


def load(context: TaskContext, items: Sequence[Row]) -> list[PsfJob]:
    """One job per frame."""
    workspace = context.workspace
    named = {
        row["gaia_id"]: row["name"]
        for row in queries.rows(workspace.reader, queries.stars_of(context.footprint_hash))
    }
    roi = next(iter(workspace.config.rois.values())).coordinates
    return [
        PsfJob(
            stars=stars,
            named=named,
            settings=workspace.config.psf,
            roi_position=_roi_position(item, roi),
            pixel_scale=item["pixel_scale"],
            relpath=f"psfs/{context.footprint_hash[:16]}/{PurePosixPath(item['image_relpath']).stem}.{context.recipe[:8]}.h5",
            image_relpath=item["image_relpath"],
            recipe=context.recipe,
            stars_of_frames=workspace.config.reference_stars.catalog == "frames",
        )
        for item, stars in zip(items, load_stars(context, items), strict=True)
    ]


def _roi_position(item: Row, roi: tuple[float, float]) -> tuple[float, float]:
    x, y = sky_to_pixel(parse_wcs(item["wcs"]), np.array([roi[0]]), np.array([roi[1]]))[0]
    # several ROIs: the first may lie off this frame; the middle of the frame stands for it then
    inside = np.isfinite(x + y) and 0 <= x < item["naxis1"] and 0 <= y < item["naxis2"]
    return (float(x), float(y)) if inside else (item["naxis1"] / 2, item["naxis2"] / 2)


def compute(jobs: list[PsfJob]) -> list[Outcome]:
    """Fit all frames of a batch."""
    choices = [_choose(job) for job in jobs]
    outcomes: list[Outcome | None] = [
        _too_few(job, choice) for job, choice in zip(jobs, choices, strict=True)
    ]
    todo = [i for i, outcome in enumerate(outcomes) if outcome is None]
    for shape in sorted({tuple(jobs[i].stars.arrays["frame_shape"]) for i in todo}):
        alike = [i for i in todo if tuple(jobs[i].stars.arrays["frame_shape"]) == shape]
        cutouts = stack([jobs[i].stars for i in alike], [choices[i].used for i in alike])
        fits = fit_psfs(
            cutouts,
            outlier_sigma=_OUTLIER_SIGMA,
            min_stars=jobs[alike[0]].settings.min_stars,
            batch_size=frames_side_by_side(),
        )
        for i, fit in zip(alike, fits, strict=True):
            outcomes[i] = _outcome(jobs[i], choices[i], fit)
    return [outcome for outcome in outcomes if outcome is not None]


def _choose(job: PsfJob) -> PsfStars:
    stars, settings = job.stars, job.settings
    flags = np.array(
        [_listed(settings, int(i), job.named.get(int(i), "")) for i in stars.ids], dtype=np.int64
    )
    return choose_psf_stars(
        source_id=stars.ids,
        x=stars.position[:, 0],
        y=stars.position[:, 1],
        snr=rough_snr(stars),
        contamination=np.asarray(stars.arrays["contamination"]),
        coverage=stars.good.mean(axis=(1, 2)),
        saturated=saturated_core(stars),
        flags=flags,
        shape=(int(stars.arrays["frame_shape"][0]), int(stars.arrays["frame_shape"][1])),
        edge_margin_px=float(stars.arrays["fwhm_px"]) * 1.5,
        min_snr=settings.min_snr,
        max_contamination=_MAX_CONTAMINATION,
        min_coverage=_MIN_COVERAGE,
        max_number=settings.max_stars,
        cells_per_side=_CELLS_PER_SIDE,
        reserved_fraction=settings.reserved_fraction,
        min_number_to_reserve=_MIN_TO_RESERVE,
    )


def _listed(settings: Psf, star: int, name: str) -> int:
    """OUTLIER for stars that the user keeps out."""
    names = {str(star), name}
    left_out = settings.stars_to_use is not None and not names & set(settings.stars_to_use)
    return int(Flag.OUTLIER) if left_out or names & set(settings.stars_to_exclude) else 0


def _too_few(job: PsfJob, choice: PsfStars) -> Outcome | None:
    n, needed = int(choice.used.sum()), job.settings.min_stars
    if n >= needed:
        return None
    why = told_reasons(choice.reasons) or "no stars on the frame"
    return Outcome(
        "rejected",
        flags=int(Flag.TOO_FEW_STARS),
        reason_code="too_few_psf_stars",
        reason=f"{job.image_relpath}: {n} of {len(choice.used)} stars can make the PSF, {needed} are needed ({why})"
        + _remedies(job, choice),
    )


def _remedies(job: PsfJob, choice: PsfStars) -> str:
    """What would help this frame, of what is not done already; '' where nothing would."""
    n, settings = int(choice.used.sum()), job.settings
    ways = []
    within_reach = min_snr_for(settings.min_stars, choice.reasons, rough_snr(job.stars))
    if _USEFUL_SNR <= within_reach < settings.min_snr:
        ways.append(
            f"lower psf.min_snr ({settings.min_snr:g}) to {int(within_reach)} or less, and normalization.min_snr where "
            "it is higher (in a workdir of this filter alone: faint stars would make other filters worse)"
        )
    ways += [f"lower psf.min_stars to {n}"] * (n > 1)
    ways += [f"take reference stars from the frames ({_STARS_OF_FRAMES})"] * (not job.stars_of_frames)
    return f"; {', or '.join(ways)}" if ways else ""


def _outcome(job: PsfJob, choice: PsfStars, fit: PSFFit) -> Outcome:
    if fit.model is None:
        return Outcome(
            "rejected",
            flags=int(fit.flags),
            reason_code="psf_failed",
            reason=f"{job.image_relpath}: no PSF: {', '.join(fit.flags.names) or 'no usable stars'}",
        )
    reserved = _reserved_chi2(job, choice, fit)
    flags = fit.flags
    if np.isfinite(reserved) and not _RESERVED_CHI2_RANGE[0] <= reserved <= _RESERVED_CHI2_RANGE[1]:
        flags |= Flag.PSF_UNCERTAIN
    return Outcome(output=_output(job, choice, fit, reserved, flags), flags=int(flags))


def _reserved_chi2(job: PsfJob, choice: PsfStars, fit: PSFFit) -> float:
    if fit.model is None or not choice.reserved.any():
        return float("nan")
    return reserved_star_chi2(
        fit.model,
        stack([job.stars], [choice.reserved]),
        position_sigma_px=_POSITION_SIGMA_PX,
        outlier_sigma=_OUTLIER_SIGMA,
        model_error=_MODEL_ERROR,
    )


def _output(job: PsfJob, choice: PsfStars, fit: PSFFit, reserved: float, flags: Flag) -> PsfOutput:
    model = fit.model
    assert model is not None  # the caller has checked
    ids = job.stars.ids[choice.used]
    kept = fit.used[: len(ids)]
    rejected = {str(int(i)): int(bits) for i, bits in zip(ids, fit.star_flags, strict=False) if bits}
    used = sorted(int(i) for i in ids[kept])
    here = local_psf(model, *job.roi_position)
    grid = rendered_grid(
        here,
        size_px=model.size,
        subsampling_factor=job.settings.subsampling_factor,
        quadrature=model.quadrature,
    )
    arrays: dict[str, Any] = {f"model/{name}": value for name, value in model.to_arrays().items()}
    arrays |= {
        "full_psf": grid,
        "subsampling_factor": job.settings.subsampling_factor,
        "stars/gaia_id": ids,
        "stars/used": kept,
        "stars/flags": fit.star_flags[: len(ids)],
        "stars/reduced_chi2": fit.star_reduced_chi2[: len(ids)],
        "stars/rejected_pixels": fit.rejected_pixels[: len(ids)],
    }
    fwhm = float(fwhm_of_theta(here.theta))
    row = {
        "psf_ref": "psf_" + hashlib.sha256(json.dumps(used).encode()).hexdigest()[:12],
        "chi2": or_null(fit.reduced_chi2),
        "reserved_chi2": or_null(reserved),
        "n_stars": len(used),
        "n_reserved": int(choice.reserved.sum()),
        "stars_used": json.dumps(used),
        "stars_rejected": json.dumps(rejected),
        "subsampling_factor": job.settings.subsampling_factor,
        "fwhm_pixels": fwhm,
        "fwhm_arcseconds": fwhm * job.pixel_scale,
        "ellipticity": or_null(model.ellipticity),
        "residual_strength": or_null(model.prior_sigma),
        "model_error": model.model_error,
        "total_flux_error": or_null(model.total_flux_error),
        "spatial_terms": len(model.theta),
        "flags": int(flags),
    }
    return PsfOutput(arrays, row, job.relpath, job.recipe)


def save(connection: Connection, context: TaskContext, item: Row, output: PsfOutput) -> None:
    """The product, then its row."""
    product: ProductRef = store.write_product(
        context.workspace.workdir,
        output.relpath,
        output.arrays,
        {"recipe": output.recipe, "image_relpath": item["image_relpath"]},
    )
    key = {"combined_footprint_hash": context.footprint_hash, "frame_id": item["id"]}
    row = {
        **key,
        **output.row,
        "relpath": product.relpath,
        "sha256": product.sha256,
        "size": product.size,
        "recipe": context.recipe,
    }
    replace_rows(connection, schema.PSFs, key, [row])
