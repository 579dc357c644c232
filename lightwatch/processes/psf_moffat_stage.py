"""First stage of the PSF fit: a Moffat, jointly with flux and position of every star.

The stars are eliminated by their Schur complement. Weights are robust, because cosmic rays and
neighbours may still be there, and grant the model an error, because its core is not yet right and
must not decide on the wings.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from lightwatch.processes.psf_jax import jax, jnp
from lightwatch.processes.psf_profile import moffat, moffat_fwhm, moffat_jacobian
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

MOFFAT_STEPS = 7
START_BETA_1 = 2.5
BETA_1_RANGE = (0.6, 12.0)
THETA_SIGMA = (0.5, 0.3, 0.3, 0.7)
THETA_STEP = (0.35, 0.35, 0.35, 0.8)
FWHM_RANGE = (0.5, 2.0)  # in units of the guess
SMALLEST_FWHM_PX = 0.9
MIN_STAR_SNR = 5.0
ROBUST_SIGMA = 5.0  # Cauchy weights of the first stage: cosmic rays and neighbours are still unknown
SUSPECT_RESIDUAL = 0.15  # of the Moffat stage, in excess of the median over the stars and of
SUSPECT_NOISE_SIGMA = 3.0  # times its noise; and in units of the median:
SUSPECT_RATIO = 1.5
MOFFAT_MODEL_ERROR = 0.1  # keeps the core's structure from deciding on the wings

#: axes over which one star of a frame is taken
_BY_STAR = FrameStars(0, 0, 0, None, 0, 0, 0, None, None, None, None)


def starting_point(frame: FrameStars, quadrature: int) -> tuple[jax.Array, Stars]:
    """Round Moffat of the guessed FWHM, predicted positions, matched-filter fluxes."""
    beta = 1 + START_BETA_1
    scale = frame.fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    theta = jnp.array([jnp.log(scale), 0.0, 0.0, np.log(START_BETA_1)])
    g = pixel_grid(frame.data.shape[-1])
    m = jax.vmap(lambda o: moffat(theta, g - o[0], g - o[1], quadrature))(frame.offset)
    flux = (frame.weight * m * frame.data).sum((1, 2)) / ((frame.weight * m * m).sum((1, 2)) + 1e-30)
    return theta, Stars(jnp.maximum(flux, 1e-6), frame.offset[:, 0], frame.offset[:, 1])


def moffat_step(
    frame: FrameStars, theta: jax.Array, stars: Stars, start: jax.Array, quadrature: int
) -> tuple[jax.Array, Stars]:
    """One Gauss-Newton step of theta (4,) at the centre of the frame and of the stars."""
    g = pixel_grid(frame.data.shape[-1])
    local = local_theta(frame, theta)
    m, m_u, m_v, m_t = jax.vmap(lambda t, x, y: moffat_jacobian(t, g - x, g - y, quadrature))(
        local, stars.x, stars.y
    )
    model = stars.flux[:, None, None] * m
    w, _ = pixel_weights(frame, model, MOFFAT_MODEL_ERROR)
    r = frame.data - model
    w = w / (1 + w * r * r / ROBUST_SIGMA**2)
    j = star_jacobian(stars.flux, m, m_u, m_v)
    h, rhs = star_system(frame, stars, j, w, r)
    information, score, back = theta_systems(stars.flux[:, None, None, None] * m_t, j, w, r, h, rhs)
    precision = jnp.array(THETA_SIGMA) ** -2.0
    step = jnp.linalg.solve(
        information.sum(0) + jnp.diag(precision), score.sum(0) - precision * (theta - start)
    )
    step = step * jnp.minimum(1.0, jnp.min(jnp.array(THETA_STEP) / (jnp.abs(step) + 1e-12)))
    ds = (back[..., 4] - back[..., :4] @ step) * frame.present[:, None]
    theta = theta + step
    theta = theta.at[3].set(jnp.clip(theta[3], *np.log(BETA_1_RANGE)))
    fwhm = moffat_fwhm(theta)
    smallest = jnp.maximum(FWHM_RANGE[0] * frame.fwhm, SMALLEST_FWHM_PX)
    believed = jnp.clip(fwhm, smallest, jnp.maximum(FWHM_RANGE[1] * frame.fwhm, smallest))
    theta = theta.at[0].add(jnp.log(believed / fwhm))
    limit = POSITION_STEP_PX
    return theta, Stars(
        jnp.clip(stars.flux + ds[:, 0], 0.3 * stars.flux, 3 * stars.flux),
        stars.x + jnp.clip(ds[:, 1], -limit, limit),
        stars.y + jnp.clip(ds[:, 2], -limit, limit),
    )


def trusted(
    frame: FrameStars, theta: jax.Array, stars: Stars, quadrature: int
) -> tuple[FrameStars, jax.Array]:
    """The stars fit for the second stage, and which of the others are suspect (K,).

    Stars that are not there after all would stop every common step; and one star on top of a
    brighter one would bend the PSF so far that nothing after it makes sense.
    """
    snr, residual = jax.vmap(partial(_own_residual, quadrature=quadrature), in_axes=(_BY_STAR, 0, 0))(
        frame, local_theta(frame, theta), stars
    )
    seen = (snr > MIN_STAR_SNR) & (frame.present > 0)
    usual = jnp.nanmedian(jnp.where(seen, residual, jnp.nan))
    noise = jnp.sqrt(2) * frame.data.shape[-1] / jnp.maximum(snr, 1e-3) ** 2
    excess = residual**2 - usual**2 - SUSPECT_NOISE_SIGMA * noise
    suspect = seen & (excess > SUSPECT_RESIDUAL**2) & (residual > SUSPECT_RATIO * usual)
    present = frame.present * (seen & ~suspect)
    return frame._replace(present=present, weight=frame.weight * present[:, None, None]), suspect


def _own_residual(
    frame: FrameStars, theta: jax.Array, star: Stars, *, quadrature: int
) -> tuple[jax.Array, jax.Array]:
    """S/N of one star, and the rms of what even a Moffat of its own does not fit, over that of the star.

    Its own shape, so that a PSF that changes across the field makes nobody suspect.
    """
    g = pixel_grid(frame.data.shape[-1])
    m, m_u, m_v, m_t = moffat_jacobian(theta, g - star.x, g - star.y, quadrature)
    model = star.flux * m
    w, variance = pixel_weights(frame, model, MOFFAT_MODEL_ERROR)
    r = frame.data - model
    robust = w / (1 + w * r * r / ROBUST_SIGMA**2)
    j = jnp.concatenate([jnp.stack([m, -star.flux * m_u, -star.flux * m_v]), star.flux * m_t]).reshape(7, -1)
    precision = jnp.concatenate([jnp.array([1e-12, 1.0, 1.0]), jnp.array(THETA_SIGMA) ** -2.0])
    h = (j * robust.ravel()) @ j.T + jnp.diag(precision)
    r = r - (jnp.linalg.solve(h, (j * robust.ravel()) @ r.ravel()) @ j).reshape(r.shape)
    excess = (frame.weight * (r * r - variance)).sum()
    snr = star.flux * jnp.sqrt((frame.weight / variance * m * m).sum())
    return snr, jnp.sqrt(jnp.maximum(excess, 0) / ((frame.weight * model**2).sum() + 1e-300))
