"""Whether a point source was found where it was said to be."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: farther than a star is wide, the light found is not the light at the place that was asked for
FARTHEST_FWHM = 1.0


def far_from_expected(offset_arcsec: ArrayLike, fwhm_arcsec: float) -> NDArray[np.bool_]:
    """(S,) True where a fitted position is off the given one by more than the stars' FWHM.

    Up to one FWHM the place given is still in the star's own light: coordinates, proper motion and the noise
    of a faint source may be off by so much. Beyond it the fit has walked to another star. False where the FWHM
    is not known (NaN).
    """
    return np.asarray(offset_arcsec, dtype=float) > FARTHEST_FWHM * fwhm_arcsec
