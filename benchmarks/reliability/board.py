"""Measures every goal of reliability and prints the scoreboard: ``make reliability``, ``make reliability FULL=1``.

    python benchmarks/reliability/board.py [--full] [--only R1 --only R9] [--write docs/reliability.md]

A missed goal makes the exit code 1. Each goal has a temporary directory of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from reliability.goal import Effort, Goal, Measured, NotMeasured  # noqa: E402 - the path must be known first

_BEGIN, _END = "<!-- scoreboard -->", "<!-- end of scoreboard -->"


@dataclass(frozen=True)
class Row:
    """A goal and what came out; ``measured`` None where this machine cannot tell, ``why_not`` says why."""

    goal: Goal
    measured: Measured | None
    why_not: str
    seconds: float

    @property
    def verdict(self) -> str:
        """One word."""
        return "not measured" if self.measured is None else "reached" if self.measured.passed else "MISSED"


def all_goals() -> list[Goal]:
    """Every goal (the tuple GOALS of each module goals_*.py), in the order of its number."""
    modules = [import_module(f"reliability.{path.stem}") for path in HERE.glob("goals_*.py")]
    goals = [goal for module in modules for goal in module.GOALS]
    return sorted(goals, key=lambda goal: order_of(goal.number))


def measure(goals: Iterable[Goal], effort: Effort) -> Iterable[Row]:
    """Measure goals one after the other."""
    for goal in goals:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=f"lightwatch-{goal.number}-") as scratch:
            try:
                measured, why_not = goal.measure(Path(scratch), effort), ""
            except NotMeasured as reason:
                measured, why_not = None, str(reason)
            except Exception as error:  # a measurement that breaks is a goal missed, and the others go on
                measured, why_not = Measured(f"{type(error).__name__}: {error}"[:300], False), ""
        yield Row(goal, measured, why_not, time.perf_counter() - begun)


def as_table(lines: Iterable[str]) -> str:
    """The scoreboard: rows in the order of their numbers, below what they were measured with."""
    return "\n".join(
        [
            f"Measured on {os.cpu_count()} cores with Python {platform.python_version()} and SQLite "
            f"{sqlite3.sqlite_version}; `full`: by the whole procedure, `small`: the part that every commit goes "
            "through.",
            "",
            "| | Goal | Target | Measured | | Procedure | s |",
            "|---|---|---|---|---|---|---|",
            *sorted(lines, key=lambda line: order_of(line.split("|")[1])),
        ]
    )


def order_of(number: str) -> list[int | str]:
    """What goals are sorted by: R5 before R5b before R10."""
    return [int(part) if part.isdigit() else part.strip() for part in re.findall(r"\d+|[a-z]+", number)]


def as_line(row: Row, effort: Effort) -> str:
    """A row of the scoreboard."""
    text = row.measured.text if row.measured else row.why_not
    procedure = "full" if effort.full else "small"
    goal = row.goal
    cells = (goal.number, goal.title, goal.target, text, row.verdict, procedure, f"{row.seconds:.0f}")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def write_into(path: Path, rows: Sequence[Row], effort: Effort) -> None:
    """Put rows into the scoreboard of a page, in the place of those of the same goals."""
    before, _, rest = path.read_text().partition(_BEGIN)
    table, _, after = rest.partition(_END)
    lines = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| R")}
    lines |= {row.goal.number: as_line(row, effort) for row in rows}
    path.write_text(f"{before}{_BEGIN}\n{as_table(lines.values())}\n{_END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="the whole procedure of every goal")
    parser.add_argument("--only", action="append", metavar="R1", help="this goal; may be given again")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="page that shows the table")
    arguments = parser.parse_args()
    effort = Effort(arguments.full)
    chosen = [goal for goal in all_goals() if arguments.only is None or goal.number in arguments.only]
    rows = []
    for row in measure(chosen, effort):
        rows.append(row)
        text = row.measured.text if row.measured else row.why_not
        print(
            f"{row.goal.number:4} {row.verdict:12} {row.seconds:6.1f} s  {row.goal.title}: {text}", flush=True
        )
    if arguments.write:
        write_into(arguments.write, rows, effort)
    return 1 if any(row.measured and not row.measured.passed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
