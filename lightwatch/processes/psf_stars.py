"""The stars of one frame in the PSF fit: their data, parameters and normal equations."""

from __future__ import annotations

from typing import NamedTuple

from lightwatch.processes.psf_jax import AnyArray, jax, jnp

POSITION_SIGMA_PX = 1.0
POSITION_STEP_PX = 0.7


class FrameStars(NamedTuple):
    """Cutouts of the K stars of one frame."""

    data: AnyArray  # (K, n, n)
    variance: AnyArray  # (K, n, n) of the background, positive everywhere
    weight: AnyArray  # (K, n, n) 1 where a pixel counts, else 0
    exposure: AnyArray  # () electrons per data unit
    terms: AnyArray  # (K, 3) 1, X, Y
    offset: AnyArray  # (K, 2) predicted position from the centre of the cutout
    present: AnyArray  # (K,) 1 or 0
    fwhm: AnyArray  # () px, first guess
    gradient: AnyArray  # (2, 4) change of theta with X and with Y, given
    model_error: AnyArray  # () of the PSF in the second stage, see pixel_weights
    largest_sigma: AnyArray  # () that the prior of the structure may take


class Stars(NamedTuple):
    """Parameters of the K stars."""

    flux: AnyArray
    x: AnyArray
    y: AnyArray


def pixel_grid(n: int) -> jax.Array:
    return jnp.arange(n) - (n - 1) / 2


def pixel_weights(
    frame: FrameStars, model: jax.Array, model_error: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """(weights, variance of the noise) from the model, so that noise peaks get no say in their own weight.

    ``model_error`` e grants the variance e^2 m max(m): like photons, so that light which the PSF puts
    into the next pixel does not change the flux, but equal for faint and bright stars.
    """
    variance = frame.variance + jnp.maximum(model, 0) / frame.exposure
    light = jnp.maximum(model, 0)
    return frame.weight / (variance + model_error**2 * light * light.max((-2, -1), keepdims=True)), variance


def star_system(
    frame: FrameStars, stars: Stars, j: jax.Array, w: jax.Array, r: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Normal matrices (K, 3, 3) and right-hand sides (K, 3) of (flux, x, y), with the prior on x, y."""
    precision = jnp.array([0.0, POSITION_SIGMA_PX**-2, POSITION_SIGMA_PX**-2])
    jw = j * w[:, None]
    idle = (1 - frame.present)[:, None, None] * jnp.eye(3)
    h = jnp.einsum("kaij,kbij->kab", jw, j) + jnp.diag(precision) + idle
    moved = jnp.stack([0 * stars.x, stars.x - frame.offset[:, 0], stars.y - frame.offset[:, 1]], 1)
    return h, jnp.einsum("kaij,kij->ka", jw, r) - precision * moved


def star_jacobian(flux: jax.Array, p: jax.Array, p_u: jax.Array, p_v: jax.Array) -> jax.Array:
    """d model / d (flux, x, y): (K, 3, n, n)."""
    f = flux[:, None, None]
    return jnp.stack([p, -f * p_u, -f * p_v], 1)


def theta_systems(
    t: jax.Array, j: jax.Array, w: jax.Array, r: jax.Array, h: jax.Array, g: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Per star: information (K, 4, 4) and score (K, 4) of theta with the star eliminated, and
    (K, 3, 5) = h^-1 [cross terms, g] for the back-substitution.
    """
    tw = t * w[:, None]
    cross = jnp.einsum("kaij,kbij->kab", tw, j)
    back = jnp.linalg.solve(h, jnp.concatenate([jnp.swapaxes(cross, 1, 2), g[..., None]], -1))
    information = jnp.einsum("kaij,kbij->kab", tw, t) - cross @ back[..., :4]
    score = jnp.einsum("kaij,kij->ka", tw, r) - jnp.einsum("kab,kb->ka", cross, back[..., 4])
    return information, score, back


def local_theta(frame: FrameStars, theta: jax.Array) -> jax.Array:
    """theta at each star, (K, 4), from that at the centre."""
    return frame.terms @ jnp.concatenate([theta[None], frame.gradient])
