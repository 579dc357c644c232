"""The mathematics of the PSF on a lattice of offsets: jittable, one PSF at a time.

The model is written down at the head of :mod:`lightwatch.processes.psf_model`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from lightwatch.processes.psf_jax import AnyArray, jax, jnp

ENVELOPE_POWER = 0.8  # D falls more slowly than M: the residual has more freedom in the wings
WARP_SLACK = 1.08  # the cosine basis reaches a little beyond the fitted box
TAPER_PER_EDGE = 2.0  # width of the Gaussian decay of S outside of the box, in half-widths of it
MATERN_NU = 2.5
CORRELATION_LENGTH = 1.3 * 0.4247  # 1.3 Gaussian sigmas of the PSF, in the warped coordinate
FAINTEST = 1e-30  # light over that of the peak, so that float32 divides by no zero
INTEGRAL_NODES = 96
SMALLEST_SCALE_PX = 1.8  # of the warp: S is never finer than half a pixel, whatever the Moffat


class LocalPSF(NamedTuple):
    """The PSF at one place of one frame; a JAX pytree, so it passes through jit and vmap.

    Every field may carry the same leading axes (a batch of PSFs).
    """

    theta: AnyArray  # (4,) Moffat parameters (ln a, e1, e2, ln(beta - 1)), a in px
    coefficients: AnyArray  # (M, M) of S, axis 0 along y
    u0: AnyArray  # () px, scale of the warp (warp_scale)
    extent: AnyArray  # () half-length L of the cosine basis in the warped coordinate
    edge: AnyArray  # () px, half-width of the fitted box; S is frozen and tapered beyond
    amplitude: AnyArray  # () 1 / integral of (M + D S) over the plane


def moffat_fwhm(theta: jax.Array) -> jax.Array:
    """FWHM (px) of the Moffat before pixel integration, geometric mean of the axes."""
    beta = 1 + jnp.exp(theta[3])
    return 2 * jnp.exp(theta[0]) * jnp.sqrt(2 ** (1 / beta) - 1)


def warp_scale(theta: jax.Array) -> jax.Array:
    """Scale u0 of the warp: the FWHM of the Moffat, or what the pixels can resolve."""
    return jnp.maximum(moffat_fwhm(theta), SMALLEST_SCALE_PX)


def moffat_peak(theta: jax.Array) -> jax.Array:
    """Central surface brightness of the unit Moffat before pixel integration."""
    return jnp.exp(theta[3] - 2 * theta[0]) / jnp.pi


def _nodes(u: jax.Array, v: jax.Array, quadrature: int) -> Iterator[tuple[float, jax.Array, jax.Array]]:
    """Weight and offsets (1, nu), (nv, 1) of each Gauss-Legendre node of a pixel.

    A loop in Python, so that the compiler sees one sum per pixel and keeps no array of all nodes.
    """
    node, weight = np.polynomial.legendre.leggauss(quadrature)
    for i, j in product(range(quadrature), repeat=2):
        yield (
            float(weight[i] * weight[j] / 4),
            (u + float(node[j] / 2))[None, :],
            (v + float(node[i] / 2))[:, None],
        )


def _node_arrays(u: jax.Array, v: jax.Array, quadrature: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Weights (q^2,) and offsets (q^2, nu), (q^2, nv) of the Gauss-Legendre nodes of the pixels."""
    node, weight = np.polynomial.legendre.leggauss(quadrature)
    i, j = np.indices((quadrature, quadrature)).reshape(2, -1)
    at = [jnp.asarray(node[k] / 2, u.dtype)[:, None] for k in (j, i)]
    return jnp.asarray(weight[i] * weight[j] / 4, u.dtype), u + at[0], v + at[1]


