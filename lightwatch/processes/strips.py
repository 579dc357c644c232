"""Strips of rows: what is computed from a large frame piece by piece needs memory for a piece."""

from __future__ import annotations

from dataclasses import dataclass

#: frames up to this size (2048 x 4096) are one piece
_PIXELS = 1 << 23


@dataclass(frozen=True)
class Strip:
    """Rows of a frame: those a piece answers for, and those it has to see.

    ``inner``: rows answered for; ``outer``: with the margin around; ``own``: the inner rows within the outer ones.
    """

    inner: slice
    outer: slice

    @property
    def own(self) -> slice:
        return slice(self.inner.start - self.outer.start, self.inner.stop - self.outer.start)


def row_strips(shape: tuple[int, int], margin: int) -> list[Strip]:
    """Strips that cover a frame (ny, nx), each with up to ``margin`` rows more on both sides; one where it is small."""
    ny, nx = shape
    if ny * nx <= _PIXELS:
        return [Strip(slice(0, ny), slice(0, ny))]
    step = max(1, _PIXELS // nx - 2 * margin, margin)
    inner = [slice(y, min(y + step, ny)) for y in range(0, ny, step)]
    return [Strip(rows, slice(max(0, rows.start - margin), min(ny, rows.stop + margin))) for rows in inner]
