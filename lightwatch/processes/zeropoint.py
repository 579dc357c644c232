"""Absolute zero points: catalogue magnitudes in the band, and the magnitude of 1 electron/s."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Band:
    """A passband and how Gaia photometry leads to it: G - band = sum_k coefficients[k] (BP - RP)^k."""

    name: str
    system: str  # "Vega" or "AB"
    coefficients: tuple[float, ...]
    bp_rp_min: float
    bp_rp_max: float
    scatter_mag: float


@dataclass(frozen=True)
class CatalogMagnitudes:
    """Magnitudes of the stars in a band, shape (n_stars,); flag ``EXTRAPOLATED`` outside the relation."""

    mag: Floats
    mag_uncertainty: Floats
    flags: Ints


@dataclass(frozen=True)
class ColourTerm:
    """catalogue mag + 2.5 log10(flux) = zeropoint + slope * (BP - RP - pivot)."""

    slope: float
    slope_uncertainty: float
    pivot: float
    n_stars: int


@dataclass(frozen=True)
class Zeropoints:
    """Zero points (mag of 1 electron/s) with error of the mean, scatter of the stars (mag), n stars, flags."""

    zeropoint: Floats
    zeropoint_uncertainty: Floats
    scatter: Floats
    n_stars: Ints
    flags: Ints


NO_COLOUR_TERM = ColourTerm(slope=0.0, slope_uncertainty=0.0, pivot=0.0, n_stars=0)


def band_named(name: str) -> Band:
    """The band of this name; raises InputError ``unknown_band``."""
    raise NotImplementedError


def catalog_magnitudes(
    g_mag: Floats, bp_rp: Floats, *, band: Band, assumed_bp_rp: tuple[float, float] | None
) -> CatalogMagnitudes:
    """Synthetic magnitudes from Gaia G and BP-RP, arrays (n_stars,), NaN = unknown.

    Stars without colour get NaN unless ``assumed_bp_rp`` (mean, 1 sigma) is given: then the relation at
    that colour, the wider uncertainty that follows, and the flag ``EXTRAPOLATED``.
    """
    raise NotImplementedError


def fit_colour_term(
    flux: Floats,
    flux_uncertainty: Floats,
    mag: Floats,
    mag_uncertainty: Floats,
    bp_rp: Floats,
    *,
    clip_sigma: float,
    min_stars: int,
) -> ColourTerm:
    """Colour term of one instrument and filter, over all its frames jointly.

    flux, flux_uncertainty: (n_frames, n_stars) electron/s, NaN = not measured; the rest (n_stars,).
    ``NO_COLOUR_TERM`` when fewer than ``min_stars`` stars have a colour.
    """
    raise NotImplementedError


def frame_zeropoints(
    flux: Floats,
    flux_uncertainty: Floats,
    mag: Floats,
    mag_uncertainty: Floats,
    bp_rp: Floats,
    *,
    colour_term: ColourTerm,
    clip_sigma: float,
    min_stars: int,
) -> Zeropoints:
    """Zero point of every frame on its own; shapes as in fit_colour_term, result (n_frames,).

    For the zero point of the normalised scale pass the normalised star fluxes with shape (1, n_stars).
    Frames with fewer than ``min_stars`` stars: NaN and ``TOO_FEW_STARS``.
    """
    raise NotImplementedError


def zeropoints_by_coefficient(
    scale: Zeropoints, coefficient: Floats, coefficient_uncertainty: Floats
) -> Zeropoints:
    """Zero points of the frames, (n_frames,), from that of the normalised scale: + 2.5 log10(coefficient)."""
    raise NotImplementedError
