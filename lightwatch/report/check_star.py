"""The check star of an ensemble: a reference star near the target's magnitude, and its own magnitude on every frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightwatch.flags import DOUBTFUL
from lightwatch.structure import queries, queries_report
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_MEASURED_OFTEN = 0.9  # of the frames of the star that was measured on most of them


@dataclass(frozen=True)
class CheckStar:
    """``name``: id in the catalogue; ``mags``: measured, by frame id, on the zero point of the light curve."""

    name: str
    mags: Mapping[int, float]
    catalog_mag: float | None
    catalog_error: float | None


def check_star(workspace: Workspace, rows: Sequence[Row]) -> CheckStar | None:
    """For points of one source in one filter; None where there are no magnitudes, or no star is steady.

    Of the stars measured on nearly all frames, the one whose magnitude is nearest to the median of the source's.
    """
    told = [row for row in rows if row["zeropoint"] is not None]
    brightness = [row["mag_limit"] if row["mag"] is None else row["mag"] for row in told]
    known = [mag for mag in brightness if mag is not None]
    if not known:
        return None
    target, scale = float(np.median(known)), float(np.median([row["zeropoint"] for row in told]))
    name, band = told[0]["filter"], workspace.config.zeropoints.band
    stars = queries.rows(workspace.reader, queries_report.steady_stars(name, band))
    often = _MEASURED_OFTEN * max((star["n_frames"] for star in stars), default=0)
    stars = [star for star in stars if star["n_frames"] >= often]
    if not stars:
        return None
    # they come in order of their ids: of two that are equally near, the first
    star = min(stars, key=lambda star: abs(scale - 2.5 * np.log10(star["mean_flux"]) - target))
    zeropoint = {row["frame_id"]: row["zeropoint"] for row in told}
    return CheckStar(
        name=star["original_catalog_id"] or str(star["star_gaia_id"]),
        mags={
            point["frame_id"]: float(zeropoint[point["frame_id"]] - 2.5 * np.log10(point["normalised_flux"]))
            for point in queries.rows(
                workspace.reader, queries_report.fluxes_of_star(star["star_gaia_id"], name)
            )
            if point["frame_id"] in zeropoint
            and (point["normalised_flux"] or 0) > 0
            and not point["flags"] & DOUBTFUL
        },
        catalog_mag=star["mag"],
        catalog_error=star["mag_err"],
    )
