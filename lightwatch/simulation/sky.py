"""What is in the sky: stars, galaxies, and the light curves of the targets."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from lightwatch.simulation.spec import FieldSpec, PointSource, RoiSpec, Transit

Floats = NDArray[np.float64]
Columns = dict[str, NDArray]

GAIA_EPOCH_MJD = 57388.5  # J2016.0
_CLEAR_ARCSEC = 9.0  # no star nearer to a target

#: G - band as polynomials in BP - RP, lowest power first (Gaia DR3 documentation, tables 5.8 and 5.9)
G_MINUS_BAND = {
    "G": (0.0,),
    "g_sdss": (0.2199, -0.6365, -0.1548, 0.0064),
    "r_sdss": (-0.09837, 0.08592, 0.1907, -0.1701, 0.02263),
    "i_sdss": (-0.293, 0.6404, -0.09609, -0.002104),
    "V": (-0.02704, 0.01424, -0.2156, 0.01426),
    "R": (-0.02275, 0.3961, -0.1243, -0.01396, 0.003775),
}

_PURPOSES = ("stars", "galaxies", "walk", "conditions", "noise", "cosmics", "colours")


def rng_for(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """The generator of one purpose and index; independent of all others."""
    return np.random.default_rng([seed, _PURPOSES.index(purpose), index])


def tangent_plane(spec: FieldSpec) -> WCS:
    """Offsets in arcsec (east, north) of the field centre to right ascension and declination."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [spec.ra, spec.dec]
    wcs.wcs.crpix = [1, 1]
    wcs.wcs.cd = np.eye(2) / 3600
    return wcs


def radec(spec: FieldSpec, east: Floats | float, north: Floats | float) -> tuple[Floats, Floats]:
    """Right ascension and declination (degrees) of offsets from the field centre."""
    ra, dec = tangent_plane(spec).all_pix2world(np.atleast_1d(east), np.atleast_1d(north), 0)
    return ra, dec


def _side_arcsec(spec: FieldSpec) -> float:
    """Side of the square of sky that the frames can reach."""
    turned = np.ptp(np.array(spec.rotation_deg)) > 10
    return float(max(spec.shape) * spec.pixel_scale * (1.45 if turned else 1.06))


def _clear_positions(rng: np.random.Generator, spec: FieldSpec, count: int) -> tuple[Floats, Floats]:
    """Uniform positions (arcsec east, north), kept away from the targets."""
    side, found = _side_arcsec(spec), np.empty((0, 2))
    while len(found) < count:
        drawn = rng.uniform(-side / 2, side / 2, (count, 2))
        for roi in spec.rois:
            drawn = drawn[np.hypot(drawn[:, 0] - roi.east, drawn[:, 1] - roi.north) > _CLEAR_ARCSEC]
        found = np.concatenate([found, drawn])
    return found[:count, 0], found[:count, 1]


def draw_stars(spec: FieldSpec, seed: int) -> Columns:
    """The stars, a column per property; magnitudes ``mag_<filter>`` of their means."""
    rng = rng_for(seed, "stars")
    frame_area = spec.shape[0] * spec.shape[1] * spec.pixel_scale**2
    n = max(1, round(spec.n_stars * _side_arcsec(spec) ** 2 / frame_area))
    low, high = spec.star_mag
    g = low + np.log10(1 + rng.uniform(size=n) * (10 ** (0.2 * (high - low)) - 1)) / 0.2
    bp_rp = np.clip(rng.normal(1.15, 0.45, n), 0.5, 2.0)
    east, north = _clear_positions(rng, spec, n)
    ra, dec = radec(spec, east, north)
    pmra, pmdec = rng.normal(0, 5, n), rng.normal(0, 5, n)
    fast = rng.choice(n, min(5, n), replace=False)
    pmra[fast], pmdec[fast] = rng.uniform(-250, 250, (2, len(fast)))
    excess = np.abs(rng.normal(0, 0.8, n))
    excess[rng.choice(n, min(3, n), replace=False)] = rng.uniform(4, 12, min(3, n))
    stars: Columns = {
        "source_id": 10_000_000_000_000 + np.arange(n) * 1_000_003,
        "ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec, "gmag": g, "bp_rp": bp_rp,
        "excess_noise_sig": excess, **_variability(rng, spec, g),
    }  # fmt: skip
    colours = rng_for(seed, "colours")
    for name in dict.fromkeys(spec.filters):
        offset = np.polynomial.polynomial.polyval(bp_rp, G_MINUS_BAND[name])
        stars[f"mag_{name}"] = g - offset + colours.normal(0, 0.02, n)
    return stars


