"""Whose light falls into a star's cutout besides its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

#: detections fainter than this are left to chi2: their presence would flicker from frame to frame
_MIN_DETECTION_SNR = 15.0
#: catalogue stars fainter than the star by more magnitudes than this do not count
_MAX_MAGNITUDE_DIFFERENCE = 6.0


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of K stars, padded: ``x, y`` (K, N) px in the frame, ``present`` (K, N).

    ``contamination`` (K,): their light over the star's within about a FWHM of it.
    """

    x: Floats
    y: Floats
    present: NDArray[np.bool_]
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
        return Neighbours(np.zeros((n, 1)), np.zeros((n, 1)), np.zeros((n, 1), bool), np.zeros(n))
    tree = cKDTree(np.column_stack([x, y]))
    found = [
        _ranked(i, star_x[i], star_y[i], x, y, mag, tree, fwhm_px, reach_px, max_neighbours) for i in range(n)
    ]
    width = max(1, max(len(indices) for indices, _ in found))
    out = Neighbours(np.zeros((n, width)), np.zeros((n, width)), np.zeros((n, width), bool), np.zeros(n))
    for i, (indices, share) in enumerate(found):
        k = len(indices)
        out.x[i, :k], out.y[i, :k], out.present[i, :k] = x[indices], y[indices], True
        out.contamination[i] = share
    return out


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
