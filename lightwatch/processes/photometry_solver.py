"""Gauss-Newton photometry of one star with a known PSF, compiled; many (star, frame) pairs in one call.

Weights come from the variance of the model, recomputed at every step: with the variance of the data
themselves, noise peaks lower their own weight and faint stars come out up to 1.5 % too faint.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from lightwatch.processes.psf_jax import AnyArray, core_jit, jax, jnp
from lightwatch.processes.psf_profile import LocalPSF, evaluate_psf_with_gradient

STEPS = 6
POSITION_STEP_PX = 0.7
BLOCK = 8  # pairs solved side by side: small enough for the cache of a CPU core
JITTER = 1e-12
ROBUST_MODEL_ERROR = 0.05


class Pair(NamedTuple):
    """One star in one frame with its N known neighbours."""

    data: AnyArray  # (n, n)
    variance: AnyArray  # (n, n) of the background, positive everywhere
    weight: AnyArray  # (n, n) 1 where a pixel counts, else 0
    exposure: AnyArray  # () electrons per data unit
    model_error: AnyArray  # () of the PSF, fraction of the light
    offset: AnyArray  # (2,) predicted (x, y) from the centre of the cutout
    position_precision: AnyArray  # () 1 / px^2 of the prediction
    background_precision: AnyArray  # () of a background of zero; huge where none is fitted
    robust_sigma: AnyArray  # () residuals beyond lose weight (Cauchy); huge for least squares
    neighbour_offset: AnyArray  # (N, 2)
    neighbour_present: AnyArray  # (N,) 1 or 0
    psf: LocalPSF


class PairSolution(NamedTuple):
    """Result for one pair; fluxes of the whole plane."""

    flux: AnyArray
    flux_variance: AnyArray
    position: AnyArray  # (2,)
    background: AnyArray
    neighbour_flux: AnyArray  # (N,)
    model: AnyArray  # (n, n) everything
    neighbour_model: AnyArray  # (n, n) neighbours and background
    variance: AnyArray  # (n, n) of the model
    chi2: AnyArray
    coverage: AnyArray  # fraction of the information about the flux that good pixels hold
    contamination: AnyArray  # light of neighbours in the star's own filter, fraction of its flux
    flux_step: AnyArray  # last step, in sigma


def _sources(pair: Pair, position: jax.Array, quadrature: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(P, dP/du, dP/dv) of the star and its neighbours, which move with it: (1 + N, n, n) each."""
    n = pair.data.shape[-1]
    grid = jnp.arange(n) - (n - 1) / 2
    neighbours = pair.neighbour_offset + (position - pair.offset)
    places = jnp.concatenate([position[None], neighbours])
    present = jnp.concatenate([jnp.ones(1), pair.neighbour_present])[:, None, None]
    p, p_u, p_v = jax.vmap(
        lambda o: evaluate_psf_with_gradient(pair.psf, grid - o[0], grid - o[1], quadrature=quadrature)
    )(places)
    return p * present, p_u * present, p_v * present


