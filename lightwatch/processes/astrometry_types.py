"""What goes into and comes out of the astrometry: small frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Verdict = Literal["agrees", "shifted", "contradicted", "undecided"]


@dataclass(frozen=True)
class Detections:
    """Sources found in one frame, in any order. Positions are 0-based pixels, all arrays (n,)."""

    x: FloatArray
    y: FloatArray
    flux: FloatArray  # any unit, only the order counts
    uncertainty_px: FloatArray  # 1 sigma of x and of y; NaN where unknown
    nx: int
    ny: int


@dataclass(frozen=True)
class ReferenceStars:
    """Positions on the sky at the epoch of the frame (see ``apply_proper_motion``), all arrays (n,)."""

    ra: FloatArray  # degrees
    dec: FloatArray  # degrees
    mag: FloatArray  # NaN where unknown
    uncertainty_arcsec: FloatArray  # 1 sigma per axis; NaN where unknown


@dataclass(frozen=True)
class Hints:
    """What is known before solving; NaN where unknown. Angles in degrees, scales in arcsec per pixel."""

    ra: float
    dec: float
    radius: float  # the centre of the frame is within this distance of (ra, dec)
    scale_min_arcsec: float
    scale_max_arcsec: float


@dataclass(frozen=True)
class AstrometrySettings:
    """When two positions are the same star, and when a solution is believed."""

    min_matches: int  # fewer matched stars are never believed
    max_false_alarm_probability: float  # probability that chance alone gives as many matches
    max_shift_px: float  # largest constant offset of a header WCS that is corrected, not rejected
    match_radius_px: float  # largest distance between a detection and its star before the refinement
    max_rms_px: float  # dispersion per axis of an accepted solution
    max_anisotropy: float  # largest accepted |scale_x / scale_y - 1|
    max_sip_order: int  # 1: never fit a distortion


@dataclass(frozen=True)
class WcsCheck:
    """How well a WCS agrees with the stars, after the best common shift."""

    verdict: Verdict
    n_stars: int  # reference stars that should be in the frame
    n_matches: int
    shift_x_px: float  # add to the predicted pixel position; NaN without a match
    shift_y_px: float
    false_alarm_probability: float
    message: str


@dataclass(frozen=True)
class AstrometricSolution:
    """An accepted WCS and how good it is."""

    wcs_header: str  # FITS cards, SIP included; ``parse_wcs`` reads it
    method: str  # name of the attempt that led here
    model: str  # shift, similarity, affine, sip2, sip3 or none: what was fitted last
    n_matches: int
    rms_ra_arcsec: float  # on the sky: includes cos(dec)
    rms_dec_arcsec: float
    rms_px: float  # per axis
    median_offset_ra_arcsec: float
    median_offset_dec_arcsec: float
    pixel_scale_arcsec: float  # square root of the area of the central pixel
    angle_to_north_deg: float  # position angle of the +y axis, north through east, [0, 360)
    parity: int  # +1: seen from inside the sphere, east left of north; -1: mirrored
    anisotropy: float  # |ratio of the two principal scales - 1|
    false_alarm_probability: float
    matched_detections: IntArray  # (n_matches,) indices into the detections
    matched_stars: IntArray  # (n_matches,) indices into the reference stars


@dataclass(frozen=True)
class Sibling:
    """A solved frame of the same field: its WCS is a guess, its detections can be reference stars."""

    name: str
    detections: Detections
    wcs: WCS
    uncertainty_arcsec: float  # 1 sigma per axis of its WCS


@dataclass(frozen=True)
class Attempt:
    """One try at a WCS, kept whether it succeeded or not."""

    method: str  # header, wcs_of:NAME, pattern, pattern_of:NAME
    outcome: str  # "solved" or the reason code of the failure
    n_matches: int | None  # None when nothing was matched
    false_alarm_probability: float  # NaN where unknown, as below
    rms_px: float  # NaN when it did not come that far
    shift_px: float  # offset of the header WCS; NaN for other methods
    message: str
