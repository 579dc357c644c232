"""First stage of the PSF fit: a Moffat, jointly with flux and position of every star.

The stars are eliminated by their Schur complement. Weights are robust, because cosmic rays and
neighbours may still be there, and grant the model an error, because its core is not yet right and
must not decide on the wings.
"""

from __future__ import annotations

import numpy as np

from lightwatch.processes.psf_jax import jax, jnp
from lightwatch.processes.psf_profile import moffat_fwhm
from lightwatch.processes.psf_stars import (
    POSITION_STEP_PX,
    FitState,
    FrameStars,
    Picture,
    Stars,
    pixel_weights,
    products,
    solve_positive,
    star_jacobian,
    star_system,
    theta_systems,
)

START_BETA_1 = 2.5
START_FWHM_PER_SCALE = 2 * np.sqrt(2 ** (1 / (1 + START_BETA_1)) - 1)
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


def starting_state(frame: FrameStars, modes: int) -> FitState:
    """A round Moffat of the guessed FWHM and predicted positions, in NumPy; the fluxes are yet to be found."""
    stars = Stars(np.ones(len(frame.present)), frame.offset[:, 0], frame.offset[:, 1])
    zero = np.float64(0)
    theta = np.array([np.log(frame.fwhm / START_FWHM_PER_SCALE), 0.0, 0.0, np.log(START_BETA_1)])
    nothing = np.zeros(modes * modes)
    return FitState(
        theta=theta,
        z=nothing,
        stars=stars,
        log_variance=zero,
        effective_modes=zero,
        total_flux_error=zero,
        flux_direction=nothing,
        last_step=zero,
        present=frame.present,
        suspect=0 * frame.present,
    )


def matched_fluxes(frame: FrameStars, state: FitState, picture: Picture) -> FitState:
    """Fluxes by the matched filter."""
    p = picture.p[:, None]
    sums = products(p, frame.weight, jnp.concatenate([p, frame.data[:, None]], 1))
    flux = jnp.maximum(sums[:, 0, 1] / (sums[:, 0, 0] + 1e-30), 1e-6)
    return state._replace(stars=state.stars._replace(flux=flux))


def _robust_weights(frame: FrameStars, state: FitState, picture: Picture) -> tuple[jax.Array, ...]:
    """(weights, variance of the noise, residual)."""
    w, variance = pixel_weights(frame, state, picture, MOFFAT_MODEL_ERROR)
    r = frame.data - picture.model
    return w / (1 + w * r * r / ROBUST_SIGMA**2), variance, r


def moffat_step(frame: FrameStars, state: FitState, picture: Picture) -> FitState:
    """One Gauss-Newton step of theta and of the stars."""
    stars = state.stars
    w, _, r = _robust_weights(frame, state, picture)
    j = star_jacobian(stars.flux, picture)
    h, rhs = star_system(frame, state, j, w, r)
    by_theta = stars.flux.astype(r.dtype)[:, None, None, None] * picture.p_theta
    information, score, back = theta_systems(by_theta, j, w, r, h, rhs)
    precision = jnp.array(THETA_SIGMA) ** -2.0
    guess = jnp.array([jnp.log(frame.fwhm / START_FWHM_PER_SCALE), 0.0, 0.0, np.log(START_BETA_1)])
    pull = precision * (state.theta - guess)
    step = solve_positive(information.sum(0) + jnp.diag(precision), (score.sum(0) - pull)[:, None])[:, 0]
    step = step * jnp.minimum(1.0, jnp.min(jnp.array(THETA_STEP) / (jnp.abs(step) + 1e-12)))
    ds = (back[..., 4] - back[..., :4] @ step) * state.present[:, None]
    limit = POSITION_STEP_PX
    moved = Stars(
        jnp.clip(stars.flux + ds[:, 0], 0.3 * stars.flux, 3 * stars.flux),
        stars.x + jnp.clip(ds[:, 1], -limit, limit),
        stars.y + jnp.clip(ds[:, 2], -limit, limit),
    )
    return state._replace(theta=_within_belief(state.theta + step, frame.fwhm), stars=moved)


def _within_belief(theta: jax.Array, guess: jax.Array) -> jax.Array:
    """theta with beta and FWHM inside of what is believed."""
    theta = theta.at[3].set(jnp.clip(theta[3], *np.log(BETA_1_RANGE)))
    fwhm = moffat_fwhm(theta)
    smallest = jnp.maximum(FWHM_RANGE[0] * guess, SMALLEST_FWHM_PX)
    believed = jnp.clip(fwhm, smallest, jnp.maximum(FWHM_RANGE[1] * guess, smallest))
    return theta.at[0].add(jnp.log(believed / fwhm))


def trust(frame: FrameStars, state: FitState, picture: Picture) -> FitState:
    """Choose the stars fit for the second stage.

    Stars that are not there after all would stop every common step; and one star on top of a
    brighter one would bend the PSF so far that nothing after it makes sense.
    """
    everyone = state._replace(present=frame.present)
    snr, residual = _own_residuals(frame, everyone, picture)
    seen = (snr > MIN_STAR_SNR) & (frame.present > 0)
    usual = jnp.nanmedian(jnp.where(seen, residual, jnp.nan))
    noise = jnp.sqrt(2) * frame.data.shape[-1] / jnp.maximum(snr, 1e-3) ** 2
    excess = residual**2 - usual**2 - SUSPECT_NOISE_SIGMA * noise
    suspect = seen & (excess > SUSPECT_RESIDUAL**2) & (residual > SUSPECT_RATIO * usual)
    return state._replace(present=frame.present * (seen & ~suspect), suspect=suspect * 1.0)


def _own_residuals(frame: FrameStars, state: FitState, picture: Picture) -> tuple[jax.Array, jax.Array]:
    """S/N of each star (K,), and the rms of what even a Moffat of its own does not fit, over its light.

    Its own shape, so that a PSF that changes across the field makes nobody suspect.
    """
    robust, variance, r = _robust_weights(frame, state, picture)
    flux = state.stars.flux
    by_theta = flux.astype(r.dtype)[:, None, None, None] * picture.p_theta
    j = jnp.concatenate([star_jacobian(flux, picture), by_theta], 1)
    sums = products(j, robust, jnp.concatenate([j, r[:, None]], 1))
    precision = jnp.concatenate([jnp.array([1e-12, 1.0, 1.0]), jnp.array(THETA_SIGMA) ** -2.0])
    step = solve_positive(sums[..., :7] + jnp.diag(precision), sums[..., 7:])[..., 0]
    r = r - jnp.einsum("ka,kaij->kij", step.astype(r.dtype), j)
    counts = frame.weight * state.present.astype(r.dtype)[:, None, None]
    excess = (counts * (r * r - variance)).sum((1, 2))
    light = (counts * picture.model**2).sum((1, 2))
    snr = jnp.sqrt((counts / variance * picture.model**2).sum((1, 2)))
    return snr, jnp.sqrt(jnp.maximum(excess, 0) / (light + 1e-30))
