"""What a fitted state stands for: the PSF normalised to the plane, its width, the light in a cutout.

One small compiled program for cutouts of every size.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from lightwatch.processes.psf_batch import bucket
from lightwatch.processes.psf_jax import AnyArray, core_jit, jax, jnp
from lightwatch.processes.psf_profile import (
    WARP_SLACK,
    LocalPSF,
    evaluate_psf,
    prior_variance,
    structure_integral,
    warp_scale,
)

FWHM_NODES = 96
LATTICES = (64, 128, 256)


class Shape(NamedTuple):
    """The PSF of a frame; LocalPSF.theta is that of the centre of the frame."""

    psf: LocalPSF
    amplitude: AnyArray  # (3,) of the terms 1, X, Y
    norm: AnyArray  # fraction of the flux inside a centred cutout
    fwhm: AnyArray  # px, from the area above half of the maximum


def basis_extent(theta: jax.Array, edge: AnyArray) -> jax.Array:
    """Half-length L of the cosine basis for cutouts of half-width ``edge`` px."""
    return WARP_SLACK * jnp.arcsinh((edge + 1) / warp_scale(theta))


def whitening_of(extent: jax.Array, modes: int) -> jax.Array:
    """(M^2,) of c = whitening * z."""
    return jnp.sqrt(prior_variance(modes, extent)).ravel()


def shape_of(
    theta: np.ndarray, gradient: np.ndarray, z: np.ndarray, *, size: int, modes: int, quadrature: int
) -> Shape:
    """Shape, in NumPy arrays, of the state (theta (4,), z (M^2,)) with slopes ``gradient`` (2, 4)."""
    lattice = bucket(size, LATTICES)
    offsets = np.arange(lattice) - (size - 1) / 2
    shape = _shape(theta, gradient, z, offsets, np.float64(size / 2), modes=modes, quadrature=quadrature)
    return cast(Shape, jax.tree.map(np.asarray, shape))


def _shape_of(
    theta: jax.Array, gradient: jax.Array, z: jax.Array, offsets: jax.Array, edge: jax.Array, *, modes: int,
    quadrature: int,
) -> Shape:  # fmt: skip
    extent = basis_extent(theta, edge)
    c = (whitening_of(extent, modes) * z).reshape(modes, modes)
    amplitude = _amplitudes(jnp.concatenate([theta[None], gradient]), c, extent, edge)
    psf = LocalPSF(theta, c, warp_scale(theta), extent, edge, amplitude[0])
    inside = jnp.abs(offsets) < edge
    light = evaluate_psf(psf, offsets, offsets, quadrature=quadrature)
    return Shape(psf, amplitude, inside @ light @ inside, fwhm_of_pixels(psf, quadrature))


_shape = core_jit(_shape_of, static=("modes", "quadrature"))


def _amplitudes(terms: jax.Array, coefficients: jax.Array, extent: jax.Array, edge: jax.Array) -> jax.Array:
    """1 / plane integral of P at the centre and its slopes along X and Y: (3,)."""

    def amplitude(place: jax.Array) -> jax.Array:
        local = place @ terms
        psf = LocalPSF(local, coefficients, warp_scale(local), extent, edge, 1.0)
        return 1 / (1 + structure_integral(psf))

    places = jnp.array([[1.0, 0, 0], [1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1]])
    varies = jnp.any(terms[1:] != 0)
    a = jax.lax.fori_loop(
        0, jnp.where(varies, 5, 1), lambda i, a: a.at[i].set(amplitude(places[i])), jnp.zeros(5)
    )
    return jnp.stack([a[0], (a[1] - a[2]) / 2, (a[3] - a[4]) / 2])


def fwhm_of_pixels(psf: LocalPSF, quadrature: int) -> AnyArray:
    """FWHM (px) of the pixel-integrated PSF, of the circle as large as the area above half maximum."""
    offsets = jnp.linspace(-1.1, 1.1, FWHM_NODES) * psf.u0
    p = evaluate_psf(psf, offsets, offsets, quadrature=quadrature)
    area = (p > p.max() / 2).sum() * (offsets[1] - offsets[0]) ** 2
    return jnp.sqrt(4 * area / jnp.pi)
