"""Gauss-Newton fit of the PSF of one frame, compiled; many frames in one call.

Two stages. First the Moffat alone, jointly with flux and position of every star, the stars being
eliminated by their Schur complement. Then, with the Moffat frozen, the structure S under a Matern
prior whose amplitude comes from the evidence (MacKay 1992, Neural Computation 4, 415). The normal
matrix of the K n^2 x M^2 design is never formed from it: cos a cos a' = [cos(a + a') + cos(a - a')] / 2
makes it a rearrangement of a (2M - 1) x (2M - 1) table of weighted cosine sums.

Exact degeneracies between S and (flux, position) are closed by a heavy prior along three gauge rows.
One common factor shortens a step: components are never clipped apart.

The host says which steps to make (Step): all of them for a new frame, a few of the second stage when
only some pixels of a fitted frame have changed. Steps are data, so both are one compiled program, and
all of them share one rendering of the stars, which is most of what there is to compile.
"""

from __future__ import annotations

from enum import IntEnum
from functools import partial
from typing import NamedTuple

import numpy as np

from lightwatch.processes.psf_jax import AnyArray, core_jit, jax, jnp
from lightwatch.processes.psf_moffat_stage import matched_fluxes, moffat_step, trust
from lightwatch.processes.psf_profile import (
    LocalPSF,
    basis,
    envelope,
    mode_integrals,
    mode_norms,
    moffat_with_gradient,
    warp_scale,
)
from lightwatch.processes.psf_stars import (
    POSITION_STEP_PX,
    FitState,
    FrameStars,
    Picture,
    Stars,
    Structure,
    pixel_grid,
    pixel_weights,
    render_stars,
    star_jacobian,
    star_system,
    structure_of,
    theta_systems,
)

FLUX_STEP = 0.6
GAUGE_WEIGHT = 1e3
PROBES = 16
NODES_FOR_AN_ERROR = 40  # of the plane integral, per axis; the flux itself takes more
SMALLEST_START_SIGMA = 0.003
SMALLEST_SIGMA = 1e-5
JITTER = 3e-7  # of the diagonal: rounding of the float32 pixels
MOST_STEPS = 16


class Step(IntEnum):
    """What the fit of a frame may do next."""

    FLUXES = 0  # matched filter
    MOFFAT = 1
    TRUST = 2  # choose the stars of the second stage
    STRUCTURE = 3
    ASSESS = 4  # compare the model at the state with the data: always the last


class Assessment(NamedTuple):
    """The model at a state, and each star's opinion about theta there."""

    model: AnyArray  # (K, n, n)
    model_variance: AnyArray  # (K, n, n)
    theta_information: AnyArray  # (K, 4, 4) of each star about its own theta
    theta_score: AnyArray  # (K, 4)
    flux_pull: AnyArray  # (K,) sigma by which each star wants another total flux than all together


class Solution(NamedTuple):
    """What is known of one frame at the end."""

    state: FitState
    assessment: Assessment


def _product_table(count: int) -> np.ndarray:
    """phi_a phi_b = sum_q table[ab, q] cos(q pi (s + L) / 2L) / L: (count^2, 2 count - 1)."""
    norms = mode_norms(count)
    a, b = np.indices((count, count))
    table = np.zeros((count, count, 2 * count - 1))
    np.add.at(table, (a, b, a + b), norms[a] * norms[b] / 2)
    np.add.at(table, (a, b, np.abs(a - b)), norms[a] * norms[b] / 2)
    return table.reshape(count * count, 2 * count - 1)


def _gauge_rows(structure: Structure, theta: jax.Array, n: int, modes: int) -> jax.Array:
    """Unit rows (3, M^2) of z that change flux and position of a star: S must not contain them."""
    g = pixel_grid(n)
    m, m_u, m_v = moffat_with_gradient(theta, g, g, 2)
    d = envelope(m, theta, g, g, structure.edge)
    phi, _ = basis(g, modes, warp_scale(theta), structure.extent, structure.edge)
    rows = jnp.stack([phi.T @ (d * q) @ phi for q in (m, m_u, m_v)]).reshape(3, -1) * structure.whitening
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)


def _structure_matrix(structure: Structure, picture: Picture, weight: jax.Array, modes: int) -> jax.Array:
    """Normal matrix (M^2, M^2) of the whitened coefficients for pixel weights w f^2 D^2 (K, n, n)."""
    q = 2 * modes - 1
    along_x = (weight.astype(jnp.float64) @ picture.wave_x).reshape(-1, q)
    table = picture.wave_y.reshape(-1, q).T @ along_x
    product = jnp.asarray(_product_table(modes)) / structure.extent
    pairs = (product @ table @ product.T).reshape(modes, modes, modes, modes)
    h = pairs.transpose(0, 2, 1, 3).reshape(modes * modes, modes * modes)
    return h * structure.whitening[:, None] * structure.whitening[None, :]


