"""Gauss-Newton photometry of the stars of one frame with a known PSF.

Rendering a PSF costs far more than the algebra with it, so the PSF of every source is rendered, with its
gradient, at one place, and the star moves about that place to first order::

    m = sum_s f_s (P_s - d . grad P_s) + b,    d displacement common to the star and its neighbours

A star that moved too far for this is rendered again where it went. Only the rendering is compiled: one
program per size of cutout, whatever the number of stars and neighbours.

Weights come from the variance of the model, recomputed at every step: with the variance of the data
themselves, noise peaks lower their own weight and faint stars come out up to 1.5 % too faint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lightwatch.processes.psf_batch import solve_in_batches
from lightwatch.processes.psf_jax import AnyArray, core_jit, jax, jnp
from lightwatch.processes.psf_model import FloatArray, LocalPSF, evaluate_psf_with_gradient

STEPS = 2  # at one rendering: more only reweight
MOST_TURNS = 6
RENDER_AGAIN_FWHM = 0.005  # a displacement d leaves a bias of the flux of about (d / FWHM)^2
STEP_AGAIN_SIGMA = 0.02
BLOCK = 4  # sources rendered side by side: small enough for the cache of a CPU core
BLOCKS = 32  # in one call
CHUNK_PIXELS = 8192  # of the stars solved side by side, likewise
FARTHEST_STEP_PX = 0.7
JITTER = 1e-12
ROBUST_MODEL_ERROR = 0.05

IntArray = NDArray[np.intp]


@dataclass(frozen=True)
class FrameStars:
    """K stars of one frame and the S sources in their cutouts: the stars in order, then their neighbours."""

    data: FloatArray  # (K, n, n)
    variance: FloatArray  # (K, n, n) of the background, positive everywhere
    weight: FloatArray  # (K, n, n) 1 where a pixel counts, else 0
    exposure: float  # electrons per data unit
    model_error: float  # of the PSF, fraction of the light
    fwhm_px: float
    quadrature: int
    psf: LocalPSF  # fields (K, ...)
    offset: FloatArray  # (S, 2) predicted (x, y) from the centre of the cutout
    owner: IntArray  # (S,) in whose cutout a source is


@dataclass(frozen=True)
class Rules:
    """What holds of all stars in a measurement."""

    prediction: FloatArray  # (K, 2) of the positions
    position_sigma_px: float
    robust_sigma: float  # residuals beyond lose weight (Cauchy); infinite for least squares
    fit_background: bool


@dataclass(frozen=True)
class Solution:
    """Measurement of K stars and their neighbours; fluxes of the whole plane."""

    flux: FloatArray  # (S,)
    flux_variance: FloatArray  # (K,)
    position: FloatArray  # (K, 2)
    background: FloatArray  # (K,)
    model: FloatArray  # (K, n, n) everything
    neighbour_model: FloatArray  # (K, n, n) neighbours and background
    variance: FloatArray  # (K, n, n) of the model and of the error of the PSF
    chi2: FloatArray  # (K,)
    coverage: FloatArray  # (K,) fraction of the information about the flux that good pixels hold
    contamination: FloatArray  # (K,) light of neighbours in the star's own filter, fraction of its flux
    flux_step: FloatArray  # (K,) last step, in sigma


@dataclass(frozen=True)
class Rendering:
    """PSF of every source and its gradient, with each star at a place (K, 2): images (S, 3, n, n)."""

    place: FloatArray
    images: FloatArray


def _render(psf: LocalPSF, place: AnyArray, count: AnyArray, *, size: int, quadrature: int) -> jax.Array:
    """(P, dP/du, dP/dv) of the first ``count`` blocks of sources at ``place`` (blocks, block, 2)."""
    grid = jnp.arange(size) - (size - 1) / 2

    def one(local: LocalPSF, at: jax.Array) -> jax.Array:
        return jnp.stack(evaluate_psf_with_gradient(local, grid - at[0], grid - at[1], quadrature=quadrature))

    def body(i: jax.Array, out: jax.Array) -> jax.Array:
        return out.at[i].set(jax.vmap(one)(jax.tree.map(lambda a: a[i], psf), place[i]))

    return jax.lax.fori_loop(0, count, body, jnp.zeros((*place.shape[:2], 3, size, size)))


_render_blocks = core_jit(_render, static=("size", "quadrature"))


def render_sources(stars: FrameStars, place: FloatArray, sources: IntArray) -> FloatArray:
    """Images (len(sources), 3, n, n) of sources whose stars are at ``place`` (K, 2)."""
    owner = stars.owner[sources]
    at = stars.offset[sources] + (place - stars.offset[: len(place)])[owner]
    psf = LocalPSF(*(field[owner] for field in stars.psf))
    program = partial(_render_blocks, size=stars.data.shape[-1], quadrature=stars.quadrature)
    return solve_in_batches(
        lambda items, count: program(items[0], items[1], count), (psf, at), block=BLOCK, blocks=BLOCKS
    )


def rendered(stars: FrameStars, place: FloatArray) -> Rendering:
    """All sources, with every star at its place."""
    return Rendering(place, render_sources(stars, place, np.arange(len(stars.owner))))


def matched_flux(stars: FrameStars, rendering: Rendering) -> FloatArray:
    """Flux (S,) of the stars by a matched filter where they were rendered; none yet for their neighbours."""
    count = len(stars.data)
    own = rendering.images[:count, 0]
    w = stars.weight / stars.variance * own
    flux = np.zeros(len(stars.owner))
    flux[:count] = np.einsum("kij,kij->k", w, stars.data) / (np.einsum("kij,kij->k", w, own) + 1e-300)
    return flux


def solve(
    stars: FrameStars, rendering: Rendering, flux: FloatArray, rules: Rules, *, turns: int = MOST_TURNS
) -> tuple[Solution, Rendering]:
    """Measure all stars, from a rendering and fluxes (S,) near by; also the rendering in the end.

    Stars that still move, or whose fluxes do, get another turn, ``turns`` at most.
    """
    solution = _start(stars, rendering, flux)
    place, images = rendering.place.copy(), rendering.images.copy()
    todo = np.arange(len(stars.data))
    for _ in range(turns):
        far = np.zeros(len(stars.data), dtype=bool)
        far[todo] = np.hypot(*(solution.position[todo] - place[todo]).T) > RENDER_AGAIN_FWHM * stars.fwhm_px
        if far.any():
            sources = np.flatnonzero(far[stars.owner])
            place[far] = solution.position[far]
            images[sources] = render_sources(stars, place, sources)
        for alike in _alike(stars, todo):
            _solve_alike(stars, place, images, rules, alike, solution)
        moved = np.hypot(*(solution.position[todo] - place[todo]).T)
        still = (moved > RENDER_AGAIN_FWHM * stars.fwhm_px) | (solution.flux_step[todo] > STEP_AGAIN_SIGMA)
        todo = todo[still]
        if len(todo) == 0:
            break
    for alike in _alike(stars, np.arange(len(stars.data))):
        _write_models(stars, place, images, rules, alike, solution)
    return solution, Rendering(place, images)


def _start(stars: FrameStars, rendering: Rendering, flux: FloatArray) -> Solution:
    """Where the measurement begins; to be overwritten."""
    count, shape = len(stars.data), stars.data.shape
    return Solution(
        flux=flux.copy(),
        flux_variance=np.zeros(count),
        position=rendering.place.copy(),
        background=np.zeros(count),
        model=np.zeros(shape),
        neighbour_model=np.zeros(shape),
        variance=np.ones(shape),
        chi2=np.zeros(count),
        coverage=np.zeros(count),
        contamination=np.zeros(count),
        flux_step=np.zeros(count),
    )


def _alike(stars: FrameStars, chosen: IntArray) -> Iterator[IntArray]:
    """Source indices (k, 1 + N), first the star's, of chosen stars with as many neighbours each."""
    order = np.argsort(stars.owner, kind="stable")  # by star, itself first
    number = np.bincount(stars.owner, minlength=len(stars.data))
    first = np.cumsum(number) - number
    chunk = max(CHUNK_PIXELS // stars.data[0].size, 1)
    for each in np.unique(number[chosen]):
        same = chosen[number[chosen] == each]
        for begin in range(0, len(same), chunk):
            yield order[first[same[begin : begin + chunk], None] + np.arange(each)]


def _solve_alike(
    stars: FrameStars,
    place: FloatArray,
    images: FloatArray,
    rules: Rules,
    sources: IntArray,
    out: Solution,
) -> None:
    """Solve k stars with N neighbours each, ``sources`` (k, 1 + N); their rows of ``out`` are written."""
    k, number = sources.shape
    index, pixels = sources[:, 0], stars.data[0].size
    p, p_u, p_v = np.moveaxis(images[sources].reshape(k, number, 3, pixels), 2, 0)
    data, background_variance, weight = (
        a[index].reshape(k, pixels) for a in (stars.data, stars.variance, stars.weight)
    )
    fitted = number + 2 + rules.fit_background
    prior = np.zeros(fitted)
    prior[number : number + 2] = rules.position_sigma_px**-2.0
    wanted = np.zeros((k, fitted))
    wanted[:, number : number + 2] = rules.prediction[index] - place[index]
    state = np.zeros((k, fitted))  # fluxes, displacement, background
    state[:, :number] = out.flux[sources]
    state[:, number : number + 2] = out.position[index] - place[index]
    if rules.fit_background:
        state[:, -1] = out.background[index]
    design = np.ones((k, fitted, pixels))
    for _ in range(STEPS):
        _fill_design(design, state, p, p_u, p_v)
        light = _combined(state[:, :number], design[:, :number])
        residual = data - light - (state[:, -1:] if rules.fit_background else 0.0)
        w = _weights(stars, weight, background_variance, light, residual, rules.robust_sigma)
        weighted = design * w[:, None]
        normal = weighted @ design.swapaxes(1, 2) + np.diag(prior)
        gradient = (weighted @ residual[..., None])[..., 0] + prior * (wanted - state)
        covariance = _inverse(normal)
        step = (covariance @ gradient[..., None])[..., 0]
        moved = slice(number, number + 2)
        step[:, moved] = np.clip(step[:, moved], -FARTHEST_STEP_PX, FARTHEST_STEP_PX)
        state += step
    out.flux[sources] = state[:, :number]
    out.flux_variance[index] = covariance[:, 0, 0]
    out.position[index] = place[index] + state[:, number : number + 2]
    out.background[index] = state[:, -1] if rules.fit_background else 0.0
    out.flux_step[index] = np.abs(step[:, 0]) / np.sqrt(covariance[:, 0, 0])


def _fill_design(
    design: FloatArray, state: FloatArray, p: FloatArray, p_u: FloatArray, p_v: FloatArray
) -> None:
    """Derivatives of the model: by the fluxes, by the displacement; that by the background stays one."""
    number = p.shape[1]
    d = state[:, number : number + 2, None, None]
    np.multiply(p_u, -d[:, 0], out=design[:, :number])
    design[:, :number] -= d[:, 1] * p_v
    design[:, :number] += p
    flux = state[:, :number]
    design[:, number] = -_combined(flux, p_u)
    design[:, number + 1] = -_combined(flux, p_v)


def _combined(flux: FloatArray, images: FloatArray) -> FloatArray:
    """sum_s flux_s image_s: (k, S), (k, S, pixels) to (k, pixels)."""
    if images.shape[1] == 1:
        return flux * images[:, 0]
    return np.einsum("ks,ksp->kp", flux, images)


def _weights(
    stars: FrameStars,
    weight: FloatArray,
    background_variance: FloatArray,
    light: FloatArray,
    residual: FloatArray,
    robust_sigma: float,
) -> FloatArray:
    """Inverse variance of the noise; see psf_stars.pixel_weights. Robust ones allow for the PSF's error."""
    variance = np.maximum(light, 0) / stars.exposure + background_variance
    if np.isinf(robust_sigma):
        return weight / variance
    surprise = residual**2 / (variance + (ROBUST_MODEL_ERROR * light) ** 2)
    return weight / (variance * (1 + surprise / robust_sigma**2))


def _inverse(normal: FloatArray) -> FloatArray:
    """Inverses (k, p, p) after scaling to a unit diagonal."""
    scale = np.sqrt(np.einsum("kpp->kp", normal)) + 1e-300
    both = scale[:, :, None] * scale[:, None, :]
    return np.linalg.inv(normal / both + JITTER * np.eye(normal.shape[-1])) / both


def _write_models(
    stars: FrameStars,
    place: FloatArray,
    images: FloatArray,
    rules: Rules,
    sources: IntArray,
    out: Solution,
) -> None:
    """Models of the light at the solution of stars alike, and what follows from them, into ``out``."""
    index = sources[:, 0]
    k, number = sources.shape
    p, p_u, p_v = np.moveaxis(images[sources].reshape(k, number, 3, -1), 2, 0)
    data, sky, weight = (a[index].reshape(k, -1) for a in (stars.data, stars.variance, stars.weight))
    d = (out.position[index] - place[index])[:, :, None, None]
    p = p - d[:, 0] * p_u - d[:, 1] * p_v
    flux, background = out.flux[sources], out.background[index][:, None]
    own, shape = p[:, 0], (k, *stars.data.shape[1:])
    others = _combined(flux[:, 1:], p[:, 1:]) if number > 1 else np.zeros_like(own)
    light = flux[:, :1] * own + others
    noise = sky + np.maximum(light, 0) / stars.exposure
    variance = noise
    if stars.model_error > 0:
        squared = _combined(flux**2, np.maximum(p, 0))
        variance = noise + stars.model_error**2 * own.max(1, keepdims=True) * squared
    residual = data - light - background
    used = _weights(stars, weight, sky, light, residual, rules.robust_sigma)
    information = own**2 / noise
    everything = information.sum(1)
    out.model[index] = (light + background).reshape(shape)
    out.neighbour_model[index] = (others + background).reshape(shape)
    out.variance[index] = variance.reshape(shape)
    out.chi2[index] = (weight * residual**2 / variance).sum(1)
    out.coverage[index] = (used * own**2).sum(1) / everything
    leak = (own * others / noise).sum(1) / everything
    out.contamination[index] = leak / np.maximum(np.abs(flux[:, 0]), 1e-300)
