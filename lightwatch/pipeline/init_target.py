"""Whether a target can be in the frames, by where their headers say that the telescope pointed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lightwatch.errors import LightwatchError
from lightwatch.pipeline.init_place import pointing, position_keys, position_of, separation_deg
from lightwatch.pipeline.init_sample import SampledHeader
from lightwatch.processes.astrometry_sky import parse_wcs, sky_to_pixel
from lightwatch.structure.frames import header_wcs

_FAR_DEG = 2.0  # farther from the pointing, no target is in a frame
_POINTING_ERROR = 1.2  # of a nominal pointing: so many half diagonals from it may still be in the frame
_WCS_ERROR = 0.05  # of the sides of a frame, which a WCS may be off

Position = tuple[float, float]


def remarks_on_target(
    target: Position, items: Sequence[SampledHeader], *, scale_arcsec: float | None, wcs_checked: bool
) -> list[str]:
    """A remark where the target cannot be in the frames, such as hours given as degrees.

    ``scale_arcsec``: per pixel, for frames without a WCS; None not known. ``wcs_checked``: stars were compared.
    """
    where = pointing([item.header for item in items])
    if where is None:
        return []
    distance = separation_deg(target, where)
    told = "{:.4f} {:+.4f}".format(*where)
    by_wcs = any(position_keys(item.header) == ("CRVAL1", "CRVAL2") for item in items)
    doubt = "; not checked: no star table" if by_wcs and not wcs_checked else ""
    if distance >= _FAR_DEG:
        in_hours = separation_deg(((target[0] * 15) % 360, target[1]), where) < _FAR_DEG
        hint = "; a right ascension is in degrees unless it is written as 02:04:10.2" if in_hours else ""
        return [
            f"rois: the target is {distance:.1f} degrees from where the telescope pointed ({told}{doubt}){hint}"
        ]
    inside = [_is_inside(target, item, scale_arcsec) for item in items]
    if not any(answer is False for answer in inside) or any(inside):
        return []
    return [
        f"rois: the target is in none of the {len(items)} frames looked at, {distance:.2f} degrees from where the "
        f"telescope pointed ({told}{doubt})"
    ]


def wcs_text(item: SampledHeader) -> str | None:
    """The WCS of a header; None without one that can be read."""
    try:
        return header_wcs(item.header, name=item.path.name)
    except LightwatchError:
        return None


def _is_inside(target: Position, item: SampledHeader, scale_arcsec: float | None) -> bool | None:
    """None: nothing tells."""
    ny, nx = item.shape
    text = wcs_text(item)
    if text is not None:
        x, y = sky_to_pixel(parse_wcs(text), *(np.array([angle]) for angle in target))[0]
        return bool(abs(x / nx - 0.5) < 0.5 + _WCS_ERROR and abs(y / ny - 0.5) < 0.5 + _WCS_ERROR)
    position = position_of(item.header)
    if position is None or scale_arcsec is None:
        return None
    half_diagonal = math.hypot(nx, ny) / 2.0 * scale_arcsec / 3600.0
    return separation_deg(target, position) < _POINTING_ERROR * half_diagonal
