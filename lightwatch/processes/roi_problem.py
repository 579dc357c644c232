"""From cutouts as they come to a problem without surprises in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lightwatch.errors import InputError
from lightwatch.flags import Flag
from lightwatch.processes.roi_passes import BackgroundColumns, Problem, State
from lightwatch.processes.roi_psf import source_images, take_psf
from lightwatch.processes.roi_shift import known_by_stars
from lightwatch.processes.roi_types import BoolArray, FloatArray, IntArray, PointSources, ROIEpochs

MIN_COVERAGE = 0.4  # of a source's information (sum P^2) that good pixels must hold
FREE_SIGMA_PX = 3.0  # 'free': too wide to matter, narrow enough for a source without light
MIN_FLUX_INSIDE = 0.2  # of a source's light that must fall into the cutout


def usable_epochs(epochs: ROIEpochs, sources: PointSources) -> tuple[BoolArray, IntArray]:
    """(T,) which epochs can take part, and (T,) flags that say why the others cannot."""
    count, size = epochs.data.shape[0], epochs.data.shape[-1]
    _check_shapes(epochs, sources)
    flags = np.zeros(count, dtype=np.int64)
    good = _good_pixels(epochs)
    flags[~good.any(axis=(1, 2))] |= int(Flag.BAD)
    fields = [np.asarray(field).reshape(count, -1) for field in epochs.psf]
    finite = np.isfinite(np.hstack(fields)).all(axis=1)
    flags[~finite] |= int(Flag.PSF_UNCERTAIN)
    centre = np.abs(epochs.origin - (size - 1) / 2).max(axis=1)
    flags[~(centre < size / 2)] |= int(Flag.OUTSIDE)
    known = np.isfinite(epochs.jacobian).all(axis=(1, 2)) & (epochs.exposure > 0) & (epochs.coefficient > 0)
    known &= np.isfinite(epochs.star_shift).all(axis=1) & (epochs.star_shift_sigma > 0)
    flags[~known] |= int(Flag.BAD)
    return flags == 0, flags


def _check_shapes(epochs: ROIEpochs, sources: PointSources) -> None:
    count, size = epochs.data.shape[0], epochs.data.shape[-1]
    cube = (count, size, size)
    right = (
        all(a.shape == cube for a in (epochs.data, epochs.background_variance, epochs.good))
        and epochs.jacobian.shape == (count, 2, 2)
        and epochs.origin.shape == epochs.star_shift.shape == (count, 2)
        and all(a.shape == (count,) for a in (epochs.exposure, epochs.coefficient, epochs.star_shift_sigma))
        and epochs.coefficient_uncertainty.shape == (count,)
        and all(np.shape(field)[:1] == (count,) for field in epochs.psf)
        and sources.position_px.shape == (len(sources.sigma_px), 2)
    )
    if not right:
        raise InputError("bad_shapes", "the arrays of a ROI's epochs or point sources do not fit together")


def _good_pixels(epochs: ROIEpochs) -> BoolArray:
    finite = np.isfinite(epochs.data) & np.isfinite(epochs.background_variance)
    return epochs.good & finite & (epochs.background_variance > 0)


def make_problem(
    epochs: ROIEpochs,
    sources: PointSources,
    use: BoolArray,
    fit_local_background: bool,
    shift_sigma_px: float,
) -> Problem:
    """Problem of the epochs ``use`` (T,). Stars that say less than ``shift_sigma_px`` leave them to their WCS."""
    told = known_by_stars(epochs.star_shift_sigma, shift_sigma_px)
    epochs = replace(epochs, star_shift=np.where(told[:, None], epochs.star_shift, 0.0))
    size = epochs.data.shape[-1]
    good = _good_pixels(epochs)[use].reshape(int(use.sum()), size * size)
    sigma = np.repeat(sources.sigma_px, 2)
    measurable = _measurable(epochs, sources, use, good)
    shifted = np.repeat(measurable.any(axis=1, keepdims=True), 2, axis=1) & (shift_sigma_px > 0)
    with_sky = np.full((len(good), 1), fit_local_background)
    free = np.where(sigma > 0, np.minimum(sigma, FREE_SIGMA_PX), np.inf)
    return Problem(
        size=size,
        data=np.where(good, epochs.data[use].reshape(good.shape), 0.0),
        background_variance=np.where(good, epochs.background_variance[use].reshape(good.shape), 1.0),
        good=good,
        exposure=epochs.exposure[use],
        psf=take_psf(epochs.psf, use),
        quadrature=epochs.quadrature,
        jacobian=epochs.jacobian[use],
        origin=(epochs.origin + epochs.star_shift)[use],
        star_shift=epochs.star_shift[use],
        star_shift_sigma=epochs.star_shift_sigma[use],
        shift_sigma_px=min(shift_sigma_px, FREE_SIGMA_PX),
        coefficient=epochs.coefficient[use],
        measurable=measurable,
        local_active=np.hstack([measurable, shifted, with_sky]),
        position_mean=sources.position_px.ravel().copy(),
        position_precision=free**-2.0,
        position_active=(sigma > 0) & np.repeat(measurable.any(axis=0), 2),
        columns=BackgroundColumns(),
    )


def _measurable(epochs: ROIEpochs, sources: PointSources, use: BoolArray, good: BoolArray) -> BoolArray:
    """(T, S) sources whose light falls on enough good pixels."""
    size = epochs.data.shape[-1]
    seen = (epochs.origin + epochs.star_shift)[use][:, None] + np.einsum(
        "tab,sb->tsa", epochs.jacobian[use], sources.position_px
    )
    images = source_images(take_psf(epochs.psf, use), seen, size=size, quadrature=epochs.quadrature)
    light = images[:, :, 0].reshape(*images.shape[:2], size * size)
    information = (light**2).sum(axis=2)
    covered = np.einsum("tsp,tp->ts", light**2, good) >= MIN_COVERAGE * information
    return covered & (light.sum(axis=2) > MIN_FLUX_INSIDE)


def sharpest_fwhm(problem: Problem) -> float:
    """FWHM in reference px that the sharpest tenth of the epochs reach (an odd epoch must not decide)."""
    scale = np.sqrt(np.abs(np.linalg.det(problem.jacobian)))
    return float(np.quantile(np.asarray(problem.psf.u0) / scale, 0.1))


def first_state(problem: Problem, position: FloatArray, background: FloatArray) -> State:
    """All locals at zero; ``position`` (S, 2), ``background`` (N,)."""
    return State(
        local=np.zeros_like(problem.local_active, dtype=float),
        position=position.ravel().copy(),
        background=background.ravel().copy(),
        good=problem.good,
        weight=np.ones(len(problem.data)),
        shift_scatter_px=0.0,
    )
