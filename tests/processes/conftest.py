"""Star fields with truth, for the tests of what is measured on whole frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray


@dataclass(frozen=True)
class StarField:
    """Counts in electrons (float32) on a flat sky, their noise-free scene, and the stars in it."""

    image: NDArray[np.float32]
    scene: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    sky: float
    rms: float


def _add_star(scene: NDArray[np.float64], x: float, y: float, flux: float, fwhm: float, beta: float) -> None:
    alpha, reach = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1)), int(12 * fwhm)
    y0, y1 = max(0, int(y) - reach), min(scene.shape[0], int(y) + reach + 1)
    x0, x1 = max(0, int(x) - reach), min(scene.shape[1], int(x) + reach + 1)
    within = (np.arange(3) - 1) / 3
    dy = (np.arange(y0, y1)[:, None] + within - y).ravel()
    dx = (np.arange(x0, x1)[:, None] + within - x).ravel()
    fine = (1 + (dy[:, None] ** 2 + dx[None, :] ** 2) / alpha**2) ** -beta
    pixels = fine.reshape(y1 - y0, 3, x1 - x0, 3).mean(axis=(1, 3))
    scene[y0:y1, x0:x1] += flux * (beta - 1) / (np.pi * alpha**2) * pixels


def _make_field(
    seed: int,
    *,
    size: int = 320,
    n_stars: int = 40,
    fwhm: float = 3.5,
    beta: float = 3.0,
    flux: tuple[float, float] = (3e3, 3e5),
    sky: float = 300.0,
    read_noise: float = 5.0,
) -> StarField:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, size - 1, (2, n_stars))
    fluxes = np.exp(rng.uniform(*np.log(flux), n_stars))
    scene = np.zeros((size, size))
    for star in zip(x, y, fluxes, strict=True):
        _add_star(scene, *star, fwhm, beta)
    image = rng.poisson(scene + sky) + rng.normal(0, read_noise, scene.shape)
    rms = float(np.sqrt(sky + read_noise**2))
    return StarField(image.astype(np.float32), scene, x, y, fluxes, sky, rms)


@pytest.fixture(scope="session")
def make_field() -> Callable[..., StarField]:
    """``make_field(seed, size=, n_stars=, fwhm=, beta=, flux=, sky=, read_noise=)``."""
    return _make_field
