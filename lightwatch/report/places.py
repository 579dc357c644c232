"""Where on their frames the point sources of light curves are, for whoever looks for trends with the position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Engine

from lightwatch.errors import AstrometryError
from lightwatch.processes.astrometry_sky import parse_wcs, sky_to_pixel
from lightwatch.structure import queries, queries_report
from lightwatch.structure.queries import Row


def with_places(reader: Engine, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Points of light curves with ``x`` and ``y``, px, centre of the first pixel (0, 0); None without a WCS."""
    wanted: dict[int, list[int]] = {}
    for i, row in enumerate(rows):
        wanted.setdefault(row["frame_id"], []).append(i)
    sky = {
        (row["roi"], row["name"]): (row["ra"], row["dec"])
        for row in queries.rows(reader, queries_report.point_sources())
    }
    told: list[dict[str, Any]] = [{**row, "x": None, "y": None} for row in rows]
    for frame in queries.stream(reader, queries_report.wcs_of_frames()):
        points = [told[i] for i in wanted.get(frame.id, ())]
        if not points:
            continue
        ra, dec = np.array([sky[point["roi"], point["point_source"]] for point in points]).T
        try:
            pixels = sky_to_pixel(parse_wcs(frame.wcs), ra, dec)
        except AstrometryError:  # written into the database by hand
            continue
        for point, (x, y) in zip(points, pixels.tolist(), strict=True):
            point.update(x=x, y=y)
    return told
