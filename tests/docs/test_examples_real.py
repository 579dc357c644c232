"""The examples of the two real data sets: their configurations run on the frames as far as the plate solution, and
what their pages show is what a user sees.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from lightwatch.pipeline import cli
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


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["hatp32", "pds110"])
def test_page_shows_what_is_printed(shared_data, tmp_path, monkeypatch, capsys, name):
    """init, config check and plan, as on the page; what the page leaves out with '...' may be anything."""
    page = (ROOT / "docs" / "examples" / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).symlink_to(shared_data / name / "raw")
    shutil.copy(shared_data / name / "stars.ecsv", tmp_path / "raw" / f"{name}-stars.ecsv")
    talk = [block for block in blocks if block[0] in ("", "text")][:4]
    for (_, commands), (_, shown) in zip(talk[::2], talk[1::2], strict=True):
        printed = ""
        for line in commands.splitlines():
            with pytest.raises(SystemExit):
                cli.main([word.replace("~", str(tmp_path)) for word in line.split()[1:]])
            told = capsys.readouterr()
            printed += told.out + told.err
        pattern = ".*".join(re.escape(part) for part in shown.split("...\n"))
        assert re.fullmatch(pattern, printed.replace(str(tmp_path), "/home/me"), re.DOTALL), printed
    settings = (tmp_path / name / "config.yaml").read_text().replace(str(tmp_path), "/home/me")
    (block,) = [text for language, text in blocks if language == "yaml"]
    in_force = [re.sub(r" +# .*", "", line) for line in settings.splitlines()]
    assert [line for line in block.splitlines() if line not in in_force] == []
