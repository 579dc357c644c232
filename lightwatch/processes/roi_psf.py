"""PSFs of many epochs on the pixels of their cutouts: the part of the ROI model done by JAX."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwatch.processes.psf_jax import core_jit, jax, jnp
from lightwatch.processes.psf_model import LocalPSF, evaluate_psf_with_gradient, render
from lightwatch.processes.roi_types import FloatArray

TABLE_STEPS = 8  # table nodes per pixel: bilinear reading then blurs by 0.05 px, far below any PSF
BATCHES = (4, 32)  # epochs per call: two shapes, so XLA compiles at most twice


def _images(psf: LocalPSF, position: jax.Array, *, size: int, quadrature: int) -> jax.Array:
    """P, dP/dx, dP/dy of stars at ``position`` (C, S, 2): (C, S, 3, size, size)."""
    pixels = jnp.arange(size, dtype=position.dtype)

    def one(local: LocalPSF, xy: jax.Array) -> jax.Array:
        p, pu, pv = evaluate_psf_with_gradient(local, pixels - xy[0], pixels - xy[1], quadrature=quadrature)
        return jnp.stack([p, -pu, -pv])

    return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(psf, position)


_source_images = core_jit(_images, static=("size", "quadrature"))


def take_psf(psf: LocalPSF, index: Any) -> LocalPSF:
    """One or several epochs of a stacked PSF."""
    return LocalPSF(*(np.asarray(field)[index] for field in psf))


def source_images(psf: LocalPSF, position: FloatArray, *, size: int, quadrature: int) -> FloatArray:
    """P and its derivatives by the star's x and y, in every epoch.

    ``position`` (T, S, 2) px in the cutouts; returns (T, S, 3, size, size).
    """
    epochs, sources = position.shape[:2]
    out = np.zeros((epochs, sources, 3, size, size))
    if sources == 0:
        return out
    batch = BATCHES[0] if epochs <= BATCHES[0] else BATCHES[1]
    for first in range(0, epochs, batch):
        index = np.minimum(np.arange(first, first + batch), epochs - 1)
        images = _source_images(take_psf(psf, index), position[index], size=size, quadrature=quadrature)
        count = min(batch, epochs - first)
        out[first : first + count] = np.asarray(images)[:count]
    return out


def psf_table(psf: LocalPSF, half_size_px: int, *, quadrature: int) -> NDArray[np.float32]:
    """P at offsets -half_size_px, ... in steps of 1 / TABLE_STEPS, split by sub-pixel phase.

    Returns (K, K, 2 half_size_px, 2 half_size_px) with K = TABLE_STEPS: [phase_y, phase_x, v, u].
    Every other node is the PSF's own value, those between are interpolated (cubic): four times faster.
    """
    step = 2 / TABLE_STEPS
    offsets = np.arange(-half_size_px / step - 1, half_size_px / step + 2) * step
    table = _doubled(_doubled(render(psf, offsets, offsets, quadrature=quadrature)).T).T
    side = 2 * half_size_px
    phases = table.reshape(side, TABLE_STEPS, side, TABLE_STEPS).transpose(1, 3, 0, 2)
    return np.ascontiguousarray(phases, dtype=np.float32)


def _doubled(values: FloatArray) -> FloatArray:
    """Rows 1 ... -3, and between each and the next the cubic through the four nearest."""
    out = np.empty((2 * (len(values) - 3), values.shape[1]))
    out[::2] = values[1:-2]
    out[1::2] = (9 * (values[1:-2] + values[2:-1]) - values[:-3] - values[3:]) / 16
    return out
