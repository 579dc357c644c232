"""Pictures of a ROI's solution in its reference frame, for display and export."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.special import erf

from lightwatch.processes.roi_types import FloatArray, ROISolution


def background_image(solution: ROISolution) -> FloatArray:
    """Background on a half-pixel lattice of the reference frame, electron/s per node.

    Odd side, the middle node is the centre of the ROI; before convolution with any PSF.
    (0, 0) without background.
    """
    if not solution.background.size:
        return np.zeros((0, 0))
    reach = (len(solution.background) - 1) / 2 * solution.background_spacing_px
    return _background_on(solution, np.arange(-int(2 * reach), int(2 * reach) + 1) / 2)


def high_resolution_image(
    solution: ROISolution, *, fwhm_px: float, subsampling_factor: int, size_px: int
) -> FloatArray:
    """Median fluxes as Gaussians of ``fwhm_px`` on the background.

    Odd side, the middle node is the ROI's centre; electron/s per node, nodes 1/subsampling_factor
    reference px apart.
    """
    half = size_px * subsampling_factor // 2
    axis = np.arange(-half, half + 1) / subsampling_factor
    image = np.zeros((len(axis), len(axis)))
    if solution.background.size:
        image += _background_on(solution, axis)
    sigma = fwhm_px / np.sqrt(8 * np.log(2))
    edges = np.append(axis, axis[-1] + 1 / subsampling_factor) - 0.5 / subsampling_factor
    flux = np.array([np.median(f[np.isfinite(f)]) if np.isfinite(f).any() else 0.0 for f in solution.flux.T])
    for (x, y), brightness in zip(solution.position_px, flux, strict=True):
        along_x, along_y = (np.diff(erf((edges - centre) / sigma / np.sqrt(2))) / 2 for centre in (x, y))
        image += brightness * np.outer(along_y, along_x)
    return image


def _background_on(solution: ROISolution, axis: FloatArray) -> FloatArray:
    """Cubic interpolation of the surface brightness to the nodes ``axis`` x ``axis``; 0 outside."""
    spacing = solution.background_spacing_px
    index = axis / spacing + (len(solution.background) - 1) / 2
    grid = np.meshgrid(index, index, indexing="ij")
    step = axis[1] - axis[0] if len(axis) > 1 else spacing
    return map_coordinates(solution.background, grid, order=3, mode="constant") * (step / spacing) ** 2
