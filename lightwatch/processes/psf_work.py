"""One frame between the rounds of the PSF fit, and what its residuals say of pixels and stars."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.processes.psf_cutouts import BoolArray, struck_pixels
from lightwatch.processes.psf_model import FloatArray
from lightwatch.processes.psf_moffat_stage import SUSPECT_RESIDUAL
from lightwatch.processes.psf_solver import Solution

PSF_MODEL_ERROR = 0.03  # of the first fits, when pixels are judged
FIRST_MODEL_ERROR = 0.05  # where noise does not explain the first residuals
MAX_MODEL_ERROR = 0.15
SETTLED_MODEL_ERROR = 0.15  # relative change
CORE_PART = 0.03  # of the brightest pixel: where the model's error is looked for
NOISE_EXPLAINS_CHI2 = 1.5
LARGEST_SIGMA = 0.3
NOT_SINGLE_CHI2 = 1.5
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
    model_error: float = 0.0  # fraction of the model by which even a good PSF misses the data
    largest_sigma: float = LARGEST_SIGMA  # of the structure
    solution: Solution | None = None

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
        s = solution_of(self)
        return np.asarray(s.model_variance) + self.model_error**2 * light_squared(s.model)


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
    s = solution_of(work)
    return (work.weight * (work.data - s.model) ** 2 / work.granted_variance).sum((1, 2)) * s.present


def reduced_chi2(work: Work) -> float:
    """Of all pixels; where an error is granted to the model, the median over the stars, as for that error."""
    s = solution_of(work)
    pixels = work.weight.sum((1, 2)) * s.present
    free = max(float(pixels.sum() - 3 * s.present.sum() - s.effective_modes), 1.0)
    if work.model_error > 0 and s.present.any():
        there = s.present > 0
        return float(np.median((chi2_of_stars(work) / np.maximum(pixels, 1))[there]) * pixels.sum() / free)
    return float(chi2_of_stars(work).sum() / free)


def count(weight: BoolArray) -> NDArray[np.int64]:
    return np.maximum(weight.sum((1, 2)), 1)


def error_of_model(work: Work) -> float:
    """Fraction of the model that the residuals in the cores of the stars ask for on top of the noise.

    One step towards the value at which the squared residuals, weighted by how much the model's error
    matters in each pixel, are what is granted; the median over stars, so that a blend has no say.
    """
    s = solution_of(work)
    there = work.used & (s.present > 0)
    if not there.any():
        return work.model_error
    brightest = (work.weight * s.model).max((1, 2), keepdims=True)
    core = (work.weight & (s.model > CORE_PART * brightest))[there]
    squared, variance = ((work.data - s.model) ** 2)[there], np.asarray(s.model_variance)[there]
    if np.median((core * squared / variance).sum((1, 2)) / count(core)) < NOISE_EXPLAINS_CHI2:
        return 0.0
    old = work.model_error or FIRST_MODEL_ERROR
    error = old**2 * light_squared(s.model)[there]
    share = core * error / (variance + error)
    pixels = share.sum((1, 2))
    surprise = (share * squared / (variance + error)).sum((1, 2)) / np.maximum(pixels, 1e-300)
    free = max(1 - (3 * there.sum() + float(s.effective_modes)) / pixels.sum(), 0.25)
    new = float(np.clip(old * np.sqrt(np.median(surprise) / free), 0, MAX_MODEL_ERROR))
    settled = work.model_error > 0 and abs(new / old - 1) < SETTLED_MODEL_ERROR
    return old if settled else new


def put_aside(work: Work, spared: BoolArray, outlier_sigma: float, min_stars: int) -> Work:
    s = solution_of(work)
    struck = struck_pixels(
        work.data - s.model,
        s.model_variance,
        s.model,
        work.good & work.used[:, None, None],
        fwhm_px=float(s.fwhm),
        outlier_sigma=outlier_sigma,
        model_error=max(PSF_MODEL_ERROR, work.model_error),
    )
    work = replace(work, struck=struck)
    faint = work.used & (s.present == 0) & ~s.suspect
    flags = work.star_flags | np.where(faint, Flag.LOW_SNR.value, 0)
    multiple = not_single(work) & ~spared
    if (work.used & (flags == 0) & ~multiple).sum() >= min_stars:
        flags = flags | np.where(multiple, Flag.OUTLIER.value, 0)
    return replace(work, star_flags=flags)


def not_single(work: Work) -> BoolArray:
    """Stars that the PSF of the others does not fit, by chi2 and by the size of the residual (K,)."""
    s = solution_of(work)
    weight = work.weight
    variance = work.granted_variance
    reduced = (weight * (work.data - s.model) ** 2 / variance).sum((1, 2)) / count(weight)
    excess = (weight * ((work.data - s.model) ** 2 - variance)).sum((1, 2))
    residual = np.sqrt(np.maximum(excess, 0) / np.maximum((weight * s.model**2).sum((1, 2)), 1e-300))
    there = work.used & (s.present > 0)
    typical, usual = np.median(reduced[there]), np.median(residual[there])
    poor = reduced > NOT_SINGLE_CHI2 * max(float(typical), 1.0)
    unlike = residual > max(NOT_SINGLE_RATIO * float(usual), NOT_SINGLE_RESIDUAL)
    if typical > FAILED_CHI2:  # one bad star has bent the PSF for all: name the worst only
        unlike = residual == residual[there].max()
    still_suspect = s.suspect & (residual > SUSPECT_RESIDUAL)
    return (there & (poor | (typical > FAILED_CHI2)) & unlike) | (work.used & still_suspect)
