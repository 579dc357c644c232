"""Arrays as small pictures inside of the page: one image pixel per data pixel, enlarged by the browser."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from lightwatch.errors import StorageError
from lightwatch.processes.psf_error import psf_error_variance
from lightwatch.structure import frame_store, store
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

#: of the colours of residuals, from one end to the other
RESIDUAL_SIGMA = 5.0
DATA_COLOURS, RESIDUAL_COLOURS = "magma", "RdBu_r"
_FIELD_SIDE_PX = 900
_PSF_DECADES = 4.0
_CUT_ARRAYS = ["frame_id", "data", "exptime"] + [
    f"model/{name}" for name in ("coefficient", "background_variance", "good", "psf_model_error")
]


def palette(colours: str) -> NDArray[np.uint8]:
    """(256, 3) RGB: grey for what is not known, then a colour map from 0 to 1."""
    rgb = colormaps[colours](np.linspace(0, 1, 255))[:, :3]
    return np.vstack([[128, 128, 128], np.round(255 * rgb)]).astype(np.uint8)


def levels(values: ArrayLike) -> NDArray[np.uint8]:
    """Places in a palette of values in [0, 1], clipped; 0 for NaN."""
    array = np.asarray(values, dtype=float)
    known = np.isfinite(array)
    share = np.clip(np.where(known, array, 0.0), 0, 1)
    return np.where(known, 1 + np.round(254 * share), 0).astype(np.uint8)


def picture(values: ArrayLike, colours: str) -> str:
    """(ny, nx) values in [0, 1], row 0 at the bottom, through a colour map: a PNG as data URI."""
    image = Image.fromarray(levels(values)[::-1], mode="P")
    image.putpalette(palette(colours).tobytes())
    return _uri(image, "png", optimize=True)


def _uri(image: Image.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def stretch(values: ArrayLike, low: float, high: float) -> NDArray[np.float64]:
    """asinh stretch of [low, high] onto [0, 1]: faint light shows, bright light keeps its shape."""
    scaled = (np.asarray(values, dtype=float) - low) / max(high - low, np.finfo(float).tiny)
    return np.arcsinh(10 * scaled) / np.arcsinh(10.0)


def residual_sigma(
    data: ArrayLike, model: ArrayLike, variance: ArrayLike, good: ArrayLike
) -> NDArray[np.float64]:
    """Residual in units of its noise; NaN where a pixel is not used."""
    variance = np.asarray(variance, dtype=float)
    usable = np.asarray(good, dtype=bool) & (variance > 0)
    difference = np.asarray(data, dtype=float) - np.asarray(model, dtype=float)
    return np.where(usable, difference / np.sqrt(np.where(usable, variance, 1.0)), np.nan)


def epoch_variance(cut: dict[str, Any], t: int, model: NDArray) -> NDArray[np.float64]:
    """That by which the joint model weighs the pixels (n, n) of epoch ``t`` of prepared cutouts."""
    photons = np.maximum(model, 0) / cut["exptime"][t]
    granted = psf_error_variance(model, cut["model/psf_model_error"][t])
    return np.asarray(cut["model/background_variance"][t] + photons + granted)


def psf_picture(workspace: Workspace, row: Row) -> str | None:
    """The PSF of a frame at the ROI over four decades, or None when its product cannot be read."""
    try:
        grid = store.read_product(workspace.workdir, row["relpath"], names=["full_psf"])["full_psf"]
    except StorageError:
        return None
    share = np.log10(np.maximum(grid / grid.max(), 10**-_PSF_DECADES))
    return picture(1 + share / _PSF_DECADES, "viridis")


def field_picture(workspace: Workspace, frame: Row) -> str | None:
    """A frame, at most 900 px wide or high; None when its file is not there."""
    try:
        image = frame_store.read_stored_frame(workspace.workdir, frame["image_relpath"]).image
    except StorageError:
        return None
    step = max(1, int(np.ceil(max(image.shape) / _FIELD_SIDE_PX)))
    ny, nx = (side // step * step for side in image.shape)
    coarse = np.nan_to_num(image[:ny, :nx]).reshape(ny // step, step, nx // step, step).mean(axis=(1, 3))
    low, high = np.percentile(coarse, [20, 99.7])
    grey = np.round(255 * np.clip(stretch(coarse, low, high), 0, 1)).astype(np.uint8)
    return _uri(Image.fromarray(grey[::-1]), "jpeg", quality=82)


@dataclass(frozen=True)
class Pixels:
    """One epoch of an ROI: (n, n) data and model stretched onto [0, 1], residual in sigma; NaN: not used.

    sigma is of the noise of chi2: with the error ``granted`` to the PSF, a fraction of the light.
    """

    frame_id: int
    chi2: float | None
    granted: float
    data: NDArray[np.float64]
    model: NDArray[np.float64]
    residual: NDArray[np.float64]


class RoiProducts:
    """Prepared cutouts and model of a row of roi_models, as read.

    Raises
    ------
    StorageError
        When one of them cannot be read.
    """

    def __init__(self, workspace: Workspace, row: Row) -> None:
        self.cut = store.read_product(workspace.workdir, row["cutouts_relpath"], names=_CUT_ARRAYS)
        self.fit = store.read_product(workspace.workdir, row["model_relpath"])
        self._places = {int(frame): t for t, frame in enumerate(self.cut["frame_id"])}
        self._models = {int(frame): t for t, frame in enumerate(self.fit["frame_id"])}
        self.frame_ids = [frame for frame in self._places if frame in self._models]

    def pixels(self, frame_id: int) -> Pixels:
        """Pixels of one of ``frame_ids``."""
        cut, fit = self.cut, self.fit
        t, m = self._places[frame_id], self._models[frame_id]
        model = fit["solution/model"][m]
        data = cut["data"][t] * cut["model/coefficient"][t]
        shown = np.where(cut["model/good"][t], data, np.nan)
        low, high = _range(shown, model)
        chi2 = fit["solution/reduced_chi2"][m] if "solution/reduced_chi2" in fit else np.nan
        return Pixels(
            frame_id=frame_id,
            chi2=float(chi2) if np.isfinite(chi2) else None,
            granted=float(cut["model/psf_model_error"][t]),
            data=stretch(shown, low, high),
            model=stretch(model, low, high),
            residual=residual_sigma(
                data,
                model,
                epoch_variance(cut, t, model),
                cut["model/good"][t] & ~fit["solution/rejected"][m].astype(bool),
            ),
        )


def triple(pixels: Pixels) -> tuple[str, str, str]:
    """Data, model and residual as data URIs."""
    return (
        picture(pixels.data, DATA_COLOURS),
        picture(pixels.model, DATA_COLOURS),
        picture(0.5 + pixels.residual / (2 * RESIDUAL_SIGMA), RESIDUAL_COLOURS),
    )


def _range(data: NDArray, model: NDArray) -> tuple[float, float]:
    known = data[np.isfinite(data)]
    low = float(np.percentile(known, 20)) if known.size else 0.0
    top = model[np.isfinite(model)]
    return low, float(max(top.max(initial=low), low + 1e-9))
