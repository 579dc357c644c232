"""The background common to all epochs: its lattice, its appearance in an epoch, its prior."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar

from lightwatch.processes.roi_psf import TABLE_STEPS
from lightwatch.processes.roi_types import FloatArray

MARGIN_PX = 2.0  # the lattice reaches so far beyond the cutout
MAX_NODES = 40  # per axis; beyond it the nodes are set wider apart
NODES_PER_FWHM = (
    2.0  # of the sharpest PSF, whose transfer beyond is below 3 %; 2.6 gave the same light curves
)


@dataclass(frozen=True)
class Lattice:
    """m x m nodes, centred on the ROI, in reference px."""

    size: int
    spacing_px: float
    table_half_size_px: int  # largest offset between a node and a pixel of any cutout, with room to move

    @property
    def nodes(self) -> FloatArray:
        """(m * m, 2) positions (x, y), rows of constant y first."""
        axis = (np.arange(self.size) - (self.size - 1) / 2) * self.spacing_px
        x, y = np.meshgrid(axis, axis)
        return np.stack([x.ravel(), y.ravel()], axis=1)


def make_lattice(cutout_size: int, fwhm_px: float, jacobian: FloatArray, origin: FloatArray) -> Lattice:
    """Lattice that covers the cutouts of all epochs, as fine as the sharpest of them needs.

    ``fwhm_px`` in reference px; ``jacobian`` (T, 2, 2) and ``origin`` (T, 2) as in ROIEpochs.
    """
    scale = np.sqrt(np.abs(np.linalg.det(jacobian)))
    width = cutout_size / scale.min() + 2 * MARGIN_PX
    spacing = max(1.0, fwhm_px / NODES_PER_FWHM, width / MAX_NODES)
    return fixed_lattice(int(np.ceil(width / spacing)), float(spacing), cutout_size, jacobian, origin)


def fixed_lattice(
    size: int, spacing_px: float, cutout_size: int, jacobian: FloatArray, origin: FloatArray
) -> Lattice:
    """A lattice of given nodes with tables that reach far enough for these epochs."""
    lattice = Lattice(size, spacing_px, 0)
    reach = np.abs(jacobian @ lattice.nodes.T).max(initial=0.0)
    centre = np.maximum(origin, cutout_size - 1 - origin).max(initial=0.0)
    return replace(lattice, table_half_size_px=int(8 * np.ceil((reach + centre + 3) / 8)))


def design_matrix(table: NDArray[np.float32], position: FloatArray, cutout_size: int) -> NDArray[np.float32]:
    """What a unit flux in each node puts into the pixels of an epoch.

    ``table`` of roi_psf.psf_table, ``position`` (N, 2) px of the nodes in the cutout.
    Returns (N, cutout_size**2).
    """
    half_size = table.shape[-1] // 2
    index = (half_size - position) * TABLE_STEPS
    whole = np.floor(index).astype(int)
    part = index - whole
    windows = np.lib.stride_tricks.sliding_window_view(table, (cutout_size, cutout_size), axis=(2, 3))
    out = np.zeros((len(position), cutout_size, cutout_size), dtype=np.float32)
    for step_y in (0, 1):
        for step_x in (0, 1):
            start_x, phase_x = np.divmod(whole[:, 0] + step_x, TABLE_STEPS)
            start_y, phase_y = np.divmod(whole[:, 1] + step_y, TABLE_STEPS)
            weight = np.abs(1 - step_x - part[:, 0]) * np.abs(1 - step_y - part[:, 1])
            window = windows[phase_y, phase_x, start_y, start_x]
            window *= weight.astype(np.float32)[:, None, None]
            out += window
    return out.reshape(len(position), -1)


def prior_factor(lattice: Lattice, length_px: float) -> FloatArray:
    """Lower Cholesky factor (N, N) of the Matern-3/2 correlation between the nodes."""
    nodes = lattice.nodes
    distance = np.hypot(*(nodes[:, None, :] - nodes[None, :, :]).transpose(2, 0, 1))
    scaled = np.sqrt(3) * distance / length_px
    correlation = (1 + scaled) * np.exp(-scaled)
    correlation[np.diag_indices_from(correlation)] += 1e-8
    return cholesky(correlation, lower=True)


def amplitude_map(background: FloatArray, lattice: Lattice, smooth_px: float) -> FloatArray:
    """Prior amplitude following the light: little freedom where there is none.

    It takes the place of a sparsity or positivity constraint and keeps the problem linear.
    """
    smooth = gaussian_filter(np.abs(background), smooth_px / lattice.spacing_px)
    return smooth + 0.02 * smooth.max()


@dataclass(frozen=True)
class Prior:
    """Of the background: factor @ N(0, 1); of the positions: Gaussian."""

    factor: FloatArray  # (N, N)
    position_precision: FloatArray  # (C,)
    position_mean: FloatArray  # (C,)


@dataclass(frozen=True)
class Whitened:
    """Information-form data in the prior's own units, the positions eliminated."""

    matrix: FloatArray  # (N, N)
    vector: FloatArray  # (N,)
    position_information: FloatArray  # (C, C), prior included
    gain: FloatArray  # (C, N + 1): positions = gain[:, -1] - gain[:, :-1] @ whitened background


