"""Accuracy against truth, other programs on the same cutouts, and scaling: ``make bench``.

Usage: python benchmarks/bench.py [--full] [--write docs/accuracy.md]

Everything runs from this one process, CPU time (user and system) measured. ``--full`` gives other programs more
sets (STARRED takes most of the time). ``--write`` puts the tables between the markers of a page.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import comparison
import scaling
from accuracy import BATCH_SIZES, GRID, Row, score
from cutout_sets import SetSpec, make_set
from roi_comparison import SPEC as ROI
from roi_comparison import compare_roi
from tables import accuracy_table, comparison_table, roi_table, scaling_table

from lightwatch.processes.psf_jax import jax

SEED = 2026
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"


def environment() -> str:
    """What the figures depend on beside the code."""
    device = jax.devices()[0]
    others = [
        f"{title} {comparison.version(name)}" if comparison.installed(name) else f"{title} not installed"
        for name, title in comparison.PROGRAMS.items()
    ]
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, jax {jax.__version__} "
        f"on {device.device_kind}, threads for linear algebra: {os.environ.get('OMP_NUM_THREADS', 'any')}; "
        f"{', '.join(others)}."
    )


def platform_name() -> str:
    """Of the device that computes: "cpu" or "gpu"."""
    return str(jax.devices()[0].platform)


def load() -> str:
    """Work that waits for a core, the last minute's mean."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def accuracy(grid: tuple[SetSpec, ...], batch_size: int) -> Iterator[Row]:
    for spec in grid:
        print(f"accuracy: {spec.name}", file=sys.stderr, flush=True)
        yield score(make_set(spec, SEED), batch_size)


def costs(cases: tuple[SetSpec, ...], batch_size: int) -> Iterator[scaling.Cost]:
    compilations = scaling.Compilations().listen()
    for spec in cases:
        print(f"scaling: {spec.name}", file=sys.stderr, flush=True)
        yield scaling.cost(spec, batch_size, compilations)


def compared(sets: tuple[SetSpec, ...], batch_size: int) -> Iterator[list[comparison.Result]]:
    for spec in sets:
        print(f"other programs: {spec.name}", file=sys.stderr, flush=True)
        yield comparison.compare(spec, SEED, batch_size)


def report(
    grid: tuple[SetSpec, ...],
    sets: tuple[SetSpec, ...],
    cases: tuple[SetSpec, ...],
    *,
    roi: SetSpec | None,
    memory: bool,
) -> tuple[str, int]:
    """The tables in Markdown, of a ROI if one is given, and how many programs were compiled needlessly."""
    batch_size, at_start = BATCH_SIZES[platform_name()], load()
    # costs first: what they call a first call must be one
    spent = list(costs(cases, batch_size))
    megabytes = scaling.memory_per_frame_mb(batch_size) if memory else None
    parts = [
        environment(),
        "### The same cutouts through other programs",
        comparison_table(sets, list(compared(sets, batch_size))),
        *([] if roi is None else [roi_table(roi.name, compare_roi(roi, SEED, batch_size))]),
        "### Against truth",
        accuracy_table(list(accuracy(grid, batch_size))),
        "### Cost",
        scaling_table(spent, megabytes),
        f"Load of the machine: {at_start} at the start, {load()} at the end.",
    ]
    return "\n\n".join(parts), sum(one.recompiled for one in spent)


def write_between_markers(page: Path, text: str) -> None:
    """Replace what was generated before; the rest of the page stays."""
    before, rest = page.read_text().split(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


def main() -> None:
    """Run, print, write; fail where something was compiled twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="more sets for the other programs")
    parser.add_argument("--write", type=Path, help="page with markers to write the tables to")
    given = parser.parse_args()
    sets = comparison.SETS + (comparison.FURTHER_SETS if given.full else ())
    cases = scaling.CASES + (() if platform_name() == "cpu" else (scaling.MANY_FRAMES,))
    text, recompiled = report(GRID, sets, cases, roi=ROI if given.full else None, memory=True)
    print(text)
    if given.write:
        write_between_markers(given.write, text)
    if recompiled:
        sys.exit(f"{recompiled} programs were compiled again for shapes that had been seen before")


if __name__ == "__main__":
    main()
