"""Accuracy of a finished workdir on a simulated field, against its truth and the Cramér-Rao bound.

Usage: python benchmarks/against_truth.py WORKDIR TRUTH_DIR

TRUTH_DIR holds frames.csv (transparency), stars.csv (per star and frame: flux_top, flux, crb, blend, inside,
n_cosmic, n_saturated), sources.csv or quasar.csv (per point source and frame: flux_top), and the PSFs in
field.json or meta.json. Prints one table.
"""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from psf_error import psf_errors
from simulated_truth import Truth, read_truth

CLEAN_BLEND = 0.002
CLOSE_FWHM = 1.5
SNR_BINS = (10, 30, 100, 300, 1000)
MAG = 2.5 / np.log(10)


@dataclass(frozen=True)
class Finished:
    """Database of a finished workdir and the truth of its frames."""

    workdir: Path
    connection: sqlite3.Connection
    truth: Truth
    number: dict[int, int]  # frame id to the number of the simulated frame

    def rows(self, query: str, *values: object) -> list[tuple]:
        return self.connection.execute(query, values).fetchall()

    def ratios(self) -> np.ndarray:
        """(frame, coefficient / transparency, its error) of every normalised frame, (3, F)."""
        rows = self.rows(
            "SELECT frame_id, coefficient, coefficient_uncertainty FROM normalization_coefficients"
        )
        numbers = [self.number[f] for f, _, _ in rows]
        top = np.array([self.truth.transparency(n) for n in numbers])
        values = np.array([(c, np.nan if u is None else u) for _, c, u in rows], dtype=float).T
        return np.vstack([numbers, values / top])


@dataclass(frozen=True)
class Measurements:
    """Star fluxes against truth, all (N,), relative to the true flux, after one scale per frame."""

    frame: np.ndarray
    star: np.ndarray
    error: np.ndarray
    claimed: np.ndarray
    bound: np.ndarray
    snr: np.ndarray
    clean: np.ndarray
    close: np.ndarray  # a catalogued star within 1.5 FWHM
    frame_scale: np.ndarray  # (F,)


def robust_std(values: np.ndarray) -> float:
    """1.4826 MAD."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else float("nan")


def median(values: np.ndarray) -> float:
    """Of what is known; NaN when nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def measurements(finished: Finished) -> Measurements:
    """Usable measurements of stars: inside of the frame, not saturated, not struck."""
    truth = finished.truth
    known = {(int(r["frame"]), int(r["source_id"])): r for r in truth.stars}
    rows = []
    for fid, star, flux, err in finished.rows(
        "SELECT frame_id, star_gaia_id, flux, flux_uncertainty FROM star_flux_in_frame WHERE flux IS NOT NULL"
    ):
        number = finished.number[fid]
        t = known.get((number, star))
        if t is None or not t["inside"] or t["n_saturated"] or t["n_cosmic"]:
            continue
        true, fwhm = t["flux"], truth.psf(number, t["x"]).fwhm
        close = truth.nearest_px[number, star] < CLOSE_FWHM * fwhm
        rows.append((number, star, flux / true - 1, err / true, t["crb"] / true, t["snr"], t["blend"], close))
    frame, star, rel, err, crb, snr, blend, close = np.array(rows, dtype=float).T
    clean = np.abs(blend) < CLEAN_BLEND
    scale = {
        f: np.average(rel[(frame == f) & clean], weights=crb[(frame == f) & clean] ** -2)
        for f in np.unique(frame[clean])
    }
    rel = rel - np.array([scale.get(f, np.nan) for f in frame])
    return Measurements(
        frame, star, rel, err, crb, snr, clean, close.astype(bool), np.array(list(scale.values()))
    )


def stars(finished: Finished) -> None:
    """Scatter, pulls and bias of single star fluxes, after one scale per frame from the clean stars."""
    m = measurements(finished)
    print(f"stars: {m.clean.sum()} clean measurements; frame scale error {100 * np.std(m.frame_scale):.3f} %")
    true_snr = finished.truth.stars["snr"]
    for low, high in zip((0, *SNR_BINS), (*SNR_BINS, 1e9), strict=True):
        name = f"S/N {low} to {high}" if high < 1e9 else f"S/N > {low}"
        there = int(((true_snr >= low) & (true_snr < high)).sum())
        line(name, m, m.clean & (m.snr >= low) & (m.snr < high), there)
    line("all", m, m.clean, len(true_snr))
    blended(m)


def line(name: str, m: Measurements, chosen: np.ndarray, there: int) -> None:
    """One row of the table of stars; ``there`` counts the stars in the truth, selected or not."""
    n = int(chosen.sum())
    print(f"  {name:16s} n {n:5d} of {there:5d}", end="")
    if n < 10:
        print()
        return
    z, pull = m.error[chosen] / m.bound[chosen], m.error[chosen] / m.claimed[chosen]
    weight = m.bound[chosen] ** -2
    bias, error = 100 * np.average(m.error[chosen], weights=weight), 100 * weight.sum() ** -0.5
    print(
        f"  scatter/CRLB {np.sqrt(np.mean(z**2)):.3f} (robust {robust_std(z):.3f})  "
        f"pulls {np.std(pull):.3f} (robust {robust_std(pull):.3f})  bias {bias:+.3f} +- {error:.3f} %"
    )


def blended(m: Measurements) -> None:
    """Stars with a catalogued neighbour within 1.5 FWHM, each, and all other stars that are not clean."""
    for star in np.unique(m.star[m.close]):
        chosen = m.close & (m.star == star)
        blend_line(f"star {int(star)}, neighbour within {CLOSE_FWHM} FWHM", m, chosen)
    blend_line(f"all with a neighbour within {CLOSE_FWHM} FWHM", m, m.close)
    blend_line("other blends, S/N > 30", m, ~m.clean & ~m.close & (m.snr > 30))


