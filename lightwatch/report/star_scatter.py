"""How much the reference stars scatter, against what their noise allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.structure.queries import Row

Floats = NDArray[np.float64]

_MIN_FRAMES = 3
_LINE_POINTS = 40
_DISOWNED = Flag.VARIABLE | Flag.OUTLIER
#: measurements with one of these bits say nothing of the star
_SPOILT = Flag.SATURATED | Flag.NOT_CONVERGED | Flag.LOW_COVERAGE | Flag.OUTSIDE


@dataclass(frozen=True)
class StarScatter:
    """One filter; arrays with an entry per star.

    ``scatter``: fractional, of normalised fluxes, from the median absolute deviation; ``expected``: median of
    the stated relative uncertainties; ``photon_noise`` (at ``line_mag``): of the star's own photons alone, in
    the median exposure.
    """

    filter: str
    mag_label: str
    names: tuple[str, ...]
    mag: Floats
    scatter: Floats
    expected: Floats
    n_frames: NDArray[np.int64]
    disowned: NDArray[np.bool_]
    line_mag: Floats
    photon_noise: Floats


def star_scatter(
    fluxes: Sequence[Row], judged: Sequence[Row], zeropoints: dict[str, float], exptimes: dict[str, float]
) -> list[StarScatter]:
    """Scatter of every star seen on enough frames, per filter.

    ``fluxes`` rows of current_star_fluxes, ``judged`` rows of normalization_stars, ``zeropoints`` and
    ``exptimes`` (s) by filter; without a zero point magnitudes are instrumental.
    """
    bits = {(row["filter"], row["star_gaia_id"]): row["flags"] for row in judged}
    by_filter = sorted(fluxes, key=lambda row: (row["filter"] or "", row["star_gaia_id"]))
    return [
        one
        for name, rows in groupby(by_filter, key=lambda row: row["filter"] or "")
        if (one := _of_filter(name, list(rows), bits, zeropoints.get(name), exptimes.get(name, np.nan)))
    ]


def _of_filter(
    name: str, rows: Sequence[Row], bits: dict[tuple[str, int], int], zeropoint: float | None, exptime: float
) -> StarScatter | None:
    names, table, disowned = [], [], []
    for star, group in groupby(rows, key=lambda row: row["star_gaia_id"]):
        measured = [row for row in group if usable_flux(row)]
        if len(measured) < _MIN_FRAMES:
            continue
        flux = np.array([row["normalised_flux"] for row in measured])
        sigma = np.array([row["flux_uncertainty"] / row["coefficient"] for row in measured])
        middle = float(np.median(flux))
        if middle <= 0:
            continue
        names.append(measured[0]["star"])
        spread = 1.4826 * np.median(np.abs(flux - middle)) / middle
        table.append((middle, spread, np.median(sigma) / middle, len(measured)))
        disowned.append(bool(bits.get((name, star), 0) & _DISOWNED))
    if not names:
        return None
    level, scatter, expected, count = np.array(table, dtype=float).T
    zero = 0.0 if zeropoint is None else zeropoint
    line = np.geomspace(level.min(), level.max() * 1.01, _LINE_POINTS)
    return StarScatter(
        filter=name,
        mag_label="instrumental magnitude" if zeropoint is None else "magnitude",
        names=tuple(names),
        mag=zero - 2.5 * np.log10(level),
        scatter=scatter,
        expected=expected,
        n_frames=count.astype(np.int64),
        disowned=np.array(disowned),
        line_mag=zero - 2.5 * np.log10(line),
        photon_noise=1 / np.sqrt(line * exptime),
    )


def usable_flux(row: Row) -> bool:
    """Whether a measurement tells of its star."""
    known = row["normalised_flux"] is not None and row["flux_uncertainty"] is not None
    return known and not row["flags"] & _SPOILT


def calibration_by_filter(frames: Sequence[Row]) -> tuple[dict[str, float], dict[str, float]]:
    """Median zero point of the normalised scale, and median exposure time (s), by filter."""
    return _median_by_filter(frames, "normalised_zeropoint"), _median_by_filter(frames, "exptime")


def _median_by_filter(frames: Sequence[Row], name: str) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in frames:
        if row[name] is not None:
            values.setdefault(row["filter"] or "", []).append(row[name])
    return {key: float(np.median(known)) for key, known in values.items()}
