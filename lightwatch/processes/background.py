"""Sky level and noise of a frame, as maps that fit into a few kilobytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sep
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, median_filter

from lightwatch.errors import ProcessError
from lightwatch.processes.strips import Strip, row_strips

_MIN_GOOD_FRACTION = 0.05
_MARGIN_BOXES = 2  # around a strip, so that filters and splines see what is beside it
_CLIP = 4.0
#: standard deviation of a unit Gaussian cut at +-_CLIP
_CLIPPED_STD = 0.99946
#: (width px of the running mean, its significance, margin px) from the cores of stars to faint haloes
_SOURCE_SCALES = ((5, 4.5, 6), (15, 5.0, 8))


@dataclass(frozen=True)
class Mesh:
    """A smooth map by its values at the centres of equal cells.

    ``values`` (my, mx) float32 for a frame of ``shape`` (ny, nx): node (i, j) lies at pixel
    x = (j + 0.5) nx / mx - 0.5, y = (i + 0.5) ny / my - 0.5.
    """

    values: NDArray[np.float32]
    shape: tuple[int, int]


@dataclass(frozen=True)
class SmoothMap:
    """The map (ny, nx) of a mesh, computed for those rows that are asked for: ``rms[10:20]``.

    ``floor``: a spline may undershoot between nodes, and a noise of zero or less would be a disaster.
    """

    mesh: Mesh
    floor: float = -np.inf

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        ny, nx = self.mesh.shape
        start, stop, _step = rows.indices(ny)
        values = from_mesh(self.mesh, 0, start, nx, stop - start)
        return np.maximum(values, np.float32(self.floor), out=values) if np.isfinite(self.floor) else values


@dataclass(frozen=True)
class Background:
    """Sky of one frame in the unit of the image (electron/s).

    ``level_map`` and ``rms_map``: sky, and 1 sigma noise of a pixel without source, by rows; ``level`` and ``rms``
    (ny, nx) float32: the whole of them. They are the maps of ``level_mesh`` and ``rms_mesh``. ``global_level`` and
    ``global_rms``: the medians of these.
    """

    level_mesh: Mesh
    rms_mesh: Mesh

    @property
    def level_map(self) -> SmoothMap:
        return SmoothMap(self.level_mesh)

    @property
    def rms_map(self) -> SmoothMap:
        return SmoothMap(self.rms_mesh, float(self.rms_mesh.values.min()))

    @property
    def level(self) -> NDArray[np.float32]:
        return self.level_map[:]

    @property
    def rms(self) -> NDArray[np.float32]:
        return self.rms_map[:]

    @property
    def global_level(self) -> float:
        return float(np.median(self.level_mesh.values))

    @property
    def global_rms(self) -> float:
        return float(np.median(self.rms_mesh.values))


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

    ``method``: "mesh": clipped mode and width of boxes of ``box_px`` pixels, median filtered over
    ``filter_boxes`` boxes (Bertin & Arnouts 1996, A&AS 117, 393; library sep); the width is 1.7 % small
    by its clipping. "masked_mesh": starts from it, masks all detectable sources and measures mean and
    rms of the boxes anew: unbiased for Gaussian noise, also in crowded fields.
    Raises ProcessError ``unknown_method``, ``no_good_pixels`` (fewer than 5 % or a rms of zero).
    """
    if method not in ("mesh", "masked_mesh"):
        raise ProcessError("unknown_method", f"background method {method!r} is neither mesh nor masked_mesh")
    strips = row_strips(image.shape, _MARGIN_BOXES * box_px)
    uses = [good[strip.inner] & np.isfinite(image[strip.inner]) for strip in strips]
    n_used = sum(np.count_nonzero(use) for use in uses)
    del uses
    if n_used < _MIN_GOOD_FRACTION * image.size:
        raise ProcessError("no_good_pixels", f"only {n_used} pixels are left to measure the sky")
    pieces = [
        _meshes(image[strip.outer], good[strip.outer], method, box_px, filter_boxes) for strip in strips
    ]
    level, rms = pieces[0] if len(pieces) == 1 else _joined(pieces, strips, image.shape, box_px)
    if not rms.values.min() > 0:
        raise ProcessError("no_good_pixels", "the sky has no noise: constant or empty image")
    return Background(level, rms)


