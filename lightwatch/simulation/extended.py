"""Extended sources: profiles in the sky, convolved with the PSF and integrated over pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from lightwatch.simulation.psf import SimulatedPsf

Floats = NDArray[np.float64]
Profile = Callable[[Floats, Floats], Floats]  # brightness at offsets (arcsec east, north)

_HALF = 20  # half size of the image in pixels
_OVERSAMPLING = 5  # odd


def sersic_profile(r_eff: float, index: float, q: float, pa_deg: float) -> Profile:
    """Sersic profile: effective radius (arcsec), index, axis ratio, position angle (east of north)."""
    b, pa = 2 * index - 1 / 3 + 0.009876 / index, np.radians(pa_deg)

    def profile(east: Floats, north: Floats) -> Floats:
        major = east * np.sin(pa) + north * np.cos(pa)
        minor = east * np.cos(pa) - north * np.sin(pa)
        r = np.sqrt(q * major**2 + minor**2 / q + 1e-6)
        result: Floats = np.exp(-b * ((r / r_eff) ** (1 / index) - 1))
        return result

    return profile


def lens_profile() -> Profile:
    """The lens galaxy of a lensed target."""
    return sersic_profile(0.55, 2.0, 0.8, 35.0)


def arc_profile() -> Profile:
    """The arc of a lensed target: a ring brighter on one side."""

    def profile(east: Floats, north: Floats) -> Floats:
        angle = np.arctan2(east, north) - np.radians(120.0)
        ring = np.exp(-0.5 * ((np.hypot(east, north) - 0.85) / 0.12) ** 2)
        result: Floats = ring * (0.35 + 0.65 * np.cos(angle / 2) ** 4)
        return result

    return profile


def extended_image(profile: Profile, cd_arcsec: Floats, psf: SimulatedPsf, dx: float, dy: float) -> Floats:
    """Unit-flux image, side 41, of a profile centred (dx, dy) from the middle pixel."""
    size = (2 * _HALF + 1) * _OVERSAMPLING
    sub = (np.arange(size) + 0.5) / _OVERSAMPLING - 0.5 - _HALF
    x, y = np.meshgrid(sub, sub)
    offset = np.tensordot(cd_arcsec, np.stack([x - dx, y - dy]), 1)
    light = profile(offset[0], offset[1])
    kernel = psf(x, y) / _OVERSAMPLING**2
    padded = fft.next_fast_len(2 * size, real=True)
    product = fft.rfft2(light / light.sum(), (padded, padded)) * fft.rfft2(kernel, (padded, padded))
    start = (size - 1) // 2  # size is odd: both centres are on an element
    same = fft.irfft2(product, (padded, padded))[start : start + size, start : start + size]
    return same.reshape(2 * _HALF + 1, _OVERSAMPLING, 2 * _HALF + 1, _OVERSAMPLING).sum(axis=(1, 3))
