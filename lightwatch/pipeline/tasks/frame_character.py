"""One raw file into one frame: read, calibrate, subtract the sky, detect, and tell the conditions."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lightwatch.errors import FrameError, HeaderError
from lightwatch.flags import Flag
from lightwatch.pipeline.guard import guarded, one_line
from lightwatch.pipeline.task import Outcome, digest_of
from lightwatch.pipeline.tasks.frame_import_inputs import Beside
from lightwatch.processes import background, calibration, detection, ephemeris, masks
from lightwatch.processes.strips import row_strips
from lightwatch.structure import frame_store, frames
from lightwatch.structure.config import Config
from lightwatch.structure.files import path_text, safe_name
from lightwatch.structure.frames_discovery import FoundFile, is_unchanged
from lightwatch.structure.frames_guard import ReadLimits
from lightwatch.structure.header_parsing import FrameMetadata, HeaderParser, read_metadata
from lightwatch.structure.unknown import or_null
from lightwatch.structure.wcs_files import read_wcs_file

_HEADER_BYTES = 10_000_000
_INFLATION = 20.0
_MAX_HDUS = 1000
_MIN_SIDE_PX = 32
_MIN_GOOD_FRACTION = 0.6
_MAX_SATURATED_FRACTION = 0.5
_FILTER_BOXES = 3
_KERNEL_FWHM_PX = 2.0
_HOT_SIGMA = 6.0
_MAX_SOURCES = 20_000
_MIN_STAR_SNR = 20.0
_MAX_SHAPE_STARS = 40
_SECONDS_PER_DAY, _MJD_OF_UNIX_EPOCH, _MAX_DAYS_AHEAD = 86400.0, 40587.0, 2.0
_YOUNG_REASONS = ("truncated", "not_fits")


@dataclass(frozen=True)
class ImportJob:
    """What a worker needs to import one file."""

    workdir: Path
    config: Config
    parser: HeaderParser
    path: Path
    found: FoundFile
    content_hash: str
    recipe: str
    beside: Beside
    young: bool


@dataclass(frozen=True)
class ImportedFrame:
    """A row for the table frames, or why the file is a calibration frame."""

    row: dict[str, Any] | None
    calibration: str | None = None


def import_or_defer(job: ImportJob) -> Outcome:
    """Import one frame. A file that is young and incomplete, or changes under our eyes, waits for the next run."""
    outcome = guarded(import_frame, job)
    if outcome.state == "done":
        return outcome
    if not is_unchanged(job.found):
        code = "deferred" if os.path.lexists(job.path) else "vanished"
        return replace(outcome, state="done", output=None, reason_code=code)
    if job.young and outcome.state == "rejected" and outcome.reason_code in _YOUNG_REASONS:
        return replace(outcome, state="done", output=None, reason_code="deferred")
    return outcome


def import_frame(job: ImportJob) -> Outcome:
    """Import one file.

    Raises
    ------
    FrameError, HeaderError
        With the reason why the file cannot be used.
    """
    raw = _read(job)
    if not is_unchanged(job.found):
        raise FrameError("changed", f"{frames.shown(job.path)}: changed while it was read")
    name = path_text(job.path)
    declared = job.beside.overrides.get("frame_type")
    kind = frames.classify_frame(raw.header, file_name=job.path.name, declared=declared)
    if kind.kind != "science":
        return Outcome(output=ImportedFrame(None, f"{kind.kind}: {kind.reason}"), reason_code=kind.kind)
    meta = _metadata(job, raw.header, name)
    kind = frames.classify_frame(raw.header, file_name=job.path.name, declared=meta.frame_type)
    if kind.kind != "science":
        return Outcome(output=ImportedFrame(None, f"{kind.kind}: {kind.reason}"), reason_code=kind.kind)
    _refuse_future(meta, name)
    saturation = _saturation(raw, meta)
    np.logical_and(raw.good, ~masks.blank_areas(raw.image, saturation), out=raw.good)
    frames.check_pixels(
        raw.image, raw.good, name=name, min_side_px=_MIN_SIDE_PX, min_good_fraction=_MIN_GOOD_FRACTION,
        saturation_adu=saturation, max_saturated_fraction=_MAX_SATURATED_FRACTION,
    )  # fmt: skip
    return _characterise(job, raw, meta, saturation)


def _metadata(job: ImportJob, header: fits.Header, name: str) -> FrameMetadata:
    """What the header parser says, and what the configuration says instead."""
    meta = read_metadata(
        job.parser,
        header,
        name=name,
        time_reference=job.config.importation.time_reference,
        overrides=job.beside.overrides,
    )
    offset_s = job.beside.overrides.get("time_offset_seconds", 0.0)
    return replace(meta, mjd=meta.mjd + offset_s / _SECONDS_PER_DAY)


def _read(job: ImportJob) -> frames.RawFrame:
    settings = job.config.importation
    limits = ReadLimits(
        header_bytes=_HEADER_BYTES,
        data_bytes=int(job.config.discovery.max_frame_gigabytes * 1e9),
        inflation=_INFLATION,
        hdus=_MAX_HDUS,
    )
    raw = frames.read_frame(
        job.path,
        hdu_data=settings.hdu_data,
        hdu_headers=settings.hdu_headers,
        hdu_bad_pixels=settings.hdu_bad_pixels,
        limits=limits,
    )
    return frames.trimmed(
        raw, vertical_px=settings.trim_vertical_px, horizontal_px=settings.trim_horizontal_px
    )


def _refuse_future(meta: FrameMetadata, name: str) -> None:
    """A camera's clock that is wrong by years would put a point where no night was yet."""
    now = time.time() / _SECONDS_PER_DAY + _MJD_OF_UNIX_EPOCH
    if meta.mjd > now + _MAX_DAYS_AHEAD:
        told = f"{name}: mjd={meta.mjd}: expected a time that has been; what is right, the clock here or the camera's?"
        raise HeaderError("bad_meta:mjd", told)


