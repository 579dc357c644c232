"""A reference catalogue out of the frames' own detections, for fields that no catalogue reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lightwatch.errors import TooFewStars
from lightwatch.processes.astrometry_sky import ARCSEC_PER_RADIAN, sky_angles, unit_vectors

Floats = NDArray[np.float64]

#: frames that the catalogue is made of, at most
BEST_FRAMES = 12
#: a catalogue is made anew when it can be made of so many times the frames
WORTH_RENEWING = 1.5


@dataclass(frozen=True)
class FrameSources:
    """Star-like detections of one solved frame: degrees ICRS, electron/s, all arrays (n,)."""

    ra: Floats
    dec: Floats
    flux: Floats


@dataclass(frozen=True)
class FramesCatalog:
    """Stars seen in at least half of the frames that could show them, brightest first, all arrays (n,).

    ``mag`` is instrumental: -2.5 log10 of the flux (electron/s) on the scale of the first frame.
    """

    ra: Floats
    dec: Floats
    mag: Floats
    n_frames: NDArray[np.int64]


def best_frames(names: Sequence[str], filters: Sequence[str], n_sources: Sequence[int]) -> list[str]:
    """Names of the frames to make a catalogue of, those with most sources first, of the filter that shows most."""
    shown: dict[str, int] = {}
    for name, n in zip(filters, n_sources, strict=True):
        shown[name] = shown.get(name, 0) + n
    if not shown:
        return []
    most = max(sorted(shown), key=lambda name: shown[name])
    of_filter = [(-n, name) for name, f, n in zip(names, filters, n_sources, strict=True) if f == most]
    return [name for _, name in sorted(of_filter)[:BEST_FRAMES]]


def is_worth_renewing(present: Sequence[str], best: Sequence[str]) -> bool:
    """Whether a catalogue made of the frames ``present`` should give way to one of the ``best`` there are now.

    A handful of first frames show few stars; from BEST_FRAMES on a catalogue stays, so that nights can be compared.
    """
    return len(best) >= WORTH_RENEWING * len(present)


def combine_sources(
    frames: Sequence[FrameSources], *, match_arcsec: float, min_fraction: float
) -> FramesCatalog:
    """Match the detections of frames on the sky; positions and magnitudes are medians.

    The first frame should be the best: its detections are the seeds, those of later frames that match none
    are added. Frames are put on the scale of the first by the median ratio of common stars.

    Raises
    ------
    TooFewStars
        ``no_common_stars`` when nothing is seen in ``min_fraction`` of the frames.
    """
    seeds = np.zeros((0, 3))
    members: list[list[tuple[int, int]]] = []
    reach = match_arcsec / ARCSEC_PER_RADIAN
    vectors = [unit_vectors(frame.ra, frame.dec) for frame in frames]
    for number, points in enumerate(vectors):
        distance, nearest = _nearest(seeds, points)
        taken: set[int] = set()
        fresh = []
        for i in np.argsort(distance, kind="stable"):
            if distance[i] < reach and int(nearest[i]) not in taken:
                taken.add(int(nearest[i]))
                members[int(nearest[i])].append((number, int(i)))
            elif distance[i] >= 2 * reach:
                fresh.append(i)
        members += [[(number, int(i))] for i in fresh]
        seeds = np.vstack([seeds, points[fresh]])
    enough = [group for group in members if len(group) >= max(1, min_fraction * len(frames))]
    if not enough:
        raise TooFewStars(
            "no_common_stars", "no source is seen in enough frames to make a reference catalogue"
        )
    return _medians(frames, vectors, enough)


def _nearest(seeds: Floats, points: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Distance to, and index of, the nearest seed of each point; infinitely far when there are none."""
    if not len(seeds):
        return np.full(len(points), np.inf), np.zeros(len(points), dtype=np.int64)
    distance, nearest = cKDTree(seeds).query(points)
    return np.asarray(distance, dtype=float), np.asarray(nearest, dtype=np.int64)


def _medians(
    frames: Sequence[FrameSources], vectors: Sequence[Floats], groups: list[list[tuple[int, int]]]
) -> FramesCatalog:
    brightness = np.full((len(groups), len(frames)), np.nan)
    centres = np.empty((len(groups), 3))
    for row, group in enumerate(groups):
        centres[row] = np.median([vectors[number][i] for number, i in group], axis=0)
        for number, i in group:
            brightness[row, number] = -2.5 * np.log10(max(frames[number].flux[i], 1e-30))
    # each frame is put on the scale of the frames before it by the stars they share
    scale = brightness[:, :1].copy()
    for number in range(1, len(frames)):
        difference = brightness[:, number] - _row_medians(scale)
        shared = difference[np.isfinite(difference)]
        offset = float(np.median(shared)) if len(shared) else 0.0
        scale = np.column_stack([scale, brightness[:, number] - offset])
    mag = _row_medians(scale)
    ra, dec = sky_angles(centres / np.linalg.norm(centres, axis=1, keepdims=True))
    order = np.argsort(mag, kind="stable")
    counts = np.array([len(group) for group in groups])
    return FramesCatalog(ra[order], dec[order], mag[order], counts[order])


def _row_medians(values: Floats) -> Floats:
    """Median of the known values of each row (n,); NaN where none is known."""
    out = np.full(len(values), np.nan)
    known = np.isfinite(values).any(axis=1)
    out[known] = np.nanmedian(values[known], axis=1)
    return out
