"""Write a simulated field to disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightwatch.simulation.spec import FieldSpec


@dataclass(frozen=True)
class SimulatedField:
    """Where everything is."""

    root: Path
    config: Path  # config.yaml, ready for lightwatch
    frames: tuple[Path, ...]  # raw/*.fits
    stars: Path  # stars.csv, Gaia DR3 column names
    truth: Path  # folder: frames.csv, stars.csv, star_list.csv, sources.csv, psf.json


def simulate_field(
    out_dir: str | Path,
    *,
    n_frames: int,
    seed: int,
    spec: FieldSpec = FieldSpec(),  # noqa: B008 - frozen
    first_frame: int = 0,
) -> SimulatedField:
    """Write frames ``first_frame`` .. ``first_frame + n_frames - 1`` with star table, truth and config.

    Truth tables of a folder that already holds frames of the same field are extended.
    """
    raise NotImplementedError
