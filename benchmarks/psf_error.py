"""Error of a PSF of lightwatch against the simulated one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from psf_metric import Render, normalized_rms
from simulated_truth import Truth, unit_stars

from lightwatch.processes.psf_jax import jax, jnp
from lightwatch.processes.psf_model import LocalPSF, PSFModel, evaluate_psf, local_psf
from lightwatch.simulation.psf import SimulatedPsf
from lightwatch.structure import store

PLACES = (1 / 6, 1 / 2, 5 / 6)  # of the frame, along each axis


@partial(jax.jit, static_argnames=("size", "quadrature"))
def _images(psf: LocalPSF, x: jax.Array, y: jax.Array, *, size: int, quadrature: int) -> jax.Array:
    grid = jnp.arange(size) - (size - 1) / 2
    return jax.vmap(lambda a, b: evaluate_psf(psf, grid - a, grid - b, quadrature=quadrature))(x, y)


def render(model: PSFModel, x: float, y: float, size: int) -> Render:
    """The PSF at (x, y) px of the frame as the metric takes it."""
    psf = local_psf(model, x, y)
    return lambda a, b: np.asarray(_images(psf, a, b, size=size, quadrature=model.quadrature))


def psf_errors(path: Path, truth: Truth, frame: int) -> tuple[float, float]:
    """Normalized rms of a stored PSF at the centre of the frame, and its mean over 3 x 3 places."""
    model = PSFModel.from_arrays(store.read_product(path.parent, path.name, prefix="model"))
    ny, nx = truth.shape
    if not model.varies and truth.gradient == 0:
        error = error_at(model, truth.psfs[frame], nx / 2, ny / 2)
        return error, error
    errors = np.array([
        [error_at(model, truth.psf(frame, px * nx), px * nx, py * ny) for px in PLACES] for py in PLACES
    ])  # fmt: skip
    return float(errors[1, 1]), float(errors.mean())


def error_at(model: PSFModel, true: SimulatedPsf, x: float, y: float) -> float:
    """Normalized rms of the PSF at (x, y) px of the frame, on cutouts as large as those it was fitted to."""
    images, at_x, at_y = unit_stars(true, model.size)
    return normalized_rms(render(model, x, y, model.size), images, at_x, at_y)