def _meshes(
    image: NDArray[np.float32], good: NDArray[np.bool_], method: str, box_px: int, filter_boxes: int
) -> tuple[Mesh, Mesh]:
    """Level and rms of a frame, or of a strip of one."""
    use = good & np.isfinite(image)
    level, rms = _sep_meshes(np.where(use, image, np.float32(0)), use, box_px, filter_boxes)
    return _refined_meshes(image, use, level, rms, filter_boxes) if method == "masked_mesh" else (level, rms)


def _joined(
    pieces: Sequence[tuple[Mesh, Mesh]], strips: Sequence[Strip], shape: tuple[int, int], box_px: int
) -> tuple[Mesh, Mesh]:
    """Meshes of a whole frame out of those of its strips, each asked where it is not near its own edge."""
    nodes = np.rint(_node_positions(shape[0], max(1, round(shape[0] / box_px)))).astype(int)
    joined = []
    for meshes in zip(*pieces, strict=True):
        rows = []
        for mesh, strip in zip(meshes, strips, strict=True):
            own = nodes[(nodes >= strip.inner.start) & (nodes < strip.inner.stop)] - strip.outer.start
            if len(own):
                lines = SmoothMap(mesh)[own[0] : own[-1] + 1][own - own[0]]
                rows += [to_mesh(line[None], box_px).values for line in lines]
        joined.append(Mesh(np.concatenate(rows), shape))
    return joined[0], joined[1]


def to_mesh(smooth_map: NDArray[np.floating], spacing_px: float) -> Mesh:
    """Sample a smooth map (ny, nx) at the centres of cells of about ``spacing_px``."""
    ny, nx = smooth_map.shape
    y, x = (_node_positions(n, max(1, round(n / spacing_px))) for n in (ny, nx))
    i, j = (np.clip(np.floor(p).astype(int), 0, max(0, n - 2)) for p, n in ((y, ny), (x, nx)))
    i1, j1 = np.minimum(i + 1, ny - 1), np.minimum(j + 1, nx - 1)
    fy, fx = (y - i)[:, None], (x - j)[None, :]
    lower = smooth_map[np.ix_(i, j)] * (1 - fx) + smooth_map[np.ix_(i, j1)] * fx
    upper = smooth_map[np.ix_(i1, j)] * (1 - fx) + smooth_map[np.ix_(i1, j1)] * fx
    return Mesh(np.asarray(lower * (1 - fy) + upper * fy, np.float32), (ny, nx))


def from_mesh(mesh: Mesh, x0: int, y0: int, width: int, height: int) -> NDArray[np.float32]:
    """The map on the window of pixels x0..x0+width-1, y0..y0+height-1: (height, width) float32.

    Natural bicubic spline through the nodes, linear beyond the outermost ones; beyond the frame the value
    of its edge is repeated.
    """
    (ny, nx), (my, mx) = mesh.shape, mesh.values.shape
    rows = _spline_matrix(np.clip(np.arange(y0, y0 + height), 0, ny - 1), ny, my)
    columns = _spline_matrix(np.clip(np.arange(x0, x0 + width), 0, nx - 1), nx, mx)
    return np.asarray(rows @ mesh.values @ columns.T, np.float32)


def expected_background_rms(
    level: NDArray[np.floating] | float, exptime: float, read_noise: float
) -> NDArray[np.float64]:
    """1 sigma (electron/s) of sky ``level`` (electron/s): sqrt(level/exptime + (read_noise/exptime)^2).

    ``exptime`` s, ``read_noise`` electron. NaN where the level is so negative that no noise would be left.
    """
    variance = np.asarray(level, float) / exptime + (read_noise / exptime) ** 2
    return np.asarray(np.sqrt(np.where(variance > 0, variance, np.nan)))


