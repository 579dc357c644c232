"""Point sources of which no light was found at all: where nothing new is awaited, the coordinates are likely wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from lightwatch.pipeline.displaced import full_name
from lightwatch.structure.queries import Row

#: beyond it a single point is more than the luck of many frames, as for the alarms
_SIGMA = 5.0
#: fewer are a source too faint for a night or two as likely as wrong coordinates
_MIN_POINTS = 5


@dataclass(frozen=True)
class Undetected:
    """``snr``: of the weighted mean of its ``n_points``, in all filters together."""

    roi: str
    point_source: str
    n_points: int
    snr: float

    @property
    def text(self) -> str:
        """One line for people."""
        source = full_name(self.roi, self.point_source)
        return (
            f"{source} is on none of {self.n_points} frames beyond {_SIGMA:g} σ, and not in their mean "
            f"(S/N {self.snr:.1f}): are its coordinates right?"
        )


def undetected_sources(curves: Sequence[Row], limit_sigma: float) -> list[Undetected]:
    """Sources with less light than ``limit_sigma`` in the mean, and in no point clearly more.

    ``curves``: rows of light_curves_with_covariates.
    """
    out = []
    by_source = sorted(curves, key=lambda row: (row["roi"], row["point_source"]))
    for (roi, name), group in groupby(by_source, key=lambda row: (row["roi"], row["point_source"])):
        measured = [row for row in group if row["flux"] is not None and row["flux_uncertainty"]]
        flux = np.array([row["flux"] for row in measured], dtype=float)
        sigma = np.array([row["flux_uncertainty"] for row in measured], dtype=float)
        if len(flux) < _MIN_POINTS or (flux >= _SIGMA * sigma).any():
            continue
        snr = float(np.sum(flux / sigma**2) / np.sqrt(np.sum(1 / sigma**2)))
        if snr < limit_sigma:
            out.append(Undetected(roi, name, len(flux), snr))
    return out
