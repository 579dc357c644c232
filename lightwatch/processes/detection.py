"""Sources of a frame, the locus of stars among them, and how deep the frame goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import sep
from numpy.typing import NDArray

from lightwatch.errors import ProcessError
from lightwatch.flags import UNUSABLE_PIXEL, Flag
from lightwatch.processes.background import SmoothMap
from lightwatch.processes.cutouts import extract_cutouts
from lightwatch.processes.star_shape import MoffatFits, density_mode, ellipticity_of, fit_moffats
from lightwatch.processes.strips import Strip, row_strips

_FWHM_PER_SIGMA = 2.354820045
#: FWHM of the Gaussian with the variance of a square pixel
_PIXEL_FWHM = _FWHM_PER_SIGMA / 12**0.5
_SMALLEST_FWHM_PX = 1.0  # below are hot pixels and cosmic rays
_NARROW_FWHM_PX = 1.5  # stars are wider, or unfit for photometry
_MAX_ELLIPTICITY = 0.5
_N_BRIGHT = 60  # sources that decide on the aperture
_MAX_LOST = 0.2  # fraction of the pixels around a source
_MAX_DOUBLINGS = 8
_MARGIN_PX = 128  # of a strip: larger sources at its edge are cut there
#: half width of the locus in ln(size), and how it widens with 1/snr
_LOCUS_WIDTH = 0.12
_LOCUS_WIDTH_PER_NOISE = 1.5


@dataclass(frozen=True)
class Sources:
    """Detected sources, brightest first; arrays of one length.

    ``x, y`` px (windowed centroid, else barycentre); ``flux, flux_uncertainty`` electron/s in a circle
    of ``aperture_px``; ``peak`` electron/s; ``fwhm_px`` 2 x half-flux radius with the pixel taken out
    (for comparing sources of one frame; ``Seeing.fwhm_px`` is the calibrated one); ``a, b`` px rms along
    the axes, ``theta`` rad from +x towards +y, ``ellipticity`` 1 - b/a; ``snr`` flux over uncertainty;
    ``flags`` of lightwatch.flags: SATURATED, BAD, COSMIC_RAY, NEIGHBOUR_OF_BAD (such a pixel in the core),
    OUTSIDE (at the edge), CONTAMINATED (deblended or with a neighbour), LOW_COVERAGE.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_uncertainty: NDArray[np.float64]
    peak: NDArray[np.float64]
    fwhm_px: NDArray[np.float64]
    ellipticity: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    theta: NDArray[np.float64]
    snr: NDArray[np.float64]
    flags: NDArray[np.int32]
    aperture_px: float

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Seeing:
    """Shape of the stars of one frame.

    ``fwhm_px``: full width at half maximum (geometric mean of the axes) of Moffat fits to unsaturated
    stars, of the light before it is summed in pixels. ``ellipticity`` 1 - b/a of the mean star;
    ``theta`` rad of its major axis from +x towards +y. ``n_stars`` stars fitted. ``is_star`` (n sources):
    point-like by size. fwhm_px is NaN when no star could be measured.
    """

    fwhm_px: float
    ellipticity: float
    theta: float
    n_stars: int
    is_star: NDArray[np.bool_]


def detect_sources(
    image: NDArray[np.float32],
    background_rms: NDArray[np.float32] | SmoothMap,
    mask: NDArray[np.integer],
    *,
    exptime: float,
    threshold_sigma: float,
    min_area_px: int,
    kernel_fwhm_px: float,
    deblend_levels: int,
    deblend_contrast: float,
    max_sources: int,
) -> Sources:
    """Sources of a sky-subtracted ``image`` (ny, nx) electron/s, at most the ``max_sources`` brightest.

    ``background_rms`` (ny, nx) electron/s; ``mask`` (ny, nx) bits of lightwatch.flags; saturated pixels take
    part in the detection, the other unusable ones do not. ``threshold_sigma`` in units of the noise of the
    filtered image; ``kernel_fwhm_px`` of the Gaussian filter (0: none). ``deblend_contrast`` 1 turns
    deblending off. Large frames are worked through in strips. Where the library's limits overflow, the
    threshold is doubled and the detection repeated. Method: Bertin & Arnouts 1996, A&AS 117, 393 (library sep).
    Raises ProcessError ``detection_failed``.
    """
    strips = row_strips(image.shape, _MARGIN_PX)
    kernel = _gaussian_kernel(kernel_fwhm_px)
    found = []
    for strip in strips:
        data, rms, unusable = _usable(image, background_rms, mask, strip.outer)
        objects = _extract(
            np.divide(
                data, rms, out=rms
            ),  # in sigmas: a plain filter is then the matched one, five times faster
            threshold_sigma * float(np.sqrt(np.sum(kernel**2))),
            mask=unusable,
            minarea=min_area_px,
            filter_kernel=kernel,
            filter_type="conv",
            deblend_nthresh=deblend_levels,
            deblend_cont=deblend_contrast,
        )
        row = objects["y"] + strip.outer.start
        own = (row > strip.inner.start - 0.5) & (row <= strip.inner.stop - 0.5)
        found.append(objects[own | (len(strips) == 1)])
    return _measured(image, background_rms, mask, strips, found, exptime, kernel_fwhm_px, max_sources)


