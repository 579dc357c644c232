"""The point sources of an ROI on its extended light at a resolution of their own, with their names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightwatch.report.orientation import Rose, rose_of
from lightwatch.report.pictures import DATA_COLOURS, picture, stretch

_FWHM_PX, _STEPS, _SIDE_PX = 1.0, 4, 200
#: side of the drawing that the page shows
_VIEW = 200.0


@dataclass(frozen=True)
class SharpPicture:
    """``picture``: data URI, square, ``view`` wide; ``sources``: (x, y, name) there, y down; ``extended``: with light
    of more than the point sources."""

    picture: str
    view: float
    sources: list[tuple[float, float, str]]
    rose: Rose
    extended: bool


def sharp_picture(fit: dict[str, NDArray]) -> SharpPicture | None:
    """Of a model's product; None where there is no light, or the model is of another version."""
    # JAX, which takes a second to import
    from lightwatch.processes.roi_render import high_resolution_image
    from lightwatch.processes.roi_types import ROISolution

    try:
        solution = ROISolution.from_arrays(
            {name.removeprefix("solution/"): value for name, value in fit.items()}
        )
        reference, labels = np.asarray(fit["reference_px_per_arcsec"]), [str(one) for one in fit["labels"]]
    except KeyError:
        return None
    size = min(solution.model.shape[-1], _SIDE_PX // _STEPS)
    image = high_resolution_image(solution, fwhm_px=_FWHM_PX, subsampling_factor=_STEPS, size_px=size)
    if not image.max() > 0:
        return None
    per_px = _VIEW * _STEPS / len(image)
    return SharpPicture(
        picture=picture(stretch(image, 0.0, float(image.max())), DATA_COLOURS),
        view=_VIEW,
        sources=[
            (float(_VIEW / 2 + per_px * x), float(_VIEW / 2 - per_px * y), name)
            for name, (x, y) in zip(labels, solution.position_px, strict=False)  # then stars of the catalogue
        ],
        rose=rose_of(per_px * reference, _VIEW),
        extended=bool(solution.background.size and np.ptp(solution.background)),
    )
