"""Scores of PSFs and fluxes against truth, the same for every program. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FAINT_SNR = 50.0


@dataclass(frozen=True)
class FluxScore:
    """Of F frames with M measured stars, after one scale per frame."""

    n: int
    scatter: float  # rms of the errors over the Cramer-Rao bound
    robust_scatter: float
    pulls: float  # rms of the errors over the claimed ones
    faint_bias: float  # weighted mean error of stars below S/N 50, relative
    faint_bias_error: float  # its standard error, from the bound
    scale_scatter: float  # of the frames' scales, relative: the error of a normalization with these stars


def score_fluxes(flux: np.ndarray, claimed: np.ndarray, true: np.ndarray, bound: np.ndarray) -> FluxScore:
    """All arrays (F, M); NaN where a flux could not be measured."""
    measured = np.isfinite(flux) & np.isfinite(claimed) & (claimed > 0)
    usable = measured & (measured.sum(1) >= 2)[:, None]
    relative, weight = np.where(usable, flux / true, 0.0), np.where(usable, (true / bound) ** 2, 0.0)
    scale = (weight * relative).sum(1) / np.where(usable.any(1), weight.sum(1), np.nan)
    error = (relative / scale[:, None] - 1)[usable]
    z, pull = error * (true / bound)[usable], error * (scale[:, None] * true / claimed)[usable]
    free = max(int(usable.sum() - usable.any(1).sum()), 1)
    faint = (true / bound)[usable] < FAINT_SNR
    w = (true / bound)[usable][faint] ** 2
    return FluxScore(
        n=int(usable.sum()),
        scatter=float(np.sqrt((z**2).sum() / free)),
        robust_scatter=robust_std(z) * float(np.sqrt(usable.sum() / free)),
        pulls=float(np.sqrt((pull**2).sum() / free)),
        faint_bias=float((w * error[faint]).sum() / w.sum()) if len(w) else float("nan"),
        faint_bias_error=float(w.sum() ** -0.5) if len(w) else float("nan"),
        scale_scatter=float(np.nanstd(scale / np.nanmean(scale))) if usable.any() else float("nan"),
    )


def robust_std(values: np.ndarray) -> float:
    """1.4826 MAD."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else float("nan")