def _saturation(raw: frames.RawFrame, meta: FrameMetadata) -> float:
    """Saturation level in ADU: the header parser's, else the largest number the file can hold."""
    return meta.saturation_adu if np.isfinite(meta.saturation_adu) else raw.ceiling_adu


def _characterise(job: ImportJob, raw: frames.RawFrame, meta: FrameMetadata, saturation: float) -> Outcome:
    config = job.config
    image, good = raw.image, raw.good
    saturated = calibration.saturated_pixels(image, saturation)
    calibration.to_electron_per_second(image, meta.gain, meta.exptime_s, out=image)
    np.logical_and(good, np.isfinite(image), out=good)
    sky = background.estimate_background(
        image,
        good & ~saturated,
        method=config.background.method,
        box_px=config.background.box_size_px,
        filter_boxes=_FILTER_BOXES,
    )
    mask = _subtract_and_mask(image, good, saturated, sky, subtract=config.background.subtract)
    del good, saturated
    sources = detection.detect_sources(
        image, sky.rms_map, mask,
        exptime=meta.exptime_s,
        threshold_sigma=config.source_extraction.threshold_sigma,
        min_area_px=config.source_extraction.min_area_px,
        kernel_fwhm_px=_KERNEL_FWHM_PX,
        deblend_levels=config.source_extraction.deblend_levels,
        deblend_contrast=config.source_extraction.deblend_contrast,
        max_sources=_MAX_SOURCES,
    )  # fmt: skip
    seeing = detection.stellar_locus(
        image,
        sky.rms_map,
        mask,
        sources,
        exptime=meta.exptime_s,
        min_snr=_MIN_STAR_SNR,
        max_stars=_MAX_SHAPE_STARS,
    )
    return _write(job, raw, meta, saturation, image, mask, sky, sources, seeing)


