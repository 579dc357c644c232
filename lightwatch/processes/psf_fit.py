"""PSFs of many frames at once from cutouts of their stars.

Around the compiled fit of :mod:`lightwatch.processes.psf_solver`: known neighbours are measured and
subtracted, pixels struck by cosmic rays and stars that are not single are put aside and the frame is
fitted again, and the PSF may vary across the frame where the stars give evidence for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.processes.photometry import light_of_neighbours
from lightwatch.processes.poor_fit import PSF_CHI2
from lightwatch.processes.psf_batch import bucket, solve_in_batches
from lightwatch.processes.psf_cutouts import BoolArray, StarCutouts, usable_pixels
from lightwatch.processes.psf_gradient import asks_for_gradient, better, with_gradient
from lightwatch.processes.psf_jax import jax
from lightwatch.processes.psf_model import FloatArray, PSFModel, local_psf, position_terms, render
from lightwatch.processes.psf_moffat_stage import starting_state
from lightwatch.processes.psf_solver import Solution, Step, as_steps, solve_block
from lightwatch.processes.psf_stars import FitState, FrameStars
from lightwatch.processes.psf_work import (
    FIRST_MODEL_ERROR,
    LARGEST_SIGMA,
    Work,
    chi2_of_stars,
    count,
    error_of_model,
    light_squared,
    put_aside,
    reduced_chi2,
    solution_of,
)

__all__ = ["PSFFit", "StarCutouts", "fit_psfs"]

STAR_BUCKETS = (8, 16, 24, 32, 64)
MODES = 20  # cosines per axis; 2L / M <= 0.3 for n / FWHM up to 17
ROUNDS = 4
LENIENT_TURNS = 2  # while neighbours are not yet well subtracted
FROM_THE_START = as_steps((Step.FLUXES, 1), (Step.MOFFAT, 5), (Step.TRUST, 1), (Step.STRUCTURE, 3))
FROM_THE_LAST = as_steps((Step.TRUST, 1), (Step.STRUCTURE, 2))
# nodes per pixel and axis of the Gauss-Legendre integral: where two are enough, one more changes nothing
# in the third digit of the PSF
FEW_NODES, MANY_NODES, FEW_NODES_FWHM_PX = 2, 3, 2.7
NEIGHBOUR_MASK_FWHM = 1.2
NEIGHBOUR_MASK_PX = 2.5  # at least, before the flux of a neighbour is known
MIN_GOOD_FRACTION = 0.25
NEIGHBOUR_ERROR = 0.05  # of subtracted light: positions of neighbours are not refined
# Where noise does not explain the residuals, pixels that see the PSF only at their own phases make
# structure out of the rest, worse the less the PSF is sampled: (FWHM in px, largest sigma).
UNDERSAMPLED = ((2.5, 0.03), (3.5, LARGEST_SIGMA))
NEGLIGIBLE_PULL = 10.0  # sigma, of all changed pixels of a frame together
# Where the structure is not that of a PSF: a smoother one, and at last a Moffat.
WEAKER_STRUCTURE = (0.1, 0.03, 1e-4)
NORM_RANGE = (0.7, 1.01)
DEEPEST_HOLE = 0.01  # negative light, of the peak
GRADIENT_STEPS = 2


@dataclass(frozen=True)
class PSFFit:
    """What the fit of one frame gave. Per-star arrays have the padded length K, NaN where unused."""

    model: PSFModel | None  # None when there is none (flags say why)
    flux: FloatArray  # (K,) data units, whole plane
    x: FloatArray  # (K,) px from the centre of the cutout
    y: FloatArray
    star_reduced_chi2: FloatArray  # (K,)
    used: BoolArray  # (K,)
    star_flags: NDArray[np.int64]  # (K,) lightwatch.flags.Flag, why a star was not used
    rejected_pixels: BoolArray  # (K, n, n) found to be struck during the fit
    reduced_chi2: float  # of the pixels of the used stars
    converged: bool
    flags: Flag  # NOT_CONVERGED, POOR_FIT, TOO_FEW_STARS


def fit_psfs(cutouts: StarCutouts, *, outlier_sigma: float, min_stars: int, batch_size: int) -> list[PSFFit]:
    """PSF of every frame (F results, in order).

    ``outlier_sigma``: residuals beyond are struck pixels if sharper than the PSF. ``batch_size``:
    frames solved side by side (1 is best on a CPU; 32 and more on a GPU, about 8 MB each at n = 48).
    A frame with fewer than ``min_stars`` usable stars gets no model and TOO_FEW_STARS.
    """
    works = [_begin(cutouts, index) for index in range(len(cutouts.data))]
    pending = [work.index for work in works if work.used.sum() >= max(min_stars, 1)]
    judge = partial(put_aside, outlier_sigma=outlier_sigma, min_stars=min_stars)
    for turn in range(ROUNDS):
        fitted = _fit(cutouts, [works[i] for i in pending], batch_size, first=turn == 0)
        for work in fitted:
            works[work.index] = work
        if turn < ROUNDS - 1:
            changed = _changed(cutouts, fitted, judge, turn)
            for work in changed:
                works[work.index] = work
            pending = [work.index for work in changed]
    return [_result(cutouts, work) for work in works]


def _fit(cutouts: StarCutouts, works: list[Work], batch_size: int, *, first: bool) -> list[Work]:
    """Fit frames, some again with an error granted to the model or with less structure."""
    best = {work.index: work for work in _solve(cutouts, works, batch_size)}
    if first:
        for work in _solve(cutouts, _unexplained(cutouts, list(best.values())), batch_size):
            best[work.index] = work
    unlikely = list(best)
    for sigma in WEAKER_STRUCTURE:
        weaker = _weaker_structure(cutouts, [best[i] for i in unlikely], sigma)
        unlikely = [work.index for work in weaker]
        for work in _solve(cutouts, weaker, batch_size):
            best[work.index] = work
    return list(best.values())


def _changed(
    cutouts: StarCutouts, works: list[Work], judge: Callable[[Work, BoolArray], Work], turn: int
) -> list[Work]:
    """Frames that must be fitted again, with what is put aside; the last judgement spares nobody."""
    changed = []
    for judged, old in zip(_judge(cutouts, works, judge, turn), works, strict=True):
        if _to_fit_again(judged, old):
            changed.append(judged)
            continue
        if cutouts.neighbour_present[old.index].any():
            strictly = judge(judged, np.zeros(len(judged.data), bool))
            if _to_fit_again(strictly, old):
                changed.append(strictly)
    return changed


def _begin(cutouts: StarCutouts, index: int) -> Work:
    """Usable pixels of one frame; those close to a neighbour wait until its flux is known."""
    good = usable_pixels(cutouts)[index]
    variance = np.where(good, cutouts.background_variance[index], 1.0).astype(np.float64)
    enough = good.mean((1, 2)) >= MIN_GOOD_FRACTION
    flags = np.where(cutouts.present[index] & ~enough, Flag.LOW_COVERAGE.value, 0).astype(np.int64)
    x, y = cutouts.position[index].T
    return Work(
        index=index,
        data=np.where(good, cutouts.data[index], 0.0).astype(np.float64),
        variance=variance,
        good=good,
        struck=_near_neighbours(cutouts, index),
        star_flags=flags,
        terms=np.nan_to_num(position_terms(x, y, cutouts.frame_shape)),
        gradient=np.zeros((2, 4)),
        nodes=FEW_NODES if cutouts.fwhm_px[index] > FEW_NODES_FWHM_PX else MANY_NODES,
    )


def _near_neighbours(cutouts: StarCutouts, index: int) -> BoolArray:
    """Pixels (K, n, n) nearer to a known neighbour than to the star, and close to it."""
    n = cutouts.data.shape[-1]
    grid = np.arange(n) - (n - 1) / 2

    def distance(offset: FloatArray) -> FloatArray:
        return np.hypot(
            grid[None, :] - offset[..., 0, None, None], grid[:, None] - offset[..., 1, None, None]
        )

    to_neighbour = distance(cutouts.neighbour_offset[index])
    to_star = distance(cutouts.offset[index])[:, None]
    near = (to_neighbour < to_star) & (
        to_neighbour < max(NEIGHBOUR_MASK_FWHM * float(cutouts.fwhm_px[index]), NEIGHBOUR_MASK_PX)
    )
    return (near & cutouts.neighbour_present[index][..., None, None]).any(1)


def _solve(cutouts: StarCutouts, works: list[Work], batch_size: int) -> list[Work]:
    """Fit PSFs, varying ones where the stars ask for it; keep what the evidence prefers.

    Whether a PSF varies is decided when a frame is fitted from the start; later its slopes only follow.
    """
    following = [with_gradient(work) if work.varies and not work.afresh else work for work in works]
    fitted = _solve_all(cutouts, following, batch_size)
    best = {work.index: work for work in fitted}
    new = {work.index for work in works if work.afresh}
    trusted = [work for work in fitted if not (_undersampled(cutouts, work) and error_of_model(work) > 0)]
    asking = [work for work in trusted if work.index in new and asks_for_gradient(work)]
    for _ in range(GRADIENT_STEPS):
        asking = _solve_all(cutouts, [with_gradient(work) for work in asking], batch_size)
        for work in asking:
            best[work.index] = better(best[work.index], work)
    return [best[work.index] for work in works]


def _solve_all(cutouts: StarCutouts, works: list[Work], batch_size: int) -> list[Work]:
    """Solve frames, those alike in one compiled shape."""
    solved: dict[int, Work] = {}
    for nodes, afresh in ((n, a) for n in (FEW_NODES, MANY_NODES) for a in (True, False)):
        alike = [work for work in works if work.nodes == nodes and work.afresh == afresh]
        if not alike:
            continue
        frames = jax.tree.map(lambda *a: np.stack(a), *(_problem(cutouts, work) for work in alike))
        steps = FROM_THE_START if afresh else FROM_THE_LAST
        solver = partial(_solve_one_block, steps=steps, quadrature=nodes)
        out = solve_in_batches(solver, frames, block=batch_size, blocks=1)
        for i, work in enumerate(alike):
            solution = _cropped(jax.tree.map(lambda a, i=i: a[i], out), len(work.data))
            solved[work.index] = replace(work, solution=solution, afresh=False)
    return [solved[work.index] for work in works]


def _solve_one_block(
    frames: tuple[FrameStars, FitState], _count: int, *, steps: NDArray[np.int32], quadrature: int
) -> Solution:
    return cast(Solution, solve_block(frames, steps, modes=MODES, quadrature=quadrature))


def _problem(cutouts: StarCutouts, work: Work) -> tuple[FrameStars, FitState]:
    """The stars of a frame and where their fit starts."""
    frame = _frame_stars(cutouts, work)
    if work.afresh or work.solution is None:
        return frame, starting_state(frame, MODES)
    state = work.solution.state
    more = len(frame.present) - len(work.data)
    padded = partial(np.pad, pad_width=(0, more))
    stars = state.stars._replace(
        flux=np.pad(state.stars.flux, (0, more), constant_values=1.0),
        x=padded(state.stars.x),
        y=padded(state.stars.y),
    )
    return frame, state._replace(stars=stars, present=padded(state.present), suspect=padded(state.suspect))


def _frame_stars(cutouts: StarCutouts, work: Work) -> FrameStars:
    """One frame as the solver takes it, stars padded to a bucket."""
    k = len(work.data)
    more = bucket(k, STAR_BUCKETS) - k

    def padded(array: np.ndarray, value: float = 0.0) -> np.ndarray:
        widths = [(0, more)] + [(0, 0)] * (array.ndim - 1)
        return np.pad(array.astype(np.float64), widths, constant_values=value)

    return FrameStars(
        data=padded(work.data).astype(np.float32),
        variance=padded(work.variance, 1.0).astype(np.float32),
        weight=padded(work.weight).astype(np.float32),
        exposure=np.float32(cutouts.exposure[work.index]),
        terms=padded(work.terms),
        offset=padded(np.nan_to_num(cutouts.offset[work.index])),
        present=padded(work.used),
        fwhm=np.float64(cutouts.fwhm_px[work.index]),
        gradient=work.gradient,
        model_error=np.float32(work.model_error),
        largest_sigma=np.float64(work.largest_sigma),
    )


def _cropped(solution: Solution, k: int) -> Solution:
    """Without the padded stars."""
    state = solution.state
    return solution._replace(
        state=state._replace(
            stars=jax.tree.map(lambda a: a[:k], state.stars),
            present=state.present[:k],
            suspect=state.suspect[:k],
        ),
        assessment=jax.tree.map(lambda a: a[:k], solution.assessment),
    )


def _judge(
    cutouts: StarCutouts, works: list[Work], judge: Callable[[Work, BoolArray], Work], turn: int
) -> list[Work]:
    """Put aside struck pixels and stars that are not single; subtract neighbours.

    The first times, neighbours were not yet well subtracted, which must not be held against their stars; and
    their light may have passed for a PSF that varies, which is decided again without it.
    """
    cleaned = _without_neighbours(cutouts, works)
    if turn < LENIENT_TURNS:
        cleaned = [
            replace(work, gradient=np.zeros((2, 4)), afresh=True)
            if work.varies and cutouts.neighbour_present[work.index].any()
            else work
            for work in cleaned
        ]
    spared = np.logical_and(cutouts.neighbour_present.any(2), turn < LENIENT_TURNS)
    judged = [judge(work, spared[work.index]) for work in cleaned]
    return [_granting(cutouts, work, error_of_model(work)) for work in judged]


def _unexplained(cutouts: StarCutouts, works: list[Work]) -> list[Work]:
    """Frames whose residuals noise does not explain (flat field, tracking, pixels that are not square), to
    be fitted again with an error granted to the model: else the brightest star alone draws the PSF.
    """
    return [_granting(cutouts, work, FIRST_MODEL_ERROR) for work in works if error_of_model(work) > 0]


def _granting(cutouts: StarCutouts, work: Work, model_error: float) -> Work:
    """The frame with an error granted to its model, and as much structure as can be told from it."""
    fwhm, sigma = np.transpose(UNDERSAMPLED)
    limit = float(np.exp(np.interp(cutouts.fwhm_px[work.index], fwhm, np.log(sigma))))
    return replace(work, model_error=model_error, largest_sigma=limit if model_error > 0 else LARGEST_SIGMA)


def _undersampled(cutouts: StarCutouts, work: Work) -> bool:
    return bool(cutouts.fwhm_px[work.index] < UNDERSAMPLED[0][0])


def _weaker_structure(cutouts: StarCutouts, works: list[Work], largest_sigma: float) -> list[Work]:
    """Frames whose PSF is no distribution of light, to be fitted again with less structure."""
    return [
        replace(work, largest_sigma=largest_sigma, afresh=True)
        for work in works
        if not _is_light(cutouts, work)
    ]


def _is_light(cutouts: StarCutouts, work: Work) -> bool:
    """Whether the PSF has (almost) no negative light and leaves little outside of the cutout."""
    model = _model(cutouts, work)
    n = model.size
    grid = np.arange(n) - (n - 1) / 2
    centre = ((cutouts.frame_shape[1] - 1) / 2, (cutouts.frame_shape[0] - 1) / 2)
    p = render(local_psf(model, *centre), grid, grid, quadrature=model.quadrature)
    return bool(NORM_RANGE[0] <= model.norm <= NORM_RANGE[1] and p.min() > -DEEPEST_HOLE * p.max())


def _without_neighbours(cutouts: StarCutouts, works: list[Work]) -> list[Work]:
    """Measure known neighbours with the PSFs at hand and subtract them, photon noise accounted for."""
    crowded = [work for work in works if cutouts.neighbour_present[work.index].any()]
    if not crowded:
        return works
    index = np.array([work.index for work in crowded])
    models: list[PSFModel | None] = [_model(cutouts, work) for work in crowded]
    light = light_of_neighbours(models, _selected(cutouts, index))
    cleaned = {}
    for work, neighbours in zip(crowded, light, strict=True):
        good, exposure = work.good, cutouts.exposure[work.index]
        data = np.where(good, cutouts.data[work.index], 0.0) - neighbours
        variance = np.where(good, cutouts.background_variance[work.index], 1.0)
        variance = (
            variance + np.maximum(neighbours, 0) / exposure + NEIGHBOUR_ERROR**2 * light_squared(neighbours)
        )
        cleaned[work.index] = replace(work, data=data, variance=variance)
    return [cleaned.get(work.index, work) for work in works]


def _selected(cutouts: StarCutouts, index: NDArray[np.intp]) -> StarCutouts:
    """Some of the frames."""
    arrays = {f.name: getattr(cutouts, f.name) for f in fields(cutouts) if f.name != "frame_shape"}
    return replace(cutouts, **{name: array[index] for name, array in arrays.items()})


def _to_fit_again(new: Work, old: Work) -> bool:
    """Whether a frame must be fitted again: by its stars, or by the pull that changed pixels had or have."""
    if not new.used.any():
        return False
    if (
        not old.converged
        or new.afresh
        or new.model_error != old.model_error
        or not np.array_equal(new.used, old.used)
    ):
        return True
    changed = new.weight != old.weight
    before, now = old.weight * (old.data - old.model), new.weight * (new.data - old.model)
    pull = (
        np.where(changed, np.maximum(before**2, now**2), (now - before) ** 2) / old.granted_variance
    ).sum()
    return bool(pull > NEGLIGIBLE_PULL**2)


def _model(cutouts: StarCutouts, work: Work) -> PSFModel:
    state, shape = solution_of(work).state, work.shape
    theta = np.concatenate([state.theta[None], work.gradient]) if work.varies else state.theta[None]
    e = float(np.hypot(state.theta[1], state.theta[2]))
    return PSFModel(
        theta=theta,
        coefficients=shape.psf.coefficients,
        amplitude=shape.amplitude[: len(theta)],
        extent=float(shape.psf.extent),
        edge=float(shape.psf.edge),
        quadrature=work.nodes,
        frame_shape=cutouts.frame_shape,
        size=cutouts.data.shape[-1],
        fwhm_px=float(shape.fwhm),
        ellipticity=1 - float(np.sqrt((np.hypot(1, e) - e) / (np.hypot(1, e) + e))),
        norm=float(shape.norm),
        prior_sigma=float(np.exp(state.log_variance / 2)),
        effective_modes=work.effective_modes,
        model_error=work.model_error,
        total_flux_error=float(state.total_flux_error),
    )


def _result(cutouts: StarCutouts, work: Work) -> PSFFit:
    """The fit of one frame in the end; NaN and TOO_FEW_STARS where there was none."""
    k = len(work.data)
    nan = np.full(k, np.nan)
    s = work.solution
    if s is None or not np.isfinite(s.state.theta).all() or not np.isfinite(s.state.z).all():
        flag = Flag.TOO_FEW_STARS if s is None else Flag.NOT_CONVERGED
        nothing = np.zeros(k, dtype=bool)
        return PSFFit(
            None, nan, nan, nan, nan, nothing, work.star_flags, work.struck, float("nan"), False, flag
        )  # fmt: skip
    used = work.used & (work.present > 0)
    reduced = reduced_chi2(work)
    flags = Flag(0) if work.converged else Flag.NOT_CONVERGED
    least = 0.0 if work.model_error > 0 else PSF_CHI2[0]  # one error for all stars is a rough one
    if not least <= reduced <= PSF_CHI2[1]:
        flags |= Flag.POOR_FIT
    return PSFFit(
        model=_model(cutouts, work),
        flux=np.where(used, s.state.stars.flux / (work.terms @ work.shape.amplitude), np.nan),
        x=np.where(used, s.state.stars.x, np.nan),
        y=np.where(used, s.state.stars.y, np.nan),
        star_reduced_chi2=np.where(used, chi2_of_stars(work) / count(work.weight), np.nan),
        used=used,
        star_flags=work.star_flags,
        rejected_pixels=work.struck,
        reduced_chi2=reduced,
        converged=work.converged,
        flags=flags,
    )
