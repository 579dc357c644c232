"""Text in CSV files, which people open in spreadsheets."""

from __future__ import annotations

#: a spreadsheet takes a cell that begins with one of these for a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def no_formula(text: str, shown: str) -> str:
    """``shown``, which stands in a cell for ``text``, quoted where either could be taken for a formula."""
    return f"'{shown}" if text.startswith(_FORMULA) or shown.startswith(_FORMULA) else shown
