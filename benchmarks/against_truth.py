"""Accuracy of a finished workdir on a simulated field, against its truth and the Cramér-Rao bound.

Usage: python benchmarks/against_truth.py WORKDIR TRUTH_DIR

TRUTH_DIR holds frames.csv (transparency), stars.csv (per star and frame: flux_top, flux, crb, blend, inside,
n_cosmic, n_saturated) and sources.csv or quasar.csv (per point source and frame: flux_top). Prints one table.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

CLEAN_BLEND = 0.002
SNR_BINS = (10, 30, 100, 300, 1000)


def robust_std(values: np.ndarray) -> float:
    """1.4826 MAD."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else float("nan")


def frame_numbers(connection: sqlite3.Connection) -> dict[int, int]:
    """Frame id to the number of the simulated frame, from the file's name."""
    rows = connection.execute("SELECT id, original_image_path FROM frames")
    return {i: int("".join(c for c in Path(p).stem if c.isdigit())) for i, p in rows}


def read_truth(folder: Path, *names: str) -> Table:
    """The first table of these names."""
    return Table.read(next(folder / n for n in names if (folder / n).exists()), format="ascii.csv")


def star_rows(connection: sqlite3.Connection, truth: Table, number: dict[int, int]) -> np.ndarray:
    """(frame, relative error, relative claimed error, relative bound, S/N, blend) of usable measurements, (6, n)."""
    known = {(int(r["frame"]), int(r["source_id"])): r for r in truth}
    rows = []
    for fid, star, flux, err in connection.execute(
        "SELECT frame_id, star_gaia_id, flux, flux_uncertainty FROM star_flux_in_frame WHERE flux IS NOT NULL"
    ):
        t = known.get((number[fid], star))
        if t is None or not t["inside"] or t["n_saturated"] or t["n_cosmic"]:
            continue
        true = t["flux"]
        rows.append((number[fid], flux / true - 1, err / true, t["crb"] / true, t["snr"], t["blend"]))
    return np.array(rows, dtype=float).T


def stars(connection: sqlite3.Connection, truth: Table, number: dict[int, int]) -> None:
    """Scatter, pulls and bias of single star fluxes, after one scale per frame from the clean stars."""
    frame, rel, err, crb, snr, blend = star_rows(connection, truth, number)
    clean = np.abs(blend) < CLEAN_BLEND
    frames = [f for f in np.unique(frame) if ((frame == f) & clean).any()]
    scale = {
        f: np.average(rel[(frame == f) & clean], weights=crb[(frame == f) & clean] ** -2) for f in frames
    }
    rel = rel - np.array([scale.get(f, np.nan) for f in frame])
    print(
        f"stars: {clean.sum()} clean measurements; frame scale error {100 * np.std(list(scale.values())):.3f} %"
    )
    for low, high in zip((0, *SNR_BINS), (*SNR_BINS, 1e9), strict=True):
        name = f"S/N {low} to {high}" if high < 1e9 else f"S/N > {low}"
        line(name, clean & (snr >= low) & (snr < high), rel, err, crb)
    line("all", clean, rel, err, crb)
    blended = ~clean & (snr > 30)
    if blended.any():
        worst = 100 * np.max(np.abs(rel[blended]))
        print(
            f"  blended: n {blended.sum()}, median bias {100 * np.median(rel[blended]):+.2f} %, worst {worst:.1f} %"
        )


def line(name: str, chosen: np.ndarray, rel: np.ndarray, err: np.ndarray, crb: np.ndarray) -> None:
    """One row of the table of stars."""
    if chosen.sum() < 10:
        return
    z, pull = rel[chosen] / crb[chosen], rel[chosen] / err[chosen]
    bias = 100 * np.average(rel[chosen], weights=crb[chosen] ** -2)
    print(
        f"  {name:18s} n {chosen.sum():5d}  scatter/CRLB {np.sqrt(np.mean(z**2)):.3f} (robust {robust_std(z):.3f})  "
        f"pulls {np.std(pull):.3f} (robust {robust_std(pull):.3f})  bias {bias:+.3f} %"
    )


