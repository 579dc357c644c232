"""calculate_common_and_total_footprint: which frames hold an ROI, and what the frames cover together."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from lightwatch.errors import ConfigError
from lightwatch.pipeline.recipes import catalog_identity
from lightwatch.pipeline.task import Outcome, TaskContext
from lightwatch.processes import footprint, frames_catalog
from lightwatch.processes.astrometry_sky import parse_wcs
from lightwatch.structure import frame_rows, queries, region_rows
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_ROI_MARGIN_PX = 8.0
_BATCH = 500
_VERTEX_DECIMALS = 3


@dataclass(frozen=True)
class RoiJob:
    """Where the ROIs should be looked for."""

    wcs: str
    nx: int
    ny: int
    positions: tuple[tuple[float, float], ...]


def batches(context: TaskContext, items: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Many frames at once: the work is small."""
    return (items[i : i + _BATCH] for i in range(0, len(items), _BATCH))


def load(context: TaskContext, items: Sequence[Row]) -> list[RoiJob]:
    """One job per frame."""
    positions = tuple(roi.coordinates for roi in context.workspace.config.rois.values())
    return [RoiJob(item["wcs"], item["naxis1"], item["naxis2"], positions) for item in items]


def compute(jobs: list[RoiJob]) -> list[Outcome]:
    """Whether an ROI lies on each frame, by its own WCS."""
    return [Outcome(output=_holds_roi(job)) for job in jobs]


def _holds_roi(job: RoiJob) -> int:
    ra, dec = np.array(job.positions).T
    return int(
        footprint.in_frame(parse_wcs(job.wcs), job.nx, job.ny, ra, dec, margin_px=_ROI_MARGIN_PX).any()
    )


def save(connection: Connection, context: TaskContext, item: Row, output: int) -> None:
    """Column roi_in_footprint."""
    frame_rows.set_columns(connection, item["id"], {"roi_in_footprint": output})


def finish(connection: Connection, context: TaskContext, renew: bool) -> None:
    """Common and total footprint of all usable frames, under the hash of what defines region and stars."""
    workspace = context.workspace
    frames = [dict(row) for row in connection.execute(queries.outlines_of_frames_with_roi()).mappings()]
    if not frames:
        return
    outlines = [footprint.outline_from_json(row["polygon"]) for row in frames]
    common, total = footprint.common_and_total(outlines)
    definition = _definition(workspace, frames, common, renew)
    key = footprint.footprint_hash(definition)
    values = {
        "strategy": definition["strategy"],
        "definition": json.dumps(definition, sort_keys=True),
        "largest": footprint.region_to_json(total),
        "common": footprint.region_to_json(common),
        "largest_area_deg2": footprint.area_deg2(total),
        "common_area_deg2": footprint.area_deg2(common),
    }
    region_rows.make_footprint_current(connection, key, values)


def _definition(
    workspace: Workspace, frames: Sequence[Row], common: footprint.SkyRegion, renew: bool
) -> dict[str, Any]:
    """What defines the reference region and its stars; what depends on the frames stays as first chosen."""
    settings = workspace.config.reference_stars
    definition: dict[str, Any] = {
        **settings.model_dump(mode="json"),
        "catalog": catalog_identity(workspace, settings.catalog),
        "rois": sorted(list(roi.coordinates) for roi in workspace.config.rois.values()),
    }
    pinned = {} if renew else _pinned(workspace, definition)
    if settings.strategy == "ROI_disk" and settings.roi_disk_radius_arcsec is None:
        definition["roi_disk_radius_arcsec"] = pinned.get("roi_disk_radius_arcsec") or _radius(frames)
    if settings.strategy == "common_footprint_stars":
        if not common.polygons and "vertices" not in pinned:
            raise ConfigError("reference_stars.strategy: the frames have no common footprint; use ROI_disk")
        definition["vertices"] = pinned.get("vertices") or [
            [np.round(ring, _VERTEX_DECIMALS).tolist() for ring in polygon] for polygon in common.polygons
        ]
    if settings.catalog == "frames":
        stored = [] if renew else pinned.get("catalog_frames", [])
        best = frames_catalog.best_frames(
            [row["content_hash"] for row in frames],
            [row["filter"] or "" for row in frames],
            [row["n_sources"] or 0 for row in frames],
        )
        definition["catalog_frames"] = best if frames_catalog.is_worth_renewing(stored, best) else stored
    return definition


def _radius(frames: Sequence[Row]) -> float:
    """Half of the largest frame's diagonal, rounded up to whole arcminutes so that all cameras alike agree."""
    arcsec = max(0.5 * math.hypot(row["naxis1"], row["naxis2"]) * row["pixel_scale"] for row in frames)
    return 60.0 * math.ceil(arcsec / 60.0)


def _pinned(workspace: Workspace, definition: dict[str, Any]) -> dict[str, Any]:
    """Parts of the footprint in use that came from the frames, when all else is the same."""
    rows = queries.rows(workspace.reader, queries.current_footprint())
    if not rows:
        return {}
    stored: dict[str, Any] = json.loads(rows[0]["definition"])
    from_frames = {"vertices", "catalog_frames"} | (
        {"roi_disk_radius_arcsec"} if definition["roi_disk_radius_arcsec"] is None else set()
    )
    same = {k: v for k, v in stored.items() if k not in from_frames} == {
        k: v for k, v in definition.items() if k not in from_frames
    }
    return {name: stored[name] for name in from_frames if name in stored} if same else {}
