"""Truth for the tests of PSF and photometry: continuous PSFs, integrated over pixels, with photon noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lightwatch.processes.psf_cutouts import StarCutouts

OVERSAMPLING = 7
FRAME_SHAPE = (1000, 1200)
SKY_SIGMA = 20.0  # electrons


@dataclass(frozen=True)
class TruthPSF:
    """Elliptical Moffat, a lobe and a coma; the plane integral is one by construction."""

    fwhm: float
    beta: float = 3.0
    ratio: float = 0.9
    angle: float = 0.6
    lobe: float = 0.08
    lobe_angle: float = 1.0
    coma: float = 0.1

    def surface(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Surface brightness per square pixel at offsets x, y."""
        alpha = self.fwhm / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        c, s, q = np.cos(self.angle), np.sin(self.angle), np.sqrt(self.ratio)
        r2 = ((c * x + s * y) ** 2 * q**2 + (c * y - s * x) ** 2 / q**2) / alpha**2
        moffat = (self.beta - 1) / (np.pi * alpha**2) * (1 + r2) ** -self.beta
        r, t = np.hypot(x, y) / self.fwhm, np.arctan2(y, x)
        round_r2 = (x**2 + y**2) / alpha**2
        round_moffat = (self.beta - 1) / (np.pi * alpha**2) * (1 + round_r2) ** -self.beta
        coma = self.coma * np.cos(t - 0.3) * r**2 / (1 + r**2.5) * round_moffat
        sigma, d = 0.65 * self.fwhm / 2.3548, 0.7 * self.fwhm
        dx, dy = x - d * np.cos(self.lobe_angle), y - d * np.sin(self.lobe_angle)
        lobe = np.exp(-(dx**2 + dy**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
        return (1 - self.lobe) * moffat + coma + self.lobe * lobe

    def cutout(self, x: float, y: float, n: int) -> np.ndarray:
        """Unit-flux star at (x, y) px from the centre of an n x n cutout."""
        sub = (np.arange(n * OVERSAMPLING) + 0.5) / OVERSAMPLING - 0.5 - (n - 1) / 2
        fine = self.surface((sub - x)[None, :], (sub - y)[:, None])
        return fine.reshape(n, OVERSAMPLING, n, OVERSAMPLING).mean((1, 3))


def structured(rng: np.random.Generator, fwhm: float) -> TruthPSF:
    """A PSF with structure, drawn at random."""
    return TruthPSF(
        fwhm,
        beta=rng.uniform(2.5, 4.0),
        ratio=rng.uniform(0.85, 0.98),
        angle=rng.uniform(0, np.pi),
        lobe=rng.uniform(0.03, 0.1),
        lobe_angle=rng.uniform(0, 2 * np.pi),
        coma=rng.uniform(0.05, 0.2),
    )


def flux_for(snr: float, p: np.ndarray) -> float:
    """Flux (electrons) of a star that can be measured with this S/N."""
    low, high = 1.0, 1e9
    for _ in range(60):
        flux = np.sqrt(low * high)
        reached = flux * np.sqrt((p**2 / (SKY_SIGMA**2 + flux * p)).sum())
        low, high = (flux, high) if reached < snr else (low, flux)
    return float(np.sqrt(low * high))


def make_cutouts(
    rng: np.random.Generator, psfs: list[TruthPSF], snr: np.ndarray, n: int, *, gradient: float = 0.0
) -> tuple[StarCutouts, np.ndarray]:
    """Cutouts of len(psfs) frames with stars of the given S/N (K,), and their true fluxes (F, K).

    ``gradient`` is the change of FWHM from the left to the right edge of the frame. Predicted positions
    are off by a shift common to the frame.
    """
    f, k = len(psfs), len(snr)
    ny, nx = FRAME_SHAPE
    position = rng.uniform(0.02, 0.98, (f, k, 2)) * (nx, ny)
    offset = rng.uniform(-0.5, 0.5, (f, k, 2))
    data, flux = np.zeros((f, k, n, n)), np.zeros((f, k))
    for i, j in np.ndindex(f, k):
        local = replace(psfs[i], fwhm=psfs[i].fwhm * (1 + gradient * (position[i, j, 0] / nx - 0.5)))
        p = local.cutout(*offset[i, j], n)
        flux[i, j] = flux_for(snr[j], p)
        data[i, j] = rng.poisson(flux[i, j] * p) + rng.normal(0, SKY_SIGMA, (n, n))
    cutouts = StarCutouts(
        data=data,
        background_variance=np.full(data.shape, SKY_SIGMA**2),
        good=np.ones(data.shape, dtype=bool),
        exposure=np.ones(f),
        position=position,
        offset=offset + rng.normal(0, 0.1, (f, 1, 2)),
        present=np.ones((f, k), dtype=bool),
        fwhm_px=np.array([psf.fwhm for psf in psfs]),
        frame_shape=FRAME_SHAPE,
        neighbour_offset=np.zeros((f, k, 0, 2)),
        neighbour_present=np.zeros((f, k, 0), dtype=bool),
    )
    return cutouts, flux


def select_stars(cutouts: StarCutouts, stars: slice) -> StarCutouts:
    """Some of the stars of every frame."""
    names = (
        "data",
        "background_variance",
        "good",
        "position",
        "offset",
        "present",
        "neighbour_offset",
        "neighbour_present",
    )
    return replace(cutouts, **{name: getattr(cutouts, name)[:, stars] for name in names})
