"""Cutouts of simulated stars with known truth: what the PSF fit and the photometry take, without a pipeline."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from simulated_truth import star_at

from lightwatch.processes.cutouts import cutout_size_px
from lightwatch.processes.psf_cutouts import StarCutouts
from lightwatch.simulation import joint_flux_bound
from lightwatch.simulation.psf import SimulatedPsf, draw_psf

FRAME_SHAPE = 1024, 1024
SKY_SIGMA = 20.0  # electron per pixel
WCS_ERROR_PX = 0.1
SMALLEST_NEIGHBOUR_DISTANCE_PX = 2.0
MOST_EXTREME_FLUX = 1e9


@dataclass(frozen=True)
class SetSpec:
    """One row of the grid. S/N are of the whole star with everything else known, drawn evenly in log."""

    name: str
    fwhm_px: float = 4.0
    psf_snr: tuple[float, float] = (100.0, 1000.0)
    measured_snr: tuple[float, float] = (10.0, 1000.0)
    size_px: int | None = None  # None: what the pipeline takes for this FWHM
    n_frames: int = 8
    n_stars: int = 10  # that make the PSF
    n_measured: int = 30  # further ones, that only get measured
    gradient: float = 0.0  # growth of the FWHM across the frame
    guess: float = 1.0  # seeing that the fit is told, over the true one
    crowded: float = 0.0  # fraction of stars with a catalogued neighbour at 1 to 4 FWHM
    cosmics: float = 0.0  # fraction of cutouts with a ray that no mask knows of
    hidden_blends: int = 0  # stars of the PSF with a companion that no catalogue knows of
    missing: int = 0  # stars of the PSF that are not there

    @property
    def size(self) -> int:
        return self.size_px or cutout_size_px(self.fwhm_px)


@dataclass(frozen=True)
class CutoutSet:
    """F frames: K stars that make the PSF, M others to be measured, and the truth about them."""

    spec: SetSpec
    psfs: list[SimulatedPsf]  # at the centre of each frame
    stars: StarCutouts  # (F, K, ...)
    measured: StarCutouts  # (F, M, ...)
    flux: np.ndarray  # (F, M) electrons, true
    bound: np.ndarray  # (F, M) Cramer-Rao, jointly with the neighbours where there are any


@dataclass(frozen=True)
class _Star:
    data: np.ndarray  # (n, n)
    place: np.ndarray  # (2,) px in the frame
    offset: np.ndarray  # (2,) true, px from the centre of the cutout
    neighbour: np.ndarray  # (2,) likewise; NaN where there is none
    flux: float
    bound: float


def make_set(spec: SetSpec, seed: int) -> CutoutSet:
    """The set of this name and seed: always the same, whatever other sets are made."""
    psfs, stars, measured = [], [], []
    for frame in range(spec.n_frames):
        rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode()), frame])
        psf, wcs_error = draw_psf(rng, spec.fwhm_px), rng.normal(0, WCS_ERROR_PX, 2)
        psfs.append(psf)
        blended = np.arange(spec.n_stars) < spec.hidden_blends
        stars.append([_draw_star(rng, spec, psf, wcs_error, spec.psf_snr, hidden=b) for b in blended])
        others = range(spec.n_measured)
        measured.append(
            [_draw_star(rng, spec, psf, wcs_error, spec.measured_snr, hidden=False) for _ in others]
        )
    present = np.ones((spec.n_frames, spec.n_stars), bool)
    present[:, spec.n_stars - spec.missing :] = False
    return CutoutSet(
        spec=spec,
        psfs=psfs,
        stars=_cutouts(spec, stars, present),
        measured=_cutouts(spec, measured, np.ones((spec.n_frames, spec.n_measured), bool)),
        flux=np.array([[s.flux for s in row] for row in measured]),
        bound=np.array([[s.bound for s in row] for row in measured]),
    )


def _draw_star(
    rng: np.random.Generator,
    spec: SetSpec,
    psf: SimulatedPsf,
    wcs_error: np.ndarray,
    snr_range: tuple[float, float],
    *,
    hidden: bool,
) -> _Star:
    """One star with its noise, perhaps a neighbour, perhaps a ray."""
    place = rng.uniform(0.05, 0.95, 2) * FRAME_SHAPE[::-1]
    psf = psf.stretched(1 + spec.gradient * (place[0] / FRAME_SHAPE[1] - 0.5))
    true = rng.uniform(-0.5, 0.5, 2)
    unit = star_at(psf, true[0], true[1], spec.size)
    flux = flux_for(unit, float(np.exp(rng.uniform(*np.log(snr_range)))))
    units, light, neighbour = [unit], flux * unit, np.full(2, np.nan)
    if hidden or rng.random() < spec.crowded:
        distance, ratio = ((1, 2), (0.2, 0.5)) if hidden else ((1, 4), (0.1, 1))
        apart = max(spec.fwhm_px * rng.uniform(*distance), SMALLEST_NEIGHBOUR_DISTANCE_PX)
        angle = rng.uniform(0, 2 * np.pi)
        at = true + apart * np.array([np.cos(angle), np.sin(angle)])
        units.append(star_at(psf, at[0], at[1], spec.size))
        light = light + flux * np.exp(rng.uniform(*np.log(ratio))) * units[1]
        if not hidden:
            neighbour = at
    bound = joint_flux_bound(np.array(units), SKY_SIGMA**2 + light)[0]
    data = rng.poisson(light) + rng.normal(0, SKY_SIGMA, light.shape)
    if rng.random() < spec.cosmics:
        data = data + _ray(rng, spec.size)
    # the catalogue does not know of the error of the frame's WCS
    return _Star(data, place, true - wcs_error, neighbour - wcs_error, flux, float(bound))


def flux_for(unit: np.ndarray, snr: float) -> float:
    """Flux (electrons) of a star with this S/N, by bisection."""
    low, high = 1.0, MOST_EXTREME_FLUX
    for _ in range(50):
        flux = np.sqrt(low * high)
        reached = flux * np.sqrt((unit**2 / (SKY_SIGMA**2 + flux * unit)).sum())
        low, high = (flux, high) if reached < snr else (low, flux)
    return float(flux)


def _ray(rng: np.random.Generator, size: int) -> np.ndarray:
    """A track of 1 to 5 pixels."""
    step = np.arange(rng.integers(1, 6))
    angle, start = rng.uniform(0, np.pi), rng.integers(0, size, 2)
    x = np.clip(np.round(start[0] + step * np.cos(angle)), 0, size - 1).astype(int)
    y = np.clip(np.round(start[1] + step * np.sin(angle)), 0, size - 1).astype(int)
    image = np.zeros((size, size))
    image[y, x] = np.exp(rng.uniform(*np.log((500, 15000))))
    return image


def _cutouts(spec: SetSpec, rows: list[list[_Star]], present: np.ndarray) -> StarCutouts:
    data = np.array([[star.data for star in row] for row in rows])
    neighbour = np.array([[star.neighbour for star in row] for row in rows])[:, :, None, :]
    data = np.where(present[..., None, None], data, 0.0)
    return StarCutouts(
        data=data,
        background_variance=np.full(data.shape, SKY_SIGMA**2),
        good=np.ones(data.shape, bool),
        exposure=np.ones(len(rows)),
        position=np.array([[star.place for star in row] for row in rows]),
        offset=np.array([[star.offset for star in row] for row in rows]),
        present=present,
        fwhm_px=np.full(len(rows), spec.fwhm_px * spec.guess),
        frame_shape=FRAME_SHAPE,
        neighbour_offset=neighbour,
        neighbour_present=np.isfinite(neighbour).all(-1),
    )
