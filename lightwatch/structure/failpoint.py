"""The one place through which every step goes that changes the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Step = Literal["mkdir", "write", "fsync", "rename", "fsync directory", "remove", "commit", "committed"]


def reached(step: Step, path: Path) -> None:
    """Called just before a step of writing (``committed``: just after the commit); does nothing.

    Tests of reliability replace it, to count the steps, to end the process at one, or to raise the error that
    a failing disk would.
    """
