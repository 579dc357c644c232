"""Whose light falls into a star's cutout besides its own.

Known are the stars of the catalogue and the detections of the frame. In crowded fields detections
of blended sources share one isophote and are lost; peaks of the sharpened cutouts bring them back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

#: detections fainter than this are left to chi2: their presence would flicker from frame to frame
_MIN_DETECTION_SNR = 10.0
#: catalogue stars fainter than the star by more magnitudes than this do not count
_MAX_MAGNITUDE_DIFFERENCE = 6.0
_FWHM_PER_SIGMA = 2.354820045
#: height of a Gaussian star in the difference of its images smoothed by one and by two of its sigmas,
#: in units of its central surface brightness: 1 / (1 + 1) - 1 / (1 + 4)
_SHARPENED_HEIGHT = 0.3
#: peaks below this part of the star's are its own halo, spikes and trails
_LEAST_PART_OF_STAR = 0.004


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of K stars, padded: ``x, y`` (K, N) px in the frame, ``present`` (K, N).

    ``catalogued`` (K, N): those that the catalogue lists; the others were detected on this frame and may be
    missing on the next. ``contamination`` (K,): their light over the star's within about a FWHM of it.
    """

    x: Floats
    y: Floats
    present: NDArray[np.bool_]
    catalogued: NDArray[np.bool_]
    contamination: Floats


def find_neighbours(
    *,
    star_x: Floats,
    star_y: Floats,
    catalog_x: Floats,
    catalog_y: Floats,
    catalog_mag: Floats,
    detected_x: Floats,
    detected_y: Floats,
    detected_flux: Floats,
    detected_snr: Floats,
    fwhm_px: float,
    reach_px: float,
    max_neighbours: int,
) -> Neighbours:
    """Catalogue stars, and clear detections that no catalogue star explains, within ``reach_px`` of each star.

    Positions px in the frame. Magnitudes and fluxes are compared through the catalogue stars that were
    detected. The strongest by light at the star are kept. The list is never wider than needed, at least 1.
    """
    x, y, mag = _all_sources(
        catalog_x, catalog_y, catalog_mag, detected_x, detected_y, detected_flux, detected_snr, fwhm_px
    )
    n = len(star_x)
    if not len(x) or not n:
        return _no_neighbours(n, 1)
    tree = cKDTree(np.column_stack([x, y]))
    found = [
        _ranked(i, star_x[i], star_y[i], x, y, mag, tree, fwhm_px, reach_px, max_neighbours) for i in range(n)
    ]
    width = max(1, max(len(indices) for indices, _ in found))
    out = _no_neighbours(n, width)
    for i, (indices, share) in enumerate(found):
        k = len(indices)
        out.x[i, :k], out.y[i, :k], out.present[i, :k] = x[indices], y[indices], True
        out.catalogued[i, :k] = indices < len(catalog_x)  # catalogue stars come first in the joint list
        out.contamination[i] = share
    return out


def _no_neighbours(n: int, width: int) -> Neighbours:
    shape = (n, width)
    return Neighbours(
        np.zeros(shape), np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(n)
    )


@dataclass(frozen=True)
class Peaks:
    """Sources seen as peaks: positions px in the frame, rough fluxes (data units), S/N; (P,) each."""

    x: Floats
    y: Floats
    flux: Floats
    snr: Floats


def peaks_in_cutouts(
    data: NDArray[np.floating],
    background_rms: NDArray[np.floating],
    good: NDArray[np.bool_],
    corner: NDArray[np.int64],
    star_x: Floats,
    star_y: Floats,
    *,
    exptime: float,
    fwhm_px: float,
) -> Peaks:
    """Peaks besides the star in each of K cutouts (K, n, n) electron/s whose first pixel is ``corner`` (K, 2).

    The cutouts are sharpened by the difference of two Gaussians (Marr & Hildreth 1980, Proc. R. Soc. B
    207, 187), which takes the wings of the star away, and pushes peaks on its flank outwards by a part of the
    FWHM. One source may appear in several cutouts: twice.
    """
    sigma = float(np.hypot(fwhm_px, 1.0)) / _FWHM_PER_SIGMA
    height, snr = _sharpened(data, background_rms, good, exptime, sigma)
    n = data.shape[-1]
    inner = np.zeros((n, n), bool)
    inner[1:-1, 1:-1] = True
    highest = height == maximum_filter(height, (0, 3, 3), mode="nearest")
    k, row, column = np.nonzero(highest & inner & good & (snr > _MIN_DETECTION_SNR))
    x, y = (
        at
        + _parabola(
            height[k, row - dy, column - dx], height[k, row, column], height[k, row + dy, column + dx]
        )
        for at, dx, dy in ((column + corner[k, 0], 1, 0), (row + corner[k, 1], 0, 1))
    )
    distance = np.hypot(x - star_x[k], y - star_y[k])
    own = np.zeros(len(data))
    np.maximum.at(own, k[distance < 1.0], height[k, row, column][distance < 1.0])
    other = (distance > max(1.5, 0.8 * fwhm_px)) & (height[k, row, column] > _LEAST_PART_OF_STAR * own[k])
    flux = height[k, row, column] * 2 * np.pi * sigma**2 / _SHARPENED_HEIGHT
    return Peaks(x[other], y[other], flux[other], snr[k, row, column][other])


