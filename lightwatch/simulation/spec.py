"""What to simulate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Transit:
    """A trapezoid: relative depth, mid-time (MJD), total and flat duration (days)."""

    depth: float
    mid_mjd: float
    duration_days: float
    flat_days: float


@dataclass(frozen=True)
class PointSource:
    """A component of a ROI: offsets from its centre (arcsec east, north) and magnitude in the first filter.

    ``delay_days`` shifts the common damped random walk of rms ``variability_mag`` (0 = constant).
    """

    name: str
    east: float
    north: float
    mag: float
    delay_days: float = 0.0
    variability_mag: float = 0.0
    transit: Transit | None = None


@dataclass(frozen=True)
class RoiSpec:
    """A target at (east, north) arcsec from the field centre; ``lens``: with a galaxy and an arc."""

    name: str
    east: float
    north: float
    sources: tuple[PointSource, ...]
    lens: bool = False


def lens_roi(name: str = "J0248", east: float = 0.0, north: float = 0.0) -> RoiSpec:
    """A quadruply imaged quasar, images A to D within 1.6 arcsec, with lens galaxy and arc."""
    sources = (
        PointSource("A", -0.45, 0.55, 18.6, 0.0, 0.12),
        PointSource("B", -0.62, -0.38, 19.0, 6.0, 0.12),
        PointSource("C", 0.42, -0.82, 19.4, 19.0, 0.12),
        PointSource("D", 0.63, 0.42, 19.8, 33.0, 0.12),
    )
    return RoiSpec(name, east, north, sources, lens=True)


def transit_roi(
    transit: Transit | None, name: str = "target", mag: float = 15.5, east: float = 0.0, north: float = 0.0
) -> RoiSpec:
    """One isolated star, with a transit or constant."""
    return RoiSpec(name, east, north, (PointSource(name, 0.0, 0.0, mag, transit=transit),))


def empty_roi(name: str = "empty", east: float = 0.0, north: float = 0.0) -> RoiSpec:
    """A place of the sky without a source."""
    return RoiSpec(name, east, north, ())


@dataclass(frozen=True)
class FieldSpec:
    """A field and how it is observed. Ranges are (low, high); angles in degrees, times in days or seconds."""

    rois: tuple[RoiSpec, ...] = (lens_roi(),)
    ra: float = 42.2031
    dec: float = 19.22528
    shape: tuple[int, int] = (1024, 1024)  # (ny, nx)
    pixel_scale: float = 0.213  # arcsec per pixel
    exptime: float = 320.0  # s
    zeropoint: float = 24.8  # mag of 1 electron/s through a transparent sky, every filter
    saturation_adu: float = 60000.0
    n_stars: int = 120  # per frame area
    n_variable: int = 6
    star_mag: tuple[float, float] = (15.0, 21.0)  # Gaia G
    n_galaxies: int = 15
    filters: tuple[str, ...] = ("r_sdss",)  # frame k is taken in filters[k % len]
    start_mjd: float = 59800.0
    cadence_days: float = 3.0
    cadence_jitter_days: float = 0.8
    seeing_arcsec: tuple[float, float] = (0.6, 1.4)
    psf_gradient: float = 0.0  # FWHM grows by this fraction from the left to the right edge
    transparency: tuple[float, float] = (0.5, 1.0)
    sky_adu: tuple[float, float] = (100.0, 1500.0)
    gain: tuple[float, ...] = (1.2, 1.5, 1.8)  # electron/ADU, drawn per frame
    read_noise: tuple[float, float] = (4.0, 6.0)  # electron
    cosmics: float = 30.0  # mean number in the 60 % of frames that have any
    dither_arcsec: float = 3.0
    drift_arcsec_per_frame: tuple[float, float] = (0.0, 0.0)  # east, north
    rotation_deg: tuple[float, float] = (0.0, 2.0)
    flip_probability: float = 0.0  # mirrored frames
    targets_in_catalog: bool = False  # list the point sources in stars.csv too
    wcs: str = "good"  # "good" (0.03 arcsec off), "none", or "wrong" (a minute of arc and 3 degrees off)
    integer_adu: bool = True  # unsigned 16-bit; False: float32
