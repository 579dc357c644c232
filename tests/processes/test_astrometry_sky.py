"""Proper motion, WCS parsing, trimming and local geometry against astropy and identities."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Distance, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, Sip

from lightwatch.errors import AstrometryError
from lightwatch.processes.astrometry_sky import (
    UNKNOWN_MOTION_MAS_YR,
    apply_proper_motion,
    local_jacobian,
    parse_wcs,
    pixel_to_sky,
    plane_to_sky,
    sky_to_pixel,
    sky_to_plane,
    wcs_to_header,
)

MJD = 58107.2


def sip_wcs(ra: float = 359.99, dec: float = 88.7) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [400.123456789012, 300.5]
    wcs.wcs.cd = np.array([[-1.0, 0.02], [0.02, 1.0]]) * 1e-4
    a = np.zeros((3, 3))
    a[2, 0], a[1, 1] = 1e-6, 2e-6
    wcs.sip = Sip(a, 0.5 * a.T, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def tpv_wcs() -> WCS:
    header = fits.Header()
    header.update(
        CTYPE1="RA---TPV", CTYPE2="DEC--TPV", CRVAL1=150.0, CRVAL2=2.0, CRPIX1=400.0, CRPIX2=300.0,
        CD1_1=-1e-4, CD1_2=0.0, CD2_1=0.0, CD2_2=1e-4, PV1_1=1.0, PV1_4=1e-3, PV2_1=1.0, PV2_5=2e-3,
    )  # fmt: skip
    return parse_wcs(header)


@pytest.mark.filterwarnings("ignore::erfa.ErfaWarning")
@pytest.mark.parametrize("dec", [-5.0, 46.7, 88.7, 89.99999, -89.9999])
def test_proper_motion_agrees_with_astropy_also_near_the_pole(dec: float) -> None:
    ra, pmra, pmdec = np.array([10.0, 200.0]), np.array([900.0, -3000.0]), np.array([-700.0, 2000.0])
    got = apply_proper_motion(ra, np.full(2, dec), pmra, pmdec, np.array([2016.0, 2000.0]), MJD)
    for i, epoch in enumerate((2016.0, 2000.0)):
        star = SkyCoord(
            ra[i] * u.deg, dec * u.deg, distance=Distance(1 * u.kpc), obstime=Time(epoch, format="jyear"),
            pm_ra_cosdec=pmra[i] * u.mas / u.yr, pm_dec=pmdec[i] * u.mas / u.yr,
            radial_velocity=0 * u.km / u.s,
        )  # fmt: skip
        moved = star.apply_space_motion(new_obstime=Time(MJD, format="mjd", scale="utc"))
        gap = moved.separation(
            SkyCoord(got[0][i], got[1][i], unit="deg", frame=moved.frame.replicate_without_data())
        )
        assert gap.arcsec < 1e-3
    np.testing.assert_array_equal(got[2], 0.0)


def test_unknown_motion_moves_nothing_and_says_so() -> None:
    ra, dec, extra = apply_proper_motion(
        np.array([0.0]), np.array([30.0]), np.array([np.nan]), np.array([5.0]), np.array([2000.0]), MJD
    )  # fmt: skip
    assert (ra[0], dec[0]) == pytest.approx((0.0, 30.0), abs=1e-12)
    assert extra[0] == pytest.approx(17.97 * UNKNOWN_MOTION_MAS_YR / 1000, rel=1e-3)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (359.999, 60.0), (77.0, 90.0), (10.0, -89.9)])
def test_the_tangent_plane_round_trips(centre: tuple[float, float]) -> None:
    e, n = np.random.default_rng(1).uniform(-7200, 7200, (2, 50))
    back = sky_to_plane(*plane_to_sky(e, n, *centre), *centre)
    np.testing.assert_allclose(back, [e, n], atol=1e-7)


@pytest.mark.parametrize("wcs", [sip_wcs(), tpv_wcs(), sip_wcs(10.0, -20.0)])
def test_pixels_go_to_the_sky_and_back(wcs: WCS) -> None:
    x, y = np.random.default_rng(2).uniform(0, 800, (2, 100))
    sky = pixel_to_sky(wcs, x, y)
    for one in (wcs, parse_wcs(wcs_to_header(wcs))):
        np.testing.assert_allclose(sky_to_pixel(one, *sky), np.column_stack([x, y]), atol=1e-6)


def test_headers_keep_full_precision() -> None:
    wcs = sip_wcs()
    again = parse_wcs(wcs_to_header(wcs))
    np.testing.assert_array_equal(again.wcs.crpix, wcs.wcs.crpix)
    np.testing.assert_array_equal(again.wcs.crval, wcs.wcs.crval)
    np.testing.assert_array_equal(again.sip.a, wcs.sip.a)


def test_positions_without_a_pixel_are_nan() -> None:
    pixels = sky_to_pixel(sip_wcs(0.0, 20.0), np.array([180.0, np.nan, 0.0]), np.array([-20.0, 0.0, 20.0]))
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_allclose(pixels[2], [399.123456789012, 299.5], atol=1e-6)


def test_the_local_jacobian_predicts_a_step_on_the_sky() -> None:
    wcs = sip_wcs()
    ra, dec = (float(v) for v in pixel_to_sky(wcs, 700.0, 100.0))
    jacobian, scale = local_jacobian(wcs, ra, dec)
    moved = sky_to_pixel(wcs, *(np.atleast_1d(v) for v in plane_to_sky(1.0, -2.0, ra, dec)))[0]
    np.testing.assert_allclose(moved - [700.0, 100.0], jacobian @ [1.0, -2.0], atol=1e-4)  # SIP: 4e-5
    assert scale == pytest.approx(0.36, rel=0.01)


def test_the_jacobian_of_a_position_without_a_pixel_is_refused() -> None:
    with pytest.raises(AstrometryError) as caught:
        local_jacobian(sip_wcs(0.0, 20.0), 180.0, -20.0)
    assert caught.value.reason_code == "outside_wcs"


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CTYPE1": "FREQ", "CTYPE2": "STOKES"},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": "05:23:31"},
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 9999, "B_ORDER": 2},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 120.0},
    ],
)
def test_a_header_without_a_usable_wcs_is_refused(cards: dict[str, object]) -> None:
    with pytest.raises(AstrometryError) as caught:
        parse_wcs(fits.Header(cards).tostring())
    assert caught.value.reason_code == "bad_wcs"
