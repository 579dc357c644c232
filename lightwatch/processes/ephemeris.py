"""Where the target, the Sun and the Moon stand, and barycentric time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    and for dates beyond them their last value (less than 0.01 deg in a decade).
    Raises InputError ``bad_date``, ``bad_position``, ``bad_site``.
    """
    raise NotImplementedError


def bjd_tdb(mjd_mid_utc: ArrayLike, ra_deg: float, dec_deg: float, site: Site | None) -> NDArray[np.float64]:
    """Barycentric Julian date (TDB) of the photons' arrival, (n,) days.

    Light travel time with the library's built-in ephemeris. ``site`` None: geocentre, less than 22 ms off.
    """
    raise NotImplementedError
