"""Sources of a frame, the locus of stars among them, and how deep the frame goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sources:
    """Detected sources, brightest first; arrays of one length.

    ``x, y`` px (windowed centroid, else barycentre); ``flux, flux_uncertainty`` electron/s in a circle
    of ``aperture_px``; ``peak`` electron/s; ``fwhm_px`` 2 x half-flux radius with the pixel taken out
    (for comparing sources of one frame; ``Seeing.fwhm_px`` is the calibrated one); ``a, b`` px rms along
    the axes, ``theta`` rad from +x towards +y, ``ellipticity`` 1 - b/a; ``snr`` flux over uncertainty;
    ``flags`` of lightwatch.flags: SATURATED, BAD, COSMIC_RAY, NEIGHBOUR_OF_BAD (such a pixel in the core),
    OUTSIDE (at the edge), CONTAMINATED (deblended or with a neighbour), LOW_COVERAGE.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_uncertainty: NDArray[np.float64]
    peak: NDArray[np.float64]
    fwhm_px: NDArray[np.float64]
    ellipticity: NDArray[np.float64]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    theta: NDArray[np.float64]
    snr: NDArray[np.float64]
    flags: NDArray[np.int32]
    aperture_px: float

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Seeing:
    """Shape of the stars of one frame.

    ``fwhm_px``: full width at half maximum (geometric mean of the axes) of Moffat fits to unsaturated
    stars, of the light before it is summed in pixels. ``ellipticity`` 1 - b/a of the mean star;
    ``theta`` rad of its major axis from +x towards +y. ``n_stars`` stars fitted. ``is_star`` (n sources):
    point-like by size. fwhm_px is NaN when no star could be measured.
    """

    fwhm_px: float
    ellipticity: float
    theta: float
    n_stars: int
    is_star: NDArray[np.bool_]


def detect_sources(
    image: NDArray[np.float32],
    background_rms: NDArray[np.float32],
    mask: NDArray[np.integer],
    *,
    exptime: float,
    threshold_sigma: float,
    min_area_px: int,
    kernel_fwhm_px: float,
    deblend_levels: int,
    deblend_contrast: float,
    max_sources: int,
) -> Sources:
    """Sources of a sky-subtracted ``image`` (ny, nx) electron/s.

    ``background_rms`` (ny, nx) electron/s; ``mask`` (ny, nx) bits of lightwatch.flags; saturated pixels take
    part in the detection, the other unusable ones do not. ``threshold_sigma`` in units of the noise of the
    filtered image; ``kernel_fwhm_px`` of the Gaussian filter (0: none). ``deblend_contrast`` 1 turns
    deblending off. Where the library's limits overflow, the threshold is doubled and the detection
    repeated. Method: Bertin & Arnouts 1996, A&AS 117, 393 (library sep).
    Raises ProcessError ``detection_failed``.
    """
    raise NotImplementedError


def automatic_threshold(shape: tuple[int, int], kernel_fwhm_px: float, false_per_frame: float) -> float:
    """Threshold (sigma of the filtered image) above which noise makes ``false_per_frame`` peaks.

    Expected number of peaks of a smooth Gaussian random field (Adler 1981, The Geometry of Random Fields).
    """
    raise NotImplementedError


def stellar_locus(
    image: NDArray[np.float32],
    background_rms: NDArray[np.float32],
    mask: NDArray[np.integer],
    sources: Sources,
    *,
    exptime: float,
    min_snr: float,
    max_stars: int,
) -> Seeing:
    """Seeing and star/galaxy separation from the locus of point sources in the size-flux plane."""
    raise NotImplementedError


def limiting_flux(background_rms: float, fwhm_px: float, n_sigma: float) -> float:
    """Flux (electron/s) of a point source detected at ``n_sigma`` in sky noise ``background_rms`` (per pixel).

    Optimally weighted (PSF) photometry of a Gaussian PSF: sigma = rms sqrt(4 pi) fwhm / 2.3548
    (King 1983, PASP 95, 163). Magnitude: zeropoint - 2.5 log10(flux).
    """
    return n_sigma * background_rms * float(np.sqrt(4 * np.pi)) * fwhm_px / 2.354820045
