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


def stars(connection: sqlite3.Connection, truth: Table, number: dict[int, int]) -> None:
    """Scatter, pulls and bias of single star fluxes, after one scale per frame from the bright clean stars."""
    known = {(int(r["frame"]), int(r["source_id"])): r for r in truth}
    rows = []
    for fid, star, flux, err, flags in connection.execute(
        "SELECT frame_id, star_gaia_id, flux, flux_uncertainty, flags FROM star_flux_in_frame WHERE flux IS NOT NULL"
    ):
        t = known.get((number[fid], star))
        if t is None or not t["inside"] or t["n_saturated"] or t["n_cosmic"]:
            continue
        rows.append((number[fid], flux / t["flux"] - 1, err / t["flux"], t["crb"] / t["flux"], t["snr"], t["blend"], flags))
    frame, rel, err, crb, snr, blend, _flags = np.array(rows, dtype=float).T
    clean = np.abs(blend) < CLEAN_BLEND
    scale = {f: np.average(rel[m], weights=crb[m] ** -2) for f in np.unique(frame) if (m := (frame == f) & clean).any()}
    rel_frame = rel - np.array([scale[f] for f in frame])
    print(f"stars: {clean.sum()} clean measurements; frame scale error: std {100 * np.std(list(scale.values())):.3f} %")
    for low, high in zip((0, *SNR_BINS), (*SNR_BINS, 1e9), strict=True):
        m = clean & (snr >= low) & (snr < high)
        if m.sum() < 10:
            continue
        z = rel_frame[m] / crb[m]
        pull = rel_frame[m] / err[m]
        print(
            f"  S/N {low:>4.0f}-{high:<6.0f} n {m.sum():4d}  scatter/CRLB {robust_std(z):.3f} (rms {np.sqrt(np.mean(z**2)):.3f})  "
            f"pull std {np.std(pull):.3f} (robust {robust_std(pull):.3f})  bias {100 * np.average(rel_frame[m], weights=crb[m] ** -2):+.3f} %"
        )
    z = rel_frame[clean] / crb[clean]
    print(f"  all: scatter/CRLB {robust_std(z):.3f}, rms {np.sqrt(np.mean(z**2)):.3f}, pulls {np.std(rel_frame[clean] / err[clean]):.3f}")
    blended = ~clean & (snr > 30)
    if blended.any():
        print(f"  blended: n {blended.sum()}, median bias {100 * np.median(rel_frame[blended]):+.2f} %, worst {100 * np.max(np.abs(rel_frame[blended])):.1f} %")


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
        f"pull {np.std(rel / err):.2f}, claimed {100 * np.median(err):.3f} %, slope with seeing {100 * slope:+.2f} %/arcsec"
    )


def point_sources(connection: sqlite3.Connection, truth: Table, number: dict[int, int]) -> None:
    """Light curves after a constant, and the constant."""
    label = "image" if "image" in truth.colnames else "point_source"
    known = {(int(r["frame"]), str(r[label])): float(r["flux_top"]) for r in truth}
    for (name,) in connection.execute("SELECT DISTINCT point_source FROM roi_flux ORDER BY 1").fetchall():
        rows = [
            (number[f], x, u, known[number[f], name])
            for f, x, u in connection.execute(
                "SELECT frame_id, flux, flux_uncertainty FROM roi_flux WHERE point_source = ? AND flux IS NOT NULL", (name,)
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
            f"  {name}: n {len(flux)}  rms {np.std(after):.3f} e/s ({100 * np.std(after) / np.mean(true):.2f} %)  claimed {np.median(e):.3f}  "
            f"pull {np.std(after / e):.2f}  constant {constant:+.3f} e/s = {-1.0857 * constant / np.mean(true):+.4f} mag"
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
    row = connection.execute("SELECT avg(chi2), avg(reserved_chi2), min(chi2), max(chi2) FROM PSFs").fetchone()
    print("PSF chi2 mean %.3f, reserved %.3f, range %.3f to %.3f" % row)


if __name__ == "__main__":
    main()
