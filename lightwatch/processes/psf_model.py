"""The PSF as a continuous, pixel-integrated function.

P(u, v) is the fraction of a star's flux that falls into a pixel whose centre lies at the offset
(u, v) px from the star (the effective PSF of Anderson & King 2000, PASP 112, 1360)::

    P = amplitude * (M + D S)
    M   elliptical Moffat (1969, A&A 3, 455), pixel-integrated by Gauss-Legendre nodes
    D   = pk (M / pk)^0.8, pk the peak of the Moffat before integration
    S   = sum_ij c_ij phi_i(s(v)) phi_j(s(u)), cosines in the warped coordinate s(u) = asinh(u / u0)

S is frozen at the edge of the fitted box and decays as a Gaussian outside of it, so that the far
wings are the Moffat's. ``amplitude`` makes the integral of P over the whole plane one. Therefore a
star is m = flux * P with the flux of the WHOLE plane, inside and outside of any cutout: light
curves carry no term from the seeing-dependent part of the light that falls outside of a cutout.

theta = (ln a, e1, e2, ln(beta - 1)), lengths in pixels: with k = a^-2, rt = sqrt(1 + e1^2 + e2^2),
r2 = k [(rt - e1) u^2 - 2 e2 u v + (rt + e1) v^2], M = (beta - 1) k / pi (1 + r2)^-beta.
Any (e1, e2) is an ellipse: no bounds, no wrapped angle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightwatch.processes.psf_jax import jax, jnp

FloatArray = NDArray[np.float64]


class LocalPSF(NamedTuple):
    """The PSF at one place of one frame; a JAX pytree, so it passes through jit and vmap.

    Every field may carry the same leading axes (a batch of PSFs).
    """

    theta: ArrayLike  # (4,) Moffat parameters, see the head of this module
    coefficients: ArrayLike  # (M, M) of S, axis 0 along y
    u0: ArrayLike  # () px, scale of the warp (FWHM of the Moffat)
    extent: ArrayLike  # () half-length L of the cosine basis in the warped coordinate
    edge: ArrayLike  # () px, half-width of the fitted box; S is frozen and tapered beyond
    amplitude: ArrayLike  # () 1 / integral of (M + D S) over the plane


@dataclass(frozen=True)
class PSFModel:
    """The PSF of one frame, constant or varying linearly across it.

    With X, Y in [-1, 1] across the frame, theta(X, Y) = theta[0] + X theta[1] + Y theta[2].
    """

    theta: FloatArray  # (1, 4) constant, or (3, 4) for the terms 1, X, Y
    coefficients: FloatArray  # (M, M)
    extent: float
    edge: float
    quadrature: int  # Gauss-Legendre nodes per pixel and axis
    frame_shape: tuple[int, int]  # (ny, nx)
    size: int  # side of the fitted cutouts, px
    fwhm_px: float  # of the pixel-integrated PSF at the centre of the frame, geometric mean of the axes
    ellipticity: float  # 1 - b/a of the Moffat at the centre of the frame
    norm: float  # fraction of the flux inside a centred cutout of `size` px
    prior_sigma: float  # amplitude of S found by the evidence
    effective_modes: float  # number of well-determined combinations of coefficients

    def to_arrays(self) -> dict[str, NDArray]:
        """Plain arrays by name, for storage."""
        raise NotImplementedError

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray]) -> PSFModel:
        """Inverse of :meth:`to_arrays`."""
        raise NotImplementedError


def local_psf(model: PSFModel, x: ArrayLike, y: ArrayLike) -> LocalPSF:
    """The PSF at frame position(s) (x, y) px; fields get the leading shape of x (() or (K,))."""
    raise NotImplementedError


def stack_psfs(psfs: list[LocalPSF]) -> LocalPSF:
    """One batch out of many PSFs of equal shapes (mode counts may differ: zero-padded)."""
    raise NotImplementedError


def evaluate_psf(psf: LocalPSF, u: jax.Array, v: jax.Array, *, quadrature: int) -> jax.Array:
    """P on the tensor lattice of offsets u (nu,), v (nv,) px from the star: (nv, nu). Jittable.

    ``quadrature`` is static (PSFModel.quadrature). For a star at x in a cutout: u = j - x.
    """
    raise NotImplementedError


def evaluate_psf_with_gradient(
    psf: LocalPSF, u: jax.Array, v: jax.Array, *, quadrature: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(P, dP/du, dP/dv) on the tensor lattice, each (nv, nu). Jittable.

    The derivative with respect to the star's position x is -dP/du.
    """
    raise NotImplementedError


def render(psf: LocalPSF, u: ArrayLike, v: ArrayLike, *, quadrature: int) -> FloatArray:
    """evaluate_psf for NumPy: P on offsets u (nu,), v (nv,): (nv, nu); not batched."""
    raise NotImplementedError


def rendered_grid(psf: LocalPSF, *, size_px: int, subsampling_factor: int, quadrature: int) -> FloatArray:
    """Unit-sum subsampled grid, star at the central node: side n = size_px * subsampling_factor,
    made odd so that the centre is a node. For display and for tools that want a grid.
    """
    raise NotImplementedError
