"""Which detection is which star, and whether chance alone could have made as many matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import betainc

from lightwatch.processes.astrometry_types import Detections, FloatArray, IntArray


@dataclass(frozen=True)
class Field:
    """Usable detections of a frame, brightest first, with a search tree."""

    xy: FloatArray  # (n, 2) pixels
    index: IntArray  # (n,) into the detections this was made from
    uncertainty_px: FloatArray  # (n,) NaN where unknown
    nx: int
    ny: int
    tree: cKDTree

    @property
    def diagonal(self) -> float:
        return float(np.hypot(self.nx, self.ny))


def field_of(detections: Detections) -> Field:
    """Detections with finite position and flux inside of the frame, brightest first."""
    x, y, flux = (np.asarray(a, float) for a in (detections.x, detections.y, detections.flux))
    inside = (x > -0.5) & (x < detections.nx - 0.5) & (y > -0.5) & (y < detections.ny - 0.5)
    index = np.flatnonzero(np.isfinite(flux) & inside)
    index = index[np.argsort(-flux[index], kind="stable")]
    xy = np.column_stack([x[index], y[index]])
    return Field(
        xy=xy,
        index=index.astype(np.int64),
        uncertainty_px=np.asarray(detections.uncertainty_px, float)[index],
        nx=detections.nx,
        ny=detections.ny,
        tree=cKDTree(xy.reshape(-1, 2)),
    )


def in_field(field: Field, xy: FloatArray, margin_px: float) -> IntArray:
    """Indices of the pixel positions (n, 2) inside of the frame enlarged by a margin; NaN is outside."""
    half = 0.5 + margin_px
    x, y = xy[:, 0], xy[:, 1]
    return np.flatnonzero((x > -half) & (y > -half) & (x < field.nx - 1 + half) & (y < field.ny - 1 + half))


def pair_up(field: Field, predicted: FloatArray, radius_px: float) -> tuple[IntArray, IntArray]:
    """Mutual nearest neighbours within a radius: indices into the field and into ``predicted`` (n, 2)."""
    empty = np.zeros(0, np.int64)
    stars = np.flatnonzero(np.isfinite(predicted).all(axis=1))
    if len(field.xy) == 0 or len(stars) == 0:
        return empty, empty
    nearest_of = field.tree.query(predicted[stars], distance_upper_bound=radius_px)
    distance, nearest = np.asarray(nearest_of[0], float), np.asarray(nearest_of[1], np.int64)
    found = np.isfinite(distance)
    stars, nearest, distance = stars[found], nearest[found], distance[found]
    order = np.argsort(distance, kind="stable")
    _, first = np.unique(nearest[order], return_index=True)  # the closest star of each detection
    chosen = order[first]
    return nearest[chosen], stars[chosen].astype(np.int64)


def chance_of_matches(
    field: Field, n_stars: int, matched: IntArray, radius_px: float, *, free_stars: int, trials: float
) -> float:
    """Probability that chance gives as many matches of ``n_stars`` stars within ``radius_px``.

    Binomial tail (an incomplete beta function), each star having the fraction of the frame's area near
    detections as its chance.
    ``matched``: indices into the field. ``free_stars`` were spent in fitting and prove nothing;
    ``trials`` is the number of transformations that were tried. Real stars are among the bright
    detections, so cuts at all, half, a quarter... of the detections are tried and the best counts.
    """
    n_detections, best, n_cuts, count = len(field.xy), 1.0, 0, len(field.xy)
    while count >= 1:
        n_cuts += 1
        matches = int(np.count_nonzero(matched < count))
        chance = 1.0 - np.exp(-count * np.pi * radius_px**2 / (field.nx * field.ny))
        if matches > free_stars:
            proofs = matches - free_stars
            best = min(best, float(betainc(proofs, n_stars - free_stars - proofs + 1, chance)))
        count = count // 2 if count > max(10, n_stars // 2) else 0
    return float(min(1.0, best * max(n_cuts, 1) * max(trials, 1.0))) if n_detections else 1.0
