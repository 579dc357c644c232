"""One frame between the rounds of the PSF fit, and what its residuals say of pixels and stars."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.processes.psf_cutouts import BoolArray, struck_pixels
from lightwatch.processes.psf_model import FloatArray
from lightwatch.processes.psf_moffat_stage import SUSPECT_RESIDUAL
from lightwatch.processes.psf_shape import Shape, shape_of
from lightwatch.processes.psf_solver import Solution

PSF_MODEL_ERROR = 0.03  # of the first fits, when pixels are judged
FIRST_MODEL_ERROR = 0.05  # where noise does not explain the first residuals
MAX_MODEL_ERROR = 0.15
SETTLED_MODEL_ERROR = 0.15  # relative change
CORE_PART = 0.03  # of the brightest pixel: where the model's error is looked for
NOISE_EXPLAINS_CHI2 = 1.5
LARGEST_SIGMA = 0.3
CONVERGED_STEP = 0.03
NOT_SINGLE_CHI2 = 1.5
FLUX_PULL = 3.0  # sigma by which one star may want another total flux
NOT_SINGLE_RATIO = 3.0
FAILED_CHI2 = 3.0
NOT_SINGLE_RESIDUAL = 0.02


@dataclass(frozen=True)
class Work:
    """What of one frame may still be used, and what the last fit said."""

    index: int
    data: FloatArray  # (K, n, n) without neighbours
    variance: FloatArray  # (K, n, n) of background and neighbours
    good: BoolArray  # (K, n, n)
    struck: BoolArray  # (K, n, n)
    star_flags: NDArray[np.int64]  # (K,)
    terms: FloatArray  # (K, 3)
    gradient: FloatArray  # (2, 4) change of theta with X and with Y
    nodes: int  # of the integral over a pixel, per axis
    model_error: float = 0.0  # fraction of the model by which even a good PSF misses the data
    largest_sigma: float = LARGEST_SIGMA  # of the structure
    solution: Solution | None = None
    afresh: bool = True  # the next fit must not start from the last

    @property
    def varies(self) -> bool:
        """Whether theta changes across the frame."""
        return bool(self.gradient.any())

    @property
    def used(self) -> BoolArray:
        """(K,) stars that take part."""
        return self.good.any((1, 2)) & (self.star_flags == 0)

    @property
    def weight(self) -> BoolArray:
        """(K, n, n) pixels that take part."""
        return self.good & ~self.struck & self.used[:, None, None]

    @property
    def granted_variance(self) -> FloatArray:
        """(K, n, n) of noise and of the model's own error."""
        return self.noise_variance + self.model_error**2 * light_squared(self.model)

    @cached_property
    def shape(self) -> Shape:
        """The PSF of the last fit, normalised to the plane."""
        state = solution_of(self).state
        return shape_of(
            state.theta,
            self.gradient,
            state.z,
            size=self.data.shape[-1],
            modes=math.isqrt(len(state.z)),
            quadrature=self.nodes,
        )

    @property
    def model(self) -> FloatArray:
        """(K, n, n) of the last fit."""
        return np.asarray(solution_of(self).assessment.model, dtype=np.float64)

    @property
    def noise_variance(self) -> FloatArray:
        """(K, n, n) of background, neighbours and the model's photons."""
        return np.asarray(solution_of(self).assessment.model_variance, dtype=np.float64)

    @property
    def present(self) -> FloatArray:
        """(K,) 1 for the stars that took part in the last fit."""
        return np.asarray(solution_of(self).state.present)

    @property
    def effective_modes(self) -> float:
        """Number of well-determined combinations of the coefficients of S."""
        return float(solution_of(self).state.effective_modes)

    @property
    def converged(self) -> bool:
        """Whether the last step was small."""
        return bool(solution_of(self).state.last_step < CONVERGED_STEP)

    @property
    def suspect(self) -> BoolArray:
        """(K,) stars that the last fit left out because they are not like the others."""
        return np.asarray(solution_of(self).state.suspect > 0)


def light_squared(model: FloatArray) -> FloatArray:
    """Variance of the model (K, n, n) for a model error of one, see psf_stars.pixel_weights."""
    light = np.maximum(model, 0)
    return np.asarray(light * light.max((-2, -1), keepdims=True))


def solution_of(work: Work) -> Solution:
    if work.solution is None:
        raise ValueError("the frame has not been fitted")
    return work.solution


def chi2_of_stars(work: Work) -> FloatArray:
    """(K,) chi2 of the pixels of each star that took part."""
    return (work.weight * (work.data - work.model) ** 2 / work.granted_variance).sum((1, 2)) * work.present


