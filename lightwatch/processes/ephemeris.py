"""Where the target, the Sun and the Moon stand, and barycentric time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import astropy.units as u
import numpy as np
from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body, get_sun
from astropy.time import Time
from astropy.utils import iers
from astropy.utils.data import conf as data_conf
from astropy.utils.exceptions import AstropyWarning
from erfa import ErfaWarning
from numpy.typing import ArrayLike, NDArray

from lightwatch.errors import InputError
from lightwatch.flags import Flag

_TWILIGHT_SUN_ALTITUDE_DEG = -6.0
_HIGH_AIRMASS = 3.0
#: years 1900 to 2100, for which the built-in ephemeris of the Earth is made
_MJD_RANGE = (15020.0, 88069.0)


@dataclass(frozen=True)
class Ephemeris:
    """One value per epoch, degrees where the name says so.

    ``airmass`` NaN below the horizon; ``moon_phase`` illuminated fraction 0..1; ``flags`` int32 with
    UNUSUAL_CONDITIONS where the Sun is above -6 deg, the airmass beyond 3, or the target below the horizon.
    """

    airmass: NDArray[np.float64]
    altitude_deg: NDArray[np.float64]
    azimuth_deg: NDArray[np.float64]
    sun_altitude_deg: NDArray[np.float64]
    degrees_to_moon: NDArray[np.float64]
    moon_phase: NDArray[np.float64]
    flags: NDArray[np.int32]


@dataclass(frozen=True)
class Site:
    """Geodetic WGS84 position; longitude east positive, elevation in m."""

    latitude_deg: float
    longitude_deg: float
    elevation_m: float


def frame_ephemeris(
    mjd_mid_utc: ArrayLike,
    ra_deg: float,
    dec_deg: float,
    latitude_deg: float,
    longitude_deg: float,
    elevation_m: float,
) -> Ephemeris:
    """Conditions at mid-exposure, for one or many epochs ``mjd_mid_utc`` (n,): arrays (n,).

    Target ICRS. No refraction; airmass is sec z. No network: Earth orientation from the bundled tables,
    and for dates beyond them UT1-UTC of the nearest known date (0.01 deg for 2 s of error).
    Raises InputError ``bad_date``, ``bad_position``, ``bad_site``.
    """
    with _offline():
        location = _location(Site(latitude_deg, longitude_deg, elevation_m))
        times = _times(mjd_mid_utc, location)
        horizon = AltAz(obstime=times, location=location)
        target = _target(ra_deg, dec_deg).transform_to(horizon)
        sun, moon = get_sun(times), get_body("moon", times, location)
        sun_altitude = sun.transform_to(horizon).alt.deg
        moon_distance = target.separation(moon.transform_to(horizon)).deg
        phase = _illuminated_fraction(sun, get_body("moon", times))
    altitude = target.alt.deg
    up = altitude > 0
    airmass = np.full(altitude.shape, np.nan)
    airmass[up] = 1 / np.sin(np.radians(altitude[up]))
    unusual = ~up | ~(airmass <= _HIGH_AIRMASS) | (sun_altitude > _TWILIGHT_SUN_ALTITUDE_DEG)
    flags = np.where(unusual, np.int32(Flag.UNUSUAL_CONDITIONS), np.int32(0))
    return Ephemeris(airmass, altitude, target.az.deg, sun_altitude, moon_distance, phase, flags)


def bjd_tdb(mjd_mid_utc: ArrayLike, ra_deg: float, dec_deg: float, site: Site | None) -> NDArray[np.float64]:
    """Barycentric Julian date (TDB) at which the photons of epochs ``mjd_mid_utc`` (n,) pass: (n,) days.

    Light travel time by the built-in ephemeris of astropy (milliseconds from JPL's). Without ``site`` the
    observer is put at the centre of the Earth: at most 22 ms off. (n,) float64 resolves 40 microseconds.
    Raises InputError as ``frame_ephemeris``.
    """
    with _offline():
        location = _location(site) if site is not None else EarthLocation.from_geocentric(0, 0, 0, unit=u.m)
        times = _times(mjd_mid_utc, location)
        travel = times.light_travel_time(_target(ra_deg, dec_deg), kind="barycentric", ephemeris="builtin")
        return np.asarray((times.tdb + travel).jd, np.float64)


@cache
def _earth_orientation() -> iers.IERS:
    """Bundled table of the IERS since 1973 (finals2000A): UT1-UTC and polar motion.

    astropy reads all columns of this text, and of a second table, in a second or two; these four take a
    twentieth. The final values of Bulletin B stand where they exist, the rapid ones of Bulletin A elsewhere.
    From astropy's choice they differ by at most 0.4 ms since 1993, 5 ms before: a tenth of an arcsecond.
    """
    columns = {
        "MJD": (u.d, (slice(7, 15),)),
        "UT1_UTC": (u.s, (slice(154, 165), slice(58, 68))),
        "PM_x": (u.arcsec, (slice(134, 144), slice(18, 27))),
        "PM_y": (u.arcsec, (slice(144, 154), slice(37, 46))),
    }
    with open(iers.IERS_A_FILE, encoding="ascii") as stream:
        lines = [line for line in stream if line[58:68].strip()]  # the last ones are empty
    values = {
        name: np.array([next(filter(str.strip, (line[p] for p in parts))) for line in lines], float) * unit
        for name, (unit, parts) in columns.items()
    }
    return iers.IERS(values)


@contextmanager
def _offline() -> Iterator[None]:
    """Neither downloads nor complaints about dates beyond the tables, within the block only."""
    with (
        iers.earth_orientation_table.set(_earth_orientation()),
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
        iers.conf.set_temp("auto_max_age", None),
        data_conf.set_temp("allow_internet", False),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", ErfaWarning)  # "dubious year": leap seconds to come are not known
        yield


def _location(site: Site) -> EarthLocation:
    values = (site.latitude_deg, site.longitude_deg, site.elevation_m)
    if not np.isfinite(values).all() or abs(site.latitude_deg) > 90 or abs(site.longitude_deg) > 360:
        raise InputError("bad_site", f"no place on Earth has latitude, longitude, elevation {values}")
    return EarthLocation.from_geodetic(site.longitude_deg, site.latitude_deg, site.elevation_m)


def _target(ra_deg: float, dec_deg: float) -> SkyCoord:
    if not (np.isfinite(ra_deg) and np.isfinite(dec_deg) and abs(dec_deg) <= 90):
        raise InputError("bad_position", f"no such position: RA {ra_deg}, Dec {dec_deg} deg")
    return SkyCoord(ra_deg, dec_deg, unit="deg")


def _times(mjd_utc: ArrayLike, location: EarthLocation) -> Time:
    mjd = np.atleast_1d(np.asarray(mjd_utc, np.float64))
    if not ((mjd > _MJD_RANGE[0]) & (mjd < _MJD_RANGE[1])).all():
        raise InputError("bad_date", f"MJD out of {_MJD_RANGE}: {mjd.min()} to {mjd.max()}")
    return Time(mjd, format="mjd", scale="utc", location=location)


def _illuminated_fraction(sun: SkyCoord, moon: SkyCoord) -> NDArray[np.float64]:
    """Of the Moon's disc, seen from the centre of the Earth (Meeus 1998, Astronomical Algorithms, ch. 48)."""
    elongation = sun.separation(moon, origin_mismatch="ignore").rad
    sun_distance, moon_distance = sun.distance.to_value(u.km), moon.distance.to_value(u.km)
    phase_angle = np.arctan2(
        sun_distance * np.sin(elongation), moon_distance - sun_distance * np.cos(elongation)
    )
    return np.asarray((1 + np.cos(phase_angle)) / 2, np.float64)
