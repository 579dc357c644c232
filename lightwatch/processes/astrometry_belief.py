"""A WCS taken on trust: described like a solution, with nothing measured."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from lightwatch.processes.astrometry_sky import local_jacobian, pixel_to_sky, wcs_to_header
from lightwatch.processes.astrometry_types import AstrometricSolution


def believed_wcs(wcs: WCS, nx: int, ny: int) -> AstrometricSolution:
    """Scale, angle, parity and anisotropy of a WCS; no matches, and NaN for every measure of agreement."""
    ra, dec = pixel_to_sky(wcs, (nx - 1) / 2.0, (ny - 1) / 2.0)
    jacobian, scale = local_jacobian(wcs, float(ra), float(dec))
    east, north = np.linalg.inv(jacobian)[:, 1]
    principal = np.linalg.svd(jacobian, compute_uv=False)
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
        angle_to_north_deg=float(np.degrees(np.arctan2(east, north)) % 360.0),
        parity=1 if np.linalg.det(jacobian) < 0 else -1,
        anisotropy=float(principal[0] / principal[1] - 1.0),
        false_alarm_probability=np.nan,
        matched_detections=nowhere,
        matched_stars=nowhere,
    )
