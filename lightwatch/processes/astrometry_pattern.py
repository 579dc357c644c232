"""Recognise a star field: triangles of detections and of stars with the same shape vote for a similarity.

All triangles of the brightest detections and stars are compared by the ratios of their sides (the
invariants of Groth 1986, AJ 91, 1244, searched with a k-d tree). Each pair of alike triangles gives a
similarity; true pairs agree about where the corners of the frame fall on the sky, false ones scatter.
The largest groups are then judged with all stars and detections by their false-alarm probability.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lightwatch.processes.astrometry_chance import Field, chance_of_matches, in_field, pair_up
from lightwatch.processes.astrometry_types import FloatArray, IntArray

ComplexArray = NDArray[np.complex128]

#: brightest detections and stars compared, level after level until one is believed
LEVELS = ((20, 30), (30, 50), (50, 30), (40, 80), (80, 40))
MOST_PAIRS = 150_000  # of triangles alike by chance: of more, only the large ones are compared
MOST_ALIKE = 2 * MOST_PAIRS  # where shapes repeat (grids, lines, test patterns) there are more than by chance
MOST_NEIGHBOURS = 2_000_000  # counted in a vote: of more, only similarities of the large triangles vote
SHAPES_AREA = 0.25  # of the plane of side ratios that triangles can have
MOST_GROUPS = 12  # groups of agreeing similarities judged per level


@dataclass(frozen=True)
class Limits:
    """What is known of the similarity from the tangent plane (arcsec) to pixels."""

    scale_min_arcsec: float
    scale_max_arcsec: float
    radius_arcsec: float  # the frame's centre is that close to the plane's origin


@dataclass(frozen=True)
class Similarity:
    """pixel = factor * plane + offset, as complex numbers x + iy and east + i north."""

    factor: complex
    offset: complex
    mirrored: bool  # the plane is conjugated first

    def pixels(self, plane: ComplexArray) -> FloatArray:
        """(n, 2) pixels of plane positions."""
        z = self.factor * (plane.conj() if self.mirrored else plane) + self.offset
        return np.column_stack([z.real, z.imag])

    def plane(self, pixels: ComplexArray) -> ComplexArray:
        """Plane positions of pixels."""
        z = (pixels - self.offset) / self.factor
        return z.conj() if self.mirrored else z


@dataclass(frozen=True)
class Recognition:
    """The best similarity found; ``detections`` index the field, ``stars`` the plane positions."""

    similarity: Similarity
    detections: IntArray
    stars: IntArray
    n_stars_in_frame: int
    false_alarm_probability: float
    trials: float


def _triangles(z: ComplexArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """All triangles: vertices (n, 3) opposite to the short, middle, long side; ratios (n, 2); long side."""
    corners = np.array(list(combinations(range(len(z)), 3)), dtype=np.int64).reshape(-1, 3)
    p = z[corners]
    sides = np.abs(np.stack([p[:, 1] - p[:, 2], p[:, 2] - p[:, 0], p[:, 0] - p[:, 1]], axis=1))
    order = np.argsort(sides, axis=1, kind="stable")
    sides = np.take_along_axis(sides, order, axis=1)
    longest = np.maximum(sides[:, 2], 1e-12)
    return np.take_along_axis(corners, order, axis=1), sides[:, :2] / longest[:, None], longest


def _alike(
    field_z: ComplexArray, star_z: ComplexArray, limits: Limits, tolerance_px: float, diagonal: float
) -> tuple[IntArray, IntArray]:
    """Vertices (n, 3) of detections and of stars in pairs of triangles of the same shape."""
    corners_d, shape_d, long_d = _triangles(field_z)
    corners_s, shape_s, long_s = _triangles(star_z)
    possible = (long_s > 0.1 * diagonal * limits.scale_min_arcsec) & (
        long_s < diagonal * limits.scale_max_arcsec * 1.05
    )
    corners_s, shape_s, long_s = corners_s[possible], shape_s[possible], long_s[possible]
    reach = 1.5 * tolerance_px / long_d
    use = _most_precise(reach, len(long_s), long_d > max(0.1 * diagonal, 10.0 * tolerance_px))
    none = np.zeros((0, 3), np.int64)
    if len(use) == 0 or len(long_s) == 0:
        return none, none
    tree = cKDTree(shape_s)
    counts = np.asarray(tree.query_ball_point(shape_d[use], reach[use], return_length=True))
    few = np.cumsum(counts) <= MOST_ALIKE
    use, counts = use[few], counts[few]
    if counts.sum() == 0:
        return none, none
    near = tree.query_ball_point(shape_d[use], reach[use], return_sorted=True)
    d = np.repeat(use, counts)
    s = np.concatenate([np.asarray(n, dtype=np.int64) for n in near if n])
    scale = long_s[s] / long_d[d]
    fits = (scale > limits.scale_min_arcsec) & (scale < limits.scale_max_arcsec)
    return corners_d[d[fits]], corners_s[s[fits]]


def _most_precise(reach: FloatArray, n_stars: int, usable: NDArray[np.bool_]) -> IntArray:
    """Triangles, the most precise shapes first, that will find about MOST_PAIRS alike by chance."""
    order = np.argsort(reach, kind="stable")
    order = order[usable[order]]
    by_chance = np.cumsum(np.pi * reach[order] ** 2 / SHAPES_AREA * n_stars)
    return order[by_chance <= MOST_PAIRS]


def _similarities(
    pixels: ComplexArray, plane: ComplexArray
) -> tuple[ComplexArray, ComplexArray, NDArray[np.bool_], FloatArray]:
    """Least-squares factor, offset, mirrored and rms (px) for each row of matched points (n, k)."""
    a, b = plane - plane.mean(axis=1, keepdims=True), pixels - pixels.mean(axis=1, keepdims=True)
    power = np.sum(np.abs(a) ** 2, axis=1)
    plain, mirror = np.sum(a.conj() * b, axis=1), np.sum(a * b, axis=1)
    mirrored = np.abs(mirror) > np.abs(plain)
    factor = np.where(mirrored, mirror, plain) / power
    turned = np.where(mirrored[:, None], plane.conj(), plane)
    offset = pixels.mean(axis=1) - factor * turned.mean(axis=1)
    gap = pixels - factor[:, None] * turned - offset[:, None]
    return factor, offset, mirrored, np.sqrt(np.mean(np.abs(gap) ** 2, axis=1))


def _groups(
    field: Field, pixels: ComplexArray, plane: ComplexArray, limits: Limits, tolerance_px: float
) -> tuple[list[Similarity], int]:
    """Similarities that most pairs of triangles agree on, best first, and how many were in the vote.

    ``pixels``, ``plane``: corners (n, 3) of pairs of triangles, the most precise first.
    """
    factor, offset, mirrored, rms = _similarities(pixels, plane)
    corners = np.array([0.0, field.nx + 1j * field.ny])
    sky = (corners[None, :] - offset[:, None]) / factor[:, None]
    sky = np.where(mirrored[:, None], sky.conj(), sky)
    scale = 1.0 / np.abs(factor)
    fits = (rms < tolerance_px) & (scale > limits.scale_min_arcsec) & (scale < limits.scale_max_arcsec)
    fits &= np.abs(sky.mean(axis=1)) < limits.radius_arcsec
    keep = np.flatnonzero(fits)
    if len(keep) == 0:
        return [], len(keep)
    unit = 1.0 / np.median(scale[keep])
    where = np.column_stack([sky[keep].real, sky[keep].imag]) * unit
    where = np.column_stack([where, np.where(mirrored[keep], 1.0, 0.0) * 1e7])
    reach = 4.0 * tolerance_px + 0.005 * field.diagonal
    where = where[: _n_voters(where, reach)]
    tree = cKDTree(where)
    votes = np.asarray(tree.query_ball_point(where, reach, return_length=True))
    groups: list[Similarity] = []
    while len(groups) < MOST_GROUPS and votes.max() > 0:
        seed = int(np.argmax(votes))
        i = keep[seed]
        groups.append(Similarity(complex(factor[i]), complex(offset[i]), bool(mirrored[i])))
        votes[tree.query_ball_point(where[seed], 2.0 * reach)] = 0
    return groups, len(where)


def _n_voters(where: FloatArray, reach: float) -> int:
    """How many of the points have some MOST_NEIGHBOURS neighbours in all; every k-th one is asked."""
    n = len(where)
    asked = where[:: 1 + n // 200]
    per_point = cKDTree(where).query_ball_point(asked, reach, return_length=True).mean()
    return min(n, max(1, int(n * np.sqrt(MOST_NEIGHBOURS / (n * per_point)))))


def _judge(
    field: Field, plane: ComplexArray, similarity: Similarity, radius_px: float, trials: float
) -> Recognition:
    """Match all stars and detections, improving the similarity on the way."""
    for radius in (3.0 * radius_px, 2.0 * radius_px, radius_px, radius_px):
        predicted = similarity.pixels(plane)
        inside = in_field(field, predicted, 0.0)
        d, s = pair_up(field, predicted[inside], radius)
        s = inside[s]
        if len(s) < 3:
            break
        z = field.xy[d] @ np.array([1.0, 1j])
        factor, offset, mirrored, _ = _similarities(z[None, :], plane[s][None, :])
        similarity = Similarity(complex(factor[0]), complex(offset[0]), bool(mirrored[0]))
    chance = chance_of_matches(field, len(inside), d, radius_px, free_stars=3, trials=trials)
    return Recognition(similarity, d, s, len(inside), chance, trials)


def recognitions(
    field: Field, plane: ComplexArray, brightest: IntArray, limits: Limits, radius_px: float
) -> Iterator[Recognition]:
    """The best recognition of each level, cheap levels first; deterministic.

    ``plane``: east + i north of all stars in arcsec about the centre of the search; ``brightest``:
    their indices, brightest first.
    """
    z, trials, seen = field.xy @ np.array([1.0, 1j]), 0.0, set()
    for n_detections, n_stars in LEVELS:
        size = (min(n_detections, len(z)), min(n_stars, len(brightest)))
        if size in seen or min(size) < 3:
            continue
        seen.add(size)
        stars = plane[brightest[: size[1]]]
        corners_d, corners_s = _alike(z[: size[0]], stars, limits, radius_px, field.diagonal)
        if len(corners_d) == 0:
            continue
        groups, votes = _groups(field, z[corners_d], stars[corners_s], limits, radius_px)
        trials += votes
        judged = [_judge(field, plane, group, radius_px, trials) for group in groups]
        if judged:
            yield min(judged, key=lambda r: (r.false_alarm_probability, -len(r.stars)))
