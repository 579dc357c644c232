"""Gauss-Newton fit of the PSF of one frame, compiled; many frames in one call.

Two stages. First the Moffat alone, jointly with flux and position of every star, the stars being
eliminated by their Schur complement. Then, with the Moffat frozen, the structure S under a Matern
prior whose amplitude comes from the evidence (MacKay 1992, Neural Computation 4, 415). The normal
matrix of the K n^2 x M^2 design is never formed from it: cos a cos a' = [cos(a + a') + cos(a - a')] / 2
makes it a rearrangement of a (2M - 1) x (2M - 1) table of weighted cosine sums.

Exact degeneracies between S and (flux, position) are closed by a heavy prior along three gauge rows.
Step counts are fixed, and one common factor shortens a step: components are never clipped apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from lightwatch.processes.psf_jax import AnyArray, core_jit, jax, jnp
from lightwatch.processes.psf_moffat_stage import MOFFAT_STEPS, moffat_step, starting_point, trusted
from lightwatch.processes.psf_profile import (
    ENVELOPE_POWER,
    WARP_SLACK,
    LocalPSF,
    basis,
    cosines,
    envelope,
    evaluate_psf,
    mode_norms,
    moffat_jacobian,
    moffat_with_gradient,
    prior_variance,
    structure_integral,
    taper,
    warp_scale,
)
from lightwatch.processes.psf_stars import (
    POSITION_STEP_PX,
    FrameStars,
    Stars,
    local_theta,
    pixel_grid,
    pixel_weights,
    star_jacobian,
    star_system,
    theta_systems,
)

FULL_STEPS = 4
FLUX_STEP = 0.6
GAUGE_WEIGHT = 1e3
PROBES = 16
SMALLEST_START_SIGMA = 0.003
SMALLEST_SIGMA = 1e-5
JITTER = 1e-12
FWHM_NODES = 128


class Solution(NamedTuple):
    """What is known of one frame at the end; LocalPSF.theta etc. are at the centre of the frame."""

    theta: AnyArray  # (3, 4)
    psf: LocalPSF
    amplitude: AnyArray  # (3,) of the terms 1, X, Y
    stars: Stars  # flux of the whole plane
    present: AnyArray  # (K,) 1 for the stars that took part
    suspect: AnyArray  # (K,) left out of the second stage: not like the others
    model: AnyArray  # (K, n, n)
    model_variance: AnyArray  # (K, n, n)
    sigma: AnyArray
    effective_modes: AnyArray
    last_step: AnyArray  # largest relative step of the last iteration
    norm: AnyArray  # fraction of the flux inside a centred cutout
    fwhm: AnyArray  # px, from the area above half of the maximum
    theta_information: AnyArray  # (K, 4, 4) of each star about its own theta
    theta_score: AnyArray  # (K, 4)


class FullState(NamedTuple):
    """State of the second stage."""

    z: AnyArray  # (M^2,) whitened coefficients
    stars: Stars
    log_variance: AnyArray  # ln sigma^2 of the prior
    effective_modes: AnyArray
    last_step: AnyArray


def _product_table(count: int) -> np.ndarray:
    """phi_a phi_b = sum_q table[ab, q] cos(q pi (s + L) / 2L) / L: (count^2, 2 count - 1)."""
    norms = mode_norms(count)
    a, b = np.indices((count, count))
    table = np.zeros((count, count, 2 * count - 1))
    np.add.at(table, (a, b, a + b), norms[a] * norms[b] / 2)
    np.add.at(table, (a, b, np.abs(a - b)), norms[a] * norms[b] / 2)
    return table.reshape(count * count, 2 * count - 1)


class _Frozen(NamedTuple):
    """What the second stage keeps fixed."""

    local: jax.Array  # (K, 4) theta of each star
    u0: jax.Array  # (K,)
    extent: jax.Array
    edge: float
    whitening: jax.Array  # (M^2,) c = whitening * z
    gauge: jax.Array  # (3, M^2) unit rows that S must not contain


def _freeze(frame: FrameStars, theta: jax.Array, modes: int, quadrature: int) -> _Frozen:
    n = frame.data.shape[-1]
    edge = n / 2
    u0 = warp_scale(theta)
    extent = WARP_SLACK * jnp.arcsinh((edge + 1) / u0)
    whitening = jnp.sqrt(prior_variance(modes, extent)).ravel()
    g = pixel_grid(n)
    m, m_u, m_v = moffat_with_gradient(theta, g, g, quadrature)
    d = envelope(m, theta, g, g, edge)
    phi, _ = basis(g, modes, u0, extent, edge)
    rows = jnp.stack([phi.T @ (d * q) @ phi for q in (m, m_u, m_v)]).reshape(3, -1) * whitening
    rows = rows / jnp.linalg.norm(rows, axis=1, keepdims=True)
    local = local_theta(frame, theta)
    return _Frozen(local, jax.vmap(warp_scale)(local), extent, edge, whitening, rows)


def _render(frozen: _Frozen, c: jax.Array, stars: Stars, n: int, quadrature: int) -> tuple[jax.Array, ...]:
    """(P, dP/du, dP/dv, D, phi_x, phi_y) of all stars, P not normalised; leading axis K."""

    def one(theta: jax.Array, u0: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
        u, v = pixel_grid(n) - x, pixel_grid(n) - y
        m, m_u, m_v = moffat_with_gradient(theta, u, v, quadrature)
        d = envelope(m, theta, u, v, frozen.edge)
        phi_u, dphi_u = basis(u, c.shape[0], u0, frozen.extent, frozen.edge)
        phi_v, dphi_v = basis(v, c.shape[0], u0, frozen.extent, frozen.edge)
        s = phi_v @ (c @ phi_u.T)
        scale = 1 + ENVELOPE_POWER * d / m * s
        p_u = m_u * scale + d * (phi_v @ (c @ dphi_u.T) + s * taper(u, frozen.edge)[1][None, :])
        p_v = m_v * scale + d * (dphi_v @ (c @ phi_u.T) + s * taper(v, frozen.edge)[1][:, None])
        return m + d * s, p_u, p_v, d, phi_u, phi_v

    return jax.vmap(one)(frozen.local, frozen.u0, stars.x, stars.y)


def _structure_matrix(frozen: _Frozen, stars: Stars, weight: jax.Array, modes: int) -> jax.Array:
    """Normal matrix (M^2, M^2) of the whitened coefficients for pixel weights w f^2 D^2 (K, n, n)."""
    n = weight.shape[-1]
    wave = jax.vmap(lambda p, u0: cosines(pixel_grid(n) - p, 2 * modes - 1, u0, frozen.extent, frozen.edge))
    wave_x, wave_y = wave(stars.x, frozen.u0), wave(stars.y, frozen.u0)
    q = 2 * modes - 1
    table = wave_y.reshape(-1, q).T @ (weight @ wave_x).reshape(-1, q)
    product = jnp.asarray(_product_table(modes)) / frozen.extent
    pairs = (product @ table @ product.T).reshape(modes, modes, modes, modes)
    h = pairs.transpose(0, 2, 1, 3).reshape(modes * modes, modes * modes)
    return h * frozen.whitening[:, None] * frozen.whitening[None, :]


class _Reduced(NamedTuple):
    """Normal equations of z with the stars eliminated, and what back-substitution needs."""

    h: jax.Array  # (M^2, M^2)
    g: jax.Array  # (M^2,)
    factor: jax.Array  # (K, 3, 3) lower Cholesky factors of the star blocks
    y: jax.Array  # (K, 3, M^2 + 1)


def _reduced_system(
    frame: FrameStars, frozen: _Frozen, state: FullState, modes: int, quadrature: int
) -> _Reduced:
    """Linearise the model around the state and eliminate the stars."""
    n = frame.data.shape[-1]
    stars = state.stars
    c = (frozen.whitening * state.z).reshape(modes, modes)
    p, p_u, p_v, d, phi_x, phi_y = _render(frozen, c, stars, n, quadrature)
    model = stars.flux[:, None, None] * p
    w, _ = pixel_weights(frame, model, frame.model_error)
    r = frame.data - model
    j = star_jacobian(stars.flux, p, p_u, p_v)
    fd = stars.flux[:, None, None] * d
    h = _structure_matrix(frozen, stars, w * fd * fd, modes)
    columns = (w * fd)[:, None] * jnp.concatenate([j, r[:, None]], 1)
    cross = jnp.einsum("kia,kcib->kcab", phi_y, columns @ phi_x[:, None])
    cross = cross.reshape(*cross.shape[:2], -1) * frozen.whitening
    star_h, star_g = star_system(frame, stars, j, w, r)
    factor = jnp.linalg.cholesky(star_h)
    y = jax.scipy.linalg.solve_triangular(
        factor, jnp.concatenate([cross[:, :3], star_g[..., None]], -1), lower=True
    )
    flat = y.reshape(-1, y.shape[-1])
    return _Reduced(
        h - flat[:, :-1].T @ flat[:, :-1], cross[:, 3].sum(0) - flat[:, :-1].T @ flat[:, -1], factor, y
    )


def _moment_variance(system: _Reduced, largest: jax.Array) -> jax.Array:
    """sigma^2 of the prior by the method of moments at z = 0: E|g|^2 = tr H + sigma^2 |H|_F^2."""
    excess = (system.g**2).sum() - jnp.trace(system.h)
    return jnp.clip(excess / (system.h**2).sum(), jnp.minimum(SMALLEST_START_SIGMA, largest) ** 2, largest**2)


def _solve_structure(
    system: _Reduced, frozen: _Frozen, z: jax.Array, tau: jax.Array, probes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Step of z, and the trace of the inverse of its matrix by random probes (Hutchinson 1989)."""
    gauge = GAUGE_WEIGHT * frozen.gauge.T @ frozen.gauge
    a = system.h + tau * (jnp.eye(len(z)) + gauge)
    rhs = system.g - tau * (z + gauge @ z)
    scale = jnp.sqrt(jnp.diag(a))
    factor = jnp.linalg.cholesky(a / scale[:, None] / scale[None, :] + JITTER * jnp.eye(len(z)))
    solved = jax.scipy.linalg.solve_triangular(
        factor, jnp.concatenate([(rhs / scale)[:, None], probes / scale[:, None]], 1), lower=True
    )
    dz = jax.scipy.linalg.solve_triangular(factor.T, solved[:, 0], lower=False) / scale
    return dz, (solved[:, 1:] ** 2).sum() / probes.shape[1]


