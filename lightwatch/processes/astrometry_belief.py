"""A WCS taken on trust: described like a solution, with nothing measured."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from lightwatch.processes.astrometry_sky import frame_geometry, wcs_to_header
from lightwatch.processes.astrometry_types import AstrometricSolution


def believed_wcs(wcs: WCS, nx: int, ny: int) -> AstrometricSolution:
    """Scale, angle, parity and anisotropy of a WCS; no matches, and NaN for every measure of agreement."""
    scale, angle, parity, anisotropy = frame_geometry(wcs, nx, ny)
    nowhere = np.zeros(0, dtype=np.int64)
    return AstrometricSolution(
        wcs_header=wcs_to_header(wcs),
        method="header:believed",
        model="none",
        n_matches=0,
        rms_ra_arcsec=np.nan,
        rms_dec_arcsec=np.nan,
        rms_px=np.nan,
        median_offset_ra_arcsec=np.nan,
        median_offset_dec_arcsec=np.nan,
        pixel_scale_arcsec=scale,
        angle_to_north_deg=angle,
        parity=parity,
        anisotropy=anisotropy,
        false_alarm_probability=np.nan,
        matched_detections=nowhere,
        matched_stars=nowhere,
    )
