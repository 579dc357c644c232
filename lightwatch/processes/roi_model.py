"""All epochs of a region of interest as one model: point sources on a common background.

In the pixel i of epoch t, with A the epoch's jacobian, o its origin and k its coefficient::

    d_t(i) = sum_s F_ts P_t(x_i - o_t - A_t c_s - delta_t)                  point sources
           + k_t sum_j h_j P_t(x_i - o_t - A_t y_j - delta_t) + b_t + noise    background nodes

F, the shift delta and the local background b belong to one epoch and are eliminated exactly
(Schur complement); the positions c and the nodes h are solved together, exactly, from the sum of
what every epoch leaves (variable projection, Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413).
Background and point sources can stand in for one another; what decides between them is the
prior of h (correlated nodes, amplitude following the light, strength by the evidence), and how
far it decides is stated in ``constant_offset_uncertainty``. The mean shift of the epochs is where
their WCS put it (a prior on every shift), so the order of the epochs does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwatch.errors import InputError, ProcessError
from lightwatch.flags import Flag
from lightwatch.processes.roi_background import (
    Lattice,
    Posterior,
    amplitude_map,
    fixed_lattice,
    make_lattice,
    prior_factor,
)
from lightwatch.processes.roi_epoch import Rejection
from lightwatch.processes.roi_passes import (
    Pass,
    Problem,
    State,
    fit_locals,
    normal_equations,
    solve_all,
    solve_positions,
    updated,
)
from lightwatch.processes.roi_problem import first_state, make_problem, sharpest_fwhm, usable_epochs
from lightwatch.processes.roi_render import background_image, high_resolution_image
from lightwatch.processes.roi_result import among_all, epoch_rows, global_shares, with_uncertainties
from lightwatch.processes.roi_types import BoolArray, FloatArray, PointSources, ROIEpochs, ROISolution

__all__ = [
    "PointSources",
    "ROIEpochs",
    "ROISolution",
    "append_epochs",
    "background_image",
    "fit_roi",
    "high_resolution_image",
    "reference_frame",
]

STEP_CONVERGED_PX = 0.003
FLUX_CONVERGED_SIGMA = 0.1
POSITION_PASSES = 4  # of point sources alone, before there is a background
LENGTHS_FWHM = (0.35, 0.6, 1.0, 1.7)  # correlation lengths of the background to choose from
LIKELY = 8.0  # difference of log evidence up to which another length counts as possible
HOPELESS = 25.0  # and from which it is not tried again
SMOOTH_FWHM = 0.7  # of the amplitude map; all in units of the FWHM of the sharpest epochs


@dataclass(frozen=True)
class _Fit:
    state: State
    equations: Pass
    posterior: Posterior
    alternatives: list[FloatArray]  # means of the globals under other correlation lengths
    amplitude: FloatArray  # (N,) prior of the background
    converged: bool
    move_px: float
    passes: int


def reference_frame(sky_to_pixel: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Reference frame of a set of epochs: that of the most central one.

    ``sky_to_pixel`` (T, 2, 2) takes tangent-plane offsets (east, north) arcsec at the ROI to px of
    the epoch. Returns that matrix for the reference (2, 2), and ``jacobian`` (T, 2, 2) for ROIEpochs.
    The choice does not depend on the order of the epochs.
    """
    apart = np.abs(sky_to_pixel[:, None] - sky_to_pixel[None, :]).sum(axis=(1, 2, 3))
    central = sky_to_pixel[apart <= apart.min() * (1 + 1e-9)]
    reference = central[np.lexsort(central.reshape(-1, 4).T)[0]]
    return reference.copy(), sky_to_pixel @ np.linalg.inv(reference)


