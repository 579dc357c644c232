"""What a goal is, and what a measurement of it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class NotMeasured(Exception):
    """This machine lacks what the measurement needs; the text says what."""


@dataclass(frozen=True)
class Measured:
    """``text``: the numbers, in one line; ``passed``: whether they reach the target."""

    text: str
    passed: bool


@dataclass(frozen=True)
class Effort:
    """How much is tried: the whole procedure, or the part of it that every commit goes through."""

    full: bool

    def of(self, fast: int, full: int) -> int:
        """A number of repetitions."""
        return full if self.full else fast


@dataclass(frozen=True)
class Goal:
    """One row of the scoreboard.

    ``measure(scratch, effort)`` works in an empty directory of its own; it raises NotMeasured where it cannot.
    ``every_commit``: its small version is quick enough to be among the tests.
    """

    number: str
    title: str
    target: str
    measure: Callable[[Path, Effort], Measured]
    every_commit: bool = True
