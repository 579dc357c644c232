"""Scatter of the reference stars of a finished workdir against the noise expected of them, by S/N.

Usage: python benchmarks/star_scatter.py WORKDIR [--filter NAME] [--diameter METRES]

For PSF and for aperture fluxes the filter is normalized anew, as the pipeline does it. A star's residuals are
flux / (coefficient x star flux) - 1 with the star itself left out of the coefficients (residual / (1 - its share
of the weight)). Measurements that are saturated, incomplete or extended do not count, nor do those beyond 4
robust sigma of their star (their fraction is printed), nor stars on fewer than 20 frames.

Columns, median and 16 to 84 % over the stars of a bin (variable stars not set aside):
  all      rms over the night / expected noise; expected: stated flux uncertainty and noise of the coefficient
  next     the same of differences of successive frames / sqrt 2: what is left without slow changes
  place    rms over the night after one polynomial in detector position, common to all stars, was taken out:
           what a missing flat field and vignetting add
  flicker  the same / (expected noise and scintillation): what nothing here explains
  photons  stated uncertainty / photons, sky and read-out from first principles in the aperture (apertures only)
Last, the excess of successive frames over the expected noise of stars with S/N > 300, by airmass, beside
scintillation (Young 1967, AJ 72, 747, as in Osborn et al. 2015, MNRAS 452, 1707).
"""

from __future__ import annotations

import argparse
import sqlite3
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from lightwatch.errors import TooFewStars
from lightwatch.flags import Flag
from lightwatch.pipeline.tasks import normalization as task
from lightwatch.pipeline.tasks.star_photometry import aperture_radius_px
from lightwatch.processes.normalization import Normalization, normalize
from lightwatch.structure.workspace import Workspace

SNR_BINS = (20, 50, 100, 150, 200, 300, 500, np.inf)
BRIGHT = 300
MIN_FRAMES = 20
CLIP = 4.0
DEGREE = 5
COLUMNS = ("flux", "flux_uncertainty", "aperture_flux", "aperture_flux_uncertainty", "x", "y", "flags")


@dataclass(frozen=True)
class Table:
    """Frames in the order of time, (n,), and measurements (n, stars)."""

    airmass: np.ndarray
    exptime: np.ndarray
    background_rms: np.ndarray  # electron/s
    fwhm_px: np.ndarray
    shape: tuple[int, int]
    elevation: float
    measured: dict[str, np.ndarray]


@dataclass(frozen=True)
class Scatter:
    """Residuals and expected noise (n, stars), both relative; NaN where not used."""

    residual: np.ndarray
    expected: np.ndarray
    clipped: float


def read(workdir: Path, name: str | None) -> tuple[str, Table]:
    """All measurements of a filter; the one with most frames when none is named."""
    connection = sqlite3.connect(f"file:{workdir / 'database.sqlite3'}?mode=ro", uri=True)
    columns = ", ".join(COLUMNS)
    rows = connection.execute(
        f"SELECT frame_id, star_gaia_id, filter, {columns} FROM current_star_fluxes"
    ).fetchall()
    filters = [row[2] or "" for row in rows]
    chosen = max(set(filters), key=filters.count) if name is None else name
    frames = connection.execute(
        "SELECT f.id, airmass, exptime, background_rms_electron_per_second, p.fwhm_pixels, naxis2, naxis1,"
        " telescope_elevation FROM frames f JOIN current_psfs p ON p.frame_id = f.id"
        " WHERE coalesce(f.filter, '') = ? AND eliminated = 0 ORDER BY f.mjd_mid",
        (chosen,),
    ).fetchall()
    place = {frame[0]: i for i, frame in enumerate(frames)}
    star = {s: j for j, s in enumerate(sorted({row[1] for row in rows}))}
    measured = {column: np.full((len(frames), len(star)), np.nan) for column in COLUMNS}
    for row in rows:
        if row[0] in place:
            for column, value in zip(COLUMNS, row[3:], strict=True):
                measured[column][place[row[0]], star[row[1]]] = np.nan if value is None else value
    of_frames = np.array([[np.nan if v is None else v for v in frame[1:5]] for frame in frames], float).T
    shape, elevation = (frames[0][5], frames[0][6]), frames[0][7] or 0.0
    airmass, exptime, background_rms, fwhm_px = of_frames
    return chosen, Table(airmass, exptime, background_rms, fwhm_px, shape, elevation, measured)


def usable(table: Table) -> np.ndarray:
    """Measurements that say something of their star, (n, stars)."""
    flags = np.nan_to_num(table.measured["flags"], nan=float(Flag.SATURATED)).astype(int)
    return (flags & int(task._UNUSABLE)) == 0


