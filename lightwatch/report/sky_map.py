"""Footprints and stars as shapes on a plane, in the coordinates of an SVG: x to the right, y down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS

from lightwatch.flags import Flag
from lightwatch.processes.astrometry_sky import sky_to_pixel, sky_to_plane
from lightwatch.structure.queries import Row

_MAX_OUTLINES = 1500
_VIEW = 600.0
_MARGIN = 1.08


@dataclass(frozen=True)
class Mark:
    """A star or an ROI at (x, y); ``kind``: used, unused, disowned, or roi."""

    x: float
    y: float
    label: str
    told: str
    kind: str


@dataclass(frozen=True)
class SkyMap:
    """Outlines (SVG path data) and marks in a box of width x height; ``bar`` is as long as ``arcmin``.

    East is left, north is up."""

    width: float
    height: float
    frames: list[str]
    common: list[str]
    marks: list[Mark]
    arcmin: float
    bar: float


def sky_map(
    polygons: Sequence[Row], common: str | None, stars: Sequence[Row], rois: dict[str, tuple[float, float]]
) -> SkyMap | None:
    """The footprints of frames around the first ROI; None without any."""
    if not polygons or not rois:
        return None
    centre = next(iter(rois.values()))
    thinned = polygons[:: max(1, len(polygons) // _MAX_OUTLINES)]
    outlines = [_plane(json.loads(row["polygon"]), centre) for row in thinned]
    shared = [_plane(polygon, centre) for polygon in json.loads(common)] if common else []
    outlines = [line for line in outlines if np.isfinite(line).all()]
    if not outlines:
        return None
    seen = _plane([(row["ra"], row["dec"]) for row in stars], centre)
    corners = np.concatenate([*outlines, seen[np.isfinite(seen).all(axis=1)]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle, size = (low + high) / 2, (high - low) * _MARGIN
    scale = _VIEW / max(size.max(), 1e-6)

    def drawn(points: np.ndarray) -> np.ndarray:
        return (points - middle) * [-scale, -scale] + size * scale / 2

    places = [(row["ra"], row["dec"]) for row in stars] + list(rois.values())
    spots = drawn(_plane(places, centre))
    star_marks = [
        Mark(float(x), float(y), row["name"], star_text(row), "used")
        for (x, y), row in zip(spots, stars, strict=False)
    ]
    roi_marks = [
        Mark(float(x), float(y), name, name, "roi")
        for (x, y), name in zip(spots[len(stars) :], rois, strict=True)
    ]
    arcmin = _nice(size.max() / 60 / 4)
    return SkyMap(
        width=float(size[0] * scale),
        height=float(size[1] * scale),
        frames=[_path(drawn(line)) for line in outlines],
        common=[_path(drawn(line)) for line in shared if np.isfinite(line).all()],
        marks=[mark for mark in star_marks + roi_marks if np.isfinite(mark.x + mark.y)],
        arcmin=arcmin,
        bar=arcmin * 60 * scale,
    )


def frame_marks(
    stars: Sequence[Row],
    frame: Row,
    used: set[int],
    disowned: set[int],
    roi_pixels: dict[str, tuple[float, float]],
) -> list[Mark]:
    """Stars on the picture of a frame, which is ``naxis1`` x ``naxis2`` with row 0 at the bottom."""
    marks = []
    for row in stars:
        star = row["star_gaia_id"]
        kind = "disowned" if star in disowned else "used" if star in used else "unused"
        x, y = row["x"] + 0.5, frame["naxis2"] - 0.5 - row["y"]
        marks.append(Mark(x, y, row["name"], f"{star_text(row)} · {_KINDS[kind]}", kind))
    for name, (x, y) in roi_pixels.items():
        marks.append(Mark(x + 0.5, frame["naxis2"] - 0.5 - y, name, name, "roi"))
    return marks


_KINDS = {
    "used": "makes the PSF of this frame",
    "unused": "not in this frame's PSF",
    "disowned": "disowned by the normalization",
}


def disowned_stars(judged: Sequence[Row]) -> set[int]:
    """Ids of stars that the normalization found to vary or to disagree."""
    return {row["star_gaia_id"] for row in judged if row["flags"] & (Flag.VARIABLE | Flag.OUTLIER)}


def star_text(row: Row) -> str:
    """Name and magnitude of a reference star."""
    magnitude = "" if row["gmag"] is None else f" · G {row['gmag']:.2f}"
    return f"star {row['name']}{magnitude}"


def pixel_of(wcs: WCS, position: tuple[float, float]) -> tuple[float, float]:
    """Pixel (x, y) of a position in degrees."""
    x, y = sky_to_pixel(wcs, np.array([position[0]]), np.array([position[1]]))[0]
    return float(x), float(y)


def _plane(points: Sequence[Sequence[float]], centre: tuple[float, float]) -> np.ndarray:
    ra, dec = np.asarray(points, dtype=float).reshape(-1, 2).T
    return np.column_stack(sky_to_plane(ra, dec, *centre))


def _path(points: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z"


def _nice(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above a positive value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step * power for step in (1, 2, 5) if step * power <= value))