def fit_roi(
    epochs: ROIEpochs,
    sources: PointSources,
    *,
    with_background: bool,
    fit_local_background: bool,
    shift_sigma_px: float,
    rejection_sigma: float,
    max_passes: int,
    start: ROISolution | None,
) -> ROISolution:
    """Joint fit; ``start`` (an earlier solution of the same ROI, or None) shortens it.

    ``shift_sigma_px``: prior of each epoch's translation against its WCS (0: trust the WCS).
    ``rejection_sigma``: residual beyond which a pixel is taken as struck.
    ``max_passes``: Gauss-Newton passes of the full model; 3 are typical.
    Raises ProcessError("no_usable_epochs") and InputError("bad_shapes").
    """
    use, flags = usable_epochs(epochs, sources)
    if not use.any():
        raise ProcessError("no_usable_epochs", "no epoch of the ROI has usable pixels and a usable PSF")
    problem = make_problem(epochs, sources, use, fit_local_background, shift_sigma_px)
    lattice = _lattice(problem) if with_background else None
    if lattice is None:
        fit = _fit_positions(problem, sources, rejection_sigma, max_passes)
    else:
        fit = _fit_background(problem, sources, lattice, rejection_sigma, max_passes, start)
    rows = epoch_rows(problem, fit.state, lattice, shift_sigma_px)
    varying, constant = global_shares(
        problem, fit.equations, fit.posterior, fit.alternatives, rows["local_uncertainty"]
    )
    relative = (epochs.coefficient_uncertainty / epochs.coefficient)[use]
    if not fit.converged:
        rows["flags"] = rows["flags"] | int(Flag.NOT_CONVERGED)
    shape = (0, 0) if lattice is None else (lattice.size, lattice.size)
    return ROISolution(
        **among_all(with_uncertainties(rows, varying, relative), use, flags),
        constant_offset_uncertainty=constant,
        position_px=fit.state.position.reshape(-1, 2),
        position_covariance_px2=_position_covariance(problem, fit),
        background=fit.state.background.reshape(shape),
        background_spacing_px=np.nan if lattice is None else lattice.spacing_px,
        background_amplitude=fit.amplitude.reshape(shape),
        shift_sigma_px=shift_sigma_px,
        local_background_fitted=fit_local_background,
        converged=fit.converged,
        n_passes=fit.passes,
        last_step_px=fit.move_px,
        effective_modes=fit.posterior.effective_modes,
    )


def _lattice(problem: Problem) -> Lattice:
    return make_lattice(problem.size, sharpest_fwhm(problem), problem.jacobian, problem.origin)


def _position_covariance(problem: Problem, fit: _Fit) -> FloatArray:
    root = fit.posterior.root[len(fit.state.background) :]
    full = np.zeros((len(problem.position_active),) * 2)
    full[np.ix_(problem.position_active, problem.position_active)] = root @ root.T
    return full


def _done(move: float, flux_move: float) -> bool:
    return move < STEP_CONVERGED_PX and flux_move < FLUX_CONVERGED_SIGMA


def _fit_positions(problem: Problem, sources: PointSources, rejection_sigma: float, max_passes: int) -> _Fit:
    """Point sources alone. No pixel is rejected before the first passes have brought the model near."""
    state = first_state(problem, sources.position_px, np.zeros(0))
    state = fit_locals(problem, state, None, rejection=Rejection(rejection_sigma, True), passes=1)
    for number in range(1, POSITION_PASSES + max_passes + 1):
        rejection = Rejection(rejection_sigma, sharp_only=number <= POSITION_PASSES)
        equations, state = normal_equations(problem, state, None, rejection=rejection)
        posterior = solve_positions(problem, equations)
        state, move, flux_move = updated(problem, state, equations, posterior.mean)
        if number > POSITION_PASSES and _done(move, flux_move):
            break
    return _Fit(state, equations, posterior, [], np.zeros(0), _done(move, flux_move), move, number)


