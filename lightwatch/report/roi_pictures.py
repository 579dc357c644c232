"""What a report shows of the joint model of an ROI in a filter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightwatch.report.pictures import DATA_COLOURS, RoiProducts, picture, stretch, triple
from lightwatch.report.sharp_picture import SharpPicture, sharp_picture
from lightwatch.structure.queries import Row


@dataclass(frozen=True)
class Epoch:
    """Data, model and residual of one epoch of an ROI as data URIs, and what to say of it.

    ``granted``: error of the PSF itself, as a fraction of the light, that chi2 and residual allow for.
    """

    title: str
    frame_id: int
    chi2: float | None
    granted: float
    data: str
    model: str
    residual: str


@dataclass(frozen=True)
class RoiPictures:
    """Some epochs of an ROI in a filter, the extended light common to all, and that with the point sources."""

    roi: str
    filter: str
    epochs: list[Epoch]
    background: str | None
    sharp: SharpPicture | None
    problem: str | None


def roi_pictures(products: RoiProducts, row: Row, chosen: dict[int, str]) -> RoiPictures:
    """Data, model and residual for the frames ``chosen`` (id to title) of a row of roi_models."""
    epochs = []
    for frame, title in chosen.items():
        if frame in products.frame_ids:
            pixels = products.pixels(frame)
            data, model, residual = triple(pixels)
            epochs.append(Epoch(title, frame, pixels.chi2, pixels.granted, data, model, residual))
    sharp = sharp_picture(products.fit)
    return RoiPictures(row["roi"], row["filter"], epochs, _background(products.fit), sharp, None)


def no_pictures(row: Row, problem: str) -> RoiPictures:
    """A model that has nothing to show, and why."""
    return RoiPictures(row["roi"], row["filter"], [], None, None, problem)


def _background(fit: dict[str, NDArray]) -> str | None:
    image = fit.get("background_image")
    if image is None or not image.size or not np.ptp(image):
        return None
    return picture(stretch(image, min(0.0, float(image.min())), float(image.max())), DATA_COLOURS)