@dataclass(frozen=True)
class Posterior:
    """Background nodes (first N) and positions (last), jointly Gaussian."""

    mean: FloatArray  # (N + C,)
    scale: float  # factor on the prior's amplitude
    log_evidence: float


def whitened(information: FloatArray, vector: FloatArray, prior: Prior) -> Whitened:
    """``information`` (N + C, N + C), ``vector`` (N + C,): information @ globals = vector without a prior."""
    factor, n = prior.factor, len(prior.factor)
    h_pp = information[n:, n:] + np.diag(prior.position_precision)
    v_p = vector[n:] + prior.position_precision * prior.position_mean
    cross = factor.T @ information[:n, n:]
    gain = np.asarray(np.linalg.solve(h_pp, np.column_stack([cross.T, v_p])), dtype=np.float64)
    matrix = factor.T @ information[:n, :n] @ factor - cross @ gain[:, :-1]
    return Whitened(matrix, factor.T @ vector[:n] - cross @ gain[:, -1], h_pp, gain)


def solve_background(data: Whitened, prior: Prior, scale: float | None = None) -> Posterior:
    """Posterior mean. The scale, if none is given, maximises the evidence (MacKay 1992, Neural Comp. 4, 415)."""
    scale2, log_evidence = _best_scale(data) if scale is None else (scale**2, np.nan)
    lower = cho_factor(scale2 * data.matrix + np.eye(len(data.vector)), lower=True)
    white = np.sqrt(scale2) * cho_solve(lower, np.sqrt(scale2) * data.vector)
    mean = np.concatenate([prior.factor @ white, data.gain[:, -1] - data.gain[:, :-1] @ white])
    return Posterior(mean, float(np.sqrt(scale2)), log_evidence)


def covariance_root(data: Whitened, prior: Prior, scale: float) -> tuple[FloatArray, float]:
    """(root (N + C, N + C) with covariance = root @ root.T, number of well-determined combinations)."""
    n = len(data.vector)
    lower = cholesky(scale**2 * data.matrix + np.eye(n), lower=True)
    inverse = solve_triangular(lower, np.eye(n), lower=True)
    root = np.zeros((n + len(data.gain),) * 2)
    root[:n, :n] = scale * prior.factor @ inverse.T
    root[n:, :n] = -scale * data.gain[:, :-1] @ inverse.T
    if len(data.gain):
        root[n:, n:] = np.linalg.inv(cholesky(data.position_information, lower=True)).T
    return root, float(n - (inverse**2).sum())


def _best_scale(data: Whitened) -> tuple[float, float]:
    """scale**2 of highest evidence, and that log evidence."""
    n = len(data.vector)

    def cost(log_scale2: float) -> float:
        scale2 = np.exp(log_scale2)
        lower = cho_factor(scale2 * data.matrix + np.eye(n), lower=True)
        fit = scale2 * data.vector @ cho_solve(lower, data.vector)
        return float(np.log(np.diag(lower[0])).sum() - 0.5 * fit)

    # a prior as wide as the data's own error is the natural origin of the search
    origin = np.log(n / np.trace(data.matrix))
    found = minimize_scalar(cost, bounds=(origin - 6, origin + 18), method="bounded", options={"xatol": 0.2})
    return float(np.exp(found.x)), -float(found.fun)
