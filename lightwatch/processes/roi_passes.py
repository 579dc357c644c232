"""Gauss-Newton passes over all epochs of a ROI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from lightwatch.processes.psf_model import LocalPSF
from lightwatch.processes.roi_background import Lattice, Prior, design_matrix
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
from lightwatch.processes.roi_shift import additional_scatter, known_by_stars, prior_variance
from lightwatch.processes.roi_types import BoolArray, Float32Array, FloatArray

CHUNK = 32  # epochs whose PSF images are held at once
CHI2_FULL_WEIGHT = 1.3  # an epoch beyond it counts less in what is common to all
SHIFT_CLIP_PX = 0.5
POSITION_CLIP_PX = 0.3
STALE_PX = 0.02  # move of an epoch up to which its background's change is a matter of its slope
KEPT_BYTES = 100_000_000
SETTLED_SIGMA = 0.1  # step of the fluxes below which the locals need no further pass


class BackgroundColumns:
    """Columns of the background by epoch, kept while the epoch hardly moves and there is room for them."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[FloatArray, Float32Array]] = {}
        self._bytes = 0

    def near(self, t: int, place: FloatArray) -> tuple[FloatArray, Float32Array] | None:
        """Place and columns (N, P) of epoch t, if they were made within STALE_PX of ``place``."""
        kept = self._kept.get(t)
        return kept if kept is not None and np.abs(kept[0] - place).max() <= STALE_PX else None

    def keep(self, t: int, place: FloatArray, columns: Float32Array) -> None:
        """Remember them, in the room of those of the same epoch or in what is left."""
        if t in self._kept:
            self._bytes -= self._kept.pop(t)[1].nbytes
        if self._bytes + columns.nbytes <= KEPT_BYTES:
            self._kept[t] = place, columns
            self._bytes += columns.nbytes


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
    origin: FloatArray  # (T, 2) with the shift of the stars
    star_shift: FloatArray  # (T, 2)
    star_shift_sigma: FloatArray  # (T,)
    shift_sigma_px: float
    coefficient: FloatArray  # (T,)
    measurable: BoolArray  # (T, S)
    local_active: BoolArray  # (T, S + 3)
    position_mean: FloatArray  # (2 S,)
    position_precision: FloatArray  # (2 S,)
    position_active: BoolArray  # (2 S,)
    columns: BackgroundColumns


@dataclass(frozen=True)
class State:
    """Where the fit stands."""

    local: FloatArray  # (T, S + 3): fluxes in the frame, shift x and y beyond the stars', local background
    position: FloatArray  # (2 S,)
    background: FloatArray  # (N,) electron/s per node, normalised scale
    good: BoolArray  # (T, P)
    weight: FloatArray  # (T,)
    shift_scatter_px: float  # beyond what the stars let expect


@dataclass(frozen=True)
class Pass:
    """Normal equations of all epochs at one state (globals: background, active positions)."""

    information: FloatArray  # (G, G)
    vector: FloatArray  # (G,), in information form: information @ globals = vector without a prior
    eliminated: list[Eliminated]  # their own information is dropped


def linearised(
    problem: Problem, state: State, lattice: Lattice | None
) -> Iterator[tuple[int, EpochData, EpochModel, Float32Array]]:
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
            columns, light = _background(problem, state, t, middle, lattice)
            epoch = _epoch(problem, state, t)
            yield (
                int(t),
                epoch,
                epoch_model(epoch, image, light, state.local[t], problem.jacobian[t]),
                columns,
            )


def _background(
    problem: Problem, state: State, t: int, centre: FloatArray, lattice: Lattice | None
) -> tuple[Float32Array, FloatArray]:
    """Columns (N, P) of the background's nodes and its light (n, n) in an epoch."""
    if lattice is None:
        return np.zeros((0, problem.size**2), dtype=np.float32), np.zeros((problem.size, problem.size))
    kept = problem.columns.near(t, centre)
    if kept is None:
        kept = centre, _background_columns(problem, t, centre, lattice)
        problem.columns.keep(t, *kept)
    place, columns = kept
    light = (state.background.astype(np.float32) @ columns).astype(np.float64)
    light = light.reshape(problem.size, problem.size)
    slope_y, slope_x = np.gradient(light)
    return columns, light - (centre[0] - place[0]) * slope_x - (centre[1] - place[1]) * slope_y


def _background_columns(problem: Problem, t: int, centre: FloatArray, lattice: Lattice) -> Float32Array:
    nodes = centre + lattice.nodes @ problem.jacobian[t].T
    table = psf_table(take_psf(problem.psf, t), lattice.table_half_size_px, quadrature=problem.quadrature)
    return design_matrix(np.float32(problem.coefficient[t]) * table, nodes, problem.size)


