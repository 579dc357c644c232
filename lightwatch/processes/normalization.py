"""Frame normalization: one joint robust fit of all reference stars in all frames of one filter.

Model: ``flux[i, j] = coefficient[i] * star_flux[j] * (1 + v[i, j]) + noise``, where ``v`` has the star's
own excess scatter (variability, flat-field residuals) and, when needed, the frame's. A frame is *divided*
by its coefficient. All (star, frame) pairs are solved together, so stars may come and go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Normalization:
    """The solution for one filter; NaN where there is none, with the reason in the flags.

    Frames, shape (n_frames,):
        ``coefficient`` and its 1 sigma ``coefficient_uncertainty`` (joint covariance, gauge included),
        ``frame_scatter`` relative scatter of the stars in this frame beyond all other noise,
        ``frame_chi2`` reduced chi2, ``frame_n_stars`` number of stars used, ``frame_flags``
        (``TOO_FEW_STARS``, ``OUTLIER``, ``UNLINKED``), ``frame_group`` connected group, -1 without data.
    Stars, shape (n_stars,):
        ``star_flux`` mean flux on the normalised scale (electron/s) and ``star_flux_uncertainty``,
        ``star_scatter`` relative excess scatter, ``star_n_frames``, ``star_flags`` (``VARIABLE``,
        ``LOW_SNR``, ``UNLINKED``), ``influence_rms`` and ``influence_max``: relative change of the
        coefficients (over the star's frames) were this star left out.
    Pairs, shape (n_frames, n_stars):
        ``pair_share`` the star's share of the weight in the frame (rows sum to one),
        ``pair_outlier`` True where the pair was disowned.
    """

    coefficient: Floats
    coefficient_uncertainty: Floats
    frame_scatter: Floats
    frame_chi2: Floats
    frame_n_stars: Ints
    frame_flags: Ints
    frame_group: Ints
    star_flux: Floats
    star_flux_uncertainty: Floats
    star_scatter: Floats
    star_n_frames: Ints
    star_flags: Ints
    influence_rms: Floats
    influence_max: Floats
    pair_share: Floats
    pair_outlier: Bools
    converged: bool
    n_iterations: int


def normalize(
    flux: Floats,
    flux_uncertainty: Floats,
    good: Bools,
    *,
    gauge_flux: Floats | None,
    min_stars: int,
    min_snr: float,
    scatter_floor: float,
    variable_scatter: float,
    outlying_frame_scatter: float,
    coefficient_range: tuple[float, float],
    outlier_sigma: float,
    max_iterations: int,
) -> Normalization:
    """Solve the normalization of all frames of one filter.

    Parameters
    ----------
    flux, flux_uncertainty : (n_frames, n_stars), electron/s, 1 sigma; may hold NaN where ``good`` is False.
    good : (n_frames, n_stars), True = use. An excluded star is a column of False.
    gauge_flux : (n_stars,) or None. The overall scale is a convention. None: the median coefficient of the
        frames is 1. An array of expected fluxes (NaN = unknown; e.g. ``10**(-0.4 * (mag - zeropoint))`` of
        the catalogue with a pinned zero point, or the star fluxes of an earlier solution): the median ratio
        of the stars to it is 1, so that the scale does not move when frames are added.
    min_stars : frames with fewer usable stars get no coefficient.
    min_snr : stars whose median S/N over their frames is lower do not enter.
    scatter_floor : relative excess scatter that every star is given at least (for instance 0.001).
    variable_scatter : stars with a significant excess scatter above this are flagged ``VARIABLE``.
    outlying_frame_scatter : frames with a significant excess scatter above this are flagged ``OUTLIER``.
    coefficient_range : frames whose coefficient over the median is outside of it are flagged ``OUTLIER``.
    outlier_sigma : a pair farther off than this has no weight (biweight; 6 keeps 98 % efficiency).

    Raises
    ------
    InputError ``bad_shape``; TooFewStars ``no_stars_in_common`` when no frame can be solved.

    Source: bilinear model by Gauss-Newton in log coefficient and log flux; robust weights by Beaton &
    Tukey (1974) biweight; variance components by Fisher scoring; own derivation of the Schur form.
    """
    raise NotImplementedError