def _subtract_and_mask(
    image: NDArray[np.float32],
    good: NDArray[np.bool_],
    saturated: NDArray[np.bool_],
    sky: background.Background,
    *,
    subtract: bool,
) -> NDArray[np.uint8]:
    """Subtract the sky from the image itself, where that is wanted, and tell the bits of its pixels."""
    if subtract:
        for strip in row_strips(image.shape, 0):
            image[strip.inner] -= sky.level_map[strip.inner]
    mask = np.empty(image.shape, np.uint8)
    for strip in row_strips(image.shape, 1):
        rows = strip.outer
        flat = image[rows] if subtract else image[rows] - sky.level_map[rows]
        hot = masks.hot_pixels(flat, sky.rms_map[rows], good[rows] & ~saturated[rows], _HOT_SIGMA)
        bits = masks.combine_mask(
            ~good[rows] | hot, saturated[rows], np.zeros_like(hot), grow_saturated_px=1, grow_px=0
        )
        mask[strip.inner] = bits[strip.own]
    for row in image:
        row[~np.isfinite(row)] = 0
    return mask


def _write(
    job: ImportJob,
    raw: frames.RawFrame,
    meta: FrameMetadata,
    saturation: float,
    image: NDArray[np.float32],
    mask: NDArray[np.uint8],
    sky: background.Background,
    sources: detection.Sources,
    seeing: detection.Seeing,
) -> Outcome:
    # a name of its own under every recipe: rows made under another one keep their file
    stem = safe_name(job.path.name.split(".")[0], digest_of([job.content_hash, job.recipe]))
    wcs_text, doubts = _doubts(job, raw, path_text(job.path))
    cards = _cards(meta, wcs_text)
    stored = frame_store.StoredFrame(image, mask, sky.level_mesh.values, sky.rms_mesh.values, cards)
    image_ref = frame_store.write_frame(job.workdir, f"frames/{stem}.fits", stored)
    columns = {f.name: getattr(sources, f.name) for f in fields(sources) if f.name != "aperture_px"}
    sources_ref = frame_store.write_sources(
        job.workdir, f"frames/{stem}_sources.fits", {**columns, "is_star": seeing.is_star}
    )
    ny, nx = image.shape
    row = {
        "content_hash": job.content_hash,
        "hdu_index": raw.hdu_index,
        "original_image_path": path_text(job.path),
        "image_relpath": image_ref.relpath,
        "image_sha256": image_ref.sha256,
        "sources_relpath": sources_ref.relpath,
        "naxis1": nx,
        "naxis2": ny,
        "header_wcs": wcs_text,
        "seeing_pixels": or_null(seeing.fwhm_px),
        "ellipticity": or_null(seeing.ellipticity),
        "sky_level_electron_per_second": or_null(sky.global_level),
        "background_rms_electron_per_second": or_null(sky.global_rms),
        "noise_ratio": or_null(background.noise_ratio(sky, meta.exptime_s, meta.read_noise)),
        "n_sources": len(sources),
        "masked_fraction": np.count_nonzero(mask) / mask.size,
        "recipe": job.recipe,
        **_metadata_columns(meta, saturation),
    }
    imported = ImportedFrame({**row, **_conditions(job.config, meta, row)})
    return Outcome(
        output=imported,
        reason_code=",".join(doubts) or None,
        reason=one_line("; ".join(doubts.values())) or None,
    )


def _doubts(job: ImportJob, raw: frames.RawFrame, name: str) -> tuple[str | None, dict[str, str]]:
    """The WCS beside the file, else its header's, and what is wrong although the frame can be used: code and text."""
    doubts: dict[str, str] = {}
    wcs_text = None
    if raw.damaged:
        doubts["checksum"] = f"{name}: the pixels do not agree with their checksum (DATASUM)"
    for look in (lambda: _wcs_beside(job, raw), lambda: frames.header_wcs(raw.header, name=name)):
        try:
            wcs_text = wcs_text or look()
        except FrameError as error:  # no reason to lose the frame: it will be solved
            doubts[error.reason_code] = str(error)
    if raw.notes:
        doubts["bad_cards"] = raw.notes[0]
    return wcs_text, doubts


