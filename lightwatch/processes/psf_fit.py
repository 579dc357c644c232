"""PSFs of many frames at once from cutouts of their stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.processes.psf_model import FloatArray, PSFModel

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class StarCutouts:
    """Square cutouts of K stars in F frames, padded with ``present=False``.

    Offsets are (x, y) px from the centre of the cutout, which lies at (n - 1) / 2 in its own
    pixel coordinates: offset = position in frame - lower-left pixel of the cutout - (n - 1) / 2.
    """

    data: FloatArray  # (F, K, n, n) electron/s, sky-subtracted; NaN allowed where not good
    background_variance: FloatArray  # (F, K, n, n) (electron/s)^2, without the stars' photons
    good: BoolArray  # (F, K, n, n)
    exposure: FloatArray  # (F,) electrons per data unit (= exposure time for electron/s)
    position: FloatArray  # (F, K, 2) px in the frame: where the PSF is taken
    offset: FloatArray  # (F, K, 2) predicted position relative to the cutout's centre
    present: BoolArray  # (F, K)
    fwhm_px: FloatArray  # (F,) first guess, good to a factor 0.6 to 1.7
    frame_shape: tuple[int, int]  # (ny, nx)
    neighbour_offset: FloatArray  # (F, K, N, 2) known neighbours, px from the centre of the cutout
    neighbour_present: BoolArray  # (F, K, N)


@dataclass(frozen=True)
class PSFFit:
    """What the fit of one frame gave. Per-star arrays have the padded length K, NaN where unused."""

    model: PSFModel | None  # None when there is none (flags say why)
    flux: FloatArray  # (K,) data units, whole plane
    x: FloatArray  # (K,) px from the centre of the cutout
    y: FloatArray
    star_reduced_chi2: FloatArray  # (K,)
    used: BoolArray  # (K,)
    star_flags: NDArray[np.int64]  # (K,) lightwatch.flags.Flag
    rejected_pixels: BoolArray  # (K, n, n) found to be struck during the fit
    reduced_chi2: float  # of the pixels of the used stars
    converged: bool
    flags: Flag  # NOT_CONVERGED, POOR_FIT, TOO_FEW_STARS


def fit_psfs(cutouts: StarCutouts, *, outlier_sigma: float, min_stars: int, batch_size: int) -> list[PSFFit]:
    """PSF of every frame (F results, in order)."""
    raise NotImplementedError


def cutout_size_px(fwhm_px: float) -> int:
    """Recommended cutout side for a FWHM: one of 16, 24, 32, 48, 64 px."""
    raise NotImplementedError
