"""The simulated PSF: an analytic function, integrated over pixels at the exact position of the source."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CORE_IN_FWHM = 2.5  # pixels nearer than this many FWHM are integrated, farther ones sampled


@dataclass(frozen=True)
class SimulatedPsf:
    """Unit flux over the plane, centroid at (0, 0); lengths in pixels, angles in radians.

    Sum of an elliptical Moffat, a Moffat with a trefoil (whose distortion averages to zero over the angle)
    and an off-centre Gaussian of weight ``w_gauss`` at (gx, gy).
    """

    fwhm: float
    beta: float
    ellipticity: float
    theta: float
    w_trefoil: float
    a3: float
    theta3: float
    w_gauss: float
    gx: float
    gy: float
    gauss_sigma: float

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Surface brightness per square pixel at offsets (x, y) from the source."""
        x, y = x + self.w_gauss * self.gx, y + self.w_gauss * self.gy
        alpha = self.fwhm / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        norm = (self.beta - 1) / (np.pi * alpha**2)
        cos, sin, q = np.cos(self.theta), np.sin(self.theta), np.sqrt(1 - self.ellipticity)
        u, v = (cos * x + sin * y) * q, (cos * y - sin * x) / q
        moffat = norm * (1 + (u**2 + v**2) / alpha**2) ** -self.beta
        r2 = x**2 + y**2
        # r^3 cos(3 (angle - theta3)) without the angle
        cubic = np.cos(3 * self.theta3) * x * (x**2 - 3 * y**2) + np.sin(3 * self.theta3) * y * (
            3 * x**2 - y**2
        )
        trefoil = norm * (1 + r2 / alpha**2) ** -self.beta * (1 + self.a3 * cubic / (alpha**3 + r2**1.5))
        s2 = self.gauss_sigma**2
        gauss = np.exp(-((x - self.gx) ** 2 + (y - self.gy) ** 2) / (2 * s2)) / (2 * np.pi * s2)
        rest = 1 - self.w_gauss - self.w_trefoil
        result: Floats = rest * moffat + self.w_trefoil * trefoil + self.w_gauss * gauss
        return result

    def stretched(self, factor: float) -> SimulatedPsf:
        """The same shape with another FWHM."""
        return replace(self, fwhm=self.fwhm * factor)


def draw_psf(rng: np.random.Generator, fwhm: float) -> SimulatedPsf:
    """A PSF of this FWHM in pixels with random shape."""
    angle, offset = rng.uniform(0, 2 * np.pi), fwhm * rng.uniform(0.45, 0.75)
    return SimulatedPsf(
        fwhm=fwhm,
        beta=rng.uniform(2.5, 4.0),
        ellipticity=rng.uniform(0.02, 0.15),
        theta=rng.uniform(0, np.pi),
        w_trefoil=0.3,
        a3=rng.uniform(0.2, 0.6),
        theta3=rng.uniform(0, 2 * np.pi),
        w_gauss=rng.uniform(0.04, 0.12),
        gx=float(offset * np.cos(angle)),
        gy=float(offset * np.sin(angle)),
        gauss_sigma=fwhm * rng.uniform(0.25, 0.4),
    )


def integrated(psf: SimulatedPsf, dx: float, dy: float, half: int, nodes: int) -> Floats:
    """Light in each pixel of a (2 half + 1)^2 image, source at (half + dx, half + dy).

    ``nodes`` x ``nodes`` Gauss-Legendre points per pixel.
    """
    size = 2 * half + 1
    at, weight = np.polynomial.legendre.leggauss(nodes)
    sub = (np.arange(size)[:, None] - half + at / 2).ravel()
    fine = psf(*np.meshgrid(sub - dx, sub - dy)).reshape(size, nodes, size, nodes)
    return np.einsum("iajb,a,b->ij", fine, weight / 2, weight / 2, optimize=True)


def star_image(psf: SimulatedPsf, dx: float, dy: float, half: int) -> Floats:
    """As ``integrated``, finely in the core and at pixel centres in the wings."""
    core = min(half, int(np.ceil(_CORE_IN_FWHM * psf.fwhm)))
    nodes = 3 if psf.fwhm >= 4 else 5
    offset = np.arange(-half, half + 1, dtype=float)
    image = psf(*np.meshgrid(offset - dx, offset - dy))
    inner = slice(half - core, half + core + 1)
    image[inner, inner] = integrated(psf, dx, dy, core, nodes)
    return image
