"""How much the reference stars scatter, against what their noise allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import Flag
from lightwatch.structure.queries import Row

Floats = NDArray[np.float64]

_MIN_FRAMES = 3
_LINE_POINTS = 40
_NEIGHBOURS = 4  # in brightness, on either side
_DISOWNED = Flag.VARIABLE | Flag.OUTLIER
#: measurements with one of these bits say nothing of the star
_SPOILT = Flag.SATURATED | Flag.NOT_CONVERGED | Flag.LOW_COVERAGE | Flag.OUTSIDE


@dataclass(frozen=True)
class StarScatter:
    """One filter; arrays with an entry per star.

    ``scatter``: fractional, of normalised fluxes, from the median absolute deviation; ``expected``: median of
    the stated relative uncertainties; ``stated``: that of stars of this brightness on the usual frame;
    ``photon_noise`` (at ``line_mag``): of the star's own photons alone, on the usual frame. Fluxes are those
    that the normalization rests on; ``zeropoint`` (0: magnitudes are instrumental) is that of a normalised flux.
    """

    filter: str
    mag_label: str
    zeropoint: float
    ids: tuple[int, ...]
    names: tuple[str, ...]
    mag: Floats
    scatter: Floats
    expected: Floats
    stated: Floats
    n_frames: NDArray[np.int64]
    disowned: NDArray[np.bool_]
    line_mag: Floats
    photon_noise: Floats


def star_scatter(
    fluxes: Sequence[Row], judged: Sequence[Row], zeropoints: dict[str, float], exposures: dict[str, float]
) -> list[StarScatter]:
    """Scatter of every star seen on enough frames, per filter.

    ``fluxes`` rows of star_fluxes_on_frames, ``judged`` rows of normalization_stars, ``zeropoints`` and
    ``exposures`` of calibration_by_filter; without a zero point magnitudes are instrumental.
    """
    bits = {(row["filter"], row["star_gaia_id"]): row["flags"] for row in judged}
    by_filter = sorted(fluxes, key=lambda row: (row["filter"] or "", row["star_gaia_id"]))
    return [
        one
        for name, rows in groupby(by_filter, key=lambda row: row["filter"] or "")
        if (one := _of_filter(name, list(rows), bits, zeropoints.get(name), exposures.get(name, np.nan)))
    ]


def _of_filter(
    name: str, rows: Sequence[Row], bits: dict[tuple[str, int], int], zeropoint: float | None, exposure: float
) -> StarScatter | None:
    ids, names, table, disowned = [], [], [], []
    for star, group in groupby(rows, key=lambda row: row["star_gaia_id"]):
        measured = [row for row in group if usable_flux(row)]
        if len(measured) < _MIN_FRAMES:
            continue
        flux = np.array([row["normalised_flux"] for row in measured])
        sigma = np.array([row["flux_uncertainty"] / row["coefficient"] for row in measured])
        middle = float(np.median(flux))
        if middle <= 0:
            continue
        ids.append(int(star))
        names.append(measured[0]["star"])
        spread = 1.4826 * np.median(np.abs(flux - middle)) / middle
        electrons = middle * np.array([row["coefficient"] * row["exptime"] for row in measured])
        beyond = np.median(sigma / middle * np.sqrt(electrons))
        table.append((middle, spread, np.median(sigma) / middle, beyond, len(measured)))
        disowned.append(bool(bits.get((name, star), 0) & _DISOWNED))
    if not names:
        return None
    level, scatter, expected, beyond, count = np.array(table, dtype=float).T
    zero = 0.0 if zeropoint is None else zeropoint
    line = np.geomspace(level.min(), level.max() * 1.01, _LINE_POINTS)
    return StarScatter(
        filter=name,
        mag_label="instrumental magnitude" if zeropoint is None else "magnitude",
        zeropoint=zero,
        ids=tuple(ids),
        names=tuple(names),
        mag=zero - 2.5 * np.log10(level),
        scatter=scatter,
        expected=expected,
        stated=_smoothed(level, beyond) / np.sqrt(level * exposure),
        n_frames=count.astype(np.int64),
        disowned=np.array(disowned),
        line_mag=zero - 2.5 * np.log10(line),
        photon_noise=1 / np.sqrt(line * exposure),
    )


def _smoothed(level: Floats, beyond: Floats) -> Floats:
    """Median over neighbours in brightness of ``beyond``, the stated uncertainty over that of the photons alone.

    Crowded stars have larger errors than others as bright. A median of the uncertainties themselves would be
    that of brighter stars at the faint end, below what the photons allow.
    """
    order = np.argsort(level)
    reach = min(_NEIGHBOURS, len(order) // 8)
    out = np.empty_like(beyond)
    for place, star in enumerate(order):
        out[star] = np.median(beyond[order[max(0, place - reach) : place + reach + 1]])
    return out


def usable_flux(row: Row) -> bool:
    """Whether a measurement tells of its star."""
    known = row["normalised_flux"] is not None and row["flux_uncertainty"] is not None
    return known and not row["flags"] & _SPOILT


def calibration_by_filter(frames: Sequence[Row]) -> tuple[dict[str, float], dict[str, float]]:
    """Medians by filter: zero point of the normalised scale, and exposure: electrons of a unit normalised flux."""
    zeropoints = ((row["filter"], row["normalised_zeropoint"]) for row in frames)
    exposures = (
        (row["filter"], None if row["coefficient"] is None else row["coefficient"] * row["exptime"])
        for row in frames
    )
    return _median_by_filter(zeropoints), _median_by_filter(exposures)


def _median_by_filter(values: Iterable[tuple[str | None, float | None]]) -> dict[str, float]:
    known: dict[str, list[float]] = {}
    for name, value in values:
        if value is not None:
            known.setdefault(name or "", []).append(value)
    return {name: float(np.median(those)) for name, those in known.items()}