def _weights(pair: Pair, fluxes: jax.Array, p: jax.Array, residual: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(weights by the noise, variance with the error of the PSF); see psf_stars.pixel_weights."""
    model = jnp.tensordot(fluxes, p, 1)
    granted = pair.model_error**2 * p[0].max() * jnp.tensordot(fluxes**2, jnp.maximum(p, 0), 1)
    variance = pair.variance + jnp.maximum(model, 0) / pair.exposure
    surprise = residual**2 / (variance + (ROBUST_MODEL_ERROR * model) ** 2)
    return pair.weight / variance / (1 + surprise / pair.robust_sigma**2), variance + granted


def _inverse(h: jax.Array) -> jax.Array:
    """Inverse after scaling to a unit diagonal."""
    scale = jnp.sqrt(jnp.diag(h)) + 1e-300
    scaled = h / scale[:, None] / scale[None, :] + JITTER * jnp.eye(len(h))
    return jnp.linalg.inv(scaled) / scale[:, None] / scale[None, :]


def _step(
    pair: Pair, fluxes: jax.Array, position: jax.Array, background: jax.Array, quadrature: int
) -> tuple[jax.Array, ...]:
    """One step of (fluxes (1 + N,), position, background); also the covariance and the step itself."""
    p, p_u, p_v = _sources(pair, position, quadrature)
    model = jnp.tensordot(fluxes, p, 1)
    residual = pair.data - model - background
    w, _ = _weights(pair, fluxes, p, residual)
    d_x, d_y = -jnp.tensordot(fluxes, p_u, 1), -jnp.tensordot(fluxes, p_v, 1)
    j = jnp.concatenate([p, jnp.stack([d_x, d_y, jnp.ones_like(model)])]).reshape(len(fluxes) + 3, -1)
    jw = j * w.ravel()
    idle = jnp.concatenate([jnp.zeros(1), 1 - pair.neighbour_present])
    prior = jnp.concatenate([idle, jnp.stack([pair.position_precision] * 2 + [pair.background_precision])])
    moved = jnp.concatenate([0 * fluxes, position - pair.offset, background[None]])
    covariance = _inverse(jw @ j.T + jnp.diag(prior))
    step = covariance @ (jw @ residual.ravel() - prior * moved)
    shift = jnp.clip(step[-3:-1], -POSITION_STEP_PX, POSITION_STEP_PX)
    return fluxes + step[:-3], position + shift, background + step[-1], covariance, step


def _start(pair: Pair, quadrature: int) -> jax.Array:
    """Matched-filter flux at the predicted position; neighbours start from zero."""
    p = _sources(pair, pair.offset, quadrature)[0][0]
    w = pair.weight / pair.variance
    flux = (w * p * pair.data).sum() / ((w * p * p).sum() + 1e-300)
    return jnp.zeros(1 + len(pair.neighbour_present)).at[0].set(flux)


def solve_pair(pair: Pair, *, quadrature: int) -> PairSolution:
    """Flux, position and background of one star, and the fluxes of its neighbours."""
    size = len(pair.neighbour_present) + 4
    start = (
        _start(pair, quadrature), pair.offset, jnp.zeros(()), jnp.zeros((size, size)), jnp.zeros(size)
    )  # fmt: skip
    fluxes, position, background, covariance, step = jax.lax.fori_loop(
        0, STEPS, lambda _, s: _step(pair, s[0], s[1], s[2], quadrature), start
    )
    p, _, _ = _sources(pair, position, quadrature)
    light = jnp.tensordot(fluxes, p, 1)
    others = light - fluxes[0] * p[0]
    w, variance = _weights(pair, fluxes, p, pair.data - light - background)
    noise = pair.variance + jnp.maximum(light, 0) / pair.exposure
    everything = (p[0] ** 2 / noise).sum()
    information = (w * p[0] ** 2).sum()
    leak = (p[0] * others / noise).sum() / everything
    return PairSolution(
        flux=fluxes[0],
        flux_variance=covariance[0, 0],
        position=position,
        background=background,
        neighbour_flux=fluxes[1:],
        model=light + background,
        neighbour_model=others + background,
        variance=variance,
        chi2=(pair.weight * (pair.data - light - background) ** 2 / variance).sum(),
        coverage=information / everything,
        contamination=leak / jnp.maximum(jnp.abs(fluxes[0]), 1e-300),
        flux_step=jnp.abs(step[0]) / jnp.sqrt(covariance[0, 0]),
    )


def _solve_pairs(pairs: Pair, count: jax.Array, *, quadrature: int) -> PairSolution:
    """Solve the first ``count`` blocks of pairs, fields (B, pairs per block, ...); count is not static."""
    solve = jax.vmap(partial(solve_pair, quadrature=quadrature))
    shapes = jax.eval_shape(solve, jax.tree.map(lambda a: a[0], pairs))
    blocks = pairs.data.shape[0]
    empty = jax.tree.map(lambda a: jnp.zeros((blocks, *a.shape), a.dtype), shapes)

    def body(i: jax.Array, out: PairSolution) -> PairSolution:
        solution = solve(jax.tree.map(lambda a: a[i], pairs))
        return jax.tree.map(lambda o, s: o.at[i].set(s), out, solution)

    return jax.lax.fori_loop(0, count, body, empty)


solve_pairs = core_jit(_solve_pairs, static=("quadrature",))