class _Reduced(NamedTuple):
    """Normal equations of z with the stars eliminated, and what back-substitution needs."""

    h: jax.Array  # (M^2, M^2)
    g: jax.Array  # (M^2,)
    factor: jax.Array  # (K, 3, 3) lower Cholesky factors of the star blocks
    y: jax.Array  # (K, 3, M^2 + 1)


def _reduced_system(
    frame: FrameStars, structure: Structure, state: FitState, picture: Picture, modes: int
) -> _Reduced:
    """Linearise the model around the state and eliminate the stars."""
    flux = state.stars.flux.astype(picture.p.dtype)[:, None, None]
    w, _ = pixel_weights(frame, state, picture, frame.model_error)
    r = frame.data - picture.model
    j = star_jacobian(state.stars.flux, picture)
    fd = flux * picture.d
    h = _structure_matrix(structure, picture, w * fd * fd, modes)
    columns = (w * fd)[:, None] * jnp.concatenate([j, r[:, None]], 1)
    along_x = columns.astype(jnp.float64) @ picture.phi_x[:, None]
    cross = jnp.swapaxes(picture.phi_y, 1, 2)[:, None] @ along_x
    cross = cross.reshape(*cross.shape[:2], -1) * structure.whitening
    star_h, star_g = star_system(frame, state, j, w, r)
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


def _flux_row(structure: Structure, theta: jax.Array, z: jax.Array, n: int, modes: int) -> jax.Array:
    """d ln(flux) / dz (M^2,) of a faint star (noise of the sky) measured with the PSF, flux of the whole plane.

    What a change of S adds to the plane makes fluxes larger, what it adds where the star is seen smaller.
    """
    c = (structure.whitening * z).reshape(modes, modes)
    psf = LocalPSF(theta, c, warp_scale(theta), structure.extent, structure.edge, 1.0)
    integrals = mode_integrals(psf, NODES_FOR_AN_ERROR)
    g = pixel_grid(n)
    m, _, _ = moffat_with_gradient(theta, g, g, 2)
    d = envelope(m, theta, g, g, structure.edge)
    phi, _ = basis(g, modes, psf.u0, structure.extent, structure.edge)
    p = m + d * (phi @ c @ phi.T)
    seen = phi.T @ (d * p) @ phi / (p * p).sum()
    return (integrals / (1 + (integrals * c).sum()) - seen).ravel() * structure.whitening


