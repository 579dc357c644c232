"""What the pixels of a few frames tell: seeing, saturation, gain, and whether the WCS is right."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lightwatch.errors import FrameError, LightwatchError, ProcessError
from lightwatch.pipeline.init_sample import LIMITS, Sample, SampledHeader, pairs_of_one_camera
from lightwatch.processes import background, calibration, detection
from lightwatch.processes.astrometry import verify_wcs
from lightwatch.processes.astrometry_sky import apply_proper_motion, parse_wcs, sky_to_pixel
from lightwatch.processes.astrometry_types import AstrometrySettings, Detections, ReferenceStars
from lightwatch.structure.catalogs import ReferenceCatalog
from lightwatch.structure.config import PlateSolving
from lightwatch.structure.frames import RawFrame, header_wcs, read_frame

_FRAMES = 3
_PAIRS = 5
_LARGEST_SIDE_PX = 2048  # of larger frames the middle is looked at
_BOX_PX = 64
_NOT_A_STAR = 0.02  # error of a centroid, in pixels, of the brightest stars
_MAX_HEADER_SHIFT_PX = 15.0
_MATCH_RADIUS_PX = 3.0
_MAX_FALSE_ALARM = 1e-6
_SNR = 20.0


@dataclass(frozen=True)
class Pixels:
    """Findings; None or NaN: not known."""

    n_frames: int
    fwhm_px: float  # median
    pile_up_adu: float
    stored_step: int
    bad_pixel_map: bool
    transfer: calibration.PhotonTransfer | None
    transfer_problem: str
    wcs_verdicts: tuple[str, ...]  # a line per frame that was compared with a catalogue
    stars_in_field: int | None  # of the catalogue, where a WCS was confirmed
    brightest_gmag: float = math.nan  # of its stars that are not saturated
    faintest_gmag: float = math.nan  # of its stars that reach a signal-to-noise of 20


@dataclass(frozen=True)
class _StarsOfFrame:
    verdict: str  # on the WCS
    n_stars: int  # of the catalogue in the frame
    gmags: tuple[float, ...]  # of those well measured and not saturated


def look_at_pixels(
    sample: Sample, *, needs_gain: bool, catalog: ReferenceCatalog | None, epoch_mjd: float
) -> Pixels:
    """Read a few frames, one of every camera first; pairs of frames only where no keyword tells the gain."""
    frames = [(item, frame) for item in _chosen(sample.science) if (frame := _read(item)) is not None]
    fwhms, seen = [], []
    for item, frame in frames:
        sources, fwhm, corner = _sources(frame)
        fwhms += [fwhm] if math.isfinite(fwhm) else []
        if catalog is not None:
            verdict = _verdict(item, frame, sources, corner, catalog, epoch_mjd)
            seen += [verdict] if verdict else []
    piles = [calibration.pile_up_level(frame.image) for _, frame in frames]
    transfer, problem = _transfer(sample) if needs_gain else (None, "")
    return Pixels(
        n_frames=len(frames),
        fwhm_px=statistics.median(fwhms) if fwhms else math.nan,
        pile_up_adu=min((level for level in piles if math.isfinite(level)), default=math.nan),
        stored_step=max((calibration.stored_step(frame.image) for _, frame in frames), default=1),
        bad_pixel_map=any(frame.has_bad_pixel_map for _, frame in frames),
        transfer=transfer,
        transfer_problem=problem,
        wcs_verdicts=tuple(item.verdict for item in seen),
        stars_in_field=min(item.n_stars for item in seen) if seen else None,
        brightest_gmag=min((mag for item in seen for mag in item.gmags), default=math.nan),
        faintest_gmag=max((mag for item in seen for mag in item.gmags), default=math.nan),
    )


def _chosen(items: Sequence[SampledHeader]) -> list[SampledHeader]:
    """The middle one of every camera, at most so many; else those spread over the list."""
    cameras: dict[object, list[SampledHeader]] = {}
    for item in items:
        cameras.setdefault((item.camera, str(item.header.get("FILTER"))), []).append(item)
    chosen = [group[len(group) // 2] for group in cameras.values()][:_FRAMES]
    more = [items[i] for i in np.unique(np.linspace(0, len(items) - 1, _FRAMES).astype(int))]
    return (chosen + [item for item in more if not any(item is other for other in chosen)])[:_FRAMES]


def _read(item: SampledHeader) -> RawFrame | None:
    try:
        return read_frame(
            item.path, hdu_data=item.hdu_index, hdu_headers=None, hdu_bad_pixels="auto", limits=LIMITS
        )
    except FrameError:
        return None


def _sources(frame: RawFrame) -> tuple[detection.Sources | None, float, tuple[int, int]]:
    """Sources of the middle of a frame, FWHM (px), and the pixel (x, y) where the middle begins."""
    ny, nx = frame.image.shape
    y0, x0 = (max(0, (side - _LARGEST_SIDE_PX) // 2) for side in (ny, nx))
    part = (slice(y0, y0 + _LARGEST_SIDE_PX), slice(x0, x0 + _LARGEST_SIDE_PX))
    image, good = frame.image[part], frame.good[part]
    try:
        sky = background.estimate_background(image, good, method="mesh", box_px=_BOX_PX, filter_boxes=3)
        flat = np.where(good, image - sky.level, np.float32(0))
        mask = np.where(good, 0, 1).astype(np.int32)
        sources = detection.detect_sources(
            flat, sky.rms, mask, exptime=1.0, threshold_sigma=5.0, min_area_px=5, kernel_fwhm_px=2.0,
            deblend_levels=32, deblend_contrast=0.005, max_sources=3000,
        )  # fmt: skip
        seeing = detection.stellar_locus(
            flat, sky.rms, mask, sources, exptime=1.0, min_snr=20.0, max_stars=40
        )
    except ProcessError:
        return None, math.nan, (x0, y0)
    return sources, seeing.fwhm_px, (x0, y0)


def _verdict(
    item: SampledHeader,
    frame: RawFrame,
    sources: detection.Sources | None,
    corner: tuple[int, int],
    catalog: ReferenceCatalog,
    epoch_mjd: float,
) -> _StarsOfFrame | None:
    """What the stars of a catalogue say of the frame's WCS, and what the frame shows of them."""
    ny, nx = frame.image.shape
    try:
        text = header_wcs(frame.header, name=item.path.name)
        if text is None or sources is None:
            return None
        wcs = parse_wcs(text)
    except LightwatchError:
        return None
    ra, dec, _ = apply_proper_motion(
        catalog.ra, catalog.dec, catalog.pmra, catalog.pmdec, catalog.ref_epoch, epoch_mjd
    )
    found = Detections(
        sources.x + corner[0], sources.y + corner[1], sources.flux, np.full(len(sources), _NOT_A_STAR), nx, ny
    )
    stars = ReferenceStars(ra, dec, catalog.phot_g_mean_mag, np.full(len(ra), np.nan))
    defaults = PlateSolving()
    settings = AstrometrySettings(
        min_matches=defaults.min_matches, max_false_alarm_probability=_MAX_FALSE_ALARM,
        max_shift_px=_MAX_HEADER_SHIFT_PX, match_radius_px=_MATCH_RADIUS_PX, max_rms_px=defaults.max_rms_px,
        max_anisotropy=defaults.max_pixel_anisotropy, max_sip_order=defaults.max_sip_order,
    )  # fmt: skip
    check = verify_wcs(wcs, found, stars, settings=settings)
    x, y = sky_to_pixel(wcs, ra, dec).T
    inside = int(np.sum((x > 0) & (y > 0) & (x < nx) & (y < ny)))
    told = f"{item.path.name}: {check.verdict} ({check.n_matches} of {check.n_stars} stars)"
    here = np.column_stack([x + check.shift_x_px, y + check.shift_y_px])
    return _StarsOfFrame(told, inside, _measured(here, catalog.phot_g_mean_mag, found, sources, frame))


