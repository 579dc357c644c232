"""star_photometry: PSF and aperture flux of every reference star on every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from lightwatch.flags import Flag
from lightwatch.pipeline.task import Outcome, TaskContext
from lightwatch.pipeline.tasks.star_cutouts import (
    FrameStars,
    batches_by_size,
    load_stars,
    saturated_core,
    stack,
)
from lightwatch.processes.photometry import StarFluxes, aperture_fluxes, measure_stars
from lightwatch.processes.poor_fit import STAR_CHI2
from lightwatch.processes.psf_model import PSFModel
from lightwatch.structure import queries, schema, store
from lightwatch.structure.config import StarPhotometry
from lightwatch.structure.parts import rows_of
from lightwatch.structure.queries import Row, replace_rows
from lightwatch.structure.unknown import or_null

_OUTLIER_SIGMA = 6.0
_MODEL_ERROR = 0.02
_LEAST_APERTURE_PX = 4.0  # below, the pixels decide on the flux


@dataclass(frozen=True)
class PhotometryJob:
    """One frame's stars and its PSF."""

    stars: FrameStars
    psf: PSFModel
    settings: StarPhotometry


def batches(context: TaskContext, items: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Frames with cutouts of one size."""
    return batches_by_size(context, items)


def load(context: TaskContext, items: Sequence[Row]) -> list[PhotometryJob]:
    """One job per frame."""
    psfs = load_psfs(context, [item["id"] for item in items])
    return [
        PhotometryJob(stars, psfs[item["id"]], context.workspace.config.star_photometry)
        for item, stars in zip(items, load_stars(context, items), strict=True)
    ]


def load_psfs(context: TaskContext, frame_ids: Sequence[int]) -> dict[int, PSFModel]:
    """PSF models of frames by frame id."""
    rows = rows_of(context.workspace.reader, partial(queries.psfs_of, context.footprint_hash), frame_ids)
    return {
        row["frame_id"]: PSFModel.from_arrays(
            store.read_product(context.workspace.workdir, row["relpath"], prefix="model")
        )
        for row in rows
    }


def aperture_radius_px(radius_fwhm: float, fwhm_px: float) -> float:
    """Radius of the aperture in a frame: of stars, and of an ROI that is measured like them."""
    return max(radius_fwhm * fwhm_px, _LEAST_APERTURE_PX)


def compute(jobs: list[PhotometryJob]) -> list[Outcome]:
    """Measure all stars of a batch of frames."""
    outcomes: dict[int, Outcome] = {}
    for shape in sorted({tuple(job.stars.arrays["frame_shape"]) for job in jobs}):
        alike = [i for i, job in enumerate(jobs) if tuple(job.stars.arrays["frame_shape"]) == shape]
        outcomes |= dict(zip(alike, _measure([jobs[i] for i in alike]), strict=True))
    return [outcomes[i] for i in range(len(jobs))]


def _measure(jobs: list[PhotometryJob]) -> list[Outcome]:
    settings = jobs[0].settings
    everyone = [np.ones(len(job.stars.ids), bool) for job in jobs]
    cutouts = stack([job.stars for job in jobs], everyone, only_catalogued=True)
    psfs: list[PSFModel | None] = [job.psf for job in jobs]
    fluxes = measure_stars(
        psfs,
        cutouts,
        position_sigma_px=settings.position_sigma_px,
        fit_background=settings.local_background,
        outlier_sigma=_OUTLIER_SIGMA,
        model_error=_MODEL_ERROR,
        max_reduced_chi2=STAR_CHI2[1],
    )
    radius = np.array([aperture_radius_px(settings.aperture_radius_fwhm, job.psf.fwhm_px) for job in jobs])
    aperture, aperture_error = aperture_fluxes(cutouts, fluxes, radius_px=radius)
    return [
        Outcome(output=_rows(job, fluxes, aperture[i], aperture_error[i], i)) for i, job in enumerate(jobs)
    ]


def _rows(
    job: PhotometryJob, fluxes: StarFluxes, aperture: NDArray[Any], aperture_error: NDArray[Any], i: int
) -> list[dict[str, Any]]:
    stars = job.stars
    n = stars.arrays["data"].shape[-1]
    saturated = saturated_core(stars)
    rows = []
    for k, star in enumerate(stars.ids):
        flags = int(fluxes.flags[i, k]) | (int(Flag.SATURATED) if saturated[k] else 0)
        measured = np.isfinite(fluxes.flux[i, k]) and fluxes.flux_uncertainty[i, k] > 0
        x = fluxes.x[i, k] + stars.arrays["corner"][k, 0] + (n - 1) / 2
        y = fluxes.y[i, k] + stars.arrays["corner"][k, 1] + (n - 1) / 2
        row = {
            "star_gaia_id": int(star),
            "flux": fluxes.flux[i, k],
            "flux_uncertainty": fluxes.flux_uncertainty[i, k],
            "aperture_flux": aperture[k],
            "aperture_flux_uncertainty": aperture_error[k],
            "chi2": fluxes.reduced_chi2[i, k],
            "x": x,
            "y": y,
            "dx": x - stars.position[k, 0],
            "dy": y - stars.position[k, 1],
            "local_background": fluxes.background[i, k],
        }
        known = {name: or_null(value) for name, value in row.items()}
        if not measured:
            known |= {"flux": None, "flux_uncertainty": None}
        rows.append({**known, "star_gaia_id": int(star), "flags": flags})
    return rows


def save(connection: Connection, context: TaskContext, item: Row, output: list[dict[str, Any]]) -> None:
    """One row per star."""
    key = {"combined_footprint_hash": context.footprint_hash, "frame_id": item["id"]}
    rows = [{**key, **row, "recipe": context.recipe} for row in output]
    replace_rows(connection, schema.star_flux_in_frame, key, rows)
