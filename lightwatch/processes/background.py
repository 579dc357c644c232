"""Sky level and noise of a frame, as maps that fit into a few kilobytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mesh:
    """A smooth map by its values on a coarse grid.

    ``values`` (my, mx) float32; node (i, j) lies at pixel (x, y) = (j (nx-1)/(mx-1), i (ny-1)/(my-1))
    of the frame of ``shape`` (ny, nx): the outermost nodes are the centres of the edge pixels.
    """

    values: NDArray[np.float32]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Background:
    """Sky of one frame in the unit of the image (electron/s).

    ``level`` and ``rms`` (ny, nx) float32: sky, and 1 sigma noise of a pixel without source. They are
    exactly ``from_mesh`` of ``level_mesh`` and ``rms_mesh``. ``global_level`` and ``global_rms``: medians.
    """

    level: NDArray[np.float32]
    rms: NDArray[np.float32]
    global_level: float
    global_rms: float
    level_mesh: Mesh
    rms_mesh: Mesh


def box_size_px(shape: tuple[int, int], boxes_per_side: int) -> int:
    """Side (px) of the box of which ``boxes_per_side`` span the longer side of the frame."""
    return max(8, -(-max(shape) // max(1, boxes_per_side)))


def estimate_background(
    image: NDArray[np.float32],
    good: NDArray[np.bool_],
    *,
    method: str,
    box_px: int,
    filter_boxes: int,
) -> Background:
    """Sky level and rms of ``image`` (ny, nx); ``good`` (ny, nx) True = use. NaN is left out by itself.

    ``method``: "mesh": clipped mode of boxes of ``box_px`` pixels, median filtered over ``filter_boxes``
    boxes (Bertin & Arnouts 1996, A&AS 117, 393; library sep). "masked_mesh": the same a second time with
    all detectable sources masked, and the rms measured on what remains.
    Raises ProcessError ``unknown_method``, ``no_good_pixels``.
    """
    raise NotImplementedError


def to_mesh(smooth_map: NDArray[np.floating], spacing_px: float) -> Mesh:
    """Sample a smooth map (ny, nx) at nodes at most ``spacing_px`` apart."""
    raise NotImplementedError


def from_mesh(mesh: Mesh, x0: int, y0: int, width: int, height: int) -> NDArray[np.float32]:
    """The map on the window of pixels x0..x0+width-1, y0..y0+height-1: (height, width) float32.

    Bicubic (not-a-knot spline; fewer nodes, lower order). Beyond the frame the edge value is repeated.
    """
    raise NotImplementedError


def expected_background_rms(
    level: NDArray[np.float32] | float, exptime: float, read_noise: float
) -> NDArray[np.float32] | float:
    """1 sigma (electron/s) of sky ``level`` (electron/s): sqrt(level/exptime + (read_noise/exptime)^2).

    ``exptime`` s, ``read_noise`` electron.
    """
    raise NotImplementedError


def noise_ratio(background: Background, exptime: float, read_noise: float) -> float:
    """Measured over expected background rms (median over the frame); NaN when read noise is unknown.

    A wrong gain shows: with a gain that is wrong by a factor k the ratio is about sqrt(k).
    """
    raise NotImplementedError