def normalized(
    table: Table, flux: np.ndarray, sigma: np.ndarray, min_stars: int, min_snr: float
) -> Normalization:
    """As the pipeline does it; the scale does not matter here."""
    good = usable(table) & np.isfinite(flux) & (np.nan_to_num(sigma) > 0)
    return normalize(
        flux, sigma, good, common_error=None, gauge_flux=None, min_stars=min_stars, min_snr=min_snr,
        scatter_floor=task._SCATTER_FLOOR, variable_scatter=task._VARIABLE_SCATTER,
        outlying_frame_scatter=task._OUTLYING_FRAME_SCATTER, coefficient_range=task._COEFFICIENT_RANGE,
        outlier_sigma=task._OUTLIER_SIGMA, max_iterations=task._MAX_ITERATIONS,
    )  # fmt: skip


def scatter(table: Table, flux: np.ndarray, sigma: np.ndarray, solution: Normalization) -> Scatter:
    """Residuals without the star's own part in the coefficients, and the noise expected of them."""
    scale = solution.coefficient[:, None] * solution.star_flux
    share = solution.pair_share
    stated = np.where(usable(table), sigma / scale, np.nan)
    residual = np.where(np.isfinite(stated), (flux / scale - 1) / (1 - share), np.nan)
    known = (share * np.nan_to_num(stated)) ** 2
    expected = np.sqrt(stated**2 + (known.sum(1, keepdims=True) - known) / (1 - share) ** 2)
    enough = np.isfinite(residual).sum(0) >= MIN_FRAMES
    residual = np.where(enough, residual, np.nan)
    count = np.isfinite(residual).sum()
    residual = clipped(residual)
    return Scatter(residual, expected, 1 - np.isfinite(residual).sum() / max(count, 1))


def clipped(residual: np.ndarray) -> np.ndarray:
    """Residuals about their star's median, NaN beyond 4 robust sigma."""
    out = np.full_like(residual, np.nan)
    for j in np.flatnonzero(np.isfinite(residual).any(0)):
        offset = residual[:, j] - np.nanmedian(residual[:, j])
        wide = 1.4826 * np.nanmedian(np.abs(offset))
        out[:, j] = np.where(np.abs(offset) < CLIP * wide, offset, np.nan)
    return out


def without_place(table: Table, found: Scatter) -> np.ndarray:
    """Residuals after a polynomial in detector position common to all stars (each star has its own mean)."""
    frame, star = np.nonzero(np.isfinite(found.residual))
    ny, nx = table.shape
    x = 2 * table.measured["x"][frame, star] / nx - 1
    y = 2 * table.measured["y"][frame, star] / ny - 1
    powers = [(i, k) for i in range(DEGREE + 1) for k in range(DEGREE + 1 - i) if i + k > 0]
    terms = np.stack([x**i * y**k for i, k in powers], axis=1)
    value = found.residual[frame, star]
    weight = 1 / (found.expected[frame, star] ** 2 + 0.003**2)
    total = np.bincount(star, weight)
    total[total == 0] = 1

    def centred(v: np.ndarray) -> np.ndarray:
        return v - (np.bincount(star, weight * v) / total)[star]

    terms = np.stack([centred(t) for t in terms.T], axis=1)
    root = np.sqrt(weight)
    rest = centred(value)
    for _ in range(5):  # Huber, so that a few strange stars do not shape the field
        robust = np.sqrt(np.minimum(1, 2 / np.maximum(np.abs(rest) * root, 1e-9)))
        answer = np.linalg.lstsq(
            terms * (root * robust)[:, None], centred(value) * root * robust, rcond=1e-8
        )[0]
        rest = centred(value) - terms @ answer
    out = np.full_like(found.residual, np.nan)
    out[frame, star] = rest
    return out


def rms(residual: np.ndarray) -> np.ndarray:
    """Per star, of what is not NaN."""
    count = np.isfinite(residual).sum(0)
    mean = np.where(count, np.nansum(residual, 0) / np.maximum(count, 1), np.nan)
    return np.sqrt(np.nansum((residual - mean) ** 2, 0) / np.maximum(count - 1, 1))


def steps(residual: np.ndarray) -> np.ndarray:
    """Differences of a star's successive measurements / sqrt 2, at the later frame."""
    out = np.full_like(residual, np.nan)
    for j in range(residual.shape[1]):
        here = np.flatnonzero(np.isfinite(residual[:, j]))
        out[here[1:], j] = np.diff(residual[here, j]) / np.sqrt(2)
    return out


def first_principles(table: Table, solution: Normalization, radius_fwhm: float) -> np.ndarray:
    """Relative noise (n, stars) of star photons and of the sky's and read-out's measured noise in the aperture."""
    radius = np.array([aperture_radius_px(radius_fwhm, fwhm) for fwhm in table.fwhm_px])
    flux = solution.coefficient[:, None] * solution.star_flux
    sky = np.pi * radius**2 * table.background_rms**2
    return np.sqrt(np.maximum(flux, 0) / table.exptime[:, None] + sky[:, None]) / flux


def spread(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, (16, 50, 84))
    return f"{middle:5.2f} ({low:.2f}-{high:.2f})"


