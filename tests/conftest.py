"""Fixtures shared by all tests: real frames, and a small simulated field that was run once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from reliability.small_night import N_FRAMES, Workdir, differences, make_field, make_workdir

from lightwatch.pipeline import cli
from lightwatch.simulation import SimulatedField

os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real frames beside the repository; tests that need them are skipped elsewhere."""
    path = SHARED / "data"
    if not path.is_dir():
        pytest.skip("real frames are not here (../shared/data)")
    return path


@pytest.fixture(scope="session")
def compare() -> Callable[..., list[str]]:
    """The function ``differences``."""
    return differences


@pytest.fixture(scope="session")
def field(tmp_path_factory: pytest.TempPathFactory) -> SimulatedField:
    """Raw frames, star table and truth of the small field: N_FRAMES, then N_SPARE more."""
    root = tmp_path_factory.mktemp("field")
    return make_field(root)


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory, field: SimulatedField) -> Workdir:
    """A workdir with the first frames of the field, run completely once. Not to be changed: see ``workdir``."""
    root = tmp_path_factory.mktemp("night")
    (root / "raw").mkdir()
    for path in field.frames[:N_FRAMES]:
        shutil.copy2(path, root / "raw")
    workdir = make_workdir(root / "workdir", field)
    result = workdir.run()
    assert result.exit_code == 0, result.line
    return workdir


@pytest.fixture
def workdir(night: Workdir, tmp_path: Path) -> Iterator[Workdir]:
    """A copy of ``night`` of one's own; the raw frames stay where they are."""
    shutil.copytree(night.path, tmp_path / "workdir")
    copy = Workdir(tmp_path / "workdir")
    yield copy
    copy.check_database()


@pytest.fixture
def empty_workdir(tmp_path: Path, field: SimulatedField) -> Callable[..., Workdir]:
    """``empty_workdir(frames=[0, 3])``: a workdir that was never run, with these frames as raw files of its own."""

    def make(frames: Sequence[int] = (), name: str = "workdir") -> Workdir:
        (tmp_path / "raw").mkdir(exist_ok=True)
        return make_workdir(tmp_path / name, field, frames)

    return make


@pytest.fixture
def lightwatch(capsys):
    """Run a command in this process: (exit code, standard output, standard error)."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        told = capsys.readouterr()
        return int(end.value.code or 0), told.out, told.err

    return run
