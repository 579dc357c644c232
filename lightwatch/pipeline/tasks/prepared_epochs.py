"""Epochs of the last prepared cutouts whose inputs are the same: they are taken over as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwatch.errors import StorageError
from lightwatch.pipeline.task import Group, TaskContext, digest_of
from lightwatch.structure import queries, store
from lightwatch.structure.queries import Row

#: what all epochs of a product share; every other array has one entry per epoch
_SHARED = ("subsampling_factor", "model/others_arcsec", "model/flux_kind", "model/quadrature")
_COEFFICIENTS = "model/psf/coefficients"
_OF_FRAME = (
    "id", "mjd_mid", "bjd_tdb", "exptime", "seeing_arcseconds", "sky_level_electron_per_second", "pixel_scale",
    "angle_to_north",
)  # fmt: skip

Arrays = Mapping[str, NDArray[Any]]


def mark_of(frame: Row, flux_kind: str, stars: Sequence[Row], products: Sequence[str]) -> str:
    """Digest of all that one epoch is made of but its calibration; ``products``: checksums of cutouts and PSF."""
    of_frame = [frame[name] for name in _OF_FRAME]
    of_stars = [list(star.values()) for star in stars]
    return digest_of([of_frame, flux_kind, of_stars, list(products)])


def recalibrated(kept: Arrays, columns: Arrays, *, unknown_noise: float) -> Arrays:
    """Kept epochs on the scale of their present coefficients; ``columns`` are all the arrays of a calibration."""
    scale = (kept["model/coefficient"] / columns["model/coefficient"])[:, None, None]
    noise = np.where(kept["noisemap"] == unknown_noise, unknown_noise, kept["noisemap"] * scale)
    return {**kept, "data": kept["data"] * scale, "noisemap": noise, **columns}


def remembered(context: TaskContext, group: Group) -> Arrays:
    """Arrays, one entry per epoch, of the group's last product by the same recipe; none when there is none."""
    query = queries.roi_model_row(context.footprint_hash, group.roi, group.filter)
    rows = queries.rows(context.workspace.reader, query)
    if not rows or rows[0]["recipe"] != context.recipe or not rows[0]["cutouts_relpath"]:
        return {}
    try:
        arrays = store.read_product(context.workspace.workdir, rows[0]["cutouts_relpath"])
    except StorageError:
        return {}  # it can be made anew
    if "model/mark" not in arrays:
        return {}
    return {name: values for name, values in arrays.items() if name not in _SHARED}


def taken(arrays: Arrays, index: Sequence[int]) -> Arrays:
    """Some of the epochs."""
    return {name: values[list(index)] for name, values in arrays.items()}


def joined(kept: Arrays, new: Arrays, frame_ids: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Kept and new epochs together, in the order of the frames."""
    if not len(kept.get("frame_id", ())):
        return dict(new)
    if not len(new.get("frame_id", ())):
        together = dict(kept)
    else:
        together = {name: np.concatenate([kept[name], new[name]]) for name in kept if name != _COEFFICIENTS}
        together[_COEFFICIENTS] = _padded_alike(kept[_COEFFICIENTS], new[_COEFFICIENTS])
    place = {int(frame): k for k, frame in enumerate(together["frame_id"])}
    return dict(taken(together, [place[frame] for frame in frame_ids]))


def _padded_alike(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """PSF coefficients (T, M, M) with zeros up to the larger M: the same functions."""
    side = max(one.shape[-1], other.shape[-1])
    grown = [np.pad(a, ((0, 0), *[(0, side - a.shape[-1])] * 2)) for a in (one, other)]
    return np.concatenate(grown)
