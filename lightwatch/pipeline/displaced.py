"""Point sources whose fitted place is not where the configuration has them: likely another star was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from lightwatch.processes.roi_place import far_from_expected
from lightwatch.structure import queries, queries_report
from lightwatch.structure.config_values import separation_deg
from lightwatch.structure.workspace import Workspace


def full_name(roi: str, point_source: str) -> str:
    """A point source as people call it; a single one bears the name of its ROI."""
    return roi if point_source == roi else f"{roi} {point_source}"


@dataclass(frozen=True)
class Displaced:
    """A point source found too far from its coordinates in one filter; ``key``: of the configuration."""

    roi: str
    point_source: str
    filter: str
    offset_arcsec: float
    fwhm_arcsec: float
    key: str

    @property
    def text(self) -> str:
        """One line for people."""
        source = full_name(self.roi, self.point_source)
        where = f" in {self.filter}" if self.filter else ""
        return (
            f"{source} was found {self.offset_arcsec:.1f} arcsec from its coordinates{where}, farther than the "
            f"stars' FWHM of {self.fwhm_arcsec:.1f}: is {self.key} right?"
        )


def displaced_sources(workspace: Workspace) -> list[Displaced]:
    """Of the models of the footprint in use, judged as their points are (flag large_shift)."""
    reader = workspace.reader
    configured = {
        (row["roi"], row["name"]): (row["ra"], row["dec"])
        for row in queries.rows(reader, queries_report.point_sources())
    }
    out = []
    for row in queries.rows(reader, queries_report.fitted_positions()):
        fwhm = queries.scalar(reader, queries_report.mean_seeing(row["roi"], row["filter"])) or np.nan
        for name, (ra, dec, *_sigmas) in json.loads(row["astrometry"]).items():
            here = configured.get((row["roi"], name))
            if here is None or ra is None or dec is None:
                continue
            offset = round(3600.0 * separation_deg((ra, dec), here), 3)
            if far_from_expected(np.array(offset), fwhm):
                roi = workspace.config.rois.get(row["roi"])
                inner = f".point_sources.{name}" if roi is not None and roi.point_sources else ""
                key = f"rois.{row['roi']}{inner}"
                out.append(Displaced(row["roi"], name, row["filter"], offset, fwhm, key))
    return out
