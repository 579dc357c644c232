"""New epochs join a solution without its elder epochs: an information filter.

What the elder epochs know of background and positions is the sum of their normal equations, which the solution
keeps; new epochs add theirs, the globals are solved anew under the prior found by the last joint fit, and the
elder fluxes follow by their stored response. The cost does not depend on the number of elder epochs but for a
product of a small vector with each. What differs from a joint fit: elder epochs stay linearised where they
were, and the prior's amplitude and length stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from lightwatch.errors import InputError
from lightwatch.flags import Flag
from lightwatch.processes.roi_background import (
    Lattice,
    covariance_root,
    fixed_lattice,
    prior_factor,
    solve_background,
    whitened,
)
from lightwatch.processes.roi_epoch import Rejection
from lightwatch.processes.roi_passes import Problem, State, fit_locals, moved, normal_equations, prior_of
from lightwatch.processes.roi_problem import first_state, make_problem, usable_epochs
from lightwatch.processes.roi_result import (
    EPOCH_FIELDS,
    among_all,
    epoch_rows,
    flux_response,
    global_shares,
    with_uncertainties,
)
from lightwatch.processes.roi_types import FloatArray, PointSources, ROIEpochs, ROISolution

LOCAL_PASSES = 4


def taken_epochs(solution: ROISolution, index: Any) -> ROISolution:
    """The solution with its epochs in another order, or some of them."""
    return replace(solution, **{name: getattr(solution, name)[index] for name in EPOCH_FIELDS})


def regauged(
    solution: ROISolution, coefficient: FloatArray, coefficient_uncertainty: FloatArray
) -> tuple[ROISolution, FloatArray]:
    """The solution on the scale of other normalization coefficients (T,), and what is left between them (T,).

    A common factor is absorbed exactly by the background. Differences between epochs go into the fluxes, whose
    background is wrong by that fraction of itself, all changes since the epoch was fitted together: it is
    returned, for the caller to judge.
    """
    factor = float(np.nanmedian(coefficient / solution.coefficient))
    fitted = solution.fitted_coefficient * factor
    nodes = solution.background.size
    unit = np.ones(len(solution.vector))
    unit[:nodes] = factor
    scale = (solution.coefficient / coefficient)[:, None]
    rows = {
        name: getattr(solution, name) * scale
        for name in ("flux", "local_uncertainty", "background_uncertainty")
    }
    share = np.abs(rows["flux"]) * (coefficient_uncertainty / coefficient)[:, None]
    total = np.sqrt(rows["local_uncertainty"] ** 2 + rows["background_uncertainty"] ** 2 + share**2)
    changed = replace(
        solution,
        **rows,
        normalization_uncertainty=share,
        flux_uncertainty=total,
        constant_offset_uncertainty=solution.constant_offset_uncertainty / factor,
        background=solution.background / factor,
        background_amplitude=solution.background_amplitude / factor,
        information=(solution.information * unit * unit[:, None]).astype(np.float32),
        vector=solution.vector * unit,
        flux_response=(solution.flux_response * unit * scale[:, :, None]).astype(np.float32),
        coefficient=coefficient,
        fitted_coefficient=fitted,
    )
    return changed, coefficient / fitted - 1


def add_epochs(
    solution: ROISolution, epochs: ROIEpochs, sources: PointSources, *, rejection_sigma: float
) -> ROISolution:
    """The solution with new epochs at its end; ``sources`` as in the joint fit.

    Fluxes and uncertainties of all epochs are those of the enlarged set, but the constants' uncertainty stays
    as it was; shifts, local backgrounds, models and flags of the elder epochs too. Raises
    InputError("bad_shapes").
    """
    if epochs.data.shape[1:] != solution.model.shape[1:]:
        raise InputError("bad_shapes", "new epochs of a ROI must have cutouts of the size of the old ones")
    use, flags = usable_epochs(epochs, sources)
    problem = make_problem(epochs, sources, use, solution.local_background_fitted, solution.shift_sigma_px)
    problem = replace(problem, position_active=np.diag(solution.position_covariance_px2) > 0)
    lattice = _lattice(solution, problem)
    state = first_state(problem, solution.position_px, solution.background)
    state = replace(state, shift_scatter_px=solution.shift_scatter_px)
    rejection = Rejection(rejection_sigma, False)
    state = fit_locals(problem, state, lattice, rejection=rejection, passes=LOCAL_PASSES)
    equations, state = normal_equations(problem, state, lattice, rejection=rejection)
    information = solution.information + equations.information
    vector = solution.vector + equations.vector
    change, root = _change(solution, problem, lattice, information, vector)
    state = moved(state, equations, change, problem.position_active)
    rows = epoch_rows(problem, state, lattice, solution.shift_sigma_px)
    rows["flux_response"] = flux_response(problem, equations)
    if not solution.converged:
        rows["flags"] = rows["flags"] | int(Flag.NOT_CONVERGED)
    relative = (epochs.coefficient_uncertainty / epochs.coefficient)[use]
    new = among_all(with_uncertainties(rows, np.zeros(rows["flux"].shape), relative), use, flags)
    old = {name: getattr(solution, name) for name in EPOCH_FIELDS}
    old["flux"] = old["flux"] - solution.flux_response @ change
    joined: dict[str, Any] = {name: np.concatenate([old[name], new[name]]) for name in EPOCH_FIELDS}
    together = replace(solution, **joined, information=information.astype(np.float32), vector=vector)
    return _with_globals(together, state, root)


def _lattice(solution: ROISolution, problem: Problem) -> Lattice | None:
    if not solution.background.size:
        return None
    spacing, nodes = solution.background_spacing_px, len(solution.background)
    return fixed_lattice(nodes, spacing, problem.size, problem.jacobian, problem.origin)


def _change(
    solution: ROISolution,
    problem: Problem,
    lattice: Lattice | None,
    information: FloatArray,
    vector: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """(G,) change of the globals by what came in, under one and the same prior, and root of their covariance."""
    factor = np.zeros((0, 0))
    if lattice is not None:
        factor = solution.background_amplitude.ravel()[:, None] * prior_factor(
            lattice, solution.correlation_px
        )
    prior = prior_of(problem, factor)
    before = whitened(solution.information.astype(np.float64), solution.vector, prior)
    after = whitened(information, vector, prior)
    change = solve_background(after, prior, 1.0).mean - solve_background(before, prior, 1.0).mean
    return change, covariance_root(after, prior, 1.0)[0]


def _with_globals(solution: ROISolution, state: State, root: FloatArray) -> ROISolution:
    """Globals from the state, and the uncertainties that follow from their covariance."""
    nodes = solution.background.size
    active = np.diag(solution.position_covariance_px2) > 0
    covariance = solution.position_covariance_px2.copy()
    covariance[np.ix_(active, active)] = root[nodes:] @ root[nodes:].T
    varying = np.full(solution.flux.shape, np.nan)
    usable = np.isfinite(solution.flux_response).all(axis=(1, 2))
    response, sigma = solution.flux_response[usable], solution.local_uncertainty[usable]
    varying[usable], _ = global_shares(response, root, solution.background.ravel(), [], sigma)
    varying = np.where(np.isfinite(solution.flux), varying, np.nan)
    share = solution.normalization_uncertainty
    return replace(
        solution,
        background=state.background.reshape(solution.background.shape),
        position_px=state.position.reshape(-1, 2),
        position_covariance_px2=covariance,
        background_uncertainty=varying,
        flux_uncertainty=np.sqrt(solution.local_uncertainty**2 + varying**2 + share**2),
    )
