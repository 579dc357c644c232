"""Gauss-Newton passes over all epochs of a ROI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky

from lightwatch.processes.psf_model import LocalPSF
from lightwatch.processes.roi_background import Lattice, Posterior, design_matrix, solve_background
from lightwatch.processes.roi_epoch import (
    Eliminated,
    EpochData,
    EpochModel,
    Rejection,
    eliminate,
    epoch_model,
    local_step,
    struck_pixels,
)
from lightwatch.processes.roi_psf import psf_table, source_images, take_psf
from lightwatch.processes.roi_types import BoolArray, FloatArray

CHUNK = 32  # epochs whose PSF images are held at once
CHI2_FULL_WEIGHT = 1.3  # an epoch beyond it counts less in what is common to all
SHIFT_CLIP_PX = 0.5
POSITION_CLIP_PX = 0.3


@dataclass(frozen=True)
class Problem:
    """The usable epochs of a ROI, made ready: finite data, flattened pixels (P = size * size)."""

    size: int
    data: FloatArray  # (T, P)
    background_variance: FloatArray  # (T, P)
    good: BoolArray  # (T, P)
    exposure: FloatArray  # (T,)
    psf: LocalPSF
    quadrature: int
    jacobian: FloatArray  # (T, 2, 2)
    origin: FloatArray  # (T, 2)
    coefficient: FloatArray  # (T,)
    measurable: BoolArray  # (T, S)
    local_active: BoolArray  # (T, S + 3)
    local_precision: FloatArray  # (S + 3,)
    position_mean: FloatArray  # (2 S,)
    position_precision: FloatArray  # (2 S,)
    position_active: BoolArray  # (2 S,)


@dataclass(frozen=True)
class State:
    """Where the fit stands."""

    local: FloatArray  # (T, S + 3): fluxes in the frame, shift x and y, local background
    position: FloatArray  # (2 S,)
    background: FloatArray  # (N,) electron/s per node, normalised scale
    good: BoolArray  # (T, P)
    weight: FloatArray  # (T,)


@dataclass(frozen=True)
class Pass:
    """Normal equations of all epochs at one state (globals: background, active positions)."""

    information: FloatArray  # (G, G)
    vector: FloatArray  # (G,), in information form: information @ globals = vector without a prior
    eliminated: list[Eliminated]  # their own information is dropped


def linearised(
    problem: Problem, state: State, lattice: Lattice | None
) -> Iterator[tuple[int, EpochData, EpochModel, NDArray[np.float32]]]:
    """Epoch by epoch: number, data, model, and the background's columns (N, P)."""
    count = len(state.position) // 2
    places = state.position.reshape(count, 2)
    for first in range(0, len(state.local), CHUNK):
        index = np.arange(first, min(first + CHUNK, len(state.local)))
        centre = problem.origin[index] + state.local[index, count : count + 2]
        seen = centre[:, None] + np.einsum("tab,sb->tsa", problem.jacobian[index], places)
        images = source_images(
            take_psf(problem.psf, index), seen, size=problem.size, quadrature=problem.quadrature
        )
        for t, image, middle in zip(index.tolist(), images, centre, strict=True):
            columns = _background_columns(problem, t, middle, lattice)
            light = (state.background @ columns).reshape(problem.size, problem.size)
            epoch = _epoch(problem, state, t)
            yield (
                int(t),
                epoch,
                epoch_model(epoch, image, light, state.local[t], problem.jacobian[t]),
                columns,
            )


def _background_columns(
    problem: Problem, t: int, centre: FloatArray, lattice: Lattice | None
) -> NDArray[np.float32]:
    if lattice is None:
        return np.zeros((0, problem.size**2), dtype=np.float32)
    nodes = centre + lattice.nodes @ problem.jacobian[t].T
    table = psf_table(take_psf(problem.psf, t), lattice.table_half_size_px, quadrature=problem.quadrature)
    return design_matrix(np.float32(problem.coefficient[t]) * table, nodes, problem.size)


def _epoch(problem: Problem, state: State, t: int) -> EpochData:
    return EpochData(
        data=problem.data[t],
        background_variance=problem.background_variance[t],
        good=problem.good[t],
        exposure=float(problem.exposure[t]),
        weight=float(state.weight[t]),
        measurable=problem.measurable[t],
        local_precision=problem.local_precision,
        local_active=problem.local_active[t],
    )


