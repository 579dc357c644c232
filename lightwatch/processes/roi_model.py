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

import numpy as np

from lightwatch.errors import ProcessError
from lightwatch.flags import Flag
from lightwatch.processes.roi_background import (
    Lattice,
    Posterior,
    amplitude_map,
    covariance_root,
    make_lattice,
    prior_factor,
    solve_background,
    whitened,
)
from lightwatch.processes.roi_epoch import Rejection
from lightwatch.processes.roi_passes import (
    Pass,
    Problem,
    State,
    fit_locals,
    normal_equations,
    prior_of,
    updated,
)
from lightwatch.processes.roi_problem import first_state, make_problem, sharpest_fwhm, usable_epochs
from lightwatch.processes.roi_render import background_image, high_resolution_image
from lightwatch.processes.roi_result import (
    among_all,
    epoch_rows,
    flux_response,
    global_shares,
    with_uncertainties,
)
from lightwatch.processes.roi_types import FloatArray, PointSources, ROIEpochs, ROISolution
from lightwatch.processes.roi_update import add_epochs, regauged, taken_epochs

__all__ = [
    "PointSources",
    "ROIEpochs",
    "ROISolution",
    "add_epochs",
    "background_image",
    "fit_roi",
    "high_resolution_image",
    "reference_frame",
    "regauged",
    "taken_epochs",
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
    root: FloatArray  # (G, G): covariance of the globals = root @ root.T
    alternatives: list[FloatArray]  # means of the globals under other correlation lengths, less the mean
    amplitude: FloatArray  # (N,) prior of the background
    correlation_px: float
    converged: bool
    move_px: float
    passes: int
    effective_modes: float


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
) -> ROISolution:
    """Joint fit.

    ``shift_sigma_px``: prior of each epoch's translation against its WCS where the frame's stars say less
    (0: trust the WCS). ``rejection_sigma``: residual beyond which a pixel is taken as struck.
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
        fit = _fit_background(problem, sources, lattice, rejection_sigma, max_passes)
    rows = epoch_rows(problem, fit.state, lattice, shift_sigma_px)
    rows["flux_response"] = flux_response(problem, fit.equations)
    varying, constant = global_shares(
        rows["flux_response"],
        fit.root,
        fit.state.background,
        fit.alternatives,
        rows["local_uncertainty"],
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
        correlation_px=fit.correlation_px,
        information=fit.equations.information.astype(np.float32),
        vector=fit.equations.vector,
        shift_sigma_px=shift_sigma_px,
        shift_scatter_px=fit.state.shift_scatter_px,
        local_background_fitted=fit_local_background,
        joint_epochs=len(use),
        converged=fit.converged,
        n_passes=fit.passes,
        last_step_px=fit.move_px,
        effective_modes=fit.effective_modes,
    )


def _lattice(problem: Problem) -> Lattice:
    return make_lattice(problem.size, sharpest_fwhm(problem), problem.jacobian, problem.origin)


def _position_covariance(problem: Problem, fit: _Fit) -> FloatArray:
    root = fit.root[len(fit.state.background) :]
    full = np.zeros((len(problem.position_active),) * 2)
    full[np.ix_(problem.position_active, problem.position_active)] = root @ root.T
    return full


def _done(move: float, flux_move: float) -> bool:
    return move < STEP_CONVERGED_PX and flux_move < FLUX_CONVERGED_SIGMA


def _fit_positions(problem: Problem, sources: PointSources, rejection_sigma: float, max_passes: int) -> _Fit:
    """Point sources alone. No pixel is rejected before the first passes have brought the model near."""
    state = first_state(problem, sources.position_px, np.zeros(0))
    state = fit_locals(problem, state, None, rejection=Rejection(rejection_sigma, True), passes=1)
    prior = prior_of(problem, np.zeros((0, 0)))
    for number in range(1, POSITION_PASSES + max_passes + 1):
        rejection = Rejection(rejection_sigma, sharp_only=number <= POSITION_PASSES)
        equations, state = normal_equations(problem, state, None, rejection=rejection)
        data = whitened(equations.information, equations.vector, prior)
        state, move, flux_move = updated(problem, state, equations, solve_background(data, prior, 1.0).mean)
        if number > POSITION_PASSES and _done(move, flux_move):
            break
    root, _ = covariance_root(data, prior, 1.0)
    done = _done(move, flux_move)
    return _Fit(state, equations, root, [], np.zeros(0), np.nan, done, move, number, 0.0)


def _fit_background(
    problem: Problem, sources: PointSources, lattice: Lattice, rejection_sigma: float, max_passes: int
) -> _Fit:
    """Point sources and background. The first solution has a prior of even amplitude over the lattice."""
    # light that is not in the model yet would drag the positions: they stay
    state = first_state(problem, sources.position_px, np.zeros(0))
    first = Rejection(rejection_sigma, True)
    state = fit_locals(problem, state, None, rejection=first, passes=POSITION_PASSES)
    state = replace(state, background=np.zeros(lattice.size**2))
    fwhm = sharpest_fwhm(problem)
    lengths = [length * fwhm for length in LENGTHS_FWHM]
    for number in range(1, max_passes + 1):
        rejection = Rejection(rejection_sigma, sharp_only=not state.background.any())
        equations, state = normal_equations(problem, state, lattice, rejection=rejection)
        light = state.background
        if not light.any():
            even = np.ones(lattice.size**2)
            light = _averaged(_solutions(problem, equations, lattice, even, lengths))[: lattice.size**2]
        shape = amplitude_map(light.reshape(lattice.size, -1), lattice, SMOOTH_FWHM * fwhm).ravel()
        tried = _solutions(problem, equations, lattice, shape, lengths)
        mean = _averaged(tried)
        best = int(np.argmax([one.log_evidence for one in tried]))
        length, scale, likeliest = lengths[best], tried[best].scale, tried[best].log_evidence
        alternatives = [one.mean - mean for one in tried if one.log_evidence > likeliest - LIKELY]
        if number > 1:
            pairs = zip(lengths, tried, strict=True)
            lengths = [one for one, found in pairs if found.log_evidence > likeliest - HOPELESS]
        state, move, flux_move = updated(problem, state, equations, mean)
        if number > 1 and _done(move, flux_move):
            break
    amplitude = scale * shape
    prior = prior_of(problem, amplitude[:, None] * prior_factor(lattice, length))
    root, modes = covariance_root(whitened(equations.information, equations.vector, prior), prior, 1.0)
    done = _done(move, flux_move)
    return _Fit(state, equations, root, alternatives, amplitude, length, done, move, number, modes)


def _solutions(
    problem: Problem, equations: Pass, lattice: Lattice, shape: FloatArray, lengths: list[float]
) -> list[Posterior]:
    """One solution per correlation length, each of the amplitude that the evidence likes best."""
    out = []
    for length in lengths:
        prior = prior_of(problem, shape[:, None] * prior_factor(lattice, length))
        out.append(solve_background(whitened(equations.information, equations.vector, prior), prior))
    return out


def _averaged(tried: list[Posterior]) -> FloatArray:
    """Mean of the solutions weighted by their evidence.

    The average (not the best) so that two lengths of equal merit cannot take turns from pass to pass.
    """
    evidence = np.array([one.log_evidence for one in tried])
    weight = np.exp(evidence - evidence.max())
    return np.asarray(np.average([one.mean for one in tried], axis=0, weights=weight))
