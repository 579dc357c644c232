"""Small geometry between pixels and sky: proper motion, tangent plane, WCS parsing and trimming."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from lightwatch.processes.astrometry_types import FloatArray


def apply_proper_motion(
    ra: FloatArray,
    dec: FloatArray,
    pmra: FloatArray,
    pmdec: FloatArray,
    ref_epoch: FloatArray,
    mjd: float,
    *,
    unknown_motion_mas_yr: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions at ``mjd``: (ra, dec, additional 1 sigma uncertainty in arcsec).

    ra, dec in degrees at ``ref_epoch`` (julian years), pmra (with cos dec) and pmdec in mas/yr.
    A NaN motion is taken as zero and makes the position uncertain by ``unknown_motion_mas_yr``
    times the time elapsed. Straight motion along a great circle, hence right near the poles.
    """
    raise NotImplementedError


def parse_wcs(header: str) -> WCS:
    """Celestial WCS from FITS cards. Raises AstrometryError ``bad_wcs``."""
    raise NotImplementedError


def wcs_to_header(wcs: WCS) -> str:
    """FITS cards of a celestial WCS in full precision, SIP and PV included."""
    raise NotImplementedError


def shift_wcs_for_trim(wcs: WCS, x0: float, y0: float) -> WCS:
    """WCS of the frame whose pixel (0, 0) was the pixel (x0, y0); distortions move along."""
    raise NotImplementedError


def local_jacobian(wcs: WCS, ra: float, dec: float) -> tuple[FloatArray, float]:
    """(2, 2) d(x, y)/d(east, north) in px per tangent-plane arcsec at a sky position, and pixel scale.

    jacobian[0] is (dx/d_east, dx/d_north). The pixel scale (arcsec) is 1/sqrt(|det|).
    Raises AstrometryError ``outside_wcs`` where the position has no pixel.
    """
    raise NotImplementedError
