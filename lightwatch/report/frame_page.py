"""A page per frame: its ROIs, PSF and stars as data, model and residual, and its story through the tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightwatch.errors import StorageError
from lightwatch.flags import Flag
from lightwatch.pipeline.displaced import full_name
from lightwatch.report.page_pixels import frame_name
from lightwatch.report.pictures import RoiProducts, psf_picture, triple
from lightwatch.report.sky_map import name_of_magnitudes
from lightwatch.report.star_strips import StarStrips, star_strips
from lightwatch.report.summary import date_of
from lightwatch.structure import queries, queries_overview, queries_report
from lightwatch.structure.magnitude_systems import INSTRUMENTAL
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_FACTS = (
    ("Seeing", "seeing_arcseconds", "{:.2f}″"),
    ("Ellipticity of the stars", "ellipticity", "{:.3f}"),
    ("Sky", "sky_level_electron_per_second", "{:.3g} e⁻/s per pixel"),
    ("Airmass", "airmass", "{:.2f}"),
    ("Normalization coefficient", "coefficient", "{:.4f}"),
    ("Zero point", "zeropoint", "{:.3f}"),
    ("PSF, reduced χ²", "psf_chi2", "{:.2f}"),
    ("Reserved stars, reduced χ²", "psf_reserved_chi2", "{:.2f}"),
    ("5σ limit, mag", "limiting_magnitude", "{:.2f}"),
    ("Sun, degrees above the horizon", "sun_altitude", "{:.1f}"),
    ("Degrees to the Moon", "degrees_to_moon", "{:.0f}"),
    ("Astrometric scatter, α", "astrometric_rms_ra_arcsec", "{:.3f}″"),
    ("Astrometric scatter, δ", "astrometric_rms_dec_arcsec", "{:.3f}″"),
)


@dataclass(frozen=True)
class RoiStrip:
    """An ROI on the frame as data URIs."""

    title: str
    chi2: float | None
    granted: float
    data: str
    model: str
    residual: str


def _flags(bits: int) -> str:
    return ", ".join(Flag(bits).names).replace("_", " ") or "none"


class FramePages:
    """What the pages of many frames share; products of an ROI are read once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        footprint = queries.rows(workspace.reader, queries.current_footprint())
        self._hash = footprint[0]["hash"] if footprint else ""
        self._mag_name = name_of_magnitudes(footprint[0] if footprint else None)
        band = workspace.config.zeropoints.band
        rows = queries.rows(workspace.reader, queries_report.quality_of_frames(self._hash, band))
        self._order = [row["id"] for row in rows]
        self._frames = dict(zip(self._order, rows, strict=True))
        self._models = queries.rows(workspace.reader, queries_report.roi_models_of(self._hash))
        self._products: dict[int, RoiProducts | None] = {}

    @property
    def ids(self) -> Sequence[int]:
        """Ids of all frames, in order of time."""
        return self._order

    def stamp(self, frame_id: int) -> str:
        """Changes when anything that a page shows has changed."""
        told = [
            {k: v for k, v in self._frames[frame_id].items() if k != "wcs"},
            [dict(row) for row in self._story(frame_id)],
            [row["model_sha256"] for row in self._own_models(frame_id)],
            [dict(row) for row in self._points(frame_id)],
        ]
        return hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest()[:16]

    def words(self, frame_id: int) -> Mapping[str, Any]:
        """What the template needs, but for links to other pages."""
        frame = self._frames[frame_id]
        psfs = queries.rows(self._workspace.reader, queries.psfs_of(self._hash, [frame_id]))
        return {
            "title": ", ".join(self._workspace.config.rois),
            "frame": frame,
            "name": frame_name(frame),
            "date": date_of(frame["mjd_mid"]),
            "facts": self._facts(frame),
            "rois": self._rois(frame_id),
            "psf": psf_picture(self._workspace, psfs[0]) if psfs else None,
            "stars": star_strips(self._workspace, self._hash, psfs[0]) if psfs else StarStrips(),
            "mag_name": self._mag_name,
            "story": [
                {**row, "flag_names": _flags(row["flags"]) if row["flags"] else ""}
                for row in self._story(frame_id)
            ],
        }

    def name(self, frame_id: int) -> str:
        """Name of a frame's raw file."""
        return frame_name(self._frames[frame_id])

    def _facts(self, frame: Row) -> list[tuple[str, str]]:
        instrumental = {"limiting_magnitude": " (instrumental)"} if frame["system"] == INSTRUMENTAL else {}
        known = [
            (label + instrumental.get(k, ""), form.format(frame[k]))
            for label, k, form in _FACTS
            if frame[k] is not None
        ]
        facts = [*known, ("Flags of the frame", _flags(frame["flags"] | (frame["psf_flags"] or 0)))]
        by_flags: dict[str, list[str]] = {}
        for row in self._points(frame["id"]):
            source = full_name(row["roi"], row["point_source"])
            by_flags.setdefault(_flags(row["flags"]), []).append(source)
        if len(by_flags) == 1:
            return [*facts, ("Flags of its points", next(iter(by_flags)))]
        told = [f"{', '.join(sources)}: {flags}" for flags, sources in by_flags.items()]
        return [*facts, ("Flags of its points", "; ".join(told))] if told else facts

    def _points(self, frame_id: int) -> list[Row]:
        return queries.rows(self._workspace.reader, queries_overview.light_curve_points(frame_id))

    def _story(self, frame_id: int) -> list[Row]:
        found = queries.rows(self._workspace.reader, queries.story_of_frame(frame_id))
        return [row for row in found if row["combined_footprint_hash"] in ("", self._hash)]

    def _own_models(self, frame_id: int) -> list[Row]:
        name = self._frames[frame_id]["filter"] or ""
        return [row for row in self._models if row["filter"] == name and row["model_relpath"] is not None]

    def _rois(self, frame_id: int) -> list[RoiStrip]:
        out = []
        for row in self._own_models(frame_id):
            products = self._read(row)
            if products is not None and frame_id in products.frame_ids:
                pixels = products.pixels(frame_id)
                out.append(RoiStrip(row["roi"], pixels.chi2, pixels.granted, *triple(pixels)))
        return out

    def _read(self, row: Row) -> RoiProducts | None:
        key = id(row)
        if key not in self._products:
            try:
                self._products[key] = RoiProducts(self._workspace, row)
            except StorageError:
                self._products[key] = None
        return self._products[key]
