"""What goes onto the page of the report, collected from a workdir at any stage."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from lightwatch.flags import DOUBTFUL
from lightwatch.pipeline.beside import told_beside
from lightwatch.pipeline.displaced import displaced_sources
from lightwatch.processes.astrometry_sky import parse_wcs
from lightwatch.report.alarms import MIN_NIGHTS, number_of_nights, visit_alarms
from lightwatch.report.chosen import newest_night, representative_frames
from lightwatch.report.failures import filters_without_curve
from lightwatch.report.light_curve_table import light_curve_rows, magnitude_system
from lightwatch.report.news import news_of
from lightwatch.report.page_pixels import add_models, frame_name, psf_words
from lightwatch.report.payload import chart_payload, colours_of
from lightwatch.report.pictures import field_picture
from lightwatch.report.sky_map import disowned_stars, frame_map, kind_of, name_of_magnitudes, sky_map
from lightwatch.report.star_scatter import calibration_by_filter, star_scatter
from lightwatch.report.star_weights import weights_by_filter
from lightwatch.report.summary import Summary, date_of, mjd_of, summarise
from lightwatch.report.trust import trust_of
from lightwatch.report.undetected import undetected_sources
from lightwatch.structure import queries, queries_report
from lightwatch.structure.magnitude_systems import INSTRUMENTAL
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

Pages = Collection[int] | Literal["all"]

_MAX_NIGHT = 24
_MAX_EARLIER = 60
#: charts of the quality over time, by the names that the page's script knows
_QUALITY = (
    ("seeing", "Seeing, ″"),
    ("sky", "Sky, e⁻/s per pixel"),
    ("zeropoint", "Zero point, mag of 1 e⁻/s"),
    ("coefficient", "Normalization coefficient"),
    ("psf", "PSF, reduced χ²"),
    ("limit", "5σ limit, mag"),
    ("airmass", "Airmass"),
    ("ellipticity", "Ellipticity of the stars"),
)


@dataclass(frozen=True)
class Content:
    """``words`` for the template, ``data`` for the charts, ``notable``: ids of frames worth a page of their own."""

    words: dict[str, Any]
    data: dict[str, Any]
    notable: list[int]


def linked(content: Content, pages: Pages) -> Content:
    """The same with links to pages of frames; ``pages``: their ids, or "all"."""
    told: Any = pages if pages == "all" else sorted(set(pages))
    return Content(content.words | {"pages": told}, content.data | {"pages": told}, content.notable)


def collect(workspace: Workspace) -> Content:
    """Everything that a workdir has to show."""
    if not workspace.has_database:
        return linked(Content(_nothing(workspace), chart_payload(workspace, [], [], []), []), ())
    engine = workspace.reader
    footprint = next(iter(queries.rows(engine, queries.current_footprint())), None)
    footprint_hash = footprint["hash"] if footprint else ""
    frames = queries.rows(
        engine, queries_report.quality_of_frames(footprint_hash, workspace.config.zeropoints.band)
    )
    curves = light_curve_rows(workspace)
    judged = queries.rows(engine, queries_report.normalization_stars_of(footprint_hash))
    fluxes = queries.rows(engine, queries_report.star_fluxes_on_frames())
    system = magnitude_system(workspace)
    scatter = star_scatter(fluxes, judged, *calibration_by_filter(frames))
    instrumental = system.get("system") == INSTRUMENTAL
    if instrumental:
        scatter = [replace(one, mag_label="instrumental magnitude") for one in scatter]
    gap_days = workspace.config.light_curves.night_gap_days
    now, disowned = mjd_of(datetime.now(UTC)), disowned_stars(judged)
    alarms = visit_alarms(frames, fluxes, disowned=disowned, night_gap_days=gap_days, now_mjd=now)
    data = chart_payload(workspace, frames, curves, scatter)
    chosen = representative_frames(frames)
    models = add_models(workspace, footprint_hash, curves, data)
    psfs = psf_words(workspace, footprint_hash, frames, chosen)
    notable = [*chosen, *newest_night(frames, gap_days)[:_MAX_NIGHT]]
    notable += [epoch.frame_id for model in models for epoch in model.epochs]
    notable += [frame for alarm in alarms if alarm.newest for frame in alarm.frames]
    words = _nothing(workspace) | {
        "system": system,
        "instrumental": instrumental,
        "mag_name": name_of_magnitudes(footprint),
        "summary": summarise(workspace, footprint_hash, frames, curves),
        "alarms": [alarm for alarm in alarms if alarm.newest],
        "earlier": [alarm for alarm in alarms if not alarm.newest][:_MAX_EARLIER],
        "displaced": displaced_sources(workspace),
        "beside": told_beside(workspace),
        "undetected": undetected_sources(curves, workspace.config.light_curves.limit_sigma),
        "few_nights": number_of_nights(frames, gap_days) < MIN_NIGHTS,
        "news": news_of(workspace),
        "frames": frames,
        "names": {row["id"]: frame_name(row) for row in frames},
        "curves": data["curves"],
        "colours": colours_of(data["curves"]),
        "scatter": data["stars"],
        "trust": trust_of(curves, frames, fluxes, scatter, night_gap_days=gap_days),
        "without_curve": filters_without_curve(workspace, footprint_hash, frames, curves),
        "weights": weights_by_filter(workspace, footprint_hash, judged, scatter),
        "models": models,
        "psfs": psfs,
        **_field(workspace, footprint, frames, judged, curves),
    }
    return linked(Content(words, data, list(dict.fromkeys(notable))), ())


def _nothing(workspace: Workspace) -> dict[str, Any]:
    """Words of a workdir in which nothing was done yet."""
    return {
        "title": ", ".join(workspace.config.rois),
        "min_snr": f"{workspace.config.normalization.min_snr:g}",
        "limit_sigma": f"{workspace.config.light_curves.limit_sigma:g}",
        "quality": _QUALITY,
        "system": {},
        "instrumental": False,
        "mag_name": "G",
        "beside": "",
        "summary": Summary(),
        "sky": None,
        "field": None,
        "news": None,
        "min_nights": MIN_NIGHTS,
        "few_nights": True,
        "names": {},
        **{
            name: []
            for name in (
                "alarms",
                "earlier",
                "displaced",
                "undetected",
                "frames",
                "curves",
                "colours",
                "scatter",
                "trust",
                "without_curve",
                "weights",
                "models",
                "psfs",
            )
        },
    }


def _field(
    workspace: Workspace,
    footprint: Row | None,
    frames: Sequence[Row],
    judged: Sequence[Row],
    curves: Sequence[Row],
) -> dict[str, Any]:
    """The footprints on the sky, and the frame of the best seeing with the stars on it."""
    engine, rois = workspace.reader, {name: roi.coordinates for name, roi in workspace.config.rois.items()}
    common, footprint_hash = (footprint["common"], footprint["hash"]) if footprint else (None, "")
    shown, used = _shown_frame(workspace, footprint_hash, frames, curves)
    kinds = partial(kind_of, used=used, disowned=disowned_stars(judged))
    on_frames = {
        row["star_gaia_id"] for row in queries.rows(engine, queries_report.stars_on_any_frame(footprint_hash))
    }
    stars = [
        row for row in queries.rows(engine, queries.stars_of(footprint_hash)) if row["gaia_id"] in on_frames
    ]
    polygons = queries.rows(engine, queries_report.polygons_of_frames())
    told = {
        "sky": sky_map(polygons, common, stars, rois, kinds, name_of_magnitudes(footprint)),
        "field": None,
    }
    if shown is None:
        return told
    frame, picture = shown
    here = queries.rows(engine, queries.stars_on_frames(footprint_hash, [frame["id"]]))
    return told | {
        "field": {
            "picture": picture,
            "name": frame_name(frame),
            "date": date_of(frame["mjd_mid"]),
            "seeing": frame["seeing_arcseconds"],
            "passed_over": any(
                row["psf_chi2"] is not None and row["seeing_arcseconds"] < frame["seeing_arcseconds"]
                for row in _with_stars(frames)
            ),
            "map": frame_map(
                frame, parse_wcs(frame["wcs"]), here, rois, kinds, common, name_of_magnitudes(footprint)
            ),
        }
    }


def _with_stars(frames: Sequence[Row]) -> list[Row]:
    return [
        r for r in frames if not r["eliminated"] and r["plate_solved"] and r["seeing_arcseconds"] and r["wcs"]
    ]


def _shown_frame(
    workspace: Workspace, footprint_hash: str, frames: Sequence[Row], curves: Sequence[Row]
) -> tuple[tuple[Row, str] | None, set[int]]:
    """The frame of the best seeing, of those with a PSF and no doubtful point if there are, and its picture;
    ids of the stars of its PSF."""
    doubtful = {row["frame_id"] for row in curves if row["flags"] & DOUBTFUL}

    def rank(row: Row) -> tuple[bool, bool, float]:
        return row["psf_chi2"] is None, row["id"] in doubtful, row["seeing_arcseconds"]

    for frame in sorted(_with_stars(frames), key=rank)[:3]:
        picture = field_picture(workspace, frame)
        if picture is not None:
            psf = queries.rows(workspace.reader, queries.psfs_of(footprint_hash, [frame["id"]]))
            return (frame, picture), {int(star) for row in psf for star in json.loads(row["stars_used"])}
    return None, set()
