"""The PSF as a continuous, pixel-integrated function.

P(u, v) is the fraction of a star's flux that falls into a pixel whose centre lies at the offset
(u, v) px from the star (the effective PSF of Anderson & King 2000, PASP 112, 1360)::

    P = amplitude * (M + D S)
    M   elliptical Moffat (1969, A&A 3, 455), pixel-integrated by Gauss-Legendre nodes
    D   = pk (M / pk)^0.8, pk the peak of the Moffat before integration
    S   = sum_ij c_ij phi_i(s(v)) phi_j(s(u)), cosines in the warped coordinate s(u) = asinh(u / u0)
    u0  FWHM of the Moffat, at least 1.8 px

S is frozen at the edge of the fitted box and decays as a Gaussian outside of it, so that the far
wings are the Moffat's. ``amplitude`` makes the integral of P over the whole plane one. Therefore a
star is m = flux * P with the flux of the WHOLE plane, inside and outside of any cutout: light
curves carry no term from the seeing-dependent part of the light that falls outside of a cutout.

theta = (ln a, e1, e2, ln(beta - 1)), lengths in pixels: with k = a^-2, rt = sqrt(1 + e1^2 + e2^2),
r2 = k [(rt - e1) u^2 - 2 e2 u v + (rt + e1) v^2], M = (beta - 1) k / pi (1 + r2)^-beta.
Any (e1, e2) is an ellipse: no bounds, no wrapped angle.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from lightwatch.processes.psf_jax import jax, jnp
from lightwatch.processes.psf_profile import (
    SMALLEST_SCALE_PX,
    LocalPSF,
    evaluate_psf,
    evaluate_psf_with_gradient,
)

__all__ = [
    "LocalPSF",
    "PSFModel",
    "concatenate_psfs",
    "evaluate_psf",
    "evaluate_psf_with_gradient",
    "local_psf",
    "render",
    "rendered_grid",
    "stack_psfs",
]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PSFModel:
    """The PSF of one frame, constant or varying linearly across it.

    With X, Y in [-1, 1] across the frame, theta(X, Y) = theta[0] + X theta[1] + Y theta[2], and
    likewise the amplitude; the structure S scales with the local FWHM.
    """

    theta: FloatArray  # (1, 4) constant, or (3, 4) for the terms 1, X, Y
    coefficients: FloatArray  # (M, M)
    amplitude: FloatArray  # (1,) or (3,)
    extent: float
    edge: float
    quadrature: int  # Gauss-Legendre nodes per pixel and axis
    frame_shape: tuple[int, int]  # (ny, nx)
    size: int  # side of the fitted cutouts, px
    fwhm_px: float  # of the pixel-integrated PSF at the centre of the frame, from the area above half maximum
    ellipticity: float  # 1 - b/a of the Moffat at the centre of the frame
    norm: float  # fraction of the flux inside a centred cutout of `size` px
    prior_sigma: float  # amplitude of S found by the evidence
    effective_modes: float  # number of well-determined combinations of coefficients
    model_error: float  # fraction of the light by which the PSF misses the data, 0 where noise explains all
    total_flux_error: (
        float  # 1 sigma of ln(flux) common to all stars measured with it, where the sky is the noise
    )

    @property
    def varies(self) -> bool:
        """Whether the PSF changes across the frame."""
        return len(self.theta) > 1

    def to_arrays(self) -> dict[str, NDArray]:
        """Plain arrays by name, for storage (about 3 kB)."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray]) -> PSFModel:
        """Inverse of :meth:`to_arrays`."""
        ny, nx = (int(side) for side in arrays["frame_shape"])
        return cls(
            theta=np.asarray(arrays["theta"], dtype=np.float64),
            coefficients=np.asarray(arrays["coefficients"], dtype=np.float64),
            amplitude=np.asarray(arrays["amplitude"], dtype=np.float64),
            quadrature=int(arrays["quadrature"]),
            frame_shape=(ny, nx),
            size=int(arrays["size"]),
            **{name: float(arrays[name]) for name in _NUMBERS},
        )


_NUMBERS = (
    "extent",
    "edge",
    "fwhm_px",
    "ellipticity",
    "norm",
    "prior_sigma",
    "effective_modes",
    "model_error",
    "total_flux_error",
)


def position_terms(x: ArrayLike, y: ArrayLike, frame_shape: tuple[int, int]) -> FloatArray:
    """(1, X, Y) with X, Y in [-1, 1] across the frame: (..., 3)."""
    ny, nx = frame_shape
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return np.stack([np.ones_like(x), 2 * x / max(nx - 1, 1) - 1, 2 * y / max(ny - 1, 1) - 1], -1)


def fwhm_of_theta(theta: FloatArray) -> FloatArray:
    """FWHM (px) of Moffats (..., 4) before pixel integration: (...)."""
    beta = 1 + np.exp(theta[..., 3])
    return 2 * np.exp(theta[..., 0]) * np.sqrt(2 ** (1 / beta) - 1)


def local_psf(model: PSFModel, x: ArrayLike, y: ArrayLike) -> LocalPSF:
    """The PSF at frame position(s) (x, y) px; fields get the leading shape of x (() or (K,))."""
    terms = position_terms(x, y, model.frame_shape)[..., : len(model.theta)]
    shape = terms.shape[:-1]
    theta = terms @ model.theta
    return LocalPSF(
        theta=theta,
        coefficients=np.broadcast_to(model.coefficients, shape + model.coefficients.shape),
        u0=np.maximum(fwhm_of_theta(theta), SMALLEST_SCALE_PX),
        extent=np.full(shape, model.extent),
        edge=np.full(shape, model.edge),
        amplitude=terms @ model.amplitude,
    )


def stack_psfs(psfs: list[LocalPSF]) -> LocalPSF:
    """One batch out of single PSFs; smaller sets of coefficients are zero-padded (same function)."""
    return concatenate_psfs([LocalPSF(*(np.asarray(field)[None] for field in psf)) for psf in psfs])


def concatenate_psfs(psfs: list[LocalPSF]) -> LocalPSF:
    """One batch out of batches, along their leading axis; coefficients zero-padded as in stack_psfs."""
    count = max(np.shape(psf.coefficients)[-1] for psf in psfs)
    columns = zip(*(_padded(psf, count) for psf in psfs), strict=True)
    return LocalPSF(*(np.concatenate(column) for column in columns))


def _padded(psf: LocalPSF, count: int) -> LocalPSF:
    coefficients = np.asarray(psf.coefficients)
    more = count - coefficients.shape[-1]
    widths = [(0, 0)] * (coefficients.ndim - 2) + [(0, more), (0, more)]
    return psf._replace(coefficients=np.pad(coefficients, widths))


_evaluate = partial(jax.jit, static_argnames="quadrature")(evaluate_psf)


def render(psf: LocalPSF, u: ArrayLike, v: ArrayLike, *, quadrature: int) -> FloatArray:
    """evaluate_psf for NumPy: P on offsets u (nu,), v (nv,): (nv, nu); one PSF, not a batch."""
    return np.array(_evaluate(psf, jnp.asarray(u, float), jnp.asarray(v, float), quadrature=quadrature))


def rendered_grid(psf: LocalPSF, *, size_px: int, subsampling_factor: int, quadrature: int) -> FloatArray:
    """Unit-sum subsampled grid with the star at the central node (side made odd so that there is one).

    For display and for tools that want a grid: every node is an integral over a whole pixel.
    """
    half = (size_px * subsampling_factor) // 2
    offsets = np.arange(-half, half + 1) / subsampling_factor
    grid = render(psf, offsets, offsets, quadrature=quadrature)
    return grid / grid.sum()
