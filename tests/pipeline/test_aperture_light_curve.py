"""Light curves that rest on apertures: what their flags say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightwatch.flags import DOUBTFUL, Flag
from lightwatch.pipeline.tasks.roi_modelling import ModelInputs, Modelled, _flux_rows, compute
from lightwatch.structure.config import LightCurves, RoiModel

COUNT, SIZE, CENTRE = 6, 16, 7.5
SATURATED, STRUCK, DEAD_FAR, DEAD_NEAR = 1, 2, 3, 4
FLUX = 2000.0


@pytest.fixture(scope="module")
def modelled() -> Modelled:
    """Model of a star twice as wide as its PSFs: the fit is poor, the aperture is not."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIZE, :SIZE] - CENTRE
    light = np.exp(-0.5 * (x**2 + y**2) / 1.8**2) / (2 * np.pi * 1.8**2)
    coefficient = np.linspace(0.8, 1.2, COUNT)
    mask = np.zeros((COUNT, SIZE, SIZE), np.int32)
    mask[SATURATED, 7, 7] = int(Flag.SATURATED)
    mask[STRUCK, 7, 8] = int(Flag.COSMIC_RAY)
    mask[DEAD_FAR, 0, 0] = int(Flag.BAD)  # in no aperture
    mask[DEAD_NEAR, 8, 8] = int(Flag.BAD)
    data = FLUX * coefficient[:, None, None] * light + rng.normal(0, 0.1, mask.shape)
    psf = {
        "theta": np.tile([0.0, 0, 0, 0.0], (COUNT, 1)),
        "coefficients": np.zeros((COUNT, 1, 1)),
        "u0": np.full(COUNT, 2.0),
        "extent": np.full(COUNT, 3.0),
        "edge": np.full(COUNT, 8.0),
        "amplitude": np.ones(COUNT),
    }
    arrays = {
        "frame_id": np.arange(1, COUNT + 1),
        "data": data / coefficient[:, None, None],
        "exptime": np.full(COUNT, 100.0),
        "seeing": np.full(COUNT, 2.5),
        "global_zeropoint": np.full(COUNT, 25.0),
        "global_zeropoint_uncertainty": np.full(COUNT, 0.02),
        "global_zeropoint_scatter": np.full(COUNT, 0.2),
        "model/coefficient": coefficient,
        "model/coefficient_uncertainty": np.full(COUNT, 0.002),
        "model/background_variance": np.full(mask.shape, 0.01),
        "model/good": mask == 0,
        "model/mask": mask,
        "model/jacobian_px_per_arcsec": np.tile(np.eye(2), (COUNT, 1, 1)),
        "model/origin": np.full((COUNT, 2), CENTRE),
        "model/star_shift": np.zeros((COUNT, 2)),
        "model/star_shift_sigma": np.full(COUNT, 0.01),
        "model/others_arcsec": np.zeros((0, 2)),
        "model/psf_model_error": np.full(COUNT, 0.03),
        "model/quadrature": 2,
        "model/flux_kind": "aperture",
        "model/aperture_radius_px": np.full(COUNT, 4.0),
        **{f"model/psf/{name}": value for name, value in psf.items()},
    }
    inputs = ModelInputs(
        arrays, ["star"], np.zeros((1, 2)), (10.0, 10.0), RoiModel(), LightCurves(), memory=None
    )
    output = compute(inputs).output
    assert (output.solution.reduced_chi2 > 2).all()  # that PSF would be refused
    return output


@pytest.mark.parametrize(
    ("granted", "variance", "poor"), [(0.3, 0.01, False), (0.0, 1e4, True), (0.001, 1e4, True)]
)
def test_a_small_chi2_is_no_poor_fit_where_it_comes_of_an_error_granted(
    modelled, granted, variance, poor
) -> None:
    """A bright star, whose fit grants far more than its residuals need; noise that is taken too large is one."""
    arrays = modelled.inputs.arrays | {
        "model/flux_kind": "psf",
        "model/psf_model_error": np.full(COUNT, granted),
        "model/background_variance": np.full((COUNT, SIZE, SIZE), variance),
    }
    solution = compute(replace(modelled.inputs, arrays=arrays)).output.solution
    assert (solution.reduced_chi2 < 0.6).all()
    assert {bool(flags & Flag.POOR_FIT) for flags in solution.flags} == {poor}


@pytest.fixture(scope="module")
def rows(modelled: Modelled) -> list[dict[str, Any]]:
    return _flux_rows(modelled)


def test_the_rejected_fit_leaves_no_mark_on_the_points(rows) -> None:
    for t in (0, DEAD_FAR, COUNT - 1):
        assert rows[t]["flags"] == 0
    assert all(row["reduced_chi2"] is None and row["flux"] is not None for row in rows)


def test_pixels_in_the_aperture_do(rows) -> None:
    assert rows[SATURATED]["flags"] == int(Flag.SATURATED)
    assert rows[DEAD_NEAR]["flags"] == int(Flag.BAD)
    assert rows[STRUCK]["flags"] == int(Flag.COSMIC_RAY)
    assert [bool(row["flags"] & DOUBTFUL) for row in rows] == [False, True, False, False, True, False]


def test_the_zero_point_is_as_uncertain_as_the_scale(rows) -> None:
    assert {row["zeropoint_uncertainty"] for row in rows} == {0.02}


@pytest.mark.parametrize(("offset", "flagged"), [(0.0, False), (2.4, False), (2.6, True), (-2.6, True)])
def test_a_star_found_farther_than_its_fwhm_from_the_coordinates_is_doubtful(
    modelled, offset, flagged
) -> None:
    """The FWHM is 2.5 arcsec: within it the place given is in the star's own light."""
    away = replace(modelled.inputs, positions_arcsec=np.array([[0.0, offset]]))
    rows = _flux_rows(replace(modelled, inputs=away))
    assert {bool(row["flags"] & Flag.LARGE_SHIFT) for row in rows} == {flagged}


def test_without_a_known_seeing_nothing_is_said_of_the_place(modelled) -> None:
    arrays = modelled.inputs.arrays | {"seeing": np.full(COUNT, np.nan)}
    away = replace(modelled.inputs, arrays=arrays, positions_arcsec=np.array([[0.0, 30.0]]))
    rows = _flux_rows(replace(modelled, inputs=away))
    assert not any(row["flags"] & Flag.LARGE_SHIFT for row in rows)