def _fit_background(
    problem: Problem,
    sources: PointSources,
    lattice: Lattice,
    rejection_sigma: float,
    max_passes: int,
    start: ROISolution | None,
) -> _Fit:
    """Point sources and background. The first solution has a prior of even amplitude over the lattice."""
    state = _start(problem, sources, lattice, rejection_sigma, start)
    fwhm = sharpest_fwhm(problem)
    correlations = [prior_factor(lattice, length * fwhm) for length in LENGTHS_FWHM]
    for number in range(1, max_passes + 1):
        rejection = Rejection(rejection_sigma, sharp_only=not state.background.any())
        equations, state = normal_equations(problem, state, lattice, rejection=rejection)
        light = state.background
        if not light.any():
            light = solve_all(problem, equations, correlations[0]).mean[: lattice.size**2]
        shape = amplitude_map(light.reshape(lattice.size, -1), lattice, SMOOTH_FWHM * fwhm).ravel()
        tried = [solve_all(problem, equations, shape[:, None] * one) for one in correlations]
        posterior, alternatives = _averaged(tried)
        if number > 1:
            hope = posterior.log_evidence - HOPELESS
            correlations = [c for c, one in zip(correlations, tried, strict=True) if one.log_evidence > hope]
        amplitude = posterior.scale * shape
        state, move, flux_move = updated(problem, state, equations, posterior.mean)
        if number > 1 and _done(move, flux_move):
            break
    return _Fit(state, equations, posterior, alternatives, amplitude, _done(move, flux_move), move, number)


def _averaged(tried: list[Posterior]) -> tuple[Posterior, list[FloatArray]]:
    """The likeliest posterior, its mean averaged over all by their evidence; means of the likely ones.

    The average (not the best) so that two lengths of equal merit cannot take turns from pass to pass.
    """
    evidence = np.array([one.log_evidence for one in tried])
    weight = np.exp(evidence - evidence.max())
    mean = np.average([one.mean for one in tried], axis=0, weights=weight)
    likely = [one.mean for one in tried if one.log_evidence > evidence.max() - LIKELY]
    return replace(tried[int(evidence.argmax())], mean=mean), likely


def _start(
    problem: Problem,
    sources: PointSources,
    lattice: Lattice,
    rejection_sigma: float,
    start: ROISolution | None,
) -> State:
    """Where the joint passes begin: an earlier solution, or the point sources fitted alone."""
    size = lattice.size
    if start is not None and start.background.shape == (size, size):
        state = first_state(problem, start.position_px, start.background)
        return fit_locals(problem, state, lattice, rejection=Rejection(rejection_sigma, False), passes=2)
    # light that is not in the model yet would drag the positions: they stay
    state = first_state(problem, sources.position_px, np.zeros(0))
    state = fit_locals(
        problem, state, None, rejection=Rejection(rejection_sigma, True), passes=POSITION_PASSES
    )
    return replace(state, background=np.zeros(size**2))


def append_epochs(solution: ROISolution, epochs: ROIEpochs, *, rejection_sigma: float) -> ROISolution:
    """The solution with new epochs at its end, background and positions kept as they were.

    ``background_uncertainty`` of the new epochs is the median of the old ones until the next joint fit.
    Raises InputError("bad_shapes").
    """
    sources = PointSources(solution.position_px, np.zeros(len(solution.position_px)))
    use, flags = usable_epochs(epochs, sources)
    if epochs.data.shape[1:] != solution.model.shape[1:]:
        raise InputError("bad_shapes", "new epochs of a ROI must have cutouts of the size of the old ones")
    rows = _appended_rows(solution, epochs, sources, use, rejection_sigma)
    median = np.nanmedian(solution.background_uncertainty, axis=0)
    relative = (epochs.coefficient_uncertainty / epochs.coefficient)[use]
    background = np.broadcast_to(median, rows["flux"].shape)
    complete = among_all(with_uncertainties(rows, background, relative), use, flags)
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(solution, name), new]) for name, new in complete.items()
    }
    return replace(solution, **joined)


def _appended_rows(
    solution: ROISolution,
    epochs: ROIEpochs,
    sources: PointSources,
    use: BoolArray,
    rejection_sigma: float,
) -> dict[str, NDArray]:
    problem = make_problem(epochs, sources, use, solution.local_background_fitted, solution.shift_sigma_px)
    lattice = None
    if solution.background.size:
        spacing, nodes = solution.background_spacing_px, len(solution.background)
        lattice = fixed_lattice(nodes, spacing, problem.size, problem.jacobian, problem.origin)
    state = first_state(problem, solution.position_px, solution.background)
    state = fit_locals(problem, state, lattice, rejection=Rejection(rejection_sigma, False), passes=3)
    return epoch_rows(problem, state, lattice, solution.shift_sigma_px)