def _solve_structure(
    system: _Reduced, gauge: jax.Array, z: jax.Array, tau: jax.Array, row: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Step of z, the trace of the inverse of its matrix by random probes (Hutchinson 1989), and the covariance
    (M^2,) of z with ``row`` (M^2,) times z.
    """
    probes = np.random.default_rng(0).choice([-1.0, 1.0], (len(z), PROBES))
    a = system.h + (tau * GAUGE_WEIGHT) * (gauge.T @ gauge) + tau * jnp.eye(len(z))
    rhs = system.g - tau * (z + GAUGE_WEIGHT * (gauge.T @ (gauge @ z)))
    scale = jnp.sqrt(jnp.diag(a))
    factor = jnp.linalg.cholesky(a / scale[:, None] / scale[None, :] + JITTER * jnp.eye(len(z)))
    solved = jax.scipy.linalg.solve_triangular(
        factor,
        jnp.concatenate([rhs[:, None], row[:, None], jnp.asarray(probes)], 1) / scale[:, None],
        lower=True,
    )
    back = jax.scipy.linalg.solve_triangular(factor.T, solved[:, :2], lower=False) / scale[:, None]
    return back[:, 0], (solved[:, 2:] ** 2).sum() / PROBES, back[:, 1]


def structure_step(
    frame: FrameStars, structure: Structure, state: FitState, picture: Picture, modes: int
) -> FitState:
    """One Gauss-Newton step of S and the stars, and one update of the prior's amplitude."""
    system = _reduced_system(frame, structure, state, picture, modes)
    started = state.effective_modes > 0
    moments = jnp.log(_moment_variance(system, frame.largest_sigma))
    log_variance = jnp.where(started, state.log_variance, moments)
    tau = jnp.exp(-log_variance)
    gauge = _gauge_rows(structure, state.theta, frame.data.shape[-1], modes)
    row = _flux_row(structure, state.theta, state.z, frame.data.shape[-1], modes)
    dz, trace, direction = _solve_structure(system, gauge, state.z, tau, row)
    rhs = system.y[..., -1:] - (system.y[..., :-1] @ dz)[..., None]
    ds = jax.scipy.linalg.solve_triangular(jnp.swapaxes(system.factor, 1, 2), rhs, lower=False)[..., 0]
    ds = ds * state.present[:, None]
    moved = jnp.abs(ds[:, 1:]).max()
    brightened = jnp.abs(ds[:, 0] / state.stars.flux).max()
    factor = jnp.minimum(1.0, jnp.minimum(POSITION_STEP_PX / moved, FLUX_STEP / brightened))
    z = state.z + factor * dz
    modes_determined = jnp.clip(len(z) - tau * trace, 2.0, len(z))
    updated = jnp.log(((z**2).sum() + 1e-12) / modes_determined)
    updated = jnp.clip(updated, log_variance - 5, log_variance + 3)
    updated = jnp.clip(updated, 2 * np.log(SMALLEST_SIGMA), 2 * jnp.log(frame.largest_sigma))
    relative = jnp.sqrt((dz**2).sum() / modes_determined)
    return state._replace(
        z=z,
        stars=Stars(*(old + factor * ds[:, i] for i, old in enumerate(state.stars))),
        log_variance=updated,
        effective_modes=modes_determined,
        total_flux_error=jnp.sqrt(row @ direction),
        flux_direction=direction,
        last_step=jnp.maximum(jnp.maximum(moved, brightened), relative),
    )


def assess(frame: FrameStars, structure: Structure, state: FitState, picture: Picture) -> Assessment:
    """The model at the state beside the data."""
    w, variance = pixel_weights(frame, state, picture, frame.model_error)
    r = frame.data - picture.model
    j = star_jacobian(state.stars.flux, picture)
    h, g = star_system(frame, state, j, w, r)
    flux = state.stars.flux.astype(r.dtype)[:, None, None]
    information, score, _ = theta_systems(flux[:, None] * picture.p_theta, j, w, r, h, g)
    modes = picture.phi_x.shape[-1]
    towards = (structure.whitening * state.flux_direction).reshape(modes, modes)
    change = picture.phi_y @ towards @ jnp.swapaxes(picture.phi_x, 1, 2)
    brighter = (flux * picture.d * change.astype(r.dtype))[:, None]
    own, wish, _ = theta_systems(brighter, j, w, r, h, g)
    pull = wish[:, 0] / jnp.sqrt(jnp.maximum(own[:, 0, 0], 1e-300))
    return Assessment(picture.model, variance, information, score, pull)


def solve_frame(
    frame: FrameStars, start: FitState, steps: jax.Array, count: jax.Array, *, modes: int, quadrature: int
) -> Solution:
    """Make the first ``count`` of ``steps`` from ``start``; jittable, ``modes`` and ``quadrature`` static."""

    def body(i: jax.Array, carried: tuple[FitState, Assessment]) -> tuple[FitState, Assessment]:
        state, assessment = carried
        structure = structure_of(frame, state.theta, modes)
        first_stage = (
            steps[i] < Step.STRUCTURE
        )  # of the Moffat alone, also in a fit that goes on from a last one
        seen = state._replace(z=jnp.where(first_stage, 0.0, state.z))
        picture = render_stars(frame, structure, seen, modes, quadrature)
        return jax.lax.switch(
            steps[i],
            [
                lambda: (matched_fluxes(frame, state, picture), assessment),
                lambda: (moffat_step(frame, state, picture), assessment),
                lambda: (trust(frame, state, picture), assessment),
                lambda: (structure_step(frame, structure, state, picture, modes), assessment),
                lambda: (state, assess(frame, structure, state, picture)),
            ],
        )

    k = len(frame.present)
    blank, none = jnp.zeros_like(frame.data), jnp.zeros((k, 4))
    nothing = Assessment(blank, blank, jnp.zeros((k, 4, 4)), none, none[:, 0])
    return Solution(*jax.lax.fori_loop(0, count, body, (start, nothing)))


def _solve_block(
    frames: tuple[FrameStars, FitState], steps: jax.Array, *, modes: int, quadrature: int
) -> Solution:
    """Fit the frames of one block, fields (1, frames per block, ...)."""
    count = (steps >= 0).sum()
    one = partial(solve_frame, steps=steps, count=count, modes=modes, quadrature=quadrature)
    if frames[0].data.shape[1] == 1:  # linear algebra is twice as fast without a leading axis
        solution = one(*jax.tree.map(lambda a: a[0, 0], frames))
        return jax.tree.map(lambda a: jnp.asarray(a)[None, None], solution)
    solutions = jax.vmap(one)(*jax.tree.map(lambda a: a[0], frames))
    return jax.tree.map(lambda a: a[None], solutions)


solve_block = core_jit(_solve_block, static=("modes", "quadrature"))


def as_steps(*steps: tuple[Step, int]) -> np.ndarray:
    """(step, how often) ... as the compiled program takes them; the assessment is added."""
    made = [int(step) for step, times in steps for _ in range(times)] + [int(Step.ASSESS)]
    if len(made) > MOST_STEPS:
        raise ValueError(f"{len(made)} steps, at most {MOST_STEPS}")
    return np.array(made + [-1] * (MOST_STEPS - len(made)), dtype=np.int32)
