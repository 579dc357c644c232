"""From detections and reference stars to a WCS that is believed for a reason.

A WCS, wherever it comes from, is accepted when many more stars fall on detections than chance
would give. The chain of attempts is ``solve``; its parts are public because a WCS found elsewhere
(an external solver, a user) must pass the same test.
"""

from __future__ import annotations

from collections.abc import Sequence

from astropy.wcs import WCS

from lightwatch.processes.astrometry_types import (
    AstrometricSolution,
    AstrometrySettings,
    Attempt,
    Detections,
    Hints,
    ReferenceStars,
)

__all__ = ["accept_wcs", "adopt_wcs", "solve", "solve_pattern"]


def accept_wcs(
    wcs: WCS, detections: Detections, stars: ReferenceStars, *, method: str, settings: AstrometrySettings
) -> AstrometricSolution:
    """Verify a WCS found elsewhere (header, external solver) and refine it.

    Raises AstrometryError: ``wcs_contradicted``, ``too_few_sources``, ``no_match``, ``anisotropic``,
    ``rms_too_large``.
    """
    raise NotImplementedError


def solve_pattern(
    detections: Detections,
    stars: ReferenceStars,
    hints: Hints,
    *,
    method: str,
    settings: AstrometrySettings,
) -> AstrometricSolution:
    """Solve from nothing but the pattern of the stars, any rotation and parity, then refine.

    Raises AstrometryError: ``too_few_sources``, ``no_match``, ``scale_out_of_range``,
    ``anisotropic``, ``rms_too_large``.
    """
    raise NotImplementedError


def adopt_wcs(
    detections: Detections,
    sibling_detections: Detections,
    sibling_wcs: WCS,
    hints: Hints,
    *,
    method: str,
    settings: AstrometrySettings,
) -> AstrometricSolution:
    """Solve with the detections of a solved frame of the same field as reference stars."""
    raise NotImplementedError


def solve(
    detections: Detections,
    stars: ReferenceStars,
    header_wcs: WCS | None,
    hints: Hints,
    *,
    siblings: Sequence[tuple[str, ReferenceStars]],
    settings: AstrometrySettings,
) -> tuple[AstrometricSolution | None, tuple[Attempt, ...]]:
    """Try the header WCS, then the pattern, with the catalogue and then with each sibling.

    ``siblings`` are (name, stars) from solved frames of the field (``sibling_stars``), best first.
    Returns the solution, None when nothing was believed, and every attempt in order.
    """
    raise NotImplementedError
