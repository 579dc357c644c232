"""The stars of one frame in the PSF fit: data, parameters, pictures and normal equations.

Pixels are rendered in the precision of the data (float32 is enough: their noise is 1e-3 and more),
every sum over them and every system of equations is float64.
"""

from __future__ import annotations

from typing import NamedTuple

from lightwatch.processes.psf_jax import AnyArray, jax, jnp
from lightwatch.processes.psf_profile import (
    ENVELOPE_POWER,
    FAINTEST,
    basis_of_waves,
    envelope,
    moffat_jacobian,
    warp_scale,
    waves,
)
from lightwatch.processes.psf_shape import basis_extent, whitening_of

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
    model_error: AnyArray  # () of the PSF once the structure is fitted, see pixel_weights
    largest_sigma: AnyArray  # () that the prior of the structure may take


class Stars(NamedTuple):
    """Parameters of the K stars."""

    flux: AnyArray  # in units of the PSF that is not yet normalised to the plane
    x: AnyArray
    y: AnyArray


class FitState(NamedTuple):
    """Where the fit of a frame stands."""

    theta: AnyArray  # (4,) at the centre of the frame
    z: AnyArray  # (M^2,) whitened coefficients of S
    stars: Stars
    log_variance: AnyArray  # ln sigma^2 of the prior of S
    effective_modes: AnyArray  # 0 before the first step of S
    total_flux_error: AnyArray  # 1 sigma of ln(flux), common to all stars measured with the PSF
    flux_direction: (
        AnyArray  # (M^2,) covariance of z with ln(flux): where a star pulls to change the total flux
    )
    last_step: AnyArray  # largest relative step of the last iteration
    present: AnyArray  # (K,) 1 for the stars that take part
    suspect: AnyArray  # (K,) 1 for those left out because they are not like the others


class Structure(NamedTuple):
    """Where the cosines of S live."""

    local: jax.Array  # (K, 4) theta of each star
    u0: jax.Array  # (K,)
    extent: jax.Array
    edge: float
    whitening: jax.Array  # (M^2,) c = whitening * z


class Picture(NamedTuple):
    """All stars rendered at a state; P is not normalised. Leading axis K."""

    p: jax.Array  # (K, n, n)
    p_theta: jax.Array  # (K, 4, n, n)
    p_u: jax.Array
    p_v: jax.Array
    d: jax.Array  # the envelope D
    phi_x: jax.Array  # (K, n, M) float64
    phi_y: jax.Array
    wave_x: jax.Array  # (K, n, 2M - 1) float64, cosines up to twice the frequency of phi
    wave_y: jax.Array
    model: jax.Array  # flux P


def pixel_grid(n: int) -> jax.Array:
    return jnp.arange(n) - (n - 1) / 2


def structure_of(frame: FrameStars, theta: jax.Array, modes: int) -> Structure:
    """The cosine basis that belongs to theta (4,) at the centre of the frame."""
    edge = frame.data.shape[-1] / 2
    extent = basis_extent(theta, edge)
    local = local_theta(frame, theta)
    return Structure(local, jax.vmap(warp_scale)(local), extent, edge, whitening_of(extent, modes))


def render_stars(
    frame: FrameStars, structure: Structure, state: FitState, modes: int, quadrature: int
) -> Picture:
    """P and its derivatives by theta and by the offsets for every star.

    S stretches with the FWHM: dS = -(u S_u + v S_v) d ln u0.
    """
    pixel, edge = frame.data.dtype, structure.edge
    c = (structure.whitening * state.z).reshape(modes, modes).astype(pixel)
    grid = pixel_grid(frame.data.shape[-1])

    def one(theta: jax.Array, u0: jax.Array, star: Stars) -> Picture:
        u, v = (grid - star.x).astype(pixel), (grid - star.y).astype(pixel)
        m, m_u, m_v, m_t = moffat_jacobian(theta.astype(pixel), u, v, quadrature)
        d = envelope(m, theta.astype(pixel), u, v, edge)
        place = (u0, structure.extent, edge)
        wave_u, wave_v = (waves(grid - at, 2 * modes - 1, *place, pixel) for at in (star.x, star.y))
        phi_u, dphi_u = basis_of_waves(u, (wave_u[0][:, :modes], wave_u[1][:, :modes]), *place)
        phi_v, dphi_v = basis_of_waves(v, (wave_v[0][:, :modes], wave_v[1][:, :modes]), *place)
        rows, d_rows, columns, d_columns = (b.astype(pixel) for b in (phi_v, dphi_v, phi_u, dphi_u))
        along_v = rows @ c
        s, s_u, s_v = along_v @ columns.T, along_v @ d_columns.T, (d_rows @ c) @ columns.T
        scale = 1 + ENVELOPE_POWER * d / jnp.maximum(m, FAINTEST) * s
        stretch = -d * (u[None, :] * s_u + v[:, None] * s_v)
        widening = jax.grad(lambda t: jnp.log(warp_scale(t)))(theta).astype(pixel)
        p_t = m_t * scale + widening[:, None, None] * stretch
        p = m + d * s
        p_u, p_v = m_u * scale + d * s_u, m_v * scale + d * s_v
        return Picture(p, p_t, p_u, p_v, d, phi_u, phi_v, wave_u[0], wave_v[0], star.flux.astype(pixel) * p)

    rendered: Picture = jax.vmap(one)(structure.local, structure.u0, state.stars)
    return rendered


