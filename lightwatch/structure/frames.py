"""Raw frames: reading one file of unknown origin into an array, safely.

Every failure is a FrameError whose reason code is one of ``not_regular``, ``unreadable``, ``not_fits``,
``truncated``, ``bad_header``, ``bad_pixels:<why>``, ``bad_shape``, ``bad_wcs``, ``too_large``.
Nothing is allocated before its declared size has been compared with the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lightwatch.errors import FrameError
from lightwatch.structure.frames_discovery import (
    Discovery,
    FoundFile,
    content_hash,
    find_files,
    is_settled,
)
from lightwatch.structure.frames_guard import HduInfo, ReadLimits, open_fits, shown
from lightwatch.structure.frames_headers import FrameKind, classify_frame, header_wcs, merged_header
from lightwatch.structure.frames_pixels import StoredPlane, read_header, stored_plane

__all__ = [
    "Discovery",
    "FoundFile",
    "FrameKind",
    "HduInfo",
    "RawFrame",
    "ReadLimits",
    "check_pixels",
    "classify_frame",
    "content_hash",
    "find_files",
    "header_wcs",
    "is_settled",
    "read_frame",
    "shown",
    "trimmed",
]

_COMPANIONS = {"BPM", "MASK", "DQ", "ERR", "VAR", "WHT", "WEIGHT", "IVAR", "CAT"}
_SAMPLE = 500_000  # pixels are enough to see that nearly all are equal
_FEWEST_VALUES = 3  # that light and noise leave in pixels
_SPREAD_RANGE = (1e-12, 1e12)  # in single precision squares of such numbers can still be summed
_MAP_NAMES = ("BPM", "MASK", "DQ")


@dataclass(frozen=True)
class RawFrame:
    """One image as the instrument wrote it."""

    image: NDArray[np.float32]  # (ny, nx), ADU, BZERO and BSCALE applied, BLANK is NaN
    good: NDArray[np.bool_]  # (ny, nx), finite and not in the bad-pixel map
    header: fits.Header  # merged
    hdu_index: int  # of the image
    has_bad_pixel_map: bool
    ceiling_adu: float  # largest value that the stored integers can hold; NaN for floats
    damaged: bool  # the pixels are not those whose checksum (DATASUM) was written
    notes: tuple[str, ...]  # odd but legal things, a line each


def read_frame(
    path: Path,
    *,
    hdu_data: int | str | None,
    hdu_headers: Sequence[int] | None,
    hdu_bad_pixels: int | str | None,
    limits: ReadLimits,
) -> RawFrame:
    """Read one 2-D image and its merged header.

    ``hdu_data`` is an index or EXTNAME; None takes the extension named SCI, else the first 2-D image.
    ``hdu_headers`` None merges the primary header and the image's own (later ones win).
    ``hdu_bad_pixels`` names an extension where 0 is good; None for none; "auto" takes one named BPM,
    MASK or DQ when it is there and has the image's shape.

    Raises FrameError.
    """
    name = shown(path)
    stream, infos = open_fits(path, limits)
    with stream:
        science = _science_hdu(infos, hdu_data, name)
        companion = _bad_pixel_hdu(infos, hdu_bad_pixels, science, name)
        wanted = [0, science.index] if hdu_headers is None else list(hdu_headers)
        stored = stored_plane(stream, science, name)
        headers = {i: read_header(stream, _find(infos, i, name), name) for i in {*wanted} - {science.index}}
        headers[science.index] = stored.header
        image, ceiling = _physical(stored, science, name)
        good = np.isfinite(image)
        if companion is not None:
            for rows, bad in stored_plane(stream, companion, name).strips():
                good[rows] &= bad == 0
    header, notes = merged_header([headers[i] for i in dict.fromkeys(wanted)], name=name)
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, image.shape[1], image.shape[0]
    return RawFrame(
        image=image,
        good=good,
        header=header,
        hdu_index=science.index,
        has_bad_pixel_map=companion is not None,
        ceiling_adu=ceiling,
        damaged=stored.damaged(),
        notes=notes,
    )


def _find(infos: Sequence[HduInfo], wanted: int | str, name: str) -> HduInfo:
    for hdu in infos:
        if wanted == hdu.index or (isinstance(wanted, str) and wanted.upper() == hdu.name):
            return hdu
    raise FrameError("bad_shape", f"{name}: there is no HDU {shown(str(wanted))}; it has {len(infos)}")


def _science_hdu(infos: Sequence[HduInfo], wanted: int | str | None, name: str) -> HduInfo:
    if wanted is not None:
        hdu = _find(infos, wanted, name)
        if not hdu.plane or 0 in hdu.plane:
            raise FrameError(
                "bad_shape", f"{name}: HDU {hdu.index} is no 2-D image (its shape is {hdu.shape})"
            )
        return hdu
    planes = [hdu for hdu in infos if hdu.plane and 0 not in hdu.plane and hdu.name not in _COMPANIONS]
    if not planes:
        shapes = ", ".join(str(hdu.shape) for hdu in infos[:8] if hdu.is_image)
        raise FrameError("bad_shape", f"{name}: holds no 2-D image (image HDUs have the shapes {shapes})")
    return next((hdu for hdu in planes if hdu.name == "SCI"), planes[0])


def _bad_pixel_hdu(
    infos: Sequence[HduInfo], wanted: int | str | None, science: HduInfo, name: str
) -> HduInfo | None:
    if wanted is None:
        return None
    if wanted == "auto":
        named = [hdu for hdu in infos if hdu.name in _MAP_NAMES and hdu.plane == science.plane]
        return named[0] if named else None
    hdu = _find(infos, wanted, name)
    if hdu.plane != science.plane:
        raise FrameError(
            "bad_shape", f"{name}: bad-pixel map (HDU {hdu.index}) and image have different shapes"
        )
    return hdu


def _physical(stored: StoredPlane, info: HduInfo, name: str) -> tuple[NDArray[np.float32], float]:
    """Physical values as float32, and the largest value that stored integers can stand for."""
    header = stored.header
    scale, zero = (_number(header, key, default, name) for key, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
    if scale == 0:
        raise FrameError("bad_pixels:scale", f"{name}: BSCALE is 0, every pixel would have one value")
    blank = int(_number(header, "BLANK", 0.0, name)) if "BLANK" in header else None
    ceiling = np.nan
    image = np.empty(info.plane or (0, 0), np.float32)
    for rows, raw in stored.strips():
        if raw.dtype.kind not in "iuf" or raw.shape != image[rows].shape:
            raise FrameError("bad_shape", f"{name}: no 2-D image of numbers")
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32: inf, which is not good
            image[rows] = raw if (scale, zero) == (1.0, 0.0) else raw * scale + zero
        if raw.dtype.kind in "iu":
            ceiling = max(
                float(np.iinfo(raw.dtype).max) * scale + zero, float(np.iinfo(raw.dtype).min) * scale + zero
            )
            if blank is not None:
                image[rows][raw == blank] = np.nan
    return image, ceiling


def _number(header: fits.Header, key: str, default: float, name: str) -> float:
    try:
        value = header.get(key, default)
    except fits.VerifyError:
        value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise FrameError("bad_header", f"{name}: {key} is not a number")
    return float(value)


def check_pixels(
    image: NDArray[np.float32],
    good: NDArray[np.bool_],
    *,
    name: str,
    min_side_px: int,
    min_good_fraction: float,
    saturation_adu: float,
    max_saturated_fraction: float,
) -> None:
    """Raise FrameError(bad_shape or bad_pixels:<why>) when no photometry can come from these pixels.

    ``why`` is one of ``not_finite``, ``masked``, ``zero``, ``constant``, ``few_values``,
    ``range``, ``saturated``.
    ``saturation_adu`` NaN: unknown, not tested.
    """
    shown_name = shown(name)
    if min(image.shape) < min_side_px:
        ny, nx = image.shape
        raise FrameError("bad_shape", f"{shown_name}: {nx} x {ny} pixels, {min_side_px} on a side are needed")
    n_finite = sum(np.count_nonzero(np.isfinite(row)) for row in image)
    n_good = sum(np.count_nonzero(good[y] & np.isfinite(image[y])) for y in range(len(image)))
    for why, n in (("not_finite", n_finite), ("masked", n_good)):
        if n == 0 or n < min_good_fraction * image.size:
            raise FrameError(
                f"bad_pixels:{why}",
                f"{shown_name}: only {n / image.size:.0%} of the pixels can be used ({why})",
            )
    full = sum(np.count_nonzero(image[y][good[y]] >= saturation_adu) for y in range(len(image))) / n_good
    if full > max_saturated_fraction:
        raise FrameError("bad_pixels:saturated", f"{shown_name}: {full:.0%} of the pixels are saturated")
    _check_sample(_sample_of(image, good), shown_name)


def _sample_of(image: NDArray[np.float32], good: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Good pixels, not more than needed; the odd step does not fall into step with patterns of the detector."""
    step = max(1, image.size // _SAMPLE) | 1
    values, use = image.ravel()[::step], good.ravel()[::step]
    return values[use & np.isfinite(values)]


def _check_sample(sample: NDArray[np.float32], name: str) -> None:
    low, high = np.percentile(sample, [0.1, 99.9])
    if low == high:
        why = "zero" if low == 0 else "constant"
        raise FrameError(f"bad_pixels:{why}", f"{name}: nearly every pixel is {low:g}; nothing was exposed")
    if len(np.unique(sample)) < _FEWEST_VALUES:
        raise FrameError(
            "bad_pixels:few_values", f"{name}: only {len(np.unique(sample))} values; a test pattern?"
        )
    if not _SPREAD_RANGE[0] < high - low < _SPREAD_RANGE[1]:
        told = f"{name}: pixels spread over {high - low:g}, expected {_SPREAD_RANGE[0]:g} to {_SPREAD_RANGE[1]:g}"
        raise FrameError("bad_pixels:range", told)


def trimmed(frame: RawFrame, *, vertical_px: int, horizontal_px: int) -> RawFrame:
    """The frame without ``vertical_px`` rows and ``horizontal_px`` columns on each side; CRPIX follows.

    Raises FrameError(bad_shape) when nothing would be left.
    """
    if vertical_px == 0 and horizontal_px == 0:
        return frame
    ny, nx = frame.image.shape
    if 2 * vertical_px >= ny or 2 * horizontal_px >= nx:
        raise FrameError(
            "bad_shape", f"trimming {horizontal_px} and {vertical_px} px leaves nothing of {nx} x {ny}"
        )
    inner = (slice(vertical_px, ny - vertical_px), slice(horizontal_px, nx - horizontal_px))
    header = frame.header.copy()
    for key, cut in (("CRPIX1", horizontal_px), ("CRPIX2", vertical_px)):
        if isinstance(header.get(key), int | float):
            header[key] -= cut
    image = frame.image[inner].copy()
    header["NAXIS1"], header["NAXIS2"] = image.shape[1], image.shape[0]
    return replace(frame, image=image, good=frame.good[inner].copy(), header=header)
