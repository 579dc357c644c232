"""The small night, run to its end once for all measurements that begin with it."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from lightwatch.simulation import SimulatedField
from reliability.small_night import Workdir, make_field, make_workdir


@functools.cache
def field_of(n_frames: int) -> SimulatedField:
    """The first frames of the small field."""
    root = Path(tempfile.mkdtemp(prefix="lightwatch-field-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return make_field(root, n_frames)


@functools.cache
def _finished(n_frames: int) -> Workdir:
    root = Path(tempfile.mkdtemp(prefix="lightwatch-night-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    field = field_of(n_frames)
    (root / "raw").mkdir()
    for path in field.frames:
        shutil.copy2(path, root / "raw")
    workdir = make_workdir(root / "workdir", field)
    assert workdir.more.is_dir()
    result = workdir.run()
    if result.exit_code != 0:
        raise RuntimeError(f"the undisturbed night did not end well: {result.line}")
    return workdir


def copy_of_night(path: Path, n_frames: int) -> Workdir:
    """A finished night of one's own; the raw frames are shared and not to be changed."""
    shutil.copytree(_finished(n_frames).path, path)
    return Workdir(path)
