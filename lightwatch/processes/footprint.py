"""What part of the sky frames cover: outlines, common and total footprint, and their name.

Polygons are intersected in the gnomonic projection about their common centre, where great circles
are straight lines: nothing special happens at RA 0 or at a pole. All positions are ICRS degrees.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from astropy.wcs import WCS
from numpy.typing import NDArray

from lightwatch.errors import ProcessError
from lightwatch.processes.astrometry_sky import (
    mean_direction,
    pixel_to_sky,
    plane_to_sky,
    sky_to_pixel,
    sky_to_plane,
    unit_vectors,
)

FloatArray = NDArray[np.float64]

EDGE_ARCSEC = 1e-3  # a position that close to the edge is inside
SIGNIFICANT_DIGITS = 10  # of the numbers in a footprint's definition: 0.1 milliarcsec of 360 degrees


@dataclass(frozen=True)
class SkyRegion:
    """Polygons on the sky; sides are great circles. A polygon is its rings: outside first, then holes."""

    polygons: tuple[tuple[FloatArray, ...], ...]  # rings (n, 2): ra, dec in degrees, not closed


def frame_outline(wcs: WCS, nx: int, ny: int, *, points_per_edge: int) -> FloatArray:
    """(4 * points_per_edge, 2) ra, dec of the outer edge of a frame's pixels.

    One point per edge is enough for a TAN WCS; distorted edges are curved and need more.
    Raises ProcessError ``no_outline`` when the WCS maps the edge to no sky position.
    """
    t = np.arange(points_per_edge) / points_per_edge
    zero, one = np.zeros_like(t), np.ones_like(t)
    x = np.concatenate([t, one, 1.0 - t, zero]) * nx - 0.5
    y = np.concatenate([zero, t, one, 1.0 - t]) * ny - 0.5
    outline = np.column_stack(pixel_to_sky(wcs, x, y))
    if not np.isfinite(outline).all():
        raise ProcessError("no_outline", "the WCS maps the edge of the frame to no position on the sky")
    return outline


def common_and_total(outlines: Sequence[FloatArray]) -> tuple[SkyRegion, SkyRegion]:
    """Intersection (may be empty) and union of the outlines of frames.

    The result does not depend on the order of the frames but by rounding. Raises ProcessError
    ``no_outline`` for no frame at all, ``footprint_too_wide`` when they do not fit in a hemisphere.
    """
    if len(outlines) == 0:
        raise ProcessError("no_outline", "no frame has an outline")
    centre = _centre(outlines)
    polygons = [_polygon([outline], centre) for outline in outlines]
    common = shapely.intersection_all(polygons)
    total = shapely.union_all(polygons)
    return _region(common, centre), _region(total, centre)


def area_deg2(region: SkyRegion) -> float:
    """Area on the sphere in square degrees; 0 for an empty region."""
    steradian = 0.0
    for rings in region.polygons:
        areas = [abs(_ring_steradian(ring)) for ring in rings]
        steradian += areas[0] - sum(areas[1:])
    return math.degrees(math.degrees(steradian))


def contains(region: SkyRegion, ra: FloatArray, dec: FloatArray) -> NDArray[np.bool_]:
    """Which positions are inside of the region, its edge included; NaN is outside."""
    inside = np.zeros(np.shape(ra), bool)
    for rings in region.polygons:
        centre = _centre(rings[:1])
        east, north = sky_to_plane(ra, dec, *centre)
        polygon = shapely.buffer(_polygon(rings, centre), EDGE_ARCSEC, join_style="mitre")
        inside |= shapely.contains_xy(polygon, east, north)
    return inside


def in_frame(
    wcs: WCS, nx: int, ny: int, ra: FloatArray, dec: FloatArray, *, margin_px: float
) -> NDArray[np.bool_]:
    """Which positions have a pixel at least ``margin_px`` inside of the frame's outer edge."""
    x, y = sky_to_pixel(wcs, np.asarray(ra, float), np.asarray(dec, float)).T
    low, slack = margin_px - 0.5, 1e-6
    return (x > low - slack) & (y > low - slack) & (x < nx - 1 - low + slack) & (y < ny - 1 - low + slack)


def region_to_json(region: SkyRegion) -> str:
    """JSON: a list of polygons, each a list of rings, each a list of [ra, dec]."""
    return json.dumps([[ring.tolist() for ring in rings] for rings in region.polygons])


def region_from_json(text: str) -> SkyRegion:
    """Inverse of ``region_to_json``. Raises ProcessError ``bad_region``."""
    try:
        polygons = tuple(tuple(_ring(ring) for ring in rings) for rings in json.loads(text))
    except (ValueError, TypeError) as error:
        raise ProcessError("bad_region", f"not a region: {error}") from error
    return SkyRegion(polygons)


