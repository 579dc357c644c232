"""Which reference stars shape the PSF of one frame, and which are kept aside to test it.

Independent of the order in which the stars are given.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag


@dataclass(frozen=True)
class PsfStars:
    """The choice for one frame, in the order given."""

    used: NDArray[np.bool_]  # (n,) shape the PSF
    reserved: NDArray[np.bool_]  # (n,) good enough, but kept aside to test the PSF
    reasons: NDArray[np.int64]  # (n,) Flag bits that kept a star out; 0 for those used, reserved or surplus


def choose_psf_stars(
    *,
    source_id: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    snr: NDArray[np.float64],
    contamination: NDArray[np.float64],
    coverage: NDArray[np.float64],
    saturated: NDArray[np.bool_],
    flags: NDArray[np.int64],
    shape: tuple[int, int],
    edge_margin_px: float,
    min_snr: float,
    max_contamination: float,
    min_coverage: float,
    max_number: int,
    cells_per_side: int,
    reserved_fraction: float,
    min_number_to_reserve: int,
) -> PsfStars:
    """Stars that shape the PSF of one frame: clean, bright and spread over the frame.

    All arrays (n,).  ``coverage`` is the fraction of good pixels of the cutout, ``flags`` are bits that
    disqualify already, ``shape`` is (ny, nx) of the frame.  A star whose S/N, coverage or position is NaN
    is refused; unknown contamination (NaN) passes.

    A fraction of the eligible stars is reserved, chosen by a hash of source_id, when at least
    ``min_number_to_reserve`` are eligible.  Of the others at most ``max_number`` are used: the brightest
    of each of cells_per_side^2 cells in turn, so that no corner of the frame is left out.
    """
    reasons = flags.astype(np.int64).copy()
    reasons[~(snr >= min_snr)] |= Flag.LOW_SNR
    reasons[contamination > max_contamination] |= Flag.CONTAMINATED
    reasons[~(coverage >= min_coverage)] |= Flag.LOW_COVERAGE
    reasons[saturated] |= Flag.SATURATED
    reasons[~_inside(x, y, shape, edge_margin_px)] |= Flag.OUTSIDE
    eligible = reasons == 0
    reserved = _reserved(source_id, eligible, reserved_fraction, min_number_to_reserve)
    used = np.zeros(len(source_id), dtype=bool)
    candidates = np.flatnonzero(eligible & ~reserved)
    cell = _cell_numbers(x[candidates], y[candidates], shape, cells_per_side)
    ranked = _spread_order(cell, snr[candidates], source_id[candidates])
    used[candidates[ranked[:max_number]]] = True
    return PsfStars(used, reserved, reasons)


def told_reasons(reasons: NDArray[np.int64]) -> str:
    """Why stars were kept out, the commonest first, each star counted once: "122 low_snr, 2 low_snr and outside"."""
    counts = Counter(" and ".join(Flag(int(bits)).names) for bits in reasons[reasons != 0])
    return ", ".join(f"{count} {names}" for names, count in counts.most_common())


def min_snr_for(number: int, reasons: NDArray[np.int64], snr: NDArray[np.float64]) -> float:
    """The limit of S/N under which so many stars would be good enough; NaN where other reasons keep too many out."""
    candidates = np.sort(snr[(reasons & ~int(Flag.LOW_SNR) == 0) & np.isfinite(snr)])
    return float(candidates[-number]) if len(candidates) >= number else float("nan")


def _inside(
    x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, int], margin_px: float
) -> NDArray[np.bool_]:
    ny, nx = shape
    inside: NDArray[np.bool_] = (np.minimum(x, nx - 1 - x) >= margin_px) & (
        np.minimum(y, ny - 1 - y) >= margin_px
    )
    return inside


def _cell_numbers(
    x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, int], cells_per_side: int
) -> NDArray[np.int64]:
    ny, nx = shape
    column = np.clip((x + 0.5) / nx * cells_per_side, 0, cells_per_side - 1).astype(np.int64)
    row = np.clip((y + 0.5) / ny * cells_per_side, 0, cells_per_side - 1).astype(np.int64)
    return row * cells_per_side + column


def _spread_order(
    cell: NDArray[np.int64], snr: NDArray[np.float64], source_id: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The brightest star of every cell, then the second of every cell .., each round by brightness."""
    by_cell = np.lexsort((source_id, -snr, cell))
    position = np.arange(len(cell))
    starts = np.searchsorted(cell[by_cell], cell[by_cell], side="left")
    rank = np.empty(len(cell), dtype=np.int64)
    rank[by_cell] = position - starts
    return np.lexsort((source_id, -snr, rank))


def _reserved(
    source_id: NDArray[np.int64], eligible: NDArray[np.bool_], fraction: float, min_number: int
) -> NDArray[np.bool_]:
    """The eligible stars with the smallest hashes: nearly the same ones in every frame."""
    reserved = np.zeros(len(source_id), dtype=bool)
    candidates = np.flatnonzero(eligible)
    if len(candidates) >= min_number:
        number = round(fraction * len(candidates))
        reserved[candidates[np.argsort(_hash(source_id[candidates]), kind="stable")[:number]]] = True
    return reserved


def _hash(source_id: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A well-mixed number for each id (the finaliser of SplitMix64, Steele, Lea & Flood 2014)."""
    z = source_id.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
