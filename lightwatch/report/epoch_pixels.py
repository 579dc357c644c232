"""Data, model and residual of many epochs as bytes that the page's script paints: a third of what pictures take."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np

from lightwatch.report.pictures import (
    DATA_COLOURS,
    RESIDUAL_COLOURS,
    RESIDUAL_SIGMA,
    Pixels,
    RoiProducts,
    levels,
    palette,
)


def palettes() -> dict[str, str]:
    """The colours of values 0 (not used) to 255 as base64 of RGB triples."""
    return {
        kind: base64.b64encode(palette(colours).tobytes()).decode("ascii")
        for kind, colours in (("data", DATA_COLOURS), ("residual", RESIDUAL_COLOURS))
    }


def bytes_per_epoch(products: RoiProducts) -> int:
    """Length of an epoch in base64."""
    return 4 * int(np.prod(products.cut["data"].shape[1:]))


def evenly(ids: list[int], count: int, wanted: Iterable[int]) -> list[int]:
    """At most about ``count`` of ``ids`` in their order: all of ``wanted`` that are there, the others evenly."""
    if len(ids) <= count:
        return ids
    kept = {ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, max(count, 1)).astype(int))}
    kept |= set(wanted) & set(ids)
    return [one for one in ids if one in kept]


def packed(products: RoiProducts, frame_ids: list[int], index: dict[int, int]) -> dict[str, Any]:
    """Epochs one after the other: data, model, residual, rows from the bottom; ``index``: place of a frame's id."""
    height, width = products.cut["data"].shape[1:]
    pixels = [products.pixels(frame) for frame in frame_ids]
    return {
        "width": int(width),
        "height": int(height),
        "frame": [index[frame] for frame in frame_ids],
        "granted": [round(one.granted, 4) for one in pixels],
        # a multiple of three bytes per epoch: each can be decoded by itself
        "bytes": "".join(base64.b64encode(_bytes(one)).decode("ascii") for one in pixels),
    }


def _bytes(pixels: Pixels) -> bytes:
    shares = (pixels.data, pixels.model, 0.5 + pixels.residual / (2 * RESIDUAL_SIGMA))
    return b"".join(levels(values).tobytes() for values in shares)