def shift_variance(problem: Problem, state: State) -> FloatArray:
    """(T,) variance per axis of the prior of the shifts; 0 where the WCS is trusted."""
    return prior_variance(problem.star_shift_sigma, state.shift_scatter_px, problem.shift_sigma_px)


def _epoch(problem: Problem, state: State, t: int) -> EpochData:
    count = problem.measurable.shape[1]
    variance = shift_variance(problem, state)[t]
    precision = 1 / variance if variance > 0 else 0.0
    return EpochData(
        data=problem.data[t],
        background_variance=problem.background_variance[t],
        good=problem.good[t],
        exposure=float(problem.exposure[t]),
        weight=float(state.weight[t]),
        measurable=problem.measurable[t],
        local_precision=np.concatenate([np.zeros(count), [precision, precision, 0.0]]),
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
        positions = model.position_columns.T[active].astype(np.float32)
        one = eliminate(judged, model, state.local[t], np.vstack([columns, positions]))
        information += one.information
        vector += one.vector
        eliminated.append(replace(one, information=np.zeros((0, 0), np.float32)))
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


def prior_of(problem: Problem, factor: FloatArray) -> Prior:
    """Prior of background (``factor`` (N, N), N = 0 without one) and active positions."""
    active = problem.position_active
    return Prior(factor, problem.position_precision[active], problem.position_mean[active])


def updated(problem: Problem, state: State, equations: Pass, mean: FloatArray) -> tuple[State, float, float]:
    """State moved to the globals ``mean``, its largest move of a position (px), and of a flux (sigma)."""
    n = len(state.background)
    active = problem.position_active
    move = np.clip(mean[n:] - state.position[active], -POSITION_CLIP_PX, POSITION_CLIP_PX)
    change = np.concatenate([mean[:n] - state.background, move])
    count = len(state.position) // 2
    sigma = np.sqrt([np.diag(one.covariance)[:count] for one in equations.eliminated])
    after = moved(state, equations, change, active)
    flux_move = np.abs(after.local - state.local)[:, :count] / sigma * problem.measurable
    after = replace(after, shift_scatter_px=_shift_scatter(problem, after, equations))
    largest = float(np.abs(move).max(initial=0.0))
    return after, largest, float(np.quantile(flux_move, 0.9)) if flux_move.size else 0.0


def moved(state: State, equations: Pass, change: FloatArray, active: BoolArray) -> State:
    """State after a step ``change`` (G,) of background and ``active`` positions; the locals follow."""
    count, n = len(state.position) // 2, len(state.background)
    steps = np.array([one.step - one.response @ change for one in equations.eliminated])
    shifts = slice(count, count + 2)
    steps = steps.reshape(state.local.shape)
    steps[:, shifts] = np.clip(steps[:, shifts], -SHIFT_CLIP_PX, SHIFT_CLIP_PX)
    position = state.position.copy()
    position[active] += change[n:]
    return replace(
        state, local=state.local + steps, position=position, background=state.background + change[:n]
    )


def fit_locals(
    problem: Problem, state: State, lattice: Lattice | None, *, rejection: Rejection, passes: int
) -> State:
    """Locals of every epoch, the globals held; the first pass is lenient, it starts from nothing."""
    count = problem.measurable.shape[1]
    for number in range(passes):
        judge = rejection if number else replace(rejection, sharp_only=True)
        local, good, weight = state.local.copy(), state.good.copy(), state.weight.copy()
        flux_move = np.zeros(problem.measurable.shape)
        for t, epoch, model, _ in linearised(problem, state, lattice):
            judged = _judged(epoch, model, judge, problem.size)
            step, covariance = local_step(judged, model, state.local[t])
            flux_move[t] = np.abs(step[:count]) / np.sqrt(np.diag(covariance)[:count])
            step[count : count + 2] = np.clip(step[count : count + 2], -SHIFT_CLIP_PX, SHIFT_CLIP_PX)
            local[t], good[t], weight[t] = state.local[t] + step, judged.good, judged.weight
        state = replace(state, local=local, good=good, weight=weight)
        if number and flux_move[problem.measurable].max(initial=0.0) < SETTLED_SIGMA:
            break
    return state


def _shift_scatter(problem: Problem, state: State, equations: Pass) -> float:
    """Scatter of the shifts beyond what the stars let expect, from the epochs whose stars say something."""
    count = problem.measurable.shape[1]
    shifts = slice(count, count + 2)
    known = known_by_stars(problem.star_shift_sigma, problem.shift_sigma_px) & problem.local_active[:, count]
    if not known.any():
        return 0.0
    return additional_scatter(
        state.local[known, shifts],
        np.array([one.covariance[shifts, shifts] for one in equations.eliminated])[known],
        problem.star_shift_sigma[known] ** 2,
        shift_variance(problem, state)[known],
        problem.shift_sigma_px,
    )
