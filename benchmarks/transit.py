"""A trapezoid with a linear trend fitted to a light curve: depth, mid-time, scatter.

Usage: python benchmarks/transit.py WORKDIR ROI [DURATION_HOURS]
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares


def trapezoid(t: np.ndarray, mid: float, depth: float, duration: float, ingress: float) -> np.ndarray:
    """1 outside, 1 - depth at the bottom; ``duration`` between first and last contact, all in days."""
    edge = np.abs(t - mid)
    return 1 - depth * np.clip((duration / 2 - edge) / ingress, 0, 1)


def fit(t: np.ndarray, flux: np.ndarray, sigma: np.ndarray) -> dict[str, float]:
    """Robust joint fit; times in days, depth as a fraction."""
    start = t.mean()

    def model(p: np.ndarray) -> np.ndarray:
        return p[4] * (1 + p[5] * (t - start)) * trapezoid(t, p[0], p[1], p[2], p[3])

    best = None
    for mid in np.linspace(t.min() + 0.05, t.max() - 0.05, 9):
        p0 = np.array([mid, 0.02, 0.13, 0.02, np.median(flux), 0.0])
        bounds = ([t.min(), 0, 0.05, 0.005, 0, -2], [t.max(), 0.2, 0.2, 0.06, np.inf, 2])
        result = least_squares(
            lambda p: (model(p) - flux) / sigma,
            p0,
            bounds=bounds,
            loss="soft_l1",
            x_scale=[0.01, 0.01, 0.1, 0.01, p0[4], 0.1],
        )
        if best is None or result.cost < best.cost:
            best = result
    assert best is not None  # there is at least one start
    residual = flux / model(best.x) - 1
    covariance = np.linalg.pinv(best.jac.T @ best.jac)
    return {
        "mid": best.x[0], "mid_error_minutes": 1440 * np.sqrt(covariance[0, 0]), "depth": best.x[1],
        "depth_error": np.sqrt(covariance[1, 1]), "duration_hours": 24 * best.x[2],
        "scatter": float(np.std(residual)),
        "robust_scatter": float(1.4826 * np.median(np.abs(residual - np.median(residual)))),
        "median_claimed": float(np.median(sigma / flux)), "n": len(t),
    }  # fmt: skip


def main() -> None:
    """Print the fit."""
    connection = sqlite3.connect(f"file:{Path(sys.argv[1]) / 'database.sqlite3'}?mode=ro", uri=True)
    rows = connection.execute(
        "SELECT bjd_tdb, flux, flux_uncertainty FROM light_curves WHERE roi = ? ORDER BY bjd_tdb",
        (sys.argv[2],),
    ).fetchall()
    t, flux, sigma = np.array(rows, dtype=float).T
    result = fit(t, flux, sigma)
    for name, value in result.items():
        print(f"{name:20s} {value:.6f}")
    print(f"mid minus 2458107.7107: {1440 * (result['mid'] - 2458107.7107):+.2f} minutes")


if __name__ == "__main__":
    main()
