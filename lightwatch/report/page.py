"""What goes onto the page of the report, collected from a workdir at any stage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lightwatch.processes.astrometry_sky import parse_wcs
from lightwatch.report.light_curve_table import DOUBTFUL, light_curve_rows, magnitude_system
from lightwatch.report.payload import chart_payload
from lightwatch.report.pictures import RoiPictures, field_picture, psf_picture, roi_pictures
from lightwatch.report.sky_map import disowned_stars, frame_marks, pixel_of, sky_map
from lightwatch.report.star_scatter import calibration_by_filter, star_scatter
from lightwatch.report.star_weights import weights_by_filter
from lightwatch.report.summary import Summary, date_of, summarise
from lightwatch.structure import queries, queries_report
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

#: base64 text of all pictures together; later ones are left out
_PICTURE_BYTES = 9_000_000
_MAX_ROI_MODELS = 24
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
    """``words`` for the template, ``data`` for the charts."""

    words: dict[str, Any]
    data: dict[str, Any]


def collect(workspace: Workspace) -> Content:
    """Everything that a workdir has to show."""
    words: dict[str, Any] = {
        "title": ", ".join(workspace.config.rois),
        "limit_sigma": f"{workspace.config.light_curves.limit_sigma:g}",
        "quality": _QUALITY,
        "system": {},
        "summary": Summary(),
        "frames": [],
        "curves": [],
        "scatter": [],
        "weights": [],
        "models": [],
        "psfs": [],
        "sky": None,
        "field": None,
    }
    if not workspace.has_database:
        return Content(words, chart_payload(workspace, [], [], []))
    engine = workspace.reader
    footprint = next(iter(queries.rows(engine, queries.current_footprint())), None)
    footprint_hash = footprint["hash"] if footprint else ""
    band = workspace.config.zeropoints.band
    frames = queries.rows(engine, queries_report.quality_of_frames(footprint_hash, band))
    curves = light_curve_rows(workspace)
    judged = queries.rows(engine, queries_report.normalization_stars_of(footprint_hash))
    fluxes = queries.rows(engine, queries_report.star_fluxes_on_frames())
    scatter = star_scatter(fluxes, judged, *calibration_by_filter(frames))
    chosen = representative_frames(frames)
    models = _models(workspace, footprint_hash, curves)
    data = chart_payload(workspace, frames, curves, scatter)
    words |= {
        "system": magnitude_system(workspace),
        "summary": summarise(workspace, footprint_hash, frames, curves),
        "frames": frames,
        "curves": data["curves"],
        "scatter": data["stars"],
        "weights": weights_by_filter(workspace, footprint_hash, judged),
        "models": models,
        "psfs": _psfs(workspace, footprint_hash, frames, chosen),
        "sky": _sky(workspace, footprint),
        "field": _field(workspace, footprint_hash, frames, judged, curves),
    }
    return Content(words, data)


def representative_frames(frames: Sequence[Row]) -> dict[int, str]:
    """Frame ids to why they are shown: the best, median and worst of what matters, and the newest."""
    usable = [row for row in frames if not row["eliminated"] and row["psf_chi2"] is not None]
    chosen: dict[int, str] = {}
    by_seeing = sorted(
        (row for row in usable if row["seeing_arcseconds"]), key=lambda row: row["seeing_arcseconds"]
    )
    by_chi2 = sorted(usable, key=lambda row: row["psf_reserved_chi2"] or row["psf_chi2"])
    for title, row in (
        ("newest", usable[-1] if usable else None),
        ("best seeing", by_seeing[0] if by_seeing else None),
        ("median seeing", by_seeing[len(by_seeing) // 2] if by_seeing else None),
        ("worst seeing", by_seeing[-1] if by_seeing else None),
        ("worst PSF", by_chi2[-1] if by_chi2 else None),
    ):
        if row is not None:
            chosen.setdefault(row["id"], title)
    return chosen


def representative_epochs(curves: Sequence[Row]) -> dict[int, str]:
    """Frame ids of a light curve to why their model is shown."""
    epochs = list({row["frame_id"]: row for row in curves}.values())
    epochs.sort(key=lambda row: row["mjd"])
    known = [row for row in epochs if row["reduced_chi2"] is not None]
    by_chi2 = sorted(known, key=lambda row: row["reduced_chi2"])
    by_seeing = sorted(
        (row for row in epochs if row["seeing_arcseconds"]), key=lambda row: row["seeing_arcseconds"]
    )
    chosen: dict[int, str] = {}
    for title, row in (
        ("newest", epochs[-1] if epochs else None),
        ("best seeing", by_seeing[0] if by_seeing else None),
        ("median χ²", by_chi2[len(by_chi2) // 2] if by_chi2 else None),
        ("worst seeing", by_seeing[-1] if by_seeing else None),
        ("worst χ²", by_chi2[-1] if by_chi2 else None),
        ("oldest", epochs[0] if epochs else None),
    ):
        if row is not None:
            chosen.setdefault(row["frame_id"], title)
    return chosen


def _models(workspace: Workspace, footprint_hash: str, curves: Sequence[Row]) -> list[RoiPictures]:
    rows = queries.rows(workspace.reader, queries_report.roi_models_of(footprint_hash))
    out: list[RoiPictures] = []
    spent = 0
    for row in rows[:_MAX_ROI_MODELS]:
        if spent > _PICTURE_BYTES:
            break
        own = [point for point in curves if (point["roi"], point["filter"]) == (row["roi"], row["filter"])]
        pictures = roi_pictures(workspace, row, representative_epochs(own))
        spent += sum(len(epoch.data + epoch.model + epoch.residual) for epoch in pictures.epochs)
        out.append(pictures)
    return out


def _psfs(
    workspace: Workspace, footprint_hash: str, frames: Sequence[Row], chosen: dict[int, str]
) -> list[dict[str, Any]]:
    by_id = {row["id"]: row for row in frames}
    out = []
    for row in queries.rows(workspace.reader, queries.psfs_of(footprint_hash, list(chosen))):
        picture = psf_picture(workspace, row)
        if picture is not None:
            frame = by_id[row["frame_id"]]
            out.append({**row, "title": chosen[row["frame_id"]], "picture": picture, "name": _name(frame)})
    order = list(chosen)
    return sorted(out, key=lambda psf: order.index(psf["frame_id"]))


def _sky(workspace: Workspace, footprint: Row | None) -> Any:
    polygons = queries.rows(workspace.reader, queries_report.polygons_of_frames())
    stars = queries.rows(workspace.reader, queries.stars_of(footprint["hash"])) if footprint else []
    rois = {name: roi.coordinates for name, roi in workspace.config.rois.items()}
    return sky_map(polygons, footprint["common"] if footprint else None, stars, rois)


def _field(
    workspace: Workspace,
    footprint_hash: str,
    frames: Sequence[Row],
    judged: Sequence[Row],
    curves: Sequence[Row],
) -> dict[str, Any] | None:
    """The sharpest frame, with the stars on it."""
    doubtful = {row["frame_id"] for row in curves if row["flags"] & DOUBTFUL}
    usable = [
        r for r in frames if not r["eliminated"] and r["plate_solved"] and r["seeing_arcseconds"] and r["wcs"]
    ]
    for frame in sorted(usable, key=lambda row: (row["id"] in doubtful, row["seeing_arcseconds"]))[:3]:
        picture = field_picture(workspace, frame)
        if picture is None:
            continue
        stars = queries.rows(workspace.reader, queries.stars_on_frames(footprint_hash, [frame["id"]]))
        psf = queries.rows(workspace.reader, queries.psfs_of(footprint_hash, [frame["id"]]))
        wcs = parse_wcs(frame["wcs"])
        rois = {name: pixel_of(wcs, roi.coordinates) for name, roi in workspace.config.rois.items()}
        used = {int(star) for row in psf for star in json.loads(row["stars_used"])}
        return {
            "picture": picture,
            "name": _name(frame),
            "date": date_of(frame["mjd_mid"]),
            "width": frame["naxis1"],
            "height": frame["naxis2"],
            "seeing": frame["seeing_arcseconds"],
            "marks": frame_marks(stars, frame, used, disowned_stars(judged), rois),
        }
    return None


def _name(frame: Row) -> str:
    return PurePosixPath(frame["original_image_path"]).name
