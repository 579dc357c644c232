"""All epochs of a region of interest as one model: point sources on a common background."""

from __future__ import annotations

from lightwatch.processes.roi_types import FloatArray, PointSources, ROIEpochs, ROISolution

__all__ = [
    "PointSources",
    "ROIEpochs",
    "ROISolution",
    "append_epochs",
    "background_image",
    "fit_roi",
    "high_resolution_image",
    "reference_frame",
]


def reference_frame(sky_to_pixel: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Reference frame of a set of epochs: that of the most central one.

    ``sky_to_pixel`` (T, 2, 2) takes tangent-plane offsets (east, north) arcsec at the ROI to px of
    the epoch. Returns that matrix for the reference (2, 2), and ``jacobian`` (T, 2, 2) for ROIEpochs.
    The choice does not depend on the order of the epochs.
    """
    raise NotImplementedError


def fit_roi(
    epochs: ROIEpochs,
    sources: PointSources,
    *,
    with_background: bool,
    fit_local_background: bool,
    shift_sigma_px: float,
    rejection_sigma: float,
    max_passes: int,
    start: ROISolution | None,
) -> ROISolution:
    """Joint fit; ``start`` (an earlier solution of the same ROI, or None) shortens it.

    ``shift_sigma_px``: prior of each epoch's translation against its WCS (0: trust the WCS).
    ``rejection_sigma``: residual beyond which a pixel is taken as struck.
    Raises ProcessError("no_usable_epochs") and InputError("bad_shapes").
    """
    raise NotImplementedError


def append_epochs(solution: ROISolution, epochs: ROIEpochs, *, rejection_sigma: float) -> ROISolution:
    """The solution with new epochs at its end, background and positions kept as they were."""
    raise NotImplementedError


def background_image(solution: ROISolution) -> FloatArray:
    """Background on a half-pixel lattice of the reference frame, electron/s per node.

    Odd side, the middle node is the centre of the ROI; before convolution with any PSF.
    """
    raise NotImplementedError


def high_resolution_image(
    solution: ROISolution, *, fwhm_px: float, subsampling_factor: int, size_px: int
) -> FloatArray:
    """Median fluxes as Gaussians of ``fwhm_px`` on the background: for display.

    Odd side, the middle node is the ROI's centre; electron/s per node, nodes 1/subsampling_factor
    reference px apart.
    """
    raise NotImplementedError