def _variability(rng: np.random.Generator, spec: FieldSpec, g: Floats) -> Columns:
    """Sinusoids of a few stars: two strong (Gaia would notice), the others weak."""
    n = len(g)
    candidates = np.flatnonzero(g < spec.star_mag[0] + 0.75 * (spec.star_mag[1] - spec.star_mag[0]))
    count = min(spec.n_variable, len(candidates))
    chosen = rng.choice(candidates, count, replace=False) if count else np.array([], int)
    amplitude, period, phase = np.zeros(n), np.ones(n), np.zeros(n)
    amplitude[chosen] = np.resize([0.30, 0.15, 0.06, 0.04, 0.03, 0.02], count)
    period[chosen] = rng.uniform(8, 60, count)
    phase[chosen] = rng.uniform(0, 2 * np.pi, count)
    sigma_g = np.hypot(0.0003, 0.0005 * 10 ** (0.3 * (g - 16)))
    sigma_g = np.hypot(sigma_g, amplitude / np.sqrt(2) / np.sqrt(20))
    return {"amplitude": amplitude, "period": period, "phase": phase, "flux_over_error": 1.0857 / sigma_g}


def draw_galaxies(spec: FieldSpec, seed: int) -> Columns:
    """Faint galaxies: position (arcsec), magnitude and Sersic shape."""
    rng = rng_for(seed, "galaxies")
    n = spec.n_galaxies
    east, north = _clear_positions(rng, spec, n) if n else (np.empty(0), np.empty(0))
    return {
        "east": east, "north": north, "mag": rng.uniform(19.5, 22.5, n), "r_eff": rng.uniform(0.4, 1.2, n),
        "q": rng.uniform(0.4, 1.0, n), "pa": rng.uniform(0, 180, n),
    }  # fmt: skip


def star_positions(stars: Columns, mjd: float) -> tuple[Floats, Floats]:
    """Right ascension and declination at a time, proper motion applied."""
    years = (mjd - GAIA_EPOCH_MJD) / 365.25
    ra = stars["ra"] + years * stars["pmra"] / 3.6e6 / np.cos(np.radians(stars["dec"]))
    return ra, stars["dec"] + years * stars["pmdec"] / 3.6e6


def star_magnitudes(stars: Columns, spec: FieldSpec, band: str, mjd: float) -> Floats:
    """Magnitudes at a time (middle of the exposure)."""
    cycle = 2 * np.pi * (mjd - spec.start_mjd) / stars["period"] + stars["phase"]
    return stars[f"mag_{band}"] + stars["amplitude"] * np.sin(cycle)


def transit_factor(transit: Transit, mjd: float) -> float:
    """Relative flux of a trapezoid-shaped transit."""
    slope = (transit.duration_days - transit.flat_days) / 2
    distance = abs(mjd - transit.mid_mjd) - transit.flat_days / 2
    depth = np.clip(1 - distance / slope, 0, 1) if slope > 0 else float(distance <= 0)
    return float(1 - transit.depth * depth)


def source_magnitude(
    spec: FieldSpec, seed: int, roi: RoiSpec, source: PointSource, band: str, mjd: float
) -> float:
    """Magnitude of a point source of a ROI at a time.

    A damped random walk (80 days) common to the ROI, seen with each source's delay; transits; a source is
    0.2 mag fainter in each further filter.
    """
    mag = source.mag + 0.2 * spec.filters.index(band)
    if source.variability_mag:
        walk = _walk(seed, spec.rois.index(roi))
        day = mjd - spec.start_mjd - source.delay_days + _WALK_LEAD_DAYS
        mag += source.variability_mag * float(np.interp(day, np.arange(len(walk)), walk))
    if source.transit is not None:
        mag -= 2.5 * np.log10(transit_factor(source.transit, mjd))
    return float(mag)


_WALK_LEAD_DAYS = 200


def _walk(seed: int, index: int, days: int = 4200, tau_days: float = 80.0) -> Floats:
    """Damped random walk of unit rms, one value per day."""
    step = rng_for(seed, "walk", index).normal(0, 1, days)
    keep = float(np.exp(-1 / tau_days))
    walk = np.zeros(days)
    for day in range(1, days):
        walk[day] = keep * walk[day - 1] + np.sqrt(1 - keep**2) * step[day]
    return walk