def print_table(
    table: Table, found: Scatter, stated: np.ndarray, principles: np.ndarray | None, diameter: float
) -> None:
    """One row per bin of S/N."""
    counted = np.isfinite(found.residual)
    expected = np.sqrt(np.nanmean(np.where(counted, found.expected, np.nan) ** 2, 0))
    snr = 1 / np.nanmedian(np.where(counted, stated, np.nan), 0)
    ratios = [rms(found.residual) / expected, np.sqrt(np.nanmean(steps(found.residual) ** 2, 0)) / expected]
    flat = rms(without_place(table, found))
    exptime = float(np.median(table.exptime))
    flicker = np.where(
        counted, scintillation(table.airmass, exptime, diameter, table.elevation)[:, None], np.nan
    )
    ratios += [flat / expected, flat / np.sqrt(expected**2 + np.nanmean(flicker**2, 0))]
    if principles is not None:
        ratios.append(np.nanmedian(np.where(counted, stated / principles, np.nan), 0))
    for low, high in pairwise(SNR_BINS):
        here = np.isfinite(snr) & (snr >= low) & (snr < high)
        print_row(f"{low:.0f} to {high:.0f}", here, rms(found.residual), expected, ratios)
    print_row(f"below {BRIGHT}", np.isfinite(snr) & (snr < BRIGHT), rms(found.residual), expected, ratios)
    print_row(f"above {BRIGHT}", np.isfinite(snr) & (snr >= BRIGHT), rms(found.residual), expected, ratios)


def print_row(
    name: str, here: np.ndarray, measured: np.ndarray, expected: np.ndarray, ratios: list[np.ndarray]
) -> None:
    if here.sum() < 2:
        return
    levels = f"{100 * np.median(measured[here]):6.3f} {100 * np.median(expected[here]):6.3f}"
    print(f"  {name:12s} {here.sum():4d}  {levels}  " + "  ".join(spread(ratio[here]) for ratio in ratios))


def scintillation(airmass: np.ndarray, exptime: float, diameter: float, elevation: float) -> np.ndarray:
    """Relative rms, with the factor 1.5 of a typical site."""
    young = (
        0.09 * (100 * diameter) ** (-2 / 3) * airmass**1.75 / np.sqrt(2 * exptime) * np.exp(-elevation / 8000)
    )
    return np.asarray(1.5 * young)


def print_excess(table: Table, found: Scatter, stated: np.ndarray, diameter: float) -> None:
    """What successive frames scatter beyond the expected noise, of bright stars, in four bins of airmass."""
    bright = 1 / np.nanmedian(np.where(np.isfinite(found.residual), stated, np.nan), 0) >= BRIGHT
    step = np.where(bright, steps(found.residual), np.nan)
    if np.isfinite(step).sum() < 40 or not np.isfinite(table.airmass).all():
        return
    edges = np.quantile(table.airmass, (0, 0.25, 0.5, 0.75, 1))
    print(f"  S/N > {BRIGHT}, successive frames, by airmass: % measured, expected, excess, scintillation")
    for low, high in pairwise(edges):
        here = (table.airmass >= low) & (table.airmass <= high)
        inside = here[:, None] & np.isfinite(step)
        measured = np.median(np.abs(step[inside])) * 1.4826
        noise = np.sqrt(np.mean(found.expected[inside] ** 2))
        excess = np.sqrt(max(measured**2 - noise**2, 0.0))
        exptime = float(np.median(table.exptime))
        flicker = scintillation(np.array(np.median(table.airmass[here])), exptime, diameter, table.elevation)
        numbers = " ".join(f"{100 * value:6.3f}" for value in (measured, noise, excess, float(flicker)))
        print(f"    {np.median(table.airmass[here]):5.2f}  {numbers}")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--filter", default=None)
    parser.add_argument("--diameter", type=float, default=0.15, help="of the telescope, m, for scintillation")
    arguments = parser.parse_args()
    config = Workspace.open(arguments.workdir).config
    name, table = read(arguments.workdir, arguments.filter)
    for kind, prefix in (("PSF", ""), ("aperture", "aperture_")):
        flux, sigma = table.measured[f"{prefix}flux"], table.measured[f"{prefix}flux_uncertainty"]
        try:
            solution = normalized(
                table, flux, sigma, config.normalization.min_stars, config.normalization.min_snr
            )
        except TooFewStars as error:
            print(f"{kind} fluxes: {error}")
            continue
        found = scatter(table, flux, sigma, solution)
        if not np.isfinite(found.residual).any():
            print(f"{kind} fluxes: no star on {MIN_FRAMES} frames")
            continue
        stated = sigma / (solution.coefficient[:, None] * solution.star_flux)
        radius = config.star_photometry.aperture_radius_fwhm
        principles = first_principles(table, solution, radius) if prefix else None
        print(f"{kind} fluxes, filter {name!r}: {len(flux)} frames, {100 * found.clipped:.1f} % clipped")
        print(
            "  S/N          stars  rms % exp. %  all                next               place"
            "              flicker" + "            photons" * bool(prefix)
        )
        with np.errstate(invalid="ignore"):
            print_table(table, found, stated, principles, arguments.diameter)
            print_excess(table, found, stated, arguments.diameter)


if __name__ == "__main__":
    main()
