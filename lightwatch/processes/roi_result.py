"""From the state of a fit to fluxes with their uncertainties, part by part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.processes.poor_fit import EPOCH_CHI2
from lightwatch.processes.roi_background import Lattice
from lightwatch.processes.roi_epoch import local_step
from lightwatch.processes.roi_passes import Pass, Problem, State, linearised, reduced_chi2
from lightwatch.processes.roi_types import BoolArray, Float32Array, FloatArray, IntArray

LARGE_SHIFT_SIGMA = 4.0
LOW_SNR = 3.0
UNRESOLVED = 0.3  # of a node's light, which finer structure may put under a point source or beside it
#: fields of ROISolution with one row per epoch
EPOCH_FIELDS = (
    "flux",
    "flux_uncertainty",
    "local_uncertainty",
    "background_uncertainty",
    "normalization_uncertainty",
    "shift_px",
    "local_background",
    "reduced_chi2",
    "flags",
    "source_flags",
    "model",
    "point_source_model",
    "rejected",
    "epoch_weight",
    "flux_response",
    "coefficient",
    "fitted_coefficient",
)


def epoch_rows(
    problem: Problem, state: State, lattice: Lattice | None, shift_sigma_px: float
) -> dict[str, NDArray]:
    """Fields of ROISolution with one row per epoch of the problem, less the shares of the globals.

    The locals get a last step with the globals held; model and chi2 follow them to first order.
    """
    count, cube = problem.measurable.shape[1], (len(problem.data), problem.size, problem.size)
    local, sigma = np.zeros_like(state.local), np.zeros(problem.measurable.shape)
    chi2, light, sources = np.zeros(len(local)), np.zeros_like(problem.data), np.zeros_like(problem.data)
    for t, untouched, model, _ in linearised(problem, state, lattice):
        epoch = replace(untouched, good=state.good[t], weight=float(state.weight[t]))
        step, covariance = local_step(epoch, model, state.local[t])
        local[t] = state.local[t] + step
        sigma[t] = np.sqrt(np.diag(covariance)[:count])
        change = model.local_columns @ step
        chi2[t] = reduced_chi2(model.residual - change, model.variance, epoch.good)
        light[t] = model.sources + model.background + state.local[t, -1] + change
        sources[t] = model.sources + model.local_columns[:, :count] @ step[:count]
    scale = np.where(problem.measurable, problem.coefficient[:, None], np.nan)
    return {
        "flux": local[:, :count] / scale,
        "local_uncertainty": sigma / scale,
        "shift_px": local[:, count : count + 2] + problem.star_shift,
        "local_background": local[:, -1],
        "reduced_chi2": chi2,
        "flags": epoch_flags(local[:, count : count + 2], chi2, shift_sigma_px),
        "source_flags": source_flags(problem.measurable, local[:, :count], sigma),
        "model": light.reshape(cube),
        "point_source_model": sources.reshape(cube),
        "rejected": (problem.good & ~state.good).reshape(cube),
        "epoch_weight": state.weight,
        "coefficient": problem.coefficient,
        "fitted_coefficient": problem.coefficient,
    }


def with_uncertainties(
    rows: dict[str, NDArray], background: FloatArray, relative_coefficient: FloatArray
) -> dict[str, NDArray]:
    """``rows`` completed: ``background`` (T, S) the globals' share, ``relative_coefficient`` (T,)."""
    normalization = np.abs(rows["flux"]) * relative_coefficient[:, None]
    background = np.where(np.isfinite(rows["flux"]), background, np.nan)
    total = np.sqrt(rows["local_uncertainty"] ** 2 + background**2 + normalization**2)
    return rows | {
        "background_uncertainty": background,
        "normalization_uncertainty": normalization,
        "flux_uncertainty": total,
    }