def normal_equations(
    problem: Problem, state: State, lattice: Lattice | None, *, rejection: Rejection
) -> tuple[Pass, State]:
    """One pass; struck pixels and odd epochs are disowned first, all judged anew."""
    active = problem.position_active
    total = len(state.background) + int(active.sum())
    information, vector = np.zeros((total, total)), np.zeros(total)
    eliminated = []
    good, weight = state.good.copy(), state.weight.copy()
    for t, epoch, model, columns in linearised(problem, state, lattice):
        judged = _judged(epoch, model, rejection, problem.size)
        good[t], weight[t] = judged.good, judged.weight
        one = eliminate(judged, model, state.local[t], np.vstack([columns, model.position_columns.T[active]]))
        information += one.information
        vector += one.vector
        eliminated.append(replace(one, information=np.zeros((0, 0))))
    present = np.concatenate([state.background, state.position[active]])
    vector += information @ present
    return Pass(information, vector, eliminated), replace(state, good=good, weight=weight)


def _judged(epoch: EpochData, model: EpochModel, rejection: Rejection, size: int) -> EpochData:
    """The epoch without struck pixels and with less weight if the model does not describe it."""
    good = epoch.good & ~struck_pixels(epoch, model, rejection, size)
    chi2 = reduced_chi2(model.residual, model.variance, good)
    doubtful = not rejection.sharp_only and chi2 > CHI2_FULL_WEIGHT
    return replace(epoch, good=good, weight=(CHI2_FULL_WEIGHT / chi2) ** 2 if doubtful else 1.0)


def reduced_chi2(residual: FloatArray, variance: FloatArray, good: BoolArray) -> float:
    """Mean of residual**2 / variance over the good pixels."""
    return float(np.mean(residual[good] ** 2 / variance[good])) if good.any() else float("nan")


def solve_positions(problem: Problem, equations: Pass) -> Posterior:
    """Posterior of the positions alone (no background)."""
    active = problem.position_active
    precision = problem.position_precision[active]
    lower = cholesky(equations.information + np.diag(precision), lower=True) if active.any() else np.eye(0)
    root: FloatArray = np.linalg.inv(lower).T.astype(np.float64)
    mean = root @ (root.T @ (equations.vector + precision * problem.position_mean[active]))
    return Posterior(mean=mean, root=root, scale=0.0, log_evidence=0.0, effective_modes=0.0)


def solve_all(problem: Problem, equations: Pass, factor: FloatArray) -> Posterior:
    """Posterior of background and positions; ``factor`` (N, N) as in solve_background."""
    active = problem.position_active
    return solve_background(
        equations.information,
        equations.vector,
        factor,
        problem.position_precision[active],
        problem.position_mean[active],
    )


def updated(problem: Problem, state: State, equations: Pass, mean: FloatArray) -> tuple[State, float, float]:
    """State moved to the globals ``mean``, its largest move of a position (px), and of a flux (sigma)."""
    n = len(state.background)
    active = problem.position_active
    move = np.clip(mean[n:] - state.position[active], -POSITION_CLIP_PX, POSITION_CLIP_PX)
    position = state.position.copy()
    position[active] += move
    change = np.concatenate([mean[:n] - state.background, move])
    steps = np.array([one.step - one.response @ change for one in equations.eliminated])
    count = len(position) // 2
    shifts = slice(count, count + 2)
    steps[:, shifts] = np.clip(steps[:, shifts], -SHIFT_CLIP_PX, SHIFT_CLIP_PX)
    sigma = np.sqrt([np.diag(one.covariance)[:count] for one in equations.eliminated])
    flux_move = np.abs(steps[:, :count]) / sigma * problem.measurable
    moved = replace(state, local=state.local + steps, position=position, background=mean[:n])
    largest = float(np.abs(move).max(initial=0.0))
    return moved, largest, float(np.quantile(flux_move, 0.9)) if flux_move.size else 0.0


def fit_locals(
    problem: Problem, state: State, lattice: Lattice | None, *, rejection: Rejection, passes: int
) -> State:
    """Locals of every epoch, the globals held; the first pass is lenient, it starts from nothing."""
    count = problem.measurable.shape[1]
    for number in range(passes):
        judge = rejection if number else replace(rejection, sharp_only=True)
        local, good, weight = state.local.copy(), state.good.copy(), state.weight.copy()
        for t, epoch, model, _ in linearised(problem, state, lattice):
            judged = _judged(epoch, model, judge, problem.size)
            step, _ = local_step(judged, model, state.local[t])
            step[count : count + 2] = np.clip(step[count : count + 2], -SHIFT_CLIP_PX, SHIFT_CLIP_PX)
            local[t], good[t], weight[t] = state.local[t] + step, judged.good, judged.weight
        state = replace(state, local=local, good=good, weight=weight)
    return state