def outline_to_json(outline: FloatArray) -> str:
    """JSON: a list of [ra, dec]."""
    return json.dumps(np.asarray(outline, float).tolist())


def outline_from_json(text: str) -> FloatArray:
    """Inverse of ``outline_to_json``. Raises ProcessError ``bad_region``."""
    try:
        return _ring(json.loads(text))
    except (ValueError, TypeError) as error:
        raise ProcessError("bad_region", f"not an outline: {error}") from error


def catalog_digest(stars: Sequence[Mapping[str, object]]) -> str:
    """sha256 (hex) of the content of a catalogue, whatever the order of its rows and columns.

    Values as in ``footprint_hash``, and NaN, which is the same as None: unknown.
    """
    rows = sorted(_canonical_json({k: _known(v) for k, v in star.items()}) for star in stars)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def footprint_hash(definition: Mapping[str, object]) -> str:
    """sha256 (hex) of what defines a reference region and its stars.

    ``definition`` holds the strategy, ROI positions, radius or vertices, catalogue and its digest,
    magnitude and quality limits: nested mappings with text keys, sequences, str, int, float, bool,
    None. Numbers count to 10 significant digits, whatever their type (15 and 15.0 are the same);
    the order of keys is irrelevant, that of sequences is not. Raises ProcessError
    ``bad_definition`` for anything else, NaN included.
    """
    return hashlib.sha256(_canonical_json(definition).encode()).hexdigest()


def _known(value: object) -> object:
    return None if isinstance(value, float | np.floating) and math.isnan(value) else value


def _canonical_json(value: object) -> str:
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _canonical(value: object) -> object:
    """Plain JSON values, numbers as text of one form; True is not 1."""
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and abs(int(value)) >= 10**SIGNIFICANT_DIGITS:
        return {"number": str(int(value))}  # exact: identifiers of stars have 19 digits
    if isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value):
        return {"number": f"{float(value) + 0.0:.{SIGNIFICANT_DIGITS - 1}e}"}  # + 0.0: no negative zero
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"map": {str(key): _canonical(item) for key, item in value.items()}}
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, bytes):
        return [_canonical(item) for item in value]
    raise ProcessError("bad_definition", f"{value!r} has no canonical form")


def _ring(points: object) -> FloatArray:
    ring = np.array(points, dtype=np.float64)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not np.isfinite(ring).all():
        raise ValueError("a ring is three or more pairs of ra and dec")
    return ring


def _centre(rings: Sequence[FloatArray]) -> tuple[float, float]:
    """Mean direction of the rings' own mean directions: a ring with many points counts no more."""
    means = np.array([mean_direction(ring[:, 0], ring[:, 1]) for ring in rings])
    return mean_direction(means[:, 0], means[:, 1])


def _polygon(rings: Sequence[FloatArray], centre: tuple[float, float]) -> shapely.Geometry:
    """Polygon in the tangent plane, arcsec."""
    planes = [np.column_stack(sky_to_plane(ring[:, 0], ring[:, 1], *centre)) for ring in rings]
    if not all(np.isfinite(plane).all() for plane in planes):
        raise ProcessError("footprint_too_wide", "the frames do not fit in a hemisphere")
    return shapely.make_valid(shapely.Polygon(planes[0], planes[1:]))


def _region(geometry: shapely.Geometry, centre: tuple[float, float]) -> SkyRegion:
    """Back to the sky; points and lines, which frames may share, cover nothing."""
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon" and part.area > 0]
    polygons = []
    for part in shapely.get_parts(shapely.normalize(shapely.union_all(parts))) if parts else []:
        rings = [shapely.get_coordinates(ring)[:-1] for ring in (part.exterior, *part.interiors)]
        polygons.append(
            tuple(np.column_stack(plane_to_sky(ring[:, 0], ring[:, 1], *centre)) for ring in rings)
        )
    return SkyRegion(tuple(polygons))


def _ring_steradian(ring: FloatArray) -> float:
    """Signed area of a spherical polygon smaller than a hemisphere: a fan of triangles from its centre.

    Triangles by Eriksson 1990 (Math. Magazine 63, 184): tan(E/2) = a.(b x c) / (1 + a.b + b.c + c.a).
    """
    a = unit_vectors(*_centre([ring]))
    b = unit_vectors(ring[:, 0], ring[:, 1])
    c = np.roll(b, -1, axis=0)
    triple = np.cross(b - a, c - a) @ a  # the same as a.(b x c), exact also for small triangles
    return float(np.sum(2.0 * np.arctan2(triple, 1.0 + b @ a + np.sum(b * c, axis=1) + c @ a)))
