"""The pixels of the page: models of the ROIs, PSFs and what they leave over, within a number of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lightwatch.errors import StorageError
from lightwatch.report.chosen import representative_epochs
from lightwatch.report.epoch_pixels import bytes_per_epoch, evenly, packed, palettes
from lightwatch.report.pictures import RoiProducts, psf_picture
from lightwatch.report.roi_pictures import RoiPictures, no_pictures, roi_pictures
from lightwatch.structure import queries, queries_report, store
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

#: base64 of the epochs of all models together: beyond it some epochs are left out, evenly
_EPOCH_BYTES = 6_000_000
_MAX_ROI_MODELS = 24


def add_models(
    workspace: Workspace, footprint_hash: str, curves: Sequence[Row], data: dict[str, Any]
) -> list[RoiPictures]:
    """Pictures of the models; the pixels of their epochs go into the curves of ``data``."""
    rows = queries.rows(workspace.reader, queries_report.roi_models_of(footprint_hash))[:_MAX_ROI_MODELS]
    index = {frame: i for i, frame in enumerate(data["frames"]["id"])}
    data["palettes"] = palettes()
    out: list[RoiPictures] = []
    for row in rows:
        if row["model_relpath"] is None:
            out.append(no_pictures(row, "not modelled yet"))
            continue
        try:
            products = RoiProducts(workspace, row)
        except StorageError as error:
            out.append(no_pictures(row, str(error)))
            continue
        own = [point for point in curves if (point["roi"], point["filter"]) == (row["roi"], row["filter"])]
        chosen = representative_epochs(own)
        out.append(roi_pictures(products, row, chosen))
        room = _EPOCH_BYTES // len(rows) // bytes_per_epoch(products)
        shown = [frame for frame in dict.fromkeys(p["frame_id"] for p in own) if frame in index]
        known = set(products.frame_ids)
        ids = evenly([frame for frame in shown if frame in known], room, chosen)
        for curve in data["curves"]:
            if (curve["roi"], curve["filter"]) == (row["roi"], row["filter"]) and ids:
                curve["pixels"] = packed(products, ids, index)
                curve["radius"] = _told_radii(workspace, row) if curve["kind"] == "aperture" else ""
    return out


def _told_radii(workspace: Workspace, row: Row) -> str:
    """Radii of the apertures of a light curve, px; '' where its cutouts do not tell."""
    name = "model/aperture_radius_px"
    try:
        radii = store.read_product(workspace.workdir, row["cutouts_relpath"], names=[name])[name]
    except StorageError:
        return ""
    low, high = (f"{value:.1f}" for value in (np.min(radii), np.max(radii)))
    return low if low == high else f"{low} to {high}"


def psf_words(
    workspace: Workspace, footprint_hash: str, frames: Sequence[Row], chosen: dict[int, str]
) -> list[dict[str, Any]]:
    """PSFs of the frames ``chosen`` (id to why), and the residual that their stars have in common."""
    found = queries.rows(workspace.reader, queries.psfs_of(footprint_hash, list(chosen)))
    if not found:
        return []
    from lightwatch.report.star_strips import star_strips  # JAX, which takes a second to import

    by_id = {row["id"]: row for row in frames}
    order = list(chosen)
    out = []
    for row in sorted(found, key=lambda psf: order.index(psf["frame_id"])):
        picture = psf_picture(workspace, row)
        if picture is None:
            continue
        left = star_strips(workspace, footprint_hash, row, strips=False)
        told = {"title": chosen[row["frame_id"]], "name": frame_name(by_id[row["frame_id"]])}
        out.append({**row, **told, "picture": picture, "stacked": left.stacked, "n_stacked": left.n_stacked})
    return out


def frame_name(frame: Row) -> str:
    """Name of a frame's raw file."""
    return PurePosixPath(frame["original_image_path"]).name
