"""A lensed quasar, four images on a galaxy with an arc, through lightwatch and STARRED: ``make bench FULL=1``."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accuracy import OUTLIER_SIGMA, fit
from comparison import installed, run_other
from cutout_sets import FRAME_SHAPE, SKY_SIGMA, WCS_ERROR_PX, CutoutSet, SetSpec, make_set
from simulated_truth import star_at

from lightwatch.processes.psf_model import local_psf, stack_psfs
from lightwatch.processes.roi_model import PointSources, ROIEpochs, fit_roi
from lightwatch.simulation import joint_flux_bound, lens_roi
from lightwatch.simulation.extended import arc_profile, extended_image, lens_profile
from lightwatch.simulation.psf import SimulatedPsf
from lightwatch.structure.config import RoiModel

SPEC = SetSpec("ROI: 4 images, galaxy, arc; 10 epochs", fwhm_px=3.6, size_px=32, n_frames=10, n_measured=1)
SCALE_ARCSEC = 0.213
MEAN_FLUX = (4e4, 3e4, 2e4, 1e4)  # electrons
EXTENDED_FLUX = {lens_profile: 2e4, arc_profile: 1e4}
EXTENDED_AT = 0.03, -0.08  # arcsec east and north
FIRST_POSITION_ERROR_PX = 0.1
MAX_PASSES = 8


@dataclass(frozen=True)
class Roi:
    """F epochs of S images, and the truth."""

    stars: CutoutSet
    data: np.ndarray  # (F, n, n) electrons
    dither: np.ndarray  # (F, 2) px, as the WCS has it
    start: np.ndarray  # (S, 2) px, first positions
    flux: np.ndarray  # (F, S) true
    bound: np.ndarray  # (F, S) joint Cramer-Rao bounds, all but the fluxes known


@dataclass(frozen=True)
class RoiResult:
    program: str
    ratio: np.ndarray  # (S,) rms after a constant over the bound
    offset_mag: np.ndarray  # (S,) the constant
    cpu_s: float  # of the joint model, PSFs not counted


def make_roi(spec: SetSpec, seed: int) -> Roi:
    """Images vary by 20 %; epochs are dithered within half a pixel, and their WCS is not perfect."""
    rng = np.random.default_rng([seed, spec.n_frames])
    stars = make_set(spec, seed)
    images = lens_roi().sources
    place = np.array([[-s.east, s.north] for s in images]) / SCALE_ARCSEC
    epoch = np.linspace(0, 1, spec.n_frames)[:, None]
    phase = rng.uniform(0, 2 * np.pi, len(images))
    flux = np.array(MEAN_FLUX) * (
        1 + 0.2 * np.sin(2 * np.pi * rng.uniform(0.5, 1.5, len(images)) * epoch + phase)
    )
    dither = rng.uniform(-0.5, 0.5, (spec.n_frames, 2))
    true_shift = dither + rng.normal(0, WCS_ERROR_PX, dither.shape)
    data, bound = [], []
    for psf, shift, f in zip(stars.psfs, true_shift, flux, strict=True):
        units = np.array([star_at(psf, x, y, spec.size) for x, y in place + shift])
        light = np.tensordot(f, units, 1) + _extended(psf, shift, spec.size)
        bound.append(joint_flux_bound(units, light + SKY_SIGMA**2))
        data.append(rng.poisson(light) + rng.normal(0, SKY_SIGMA, light.shape))
    start = place + rng.normal(0, FIRST_POSITION_ERROR_PX, place.shape)
    return Roi(stars, np.array(data), dither, start, flux, np.array(bound))


def _extended(psf: SimulatedPsf, shift: np.ndarray, size: int) -> np.ndarray:
    """Galaxy and arc (n, n), n even, in electrons."""
    cd = SCALE_ARCSEC * np.diag([-1.0, 1.0])
    # the simulator's images are centred on a pixel, cutouts of even size between pixels
    dx, dy = np.array([-EXTENDED_AT[0], EXTENDED_AT[1]]) / SCALE_ARCSEC + shift + 0.5
    light = sum(
        total * extended_image(profile(), cd, psf, dx, dy) for profile, total in EXTENDED_FLUX.items()
    )
    first = len(light) // 2 - size // 2 + 1
    return light[first : first + size, first : first + size]


def compare_roi(spec: SetSpec, seed: int, batch_size: int) -> list[RoiResult]:
    """lightwatch first; STARRED when it is installed."""
    roi = make_roi(spec, seed)
    results = [_ours(roi, batch_size)]
    if installed("starred"):
        results.append(_starred(roi))
    return results


def _scored(program: str, roi: Roi, flux: np.ndarray, cpu_s: float) -> RoiResult:
    error, weight = flux - roi.flux, roi.bound**-2.0
    constant = (weight * error).sum(0) / weight.sum(0)
    rms = np.sqrt(((error - constant) ** 2).sum(0) / (len(error) - 1))
    return RoiResult(
        program,
        rms / np.sqrt((roi.bound**2).mean(0)),
        -2.5 * np.log10(np.maximum(1 + constant / roi.flux.mean(0), 1e-3)),
        cpu_s,
    )


def _ours(roi: Roi, batch_size: int) -> RoiResult:
    """Timed on the second call."""
    models = [found.model for found in fit(roi.stars, batch_size)]
    epochs = _epochs(roi, [model for model in models if model is not None])
    sources = PointSources(roi.start, np.full(len(roi.start), np.inf))
    settings = RoiModel()
    for _ in range(2):
        start = time.process_time()
        solution = fit_roi(
            epochs,
            sources,
            with_background=True,
            fit_local_background=settings.local_background,
            shift_sigma_px=settings.translation_sigma_px,
            rejection_sigma=OUTLIER_SIGMA,
            max_passes=MAX_PASSES,
        )
        cpu_s = time.process_time() - start
    return _scored("lightwatch", roi, solution.flux, cpu_s)


def _epochs(roi: Roi, models: list) -> ROIEpochs:
    """Aligned with one another but for the dither; the frames' stars say nothing of the shift."""
    count, size = len(roi.data), roi.data.shape[-1]
    if len(models) < count:
        raise RuntimeError("a frame of the comparison has no PSF")
    centre = ((FRAME_SHAPE[1] - 1) / 2, (FRAME_SHAPE[0] - 1) / 2)
    return ROIEpochs(
        data=roi.data,
        background_variance=np.full(roi.data.shape, SKY_SIGMA**2),
        good=np.ones(roi.data.shape, bool),
        exposure=np.ones(count),
        psf=stack_psfs([local_psf(model, *centre) for model in models]),
        quadrature=max(model.quadrature for model in models),
        jacobian=np.broadcast_to(np.eye(2), (count, 2, 2)).copy(),
        origin=(size - 1) / 2 + roi.dither,
        star_shift=np.zeros((count, 2)),
        star_shift_sigma=np.full(count, np.inf),
        coefficient=np.ones(count),
        coefficient_uncertainty=np.zeros(count),
    )


def _starred(roi: Roi) -> RoiResult:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.npz"
        np.savez(
            source, stars=roi.stars.stars.data, roi=roi.data, start=roi.start, sky_variance=SKY_SIGMA**2,
            fwhm_px=roi.stars.stars.fwhm_px,
        )  # fmt: skip
        out = run_other("starred-roi", source)
    return _scored("starred", roi, out["flux"], float(out["roi_cpu_s"]))
