"""R29: how much of the modules that hold the state is run by the tests, branches counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from reliability.goal import Effort, Goal, Measured, NotMeasured

_ROOT = Path(__file__).resolve().parent.parent.parent
_TARGET_PERCENT = 95.0
_TESTS = (
    "structure",
    "pipeline",
    "report",
    "docs",
    "test_reliability.py",
    "test_write_order.py",
    "test_corpus.py",
)
_LOWEST = 3


def coverage(scratch: Path, effort: Effort) -> Measured:
    """Run the tests of storage and state under coverage (pyproject.toml says which modules count)."""
    if not effort.full:
        raise NotMeasured("takes as long as the tests: make reliability FULL=1, or make coverage")
    environment = {**os.environ, "COVERAGE_FILE": str(scratch / "coverage")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "coverage", *words]
        return subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True)

    tests = [str(path) for path in (_ROOT / "tests" / name for name in _TESTS) if path.exists()]
    done = run("run", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    run("combine")
    report = scratch / "coverage.json"
    run("json", "-o", str(report))
    measured = json.loads(report.read_text())
    totals = measured["totals"]
    branches = 100.0 * totals["covered_branches"] / totals["num_branches"]
    by_file = {name: entry["summary"]["percent_covered"] for name, entry in measured["files"].items()}
    lowest = sorted(by_file, key=lambda name: by_file[name])[:_LOWEST]
    text = (
        f"{branches:.1f} % of the branches, {totals['percent_covered']:.1f} % of lines and branches, of {len(by_file)} "
        "modules of structure/ and pipeline/ (without tasks/ and what talks to people); least: "
    ) + ", ".join(f"{name.removeprefix('lightwatch/')} {by_file[name]:.0f} %" for name in lowest)
    if done.returncode:
        text += f"; tests: {done.stdout.strip().splitlines()[-1]}"
    return Measured(text, branches >= _TARGET_PERCENT and done.returncode == 0)


GOALS = (
    Goal(
        "R29", "Proof is public", ">= 95 % branch coverage of storage and state", coverage, every_commit=False
    ),
)
