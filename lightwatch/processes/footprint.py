"""What part of the sky frames cover: outlines, common and total footprint, and their name.

Polygons are intersected in the gnomonic projection about their common centre, where great circles
are straight lines: nothing special happens at RA 0 or at a pole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SkyRegion:
    """Polygons on the sky; sides are great circles. A polygon is its rings: outside first, then holes."""

    polygons: tuple[tuple[FloatArray, ...], ...]  # rings (n, 2): ra, dec in degrees, not closed


def frame_outline(wcs: WCS, nx: int, ny: int, *, points_per_edge: int) -> FloatArray:
    """(4 * points_per_edge, 2) ra, dec of the outer edge of a frame's pixels.

    Raises ProcessError ``no_outline`` when the WCS maps the edge to no sky position.
    """
    raise NotImplementedError


def common_and_total(outlines: Sequence[FloatArray]) -> tuple[SkyRegion, SkyRegion]:
    """Intersection (may be empty) and union of the outlines of frames.

    Raises ProcessError ``footprint_too_wide`` when they do not fit in a hemisphere.
    """
    raise NotImplementedError


def area_deg2(region: SkyRegion) -> float:
    """Area on the sphere in square degrees; 0 for an empty region."""
    raise NotImplementedError


def contains(region: SkyRegion, ra: FloatArray, dec: FloatArray) -> NDArray[np.bool_]:
    """Which positions (degrees) are inside of the region, its edge included."""
    raise NotImplementedError


def in_frame(
    wcs: WCS, nx: int, ny: int, ra: FloatArray, dec: FloatArray, *, margin_px: float
) -> NDArray[np.bool_]:
    """Which positions have a pixel at least ``margin_px`` inside of the frame's outer edge."""
    raise NotImplementedError


def region_to_json(region: SkyRegion) -> str:
    """JSON: a list of polygons, each a list of rings, each a list of [ra, dec]."""
    raise NotImplementedError


def region_from_json(text: str) -> SkyRegion:
    """Inverse of ``region_to_json``. Raises ProcessError ``bad_region``."""
    raise NotImplementedError


def outline_to_json(outline: FloatArray) -> str:
    """JSON: a list of [ra, dec] in degrees."""
    raise NotImplementedError


def outline_from_json(text: str) -> FloatArray:
    """Inverse of ``outline_to_json``. Raises ProcessError ``bad_region``."""
    raise NotImplementedError


def catalog_digest(stars: Sequence[Mapping[str, object]]) -> str:
    """sha256 of the content of a catalogue, whatever the order of its rows and columns."""
    raise NotImplementedError


def footprint_hash(definition: Mapping[str, object]) -> str:
    """sha256 (hex) of what defines a reference region and its stars.

    ``definition`` holds the strategy, ROI positions, radius or vertices, catalogue and its digest,
    magnitude and quality limits: nested mappings, sequences, str, int, float, bool, None. Positions
    and limits are rounded to 9 significant decimals, so 15 and 15.0 are the same, and the order of keys is
    irrelevant. Raises ProcessError ``bad_definition`` for anything else, NaN included.
    """
    raise NotImplementedError
