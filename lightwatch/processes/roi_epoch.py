"""One epoch of the joint model: what belongs to it alone is eliminated from the normal equations.

Locals of an epoch, in this order: S fluxes in electron/s of its frame, shift x and y, local
background. Globals: background nodes (N), then source positions (x0, y0, x1, y1, ...).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.ndimage import binary_dilation, median_filter

from lightwatch.processes.roi_types import BoolArray, Float32Array, FloatArray

MAX_STRUCK = 0.05  # fraction of an epoch's pixels
MAX_LOST = 0.4  # fraction of the point sources' information
PSF_TOLERANCE = 0.1  # a residual below this fraction of the point sources' light is never a cosmic ray


@dataclass(frozen=True)
class Rejection:
    """Which pixels to disown. ``sharp_only``: while the model still lacks light that is smooth."""

    sigma: float
    sharp_only: bool


@dataclass(frozen=True)
class EpochData:
    """The pixels of one epoch, flattened (P = n * n), and what is known beforehand."""

    data: FloatArray  # (P,)
    background_variance: FloatArray  # (P,)
    good: BoolArray  # (P,)
    exposure: float
    weight: float  # factor on all pixels' weights
    measurable: BoolArray  # (S,) sources with enough good pixels
    local_precision: FloatArray  # (S + 3,) of the locals' prior with mean zero
    local_active: BoolArray  # (S + 3,)


@dataclass(frozen=True)
class EpochModel:
    """The model of one epoch at the present parameters."""

    sources: FloatArray  # (P,)
    background: FloatArray  # (P,)
    local_columns: FloatArray  # (P, S + 3) derivatives by the locals
    position_columns: FloatArray  # (P, 2 S) derivatives by the positions
    residual: FloatArray  # (P,)
    variance: FloatArray  # (P,)


@dataclass(frozen=True)
class Eliminated:
    """Normal equations of one epoch after its locals were eliminated, and the way back."""

    information: Float32Array  # (G, G)
    vector: Float32Array  # (G,)
    step: FloatArray  # (S + 3,) of the locals while the globals stay
    response: Float32Array  # (S + 3, G): step of the locals = step - response @ step of the globals
    covariance: FloatArray  # (S + 3, S + 3) of the locals, globals known


def epoch_model(
    epoch: EpochData,
    images: FloatArray,
    background: FloatArray,
    local: FloatArray,
    jacobian: FloatArray,
) -> EpochModel:
    """``images`` (S, 3, n, n) of roi_psf.source_images, ``background`` (n, n), ``local`` (S + 3,)."""
    count, size = images.shape[0], images.shape[-1]
    flux = local[:count]
    unit = images.reshape(count, 3, size * size)
    moved = flux[:, None, None] * unit[:, 1:]  # (S, 2, P)
    slope_y, slope_x = np.gradient(background)
    drift = moved.sum(axis=0) - np.stack([slope_x.ravel(), slope_y.ravel()])
    columns = np.vstack([unit[:, 0], drift, np.ones((1, size * size))]).T * epoch.local_active
    sources = flux @ unit[:, 0]
    light = sources + background.ravel()
    residual = np.where(epoch.good, epoch.data - light - local[-1], 0.0)
    return EpochModel(
        sources=sources,
        background=background.ravel(),
        local_columns=columns,
        position_columns=np.einsum("sap,ab->psb", moved, jacobian).reshape(size * size, 2 * count),
        residual=residual,
        variance=epoch.background_variance + np.maximum(light, 0) / epoch.exposure,
    )


def local_normal(epoch: EpochData, model: EpochModel) -> tuple[FloatArray, FloatArray]:
    """(lower Cholesky factor of the locals' normal matrix, square root of the pixels' weights)."""
    root_weight = np.sqrt(np.where(epoch.good, epoch.weight / model.variance, 0.0))
    columns = root_weight[:, None] * model.local_columns
    precision = np.where(epoch.local_active, epoch.local_precision, 1.0)
    return cholesky(columns.T @ columns + np.diag(precision), lower=True), root_weight


def eliminate(
    epoch: EpochData, model: EpochModel, local: FloatArray, global_columns: Float32Array
) -> Eliminated:
    """Schur complement of the locals, as a projection: never loses positive definiteness.

    ``global_columns`` (G, P) derivatives of the model by the globals.
    The priors of the locals enter as S + 3 further rows of data. The large product is done in float32: its
    error is far below the prior's precision, and the vector is that of the residuals, so that the solution
    to which the passes converge is not moved.
    """
    lower, root_weight = local_normal(epoch, model)
    precision = np.where(epoch.local_active, epoch.local_precision, 1.0)
    rows = np.vstack([root_weight[:, None] * model.local_columns, np.diag(np.sqrt(precision))])
    basis = solve_triangular(lower, rows.T, lower=True)  # (S + 3, P + S + 3), orthonormal rows
    known = np.where(epoch.local_active, local, 0.0)
    residual = np.concatenate([root_weight * model.residual, -np.sqrt(precision) * known])
    weighted = np.zeros((len(global_columns), len(residual)), dtype=np.float32)
    np.multiply(global_columns, root_weight.astype(np.float32), out=weighted[:, : len(root_weight)])
    lean = basis.astype(np.float32)
    overlap = weighted @ lean.T
    weighted -= overlap @ lean
    inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
    return Eliminated(
        information=weighted @ weighted.T,
        vector=weighted @ residual.astype(np.float32),
        step=inverse.T @ (basis @ residual),
        response=(inverse.T @ overlap.T).astype(np.float32),
        covariance=inverse.T @ inverse,
    )


def struck_pixels(epoch: EpochData, model: EpochModel, rejection: Rejection, size: int) -> BoolArray:
    """Pixels that no model of this kind explains, with those beside them that stand out half as much.

    No more than MAX_STRUCK of them, the worst: if there are more it is the model that errs. None if
    they are the point sources themselves: then the PSF is wrong, and the fit must look poor.
    """
    if np.isinf(rejection.sigma):
        return np.zeros(epoch.good.shape, dtype=bool)
    tolerance = model.variance + (PSF_TOLERANCE * np.abs(model.sources)) ** 2
    residual = np.where(epoch.good, model.residual, 0.0).reshape(size, size)
    if rejection.sharp_only:
        residual = residual - median_filter(residual, 5)
    deviation = np.abs(residual) / np.sqrt(tolerance).reshape(size, size)
    core = deviation > max(rejection.sigma, float(np.quantile(deviation, 1 - MAX_STRUCK)))
    struck = (binary_dilation(core) & (deviation > rejection.sigma / 2)).ravel() & epoch.good
    lost = (model.sources[struck] ** 2).sum() > MAX_LOST * (model.sources[epoch.good] ** 2).sum()
    return np.zeros_like(struck) if lost else struck


def local_step(epoch: EpochData, model: EpochModel, local: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Gauss-Newton step of the locals and their covariance, the globals held."""
    lower, root_weight = local_normal(epoch, model)
    inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
    covariance = inverse.T @ inverse
    gradient = model.local_columns.T @ (root_weight**2 * model.residual) - epoch.local_precision * local
    return covariance @ np.where(epoch.local_active, gradient, 0.0), covariance
