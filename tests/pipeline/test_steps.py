"""The functions for notebooks."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from lightwatch.pipeline import night, steps
from lightwatch.pipeline.reporting import TaskSummary
from lightwatch.pipeline.steps import StepResult
from lightwatch.pipeline.workflow_manager import WorkflowManager
from lightwatch.structure.workspace import Workspace

from .rows import fill, make_workdir

TUTORIAL = (
    "initialize_database", "read_convert_skysub_character_catalog", "plate_solve_all_frames",
    "calc_common_and_total_footprint_and_save", "query_gaia_stars", "extract_all_stamps", "model_all_psfs",
    "do_star_photometry", "calculate_coefficient", "calculate_zeropoints", "prepare_roi_file", "do_modelling_of_roi",
)  # fmt: skip


def test_every_step_has_its_function_under_both_names():
    assert [getattr(steps, name) for name in TUTORIAL] == [getattr(steps, name) for name in night.NAMES]
    assert steps.prepare_roi_deconv_file is steps.prepare_roi_file


def test_the_manager_names_the_tasks_in_order(tmp_path):
    workspace = Workspace.open(make_workdir(tmp_path / "w"))
    assert WorkflowManager(workspace).get_tasks() == list(night.NAMES)


def test_a_step_works_on_the_workdir_of_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTWATCH_CONFIG", str(make_workdir(tmp_path / "w") / "config.yaml"))
    assert steps.initialize_database().task == "initialize_database"
    assert (tmp_path / "w" / "database.sqlite3").is_file()


@pytest.mark.parametrize(("name", "function"), list(zip(night.NAMES, TUTORIAL, strict=True)))
def test_a_step_runs_its_own_task_and_tells_what_was_done_before(tmp_path, name, function):
    workspace = Workspace.open(make_workdir(tmp_path / "w"))
    fill(workspace, 4)
    result = getattr(steps, function)(workspace)
    scope = night.task_named(name).scope
    if scope in ("files", "frames"):
        assert repr(result) == f"{name}: nothing to do, 4 done before"
    else:
        assert result.task == name
    workspace.close()


def test_results_show_themselves_and_hostile_text_stays_text():
    evil = "<script>alert(1)</script>\"'&"
    causes = ({"n": 2, "reason_code": "bad_pixels:zero", "reason": evil, "example": evil},)
    result = StepResult(
        TaskSummary("psf_modeling", done=3, rejected=2, seconds=1.25, note=evil), 10, 8, causes
    )
    assert "3 done, 2 rejected, 0 failed in 1.2 s; 8 done in all" in repr(result)
    assert "2 x bad_pixels:zero" in repr(result)
    page = Page()
    page.feed(result._repr_html_())
    assert "script" not in page.tags
    assert "".join(page.texts).count(evil) == 3
    assert [text for tag, text in page.cells if tag == "td"] == ["3", "2", "0", "0", "1.2", "8"]


class Page(HTMLParser):
    """Tags and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.cells: list[tuple[str, str]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)
        self.cells.append((self.tags[-1], data))
