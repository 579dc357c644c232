"""R1: killed at any step of writing, and run again: the same results as undisturbed, and nothing to do by hand."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

PROGRAM = Path(__file__).with_name("killed_run.py")
EARLY = "stamp_extraction"


def _killed(workdir, seed, first, last, most, *stop):
    command = [
        sys.executable,
        str(PROGRAM),
        str(workdir.config),
        str(seed),
        str(first),
        str(last),
        str(most),
        *stop,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def _products(workdir):
    """Arrays of every product that a row names, by path."""
    out = {}
    for table, column in (
        ("regions", "relpath"),
        ("PSFs", "relpath"),
        ("roi_models", "cutouts_relpath"),
        ("roi_models", "model_relpath"),
    ):
        for (relpath,) in workdir.sql(f'SELECT {column} FROM "{table}"'):
            with h5py.File(workdir.path / relpath, "r") as file:
                names: list[str] = []
                file.visititems(
                    lambda name, item, names=names: (
                        names.append(name) if isinstance(item, h5py.Dataset) else None
                    )
                )
                out[relpath] = {name: file[name][()] for name in names}
    return out


def _same_products(one, other):
    assert set(one) == set(other)
    for relpath in one:
        assert set(one[relpath]) == set(other[relpath]), relpath
        for name, values in one[relpath].items():
            if np.asarray(values).dtype.kind == "f":
                np.testing.assert_allclose(
                    values, other[relpath][name], rtol=1e-6, atol=1e-9, err_msg=f"{relpath} {name}"
                )
            # a mark is a digest of fluxes and PSFs to the last bit, and those are fitted in other company here
            elif name not in ("frame_id", "model/mark"):
                assert np.array_equal(values, other[relpath][name]), (relpath, name)


def test_killed_at_every_kind_of_step_until_the_cutouts(empty_workdir, compare):
    """A run that is killed has done little more than a frame or two; many kills, until one run comes to the end."""
    quiet = empty_workdir(frames=[0, 1, 2], name="quiet")
    assert quiet.run(stop=EARLY).exit_code == 0
    workdir = empty_workdir(frames=[0, 1, 2])
    report = _killed(workdir, 1, 14, 30, 16, EARLY)
    print(f"{report['kills']} kills")
    assert report["exit"] == 0
    assert report["kills"] >= 5
    assert workdir.run(stop=EARLY).line == "nothing to do"
    assert compare(quiet.results(), workdir.results()) == []
    _same_products(_products(quiet), _products(workdir))
    workdir.check_database()
    crashed = workdir.sql("SELECT count(*) FROM runs WHERE ended IS NULL")[0][0]
    assert crashed >= report["kills"] // 2, "a killed run is seen as such"


def test_killed_at_the_very_first_steps(empty_workdir):
    """Within the making of the database: the next run makes it. The seed draws steps 1, 3, 4 and 2."""
    workdir = empty_workdir(frames=[0])
    assert _killed(workdir, 70, 1, 4, 4, "plate_solving") == {"kills": 4, "exit": 0}
    assert workdir.sql("SELECT sum(plate_solved) FROM frames") == [(1,)]
    workdir.check_database()


def test_killed_during_fits_and_joint_tasks(night, empty_workdir, field, compare):
    """The whole night, killed a few times from the PSF on; the light curves are those of the undisturbed night."""
    workdir = empty_workdir()
    raw = workdir.path.parent / "raw"
    for path in (night.path.parent / "raw").iterdir():
        shutil.copy2(path, raw)
    workdir.run(stop=EARLY)
    report = _killed(workdir, 4, 14, 70, 5)
    print(f"{report['kills']} kills")
    assert report["exit"] == 0
    assert report["kills"] >= 3
    assert workdir.run().line == "nothing to do"
    elsewhere = {"files", "frames"}  # they tell where the raw files are
    one = {t: rows for t, rows in night.results().items() if t not in elsewhere}
    two = {t: rows for t, rows in workdir.results().items() if t not in elsewhere}
    assert compare(one, two, rtol=1e-6) == []
    _same_products(_products(night), _products(workdir))
    workdir.check_database()
