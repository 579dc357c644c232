"""Cutouts of the stars and ROIs of one frame, with noise maps and masks: what a worker does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import UNUSABLE_PIXEL, Flag
from lightwatch.pipeline.task import Outcome
from lightwatch.processes import background, cutouts, masks, neighbours, noise
from lightwatch.processes.astrometry_sky import local_jacobian, parse_wcs, sky_to_pixel
from lightwatch.structure import frame_store, store
from lightwatch.structure.config import Cutouts as CutoutSettings
from lightwatch.structure.files import ProductRef

_BAD_LINE_SIGMA = 10.0
_COSMIC_ITERATIONS = 2
_MAX_NEIGHBOURS = 8
#: to the corner of the cutout (0.71) and on: wings that a neighbour lays into it pass for those of the star, and make
#: the total flux of the PSF, with all fluxes of the frame, wrong by up to 0.7 %
_REACH_PARTS, _REACH_FWHM = 0.75, 2.0
_GROW_SATURATED_PX = 1
_FALLBACK_FWHM_PX = 3.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StampJob:
    """What a worker needs to cut out the stars and ROIs of one frame."""

    workdir: Path
    relpath: str
    image_relpath: str
    sources_relpath: str
    wcs: str
    exptime: float
    fwhm_px: float
    ellipticity: float
    star_ids: NDArray[np.int64]
    star_x: Floats
    star_y: Floats
    catalog_x: Floats  # all catalogue stars near the frame, reference stars among them
    catalog_y: Floats
    catalog_mag: Floats
    star_size_px: int
    rois: Mapping[str, tuple[float, float, int]]  # name: ra, dec, size
    settings: CutoutSettings
    recipe: str


@dataclass(frozen=True)
class Stamps:
    """A written product and what its row tells."""

    product: ProductRef
    n_stars: int
    star_size_px: int
    cosmic_fraction: float


def extract_stamps(job: StampJob) -> Outcome:
    """Cut out everything on one frame and write it as one product."""
    frame = frame_store.read_stored_frame(job.workdir, job.image_relpath)
    ny, nx = frame.image.shape
    rms = background.from_mesh(background.Mesh(frame.rms_mesh, (ny, nx)), 0, 0, nx, ny)
    mask, struck = _mask(job, frame, rms)
    stars = _cut(job, frame.image, rms, mask, job.star_x, job.star_y, job.star_size_px, "stars")
    blended = _neighbours(job, stars)
    arrays: dict[str, Any] = stars | {
        "exptime": job.exptime,
        "fwhm_px": job.fwhm_px,
        "frame_shape": np.array([ny, nx]),
        "stars/gaia_id": job.star_ids,
        "stars/image_pixel_coordinates": np.column_stack([job.star_x, job.star_y]),
        "stars/neighbours": np.stack([blended.x, blended.y], axis=-1),
        "stars/neighbour_present": blended.present,
        "stars/neighbour_catalogued": blended.catalogued,
        "stars/contamination": blended.contamination,
    }
    wcs = parse_wcs(job.wcs)
    for name, (ra, dec, size) in job.rois.items():
        x, y = sky_to_pixel(wcs, np.array([ra]), np.array([dec]))[0]
        inside = np.isfinite(x + y) and 0 <= x < nx and 0 <= y < ny
        if not inside:
            continue
        group = f"rois/{name}"
        arrays |= _cut(job, frame.image, rms, mask, np.array([x]), np.array([y]), size, group)
        jacobian, scale = local_jacobian(wcs, ra, dec)
        corner = arrays[f"{group}/corner"][0]
        arrays |= {
            f"{group}/image_pixel_coordinates": np.array([x, y]),
            f"{group}/jacobian_px_per_arcsec": jacobian,
            f"{group}/pixel_scale_arcsec": scale,
            f"{group}/wcs": cutouts.cutout_header(job.wcs, int(corner[0]), int(corner[1])),
        }
    attributes = {
        "recipe": job.recipe,
        "image_relpath": job.image_relpath,
        "unit": "electron/s",
        "wcs": job.wcs,
    }
    product = store.write_product(job.workdir, job.relpath, arrays, attributes)
    return Outcome(
        output=Stamps(product, len(job.star_ids), job.star_size_px, float(struck.mean())), flags=int(Flag(0))
    )


def _mask(
    job: StampJob, frame: frame_store.StoredFrame, rms: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Mask of the frame with bad lines and cosmic rays added, and the pixels that were struck."""
    bad = (frame.mask & int(Flag.BAD)) != 0
    saturated = (frame.mask & int(Flag.SATURATED)) != 0
    if job.settings.mask_bad_rows_and_columns:
        bad = bad | masks.bad_lines(frame.image, rms, ~bad & ~saturated, _BAD_LINE_SIGMA)
    known = np.int32(Flag.BAD) * bad + np.int32(Flag.SATURATED) * saturated
    struck = np.zeros_like(bad)
    if job.settings.clean_cosmics:
        struck = masks.cosmic_rays(
            frame.image, rms, known,
            exptime=job.exptime,
            fwhm_px=job.fwhm_px,
            ellipticity=job.ellipticity,
            star_x=job.star_x,
            star_y=job.star_y,
            sigclip=job.settings.cosmics_sigclip,
            sigfrac=job.settings.cosmics_sigfrac,
            objlim=job.settings.cosmics_objlim,
            max_iterations=_COSMIC_ITERATIONS,
        )  # fmt: skip
    return masks.combine_mask(bad, saturated, struck, grow_saturated_px=_GROW_SATURATED_PX, grow_px=0), struck


