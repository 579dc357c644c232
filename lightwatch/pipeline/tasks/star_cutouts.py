"""Cutouts of stars from the products of stamp_extraction, as PSF fit and photometry take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwatch.flags import UNUSABLE_PIXEL, Flag
from lightwatch.pipeline.task import TaskContext
from lightwatch.processes.psf_cutouts import StarCutouts
from lightwatch.structure import queries, store
from lightwatch.structure.parts import rows_of
from lightwatch.structure.queries import Row

_MOST_FRAMES = 16
#: working copies of the cutouts that a fit keeps, with 8 bytes per pixel
_COPIES = 24

Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class FrameStars:
    """One frame's cutouts and what is known of its stars before any fit."""

    frame_id: int
    arrays: Arrays
    mjd: float

    @property
    def ids(self) -> NDArray[np.int64]:
        """Star ids (K,)."""
        return np.asarray(self.arrays["gaia_id"])

    @property
    def position(self) -> NDArray[np.float64]:
        """(K, 2) px in the frame."""
        return np.asarray(self.arrays["image_pixel_coordinates"])

    @property
    def good(self) -> NDArray[np.bool_]:
        """(K, n, n) usable pixels."""
        mask, data, rms = (self.arrays[name] for name in ("mask", "data", "background_rms"))
        return ((mask & int(UNUSABLE_PIXEL)) == 0) & np.isfinite(data) & np.isfinite(rms) & (rms > 0)

    @property
    def centre_offset(self) -> NDArray[np.float64]:
        """(K, 2) predicted position from the centre of the cutout, px."""
        n = self.arrays["data"].shape[-1]
        return np.asarray(self.position - self.arrays["corner"] - (n - 1) / 2)


