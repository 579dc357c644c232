"""Which part of a stored model of an ROI still holds when frames come in or change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lightwatch.pipeline.tasks.roi_memory import Memory, continued, epoch_marks
from lightwatch.processes.psf_model import LocalPSF
from lightwatch.processes.roi_model import ROIEpochs, ROISolution, fit_roi
from lightwatch.processes.roi_types import PointSources

COUNT, SIZE = 12, 12
POSITIONS = np.array([[-1.5, 0.0], [1.5, 0.0]])
LABELS = ["A", "B"]


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    """Cutouts of two point sources as prepare_calibrated_cutouts leaves them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    light = sum(20 / (1 + ((x - a) ** 2 + (y - b) ** 2) / 4) ** 3 for a, b in POSITIONS)
    coefficient = rng.uniform(0.7, 1.2, COUNT)
    psf = {
        "theta": np.tile([np.log(2.0), 0, 0, np.log(2.0)], (COUNT, 1)),
        "coefficients": np.zeros((COUNT, 1, 1)),
        "u0": np.full(COUNT, 2.0),
        "extent": np.full(COUNT, 3.0),
        "edge": np.full(COUNT, 8.0),
        "amplitude": np.ones(COUNT),
    }
    return {
        "frame_id": np.arange(1, COUNT + 1),
        "data": light + rng.normal(0, 0.1, (COUNT, SIZE, SIZE)) / coefficient[:, None, None],
        "exptime": np.full(COUNT, 100.0),
        "model/coefficient": coefficient,
        "model/coefficient_uncertainty": np.full(COUNT, 0.002),
        "model/background_variance": np.full((COUNT, SIZE, SIZE), 0.01),
        "model/good": np.ones((COUNT, SIZE, SIZE), bool),
        "model/jacobian_px_per_arcsec": np.tile(np.eye(2), (COUNT, 1, 1)),
        "model/origin": np.full((COUNT, 2), (SIZE - 1) / 2),
        "model/star_shift": np.zeros((COUNT, 2)),
        "model/star_shift_sigma": np.full(COUNT, 0.01),
        "model/psf_model_error": np.zeros(COUNT),
        "model/quadrature": 2,
        "model/flux_kind": "psf",
        **{f"model/psf/{name}": value for name, value in psf.items()},
    }


def some(a: dict[str, Any], index: np.ndarray) -> dict[str, Any]:
    return {name: value[index] if np.ndim(value) else value for name, value in a.items()}


@pytest.fixture(scope="module")
def memory(arrays: dict[str, Any]) -> Memory:
    a = some(arrays, np.arange(COUNT - 1))
    epochs = ROIEpochs(
        data=a["data"] * a["model/coefficient"][:, None, None],
        exposure=a["exptime"],
        psf=LocalPSF(**{name: a[f"model/psf/{name}"] for name in LocalPSF._fields}),
        quadrature=2,
        jacobian=a["model/jacobian_px_per_arcsec"],
        **{
            name: a[f"model/{name}"]
            for name in (
                "background_variance", "good", "origin", "star_shift", "star_shift_sigma",
                "coefficient", "coefficient_uncertainty",
            )
        },
    )  # fmt: skip
    solution = fit_roi(
        epochs,
        PointSources(POSITIONS, np.full(2, np.inf)),
        with_background=True,
        fit_local_background=True,
        shift_sigma_px=1.0,
        rejection_sigma=6.0,
        max_passes=8,
    )
    return Memory(solution, a["frame_id"], epoch_marks(a), LABELS, POSITIONS, np.eye(2))


def asked(memory: Memory | None, a: dict[str, Any]) -> tuple[ROISolution, np.ndarray] | None:
    return continued(memory, a, epoch_marks(a), LABELS, POSITIONS)


def test_a_new_frame_joins_wherever_it_stands_in_time(arrays, memory) -> None:
    order = np.array([0, 1, 11, 2, 3, 10, 9, 4, 5, 6, 7, 8])
    found = asked(memory, some(arrays, order))
    assert found is not None
    solution, new = found
    np.testing.assert_array_equal(new, [2])
    np.testing.assert_array_equal(solution.flux, memory.solution.flux[np.delete(order, 2)])


def test_nothing_new_needs_no_fit(arrays, memory) -> None:
    found = asked(memory, some(arrays, np.arange(COUNT - 1)))
    assert found is not None
    assert len(found[1]) == 0


def test_changed_coefficients_are_followed_up_to_a_limit(arrays, memory) -> None:
    """The data are stored divided by the coefficient, so their marks must not see it."""
    for noise, holds in ((2e-4, True), (5e-3, False)):
        factor = 1.01 + noise * np.linspace(-1, 1, COUNT)
        a = arrays | {
            "model/coefficient": arrays["model/coefficient"] * factor,
            "data": arrays["data"] / factor[:, None, None],
        }
        found = asked(memory, a)
        assert (found is not None) == holds
        if found is not None:
            np.testing.assert_allclose(found[0].flux * factor[:-1, None], memory.solution.flux, rtol=1e-9)


def test_small_changes_of_coefficients_do_not_add_up_unseen(arrays, memory) -> None:
    """Four runs, each of which changes them by less than the limit."""
    held = []
    for turn in range(1, 5):
        factor = 1.05**turn * (1 + 6e-4 * turn * np.linspace(-1, 1, COUNT))
        a = arrays | {
            "model/coefficient": arrays["model/coefficient"] * factor,
            "data": arrays["data"] / factor[:, None, None],
        }
        found = asked(memory, a)
        held.append(found is not None)
        memory = replace(memory, solution=found[0]) if found else memory
    assert held == [True, False, False, False]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("data", 0.5),
        ("model/background_variance", 1e-4),
        ("model/origin", 0.01),
        ("model/star_shift", 0.01),
        ("model/psf/theta", 1e-6),
        ("model/psf_model_error", 0.01),
        ("exptime", 1.0),
    ],
)
def test_a_changed_frame_ends_the_memory(arrays, memory, name: str, change: float) -> None:
    values = arrays[name].copy()
    values[4] += change
    assert asked(memory, arrays | {name: values}) is None


def test_what_else_ends_the_memory(arrays, memory) -> None:
    marks = epoch_marks(arrays)
    assert asked(None, arrays) is None
    assert asked(memory, some(arrays, np.arange(1, COUNT))) is None  # a frame is gone
    assert asked(memory, arrays | {"model/flux_kind": "aperture"}) is None
    assert continued(memory, arrays, marks, ["A", "C"], POSITIONS) is None
    assert continued(memory, arrays, marks, LABELS, POSITIONS + 0.1) is None
    assert continued(memory, arrays, marks, LABELS, POSITIONS[:1]) is None
    grown = replace(memory, solution=replace(memory.solution, joint_epochs=10))
    assert asked(grown, arrays) is None  # more than a tenth has been added since all were solved jointly


def test_padding_of_psf_coefficients_is_no_change(arrays, memory) -> None:
    wider = np.pad(arrays["model/psf/coefficients"], ((0, 0), (0, 2), (0, 2)))
    assert asked(memory, arrays | {"model/psf/coefficients": wider}) is not None