def stellar_locus(
    image: NDArray[np.float32],
    background_rms: NDArray[np.float32] | SmoothMap,
    mask: NDArray[np.integer],
    sources: Sources,
    *,
    exptime: float,
    min_snr: float,
    max_stars: int,
) -> Seeing:
    """Seeing and star/galaxy separation from the locus of point sources in the size-flux plane.

    ``image`` (ny, nx) sky-subtracted electron/s, with ``background_rms`` and ``mask`` as in
    ``detect_sources``. The mode of the sizes of clean, round sources above ``min_snr`` finds the locus;
    up to ``max_stars`` of its brightest are fitted with Moffats.
    """
    bad_for_shape = UNUSABLE_PIXEL | Flag.LOW_COVERAGE
    sane = (sources.flags & np.int32(bad_for_shape)) == 0
    sane &= (sources.fwhm_px > _SMALLEST_FWHM_PX) & (sources.ellipticity < _MAX_ELLIPTICITY)
    clean = sane & ((sources.flags & np.int32(Flag.CONTAMINATED)) == 0) & (sources.snr > min_snr)
    mode = float(np.exp(density_mode(np.log(sources.fwhm_px[clean]), _LOCUS_WIDTH / 2)))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(np.log(sources.fwhm_px / mode))
    is_star = sane & (distance < _LOCUS_WIDTH + _LOCUS_WIDTH_PER_NOISE / np.maximum(sources.snr, 1))
    chosen = np.flatnonzero(clean & is_star)[:max_stars]
    if chosen.size == 0:
        return Seeing(np.nan, np.nan, np.nan, 0, np.zeros(len(sources), bool))
    fits = _fit_stars(image, background_rms, mask, sources, chosen, exptime, mode)
    widths = np.log(np.where(fits.converged, fits.fwhm_px, np.nan))
    use = np.abs(widths - density_mode(widths, _LOCUS_WIDTH / 2)) < _LOCUS_WIDTH
    if not use.any():
        return Seeing(np.nan, np.nan, np.nan, 0, np.zeros(len(sources), bool))
    ellipticity, theta = ellipticity_of(float(np.median(fits.e1[use])), float(np.median(fits.e2[use])))
    return Seeing(float(np.median(fits.fwhm_px[use])), ellipticity, theta, int(use.sum()), is_star)


def limiting_flux(background_rms: float, fwhm_px: float, n_sigma: float) -> float:
    """Flux (electron/s) of a point source at ``n_sigma`` of the sky noise ``background_rms`` (per pixel).

    PSF-weighted photometry of a Gaussian PSF: sigma = rms sqrt(4 pi) fwhm / 2.3548
    (King 1983, PASP 95, 163). Magnitude: zeropoint - 2.5 log10(flux).
    """
    return n_sigma * background_rms * float(np.sqrt(4 * np.pi)) * fwhm_px / _FWHM_PER_SIGMA


def _extract(data: NDArray[np.float32], threshold: float, **keywords: Any) -> NDArray[Any]:
    """The library's detection; where its limits overflow, only brighter sources are looked for."""
    stack = sep.get_extract_pixstack()
    sep.set_extract_pixstack(max(stack, data.size // 2))
    try:
        for doubling in range(_MAX_DOUBLINGS):
            try:
                objects: NDArray[Any] = sep.extract(data, threshold * 2**doubling, **keywords)
            except Exception as problem:  # the library raises nothing more precise
                if "overflow" not in str(problem) and "buffer full" not in str(problem):
                    raise ProcessError("detection_failed", f"source detection: {problem}") from problem
            else:
                return objects
    finally:
        sep.set_extract_pixstack(stack)
    raise ProcessError("detection_failed", "too many overlapping sources at any threshold")


def _gaussian_kernel(fwhm_px: float) -> NDArray[np.float32]:
    """Of unit sum; a single 1 where no filter is wanted."""
    if fwhm_px <= 0:
        return np.ones((1, 1), np.float32)
    half = max(1, int(np.ceil(fwhm_px)))
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) * _FWHM_PER_SIGMA / fwhm_px) ** 2)
    return (np.outer(profile, profile) / profile.sum() ** 2).astype(np.float32)