def _cut(
    job: StampJob,
    image: NDArray[np.float32],
    rms: NDArray[np.float32],
    mask: NDArray[np.int32],
    x: Floats,
    y: Floats,
    size: int,
    group: str,
) -> dict[str, Any]:
    """Data, background rms, noise map, mask and corner (x0, y0) of cutouts, below a group's name."""
    data = cutouts.extract_cutouts(image, x, y, size, fill=np.nan)
    sky = cutouts.extract_cutouts(rms, x, y, size, fill=np.nan).values
    bits = cutouts.extract_cutouts(mask, x, y, size, fill=int(Flag.OUTSIDE)).values
    good = ((bits & int(UNUSABLE_PIXEL)) == 0) & np.isfinite(data.values) & np.isfinite(sky)
    sky_filled = np.where(np.isfinite(sky), sky, np.nanmedian(rms))
    light = noise.smooth_model(data.values, good, sky_filled, job.fwhm_px)
    return {
        f"{group}/data": data.values,
        f"{group}/background_rms": sky.astype(np.float32),
        f"{group}/noisemap": noise.noise_map(sky, light, job.exptime),
        f"{group}/mask": bits.astype(np.uint8),
        f"{group}/corner": np.column_stack([data.x0, data.y0]),
    }


def _neighbours(job: StampJob, stars: Mapping[str, Any]) -> neighbours.Neighbours:
    """Catalogue stars, and detections and peaks that the catalogue lacks, in the cutout of each star."""
    columns = frame_store.read_sources(job.workdir, job.sources_relpath)
    detected = neighbours.Peaks(
        *(np.asarray(columns[name], dtype=float) for name in ("x", "y", "flux", "snr"))
    )
    data, mask = stars["stars/data"], stars["stars/mask"]
    sources = neighbours.joined(
        neighbours.peaks_in_cutouts(
            data,
            stars["stars/background_rms"],
            ((mask & int(UNUSABLE_PIXEL & ~Flag.SATURATED)) == 0) & np.isfinite(data),
            stars["stars/corner"],
            job.star_x,
            job.star_y,
            exptime=job.exptime,
            fwhm_px=job.fwhm_px,
        ),
        detected,
        fwhm_px=job.fwhm_px,
    )
    return neighbours.find_neighbours(
        star_x=job.star_x,
        star_y=job.star_y,
        catalog_x=job.catalog_x,
        catalog_y=job.catalog_y,
        catalog_mag=job.catalog_mag,
        detected_x=sources.x,
        detected_y=sources.y,
        detected_flux=sources.flux,
        detected_snr=sources.snr,
        fwhm_px=job.fwhm_px,
        reach_px=_REACH_PARTS * job.star_size_px + _REACH_FWHM * job.fwhm_px,
        max_neighbours=_MAX_NEIGHBOURS,
    )
