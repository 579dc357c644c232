"""Arrays as small pictures inside of the page: one image pixel per data pixel, enlarged by the browser."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.image import imsave
from numpy.typing import ArrayLike, NDArray

from lightwatch.errors import StorageError
from lightwatch.structure import frame_store, store
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_RESIDUAL_SIGMA = 5.0
_FIELD_SIDE_PX = 900
_PSF_DECADES = 4.0


@dataclass(frozen=True)
class Epoch:
    """Data, model and residual of one epoch of an ROI as data URIs, and what to say of it."""

    title: str
    frame_id: int
    chi2: float | None
    data: str
    model: str
    residual: str


@dataclass(frozen=True)
class RoiPictures:
    """Some epochs of an ROI in a filter, and the extended light common to all (or None)."""

    roi: str
    filter: str
    epochs: list[Epoch]
    background: str | None
    problem: str | None


def data_uri(rgb: NDArray[np.uint8], kind: str = "png") -> str:
    """A (ny, nx, 3) picture, row 0 at the bottom, as data URI."""
    buffer = io.BytesIO()
    imsave(buffer, rgb, format=kind, origin="lower", pil_kwargs={"quality": 82} if kind == "jpeg" else None)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def coloured(values: ArrayLike, colours: str) -> NDArray[np.uint8]:
    """(ny, nx) values in [0, 1] through a colour map; NaN is grey."""
    array = np.asarray(values, dtype=float)
    rgb = colormaps[colours](np.clip(np.nan_to_num(array), 0, 1))[..., :3]
    return np.where(np.isfinite(array)[..., None], 255 * rgb, 128).round().astype(np.uint8)


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


def psf_picture(workspace: Workspace, row: Row) -> str | None:
    """The PSF of a frame at the ROI over four decades, or None when its product cannot be read."""
    try:
        grid = store.read_product(workspace.workdir, row["relpath"], names=["full_psf"])["full_psf"]
    except StorageError:
        return None
    share = np.log10(np.maximum(grid / grid.max(), 10**-_PSF_DECADES))
    return data_uri(coloured(1 + share / _PSF_DECADES, "viridis"))


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
    return data_uri(coloured(stretch(coarse, low, high), "gray"), "jpeg")


def roi_pictures(workspace: Workspace, row: Row, chosen: dict[int, str]) -> RoiPictures:
    """Data, model and residual for the frames ``chosen`` (id to title) of a row of roi_models."""
    named = {"roi": row["roi"], "filter": row["filter"]}
    if row["model_relpath"] is None:
        return RoiPictures(**named, epochs=[], background=None, problem="not modelled yet")
    wanted = ["frame_id", "data", "exptime", "model/coefficient", "model/background_variance", "model/good"]
    try:
        cut = store.read_product(workspace.workdir, row["cutouts_relpath"], names=wanted)
        fit = store.read_product(workspace.workdir, row["model_relpath"])
    except StorageError as error:
        return RoiPictures(**named, epochs=[], background=None, problem=str(error))
    places = {int(frame): t for t, frame in enumerate(cut["frame_id"])}
    models = {int(frame): t for t, frame in enumerate(fit["frame_id"])}
    epochs = [
        _epoch(cut, places[frame], fit, models[frame], title)
        for frame, title in chosen.items()
        if frame in places and frame in models
    ]
    return RoiPictures(**named, epochs=epochs, background=_background(fit), problem=None)


def _epoch(cut: dict[str, NDArray], t: int, fit: dict[str, NDArray], m: int, title: str) -> Epoch:
    good = cut["model/good"][t] & ~fit["solution/rejected"][m]
    model = fit["solution/model"][m]
    data = cut["data"][t] * cut["model/coefficient"][t]
    variance = cut["model/background_variance"][t] + np.maximum(model, 0) / cut["exptime"][t]
    sigma = residual_sigma(data, model, variance, good)
    shown = np.where(cut["model/good"][t], data, np.nan)
    low, high = _range(shown, model)
    chi2 = fit["solution/reduced_chi2"][m] if "solution/reduced_chi2" in fit else np.nan
    return Epoch(
        title=title,
        frame_id=int(cut["frame_id"][t]),
        chi2=float(chi2) if np.isfinite(chi2) else None,
        data=data_uri(coloured(stretch(shown, low, high), "magma")),
        model=data_uri(coloured(stretch(model, low, high), "magma")),
        residual=data_uri(coloured(0.5 + sigma / (2 * _RESIDUAL_SIGMA), "RdBu_r")),
    )


def _range(data: NDArray, model: NDArray) -> tuple[float, float]:
    known = data[np.isfinite(data)]
    low = float(np.percentile(known, 20)) if known.size else 0.0
    top = model[np.isfinite(model)]
    return low, float(max(top.max(initial=low), low + 1e-9))


def _background(fit: dict[str, NDArray]) -> str | None:
    image = fit.get("background_image")
    if image is None or not image.size or not np.ptp(image):
        return None
    return data_uri(coloured(stretch(image, min(0.0, float(image.min())), float(image.max())), "magma"))
