"""Where north and east are on a picture, and how long a bar of a round angle is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Rose:
    """``north`` and ``east``: unit vectors in an SVG (y down); ``bar``: length of the angle ``told``."""

    north: tuple[float, float]
    east: tuple[float, float]
    bar: float
    told: str


def rose_of(per_arcsec: ArrayLike, width: float) -> Rose:
    """For a picture ``width`` wide, with row 0 at the bottom.

    ``per_arcsec`` (2, 2): its units (x, y) per arcsec, for arcsec (east, north).
    """
    matrix = np.asarray(per_arcsec, dtype=float)
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    arcsec = nice(width / scale / 4)
    east, north = (column / np.hypot(*column) * [1, -1] for column in matrix.T)
    return Rose(
        north=(float(north[0]), float(north[1])),
        east=(float(east[0]), float(east[1])),
        bar=arcsec * scale,
        told=f"{arcsec / 60:g}′" if arcsec >= 60 else f"{arcsec:g}″",
    )


def nice(arcsec: float) -> float:
    """The largest of 1, 2, 5 times a power of ten, of minutes from 1′ on, that is not above a positive angle."""
    unit = 60.0 if arcsec >= 60 else 1.0
    power = 10.0 ** np.floor(np.log10(arcsec / unit))
    return float(unit * max(step * power for step in (1, 2, 5) if step * power <= arcsec / unit))