def _sharpened(
    data: NDArray[np.floating],
    background_rms: NDArray[np.floating],
    good: NDArray[np.bool_],
    exptime: float,
    sigma: float,
) -> tuple[Floats, Floats]:
    """Difference of the images smoothed by one and by two sigmas, and its S/N; (K, n, n) each."""
    filled = np.where(good, data, 0.0).astype(float)
    cover = np.maximum(gaussian_filter(good.astype(float), (0, sigma, sigma), mode="constant"), 0.05)
    narrow = gaussian_filter(filled, (0, sigma, sigma), mode="constant") / cover
    height = narrow - gaussian_filter(
        np.where(good, filled, narrow), (0, 2 * sigma, 2 * sigma), mode="nearest"
    )
    rms = np.where(np.isfinite(background_rms), background_rms, np.nanmedian(background_rms))
    variance = rms**2 + np.maximum(narrow, 0) / exptime
    # sum of squares of the difference of Gaussians: (1 - 2 * 2 / 5 + 1 / 4) / (4 pi sigma^2)
    return height, height / np.sqrt(variance * 0.45 / (4 * np.pi * sigma**2))


def _parabola(before: Floats, here: Floats, after: Floats) -> Floats:
    """Place of the top of the parabola through three equidistant points, within half a step."""
    curvature = np.maximum(2 * here - before - after, 1e-300)
    return np.clip((after - before) / (2 * curvature), -0.5, 0.5)


def joined(peaks: Peaks, detections: Peaks, *, fwhm_px: float) -> Peaks:
    """Detections, and the peaks at which there is none, each once."""
    apart = max(1.5, 0.8 * fwhm_px)
    place = np.column_stack([peaks.x, peaks.y])
    known = cKDTree(np.column_stack([detections.x, detections.y]))
    new = np.asarray(known.query(place)[0]) > apart  # infinite where there is none
    chosen: list[int] = []
    for i in np.flatnonzero(new)[np.argsort(-peaks.snr[new], kind="stable")]:
        if not (np.hypot(*(place[chosen] - place[i]).T) < apart).any():
            chosen.append(int(i))
    return Peaks(
        *(
            np.concatenate([getattr(detections, name), getattr(peaks, name)[chosen]])
            for name in ("x", "y", "flux", "snr")
        )
    )


def _all_sources(
    catalog_x: Floats,
    catalog_y: Floats,
    catalog_mag: Floats,
    detected_x: Floats,
    detected_y: Floats,
    detected_flux: Floats,
    detected_snr: Floats,
    fwhm_px: float,
) -> tuple[Floats, Floats, Floats]:
    """Catalogue stars and the detections it lacks, the latter on the catalogue's magnitude scale."""
    instrumental = -2.5 * np.log10(np.where(detected_flux > 0, detected_flux, np.nan))
    clear = (detected_snr >= _MIN_DETECTION_SNR) & np.isfinite(instrumental)
    if not len(catalog_x):
        return detected_x[clear], detected_y[clear], instrumental[clear]
    tree = cKDTree(np.column_stack([catalog_x, catalog_y]))
    distance, nearest = tree.query(np.column_stack([detected_x, detected_y])) if len(detected_x) else (
        np.zeros(0), np.zeros(0, int)
    )  # fmt: skip
    same = distance < max(1.0, 0.5 * fwhm_px)
    offsets = (catalog_mag[nearest] - instrumental)[same & clear]
    offset = float(np.nanmedian(offsets)) if np.isfinite(offsets).any() else 0.0
    extra = clear & (distance > max(1.5, 0.8 * fwhm_px))
    return (
        np.concatenate([catalog_x, detected_x[extra]]),
        np.concatenate([catalog_y, detected_y[extra]]),
        np.concatenate([catalog_mag, instrumental[extra] + offset]),
    )


def _ranked(
    i: int,
    star_x: float,
    star_y: float,
    x: Floats,
    y: Floats,
    mag: Floats,
    tree: cKDTree,
    fwhm_px: float,
    reach_px: float,
    most: int,
) -> tuple[NDArray[np.int64], float]:
    near = np.array(tree.query_ball_point([star_x, star_y], reach_px), dtype=np.int64)
    distance = np.hypot(x[near] - star_x, y[near] - star_y)
    own = distance < 0.5
    own_mag = np.nanmin(mag[near[own]]) if np.isfinite(mag[near[own]]).any() else np.nan
    others, distance = near[~own], distance[~own]
    relative = np.where(np.isfinite(mag[others] - own_mag), 10 ** (-0.4 * (mag[others] - own_mag)), 1.0)
    matters = relative > 10 ** (-0.4 * _MAX_MAGNITUDE_DIFFERENCE)
    others, distance, relative = others[matters], distance[matters], relative[matters]
    # wings fall slowly: a Moffat of beta 3 tells which neighbour matters most at the star
    light = relative * (1 + (distance / fwhm_px) ** 2 * 4 * (2 ** (1 / 3) - 1)) ** -3.0
    order = np.lexsort((others, -light))[:most]
    return others[order], float(light.sum())
