"""PSFs and star fluxes of other programs from the same cutouts: run in an environment of their own.

Usage: .venv-bench/bin/python benchmarks/other_programs.py JOB IN.npz OUT.npz

JOB is ``starred``, ``photutils`` or ``starred-roi``. For the first two IN.npz holds, for F frames: ``stars`` and
``measured`` (F, K or M, n, n) electrons, sky subtracted; ``sky_variance``, ``fwhm_px``; ``truth`` (F, P, n, n),
noise-free unit stars at ``x``, ``y`` (P,) px from the centre of the cutout. OUT.npz holds ``rms`` (F,), ``flux`` and
``claimed`` (F, M), ``psf_cpu_s`` and ``flux_cpu_s`` of all frames. For the last, IN.npz has ``roi`` (F, n, n) and
``start`` (S, 2), positions of point sources in px from the centre, in the place of measured stars and truth, and
OUT.npz holds ``flux`` (F, S) and ``roi_cpu_s``. Arrays only, no pickles.

Each program gets the settings its users have: for STARRED those of LightCurver (two points per pixel, 3000
iterations for a PSF, 2000 for the fluxes of one star in all frames; for a ROI 300 without background and 2000 with
it, and the strengths of regularization below).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from psf_metric import Render, normalized_rms

SUBSAMPLING = 2
ANALYTIC_ITERATIONS = 100
PSF_ITERATIONS = 3000
FLUX_ITERATIONS = 2000
FLUX_LEARNING_RATE = 2e-3
EPSF_ITERATIONS = 10
ROI_POINT_ITERATIONS = 300
ROI_ITERATIONS = 2000
ROI_LEARNING_RATE = 1e-4
ROI_STRENGTHS = {
    "lambda_scales": 1.0,
    "lambda_hf": 1.0,
    "lambda_positivity_bkg": 100.0,
    "lambda_pts_source": 0.01,
}

Arrays = dict[str, np.ndarray]
Psf = tuple[object, Render]  # whatever the program needs to measure fluxes, and the PSF as a function


def starred_psf(data: np.ndarray, noise: np.ndarray, fwhm_px: float) -> Psf:
    """PSF of one frame by ``build_psf``."""
    from starred.procedures.psf_routines import build_psf
    from starred.psf.psf import PSF

    result = build_psf(
        data.copy(), noise.copy(), SUBSAMPLING, masks=np.ones(data.shape, bool),
        n_iter_analytic=ANALYTIC_ITERATIONS, n_iter_adabelief=PSF_ITERATIONS,
        guess_method_star_position="center", guess_fwhm_pixels=fwhm_px,
    )  # fmt: skip
    kwargs = result["kwargs_psf"]

    def render(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        model = PSF(
            image_size=data.shape[-1], number_of_sources=len(x), upsampling_factor=SUBSAMPLING,
            convolution_method="fft", include_moffat=True, elliptical_moffat=True,
        )  # fmt: skip
        return np.asarray(
            model.model(
                kwargs_moffat=kwargs["kwargs_moffat"],
                kwargs_gaussian={"a": np.ones(len(x)), "x0": x, "y0": y},
                kwargs_background={**kwargs["kwargs_background"], "mean": np.zeros(len(x))},
                kwargs_distortion=kwargs["kwargs_distortion"],
            ),
            dtype=float,
        )

    return np.asarray(result["narrow_psf"]), render


def starred_fluxes(psfs: list[object], data: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each star in all frames together (F, M, n, n), as LightCurver does: a point source without background."""
    columns = [_one_star(np.array(psfs), data[:, k], noise[:, k]) for k in range(data.shape[1])]
    flux, claimed = np.transpose(columns, (1, 2, 0))
    return flux, claimed


