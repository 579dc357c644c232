"""What goes into the joint model of a region of interest, and what comes out.

Geometry. The *reference frame* of a ROI is a plane of pixels centred on the ROI. A place
y = (x, y) reference px lies in the cutout of epoch t at ``origin[t] + shift[t] + jacobian[t] @ y``,
pixels 0-based. Use :func:`lightwatch.processes.roi_model.reference_frame` to choose it.

Fluxes are of the whole plane (see psf_model), in electron/s of the *normalised scale*: the flux
in the frame divided by the frame's normalization coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwatch.processes.psf_model import LocalPSF

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ROIEpochs:
    """T cutouts of one ROI in one filter, each with its own orientation, scale and PSF."""

    data: FloatArray  # (T, n, n) electron/s of the frame, sky-subtracted; NaN allowed
    background_variance: FloatArray  # (T, n, n) (electron/s)^2, without the model's photons
    good: BoolArray  # (T, n, n) True = use
    exposure: FloatArray  # (T,) s; photon variance of a model m is m / exposure
    psf: LocalPSF  # stacked: every field has the leading axis T
    quadrature: int  # nodes per pixel and axis of the PSF models (the largest of them)
    jacobian: FloatArray  # (T, 2, 2) reference px -> px of the epoch, may flip, rotate and scale
    origin: FloatArray  # (T, 2) (x, y) px in the cutout of the ROI's centre, from the WCS
    star_shift: FloatArray  # (T, 2) px, displacement of the frame's stars from the WCS (roi_shift.star_shift)
    star_shift_sigma: FloatArray  # (T,) px per axis, 1 sigma; inf where the stars say nothing
    coefficient: FloatArray  # (T,) normalization coefficient
    coefficient_uncertainty: FloatArray  # (T,) 1 sigma; NaN = unknown


@dataclass(frozen=True)
class PointSources:
    """S point sources: first positions, and how much they may move."""

    position_px: FloatArray  # (S, 2) (x, y) from the centre of the ROI, reference px
    sigma_px: FloatArray  # (S,) prior of the position per axis: 0 fixed, inf free


@dataclass(frozen=True)
class ROISolution:
    """The joint model. Fluxes in electron/s of the normalised scale; NaN where there is none.

    ``flux_uncertainty`` is the quadratic sum of the three parts. A constant error, the same in every
    epoch of a point source, is in none of them: it is ``constant_offset_uncertainty``.
    """

    flux: FloatArray  # (T, S)
    flux_uncertainty: FloatArray  # (T, S)
    local_uncertainty: FloatArray  # (T, S) photons, shift and local background of the epoch
    background_uncertainty: FloatArray  # (T, S) common background and positions, less a constant
    normalization_uncertainty: FloatArray  # (T, S) |flux| * coefficient_uncertainty / coefficient
    constant_offset_uncertainty: FloatArray  # (S,) of a constant added to the whole light curve
    shift_px: FloatArray  # (T, 2) px of the epoch, against the WCS (that of the stars included)
    local_background: FloatArray  # (T,) electron/s per px of the epoch's frame; 0 when not fitted
    reduced_chi2: FloatArray  # (T,)
    flags: IntArray  # (T,) lightwatch.flags.Flag
    source_flags: IntArray  # (T, S) lightwatch.flags.Flag
    position_px: FloatArray  # (S, 2) reference px
    position_covariance_px2: FloatArray  # (2 S, 2 S) ordered x0, y0, x1, y1 ...
    background: FloatArray  # (m, m) electron/s per node, on the lattice; (0, 0) without background
    background_spacing_px: float  # reference px between the nodes; the lattice is centred on the ROI
    background_amplitude: FloatArray  # (m, m) 1 sigma of the prior per node, electron/s
    correlation_px: float  # length of the prior's correlation between nodes
    information: (
        Float32Array  # (G, G) normal matrix of the globals (nodes, then free positions), without prior
    )
    vector: FloatArray  # (G,): information @ globals = vector without a prior
    flux_response: Float32Array  # (T, S, G): fluxes fall by flux_response @ change of the globals
    coefficient: FloatArray  # (T,) normalization coefficients that the fluxes were divided by
    fitted_coefficient: FloatArray  # (T,) those of the fit of each epoch, on the same scale
    model: FloatArray  # (T, n, n) electron/s of the frame
    point_source_model: FloatArray  # (T, n, n) the part of the point sources
    rejected: BoolArray  # (T, n, n) good pixels that the model disowned
    epoch_weight: FloatArray  # (T,) in (0, 1]: less than 1 where the epoch disagrees
    shift_sigma_px: float  # settings of the fit, which added epochs share
    shift_scatter_px: float  # of the shifts per axis, beyond what the stars let expect
    local_background_fitted: bool
    joint_epochs: int  # epochs of the last joint fit
    converged: bool
    n_passes: int
    last_step_px: float  # largest move of a position in the last pass
    effective_modes: float  # well-determined combinations of background nodes

    def to_arrays(self) -> dict[str, NDArray]:
        """Plain arrays by field name, for storage."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray]) -> ROISolution:
        """Inverse of :meth:`to_arrays`."""
        scalar = {"float": float, "int": int, "bool": bool}
        values: dict[str, Any] = {
            f.name: scalar.get(str(f.type), np.asarray)(arrays[f.name]) for f in fields(cls)
        }
        return cls(**values)