def _no_sources() -> Sources:
    none = np.zeros(0)
    return Sources(*(none,) * 11, flags=np.zeros(0, np.int32), aperture_px=float("nan"))


def _usable(
    image: NDArray[np.float32],
    background_rms: NDArray[np.float32] | SmoothMap,
    mask: NDArray[np.integer],
    rows: slice,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Data, rms and what of them cannot be used, as the library takes them: own copies in native byte order."""
    data = np.array(image[rows], np.float32, order="C")
    rms = np.array(background_rms[rows], np.float32, order="C")
    unusable = (mask[rows] & np.int32(UNUSABLE_PIXEL & ~Flag.SATURATED)) != 0
    unusable |= ~np.isfinite(data) | ~np.isfinite(rms)
    data[unusable], rms[unusable] = 0, 1
    return data, rms, unusable


def _measured(
    image: NDArray[np.float32],
    background_rms: NDArray[np.float32] | SmoothMap,
    mask: NDArray[np.integer],
    strips: Sequence[Strip],
    found: Sequence[NDArray[Any]],
    exptime: float,
    kernel_fwhm_px: float,
    max_sources: int,
) -> Sources:
    """The brightest of what was ``found`` in each strip, measured there, brightest first."""
    everything = np.concatenate(found)
    order = np.argsort(-everything["flux"], kind="stable")[:max_sources]
    if len(order) == 0:
        return _no_sources()
    typical = _typical_fwhm(everything[order], kernel_fwhm_px)
    rank = np.full(len(everything), -1)
    rank[order] = np.arange(len(order))
    parts, ranks, end = [], [], 0
    for strip, objects in zip(strips, found, strict=True):
        start, end = end, end + len(objects)
        own = rank[start:end]
        chosen = np.flatnonzero(own >= 0)[np.argsort(own[own >= 0])]
        if len(chosen):
            pixels = _usable(image, background_rms, mask, strip.outer)
            part = _measure(*pixels, mask[strip.outer], objects[chosen], exptime, typical)
            parts.append(replace(part, y=part.y + strip.outer.start))
            ranks.append(own[chosen])
    by_rank = np.argsort(np.concatenate(ranks))
    columns = {
        f.name: np.concatenate([getattr(part, f.name) for part in parts])[by_rank]
        for f in fields(Sources)
        if f.name != "aperture_px"
    }
    return Sources(**columns, aperture_px=parts[0].aperture_px)


def _measure(
    data: NDArray[np.float32],
    rms: NDArray[np.float32],
    unusable: NDArray[np.bool_],
    mask: NDArray[np.integer],
    objects: NDArray[Any],
    exptime: float,
    typical: float,
) -> Sources:
    """Positions, fluxes, sizes and flags of the library's objects, among stars of ``typical`` FWHM (px)."""
    a, b = (np.maximum(objects[name], 0.3).astype(float) for name in ("a", "b"))
    x, y = _centroids(data, unusable, objects, typical)
    aperture = 1.5 * typical + 1.0
    flux, error, _ = sep.sum_circle(data, x, y, aperture, err=rms, gain=exptime, mask=unusable, subpix=5)
    safe_flux = np.where(flux > 0, flux, np.nan)
    half_flux, _ = sep.flux_radius(
        data, x, y, np.full(len(x), aperture), 0.5, normflux=safe_flux, mask=unusable, subpix=5
    )
    size = 2 * np.where(flux > 0, half_flux, np.nan)
    fwhm = np.sqrt(np.maximum(size**2 - _PIXEL_FWHM**2, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = flux / error
    flags = _source_flags(mask, unusable, objects, x, y, typical)
    theta = objects["theta"].astype(float)
    peak = data[objects["ypeak"], objects["xpeak"]].astype(float)
    return Sources(x, y, flux, error, peak, fwhm, 1 - b / a, a, b, theta, snr, flags, aperture)


def _typical_fwhm(objects: NDArray[Any], kernel_fwhm_px: float) -> float:
    """Rough FWHM (px) of the brighter sources from their moments; ``objects`` brightest first.

    Cosmic rays are left out as elongated, or as losing more of their peak to the filter than a star can.
    """
    width = _FWHM_PER_SIGMA * np.sqrt(objects["a"] * objects["b"]).astype(float)
    narrow = (_NARROW_FWHM_PX**2 + _PIXEL_FWHM**2) / (_NARROW_FWHM_PX**2 + _PIXEL_FWHM**2 + kernel_fwhm_px**2)
    plausible = (objects["flag"] == 0) & (objects["b"] > _MAX_ELLIPTICITY * objects["a"])
    plausible &= objects["cpeak"] > narrow * objects["peak"]
    if not plausible.any():
        return float(np.clip(np.median(width), 1.5, 40.0))
    bright = width[plausible][:_N_BRIGHT]
    return float(np.clip(np.exp(density_mode(np.log(bright), _LOCUS_WIDTH)), 1.5, 40.0))


def _centroids(
    data: NDArray[np.float32], unusable: NDArray[np.bool_], objects: NDArray[Any], fwhm_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Windowed centroids; the barycentre where these wander off, fail, or would follow a neighbour."""
    x, y = objects["x"].astype(float), objects["y"].astype(float)
    sigma = np.full(len(x), fwhm_px / _FWHM_PER_SIGMA)
    xw, yw, failed = sep.winpos(data, x, y, sigma, mask=unusable, subpix=5)
    blended = (objects["flag"] & sep.OBJ_MERGED) != 0
    better = (failed == 0) & ~blended & (np.hypot(xw - x, yw - y) < 0.5 * fwhm_px)
    return np.where(better, xw, x), np.where(better, yw, y)


def _source_flags(
    mask: NDArray[np.integer],
    unusable: NDArray[np.bool_],
    objects: NDArray[Any],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    fwhm_px: float,
) -> NDArray[np.int32]:
    """Bits of the pixels within about a FWHM, and what the library noted."""
    size = 2 * int(np.ceil(fwhm_px)) + 1
    bits = extract_cutouts(mask, x, y, size, fill=Flag.OUTSIDE).values
    lost = extract_cutouts(unusable, x, y, size, fill=True).values.mean(axis=(1, 2))
    core = bits[:, size // 4 : size - size // 4, size // 4 : size - size // 4]
    flags = np.bitwise_or.reduce(core.reshape(len(x), -1), axis=1) & np.int32(UNUSABLE_PIXEL)
    saturated = np.bitwise_or.reduce(bits.reshape(len(x), -1), axis=1) & np.int32(Flag.SATURATED)
    flags |= saturated
    for condition, flag in (
        ((objects["flag"] & sep.OBJ_TRUNC) != 0, Flag.OUTSIDE),
        ((objects["flag"] & (sep.OBJ_MERGED | sep.OBJ_DOVERFLOW)) != 0, Flag.CONTAMINATED),
        (lost > _MAX_LOST, Flag.LOW_COVERAGE),
    ):
        flags |= np.where(condition, np.int32(flag), np.int32(0))
    return flags.astype(np.int32)


def _fit_stars(
    image: NDArray[np.float32],
    background_rms: NDArray[np.float32] | SmoothMap,
    mask: NDArray[np.integer],
    sources: Sources,
    chosen: NDArray[np.integer],
    exptime: float,
    fwhm_px: float,
) -> MoffatFits:
    """Moffats on the ``chosen`` sources, in squares of about 3 FWHM."""
    x, y = sources.x[chosen], sources.y[chosen]
    size = 2 * int(np.ceil(1.5 * fwhm_px)) + 1
    cut = extract_cutouts(image, x, y, size, fill=np.nan)
    bits = extract_cutouts(mask, x, y, size, fill=Flag.OUTSIDE).values
    good = ((bits & np.int32(UNUSABLE_PIXEL)) == 0) & np.isfinite(cut.values)
    ny, nx = image.shape
    rows, columns = np.clip(np.rint(y).astype(int), 0, ny - 1), np.clip(np.rint(x).astype(int), 0, nx - 1)
    rms = np.array(
        [background_rms[row : row + 1][0, column] for row, column in zip(rows, columns, strict=True)]
    )
    return fit_moffats(cut.values, good, rms.astype(float), exptime, sources.flux[chosen], fwhm_px)
