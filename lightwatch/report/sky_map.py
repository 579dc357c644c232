"""Footprints and stars as shapes on a plane, in the coordinates of an SVG: x to the right, y down."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from astropy.wcs import WCS

from lightwatch.flags import Flag
from lightwatch.processes.astrometry_sky import pixel_to_sky, sky_to_pixel, sky_to_plane
from lightwatch.report.orientation import Rose, rose_of
from lightwatch.structure.queries import Row

_MAX_OUTLINES = 1500
_VIEW = 600.0
_MARGIN = 1.04
_STEP_ARCSEC = 10.0

Kind = Literal["used", "unused", "disowned"]


@dataclass(frozen=True)
class Mark:
    """A star or an ROI at (x, y); ``label``: what is written beside it, ``told`` on hover."""

    x: float
    y: float
    label: str
    told: str
    kind: Kind | Literal["roi"]


@dataclass(frozen=True)
class SkyMap:
    """Outlines (SVG path data) and marks in a box of width x height.

    East is left, north is up."""

    width: float
    height: float
    frames: list[str]
    common: list[str]
    marks: list[Mark]
    rose: Rose


def sky_map(
    polygons: Sequence[Row],
    common: str | None,
    stars: Sequence[Row],
    rois: dict[str, tuple[float, float]],
    kinds: Callable[[int], Kind],
    magnitude_name: str = "G",
) -> SkyMap | None:
    """The footprints of frames around the first ROI; None without any.

    ``stars``: rows of stars that lie on a frame; ``kinds``: of the star with an id.
    """
    if not polygons or not rois:
        return None
    centre = next(iter(rois.values()))
    thinned = polygons[:: max(1, len(polygons) // _MAX_OUTLINES)]
    outlines = [_plane(json.loads(row["polygon"]), centre) for row in thinned]
    shared = [_plane(polygon, centre) for polygon in json.loads(common)] if common else []
    outlines = [line for line in outlines if np.isfinite(line).all()]
    if not outlines:
        return None
    corners = np.concatenate(outlines)
    low, high = corners.min(axis=0), corners.max(axis=0)
    middle, size = (low + high) / 2, (high - low) * _MARGIN
    scale = _VIEW / max(size.max(), 1e-6)

    def drawn(points: np.ndarray) -> np.ndarray:
        return (points - middle) * [-scale, -scale] + size * scale / 2

    places = [(row["ra"], row["dec"]) for row in stars] + list(rois.values())
    spots = drawn(_plane(places, centre))
    star_marks = [
        _star_mark(float(x), float(y), row, kinds(row["gaia_id"]), magnitude_name)
        for (x, y), row in zip(spots, stars, strict=False)
    ]
    roi_marks = [
        Mark(float(x), float(y), name, name, "roi")
        for (x, y), name in zip(spots[len(stars) :], rois, strict=True)
    ]
    return SkyMap(
        width=float(size[0] * scale),
        height=float(size[1] * scale),
        frames=[_path(drawn(line)) for line in outlines],
        common=[_path(drawn(line)) for line in shared if np.isfinite(line).all()],
        marks=[mark for mark in star_marks + roi_marks if np.isfinite(mark.x + mark.y)],
        rose=rose_of([[-scale, 0.0], [0.0, scale]], float(size[0] * scale)),
    )


def frame_map(
    frame: Row,
    wcs: WCS,
    stars: Sequence[Row],
    rois: dict[str, tuple[float, float]],
    kinds: Callable[[int], Kind],
    common: str | None,
    magnitude_name: str = "G",
) -> SkyMap:
    """Stars, ROIs and the footprint that all frames share on the picture of a frame, row 0 at the bottom."""
    scale = _VIEW / max(frame["naxis1"], frame["naxis2"])

    def drawn(points: np.ndarray) -> np.ndarray:
        return np.column_stack([points[:, 0] + 0.5, frame["naxis2"] - 0.5 - points[:, 1]]) * scale

    places = drawn(np.array([[row["x"], row["y"]] for row in stars], dtype=float).reshape(-1, 2))
    marks = [
        _star_mark(float(x), float(y), row, kinds(row["star_gaia_id"]), magnitude_name)
        for (x, y), row in zip(places, stars, strict=True)
    ]
    spots = drawn(_pixels(wcs, list(rois.values())))
    marks += [Mark(float(x), float(y), name, name, "roi") for (x, y), name in zip(spots, rois, strict=True)]
    shared = [drawn(_pixels(wcs, polygon)) for polygon in json.loads(common)] if common else []
    return SkyMap(
        width=frame["naxis1"] * scale,
        height=frame["naxis2"] * scale,
        frames=[],
        common=[_path(line) for line in shared if np.isfinite(line).all()],
        marks=[mark for mark in marks if np.isfinite(mark.x + mark.y)],
        rose=rose_of(scale * _per_arcsec(wcs, frame["naxis1"], frame["naxis2"]), frame["naxis1"] * scale),
    )


def kind_of(star: int, used: set[int], disowned: set[int]) -> Kind:
    """What a star is to a frame whose PSF is of the stars ``used``."""
    return "disowned" if star in disowned else "used" if star in used else "unused"


def name_of_magnitudes(footprint: Row | None) -> str:
    """What the magnitudes of the stars of a footprint are; those of stars measured on the frames are no catalogue's."""
    return "instrumental mag" if footprint and footprint["catalog_name"] == "frames" else "G"


def _star_mark(x: float, y: float, row: Row, kind: Kind, magnitude_name: str) -> Mark:
    """A star of a map: all names at once could not be read, so others' are told on hover alone."""
    label = "" if kind == "unused" else row["name"]
    return Mark(x, y, label, f"{star_text(row, magnitude_name)} · {_KINDS[kind]}", kind)


def _per_arcsec(wcs: WCS, nx: int, ny: int) -> np.ndarray:
    """(2, 2) px (x, y) per arcsec (east, north) in the middle of the frame; an ROI may lie anywhere."""
    ra, dec = (
        float(angle[0]) for angle in pixel_to_sky(wcs, np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))
    )
    step = _STEP_ARCSEC / 3600
    around = _pixels(wcs, [(ra, dec), (ra + step / np.cos(np.radians(dec)), dec), (ra, dec + step)])
    return np.asarray((around[1:] - around[0]).T / _STEP_ARCSEC)


def _pixels(wcs: WCS, positions: Sequence[Sequence[float]]) -> np.ndarray:
    ra, dec = np.asarray(positions, dtype=float).reshape(-1, 2).T
    return sky_to_pixel(wcs, ra, dec)


_KINDS = {
    "used": "makes the PSF",
    "unused": "not in the PSF",
    "disowned": "disowned by the normalization",
}


def disowned_stars(judged: Sequence[Row]) -> set[int]:
    """Ids of stars that the normalization found to vary or to disagree."""
    return {row["star_gaia_id"] for row in judged if row["flags"] & (Flag.VARIABLE | Flag.OUTLIER)}


def star_text(row: Row, magnitude_name: str) -> str:
    """Name and magnitude of a reference star."""
    magnitude = "" if row["gmag"] is None else f" · {magnitude_name} {row['gmag']:.2f}"
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
