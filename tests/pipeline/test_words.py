"""What a person is told by a run, and by the commands about it: causes, remedies, and how it ended."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from lightwatch.pipeline import cli
from lightwatch.structure.workspace import Workspace

from .rows import fill, make_workdir
from .test_cli import IMPORT


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    monkeypatch.delenv("LIGHTWATCH_CONFIG", raising=False)
    monkeypatch.delenv("LIGHTCURVER_CONFIG", raising=False)


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(tmp_path / "w")


@pytest.fixture
def lightwatch(capsys):
    """Run a command in this process: (exit code, standard output, standard error)."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    return run


@pytest.mark.parametrize(("others", "code"), [([], 65), (["more"], 10)])
def test_a_disk_that_is_not_mounted_is_told_on_standard_error(lightwatch, workdir, others, code):
    """Also by a quiet run of a workdir with frames: else cron would send no mail, night after night."""
    for name in others:
        (workdir / name).mkdir()
    path = workdir / "config.yaml"
    path.write_text(path.read_text().replace("[raw]", f"[{', '.join(['raw', *others])}]"))
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 2)
    (workdir / "raw").rmdir()
    ended, _, err = lightwatch("run", workdir, "-q", "--only", IMPORT)
    assert ended == code
    expected = f"new frames may be missing: {workdir / 'raw'} cannot be listed: No such file or directory"
    assert err.startswith(expected)
    assert len(err.splitlines()) == 1
    assert lightwatch("run", workdir, "-q", "--only", "psf_modeling")[0] == 0, "no search for raw files"
    lines = json.loads(lightwatch("plan", workdir, "--json")[1])
    per_frame = lines[: [line["task"] for line in lines].index("star_photometry") + 1]
    assert [line["total"] for line in per_frame] == [0] * 7
    assert lines[0]["reason"].startswith(f"up to date; {workdir / 'raw'} cannot be listed")