def _measured(
    here: NDArray[Any],
    gmag: NDArray[Any],
    found: Detections,
    sources: detection.Sources,
    frame: RawFrame,
) -> tuple[float, ...]:
    """Magnitudes of the stars at pixels ``here`` whose source has S/N 20 and stays below the frame's pile-up."""
    usable = np.isfinite(here).all(axis=1) & np.isfinite(gmag)
    if not usable.any() or not len(sources):
        return ()
    distance, nearest = cKDTree(np.column_stack([found.x, found.y])).query(here[usable])
    pile = calibration.pile_up_level(frame.image)
    limit = pile if math.isfinite(pile) else frame.ceiling_adu
    floor = float(np.median(frame.image[frame.good]))
    clean = (distance < _MATCH_RADIUS_PX) & (sources.snr[nearest] > _SNR)
    if math.isfinite(limit):
        clean &= sources.peak[nearest] + floor < limit
    return tuple(float(mag) for mag in gmag[usable][clean])


def _transfer(sample: Sample) -> tuple[calibration.PhotonTransfer | None, str]:
    """Photon transfer of flats and sky frames; bias frames, when there are any, give the pedestal."""
    flats = [item for item in sample.others if item.kind == "flat"]
    pairs = pairs_of_one_camera(flats, _PAIRS) + pairs_of_one_camera(sample.science, _PAIRS)
    pairs = [pair for pair in pairs if pair[0].camera == pairs[0][0].camera]
    biases = [
        item for item in sample.others if item.kind == "bias" and pairs and item.shape == pairs[0][0].shape
    ]
    frames = [(_read(one), _read(other)) for one, other in pairs]
    images = [(one.image, other.image) for one, other in frames if one is not None and other is not None]
    bias = _read(biases[0]) if biases else None
    pedestal = float(np.median(bias.image[bias.good])) if bias is not None else math.nan
    try:
        return calibration.photon_transfer(images, pedestal_adu=pedestal), ""
    except ProcessError as error:
        return None, str(error)


def read_stars(path: Path) -> ReferenceCatalog | None:
    """The user's table of stars; None when it cannot be read, which ``config check`` tells better."""
    from lightwatch.structure.catalogs import read_catalog

    try:
        return read_catalog(path)
    except LightwatchError:
        return None
