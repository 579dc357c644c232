"""Absolute zero points: catalogue magnitudes in the band, and the magnitude of 1 electron/s.

The relations between Gaia photometry and other bands are those of the Gaia DR3 documentation, section
5.5.1: coefficients and scatter from tables 5.8 and 5.9, ranges of colour from table 5.10 (the same
numbers in Riello et al. 2021, A&A 649, A3, tables C.1 and C.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

from lightwatch.errors import InputError
from lightwatch.flags import Flag
from lightwatch.processes.normalization_fit import masked_median

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

MAG_PER_RELATIVE_FLUX = 2.5 / np.log(10)
_CLIP_ROUNDS = 10


@dataclass(frozen=True)
class Band:
    """A passband and how Gaia photometry leads to it: G - band = sum_k coefficients[k] (BP - RP)^k.

    ``gaia`` bands are measured by Gaia itself and need no relation.
    """

    name: str
    system: str  # "Vega" or "AB"
    coefficients: tuple[float, ...]
    bp_rp_min: float
    bp_rp_max: float
    scatter_mag: float
    gaia: bool = False


@dataclass(frozen=True)
class CatalogMagnitudes:
    """Magnitudes of the stars in a band, shape (n_stars,); flag ``EXTRAPOLATED`` outside the relation."""

    mag: Floats
    mag_uncertainty: Floats
    bp_rp: Floats
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
    """Magnitudes of 1 electron/s, shape (n,), NaN where there is none.

    ``zeropoint_uncertainty`` is the error of the mean (mag), ``scatter`` the standard deviation of the
    ``n_stars`` stars used about it.
    """

    zeropoint: Floats
    zeropoint_uncertainty: Floats
    scatter: Floats
    n_stars: Ints
    flags: Ints


NO_COLOUR_TERM = ColourTerm(slope=0.0, slope_uncertainty=0.0, pivot=0.0, n_stars=0)

_BANDS = (
    Band("G", "Vega", (), -np.inf, np.inf, 0.0, gaia=True),
    Band("BP", "Vega", (), -np.inf, np.inf, 0.0, gaia=True),
    Band("RP", "Vega", (), -np.inf, np.inf, 0.0, gaia=True),
    Band("g_sdss", "AB", (0.2199, -0.6365, -0.1548, 0.0064), 0.3, 3.0, 0.0745),
    Band("r_sdss", "AB", (-0.09837, 0.08592, 0.1907, -0.1701, 0.02263), 0.0, 3.0, 0.03776),
    Band("i_sdss", "AB", (-0.293, 0.6404, -0.09609, -0.002104), 0.5, 2.0, 0.04092),
    Band("z_sdss", "AB", (-0.4619, 0.8992, -0.08271, 0.005029), -0.5, 4.5, 0.041161),
    Band("B", "Vega", (0.01448, -0.6874, -0.3604, 0.06718, -0.006061), -0.5, 4.0, 0.0633),
    Band("V", "Vega", (-0.02704, 0.01424, -0.2156, 0.01426), -0.5, 5.0, 0.03017),
    Band("R", "Vega", (-0.02275, 0.3961, -0.1243, -0.01396, 0.003775), 0.0, 4.0, 0.03167),
    Band("Ic", "Vega", (0.01753, 0.76, -0.0991), -0.5, 4.5, 0.03765),
    Band("B_T", "Vega", (-0.004288, -0.8547, 0.1244, -0.9085, 0.4843, -0.06814), -0.3, 3.0, 0.07063),
    Band("V_T", "Vega", (-0.01077, -0.0682, -0.2387, 0.02342), -0.35, 4.0, 0.0535),
)


def band_named(name: str) -> Band:
    """The band of this name; raises InputError ``unknown_band``."""
    for band in _BANDS:
        if band.name == name:
            return band
    known = ", ".join(band.name for band in _BANDS)
    raise InputError("unknown_band", f"no relation from Gaia photometry to the band {name!r}; known: {known}")


def catalog_magnitudes(
    g_mag: Floats,
    bp_mag: Floats,
    rp_mag: Floats,
    *,
    band: Band,
    assumed_bp_rp: tuple[float, float] | None,
) -> CatalogMagnitudes:
    """Magnitudes in the band from Gaia G, BP and RP, arrays (n_stars,), NaN = unknown.

    Stars without a colour get NaN unless ``assumed_bp_rp`` (mean, 1 sigma) is given: then the relation at
    that colour, the wider uncertainty that follows from it, and the flag ``EXTRAPOLATED``. Stars outside
    the range of colours of the relation get no magnitude, and the flag.
    """
    bp_rp = bp_mag - rp_mag
    if band.gaia:
        mag = {"G": g_mag, "BP": bp_mag, "RP": rp_mag}[band.name].astype(float)
        return CatalogMagnitudes(mag, np.where(np.isfinite(mag), 0.0, np.nan), bp_rp, _no_flags(mag))
    coloured = np.isfinite(bp_rp)
    colour = np.where(coloured, bp_rp, np.nan if assumed_bp_rp is None else assumed_bp_rp[0])
    colour_sigma = 0.0 if assumed_bp_rp is None else assumed_bp_rp[1]
    slope = polynomial.polyval(colour, polynomial.polyder(band.coefficients))
    widening = np.where(coloured, 0.0, slope * colour_sigma)
    outside = (colour < band.bp_rp_min) | (colour > band.bp_rp_max)
    mag = np.where(outside, np.nan, g_mag - polynomial.polyval(colour, band.coefficients))
    uncertainty = np.where(np.isfinite(mag), np.hypot(band.scatter_mag, widening), np.nan)
    flagged = outside | (~coloured & np.isfinite(mag))
    return CatalogMagnitudes(mag, uncertainty, bp_rp, flagged.astype(np.int64) * int(Flag.EXTRAPOLATED))


def _no_flags(like: Floats) -> Ints:
    return np.zeros(like.shape, np.int64)


def _single(
    flux: Floats, flux_uncertainty: Floats, mag: Floats, mag_uncertainty: Floats
) -> tuple[Floats, Floats, Bools]:
    """Zero point by each (frame, star) pair, its uncertainty, and where there is one."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(flux) & np.isfinite(flux_uncertainty) & np.isfinite(mag) & (flux > 0)
        good &= (flux_uncertainty > 0) & np.isfinite(mag_uncertainty)
    safe = np.where(good, flux, 1.0)
    value = np.where(good, mag + 2.5 * np.log10(safe), np.nan)
    relative = np.where(good, flux_uncertainty, np.nan) / safe
    return value, np.hypot(MAG_PER_RELATIVE_FLUX * relative, mag_uncertainty), good


