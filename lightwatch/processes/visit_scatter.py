"""Whether stars scatter as their stated uncertainties say: over all frames, within visits, from visit to visit.

What a flat field, a colour term or another camera does to a star is the same on all frames of a visit: it hides from
the scatter within one, and shows in the means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_SIGMA_OF_MAD = 1.4826


@dataclass(frozen=True)
class Spread:
    """Fractions of the flux, 1 sigma: as measured, and as the uncertainties say; NaN where nothing tells."""

    measured: float
    stated: float

    @property
    def excess(self) -> float:
        """What is missing in quadrature; 0 where nothing is."""
        return float(np.sqrt(max(0.0, self.measured**2 - self.stated**2)))


@dataclass(frozen=True)
class VisitScatter:
    """Of several stars together: single frames about the star's median, frames about the mean of their visit, and
    means of visits about the star's mean. ``factors`` (stars,): each star's scatter over its stated one."""

    total: Spread
    within: Spread
    between: Spread
    factors: Floats
    n_visits: int


def visit_scatter(flux: ArrayLike, uncertainty: ArrayLike, visit: ArrayLike) -> VisitScatter:
    """Scatter of stars of about the same brightness, robust against a few wild points or stars.

    flux, uncertainty (frames, stars), normalised, NaN where not measured; visit (frames,) any numbers.
    Deviations from a mean of n are scaled by sqrt(n / (n - 1)), so that few frames a visit give no smaller scatter.
    """
    light, error = np.asarray(flux, dtype=float), np.asarray(uncertainty, dtype=float)
    known = np.isfinite(light) & np.isfinite(error) & (np.where(np.isfinite(error), error, 0.0) > 0)
    stars = [s for s in range(light.shape[1]) if known[:, s].any() and np.median(light[known[:, s], s]) > 0]
    light, error, known = light[:, stars], error[:, stars], known[:, stars]
    middle = np.array([np.median(light[known[:, s], s]) for s in range(len(stars))])
    light, error = np.where(known, light, np.nan) / middle, np.where(known, error, np.nan) / middle
    numbers = np.asarray(visit)
    chosen = [numbers == number for number in np.unique(numbers)]
    count, means, errors = _means(light, error, known, chosen)
    apart = np.full(light.shape, np.nan)
    for i, rows in enumerate(chosen):
        apart[rows] = _unbiased(light[rows] - means[i], count[i])
    seen = count > 0
    offsets = _unbiased(means - _mean_of_columns(means, seen), seen.sum(axis=0))
    each = [_spread(light[:, s] - 1, error[:, s]) for s in range(len(stars))]
    return VisitScatter(
        total=_spread(light - 1, error),
        within=_spread(apart, error),
        between=_spread(offsets, errors),
        factors=np.array([one.measured / one.stated for one in each]),
        n_visits=int(seen.any(axis=1).sum()),
    )


def nearest_in_brightness(magnitudes: ArrayLike, magnitude: float, each_side: int) -> Ints:
    """Indices of the stars next in brightness, at most so many on either side, the brightest first."""
    values = np.asarray(magnitudes, dtype=float)
    order = np.argsort(values, kind="stable")
    place = int(np.searchsorted(values[order], magnitude))
    return order[max(0, place - each_side) : place + each_side].astype(np.int64)


def _means(light: Floats, error: Floats, known: Bools, visits: list[Bools]) -> tuple[Ints, Floats, Floats]:
    """(visits, stars): number of frames, mean, and its stated uncertainty; NaN without a frame."""
    count = np.array([known[rows].sum(axis=0) for rows in visits]).reshape(len(visits), light.shape[1])
    sums = np.array([np.nansum(light[rows], axis=0) for rows in visits]).reshape(count.shape)
    squares = np.array([np.nansum(error[rows] ** 2, axis=0) for rows in visits]).reshape(count.shape)
    n = np.where(count > 0, count, np.nan)
    return count, sums / n, np.sqrt(squares) / n


def _mean_of_columns(values: Floats, seen: Bools) -> Floats:
    return np.where(seen, values, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)


def _unbiased(deviations: Floats, count: Ints) -> Floats:
    """Deviations from the mean of ``count`` values with the scatter of single values; NaN for a single one."""
    freedom = np.where(count > 1, count - 1, np.nan)
    return deviations * np.sqrt(count / freedom)


def _spread(deviations: Floats, error: Floats) -> Spread:
    known = np.isfinite(deviations) & np.isfinite(error)
    if not known.any():
        return Spread(np.nan, np.nan)
    measured = _SIGMA_OF_MAD * np.median(np.abs(deviations[known]))
    return Spread(float(measured), float(np.median(error[known])))
