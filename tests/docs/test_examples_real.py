"""The example configurations of the two real data sets run on the frames as far as the plate solution.

Their pages are followed from end to end by tests/test_real_nights.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lightwatch.pipeline.workflow_manager import WorkflowManager
from lightwatch.structure import queries, schema
from lightwatch.structure.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "example_config"


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("example", "folder"),
    [("hatp32_microobservatory.yaml", "hatp32"), ("pds110_lco.yaml", "pds110/raw/20170815")],
)
def test_example_solves_frames(shared_data, tmp_path, example, folder):
    data = shared_data / folder.split("/")[0]
    raw = shared_data / folder if "/" in folder else data / "raw"
    text = (EXAMPLES / example).read_text(encoding="utf-8")
    text = text.replace("[raw]", f"[{raw}]").replace("stars.ecsv", str(data / "stars.ecsv"))
    (tmp_path / "config.yaml").write_text(text + "\nexecutor: {kind: serial}\n")
    workspace = Workspace.open(tmp_path / "config.yaml")
    WorkflowManager(workspace).run(stop="plate_solving", limit=2)
    frames = queries.rows(workspace.reader, schema.frames.select())
    assert len(frames) == 2
    assert all(frame["plate_solved"] for frame in frames if frame["filter"] != "up")
    workspace.close()
