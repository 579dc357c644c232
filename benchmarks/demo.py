"""The demo: a monitored, quadruply imaged quasar, simulated, and its measured light curves against the truth.

Usage: python benchmarks/demo.py simulate DIR
       python benchmarks/demo.py compare DIR

``make demo`` calls both, with ``lightwatch run DIR`` and ``lightwatch report DIR`` between them.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
from astropy.table import Table

from lightwatch.simulation import simulate_field

N_FRAMES = 20
SEED = 1


def simulate(workdir: Path) -> None:
    """Frames, star table, truth and config; what is there already stays."""
    if (workdir / "config.yaml").exists():  # the last file to be written
        print(f"{workdir}: the simulated frames are there")
        return
    print(f"{workdir}: simulating {N_FRAMES} frames of a lensed quasar (seed {SEED})")
    simulate_field(workdir, n_frames=N_FRAMES, seed=SEED)


def compare(workdir: Path) -> None:
    """Print rms of (measured - true - constant) beside the Cramér-Rao bound, per image of the quasar."""
    measured = light_curves(workdir / "database.sqlite3")
    truth = {
        (int(row["frame"]), str(row["roi"]), str(row["source"])): row
        for row in Table.read(workdir / "truth" / "sources.csv", format="ascii.csv")
    }
    transparency = {
        int(row["frame"]): float(row["transparency"])
        for row in Table.read(workdir / "truth" / "frames.csv", format="ascii.csv")
    }
    # fluxes are known up to the choice of the night that has coefficient 1
    scale = float(np.median([row["coefficient"] / transparency[number(row)] for row in measured]))
    n_epochs = len({row["frame_id"] for row in measured})
    print(f"\nLight curves against truth: {n_epochs} epochs, fluxes in electron/s above the atmosphere")
    print("image   mean mag   mean flux   rms of residuals   Cramér-Rao bound   ratio   offset mag")
    for roi, name in sorted({(row["roi"], row["point_source"]) for row in measured}):
        rows = [row for row in measured if (row["roi"], row["point_source"]) == (roi, name)]
        true = [truth[number(row), roi, name] for row in rows]
        top = np.array([row["flux_top"] for row in true], dtype=float)
        bound = np.array([row["crb"] / transparency[int(row["frame"])] for row in true])
        residual = np.array([row["flux"] * scale for row in rows]) - top
        error = np.array([row["flux_uncertainty"] * scale for row in rows])
        constant = np.average(residual, weights=error**-2)
        rms, limit = np.std(residual - constant), np.sqrt(np.mean(bound**2))
        magnitude = np.mean([row["mag"] for row in rows if row["mag"] is not None])
        print(
            f"{name:<7} {magnitude:8.3f} {np.mean(top):11.2f} {rms:18.3f} {limit:18.3f} {rms / limit:7.2f}"
            f" {-1.0857 * constant / np.mean(top):+12.4f}"
        )
    print(
        "The bound holds for known positions, PSF and background. The offset is constant: light\n"
        "that the common background and the point sources share.\n\n"
        f"report:   {workdir / 'report' / 'index.html'}\n"
        f"database: {workdir / 'database.sqlite3'}"
    )


def light_curves(database: Path) -> list[sqlite3.Row]:
    """Every point of every light curve with its frame's file and normalization coefficient."""
    query = """
        SELECT l.*, f.original_image_path, k.coefficient FROM light_curves l
        JOIN frames f ON f.id = l.frame_id
        JOIN frame_quality k ON k.frame_id = l.frame_id
        ORDER BY l.mjd"""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query).fetchall()


def number(row: sqlite3.Row) -> int:
    """Number of the simulated frame: sim_0012.fits is 12."""
    return int(Path(row["original_image_path"]).stem.removeprefix("sim_"))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("simulate", "compare"):
        sys.exit(__doc__)
    {"simulate": simulate, "compare": compare}[sys.argv[1]](Path(sys.argv[2]))
