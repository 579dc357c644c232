"""Which pixels not to trust, and why: one bit per reason."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def bad_pixels(
    image: NDArray[np.floating], bad_pixel_map: NDArray[np.integer] | NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Not finite, or set (non-zero) in the detector's map of bad pixels, (ny, nx)."""
    raise NotImplementedError


def bad_lines(
    image: NDArray[np.float32], background_rms: NDArray[np.float32], good: NDArray[np.bool_], n_sigma: float
) -> NDArray[np.bool_]:
    """Rows and columns that differ as a whole from their neighbours, (ny, nx) True = bad.

    ``image`` sky-subtracted. The median over a line is compared with those of the lines around it;
    beyond ``n_sigma`` of its own error, or without any scatter (dead), a line is bad.
    """
    raise NotImplementedError


def cosmic_rays(
    image: NDArray[np.float32],
    background_level: NDArray[np.float32],
    background_rms: NDArray[np.float32],
    mask: NDArray[np.integer],
    *,
    exptime: float,
    fwhm_px: float,
    sigclip: float,
    sigfrac: float,
    objlim: float,
) -> NDArray[np.bool_]:
    """Pixels (ny, nx) struck by cosmic rays in a sky-subtracted ``image`` electron/s.

    L.A.Cosmic (van Dokkum 2001, PASP 113, 1420; library astroscrappy) in electrons, followed by a test of
    sharpness against stars of ``fwhm_px`` (NaN: 2.5), so that cores of undersampled stars are spared.
    ``mask``: bits already known (bad, saturated).
    """
    raise NotImplementedError


def cosmic_rays_in_windows(
    image: NDArray[np.float32],
    background_level: NDArray[np.float32],
    background_rms: NDArray[np.float32],
    mask: NDArray[np.integer],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    size_px: int,
    exptime: float,
    fwhm_px: float,
    sigclip: float,
    sigfrac: float,
    objlim: float,
) -> NDArray[np.bool_]:
    """As ``cosmic_rays``, looked for only in squares of ``size_px`` around the positions ``x, y``."""
    raise NotImplementedError


def combine_mask(
    bad: NDArray[np.bool_],
    saturated: NDArray[np.bool_],
    cosmic_ray: NDArray[np.bool_],
    *,
    grow_saturated_px: int,
    grow_px: int,
) -> NDArray[np.int32]:
    """Mask (ny, nx) int32 of the bits BAD, SATURATED, COSMIC_RAY and NEIGHBOUR_OF_BAD.

    Saturated regions grow by ``grow_saturated_px`` (the bit SATURATED itself: light that bled); everything
    then gets a rim of ``grow_px`` pixels of NEIGHBOUR_OF_BAD.
    """
    raise NotImplementedError


def grow(flagged: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    """Dilate by a disc of ``radius_px`` (0: a copy)."""
    raise NotImplementedError
