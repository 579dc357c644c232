"""Which catalogue stars become reference stars, and which of them shape the PSF of a frame.

All functions are independent of the order in which the stars are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CandidateStars:
    """Catalogue columns a selection needs, each (n,); NaN is unknown."""

    source_id: NDArray[np.int64]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    g_mag: NDArray[np.float64]
    astrometric_excess_noise_sig: NDArray[np.float64]
    flux_over_error: NDArray[np.float64]  # of the G flux: low for variables
    variable: NDArray[np.float64]  # 1, 0, NaN


@dataclass(frozen=True)
class StarCuts:
    """Limits on reference stars; None is no cut."""

    min_g_mag: float | None
    max_g_mag: float | None
    max_astrometric_excess_noise_sig: float | None
    min_flux_over_error: float | None
    max_contamination: float | None  # light of others over own light, in the aperture
    exclude_variable: bool
    unknown_passes: bool  # whether NaN passes a cut (the magnitude cuts included)
    roi_exclusion_arcsec: float  # no star closer to a ROI
    max_number: int | None


@dataclass(frozen=True)
class Selection:
    """The outcome for every candidate, in the order in which they were given."""

    kept: NDArray[np.bool_]  # (n,)
    reason: NDArray[np.str_]  # (n,) name of the first cut that refused the star; empty when kept
    name: NDArray[np.str_]  # (n,) letters of kept stars, nearest to a ROI first; empty otherwise
    distance_to_roi_arcsec: NDArray[np.float64]  # (n,) to the nearest ROI
    nearest_neighbour_arcsec: NDArray[np.float64]  # (n,) inf when alone
    contamination: NDArray[np.float64]  # (n,)
    counts: tuple[tuple[str, int], ...]  # (cut, number refused by it), in the order of the cuts


def distance_to_roi_arcsec(
    ra_deg: NDArray[np.float64],
    dec_deg: NDArray[np.float64],
    roi_ra_deg: NDArray[np.float64],
    roi_dec_deg: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Great-circle distance (n,) of each star to the nearest ROI."""
    raise NotImplementedError


def region_members(
    strategy: str,
    *,
    distance_arcsec: NDArray[np.float64],
    radius_arcsec: float,
    in_frames: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Stars (n,) in the region of a strategy; ``in_frames`` is (n_frames, n).

    ``ROI_disk``: closer than the radius to a ROI; ``common_footprint_stars``: inside every frame;
    ``stars_per_frame``: inside at least one.  Raises ValueError for another strategy.
    """
    raise NotImplementedError


def crowding(
    ra_deg: NDArray[np.float64],
    dec_deg: NDArray[np.float64],
    g_mag: NDArray[np.float64],
    *,
    fwhm_arcsec: float,
    aperture_radius_arcsec: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance to the nearest neighbour (arcsec), and light of others over own light in the aperture."""
    raise NotImplementedError


def select_stars(
    stars: CandidateStars,
    *,
    in_region: NDArray[np.bool_],
    roi_ra_deg: NDArray[np.float64],
    roi_dec_deg: NDArray[np.float64],
    cuts: StarCuts,
    excluded: dict[str, Sequence[int]],
    fwhm_arcsec: float,
    aperture_radius_arcsec: float,
) -> Selection:
    """Apply region, exclusion lists (reason -> source ids), cuts and the maximum number, in this order."""
    raise NotImplementedError


def star_names(count: int) -> list[str]:
    """a .. z, aa, ab .. az, ba ..: the first ``count`` of them."""
    raise NotImplementedError


@dataclass(frozen=True)
class PsfStars:
    """The choice for one frame, in the order given."""

    used: NDArray[np.bool_]  # (n,) shape the PSF
    reserved: NDArray[np.bool_]  # (n,) good enough, but kept to test the PSF
    reasons: NDArray[np.int64]  # (n,) Flag bits that kept a star out; 0 for those used, reserved or surplus


def choose_psf_stars(
    *,
    source_id: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    snr: NDArray[np.float64],
    contamination: NDArray[np.float64],
    coverage: NDArray[np.float64],
    saturated: NDArray[np.bool_],
    flags: NDArray[np.int64],
    shape: tuple[int, int],
    edge_margin_px: float,
    min_snr: float,
    max_contamination: float,
    min_coverage: float,
    max_number: int,
    cells_per_side: int,
    reserved_fraction: float,
    min_number_to_reserve: int,
) -> PsfStars:
    """Stars that shape the PSF of one frame: clean, bright and spread over the frame.

    ``coverage`` is the fraction of good pixels of the cutout, ``flags`` bits that disqualify already.
    """
    raise NotImplementedError