def _full_step(
    index: jax.Array, state: FullState, frame: FrameStars, frozen: _Frozen, probes: jax.Array, modes: int,
    quadrature: int,
) -> FullState:  # fmt: skip
    """One Gauss-Newton step of S and the stars, and one update of the prior's amplitude."""
    system = _reduced_system(frame, frozen, state, modes, quadrature)
    log_variance = jnp.where(
        index == 0, jnp.log(_moment_variance(system, frame.largest_sigma)), state.log_variance
    )
    tau = jnp.exp(-log_variance)
    dz, trace = _solve_structure(system, frozen, state.z, tau, probes)
    rhs = system.y[..., -1:] - (system.y[..., :-1] @ dz)[..., None]
    ds = jax.scipy.linalg.solve_triangular(jnp.swapaxes(system.factor, 1, 2), rhs, lower=False)[..., 0]
    ds = ds * frame.present[:, None]
    moved = jnp.abs(ds[:, 1:]).max()
    brightened = jnp.abs(ds[:, 0] / state.stars.flux).max()
    factor = jnp.minimum(1.0, jnp.minimum(POSITION_STEP_PX / moved, FLUX_STEP / brightened))
    z = state.z + factor * dz
    stars = Stars(*(old + factor * ds[:, i] for i, old in enumerate(state.stars)))
    modes_determined = jnp.clip(len(z) - tau * trace, 2.0, len(z))
    updated = jnp.log(((z**2).sum() + 1e-12) / modes_determined)
    updated = jnp.clip(updated, log_variance - 5, log_variance + 3)
    updated = jnp.clip(updated, 2 * np.log(SMALLEST_SIGMA), 2 * jnp.log(frame.largest_sigma))
    relative = jnp.sqrt((dz**2).sum() / modes_determined / jnp.exp(log_variance))
    last_step = jnp.maximum(jnp.maximum(moved, brightened), relative * jnp.exp(log_variance / 2))
    return FullState(z, stars, updated, modes_determined, last_step)