def batches_by_size(context: TaskContext, items: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Frames with cutouts of the same size, as many at once as the memory limit allows."""
    by_id = {item["id"]: item for item in items}
    regions = _regions(context, list(by_id))
    regions.sort(key=lambda row: (row["star_size_px"], by_id[row["frame_id"]]["mjd_mid"]))
    limit = context.workspace.config.executor.memory_limit_gigabytes * 1e9
    batch: list[Row] = []
    size = stars = 0
    for row in regions:
        stars = max(stars, row["n_stars"])
        bytes_per_frame = max(stars, 1) * row["star_size_px"] ** 2 * 8 * _COPIES
        full = len(batch) >= _MOST_FRAMES or (len(batch) + 1) * bytes_per_frame > limit
        if batch and (full or row["star_size_px"] != size):
            yield batch
            batch, stars = [], row["n_stars"]
        size = row["star_size_px"]
        batch.append(by_id[row["frame_id"]])
    if batch:
        yield batch


def _regions(context: TaskContext, frame_ids: Sequence[int]) -> list[Row]:
    """Rows of the cutouts of frames."""
    return rows_of(context.workspace.reader, partial(queries.regions_of, context.footprint_hash), frame_ids)


def load_stars(context: TaskContext, items: Sequence[Row]) -> list[FrameStars]:
    """Star cutouts of frames, in the order of the frames."""
    ids = [item["id"] for item in items]
    paths = {row["frame_id"]: row["relpath"] for row in _regions(context, ids)}
    out = []
    for item in items:
        arrays = store.read_product(context.workspace.workdir, paths[item["id"]], prefix="stars")
        head = store.read_product(
            context.workspace.workdir, paths[item["id"]], names=("exptime", "fwhm_px", "frame_shape")
        )
        out.append(FrameStars(item["id"], {**arrays, **head}, item["mjd_mid"]))
    return out


def stack(
    frames: Sequence[FrameStars], chosen: Sequence[NDArray[np.bool_]], *, only_catalogued: bool = False
) -> StarCutouts:
    """Chosen stars of frames as one padded batch; frames must share cutout size and frame shape.

    ``only_catalogued``: leave out neighbours that were seen on the frame itself, for they come and go from
    frame to frame and take light of the star with them.
    """
    counts = [int(use.sum()) for use in chosen]
    k, n = max(1, *counts), frames[0].arrays["data"].shape[-1]
    width = max(frame.arrays["neighbour_present"].shape[1] for frame in frames)
    f = len(frames)
    data, variance = np.zeros((f, k, n, n)), np.ones((f, k, n, n))
    good, present = np.zeros((f, k, n, n), bool), np.zeros((f, k), bool)
    position, offset = np.zeros((f, k, 2)), np.zeros((f, k, 2))
    neighbour, has_neighbour = np.zeros((f, k, width, 2)), np.zeros((f, k, width), bool)
    for i, (frame, use) in enumerate(zip(frames, chosen, strict=True)):
        m, a = counts[i], frame.arrays
        data[i, :m] = a["data"][use]
        variance[i, :m] = np.square(a["background_rms"][use], dtype=float)
        good[i, :m] = frame.good[use]
        present[i, :m] = True
        position[i, :m] = frame.position[use]
        offset[i, :m] = frame.centre_offset[use]
        w = a["neighbour_present"].shape[1]
        corner = a["corner"][use][:, None, :] + (n - 1) / 2
        neighbour[i, :m, :w] = a["neighbours"][use] - corner
        has_neighbour[i, :m, :w] = a["neighbour_present"][use]
        if only_catalogued:
            has_neighbour[i, :m, :w] &= a["neighbour_catalogued"][use]
    shape = frames[0].arrays["frame_shape"]
    return StarCutouts(
        data=data,
        background_variance=variance,
        good=good,
        exposure=np.array([float(frame.arrays["exptime"]) for frame in frames]),
        position=position,
        offset=offset,
        present=present,
        fwhm_px=np.array([float(frame.arrays["fwhm_px"]) for frame in frames]),
        frame_shape=(int(shape[0]), int(shape[1])),
        neighbour_offset=neighbour,
        neighbour_present=has_neighbour,
    )


def saturated_core(frame: FrameStars) -> NDArray[np.bool_]:
    """Stars (K,) with a saturated pixel within about a FWHM of their predicted position."""
    n = frame.arrays["data"].shape[-1]
    grid = np.arange(n) - (n - 1) / 2
    dx = grid[None, None, :] - frame.centre_offset[:, 0, None, None]
    dy = grid[None, :, None] - frame.centre_offset[:, 1, None, None]
    near = np.hypot(dx, dy) < float(frame.arrays["fwhm_px"]) + 1.5
    saturated = (frame.arrays["mask"] & int(Flag.SATURATED)) != 0
    return np.asarray((near & saturated).any(axis=(1, 2)))


def rough_snr(frame: FrameStars) -> NDArray[np.float64]:
    """Signal to noise (K,) of a matched filter at the predicted position; NaN without usable pixels."""
    n = frame.arrays["data"].shape[-1]
    grid = np.arange(n) - (n - 1) / 2
    dx = grid[None, None, :] - frame.centre_offset[:, 0, None, None]
    dy = grid[None, :, None] - frame.centre_offset[:, 1, None, None]
    sigma = float(frame.arrays["fwhm_px"]) / 2.3548
    profile = np.exp(-0.5 * (dx**2 + dy**2) / sigma**2) / (2 * np.pi * sigma**2)
    good = frame.good
    data = np.where(good, frame.arrays["data"], 0.0)
    variance = np.where(good, np.square(frame.arrays["background_rms"], dtype=float), 1.0)
    norm = np.sum(good * profile**2, axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = np.sum(profile * data, axis=(1, 2)) / norm
        photon = np.maximum(flux, 0)[:, None, None] * profile / float(frame.arrays["exptime"])
        information = np.sum(good * profile**2 / (variance + photon), axis=(1, 2))
        return np.asarray(flux * np.sqrt(information))