def pixel_weights(
    frame: FrameStars, state: FitState, picture: Picture, model_error: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """(weights, variance of the noise) from the model, so that noise peaks get no say in their own weight.

    ``model_error`` e grants the variance e^2 m max(m): like photons, so that light which the PSF puts
    into the next pixel does not change the flux, but equal for faint and bright stars.
    """
    light = jnp.maximum(picture.model, 0)
    variance = frame.variance + light / frame.exposure
    weight = frame.weight * state.present.astype(light.dtype)[:, None, None]
    return weight / (variance + model_error**2 * light * light.max((-2, -1), keepdims=True)), variance


def star_jacobian(flux: jax.Array, picture: Picture) -> jax.Array:
    """d model / d (flux, x, y): (K, 3, n, n)."""
    f = flux.astype(picture.p.dtype)[:, None, None]
    return jnp.stack([picture.p, -f * picture.p_u, -f * picture.p_v], 1)


def star_system(
    frame: FrameStars, state: FitState, j: jax.Array, w: jax.Array, r: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Normal matrices (K, 3, 3) and right-hand sides (K, 3) of (flux, x, y), with the prior on x, y."""
    stars = state.stars
    precision = jnp.array([0.0, POSITION_SIGMA_PX**-2, POSITION_SIGMA_PX**-2])
    idle = (1 - state.present)[:, None, None] * jnp.eye(3)
    h, g = products(j, w, j), products(j, w, r[:, None])[..., 0]
    moved = jnp.stack([0 * stars.x, stars.x - frame.offset[:, 0], stars.y - frame.offset[:, 1]], 1)
    return h + jnp.diag(precision) + idle, g - precision * moved


def products(a: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    """Sums over pixels of a w b for images a (K, A, n, n) and b (K, B, n, n): (K, A, B), in float64."""
    k, n_a = a.shape[:2]
    left = (a * w[:, None]).reshape(k, n_a, -1).astype(jnp.float64)
    return left @ jnp.swapaxes(b.reshape(k, b.shape[1], -1).astype(jnp.float64), 1, 2)


def theta_systems(
    t: jax.Array, j: jax.Array, w: jax.Array, r: jax.Array, h: jax.Array, g: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Per star: information (K, T, T) and score (K, T) of T parameters of the PSF, whose images are t (K, T, n, n),
    with the star eliminated, and (K, 3, T + 1) = h^-1 [cross terms, g] for the back-substitution.
    """
    n_t = t.shape[1]
    columns = products(t, w, jnp.concatenate([t, j, r[:, None]], 1))
    cross = columns[..., n_t : n_t + 3]
    back = solve_positive(h, jnp.concatenate([jnp.swapaxes(cross, 1, 2), g[..., None]], -1))
    information = columns[..., :n_t] - cross @ back[..., :n_t]
    score = columns[..., -1] - jnp.einsum("kab,kb->ka", cross, back[..., n_t])
    return information, score, back


def solve_positive(h: jax.Array, rhs: jax.Array) -> jax.Array:
    """h^-1 rhs for positive definite h (..., a, a) and rhs (..., a, b), by Cholesky's factors."""
    factor = jnp.linalg.cholesky(h)
    half = jax.scipy.linalg.solve_triangular(factor, rhs, lower=True)
    return jax.scipy.linalg.solve_triangular(jnp.swapaxes(factor, -1, -2), half, lower=False)


def local_theta(frame: FrameStars, theta: jax.Array) -> jax.Array:
    """theta at each star, (K, 4), from that at the centre."""
    return frame.terms @ jnp.concatenate([theta[None], frame.gradient])
