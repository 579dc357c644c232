"""Alarms of visits: what an observer should look at before trusting a night, with the numbers behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightwatch.processes import visit_alarms as statistics
from lightwatch.processes.lightcurve import split_nights
from lightwatch.report.star_scatter import usable_flux
from lightwatch.structure.queries import Row

Floats = NDArray[np.float64]

#: what is usual is not known before
MIN_NIGHTS = 6
_SIGMA = 5.0
#: beyond this age of the newest frame a workdir is an archive, and nobody waits for a new night
_ARCHIVE_DAYS = 60.0
_MAX_FRAMES = 12


@dataclass(frozen=True)
class Alarm:
    """``evidence``: the numbers; ``advice``: what to do; ``frames``: ids (the first of them); ``mjd``: of the night."""

    kind: str
    title: str
    evidence: str
    advice: str
    frames: list[int]
    mjd: float
    newest: bool


@dataclass(frozen=True)
class _Visits:
    """Frames in order of time, with the number of their night."""

    frames: Sequence[Row]
    night: NDArray[np.int64]

    @property
    def count(self) -> int:
        return int(self.night.max()) + 1

    def column(self, name: str) -> Floats:
        return np.array([np.nan if row[name] is None else row[name] for row in self.frames], dtype=float)

    def of_night(self, number: int) -> list[Row]:
        return [row for row, night in zip(self.frames, self.night, strict=True) if night == number]

    def alarm(self, night: int, kind: str, title: str, evidence: str, ids: Sequence[int] = ()) -> Alarm:
        frames = list(ids) or [row["id"] for row in self.of_night(night)]
        mjd = float(self.of_night(night)[0]["mjd_mid"])
        return Alarm(kind, title, evidence, _ADVICE[kind], frames[:_MAX_FRAMES], mjd, night == self.count - 1)


_ADVICE = {
    "transparency": "Clouds, dew or a wrong exposure time: look at the frames, eliminate them if the stars are gone.",
    "jump": "The normalization does not hold here: clouds in the field, or the shutter. Take care with these points.",
    "psf": "Tracking, focus or wind: the PSF does not describe stars it has not seen. Look at the residuals.",
    "astrometry": "Pointing, focus, or clouds: 'lightwatch why' tells what was tried on a frame.",
    "seeing": "Check the focus; compare with the seeing monitor of the site.",
    "sky": "Moon, twilight, clouds or a light in the dome.",
    "gap": "Were the frames copied? Does the job that takes them run?",
}


def visit_alarms(
    frames: Sequence[Row], fluxes: Sequence[Row], *, disowned: set[int], night_gap_days: float, now_mjd: float
) -> list[Alarm]:
    """Alarms of all nights, the newest night first.

    ``frames``: rows of quality_of_frames in order of time; ``fluxes``: rows of current_star_fluxes;
    ``disowned``: ids of stars that the normalization does not trust; ``now_mjd``: the present.
    """
    rows = [row for row in frames if not row["eliminated"]]
    if not rows:
        return []
    mjd = np.array([row["mjd_mid"] for row in rows], dtype=float)
    visits = _Visits(rows, split_nights(mjd, night_gap_days=night_gap_days))
    found = [
        *_gaps(visits, now_mjd),
        *_astrometry(visits),
        *_transparency(visits),
        *_jumps(visits, fluxes, disowned),
        *_psf(visits),
        *_nightly(visits, "seeing", "seeing_arcseconds", np.log(1.3), lambda v: f"{v:.2f}″"),
        *_nightly(visits, "sky", "sky_level_electron_per_second", np.log(2.0), lambda v: f"{v:.3g} e⁻/s per pixel"),
    ]  # fmt: skip
    return sorted(found, key=lambda alarm: -alarm.mjd)


def number_of_nights(frames: Sequence[Row], night_gap_days: float) -> int:
    """Nights with frames that are not eliminated."""
    mjd = np.array([row["mjd_mid"] for row in frames if not row["eliminated"]], dtype=float)
    return int(split_nights(mjd, night_gap_days=night_gap_days).max()) + 1 if len(mjd) else 0


def _filters(visits: _Visits) -> list[tuple[str, NDArray[np.bool_]]]:
    names = np.array([row["filter"] or "" for row in visits.frames])
    return [(str(name), names == name) for name in np.unique(names)]


def _nightly(
    visits: _Visits, kind: str, column: str, least: float, told: Callable[[float], str]
) -> list[Alarm]:
    """Nights whose median is off those of the other nights by a factor, per filter."""
    values = visits.column(column)
    out = []
    for name, chosen in _filters(visits):
        usable = np.where(chosen & (values > 0), values, np.nan)
        medians = statistics.median_per_group(_log(usable), visits.night, visits.count)
        for one in statistics.deviations(medians, sigma=_SIGMA, least=least, min_count=MIN_NIGHTS):
            value, usual = told(float(np.exp(one.value))), told(float(np.exp(one.usual)))
            where = f" in {name}" if name else ""
            text = f"Median of the night{where} {value}; usual is {usual}."
            word = "high" if one.value > one.usual else "low"
            out.append(visits.alarm(one.index, kind, f"{kind.capitalize()} unusually {word}", text))
    return out


def _transparency(visits: _Visits) -> list[Alarm]:
    """All stars of a frame fainter or brighter together: the coefficient tells."""
    values = visits.column("coefficient")
    out = []
    for name, chosen in _filters(visits):
        level = _log(np.where(chosen, values, np.nan))
        found = statistics.deviations(level, sigma=_SIGMA, least=np.log(1.5), min_count=MIN_NIGHTS)
        for night in sorted({int(visits.night[one.index]) for one in found}):
            own = [one for one in found if visits.night[one.index] == night]
            factors = [np.exp(one.value - one.usual) for one in own]
            worst = max(factors, key=lambda factor: abs(np.log(factor)))
            where = f" in {name}" if name else ""
            text = (
                f"{len(own)} of {len(visits.of_night(night))} frames{where}: "
                f"all stars together at {worst:.2f} times their usual flux."
            )
            ids = [visits.frames[one.index]["id"] for one in own]
            title = "All stars fainter together" if worst < 1 else "All stars brighter together"
            out.append(visits.alarm(night, "transparency", title, text, ids))
    return out


def _jumps(visits: _Visits, fluxes: Sequence[Row], disowned: set[int]) -> list[Alarm]:
    """Stars that jump together although the frame is normalized."""
    place = {row["id"]: i for i, row in enumerate(visits.frames)}
    out = []
    for _, chosen in _filters(visits):
        rows = [
            row
            for row in fluxes
            if usable_flux(row) and row["star_gaia_id"] not in disowned and chosen[place.get(row["frame_id"], 0)]
            and row["frame_id"] in place
        ]  # fmt: skip
        flux, error, frames = _table(rows, place)
        found = statistics.joint_jumps(flux, error, sigma=4.0, min_stars=5, min_fraction=0.4)
        for jump in found:
            frame = frames[jump.index]
            text = (
                f"{jump.n_off} of {jump.n_stars} reference stars are off their own means by more than 4 σ "
                f"after the normalization, by a median of {100 * jump.offset:+.1f} %."
            )
            night = int(visits.night[frame])
            ids = [visits.frames[frame]["id"]]
            out.append(visits.alarm(night, "jump", "All stars jump together", text, ids))
    return out


def _table(rows: Sequence[Row], place: dict[int, int]) -> tuple[Floats, Floats, list[int]]:
    """(frames, stars) normalised fluxes and uncertainties, and which frames these are."""
    frames = sorted({place[row["frame_id"]] for row in rows})
    stars = sorted({row["star_gaia_id"] for row in rows})
    line, column = ({key: i for i, key in enumerate(keys)} for keys in (frames, stars))
    flux = np.full((len(frames), len(stars)), np.nan)
    error = flux.copy()
    for row in rows:
        at = line[place[row["frame_id"]]], column[row["star_gaia_id"]]
        flux[at] = row["normalised_flux"]
        error[at] = row["flux_uncertainty"] / row["coefficient"]
    return flux, error, frames


def _psf(visits: _Visits) -> list[Alarm]:
    """Nights on which stars kept out of the fit disagree with the PSF."""
    medians = statistics.median_per_group(visits.column("psf_reserved_chi2"), visits.night, visits.count)
    used = statistics.median_per_group(visits.column("psf_chi2"), visits.night, visits.count)
    found = statistics.deviations(medians, sigma=_SIGMA, least=0.3, min_count=MIN_NIGHTS)
    return [
        visits.alarm(
            one.index,
            "psf",
            "PSF misses the reserved stars",
            f"Median reduced χ² of the reserved stars {one.value:.2f} (stars used: {used[one.index]:.2f}); "
            f"usual is {one.usual:.2f}.",
        )
        for one in found
        if one.value > one.usual
    ]


def _astrometry(visits: _Visits) -> list[Alarm]:
    tried = np.array([bool(row["attempted_plate_solve"]) for row in visits.frames])
    failed = np.array([not row["plate_solved"] for row in visits.frames])
    out = []
    for rate in statistics.failure_rates(tried, failed, visits.night, min_failed=2, min_rate=0.2):
        usual = "" if np.isnan(rate.usual) else f"; elsewhere {100 * rate.usual:.0f} %"
        ids = [
            row["id"]
            for row in visits.of_night(rate.index)
            if row["attempted_plate_solve"] and not row["plate_solved"]
        ]
        text = f"{rate.failed} of {rate.tried} frames found no trustworthy WCS{usual}."
        out.append(visits.alarm(rate.index, "astrometry", "Astrometry fails often", text, ids))
    return out


def _gaps(visits: _Visits, now_mjd: float) -> list[Alarm]:
    """Long pauses between nights, and since the last one where new frames are still awaited."""
    mjd = visits.column("mjd_mid")
    starts = [float(mjd[visits.night == number].min()) for number in range(visits.count)]
    waits = 0 < now_mjd - starts[-1] < _ARCHIVE_DAYS
    times = [*starts, now_mjd] if waits else starts
    out = []
    for one in statistics.unusual_gaps(times, factor=3.0, least_days=3.0, min_nights=MIN_NIGHTS):
        usual = f"nine of ten pauses are shorter than {one.usual:.1f} d"
        if one.index == len(starts):
            text = f"The newest frame is {one.value:.0f} d old; {usual}."
            out.append(visits.alarm(len(starts) - 1, "gap", "No new frames", text))
        else:
            text = f"{one.value:.0f} d without a frame before it; {usual}."
            out.append(visits.alarm(one.index, "gap", "Gap of nights", text))
    return out


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    return np.where(np.isfinite(logs), logs, np.nan)