def noise_ratio(background: Background, exptime: float, read_noise: float) -> float:
    """Measured over expected background rms (median over the frame); NaN when read noise is unknown.

    A wrong gain shows: where the sky dominates and the true gain is k times the one used, it is 1/sqrt(k).
    Meaningless once a pedestal or a sky was subtracted from the frame.
    """
    expected = expected_background_rms(background.level_mesh.values, exptime, read_noise)
    ratio = background.rms_mesh.values / expected
    return float(np.median(ratio[np.isfinite(ratio)])) if np.isfinite(ratio).any() else float("nan")


def _node_positions(n_pixels: int, n_nodes: int) -> NDArray[np.float64]:
    """Centres of ``n_nodes`` equal cells over ``n_pixels``."""
    return (np.arange(n_nodes) + 0.5) * n_pixels / n_nodes - 0.5


def _spline_matrix(pixels: NDArray[np.integer], n_pixels: int, n_nodes: int) -> NDArray[np.float32]:
    """(pixels, nodes): values of the natural cubic splines that are 1 at one node and 0 at the others."""
    if n_nodes == 1:
        return np.ones((len(pixels), 1), np.float32)
    node = (pixels - _node_positions(n_pixels, n_nodes)[0]) * n_nodes / n_pixels  # in units of the spacing
    within = np.clip(node, 0, n_nodes - 1)
    left = np.minimum(within.astype(int), n_nodes - 2)
    b = (within - left)[:, None]
    a = 1 - b
    values, bends = np.eye(n_nodes), _natural_bends(n_nodes)
    inside = a * values[left] + b * values[left + 1]
    inside += ((a**3 - a) * bends[left] + (b**3 - b) * bends[left + 1]) / 6
    slope = values[left + 1] - values[left]
    slope += ((1 - 3 * a**2) * bends[left] + (3 * b**2 - 1) * bends[left + 1]) / 6
    return np.asarray(inside + (node - within)[:, None] * slope, np.float32)


def _natural_bends(n_nodes: int) -> NDArray[np.float64]:
    """(nodes, nodes): second derivatives at the nodes of the splines of ``_spline_matrix``, spacing 1.

    They solve m[i-1] + 4 m[i] + m[i+1] = 6 (f[i-1] - 2 f[i] + f[i+1]), and are 0 at both ends.
    """
    second = np.eye(n_nodes, k=-1) - 2 * np.eye(n_nodes) + np.eye(n_nodes, k=1)
    bends = np.zeros((n_nodes, n_nodes))
    bends[1:-1] = np.linalg.solve((second + 6 * np.eye(n_nodes))[1:-1, 1:-1], 6 * second[1:-1])
    return bends


def _whole(mesh: Mesh) -> NDArray[np.float32]:
    return from_mesh(mesh, 0, 0, mesh.shape[1], mesh.shape[0])


def _sep_meshes(
    filled: NDArray[np.float32], use: NDArray[np.bool_], box_px: int, filter_boxes: int
) -> tuple[Mesh, Mesh]:
    """Level and rms by the library; ``filled`` is finite everywhere."""
    mesh = sep.Background(
        np.ascontiguousarray(filled), mask=~use, bw=box_px, bh=box_px, fw=filter_boxes, fh=filter_boxes
    )
    return to_mesh(mesh.back(), box_px), to_mesh(mesh.rms(), box_px)


