"""Small geometry between pixels and sky: proper motion, tangent plane, WCS parsing."""

from __future__ import annotations

import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, NoConvergence
from numpy.typing import ArrayLike

from lightwatch.errors import AstrometryError
from lightwatch.processes.astrometry_types import FloatArray

ARCSEC_PER_RADIAN = np.degrees(1.0) * 3600.0
#: 1 sigma motion, mas/yr, of a catalogued star whose motion nobody has measured
UNKNOWN_MOTION_MAS_YR = 15.0
_NUMERIC = re.compile(r"(CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|[AB]_(ORDER|\d_\d)")


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> FloatArray:
    """(n, 3) unit vectors of positions in degrees."""
    lon, lat = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def sky_angles(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """ra in [0, 360) and dec, degrees, of vectors (n, 3) of any length."""
    ra = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360.0
    dec = np.degrees(np.arctan2(vectors[..., 2], np.hypot(vectors[..., 0], vectors[..., 1])))
    return np.where(ra >= 360.0, 0.0, ra), dec


def east_north(ra: ArrayLike, dec: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Unit vectors to the east and to the north at positions in degrees; a pole keeps its ra."""
    lon, lat = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    zero = np.zeros_like(lon + lat)
    east = np.stack([-np.sin(lon) + zero, np.cos(lon) + zero, zero], axis=-1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat) + zero], axis=-1)
    return east, north


def sky_to_plane(
    ra: ArrayLike, dec: ArrayLike, centre_ra: float, centre_dec: float
) -> tuple[FloatArray, FloatArray]:
    """Gnomonic (east, north) in arcsec about a centre; NaN on the far side of the sky."""
    vectors = unit_vectors(ra, dec)
    east, north = east_north(centre_ra, centre_dec)
    depth = vectors @ unit_vectors(centre_ra, centre_dec)
    depth = np.where(depth > 1e-6, depth, np.nan)
    return ARCSEC_PER_RADIAN * (vectors @ east) / depth, ARCSEC_PER_RADIAN * (vectors @ north) / depth


def plane_to_sky(
    east_arcsec: ArrayLike, north_arcsec: ArrayLike, centre_ra: float, centre_dec: float
) -> tuple[FloatArray, FloatArray]:
    """Inverse of ``sky_to_plane``."""
    east, north = east_north(centre_ra, centre_dec)
    x = np.asarray(east_arcsec, float)[..., None] / ARCSEC_PER_RADIAN
    y = np.asarray(north_arcsec, float)[..., None] / ARCSEC_PER_RADIAN
    return sky_angles(unit_vectors(centre_ra, centre_dec) + x * east + y * north)


def mean_direction(ra: FloatArray, dec: FloatArray) -> tuple[float, float]:
    """Centre (ra, dec) in degrees of positions that fit in a hemisphere."""
    centre_ra, centre_dec = sky_angles(unit_vectors(ra, dec).sum(axis=0))
    return float(centre_ra), float(centre_dec)


def apply_proper_motion(
    ra: FloatArray,
    dec: FloatArray,
    pmra: FloatArray,
    pmdec: FloatArray,
    ref_epoch: FloatArray,
    mjd: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions at ``mjd``: (ra, dec, additional 1 sigma uncertainty in arcsec).

    ra, dec in degrees at ``ref_epoch`` (julian years), pmra (with cos dec) and pmdec in mas/yr.
    A NaN motion is taken as zero and makes the position uncertain by UNKNOWN_MOTION_MAS_YR times
    the time elapsed; so is the motion of a star whose epoch is NaN, then J2000. Straight motion along
    a great circle, hence right near the poles.
    """
    dated = np.isfinite(ref_epoch)
    years = 2000.0 + (mjd - 51544.5) / 365.25 - np.where(dated, ref_epoch, 2000.0)
    unknown = ~(np.isfinite(pmra) & np.isfinite(pmdec) & dated)
    arc = years / 1000.0 / ARCSEC_PER_RADIAN  # radians per (mas/yr)
    east, north = east_north(ra, dec)
    motion = np.where(unknown, 0.0, pmra)[:, None] * east + np.where(unknown, 0.0, pmdec)[:, None] * north
    new_ra, new_dec = sky_angles(unit_vectors(ra, dec) + np.asarray(arc)[..., None] * motion)
    return new_ra, new_dec, np.where(unknown, np.abs(years) * UNKNOWN_MOTION_MAS_YR / 1000.0, 0.0)


def parse_wcs(header: str | fits.Header) -> WCS:
    """Celestial WCS from FITS cards. Raises AstrometryError ``bad_wcs``."""
    cards = fits.Header.fromstring(header) if isinstance(header, str) else header
    text = [key for key in cards if _NUMERIC.fullmatch(key) and isinstance(cards[key], str)]
    if text:  # wcslib would take the default, 0
        raise AstrometryError("bad_wcs", f"text where a number belongs: {', '.join(text)}")
    if any(isinstance(cards.get(key), int) and cards[key] > 9 for key in ("A_ORDER", "B_ORDER")):
        raise AstrometryError("bad_wcs", "SIP order beyond 9")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            wcs = WCS(cards).celestial
            corners = wcs.all_pix2world([[0, 0], [1, 0], [0, 1]], 0) if wcs.has_celestial else None
        except (ValueError, TypeError, KeyError, MemoryError) as error:  # wcslib's errors are ValueErrors
            raise AstrometryError("bad_wcs", f"unreadable WCS: {error}") from error
    if corners is None:
        raise AstrometryError("bad_wcs", "the header has no celestial WCS")
    area_deg2 = abs(np.linalg.det(wcs.pixel_scale_matrix))
    if not np.all(np.isfinite(corners)) or not 0.0 < area_deg2 < 0.99:  # 1 degree: no scale was given
        raise AstrometryError("bad_wcs", "the WCS maps pixels to no position on the sky")
    return wcs


def wcs_to_header(wcs: WCS) -> str:
    """FITS cards of a celestial WCS in full precision, SIP and PV included."""
    header = wcs.to_header(relax=True)
    matrix = wcs.pixel_scale_matrix
    for i in (0, 1):  # wcslib prints 12 digits, and to_header uses PC with CDELT
        header[f"CRPIX{i + 1}"] = float(wcs.wcs.crpix[i])
        header[f"CRVAL{i + 1}"] = float(wcs.wcs.crval[i])
        header.remove(f"CDELT{i + 1}", ignore_missing=True)
        for j in (0, 1):
            header.remove(f"PC{i + 1}_{j + 1}", ignore_missing=True)
            header[f"CD{i + 1}_{j + 1}"] = float(matrix[i, j])
    return str(header.tostring())


def sky_to_pixel(wcs: WCS, ra: FloatArray, dec: FloatArray) -> FloatArray:
    """(n, 2) pixels (x, y) of sky positions; NaN where there is none (far side, no convergence)."""
    sky = np.column_stack([np.atleast_1d(ra), np.atleast_1d(dec)]).astype(float)
    pixels = np.full(sky.shape, np.nan)
    near = np.isfinite(sky).all(axis=1)
    near[near] = unit_vectors(*sky[near].T) @ unit_vectors(*wcs.wcs.crval) > 0.0
    if not near.any():
        return pixels
    try:
        pixels[near] = wcs.all_world2pix(sky[near], 0, tolerance=1e-7, maxiter=50)
    except NoConvergence as failure:  # far outside of the frame, where the distortion diverges
        solution = np.array(failure.best_solution, float)
        for lost in (failure.divergent, failure.slow_conv):
            if lost is not None:
                solution[lost] = np.nan
        pixels[near] = solution
    return _unless_folded(wcs, sky, pixels)


def _unless_folded(wcs: WCS, sky: FloatArray, pixels: FloatArray) -> FloatArray:
    """NaN for pixels that do not lead back to their position: a polynomial used far outside."""
    known = np.isfinite(pixels).all(axis=1)
    if known.any():
        back = wcs.all_pix2world(pixels[known], 0)
        gap = np.linalg.norm(unit_vectors(*back.T) - unit_vectors(*sky[known].T), axis=1)
        pixels[np.flatnonzero(known)[~(gap < 1e-6)]] = np.nan
    return pixels


def pixel_to_sky(wcs: WCS, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """ra, dec in degrees of 0-based pixels."""
    ra, dec = wcs.all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
    return np.asarray(ra, float), np.asarray(dec, float)


def local_jacobian(wcs: WCS, ra: float, dec: float) -> tuple[FloatArray, float]:
    """(2, 2) d(x, y)/d(east, north) in px per tangent-plane arcsec at a sky position, and pixel scale.

    jacobian[0] is (dx/d_east, dx/d_north). The pixel scale (arcsec) is 1/sqrt(|det|).
    Raises AstrometryError ``outside_wcs`` where the position has no pixel.
    """
    x, y = sky_to_pixel(wcs, np.array([ra]), np.array([dec]))[0]
    if not np.isfinite(x + y):
        raise AstrometryError("outside_wcs", f"ra {ra:.5f} dec {dec:.5f} has no pixel")
    step = 0.5
    sky = pixel_to_sky(wcs, x + step * np.array([-1, 1, 0, 0]), y + step * np.array([0, 0, -1, 1]))
    east, north = sky_to_plane(*sky, ra, dec)
    inverse = np.array([[east[1] - east[0], east[3] - east[2]], [north[1] - north[0], north[3] - north[2]]])
    jacobian: FloatArray = np.linalg.inv(inverse / (2 * step)).astype(np.float64)
    return jacobian, float(abs(np.linalg.det(jacobian)) ** -0.5)


def frame_geometry(wcs: WCS, nx: int, ny: int) -> tuple[float, float, int, float]:
    """Pixel scale (arcsec), position angle of +y (degrees, [0, 360)), parity, anisotropy, mid-frame.

    Parity is +1 where east is left of north as on the sky; anisotropy is |ratio of the principal
    scales - 1|. Raises AstrometryError ``outside_wcs`` when the middle has no place on the sky.
    """
    ra, dec = pixel_to_sky(wcs, (nx - 1) / 2.0, (ny - 1) / 2.0)
    jacobian, scale = local_jacobian(wcs, float(ra), float(dec))
    east, north = np.linalg.inv(jacobian)[:, 1]
    principal = np.linalg.svd(jacobian, compute_uv=False)
    angle = float(np.degrees(np.arctan2(east, north)) % 360.0)
    parity = 1 if np.linalg.det(jacobian) < 0 else -1
    return scale, angle, parity, float(principal[0] / principal[1] - 1.0)