def _amplitudes(frozen: _Frozen, theta: jax.Array, c: jax.Array) -> jax.Array:
    """1 / plane integral of P at the centre and its slopes along X and Y: (3,)."""
    places = jnp.array([[1.0, 0, 0], [1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1]])

    def amplitude(place: jax.Array) -> jax.Array:
        local = place @ theta
        psf = LocalPSF(local, c, warp_scale(local), frozen.extent, frozen.edge, 1.0)
        return 1 / (1 + structure_integral(psf))

    a = jax.lax.map(amplitude, places)
    return jnp.stack([a[0], (a[1] - a[2]) / 2, (a[3] - a[4]) / 2])


def _assess(
    frame: FrameStars, frozen: _Frozen, theta: jax.Array, state: FullState, modes: int, quadrature: int
) -> Solution:
    """Model, variance and each star's opinion about theta at the solution; fluxes of the whole plane."""
    n = frame.data.shape[-1]
    stars = state.stars
    c = (frozen.whitening * state.z).reshape(modes, modes)
    p, p_t, p_u, p_v = _render_with_theta(frozen, c, stars, n, quadrature)
    model = stars.flux[:, None, None] * p
    w, variance = pixel_weights(frame, model, frame.model_error)
    r = frame.data - model
    j = star_jacobian(stars.flux, p, p_u, p_v)
    h, g = star_system(frame, stars, j, w, r)
    information, score, _ = theta_systems(stars.flux[:, None, None, None] * p_t, j, w, r, h, g)
    terms = jnp.concatenate([theta[None], frame.gradient])
    amplitude = _amplitudes(frozen, terms, c)
    psf = LocalPSF(theta, c, warp_scale(theta), frozen.extent, frozen.edge, amplitude[0])
    return Solution(
        theta=terms,
        psf=psf,
        amplitude=amplitude,
        stars=stars._replace(flux=stars.flux / (frame.terms @ amplitude)),
        present=frame.present,
        suspect=frame.present < 0,
        model=model,
        model_variance=variance,
        sigma=jnp.exp(state.log_variance / 2),
        effective_modes=state.effective_modes,
        last_step=state.last_step,
        norm=evaluate_psf(psf, pixel_grid(n), pixel_grid(n), quadrature=quadrature).sum(),
        fwhm=_fwhm(psf, quadrature),
        theta_information=information,
        theta_score=score,
    )