def _quadratic_form(theta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """A, B, C, rt of r2 = A u^2 + 2 B u v + C v^2."""
    k = jnp.exp(-2 * theta[0])
    rt = jnp.sqrt(1 + theta[1] ** 2 + theta[2] ** 2)
    return k * (rt - theta[1]), -k * theta[2], k * (rt + theta[1]), rt


def moffat(theta: jax.Array, u: jax.Array, v: jax.Array, quadrature: int) -> jax.Array:
    """Pixel-integrated unit Moffat at offsets u (nu,), v (nv,): (nv, nu)."""
    a, b, c, _ = _quadratic_form(theta)
    beta = 1 + jnp.exp(theta[3])
    total = jnp.zeros((), u.dtype)
    for weight, nu, nv in _nodes(u, v, quadrature):
        total = total + weight * jnp.exp(-beta * jnp.log(1 + a * nu * nu + 2 * b * nu * nv + c * nv * nv))
    return moffat_peak(theta) * total


def moffat_with_gradient(
    theta: jax.Array, u: jax.Array, v: jax.Array, quadrature: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(M, dM/du, dM/dv), each (nv, nu)."""
    a, b, c, _ = _quadratic_form(theta)
    beta = 1 + jnp.exp(theta[3])
    value = by_u = by_v = jnp.zeros((), u.dtype)
    for weight, nu, nv in _nodes(u, v, quadrature):
        at_u, at_v = a * nu + b * nv, b * nu + c * nv
        r2 = 1 + nu * at_u + nv * at_v
        here = weight * jnp.exp(-beta * jnp.log(r2))
        value, by_u, by_v = value + here, by_u + here / r2 * at_u, by_v + here / r2 * at_v
    peak = moffat_peak(theta)
    return peak * value, -2 * beta * peak * by_u, -2 * beta * peak * by_v


def moffat_jacobian(
    theta: jax.Array, u: jax.Array, v: jax.Array, quadrature: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """(M, dM/du, dM/dv, dM/dtheta (4, nv, nu))."""
    a, b, c, rt = _quadratic_form(theta)
    beta_1, k = jnp.exp(theta[3]), jnp.exp(-2 * theta[0])
    # sums over the nodes: of the Moffat times 1 and ln q, and of Moffat / q times u, v, uu, uv, vv; q = 1 + r2
    weights, nodes_u, nodes_v = _node_arrays(u, v, quadrature)

    def add(sums: Any, node: Any) -> tuple[Any, None]:
        weight, nu, nv = node[0], node[1][None, :], node[2][:, None]
        q = 1 + a * nu * nu + 2 * b * nu * nv + c * nv * nv
        log_q = jnp.log(q)
        here = weight * jnp.exp(-(1 + beta_1) * log_q)
        slope_u, slope_v = here / q * nu, here / q * nv
        terms = (here, here * log_q, slope_u, slope_v, slope_u * nu, slope_u * nv, slope_v * nv)
        return tuple(total + term for total, term in zip(sums, terms, strict=True)), None

    zero = jnp.zeros((v.shape[0], u.shape[0]), u.dtype)
    (m, by_log, by_u, by_v, uu, uv, vv), _ = jax.lax.scan(add, (zero,) * 7, (weights, nodes_u, nodes_v))
    peak = moffat_peak(theta)
    slope = -(1 + beta_1) * peak
    d_theta = jnp.stack(
        [
            -2 * peak * m - 2 * slope * (a * uu + 2 * b * uv + c * vv),
            slope * k * (theta[1] / rt * (uu + vv) - uu + vv),
            slope * k * (theta[2] / rt * (uu + vv) - 2 * uv),
            peak * (m - beta_1 * by_log),
        ]
    )
    return peak * m, 2 * slope * (a * by_u + b * by_v), 2 * slope * (b * by_u + c * by_v), d_theta


def warp(u: jax.Array, u0: AnyArray, extent: AnyArray, edge: AnyArray) -> jax.Array:
    """s(u) + L, frozen outside of the box."""
    return jnp.arcsinh(jnp.clip(u, -jnp.asarray(edge), edge) / u0) + extent


def waves(
    u: jax.Array, count: int, u0: AnyArray, extent: AnyArray, edge: AnyArray, dtype: Any
) -> tuple[jax.Array, jax.Array]:
    """cos and sin of m pi (s + L) / 2L, m < count, in precision ``dtype``: (n, count) each."""
    frequency = jnp.arange(count, dtype=u.dtype) * jnp.pi / (2 * extent)
    angle = warp(u, u0, extent, edge)[:, None] * frequency
    angle = (angle - 2 * jnp.pi * jnp.round(angle / (2 * jnp.pi))).astype(dtype)
    return jnp.cos(angle), jnp.sin(angle)


def mode_norms(count: int) -> np.ndarray:
    """Norms of the cosine modes, without their factor sqrt(1 / L)."""
    norms = np.ones(count)
    norms[0] = np.sqrt(0.5)
    return norms


def basis(
    u: jax.Array, count: int, u0: AnyArray, extent: AnyArray, edge: AnyArray
) -> tuple[jax.Array, jax.Array]:
    """phi_m(s(u)) and its derivative by u, each (n, count)."""
    return basis_of_waves(u, waves(u, count, u0, extent, edge, u.dtype), u0, extent, edge)


def basis_of_waves(
    u: jax.Array, wave: tuple[jax.Array, jax.Array], u0: AnyArray, extent: AnyArray, edge: AnyArray
) -> tuple[jax.Array, jax.Array]:
    """The basis from its waves, (n, count) each."""
    cos, sin = wave
    count = cos.shape[1]
    frequency = jnp.arange(count, dtype=u.dtype) * jnp.pi / (2 * extent)
    norm = jnp.asarray(mode_norms(count), u.dtype) / jnp.sqrt(extent)
    ds_du = jnp.where(jnp.abs(u) < edge, 1 / jnp.sqrt(u * u + u0 * u0), 0.0)
    return cos * norm, -sin * (frequency * norm) * ds_du[:, None]


def taper(u: jax.Array, edge: AnyArray) -> tuple[jax.Array, jax.Array]:
    """Decay of S outside of the box along one axis, and its logarithmic derivative; (n,) each."""
    width = TAPER_PER_EDGE * edge
    beyond = jnp.maximum(jnp.abs(u) - edge, 0) / width
    return jnp.exp(-beyond * beyond), -2 * beyond / width * jnp.sign(u)


def envelope(m: jax.Array, theta: jax.Array, u: jax.Array, v: jax.Array, edge: AnyArray) -> jax.Array:
    """D of the head of psf_model, with the taper: (nv, nu)."""
    peak = moffat_peak(theta)
    inside = peak * jnp.exp(
        ENVELOPE_POWER * jnp.log(jnp.maximum(m / peak, FAINTEST))
    )  # no slow power function
    return inside * taper(v, edge)[0][:, None] * taper(u, edge)[0][None, :]


def prior_variance(count: int, extent: jax.Array) -> jax.Array:
    """Spectral density of the Matern-like prior of S, (count, count); Solin & Sarkka (2020)."""
    frequency = jnp.arange(count) * jnp.pi / (2 * extent)
    squared = CORRELATION_LENGTH**2
    power = squared * (frequency[:, None] ** 2 + frequency[None, :] ** 2)
    return 2 * jnp.pi * squared * (1 + power / (2 * MATERN_NU)) ** -(MATERN_NU + 1)


def structure_integral(psf: LocalPSF) -> jax.Array:
    """Integral of D S over the plane."""
    return jnp.sum(mode_integrals(psf, INTEGRAL_NODES) * jnp.asarray(psf.coefficients))


def mode_integrals(psf: LocalPSF, nodes: int) -> jax.Array:
    """Integrals (M, M) over the plane of D phi_i phi_j, by ``nodes`` Gauss-Legendre nodes per axis in the warped
    coordinate.
    """
    node, weight = np.polynomial.legendre.leggauss(nodes)
    far = jnp.arcsinh((1 + 2.7 * TAPER_PER_EDGE) * psf.edge / psf.u0)
    u = psf.u0 * jnp.sinh(far * node)
    du = weight * far * jnp.sqrt(u * u + jnp.asarray(psf.u0) ** 2)
    theta = jnp.asarray(psf.theta)
    d = envelope(moffat(theta, u, u, 2), theta, u, u, psf.edge) * du[:, None] * du[None, :]
    phi, _ = basis(u, jnp.shape(psf.coefficients)[0], psf.u0, psf.extent, psf.edge)
    return phi.T @ d @ phi


def evaluate_psf(psf: LocalPSF, u: jax.Array, v: jax.Array, *, quadrature: int) -> jax.Array:
    """P on the tensor lattice of offsets u (nu,), v (nv,) px from the star: (nv, nu). Jittable.

    ``quadrature`` is static (PSFModel.quadrature). For a star at x in a cutout: u = j - x.
    """
    theta, c = jnp.asarray(psf.theta), jnp.asarray(psf.coefficients)
    m = moffat(theta, u, v, quadrature)
    d = envelope(m, theta, u, v, psf.edge)
    phi_u, _ = basis(u, c.shape[0], psf.u0, psf.extent, psf.edge)
    phi_v, _ = basis(v, c.shape[0], psf.u0, psf.extent, psf.edge)
    return psf.amplitude * (m + d * (phi_v @ (c @ phi_u.T)))


def evaluate_psf_with_gradient(
    psf: LocalPSF, u: jax.Array, v: jax.Array, *, quadrature: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(P, dP/du, dP/dv) on the tensor lattice, each (nv, nu). Jittable.

    The derivative with respect to the star's position x is -dP/du.
    """
    theta, c = jnp.asarray(psf.theta), jnp.asarray(psf.coefficients)
    m, m_u, m_v = moffat_with_gradient(theta, u, v, quadrature)
    d = envelope(m, theta, u, v, psf.edge)
    phi_u, dphi_u = basis(u, c.shape[0], psf.u0, psf.extent, psf.edge)
    phi_v, dphi_v = basis(v, c.shape[0], psf.u0, psf.extent, psf.edge)
    s = phi_v @ (c @ phi_u.T)
    scale = 1 + ENVELOPE_POWER * d / m * s
    p_u = m_u * scale + d * (phi_v @ (c @ dphi_u.T) + s * taper(u, psf.edge)[1][None, :])
    p_v = m_v * scale + d * (dphi_v @ (c @ phi_u.T) + s * taper(v, psf.edge)[1][:, None])
    return psf.amplitude * (m + d * s), psf.amplitude * p_u, psf.amplitude * p_v
