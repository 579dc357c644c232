"""The numbers behind the charts of the report, ready for JSON: columns, not rows; unknown is null."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lightwatch.flags import DOUBTFUL, Flag
from lightwatch.report.light_curve_table import by_roi_and_filter, flux_kind, nightly_table
from lightwatch.report.star_scatter import StarScatter
from lightwatch.report.summary import camera_of
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

#: columns of the frames that charts and their hovers show, by their short names in the page
_FRAME_COLUMNS = {
    "mjd": "mjd_mid", "exptime": "exptime", "airmass": "airmass", "seeing": "seeing_arcseconds",
    "ellipticity": "ellipticity", "sky": "sky_level_electron_per_second", "limit": "limiting_magnitude",
    "psf": "psf_chi2", "reserved": "psf_reserved_chi2", "coefficient": "coefficient",
    "coefficientError": "coefficient_uncertainty", "zeropoint": "zeropoint",
    "zeropointError": "zeropoint_uncertainty",
}  # fmt: skip
_POINT_COLUMNS = {
    "flux": "flux", "error": "flux_uncertainty", "mag": "mag", "up": "mag_uncertainty_up",
    "down": "mag_uncertainty_down", "limit": "mag_limit", "chi2": "reduced_chi2", "flags": "flags",
}  # fmt: skip
#: JD of MJD 0
_JD_OF_MJD = 2400000.5
_NIGHT_COLUMNS = {
    **{k: v for k, v in _POINT_COLUMNS.items() if k != "flags"},
    "mjd": "mjd",
    "count": "n_points",
}


def chart_payload(
    workspace: Workspace, frames: Sequence[Row], curves: Sequence[Row], scatter: Sequence[StarScatter]
) -> dict[str, Any]:
    """Everything that the charts draw."""
    index = {row["id"]: i for i, row in enumerate(frames)}
    told = _frames(frames)
    return {
        "flagNames": [str(bit.name).lower().replace("_", " ") for bit in Flag],
        "doubtful": int(DOUBTFUL),
        "frames": told,
        "curves": [
            _curve(workspace, roi, name, rows, index, told["camera"])
            for (roi, name), rows in by_roi_and_filter(curves).items()
        ],
        "stars": [_stars(one) for one in scatter],
    }


def colours_of(curves: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Ways (value, label) to colour light curves of several cameras, the one to begin with first: cameras where an
    ROI is a single source, sources in blends; none where one camera took each. ``curves`` of chart_payload."""
    single = {len(curve["sources"]) == 1 for curve in curves if len(curve["cameras"]) > 1}
    ways = [("source", "by source"), ("camera", "by camera")]
    if len(single) == 2:
        return [("each", "by camera, blends by source"), *ways]
    return ways[:: -1 if True in single else 1] if single else []


def _frames(frames: Sequence[Row]) -> dict[str, Any]:
    columns = {short: [_number(row[name], short) for row in frames] for short, name in _FRAME_COLUMNS.items()}
    cameras = sorted({camera_of(row) for row in frames})
    return columns | {
        "cameras": cameras,
        "camera": [cameras.index(camera_of(row)) for row in frames],
        "ahead": [_ahead(row["bjd_tdb"], row["mjd_mid"]) for row in frames],
        "id": [row["id"] for row in frames],
        "name": [PurePosixPath(row["original_image_path"]).name for row in frames],
        "filter": [row["filter"] or "" for row in frames],
        "eliminated": [row["eliminated"] for row in frames],
        "flags": [row["flags"] | (row["psf_flags"] or 0) for row in frames],
    }


def _curve(
    workspace: Workspace,
    roi: str,
    name: str,
    rows: Sequence[Row],
    index: dict[int, int],
    camera: Sequence[int],
) -> dict[str, Any]:
    nights = nightly_table(workspace, rows)
    cameras = sorted({camera[index[row["frame_id"]]] for row in rows})
    sources = []
    for source, group in groupby(rows, key=lambda row: row["point_source"]):
        points = list(group)
        own = nights[nights["point_source"] == source]
        sources.append(
            {
                "name": source,
                "frame": [index[row["frame_id"]] for row in points],
                **{
                    short: [_number(row[column]) for row in points]
                    for short, column in _POINT_COLUMNS.items()
                },
                "nights": {
                    short: [_number(value, short) for value in own[column]]
                    for short, column in _NIGHT_COLUMNS.items()
                }
                | {"ahead": [_ahead(bjd, mjd) for bjd, mjd in zip(own["bjd_tdb"], own["mjd"], strict=True)]},
            }
        )
    return {
        "roi": roi,
        "filter": name,
        "kind": flux_kind(rows),
        "cameras": cameras,
        "sources": sources,
    }


def _stars(one: StarScatter) -> dict[str, Any]:
    return {
        "filter": one.filter,
        "magLabel": one.mag_label,
        "name": list(one.names),
        "mag": _column(one.mag),
        "scatter": _column(one.scatter),
        "expected": _column(one.expected),
        "stated": _column(one.stated),
        "count": [int(n) for n in one.n_frames],
        "disowned": [bool(value) for value in one.disowned],
        "photon": {"mag": _column(one.line_mag), "noise": _column(one.photon_noise)},
    }


def _column(values: Iterable[float]) -> list[float | None]:
    return [_number(value) for value in values]


def _ahead(bjd: float | None, mjd: float) -> float | None:
    """Days, to a tenth of a second; light travel time, leap seconds, and what TDB is ahead of TAI."""
    return None if bjd is None or not math.isfinite(bjd) else round(float(bjd) - _JD_OF_MJD - mjd, 6)


def _number(value: Any, name: str = "") -> float | int | None:
    """Seven digits are more than a screen can show; a date needs more."""
    if value is None or not math.isfinite(value):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    return round(float(value), 6) if name == "mjd" else float(f"{value:.7g}")