def _render_with_theta(
    frozen: _Frozen, c: jax.Array, stars: Stars, n: int, quadrature: int
) -> tuple[jax.Array, ...]:
    """(P, dP/dtheta (K, 4, n, n), dP/du, dP/dv) of all stars, P not normalised.

    S stretches with the FWHM: dS = -(u S_u + v S_v) d ln u0.
    """

    def one(theta: jax.Array, u0: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
        u, v = pixel_grid(n) - x, pixel_grid(n) - y
        m, m_u, m_v, m_t = moffat_jacobian(theta, u, v, quadrature)
        d = envelope(m, theta, u, v, frozen.edge)
        phi_u, dphi_u = basis(u, c.shape[0], u0, frozen.extent, frozen.edge)
        phi_v, dphi_v = basis(v, c.shape[0], u0, frozen.extent, frozen.edge)
        s, s_u, s_v = phi_v @ (c @ phi_u.T), phi_v @ (c @ dphi_u.T), dphi_v @ (c @ phi_u.T)
        scale = 1 + ENVELOPE_POWER * d / m * s
        stretch = -d * (u[None, :] * s_u + v[:, None] * s_v)
        by_theta = m_t * scale + jax.grad(lambda t: jnp.log(warp_scale(t)))(theta)[:, None, None] * stretch
        return m + d * s, by_theta, m_u * scale + d * s_u, m_v * scale + d * s_v

    return jax.vmap(one)(frozen.local, frozen.u0, stars.x, stars.y)


def _fwhm(psf: LocalPSF, quadrature: int) -> jax.Array:
    """FWHM (px) of the pixel-integrated PSF, of the circle as large as the area above half maximum."""
    offsets = jnp.linspace(-1.1, 1.1, FWHM_NODES) * psf.u0
    p = evaluate_psf(psf, offsets, offsets, quadrature=quadrature)
    area = (p > p.max() / 2).sum() * (offsets[1] - offsets[0]) ** 2
    return jnp.sqrt(4 * area / jnp.pi)


def solve_frame(frame: FrameStars, *, modes: int, quadrature: int) -> Solution:
    """Fit one frame; jittable, ``modes`` and ``quadrature`` static."""
    theta, stars = starting_point(frame, quadrature)
    start = theta
    theta, stars = jax.lax.fori_loop(
        0, MOFFAT_STEPS, lambda _, s: moffat_step(frame, s[0], s[1], start, quadrature), (theta, stars)
    )
    frame, suspect = trusted(frame, theta, stars, quadrature)
    frozen = _freeze(frame, theta, modes, quadrature)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (modes * modes, PROBES))
    zero = jnp.zeros(())
    state = FullState(jnp.zeros(modes * modes), stars, zero, zero, zero)
    step = partial(
        _full_step, frame=frame, frozen=frozen, probes=jnp.asarray(signs), modes=modes, quadrature=quadrature
    )
    state = jax.lax.fori_loop(0, FULL_STEPS, step, state)
    return _assess(frame, frozen, theta, state, modes, quadrature)._replace(suspect=suspect)