def normalization(connection: sqlite3.Connection, truth: Table, number: dict[int, int]) -> None:
    """Coefficients against the true transparency."""
    transparency = {int(r["frame"]): float(r["transparency"]) for r in truth}
    seeing = {int(r["frame"]): float(r["seeing"]) for r in truth if "seeing" in truth.colnames}
    rows = [
        (number[f], c / transparency[number[f]], u / c)
        for f, c, u in connection.execute(
            "SELECT frame_id, coefficient, coefficient_uncertainty FROM normalization_coefficients"
        )
    ]
    frame, ratio, err = np.array(rows, dtype=float).T
    rel = ratio / np.median(ratio) - 1
    see = np.array([seeing.get(int(f), np.nan) for f in frame])
    slope = np.polyfit(see, rel, 1)[0] if np.isfinite(see).all() and len(see) > 3 else np.nan
    print(
        f"normalization: n {len(rel)}, std {100 * np.std(rel):.3f} %, robust {100 * robust_std(rel):.3f} %, "
        f"pull {np.std(rel / err):.2f}, claimed {100 * np.median(err):.3f} %, "
        f"slope with seeing {100 * slope:+.2f} %/arcsec"
    )


def point_sources(connection: sqlite3.Connection, truth: Table, number: dict[int, int]) -> None:
    """Light curves after a constant, and the constant."""
    label = "image" if "image" in truth.colnames else "point_source"
    known = {(int(r["frame"]), str(r[label])): float(r["flux_top"]) for r in truth}
    for (name,) in connection.execute("SELECT DISTINCT point_source FROM roi_flux ORDER BY 1").fetchall():
        rows = [
            (number[f], x, u, known[number[f], name])
            for f, x, u in connection.execute(
                "SELECT frame_id, flux, flux_uncertainty FROM roi_flux WHERE point_source = ? AND flux IS NOT NULL",
                (name,),
            )
            if (number[f], name) in known
        ]
        _frame, flux, err, true = np.array(rows, dtype=float).T
        scale = overall_scale(connection, number)
        residual = flux / scale - true
        e = err / scale
        constant = np.average(residual, weights=e**-2)
        after = residual - constant
        print(
            f"  {name}: n {len(flux)}  rms {np.std(after):.3f} e/s ({100 * np.std(after) / np.mean(true):.2f} %)  "
            f"claimed {np.median(e):.3f}  pull {np.std(after / e):.2f}  "
            f"constant {constant:+.3f} e/s = {-1.0857 * constant / np.mean(true):+.4f} mag"
        )


_TRANSPARENCY: dict[int, float] = {}


def overall_scale(connection: sqlite3.Connection, number: dict[int, int]) -> float:
    """Flux of the normalised scale over flux above the atmosphere: 1 / median(coefficient / transparency)."""
    ratio = [
        c / _TRANSPARENCY[number[f]]
        for f, c in connection.execute("SELECT frame_id, coefficient FROM normalization_coefficients")
    ]
    return float(1 / np.median(ratio))


def main() -> None:
    """Print everything."""
    workdir, folder = Path(sys.argv[1]), Path(sys.argv[2])
    connection = sqlite3.connect(f"file:{workdir / 'database.sqlite3'}?mode=ro", uri=True)
    number = frame_numbers(connection)
    frames = read_truth(folder, "frames.csv")
    _TRANSPARENCY.update({int(r["frame"]): float(r["transparency"]) for r in frames})
    stars(connection, read_truth(folder, "stars.csv"), number)
    normalization(connection, frames, number)
    print("point sources:")
    point_sources(connection, read_truth(folder, "quasar.csv", "sources.csv"), number)
    psfs = connection.execute(
        "SELECT chi2, reserved_chi2 FROM PSFs WHERE reserved_chi2 IS NOT NULL"
    ).fetchall()
    if psfs:
        used, reserved = np.median(np.array(psfs, dtype=float), axis=0)
        print(f"PSF reduced chi2, median frame: used stars {used:.3f}, reserved stars {reserved:.3f}")


if __name__ == "__main__":
    main()