def _clipped(values: Floats, sigma: Floats, good: Bools, clip_sigma: float) -> Bools:
    """Rows of good with what lies beyond clip_sigma of the row's median taken out, until nothing changes."""
    kept = good
    for _ in range(_CLIP_ROUNDS):
        offset = np.abs(values - masked_median(values, kept, 1)[:, None])
        spread = 1.4826 * masked_median(offset, kept, 1)[:, None]
        with np.errstate(invalid="ignore"):
            now = good & (offset <= clip_sigma * np.maximum(spread, sigma))
        if np.array_equal(now, kept):
            break
        kept = now
    return kept


def _weighted_rows(values: Floats, sigma: Floats, kept: Bools) -> tuple[Floats, Floats, Floats]:
    """Weighted mean of each row, its error, and the scatter; the scatter beyond sigma enters the weights."""
    count = kept.sum(axis=1)
    filled = np.where(kept, values, 0.0)
    mean = np.divide(filled.sum(axis=1), count, out=np.full(len(values), np.nan), where=count > 0)
    excess = np.zeros(len(values))
    for _ in range(_CLIP_ROUNDS):
        variance = sigma**2 + excess[:, None]
        weight = np.where(kept, 1 / np.where(kept & (variance > 0), variance, 1e-12), 0.0)
        total = np.where(count > 0, weight.sum(axis=1), np.nan)
        mean = (weight * filled).sum(axis=1) / total
        square = np.where(kept, values - mean[:, None], 0.0) ** 2
        # Fisher scoring of the extra variance, with one degree of freedom gone into the mean
        excess_step = (weight**2 * square).sum(axis=1) * count / np.maximum(count - 1, 1) - total
        excess = np.maximum(excess + excess_step / np.where(count > 0, (weight**2).sum(axis=1), np.nan), 0.0)
        excess = np.where(count > 1, excess, 0.0)
    scatter = np.sqrt(
        np.divide(square.sum(axis=1), count - 1, out=np.full(len(mean), np.nan), where=count > 1)
    )
    return mean, np.sqrt(1 / total), scatter


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
    Each star's offset from the zero point of its frames is averaged first, because the error of its
    catalogue magnitude is the same in all of them; the slope is then a robust line through the stars.
    ``NO_COLOUR_TERM`` when fewer than ``min_stars`` stars with a colour are left.
    """
    value, sigma, good = _single(flux, flux_uncertainty, mag, mag_uncertainty)
    good &= np.isfinite(bp_rp)
    offset = value - masked_median(value, good, 1)[:, None]
    star_offset = masked_median(offset, good, 0)
    star_sigma = masked_median(sigma, good, 0)
    used = np.isfinite(star_offset) & np.isfinite(star_sigma)
    line = NO_COLOUR_TERM
    for _ in range(_CLIP_ROUNDS):
        if used.sum() < max(min_stars, 3) or np.ptp(bp_rp[used]) == 0:
            return NO_COLOUR_TERM
        line, residual = _line(bp_rp, star_offset, star_sigma, used)
        spread = max(1.4826 * float(np.median(np.abs(residual[used]))), 1e-6)
        now = np.isfinite(residual) & (np.abs(residual) <= clip_sigma * spread)
        if np.array_equal(now, used):
            break
        used = now
    return line


def _line(colour: Floats, offset: Floats, sigma: Floats, used: Bools) -> tuple[ColourTerm, Floats]:
    """Weighted line through the used stars, errors scaled to their scatter."""
    weight = 1 / np.maximum(sigma[used], 1e-3) ** 2
    pivot = float(np.sum(weight * colour[used]) / weight.sum())
    x = colour - pivot
    power = float(np.sum(weight * x[used] ** 2))
    slope = float(np.sum(weight * x[used] * offset[used])) / power
    level = float(np.sum(weight * offset[used]) / weight.sum())
    residual = offset - level - slope * x
    chi2 = float(np.sum(weight * residual[used] ** 2)) / max(int(used.sum()) - 2, 1)
    return ColourTerm(slope, float(np.sqrt(max(chi2, 1.0) / power)), pivot, int(used.sum())), residual


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
    With a colour term it holds at the colour ``pivot``; stars without colour then enter uncorrected.
    Frames with fewer than ``min_stars`` stars have NaN and the flag ``TOO_FEW_STARS``.
    """
    value, sigma, good = _single(flux, flux_uncertainty, mag, mag_uncertainty)
    value = value - np.where(np.isfinite(bp_rp), colour_term.slope * (bp_rp - colour_term.pivot), 0.0)
    kept = _clipped(value, sigma, good, clip_sigma)
    mean, error, scatter = _weighted_rows(value, np.where(good, sigma, 0.0), kept)
    count = kept.sum(axis=1)
    few = count < max(min_stars, 1)
    return Zeropoints(
        zeropoint=np.where(few, np.nan, mean),
        zeropoint_uncertainty=np.where(few, np.nan, error),
        scatter=np.where(few, np.nan, scatter),
        n_stars=count,
        flags=few.astype(np.int64) * int(Flag.TOO_FEW_STARS),
    )


def zeropoints_by_coefficient(
    scale: Zeropoints, coefficient: Floats, coefficient_uncertainty: Floats
) -> Zeropoints:
    """Zero points of the frames, (n_frames,), from that of the normalised scale: + 2.5 log10(coefficient).

    The uncertainty adds the coefficient's; scatter, number of stars and flags are those of the scale.
    """
    known = np.isfinite(coefficient) & (np.where(np.isfinite(coefficient), coefficient, 0.0) > 0)
    safe = np.where(known, coefficient, 1.0)
    of_coefficient = MAG_PER_RELATIVE_FLUX * np.where(known, coefficient_uncertainty, np.nan) / safe
    return Zeropoints(
        zeropoint=np.where(known, scale.zeropoint[0] + 2.5 * np.log10(safe), np.nan),
        zeropoint_uncertainty=np.hypot(scale.zeropoint_uncertainty[0], of_coefficient),
        scatter=np.where(known, scale.scatter[0], np.nan),
        n_stars=np.where(known, scale.n_stars[0], 0),
        flags=np.full(coefficient.shape, scale.flags[0]),
    )