def _single(solve: Callable[[FrameStars], Solution], frames: FrameStars) -> Solution:
    """A batch of one frame: linear algebra is twice as fast without a leading axis."""
    return jax.tree.map(lambda a: jnp.asarray(a)[None], solve(jax.tree.map(lambda a: a[0], frames)))


def _solve_blocks(frames: FrameStars, count: jax.Array, *, modes: int, quadrature: int) -> Solution:
    """Fit the first ``count`` of B blocks of frames, fields (B, frames per block, ...).

    The count is not static: a last batch that is not full costs neither a compilation nor time.
    """
    one = partial(solve_frame, modes=modes, quadrature=quadrature)
    solve = jax.vmap(one) if frames.data.shape[1] > 1 else partial(_single, one)
    shapes = jax.eval_shape(solve, jax.tree.map(lambda a: a[0], frames))
    blocks = frames.data.shape[0]
    empty = jax.tree.map(lambda a: jnp.zeros((blocks, *a.shape), a.dtype), shapes)

    def body(i: jax.Array, out: Solution) -> Solution:
        solution = solve(jax.tree.map(lambda a: a[i], frames))
        return jax.tree.map(lambda o, s: o.at[i].set(s), out, solution)

    return jax.lax.fori_loop(0, count, body, empty)


solve_blocks = core_jit(_solve_blocks, static=("modes", "quadrature"))