def blend_line(name: str, m: Measurements, chosen: np.ndarray) -> None:
    if not chosen.any():
        print(f"  blended: {name}: none measured")
        return
    error, weight = 100 * m.error[chosen], m.claimed[chosen] ** -2
    worst = error[np.abs(error).argmax()]
    print(
        f"  blended: {name}: n {len(error)}, bias {np.average(error, weights=weight):+.2f} +- "
        f"{100 * weight.sum() ** -0.5:.2f} %, median {np.median(error):+.2f} %, worst {worst:+.1f} %, "
        f"pulls {np.sqrt(np.mean((m.error[chosen] / m.claimed[chosen]) ** 2)):.2f}"
    )


def normalization(finished: Finished) -> None:
    """Coefficients against the true transparency, and their trend with the seeing."""
    frame, ratio, err = finished.ratios()
    rel = ratio / np.median(ratio) - 1
    seeing = np.array([finished.truth.psfs[int(f)].fwhm for f in frame])
    slope, error = trend(seeing, rel)
    print(
        f"normalization: n {len(rel)}, std {100 * np.std(rel):.3f} %, robust {100 * robust_std(rel):.3f} %, "
        f"pull {np.std(rel / (err / ratio)):.2f}, claimed {100 * np.median(err / ratio):.3f} %, "
        f"trend with FWHM {100 * slope:+.3f} +- {100 * error:.3f} %/px ({slope / error:+.1f} sigma)"
    )


def trend(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of a line through points of equal error, and its standard error from their scatter."""
    if len(x) < 4 or np.ptp(x) == 0:
        return float("nan"), float("nan")
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    rest = y - y.mean() - slope * centred
    return slope, float(np.sqrt(rest @ rest / (len(x) - 2) / (centred @ centred)))


def point_sources(finished: Finished) -> None:
    """Light curves after a constant, and the constant; beside the joint bound."""
    truth = finished.truth
    top = {(int(r["frame"]), str(r["source"])): float(r["flux_top"]) for r in truth.sources}
    _frames, ratio, _errors = finished.ratios()
    scale = 1 / float(np.median(ratio))
    print("point sources:")
    for (name,) in finished.rows("SELECT DISTINCT point_source FROM roi_flux ORDER BY 1"):
        rows = [
            (x, u, top[finished.number[f], name], truth.source_bounds[finished.number[f], name])
            for f, x, u in finished.rows(
                "SELECT frame_id, flux, flux_uncertainty FROM roi_flux "
                "WHERE point_source = ? AND flux IS NOT NULL",
                name,
            )
            if (finished.number[f], name) in top
        ]
        flux, err, true, bound = np.array(rows, dtype=float).T
        residual, e = flux / scale - true, err / scale
        constant = np.average(residual, weights=e**-2)
        after = residual - constant
        rms = np.std(after, ddof=1)
        print(
            f"  {name}: n {len(flux)}  rms {rms:.3f} e/s ({100 * rms / np.mean(true):.2f} %)  joint CRLB "
            f"{np.sqrt(np.mean(bound**2)):.3f}  rms/CRLB {rms / np.sqrt(np.mean(bound**2)):.2f} "
            f"(each by its own {np.std(after / bound, ddof=1):.2f})  "
            f"claimed {np.median(e):.3f}  pull {np.std(after / e, ddof=1):.2f}  "
            f"constant {constant:+.3f} e/s = {-MAG * constant / np.mean(true):+.4f} mag"
        )


def psfs(finished: Finished) -> None:
    """Distance of the PSFs from the true ones, and what the reserved stars say."""
    rows = finished.rows("SELECT frame_id, relpath, chi2, reserved_chi2, spatial_terms FROM current_psfs")
    centre, places = np.array(
        [psf_errors(finished.workdir / r[1], finished.truth, finished.number[r[0]]) for r in rows]
    ).T
    terms = np.array([r[4] for r in rows])
    print(
        f"PSF, normalized rms to truth at pixel scale: centre of the frame median {100 * np.median(centre):.3f} "
        f"%, mean {100 * np.mean(centre):.3f} %, worst {100 * np.max(centre):.3f} %; "
        f"over 3 x 3 places median {100 * np.median(places):.3f} %, worst frame {100 * np.max(places):.3f} %; "
        f"varying in {np.sum(terms > 1)} of {len(rows)} frames"
    )
    chi2 = np.array([(r[2], np.nan if r[3] is None else r[3]) for r in rows], dtype=float)
    used, reserved = (median(column) for column in chi2.T)
    print(f"PSF reduced chi2, median frame: used stars {used:.3f}, reserved stars {reserved:.3f}")


def main() -> None:
    """Print everything."""
    workdir, folder = Path(sys.argv[1]), Path(sys.argv[2])
    connection = sqlite3.connect(f"file:{workdir / 'database.sqlite3'}?mode=ro", uri=True)
    number = {
        i: int("".join(c for c in Path(p).stem if c.isdigit()))
        for i, p in connection.execute("SELECT id, original_image_path FROM frames")
    }
    finished = Finished(workdir, connection, read_truth(folder), number)
    parts = {"star_flux_in_frame": stars, "normalization_coefficients": normalization,
             "roi_flux": point_sources, "current_psfs": psfs}  # fmt: skip
    for table, compare in parts.items():
        if finished.rows(f"SELECT 1 FROM {table} LIMIT 1"):
            compare(finished)
        else:
            print(f"{table}: nothing yet")


if __name__ == "__main__":
    main()
