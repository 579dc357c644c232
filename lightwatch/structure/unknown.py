"""Unknown numbers: NaN in arrays, NULL in rows."""

from __future__ import annotations

import math


def or_null(value: float) -> float | None:
    """The number for a row; None where it is unknown (or infinite)."""
    return float(value) if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """The number for an array; NaN where it is unknown."""
    return math.nan if value is None else float(value)