def among_all(rows: dict[str, NDArray], use: BoolArray, flags: IntArray) -> dict[str, NDArray]:
    """Rows of the epochs ``use`` (T,) put among all epochs; the others get NaN and ``flags`` (T,)."""
    out = {}
    for name, values in rows.items():
        fill = np.nan if values.dtype.kind == "f" else 0
        full = np.full((len(use), *values.shape[1:]), fill, dtype=values.dtype)
        full[use] = values
        out[name] = full
    out["flags"] = out["flags"] | flags
    out["source_flags"] = out["source_flags"] | flags[:, None]
    return out


def flux_response(problem: Problem, equations: Pass) -> Float32Array:
    """(T, S, G): by how much the fluxes, in the normalised scale, fall when the globals grow."""
    count = problem.measurable.shape[1]
    rows = [
        one.response[:count] / k for one, k in zip(equations.eliminated, problem.coefficient, strict=True)
    ]
    return np.array(rows, dtype=np.float32).reshape(len(rows), count, len(equations.vector))


def global_shares(
    response: Float32Array,
    root: FloatArray,
    background: FloatArray,
    alternatives: list[FloatArray],
    sigma: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """What the globals add to the uncertainty of the fluxes, in the normalised scale.

    Returns what differs between epochs (T, S) and the constant they share (S,), 1 sigma each. ``response``
    (T, S, G) of flux_response; ``root`` @ ``root``.T is the globals' covariance; ``sigma`` (T, S), NaN where
    there is no flux, weighs the epochs in the constant. ``alternatives``: changes of the globals under other,
    nearly as likely priors; the constant's uncertainty covers the farthest of them, and light that is
    distributed otherwise than a smooth prior has it: UNRESOLVED of each node's ``background`` (N,).
    """
    varying, constant = np.zeros(sigma.shape), np.zeros(sigma.shape[1])
    others = np.array(alternatives).reshape(len(alternatives), len(root))
    weights = np.nan_to_num(sigma**-2.0)
    for s, weight in enumerate(weights.T):
        if weight.sum() > 0:
            scatter, row = response[:, s] @ root, weight @ response[:, s] / weight.sum()
            mean = weight @ scatter / weight.sum()
            finer = UNRESOLVED * row[: len(background)] * background
            farthest = np.abs(others @ row).max(initial=0.0)
            constant[s] = np.sqrt(mean @ mean + farthest**2 + finer @ finer)
            varying[:, s] = np.sqrt(((scatter - mean) ** 2).sum(axis=1))
    return varying, constant


def epoch_flags(shift: FloatArray, chi2: FloatArray, shift_sigma_px: float) -> IntArray:
    """(T,) flags of usable epochs."""
    flags = np.zeros(len(chi2), dtype=np.int64)
    flags[~((chi2 > EPOCH_CHI2[0]) & (chi2 < EPOCH_CHI2[1]))] |= int(Flag.POOR_FIT)
    far = np.abs(shift).max(axis=1) > LARGE_SHIFT_SIGMA * shift_sigma_px
    flags[far & (shift_sigma_px > 0)] |= int(Flag.LARGE_SHIFT)
    return flags


def forgiven_small_chi2(flags: IntArray, chi2: FloatArray, noise_chi2: FloatArray) -> IntArray:
    """(T,) flags of epochs; a reduced chi2 (T,) that is small only by an error granted to the PSF is no poor fit.

    One error for all stars of a frame is a rough one, and too large for many of them. ``noise_chi2`` (T,): the
    reduced chi2 by the noise alone; small as well, it says that the noise itself is wrong.
    """
    rough = (noise_chi2 > EPOCH_CHI2[0]) & (chi2 <= EPOCH_CHI2[0])
    return np.where(rough, flags & ~int(Flag.POOR_FIT), flags)


def source_flags(measurable: BoolArray, flux: FloatArray, sigma: FloatArray) -> IntArray:
    """(T, S) flags of single fluxes."""
    flags = np.zeros(flux.shape, dtype=np.int64)
    flags[~measurable] |= int(Flag.LOW_COVERAGE)
    flags[measurable & (np.abs(flux) < LOW_SNR * sigma)] |= int(Flag.LOW_SNR)
    return flags
