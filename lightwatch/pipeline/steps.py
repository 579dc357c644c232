"""One function per step, for notebooks: ``model_all_psfs()`` does what is pending in ``psf_modeling``.

Without an argument a step works on the workdir whose config file the variable LIGHTWATCH_CONFIG names. Every
step only does what is missing, so that a cell may be run again. Each function stands under the name of its
step too (``plate_solving`` is ``plate_solve_all_frames``).

>>> from lightwatch.pipeline.steps import initialize_database, plate_solve_all_frames  # doctest: +SKIP
>>> initialize_database()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from lightwatch.pipeline.reporting import TaskSummary

if TYPE_CHECKING:
    from lightwatch.structure.workspace import Workspace

_SHOWN_CAUSES = 10


@dataclass(frozen=True)
class StepResult:
    """What a step did: counts, seconds, and the causes of what it refused or failed on."""

    summary: TaskSummary
    exit_code: int
    total: int
    causes: tuple[Mapping[str, Any], ...]

    @property
    def task(self) -> str:
        """Name of the step."""
        return self.summary.task

    def __repr__(self) -> str:
        s = self.summary
        if not s.items:
            return f"{s.task}: nothing to do, {self.total} done before" + (f" ({s.note})" if s.note else "")
        counts = f"{s.done} done, {s.rejected} rejected, {s.failed} failed in {s.seconds:.1f} s"
        causes = "".join(f"\n  {cause['n']} x {_told(cause)}" for cause in self.causes[:_SHOWN_CAUSES])
        return f"{s.task}: {counts}; {self.total} done in all" + (f" ({s.note})" if s.note else "") + causes

    def _repr_html_(self) -> str:
        s = self.summary
        cells = {
            "done": s.done, "rejected": s.rejected, "failed": s.failed, "deferred": s.deferred,
            "seconds": f"{s.seconds:.1f}", "done in all": self.total,
        }  # fmt: skip
        head = "".join(f"<th>{escape(name)}</th>" for name in cells)
        body = "".join(f"<td>{escape(str(value))}</td>" for value in cells.values())
        causes = "".join(
            f"<li>{cause['n']} &times; {escape(_told(cause))}</li>" for cause in self.causes[:_SHOWN_CAUSES]
        )
        note = f"<p>{escape(s.note)}</p>" if s.note else ""
        return (
            f"<b>{escape(s.task)}</b>"
            f"<table><thead><tr>{head}</tr></thead><tbody><tr>{body}</tr></tbody></table>"
            f"{note}{f'<ul>{causes}</ul>' if causes else ''}"
        )


def _told(cause: Mapping[str, Any]) -> str:
    return f"{cause['reason_code']}: {cause['reason']} ({cause['example']})"


def _step(name: str, workspace: Workspace | None) -> StepResult:
    from lightwatch.pipeline.causes import causes_of_run, quarantined_files
    from lightwatch.pipeline.workflow_manager import WorkflowManager
    from lightwatch.structure import queries, queries_overview
    from lightwatch.structure.workspace import Workspace as Opened

    ws = workspace or Opened.open()
    before = quarantined_files(ws)
    result = WorkflowManager(ws).run(only=name)
    done = {row["task"]: row["done"] for row in queries.rows(ws.reader, queries_overview.progress())}
    causes = causes_of_run(ws, before)
    ws.close()
    return StepResult(result.summaries[0], result.exit_code, done.get(name, 0), tuple(causes))


def initialize_database(workspace: Workspace | None = None) -> StepResult:
    """Make the database, or bring it to this version's schema."""
    return _step("initialize_database", workspace)


def read_convert_skysub_character_catalog(workspace: Workspace | None = None) -> StepResult:
    """Import new raw files: electron/s, sky subtracted, sources and conditions measured."""
    return _step("read_convert_skysub_character_catalog", workspace)


def plate_solve_all_frames(workspace: Workspace | None = None) -> StepResult:
    """Find, or confirm, the WCS of new frames."""
    return _step("plate_solving", workspace)


def calc_common_and_total_footprint_and_save(workspace: Workspace | None = None) -> StepResult:
    """Footprints of the frames, the area common to all, and which of them hold an ROI."""
    return _step("calculate_common_and_total_footprint", workspace)


def query_gaia_stars(workspace: Workspace | None = None) -> StepResult:
    """Choose the reference stars, and find them on the frames."""
    return _step("query_gaia_for_stars", workspace)


def extract_all_stamps(workspace: Workspace | None = None) -> StepResult:
    """Cutouts of stars and ROIs with noise maps and masks."""
    return _step("stamp_extraction", workspace)


def model_all_psfs(workspace: Workspace | None = None) -> StepResult:
    """The PSF of every frame."""
    return _step("psf_modeling", workspace)


def do_star_photometry(workspace: Workspace | None = None) -> StepResult:
    """Fluxes of the reference stars."""
    return _step("star_photometry", workspace)


def calculate_coefficient(workspace: Workspace | None = None) -> StepResult:
    """The normalization coefficient of every frame."""
    return _step("calculate_normalization_coefficient", workspace)


def calculate_zeropoints(workspace: Workspace | None = None) -> StepResult:
    """Zero points from catalogue photometry."""
    return _step("calculate_absolute_zeropoints", workspace)


def prepare_roi_file(workspace: Workspace | None = None) -> StepResult:
    """Calibrated cutouts of the ROIs."""
    return _step("prepare_calibrated_cutouts", workspace)


def do_modelling_of_roi(workspace: Workspace | None = None) -> StepResult:
    """The joint model of all epochs of the ROIs, and the light curves."""
    return _step("model_calibrated_cutouts", workspace)


prepare_roi_deconv_file = prepare_roi_file
plate_solving = plate_solve_all_frames
calculate_common_and_total_footprint = calc_common_and_total_footprint_and_save
query_gaia_for_stars = query_gaia_stars
stamp_extraction = extract_all_stamps
psf_modeling = model_all_psfs
star_photometry = do_star_photometry
calculate_normalization_coefficient = calculate_coefficient
calculate_absolute_zeropoints = calculate_zeropoints
prepare_calibrated_cutouts = prepare_roi_file
model_calibrated_cutouts = do_modelling_of_roi
