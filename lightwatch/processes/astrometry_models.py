"""Least-squares corrections of a WCS: shift, similarity, affine on top of its distortion, or a new SIP.

The tangent point moves and the CD matrix changes; the reference pixel stays, so that a distortion
stays where it is on the detector. SIP: Shupe et al. 2005, ASP Conf. Ser. 347, 491.
"""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS, Sip

from lightwatch.processes.astrometry_sky import pixel_to_sky, plane_to_sky, sky_to_plane
from lightwatch.processes.astrometry_types import FloatArray

#: free parameters (both axes together) and fewest matched stars of each model
PARAMETERS = {"shift": 2, "similarity": 4, "affine": 6, "sip2": 12, "sip3": 20}
FEWEST_STARS = {"shift": 1, "similarity": 3, "affine": 6, "sip2": 24, "sip3": 50}


_STEPS = 3  # moving the tangent point is not quite linear


def is_distorted(wcs: WCS) -> bool:
    """Whether the WCS has SIP or PV terms, which are kept."""
    return wcs.sip is not None or len(wcs.wcs.get_pv()) > 0


def tan_wcs(crpix: FloatArray, crval: tuple[float, float], cd: FloatArray) -> WCS:
    """Plain TAN WCS; crpix 1-based as in FITS, cd (2, 2) in degrees per pixel."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cd = crpix, crval, cd
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def fit_model(model: str, wcs: WCS, xy: FloatArray, sky: FloatArray, weights: FloatArray) -> WCS:
    """WCS fitted to pixels (n, 2) and ra, dec (n, 2) with weights (n,); ``wcs`` is not altered."""
    if model.startswith("sip"):
        return _fitted_sip(int(model[3:]), wcs, xy, sky, weights)
    fitted = wcs.deepcopy()
    for _ in range(_STEPS):
        _linear_step(model, fitted, xy, sky, weights)
    return fitted


def residuals_arcsec(wcs: WCS, xy: FloatArray, sky: FloatArray) -> FloatArray:
    """(n, 2) east and north of the star relative to the sky position of its detection."""
    ra, dec = pixel_to_sky(wcs, xy[:, 0], xy[:, 1])
    crval = tuple(float(c) for c in wcs.wcs.crval)
    star, found = sky_to_plane(sky[:, 0], sky[:, 1], *crval), sky_to_plane(ra, dec, *crval)
    return np.column_stack([star[0] - found[0], star[1] - found[1]])


def _linear_step(model: str, wcs: WCS, xy: FloatArray, sky: FloatArray, weights: FloatArray) -> None:
    """One Gauss-Newton step of ``wcs`` in the tangent plane: star = shift + matrix @ detection."""
    crval = tuple(float(c) for c in wcs.wcs.crval)
    e, n = sky_to_plane(*pixel_to_sky(wcs, xy[:, 0], xy[:, 1]), *crval)
    target = np.column_stack(sky_to_plane(sky[:, 0], sky[:, 1], *crval))
    one, zero, root = np.ones_like(e), np.zeros_like(e), np.sqrt(weights)
    columns = [(one, zero), (zero, one)]
    if model == "similarity":
        columns += [(e, n), (-n, e)]
    elif model == "affine":
        columns += [(e, zero), (n, zero), (zero, e), (zero, n)]
    design = np.concatenate([np.column_stack([c[i] for c in columns]) * root[:, None] for i in (0, 1)])
    wanted = np.concatenate([(target[:, i] - (e, n)[i]) * root for i in (0, 1)])
    size = np.maximum(np.abs(design).max(axis=0), 1e-30)
    p = np.linalg.lstsq(design / size, wanted, rcond=None)[0] / size
    matrix = np.eye(2)
    if model == "similarity":
        matrix = matrix + np.array([[p[2], -p[3]], [p[3], p[2]]])
    elif model == "affine":
        matrix = matrix + p[2:].reshape(2, 2)
    cd = matrix @ wcs.pixel_scale_matrix
    if wcs.wcs.has_pc():  # CDELT times PC: replaced by one matrix
        wcs.wcs.cdelt = [1.0, 1.0]
        del wcs.wcs.pc
    wcs.wcs.cd = cd
    wcs.wcs.crval = _moved(crval, p[:2])
    wcs.wcs.set()


def _moved(crval: tuple[float, ...], shift_arcsec: FloatArray) -> tuple[float, float]:
    """The tangent point moved east and north."""
    ra, dec = plane_to_sky(shift_arcsec[0], shift_arcsec[1], *crval)
    return float(ra), float(dec)


def _powers(order: int) -> list[tuple[int, int]]:
    return [(p, q) for total in range(order + 1) for p in range(total, -1, -1) for q in [total - p]]


def _terms(u: FloatArray, v: FloatArray, powers: list[tuple[int, int]]) -> FloatArray:
    return np.column_stack([u**p * v**q for p, q in powers])


def _fitted_sip(order: int, wcs: WCS, xy: FloatArray, sky: FloatArray, weights: FloatArray) -> WCS:
    """TAN-SIP fitted from the pixels; the reference pixel and tangent point of ``wcs`` are the start."""
    crpix = np.array(wcs.wcs.crpix, float)
    crval = float(wcs.wcs.crval[0]), float(wcs.wcs.crval[1])
    powers = _powers(order)
    u, v = (xy - (crpix - 1.0)).T
    size = max(float(np.abs([u, v]).max()), 1.0)
    root = np.sqrt(weights)[:, None]
    design = _terms(u / size, v / size, powers) * root
    scale = np.array([size ** (i + j) for i, j in powers])[:, None]
    for _ in range(_STEPS):
        target = np.column_stack(sky_to_plane(sky[:, 0], sky[:, 1], *crval)) / 3600.0
        p = np.linalg.lstsq(design, target * root, rcond=None)[0] / scale
        crval = _moved(crval, p[0] * 3600.0)
    cd = p[1:3].T
    f = np.linalg.solve(cd, p[3:].T)  # (2, terms): SIP polynomials in pixels
    a, b = np.zeros((2, order + 1, order + 1))
    for k, (i, j) in enumerate(powers[3:]):
        a[i, j], b[i, j] = f[0, k], f[1, k]
    fitted = tan_wcs(crpix, crval, cd)
    fitted.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    fitted.sip = Sip(a, b, *_inverse_sip(a, b, size), crpix)
    fitted.wcs.set()
    return fitted


def _inverse_sip(a: FloatArray, b: FloatArray, size: float) -> tuple[FloatArray, FloatArray]:
    """AP and BP, one order higher than A and B, fitted on a grid as far out as the stars."""
    order = a.shape[0]
    grid = np.linspace(-size, size, 21)
    u, v = (g.ravel() for g in np.meshgrid(grid, grid))
    forward = _powers(a.shape[0] - 1)
    terms = _terms(u, v, forward)
    shift_u = terms @ np.array([a[i, j] for i, j in forward])
    shift_v = terms @ np.array([b[i, j] for i, j in forward])
    powers = _powers(order)
    scale = np.array([size ** (i + j) for i, j in powers])
    design = _terms((u + shift_u) / size, (v + shift_v) / size, powers)
    p = np.linalg.lstsq(design, -np.column_stack([shift_u, shift_v]), rcond=None)[0] / scale[:, None]
    ap, bp = np.zeros((2, order + 1, order + 1))
    for k, (i, j) in enumerate(powers):
        ap[i, j], bp[i, j] = p[k]
    return ap, bp