def _refined_meshes(
    image: NDArray[np.float32], use: NDArray[np.bool_], level: Mesh, rms: Mesh, filter_boxes: int
) -> tuple[Mesh, Mesh]:
    """Mean and rms of what is left in each box once sources are masked and outliers clipped."""
    scale = _whole(rms)
    if not scale.min() > 0:
        raise ProcessError("no_good_pixels", "the sky has no noise: constant or empty image")
    first = _whole(level)
    significance = (image - first) / scale
    sky = use & ~_source_pixels(np.where(use, significance, 0))
    sky &= np.abs(np.where(sky, significance, 0)) < _CLIP
    n, total, squares = (
        _box_sums(np.where(sky, s, 0), level.values.shape)
        for s in (np.ones_like(significance), significance, significance**2)
    )
    n[n < _MIN_GOOD_FRACTION * image.size / level.values.size] = np.nan  # too few to be trusted
    mean = total / n
    width = np.sqrt(np.maximum(squares / n - mean**2, 0)) / _CLIPPED_STD
    mean = _filled_median_filter(mean, 1, 0.0)
    # the correction refers to the mean of the first map over a box, and what is filtered is the new level: else
    # the noise of the first map would stay, which is a good part of an ADU where the sky has a noise of one
    usual = _box_sums(first, level.values.shape) / _box_sums(np.ones_like(first), level.values.shape)
    new_level = usual + mean * rms.values
    surface = _quadratic_surface(new_level)  # a median would flatten the corners of a curved sky
    new_level = surface + _filled_median_filter(new_level - surface, filter_boxes, 0.0)
    width = _filled_median_filter(width, filter_boxes, 1.0)
    return (
        Mesh(new_level.astype(np.float32), level.shape),
        Mesh((rms.values * width).astype(np.float32), rms.shape),
    )


def _quadratic_surface(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares surface of second order through the nodes of a mesh."""
    y, x = (2 * g / max(n - 1, 1) - 1 for g, n in zip(np.indices(values.shape), values.shape, strict=True))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    return (terms @ np.linalg.lstsq(terms, values.ravel(), rcond=None)[0]).reshape(values.shape)


def _source_pixels(significance: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Pixels in and around anything that stands out of the noise at a small or a large scale.

    The thresholds are so high that noise itself is not masked, which would bias the level. They are in
    units of the width that the running mean really has, which correlated noise and structure of the sky
    make wider than white noise would.
    """
    masked = np.zeros(significance.shape, bool)
    for width, threshold, margin in _SOURCE_SCALES:
        mean = _over_windows(np.add, significance, width) / np.float32(width**2)
        low, middle = np.percentile(mean[::4, ::4], (15.87, 50))
        sigma = max(1.0 / width, middle - low)
        masked |= _over_windows(np.logical_or, mean - middle > threshold * sigma, 2 * margin + 1)
    return masked


def _over_windows(combine: np.ufunc, values: NDArray[Any], width_px: int) -> NDArray[Any]:
    """``combine`` (a sum, an or) over the ``width_px`` squared pixels around each pixel, mirrored at the edges.

    Windows twice as wide are made of two neighbouring ones: a few whole-frame operations for any width.
    """
    result = np.pad(values, width_px // 2, mode="symmetric")
    for _axis in (0, 1):
        result = result.T
        n, part, covered, done = len(result) - width_px + 1, result, 1, 0
        while True:
            if width_px & covered:
                piece = part[done : done + n]
                result = combine(result, piece) if done else piece
                done += covered
            if done == width_px:
                break
            part = combine(part[:-covered], part[covered:])
            covered *= 2
    return result


def _box_sums(values: NDArray[np.floating], boxes: tuple[int, int]) -> NDArray[np.float64]:
    """Sums over equal boxes (my, mx) of an image."""
    starts = [np.arange(m) * n // m for m, n in zip(boxes, values.shape, strict=True)]
    within_rows = np.add.reduceat(
        values, starts[1], axis=1, dtype=np.float64
    )  # along the memory: eight times faster
    return np.add.reduceat(within_rows, starts[0], axis=0)


def _filled_median_filter(
    values: NDArray[np.float64], filter_boxes: int, empty: float
) -> NDArray[np.float64]:
    """Median over ``filter_boxes`` squared; boxes without value (NaN) take that of the boxes around them."""
    if not np.isfinite(values).any():
        return np.full(values.shape, empty)
    if not np.isfinite(values).all():
        nearest = distance_transform_edt(~np.isfinite(values), return_distances=False, return_indices=True)
        values = values[tuple(nearest)]
    return median_filter(values, filter_boxes, mode="nearest") if filter_boxes > 1 else values
