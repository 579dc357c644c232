"""A figure that shows itself in a notebook, and the look that all figures share."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

#: Okabe and Ito (2008): told apart with any kind of colour vision; shapes differ as well
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07a00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "X")
_MJD_OF_UNIX = 40587.0


class NotebookFigure(Figure):
    """A matplotlib figure outside of pyplot's global state; a notebook shows it without any set-up."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def new_figure(width: float, height: float) -> NotebookFigure:
    """An empty figure, in inches."""
    return NotebookFigure(figsize=(width, height), layout="constrained")


def panels(figure: Figure, rows: int, columns: int, **options: Any) -> NDArray[Any]:
    """(rows, columns) axes."""
    return np.asarray(figure.subplots(rows, columns, squeeze=False, **options))


def empty(text: str) -> NotebookFigure:
    """A figure that says why there is nothing to see."""
    figure = new_figure(6, 1.2)
    figure.text(0.5, 0.5, text, ha="center", va="center", color="0.35", wrap=True, parse_math=False)
    return figure


def dates(mjd: ArrayLike) -> NDArray[np.float64]:
    """Matplotlib's dates of MJDs (UTC)."""
    unix_days = np.asarray(mjd, dtype=float) - _MJD_OF_UNIX
    return unix_days + date2num(np.datetime64("1970-01-01"))


def time_axis(axes: Axes) -> None:
    """Calendar dates along x."""
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    soften(axes)


def soften(axes: Axes) -> None:
    """A quiet grid behind the data."""
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plain(text: str) -> str:
    """Text of a label or name without the signs that matplotlib takes for mathematics."""
    return text.replace("$", r"\$")


def image(axes: Axes, values: ArrayLike, **options: Any) -> Any:
    """An array with its row 0 at the bottom, without ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(np.asarray(values), origin="lower", interpolation="nearest", **options)
