"""Light of a source in a circular aperture, corrected to the whole of its PSF."""

from __future__ import annotations

import numpy as np
import sep
from numpy.typing import NDArray

from lightwatch.flags import UNUSABLE_PIXEL

Floats = NDArray[np.float64]


def aperture_light(
    light: Floats,
    source_model: Floats,
    background_variance: Floats,
    good: NDArray[np.bool_],
    *,
    exposure: Floats,
    x: Floats,
    y: Floats,
    model_flux: Floats,
    radius_px: Floats,
) -> tuple[Floats, Floats]:
    """(flux, uncertainty), each (N,) electron/s, of N sources in cutouts of their own (N, n, n).

    ``light`` is the data without neighbours and background, ``source_model`` the fitted source alone with the
    flux ``model_flux`` (N,) of its whole PSF; pixels that are not ``good`` take the model's value. Positions
    ``x, y`` px in the cutouts, ``exposure`` s. Exact overlap of circle and pixels (library sep). NaN where
    there is no model.
    """
    filled = np.where(good, light, source_model)
    known_sky = np.where(good, background_variance, 0.0).sum(axis=(1, 2), keepdims=True)
    usual = known_sky / np.maximum(good.sum(axis=(1, 2), keepdims=True), 1)
    photons = np.maximum(source_model, 0) / exposure[:, None, None]
    variance = np.where(good, background_variance, usual) + photons
    flux, sigma = np.full((2, len(light)), np.nan)
    known = (
        np.isfinite(model_flux) & (model_flux > 0) & np.isfinite(x + y) & np.isfinite(filled).all(axis=(1, 2))
    )
    for i in np.flatnonzero(known):
        # arrays of one: sep takes the length of what it is given
        place = ([x[i]], [y[i]], float(radius_px[i]))
        share, _, _ = sep.sum_circle(source_model[i] / model_flux[i], *place, subpix=0)
        total, error, _ = sep.sum_circle(filled[i], *place, var=variance[i], subpix=0)
        flux[i], sigma[i] = total[0] / share[0], error[0] / share[0]
    return flux, sigma


def aperture_flags(
    mask: NDArray[np.int64],
    source_model: Floats,
    uncertainty: Floats,
    *,
    x: Floats,
    y: Floats,
    radius_px: Floats,
) -> NDArray[np.int64]:
    """(N,) bits of the unusable pixels whose centres are in the apertures of ``aperture_light``.

    ``mask`` (N, n, n) holds lightwatch.flags.Flag; ``uncertainty`` (N,) electron/s is that of the flux. Where the
    pixels together hold less of the source's light than that, the model that stands in for them cannot matter.
    """
    grid = np.arange(mask.shape[-1])
    off_x, off_y = grid[None, None, :] - x[:, None, None], grid[None, :, None] - y[:, None, None]
    bits = np.where(np.hypot(off_x, off_y) <= radius_px[:, None, None], mask & int(UNUSABLE_PIXEL), 0)
    filled = np.where(bits != 0, source_model, 0.0).sum(axis=(1, 2))
    return np.where(filled > uncertainty, np.bitwise_or.reduce(bits, axis=(1, 2)), 0).astype(np.int64)