def _wcs_beside(job: ImportJob, raw: frames.RawFrame) -> str | None:
    if job.beside.wcs is None:
        return None
    ny, nx = raw.image.shape
    cut = job.config.importation
    trimmed_px = (cut.trim_vertical_px, cut.trim_horizontal_px)
    return read_wcs_file(job.beside.wcs, shape=(ny, nx), trimmed_px=trimmed_px)


def _cards(meta: FrameMetadata, wcs_text: str | None) -> fits.Header:
    header = fits.Header()
    header["EXPTIME"] = (meta.exptime_s, "s")
    header["GAIN"] = (meta.gain, "electron/ADU of the raw file")
    header["MJD-MID"] = (meta.mjd_mid, "UTC, mid-exposure")
    if wcs_text:
        header.extend(fits.Header.fromstring(wcs_text).cards, strip=True, update=True)
    return header


def _metadata_columns(meta: FrameMetadata, saturation: float) -> dict[str, Any]:
    return {
        "frame_type": "science",
        "filter": meta.filter,
        "object": meta.object,
        "mjd": meta.mjd,
        "mjd_mid": meta.mjd_mid,
        "exptime": meta.exptime_s,
        "gain": meta.gain,
        "read_noise": or_null(meta.read_noise),
        "saturation_adu": or_null(saturation),
        "telescope_name": meta.telescope,
        "telescope_imager_name": meta.instrument,
        "pointing_ra": or_null(meta.ra_deg),
        "pointing_dec": or_null(meta.dec_deg),
        "header_pixel_scale": or_null(meta.pixel_scale_arcsec),
    }


def _conditions(config: Config, meta: FrameMetadata, row: dict[str, Any]) -> dict[str, Any]:
    """Place of the telescope, ephemeris and barycentric time, all for the first ROI."""
    ra, dec = next(iter(config.rois.values())).coordinates
    site = _site(config, meta)
    columns: dict[str, Any] = {
        "bjd_tdb": float(ephemeris.bjd_tdb([meta.mjd_mid], ra, dec, site)[0]),
        "telescope_name": meta.telescope or config.telescope.name,
        "flags": 0,
    }
    if site is None:
        return columns | {"airmass": or_null(meta.airmass)}
    sky = ephemeris.frame_ephemeris(
        [meta.mjd_mid], ra, dec, site.latitude_deg, site.longitude_deg, site.elevation_m
    )
    columns |= {
        "telescope_latitude": site.latitude_deg,
        "telescope_longitude": site.longitude_deg,
        "telescope_elevation": site.elevation_m,
        "airmass": or_null(sky.airmass[0]),
        "altitude": or_null(sky.altitude_deg[0]),
        "azimuth": or_null(sky.azimuth_deg[0]),
        "sun_altitude": or_null(sky.sun_altitude_deg[0]),
        "degrees_to_moon": or_null(sky.degrees_to_moon[0]),
        "moon_phase": or_null(sky.moon_phase[0]),
        "flags": int(Flag(int(sky.flags[0]))),
    }
    return columns


def _site(config: Config, meta: FrameMetadata) -> ephemeris.Site | None:
    telescope = config.telescope
    if telescope.latitude is not None and telescope.longitude is not None:
        return ephemeris.Site(telescope.latitude, telescope.longitude, telescope.elevation)
    if np.isfinite(meta.latitude_deg) and np.isfinite(meta.longitude_deg):
        elevation = meta.elevation_m if np.isfinite(meta.elevation_m) else 0.0
        return ephemeris.Site(meta.latitude_deg, meta.longitude_deg, elevation)
    return None