def _one_star(psfs: np.ndarray, data: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes and errors (F,) of one star."""
    from starred.deconvolution.deconvolution import setup_model
    from starred.deconvolution.loss import Loss
    from starred.deconvolution.parameters import ParametersDeconv
    from starred.optim.inference_base import FisherCovariance
    from starred.optim.optimization import Optimizer

    unit = np.nanmax(data)
    data, noise = data / unit, noise / unit
    model, start, up, down, fixed = setup_model(
        data, noise**2, psfs, np.zeros(1), np.zeros(1), SUBSAMPLING, data.sum((1, 2))
    )
    for name in ("h", "mean"):
        fixed["kwargs_background"][name] = start["kwargs_background"][name]
    parameters = ParametersDeconv(start, fixed, up, down)
    loss = Loss(
        data, model, parameters, noise**2,
        regularization_strength_scales=0.0, regularization_strength_hf=0.0,
    )  # fmt: skip
    optimizer = Optimizer(loss, parameters, method="adabelief")
    optimizer.minimize(
        max_iterations=FLUX_ITERATIONS,
        restart_from_init=True,
        init_learning_rate=FLUX_LEARNING_RATE,
        progress_bar=False,
    )
    best = parameters.best_fit_values(as_kwargs=True)
    fisher = FisherCovariance(parameters, optimizer, diagonal_only=True)
    fisher.compute_fisher_information()
    sigma = fisher.get_kwargs_sigma()
    scale = unit * model.scale
    amplitude, error = (np.asarray(k["kwargs_analytic"]["a"], float) * scale for k in (best, sigma))
    return amplitude, error


def starred_roi(given: Arrays) -> Arrays:
    """Fluxes of the point sources of a ROI on a common background, all epochs together."""
    from starred.deconvolution.deconvolution import setup_model
    from starred.deconvolution.parameters import ParametersDeconv
    from starred.procedures.deconvolution_routines import multi_steps_deconvolution

    noise = np.sqrt(given["sky_variance"] + np.abs(given["stars"]))
    psfs = np.array(
        [
            starred_psf(d, n, float(f))[0]
            for d, n, f in zip(given["stars"], noise, given["fwhm_px"], strict=True)
        ]
    )
    start = time.process_time()
    unit = np.nanmax(given["roi"])
    data, variance = given["roi"] / unit, (given["sky_variance"] + np.abs(given["roi"])) / unit**2
    n_sources = len(given["start"])
    guess = np.repeat(data.sum((1, 2)) / (2 * n_sources), n_sources)
    model, begin, up, down, fixed = setup_model(
        data, variance, psfs, given["start"][:, 0], given["start"][:, 1], SUBSAMPLING, guess
    )
    steps = multi_steps_deconvolution(
        data, model, ParametersDeconv(begin, fixed, up, down), variance, psfs, SUBSAMPLING,
        fitting_sequence=[["background", "pts-source-astrometry"], []],
        optim_list=["l-bfgs-b", "adabelief"],
        kwargs_optim_list=[
            {"maxiter": ROI_POINT_ITERATIONS},
            {"max_iterations": ROI_ITERATIONS, "init_learning_rate": ROI_LEARNING_RATE,
             "schedule_learning_rate": False},
        ],
        lambda_positivity_ps=0.0, adjust_sky=True, noise_propagation="SLIT", verbose=False, **ROI_STRENGTHS,
    )  # fmt: skip
    found = steps[3][-1]
    flux = [np.asarray(model.flux_at_epoch(found, epoch)) * unit for epoch in range(len(data))]
    return {"flux": np.array(flux), "roi_cpu_s": np.array(time.process_time() - start)}


def photutils_psf(data: np.ndarray, noise: np.ndarray, fwhm_px: float) -> Psf:
    """Effective PSF of one frame by ``EPSFBuilder``."""
    from photutils.psf import EPSFBuilder, EPSFStar, EPSFStars

    centre = (data.shape[-1] - 1) / 2
    stars = EPSFStars(
        [EPSFStar(d, weights=1 / n, cutout_center=(centre, centre)) for d, n in zip(data, noise, strict=True)]
    )
    builder = EPSFBuilder(oversampling=SUBSAMPLING, maxiters=EPSF_ITERATIONS, progress_bar=False)
    model = builder(stars).epsf
    grid = np.arange(data.shape[-1]) - centre
    column, row = np.meshgrid(grid, grid)

    def render(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.array([model.evaluate(column, row, 1.0, a, b) for a, b in zip(x, y, strict=True)])

    return model, render


def photutils_fluxes(
    psfs: list[object], data: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each star in each frame by ``PSFPhotometry``."""
    from astropy.table import QTable
    from photutils.psf import PSFPhotometry

    size = data.shape[-1]
    centre, odd = (size - 1) / 2, size - 1 + size % 2
    flux, claimed = np.full((2, *data.shape[:2]), np.nan)
    for frame, model in enumerate(psfs):
        photometry = PSFPhotometry(model, (odd, odd))
        for k, (d, n) in enumerate(zip(data[frame], noise[frame], strict=True)):
            start = QTable({"x": [centre], "y": [centre], "flux": [float(d.sum())]})
            row = photometry(d, error=n, init_params=start)[0]
            flux[frame, k], claimed[frame, k] = row["flux_fit"], row["flux_err"]
    return flux, claimed


PROGRAMS: dict[str, tuple[Callable, Callable]] = {
    "starred": (starred_psf, starred_fluxes),
    "photutils": (photutils_psf, photutils_fluxes),
}


def run(program: str, given: Arrays) -> Arrays:
    """PSFs and fluxes of all frames, with CPU seconds."""
    build, measure = PROGRAMS[program]
    # the noise maps such programs are given: the photons are those that were counted
    stars, measured = given["stars"], given["measured"]
    noise, measured_noise = (np.sqrt(given["sky_variance"] + np.abs(a)) for a in (stars, measured))
    start = time.process_time()
    psfs = [build(d, n, float(f)) for d, n, f in zip(stars, noise, given["fwhm_px"], strict=True)]
    psf_seconds = time.process_time() - start
    start = time.process_time()
    flux, claimed = measure([psf for psf, _ in psfs], measured, measured_noise)
    flux_seconds = time.process_time() - start
    rms = [
        normalized_rms(render, truth, given["x"], given["y"])
        for (_, render), truth in zip(psfs, given["truth"], strict=True)
    ]
    return {
        "rms": np.array(rms), "flux": flux, "claimed": claimed, "psf_cpu_s": np.array(psf_seconds),
        "flux_cpu_s": np.array(flux_seconds),
    }  # fmt: skip


def main() -> None:
    """Read, run, write."""
    job, source, target = sys.argv[1:]
    with np.load(source, allow_pickle=False) as file:
        given = dict(file)
    np.savez(target, **(starred_roi(given) if job == "starred-roi" else run(job, given)))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
