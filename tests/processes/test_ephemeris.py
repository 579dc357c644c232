from __future__ import annotations

import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
from astropy.time import Time
from astropy.utils import iers

from lightwatch.errors import InputError
from lightwatch.flags import Flag
from lightwatch.processes import ephemeris
from lightwatch.processes.ephemeris import Site, bjd_tdb, frame_ephemeris

LA_SILLA = (-29.2567, -70.7346, 2400.0)
TARGET = (42.2031, 19.22528)
EPOCHS = 59800.0 + np.arange(0.0, 60.0, 1.7)


def test_agreement_with_astropy():
    result = frame_ephemeris(EPOCHS, *TARGET, *LA_SILLA)
    location = EarthLocation.from_geodetic(LA_SILLA[1], LA_SILLA[0], LA_SILLA[2])
    with iers.conf.set_temp("auto_download", False):
        times = Time(EPOCHS, format="mjd", scale="utc")
        frame = AltAz(obstime=times, location=location)
        target = SkyCoord(*TARGET, unit="deg").transform_to(frame)
        sun = get_body("sun", times, location).transform_to(frame)
        moon = get_body("moon", times, location).transform_to(frame)
    low = target.secz < 3
    high = low & (target.alt > 0)
    assert high.sum() > 3
    np.testing.assert_allclose(result.airmass[high], target.secz[high], atol=0.01)
    np.testing.assert_allclose(result.altitude_deg, target.alt.deg, atol=0.1)
    np.testing.assert_allclose(result.azimuth_deg, target.az.deg, atol=0.1)
    np.testing.assert_allclose(result.sun_altitude_deg, sun.alt.deg, atol=0.1)
    np.testing.assert_allclose(result.degrees_to_moon, target.separation(moon).deg, atol=0.1)


@pytest.mark.parametrize(
    ("date", "fraction"),
    [
        ("2022-08-27T08:17", 0.0),
        ("2022-09-10T09:59", 1.0),
        ("2022-09-03T18:08", 0.5),
        ("2022-11-08T11:02", 1.0),
    ],
)
def test_phases_of_the_moon(date, fraction):
    mjd = Time(date).mjd
    assert frame_ephemeris(mjd, *TARGET, *LA_SILLA).moon_phase[0] == pytest.approx(fraction, abs=0.01)


def test_unusual_conditions_are_flagged():
    result = frame_ephemeris(59800.0 + np.linspace(0, 1, 200), *TARGET, *LA_SILLA)
    flagged = (result.flags & Flag.UNUSUAL_CONDITIONS) != 0
    below = result.altitude_deg <= 0
    assert np.isnan(result.airmass[below]).all()
    assert np.isfinite(result.airmass[~below]).all()
    assert flagged[below].all()
    assert flagged[result.sun_altitude_deg > -6].all()
    quiet = (result.altitude_deg > 20) & (result.sun_altitude_deg < -6)
    assert quiet.any()
    assert not flagged[quiet].any()


@pytest.mark.parametrize("mjd", [15100.0, 40000.0, 69000.0, 88000.0])
def test_dates_beyond_the_tables_neither_raise_nor_warn_nor_download(mjd):
    before = (iers.conf.auto_download, iers.conf.iers_degraded_accuracy, iers.conf.auto_max_age)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = frame_ephemeris(mjd, *TARGET, *LA_SILLA)
        assert np.isfinite(bjd_tdb(mjd, *TARGET, Site(*LA_SILLA))).all()
    assert np.isfinite(result.altitude_deg).all()
    assert (iers.conf.auto_download, iers.conf.iers_degraded_accuracy, iers.conf.auto_max_age) == before


def test_barycentric_time():
    """A target on the ecliptic: 499 s of light travel through the year, on top of TDB - UTC = 69.184 s."""
    mjd = 58107.0 + np.arange(0.0, 365.0, 10.0)
    sun = SkyCoord(90.0, 0.0, frame="barycentrictrueecliptic", unit="deg").icrs
    delay = (bjd_tdb(mjd, sun.ra.deg, sun.dec.deg, None) - 2400000.5 - mjd) * 86400 - 69.184
    assert delay.max() == pytest.approx(499, abs=15)
    assert delay.min() == pytest.approx(-499, abs=15)


def test_the_geocentre_is_less_than_25_ms_off():
    site = Site(*LA_SILLA)
    difference = (bjd_tdb(EPOCHS, *TARGET, site) - bjd_tdb(EPOCHS, *TARGET, None)) * 86400
    assert 0.001 < np.abs(difference).max() < 0.025


def test_barycentric_time_agrees_with_astropy():
    location = EarthLocation.from_geodetic(LA_SILLA[1] * u.deg, LA_SILLA[0] * u.deg, LA_SILLA[2] * u.m)
    with iers.conf.set_temp("auto_download", False):
        time = Time(59800.3, format="mjd", scale="utc", location=location)
        travel = time.light_travel_time(SkyCoord(*TARGET, unit="deg"))
        expected = (time.tdb + travel).jd
    assert bjd_tdb(59800.3, *TARGET, Site(*LA_SILLA))[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((np.nan, 1.0, 2.0, *LA_SILLA), "bad_date"),
        ((2459800.5, 1.0, 2.0, *LA_SILLA), "bad_date"),  # a JD given as MJD
        ((59800.0, 1.0, 92.0, *LA_SILLA), "bad_position"),
        ((59800.0, np.nan, 2.0, *LA_SILLA), "bad_position"),
        ((59800.0, 1.0, 2.0, 95.0, 0.0, 0.0), "bad_site"),
        ((59800.0, 1.0, 2.0, 5.0, np.nan, 0.0), "bad_site"),
    ],
)
def test_impossible_input_is_refused(arguments, reason):
    with pytest.raises(InputError) as caught:
        frame_ephemeris(*arguments)
    assert caught.value.reason_code == reason


def test_earth_orientation_is_astropys():
    """The four columns read here say what astropy makes of its tables, within 5 ms (0.07 arcsec) since 1973."""
    jd = 2400000.5 + np.linspace(42000.0, 60900.0, 300)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        ours, full = ephemeris._earth_orientation(), iers.IERS_Auto.open()
        assert abs(ours.ut1_utc(jd) - full.ut1_utc(jd)).max() < 5 * u.ms
        for mine, theirs in zip(ours.pm_xy(jd), full.pm_xy(jd), strict=True):
            assert abs(mine - theirs).max() < 0.05 * u.arcsec
