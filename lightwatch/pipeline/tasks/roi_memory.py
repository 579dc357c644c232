"""What the last model of an ROI is still worth: new frames join it if nothing else has changed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightwatch.errors import StorageError
from lightwatch.pipeline.task import Group, TaskContext
from lightwatch.pipeline.tasks.roi_products import model_path
from lightwatch.processes import roi_model
from lightwatch.processes.psf_model import LocalPSF
from lightwatch.structure import queries, store

_TASK = "model_calibrated_cutouts"
_GROWTH = 1.1  # of the number of epochs, from which all are solved jointly again
_SAME_PX = 0.01
_SAME_COEFFICIENT = (
    1e-3  # relative change of single epochs' coefficients, of which the background's light matters
)
_DATA_STEP_SIGMA = 1e-3  # resolution of the mark: data went through a division by the coefficient

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Memory:
    """A stored model and what it was made of."""

    solution: roi_model.ROISolution
    frame_id: NDArray[np.int64]
    marks: list[str]  # of the inputs of every epoch
    labels: list[str]
    positions_arcsec: Floats  # (n, 2) first positions of all sources, others of the cutouts included
    reference: Floats  # (2, 2) px of the reference frame per arcsec (east, north)


def remembered(context: TaskContext, group: Group) -> Memory | None:
    """The last model of the group by the same recipe, if its product is there."""
    rows = queries.rows(
        context.workspace.reader, queries.group_result(_TASK, context.footprint_hash, group.key)
    )
    if not rows or rows[0]["state"] != "done" or rows[0]["recipe"] != context.recipe:
        return None
    try:
        a = store.read_product(context.workspace.workdir, model_path(rows[0]))
        solution = {key.removeprefix("solution/"): a[key] for key in a if key.startswith("solution/")}
        return Memory(
            solution=roi_model.ROISolution.from_arrays(solution),
            frame_id=a["frame_id"],
            marks=[str(mark) for mark in a["marks"]],
            labels=[str(label) for label in a["labels"]],
            positions_arcsec=a["first_positions_arcsec"],
            reference=a["reference_px_per_arcsec"],
        )
    except (StorageError, KeyError):
        return None  # it can be made anew


def epoch_marks(a: dict[str, Any]) -> list[str]:
    """One digest per epoch over what the model takes from it, the normalization coefficient excepted."""
    sigma = np.sqrt(a["model/background_variance"])
    data = a["data"] * a["model/coefficient"][:, None, None] / sigma
    whole = np.nan_to_num(np.rint(data / _DATA_STEP_SIGMA)).clip(-1e15, 1e15).astype(np.int64)
    psf = [a[f"model/psf/{name}"] for name in LocalPSF._fields]
    names = (
        "good",
        "background_variance",
        "jacobian_px_per_arcsec",
        "origin",
        "star_shift",
        "star_shift_sigma",
        "psf_model_error",
    )
    of_all = str((data.shape[1:], int(a["model/quadrature"]), str(a["model/flux_kind"])))
    marks = []
    for t in range(len(data)):
        mark = hashlib.sha256(of_all.encode())
        for values in (whole, a["exptime"], *(a[f"model/{name}"] for name in names)):
            mark.update(np.ascontiguousarray(values[t]).tobytes())
        for values in psf:  # without the zeros to which coefficients of a batch are padded
            mark.update(values[t][values[t] != 0].tobytes())
        marks.append(mark.hexdigest()[:32])
    return marks


def continued(
    memory: Memory | None, a: dict[str, Any], marks: list[str], labels: list[str], positions_arcsec: Floats
) -> tuple[roi_model.ROISolution, NDArray[np.int64]] | None:
    """The stored solution on the present scale, and the numbers of the epochs it lacks; None if all must be redone.

    The solution's epochs are in the order of the others.
    """
    if memory is None or memory.labels != labels or memory.positions_arcsec.shape != positions_arcsec.shape:
        return None
    moved = np.abs((memory.positions_arcsec - positions_arcsec) @ memory.reference.T).max(initial=0.0)
    place = {int(frame): k for k, frame in enumerate(memory.frame_id)}
    index = [(t, place[int(frame)]) for t, frame in enumerate(a["frame_id"]) if int(frame) in place]
    same = len(index) == len(place) and all(marks[t] == memory.marks[k] for t, k in index)
    if not same or moved > _SAME_PX or len(marks) > _GROWTH * memory.solution.joint_epochs:
        return None
    old, stored = np.array(index, dtype=np.int64).T
    solution, rest = roi_model.regauged(
        roi_model.taken_epochs(memory.solution, stored),
        a["model/coefficient"][old],
        a["model/coefficient_uncertainty"][old],
    )
    if solution.background.size and np.nanmax(np.abs(rest)) > _SAME_COEFFICIENT:
        return None
    return solution, np.setdiff1d(np.arange(len(marks)), old)
