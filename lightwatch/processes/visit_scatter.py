"""Whether stars scatter as their stated uncertainties say: over all frames, within visits, from visit to visit.

What a flat field, a colour term or another camera does to a star is the same on all frames of a visit: it hides from
the scatter within one, and shows in the means. Every deviation is judged by its own uncertainty, since frames of a
night, and nights, differ in theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from lightwatch.processes.lightcurve import split_nights

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Finding = Literal["more", "as stated", "unknown"]

#: points of a star below which its median absolute deviation tells nothing of its errors
MIN_POINTS = 8
#: stars below which chance alone makes a warning too often
MIN_STARS = 4
_EACH_SIDE = 4  # stars next in brightness, as in the line of the stated uncertainty
_SIGMA_OF_MAD = 1.4826
_ERROR_OF_MAD = 1.17  # its relative standard error times the root of the number of normal deviates
_ONE_IN_HUNDRED, _ONE_IN_TWENTY = (
    2.33,
    1.64,
)  # standard deviations that a normal deviate exceeds with this chance


@dataclass(frozen=True)
class Spread:
    """Fractions of the flux, 1 sigma: as measured, and as the uncertainties say of the same deviations. ``factor``:
    the scatter of deviations over their own uncertainties, of ``freedom`` independent ones; NaN where nothing tells."""

    measured: float
    stated: float
    factor: float
    freedom: int

    @property
    def factor_error(self) -> float:
        """Standard error of the factor where the uncertainties are right."""
        return float(_ERROR_OF_MAD / np.sqrt(self.freedom)) if self.freedom else np.nan

    def more(self, sigma: float = _ONE_IN_HUNDRED) -> bool:
        """Whether the scatter is larger than stated by more than so many standard errors of the factor."""
        return self.factor > 1 + sigma * self.factor_error


@dataclass(frozen=True)
class VisitScatter:
    """Of several stars together: single frames about the star's median, frames about the mean of their visit, and
    means of visits about the star's mean.

    ``without_worst``: as ``total``, without the star that scatters most; ``missing``: what added in quadrature to the
    errors of the visits' means makes them right, 0 where nothing is; ``factors`` (stars,): that of each star with
    enough points. ``n_visits``: with any of these stars.
    """

    total: Spread
    without_worst: Spread
    within: Spread
    between: Spread
    missing: float
    factors: Floats
    n_visits: int

    @property
    def finding(self) -> Finding:
        """ "more" where the excess is significant, three of four stars show it, and it stays without the worst: one
        variable star is no error."""
        if len(self.factors) < MIN_STARS:
            return "unknown"
        shared = np.percentile(self.factors, 25) > 1 and self.without_worst.more(_ONE_IN_TWENTY)
        return "more" if shared and self.total.more() else "as stated"


def visit_scatter(flux: ArrayLike, uncertainty: ArrayLike, visit: ArrayLike) -> VisitScatter:
    """Scatter of stars of about the same brightness, robust against a few wild points or stars.

    flux, uncertainty (frames, stars), normalised, NaN where not measured; visit (frames,) any numbers.
    Stars with fewer than MIN_POINTS points are left out.
    """
    light, error = np.asarray(flux, dtype=float), np.asarray(uncertainty, dtype=float)
    known = np.isfinite(light) & np.isfinite(error) & (np.where(np.isfinite(error), error, 0.0) > 0)
    often = np.flatnonzero(known.sum(axis=0) >= MIN_POINTS)
    middle = np.array([_weighted_median(light[known[:, s], s], error[known[:, s], s]) for s in often])
    stars, middle = often[middle > 0], middle[middle > 0]
    known = known[:, stars]
    light = np.where(known, light[:, stars], np.nan) / middle
    error = np.where(known, error[:, stars], np.nan) / middle
    count = known.sum(axis=0)
    # a median is nearer to its own few points than the true level is: their scatter is too small by about this much
    deviations = (light - 1) / error * count / np.maximum(count - 1, 1)

    numbers = np.asarray(visit)
    chosen = [numbers == number for number in np.unique(numbers)]
    apart = np.full(light.shape, np.nan)
    for rows in chosen:
        apart[rows] = _standardised(light[rows], error[rows])
    means, errors = _visit_means(light, error, chosen)
    seen = np.isfinite(means)
    factors = np.array([_factor(deviations[:, s]) for s in range(len(stars))])
    others = np.argsort(factors)[:-1]
    n_means, n_seen = int(seen.sum()), int(seen.any(axis=0).sum())
    return VisitScatter(
        total=_spread(deviations, error, int((count - 1).sum())),
        without_worst=_spread(deviations[:, others], error[:, others], int((count[others] - 1).sum())),
        within=_spread(apart, error, int(count.sum()) - n_means),
        between=_spread(_standardised(means, errors), errors, n_means - n_seen),
        missing=_missing(means, errors),
        factors=factors,
        n_visits=int(seen.any(axis=1).sum()),
    )


def comparable_stars(magnitudes: ArrayLike, trusted: ArrayLike, magnitude: float) -> Ints:
    """Indices of the trusted stars next in brightness, on either side the same number at most, the brightest first."""
    able = np.flatnonzero(np.asarray(trusted, dtype=bool))
    values = np.asarray(magnitudes, dtype=float)[able]
    order = np.argsort(values, kind="stable")
    place = int(np.searchsorted(values[order], magnitude))
    return able[order[max(0, place - _EACH_SIDE) : place + _EACH_SIDE]].astype(np.int64)


def number_visits(mjd: ArrayLike, cameras: Sequence[str], *, night_gap_days: float) -> Ints:
    """Visit of every frame, which is a night of one camera; a longer gap than this begins a new night."""
    time, camera = np.asarray(mjd, dtype=float), np.asarray(cameras, dtype=object)
    visit = np.full(len(time), -1, dtype=np.int64)
    for name in sorted(set(cameras)):
        own = camera == name
        visit[own] = visit.max() + 1 + split_nights(time[own], night_gap_days=night_gap_days)
    return visit


def _weighted_median(values: Floats, errors: Floats) -> float:
    """The value with the smallest sum of absolute deviations over errors, between two values where both have."""
    order = np.argsort(values)
    weight = 1 / errors[order]
    return float(np.interp(0.5, (np.cumsum(weight) - weight / 2) / weight.sum(), values[order]))


def _visit_means(light: Floats, error: Floats, visits: list[Bools]) -> tuple[Floats, Floats]:
    """(visits, stars): weighted mean and its stated uncertainty; NaN without a frame."""
    shape = len(visits), light.shape[1]
    weight = np.where(np.isfinite(light), error**-2, 0.0)
    total = np.array([weight[rows].sum(axis=0) for rows in visits]).reshape(shape)
    sums = np.array([np.nansum(weight[rows] * light[rows], axis=0) for rows in visits]).reshape(shape)
    total = np.where(total > 0, total, np.nan)
    return sums / total, 1 / np.sqrt(total)


def _standardised(values: Floats, errors: Floats) -> Floats:
    """Deviations from each column's weighted mean over their own uncertainty, which is smaller than that of the value
    because the value is part of the mean: with right errors their scatter is 1. NaN for a single value."""
    known = np.isfinite(values)
    weight = np.where(known, errors**-2, 0.0)
    total = np.where(known.sum(axis=0) > 1, weight.sum(axis=0), np.nan)
    mean = np.nansum(weight * values, axis=0) / total
    rest = 1 - weight / total
    return (values - mean) / (errors * np.sqrt(np.where(rest > 0, rest, np.nan)))


def _missing(means: Floats, errors: Floats) -> float:
    """Solves for the excess with which the offsets' robust scatter is 1 (Paule and Mandel 1982, with a median)."""

    def beyond(excess: float) -> float:
        return _factor(_standardised(means, np.hypot(errors, excess))) - 1

    if not beyond(0.0) > 0:
        return 0.0
    return float(brentq(beyond, 0.0, 10 * (np.nanmax(means) - np.nanmin(means)), xtol=1e-7))


def _factor(deviations: Floats) -> float:
    """Robust scatter of deviations over their uncertainties; NaN without any."""
    known = np.isfinite(deviations)
    return float(_SIGMA_OF_MAD * np.median(np.abs(deviations[known]))) if known.any() else np.nan


def _spread(deviations: Floats, errors: Floats, freedom: int) -> Spread:
    """Of deviations over their uncertainties; ``stated`` is what would be measured were the factor 1."""
    factor, measured = _factor(deviations), _factor(deviations * errors)
    return Spread(measured, measured / factor if factor else 0.0, factor, freedom)
