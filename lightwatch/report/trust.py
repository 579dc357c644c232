"""Whether the stated uncertainties of a light curve may be believed: what stars as bright as its sources do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import DOUBTFUL, Flag
from lightwatch.processes.visit_scatter import (
    MIN_POINTS,
    MIN_STARS,
    Finding,
    VisitScatter,
    comparable_stars,
    number_visits,
    visit_scatter,
)
from lightwatch.report.light_curve_table import by_roi_and_filter, flux_kind
from lightwatch.report.star_scatter import StarScatter, usable_flux
from lightwatch.report.summary import camera_of
from lightwatch.structure.queries import Row

Floats = NDArray[np.float64]

_MAX_SOURCES = 6


@dataclass(frozen=True)
class SourceTrust:
    """``finding``: "more" where stars as bright scatter more than their errors say; ``sentences`` with numbers."""

    name: str
    finding: Finding
    headline: str
    sentences: list[str]
    factor: float = np.nan  # measured over stated scatter


@dataclass(frozen=True)
class Trust:
    """One light curve. ``facts``: (what, in words, section of the page where it is shown)."""

    roi: str
    filter: str
    sources: list[SourceTrust]
    more_sources: int
    facts: list[tuple[str, str, str]]

    @property
    def finding(self) -> Finding:
        """The worst of its sources of which anything is known."""
        found = {source.finding for source in self.sources}
        return next((one for one in _WORST_FIRST if one in found), "unknown")

    @property
    def line(self) -> str:
        """The verdict in a line."""
        if len(self.sources) == 1:
            return self.sources[0].headline
        parts = []
        for finding in _WORST_FIRST:
            own = [source for source in self.sources if source.finding == finding]
            if own:
                most = f"{max(source.factor for source in own):.1f}"
                parts.append(f"{', '.join(source.name for source in own)}: {_IN_SHORT[finding].format(most)}")
        return "; ".join(parts) + "."


_WORST_FIRST: tuple[Finding, ...] = ("more", "as stated", "unknown")
_IN_SHORT: dict[Finding, str] = {
    "more": "stars as bright scatter up to {} times as much as their errors say",
    "as stated": "stars as bright scatter as their errors say",
    "unknown": "too little to compare with",
}


@dataclass(frozen=True)
class _Stars:
    """Of one filter: normalised fluxes of its stars by frame, and which visit each frame belongs to."""

    scatter: StarScatter
    fluxes: Mapping[tuple[int, int], Row]
    visit: Mapping[int, int]
    cameras: Mapping[int, str]


def trust_of(
    curves: Sequence[Row],
    frames: Sequence[Row],
    fluxes: Sequence[Row],
    scatter: Sequence[StarScatter],
    *,
    night_gap_days: float,
) -> list[Trust]:
    """A verdict for each ROI and filter.

    ``curves``: rows of light_curves_with_covariates, ``frames`` of quality_of_frames, ``fluxes`` of
    star_fluxes_on_frames; ``scatter`` of star_scatter.
    """
    by_filter = {one.filter: one for one in scatter}
    cameras = {row["id"]: camera_of(row) for row in frames}
    numbers = number_visits(
        [row["mjd_mid"] for row in frames], list(cameras.values()), night_gap_days=night_gap_days
    )
    visit = dict(zip(cameras, numbers.tolist(), strict=True))
    of_star: dict[str, dict[tuple[int, int], Row]] = {}
    for row in fluxes:
        if usable_flux(row):
            of_star.setdefault(row["filter"] or "", {})[row["star_gaia_id"], row["frame_id"]] = row
    by_id = {row["id"]: row for row in frames}
    out = []
    for (roi, name), rows in by_roi_and_filter(curves).items():
        found = by_filter.get(name)
        stars = _Stars(found, of_star.get(name, {}), visit, cameras) if found else None
        points = [list(group) for _, group in groupby(rows, key=lambda row: row["point_source"])]
        out.append(
            Trust(
                roi=roi,
                filter=name,
                sources=[_of_source(own, stars) for own in points[:_MAX_SOURCES]],
                more_sources=max(0, len(points) - _MAX_SOURCES),
                facts=_facts(rows, [by_id[row["frame_id"]] for row in points[0]], found),
            )
        )
    return out


def _of_source(points: Sequence[Row], stars: _Stars | None) -> SourceTrust:
    name = points[0]["point_source"]
    firm = [row for row in points if not row["flags"] & DOUBTFUL and row["flux_uncertainty"]]
    used = firm if len(firm) >= MIN_POINTS else [row for row in points if row["flux_uncertainty"]]
    if not used:
        return SourceTrust(name, "unknown", "No point has an uncertainty.", [])
    level = float(np.median([row["flux"] for row in used]))
    if level <= 0:
        return SourceTrust(name, "unknown", "The median of its points has no light: nothing to compare.", [])
    stated = np.median([row["flux_uncertainty"] for row in used]) / level
    share = np.median([row["normalization_uncertainty"] or 0.0 for row in used]) / level
    sentences = [f"Stated for a frame: {_percent(stated)} (median), of it {_percent(share)} normalization."]
    if stars is None:
        return SourceTrust(name, "unknown", "No star was measured often enough to compare with.", sentences)
    magnitude = stars.scatter.zeropoint - 2.5 * np.log10(level)
    ids = [row["frame_id"] for row in used]
    if len(ids) < MIN_POINTS:
        return SourceTrust(name, "unknown", f"Too few frames to tell: {len(ids)} of {MIN_POINTS}.", sentences)
    often = stars.scatter.n_frames >= MIN_POINTS
    chosen = comparable_stars(stars.scatter.mag, often & ~stars.scatter.disowned, magnitude)
    told = visit_scatter(*_table(stars, chosen, used), [stars.visit[frame] for frame in ids])
    if told.finding == "unknown":
        n = len(told.factors) or "none"
        few = f"Too few stars to tell: {n} of {MIN_STARS} measured on {MIN_POINTS} of these frames or more."
        return SourceTrust(name, "unknown", few, sentences)
    return SourceTrust(
        name,
        told.finding,
        _headline(told),
        [
            *sentences,
            _compared(stars.scatter, chosen, magnitude, told, len(ids), firm=used is firm),
            *_by_visit(told, len({stars.cameras[frame] for frame in ids})),
        ],
        told.total.factor,
    )


def _table(stars: _Stars, chosen: NDArray[np.int64], points: Sequence[Row]) -> tuple[Floats, Floats]:
    """(frames, stars) normalised fluxes and uncertainties, the normalization's share that of the source's points."""
    flux = np.full((len(points), len(chosen)), np.nan)
    error = flux.copy()
    for i, point in enumerate(points):
        share = (point["normalization_uncertainty"] or 0.0) / abs(point["flux"]) if point["flux"] else 0.0
        for k, star in enumerate(chosen):
            row = stars.fluxes.get((stars.scatter.ids[star], point["frame_id"]))
            if row is not None:
                flux[i, k] = row["normalised_flux"]
                error[i, k] = np.hypot(row["flux_uncertainty"] / row["coefficient"], share * flux[i, k])
    return flux, error


def _headline(told: VisitScatter) -> str:
    measured, stated = _percent(told.total.measured), _percent(told.total.stated)
    text = f"Stars as bright as this scatter by {measured} where their errors say {stated}"
    return f"{text}: {told.total.factor:.1f} times as much." if told.finding == "more" else f"{text}."


def _compared(
    scatter: StarScatter,
    chosen: NDArray[np.int64],
    magnitude: float,
    told: VisitScatter,
    n_frames: int,
    *,
    firm: bool,
) -> str:
    low, high = float(scatter.mag[chosen].min()), float(scatter.mag[chosen].max())
    above = int((told.factors > 1).sum())
    beside = ""
    if not low <= magnitude <= high:
        beside = (
            f", all {'fainter' if magnitude < low else 'brighter'} than the source with its {magnitude:.1f}"
        )
    return (
        f"{above} of {len(told.factors)} stars scatter more than their errors and the normalization's say, over "
        f"{n_frames} frames{'' if firm else ', doubtful ones too'} "
        f"({scatter.mag_label} {low:.1f} to {high:.1f}{beside}); together "
        f"{told.total.factor:.2f} ± {told.total.factor_error:.2f} times as much as stated."
    )


def _by_visit(told: VisitScatter, n_cameras: int) -> list[str]:
    unknown = "what differs from night to night or from camera to camera is not known."
    if told.n_visits < 2:
        return [f"All frames are of one visit: {unknown}"]
    visits = f"{told.n_visits} visits" + (f" of {n_cameras} cameras" if n_cameras > 1 else "")
    if not told.between.freedom:
        return [f"No star was measured in two of the {visits}: {unknown}"]
    text = (
        f"From visit to visit ({visits}) their means scatter by {_percent(told.between.measured)} where errors say "
        f"{_percent(told.between.stated)}"
    )
    if told.within.freedom:
        within, stated = _percent(told.within.measured), _percent(told.within.stated)
        text += f"; within a visit single frames by {within}, where {stated} is stated"
    out = [f"{text}."]
    if told.finding == "more" and told.between.more():
        out.append(
            f"Between visits {_percent(told.missing)} is missing in the stated uncertainty (in quadrature), "
            "as far as these stars tell."
        )
    return out


def _facts(
    rows: Sequence[Row], frames: Sequence[Row], scatter: StarScatter | None
) -> list[tuple[str, str, str]]:
    return [
        ("Points", _points(rows), "curves"),
        ("Joint model", _fit(rows), "curves"),
        ("PSF", _psf(frames), "quality"),
        ("Normalization", _normalization(frames, scatter), "stars"),
        ("Astrometry", _astrometry(frames), "quality"),
    ]


def _points(rows: Sequence[Row]) -> str:
    doubtful = Counter(name.replace("_", " ") for row in rows for name in Flag(row["flags"] & DOUBTFUL).names)
    n = sum(1 for row in rows if row["flags"] & DOUBTFUL)
    why = ", ".join(f"{name} {count}" for name, count in doubtful.most_common())
    limits = sum(1 for row in rows if row["mag"] is None and row["mag_limit"] is not None)
    text = f"{n} of {len(rows)} doubtful by their flags" + (f" ({why})" if why else "")
    return text + (f"; {limits} limits" if limits else "")


def _fit(rows: Sequence[Row]) -> str:
    if flux_kind(rows) == "aperture":
        return "none for these points: they were measured in apertures"
    return _chi2("reduced χ² {} (median)", [row["reduced_chi2"] for row in rows])


def _psf(frames: Sequence[Row]) -> str:
    reserved = [row["psf_reserved_chi2"] for row in frames]
    chi2 = _chi2("reduced χ² {} of stars kept out of its fit", reserved) + _chi2(
        ", {} of those in it", [row["psf_chi2"] for row in frames], unknown=""
    )
    missed = [row["psf_model_error"] for row in frames if row["psf_model_error"]]
    if not missed:
        return chi2
    return (
        f"{chi2}; on {len(missed)} of {len(frames)} frames it misses {100 * np.median(missed):.0f} % of the light "
        f"(median) and {100 * max(missed):.0f} % at most; every χ² here allows for that"
    )


def _chi2(text: str, values: Sequence[float | None], unknown: str = "not known") -> str:
    known = [value for value in values if value is not None]
    return text.format(f"{np.median(known):.2f}") if known else unknown


def _normalization(frames: Sequence[Row], scatter: StarScatter | None) -> str:
    known = [row for row in frames if row["coefficient"] is not None]
    if not known:
        return "not known"
    n_stars = np.median([row["normalization_stars"] for row in known])
    text = f"rests on {n_stars:.0f} stars a frame (median)"
    disowned = int(scatter.disowned.sum()) if scatter else 0
    return text + (f"; {disowned} of {len(scatter.names)} stars disowned" if scatter and disowned else "")


def _astrometry(frames: Sequence[Row]) -> str:
    rms = [
        np.hypot(row["astrometric_rms_ra_arcsec"], row["astrometric_rms_dec_arcsec"])
        for row in frames
        if row["astrometric_rms_ra_arcsec"] is not None and row["astrometric_rms_dec_arcsec"] is not None
    ]
    return f"stars lie {np.median(rms):.2f}″ (rms) from where the WCS has them" if rms else "not known"


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return (f"{percent:.0f}" if percent >= 9.95 else f"{percent:#.2g}") + " %"