def reduced_chi2(work: Work) -> float:
    """Of all pixels; where an error is granted to the model, the median over the stars, as for that error."""
    pixels = work.weight.sum((1, 2)) * work.present
    free = max(float(pixels.sum() - 3 * work.present.sum() - work.effective_modes), 1.0)
    if work.model_error > 0 and work.present.any():
        there = work.present > 0
        return float(np.median((chi2_of_stars(work) / np.maximum(pixels, 1))[there]) * pixels.sum() / free)
    return float(chi2_of_stars(work).sum() / free)


def count(weight: BoolArray) -> NDArray[np.int64]:
    return np.maximum(weight.sum((1, 2)), 1)


def error_of_model(work: Work) -> float:
    """Fraction of the model that the residuals in the cores of the stars ask for on top of the noise.

    One step towards the value at which the squared residuals, weighted by how much the model's error
    matters in each pixel, are what is granted; the median over stars, so that a blend has no say.
    """
    there = work.used & (work.present > 0)
    if not there.any():
        return work.model_error
    brightest = (work.weight * work.model).max((1, 2), keepdims=True)
    core = (work.weight & (work.model > CORE_PART * brightest))[there]
    squared, variance = ((work.data - work.model) ** 2)[there], work.noise_variance[there]
    if np.median((core * squared / variance).sum((1, 2)) / count(core)) < NOISE_EXPLAINS_CHI2:
        return 0.0
    old = work.model_error or FIRST_MODEL_ERROR
    error = old**2 * light_squared(work.model)[there]
    share = core * error / (variance + error)
    pixels = share.sum((1, 2))
    surprise = (share * squared / (variance + error)).sum((1, 2)) / np.maximum(pixels, 1e-300)
    free = max(1 - (3 * there.sum() + work.effective_modes) / pixels.sum(), 0.25)
    new = float(np.clip(old * np.sqrt(np.median(surprise) / free), 0, MAX_MODEL_ERROR))
    settled = work.model_error > 0 and abs(new / old - 1) < SETTLED_MODEL_ERROR
    return old if settled else new


def put_aside(work: Work, spared: BoolArray, outlier_sigma: float, min_stars: int) -> Work:
    struck = struck_pixels(
        work.data - work.model,
        work.noise_variance,
        work.model,
        work.good & work.used[:, None, None],
        fwhm_px=float(work.shape.fwhm),
        outlier_sigma=outlier_sigma,
        model_error=max(PSF_MODEL_ERROR, work.model_error),
    )
    work = replace(work, struck=struck)
    faint = work.used & (work.present == 0) & ~work.suspect
    flags = work.star_flags | np.where(faint, Flag.LOW_SNR.value, 0)
    for found, worse in ((not_single(work), True), (_pulls_total_flux(work), False)):
        left_out = found & ~spared & (flags == 0)
        if left_out.any() and (work.used & (flags == 0) & ~left_out).sum() >= min_stars:
            flags = flags | np.where(left_out, Flag.OUTLIER.value, 0)
            work = replace(work, afresh=work.afresh or worse)
    return replace(work, star_flags=flags, afresh=work.afresh or bool(faint.any()))


def not_single(work: Work) -> BoolArray:
    """Stars that the PSF of the others does not fit, by chi2 and by the size of the residual (K,)."""
    weight = work.weight
    variance = work.granted_variance
    reduced = (weight * (work.data - work.model) ** 2 / variance).sum((1, 2)) / count(weight)
    excess = (weight * ((work.data - work.model) ** 2 - variance)).sum((1, 2))
    residual = np.sqrt(np.maximum(excess, 0) / np.maximum((weight * work.model**2).sum((1, 2)), 1e-300))
    there = work.used & (work.present > 0)
    typical, usual = np.median(reduced[there]), np.median(residual[there])
    poor = reduced > NOT_SINGLE_CHI2 * max(float(typical), 1.0)
    unlike = residual > max(NOT_SINGLE_RATIO * float(usual), NOT_SINGLE_RESIDUAL)
    if typical > FAILED_CHI2:  # one bad star has bent the PSF for all: name the worst only
        unlike = residual == residual[there].max()
    still_suspect = work.suspect & (residual > SUSPECT_RESIDUAL)
    return (there & (poor | (typical > FAILED_CHI2)) & unlike) | (work.used & still_suspect)


def _pulls_total_flux(work: Work) -> BoolArray:
    """The star (K,), if there is one, that wants another total flux than all together.

    A galaxy or a faint star behind its wings changes its chi2 little, but the light that the PSF puts outside
    of the cutouts, and with it the scale of the whole frame.
    """
    pull = np.where(work.used & (work.present > 0), solution_of(work).assessment.flux_pull, 0.0)
    worst = np.abs(pull) == np.abs(pull).max()
    return np.asarray(worst & (np.abs(pull) > FLUX_PULL * np.sqrt(max(reduced_chi2(work), 1.0))))
