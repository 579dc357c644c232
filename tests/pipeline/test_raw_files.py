"""Raw files that are copies, change, or are not there to be measured."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest
from astropy.io import fits

from lightwatch.pipeline.night import NAMES
from lightwatch.pipeline.tasks import frame_import

IMPORT, SOLVE, FOOTPRINT, STARS, STAMPS = NAMES[1:6]


def _states(workdir):
    rows = workdir.sql("SELECT path, state, reason_code FROM files")
    return {path.rsplit("/", 1)[-1]: (state, code) for path, state, code in rows}


def _written(path, image, header, **cards):
    header = header.copy()
    for key, value in cards.items():
        if value is None:
            del header[key]
        else:
            header[key] = value
    fits.PrimaryHDU(image, header).writeto(path, overwrite=True)


def test_young_incomplete_file_waits(empty_workdir, field):
    """A copy that stands still for a second is not refused for good while it is young."""
    workdir = empty_workdir()
    workdir.configure("min_file_age_seconds: 0", "min_file_age_seconds: 60")
    target = workdir.more / "stalled.fits"
    whole = field.frames[0].read_bytes()
    target.write_bytes(whole[:100000])
    workdir.run(stop=IMPORT)
    assert _states(workdir)["stalled.fits"][0] == "deferred"
    target.write_bytes(whole)
    workdir.run(stop=IMPORT)
    assert _states(workdir)["stalled.fits"][0] == "imported"


def test_same_content_once_and_same_name_twice(empty_workdir, field):
    """R8: copies are one frame, noted as duplicates; files of one name in two directories are two frames."""
    workdir = empty_workdir()
    for night, k in (("night1", 0), ("night2", 1)):
        (workdir.more / night).mkdir()
        shutil.copy2(field.frames[k], workdir.more / night / "image_001.fits")
    shutil.copy2(field.frames[0], workdir.more / "copy_of_first.fits")
    result = workdir.run(stop=IMPORT)
    assert workdir.sql(
        "SELECT count(*), count(DISTINCT content_hash), count(DISTINCT image_relpath) FROM frames"
    ) == [(2, 2, 2)]
    states = workdir.sql("SELECT state, reason FROM files ORDER BY path")
    assert sorted(state for state, _ in states) == ["duplicate", "imported", "imported"]
    assert next(reason for state, reason in states if state == "duplicate").startswith("same content as ")
    assert result.exit_code == 0
    shutil.copy2(field.frames[1], workdir.more / "later_copy.fits")
    result = workdir.run(stop=IMPORT)
    assert result.line == f"nothing to do; {IMPORT} 0/0 (1 duplicates)"
    assert workdir.sql("SELECT count(*) FROM frames") == [(2,)]
    assert workdir.run(stop=IMPORT).line == "nothing to do"


def _replace(target, source, age):
    shutil.copy(source, target)
    os.utime(target, (time.time() - age,) * 2)


def test_changed_raw_file_supersedes_its_frame(empty_workdir, field):
    """R8: new bytes under the old name: the old frame is out, the new one measured; going back brings it back."""
    workdir = empty_workdir()
    target = workdir.more / "image.fits"
    _replace(target, field.frames[0], 3600)
    workdir.run(stop=SOLVE)
    _replace(target, field.frames[1], 1800)
    assert workdir.done(stop=SOLVE)[IMPORT].done == 1
    assert workdir.sql("SELECT eliminated, comment FROM frames ORDER BY id") == [
        (1, "superseded: the raw file changed"),
        (0, None),
    ]
    assert len(workdir.sql("SELECT 1 FROM files")) == 1
    _replace(target, field.frames[0], 900)
    workdir.run(stop=SOLVE)
    assert workdir.sql("SELECT eliminated, plate_solved FROM frames ORDER BY id") == [(0, 1), (1, 1)]


@pytest.mark.parametrize("seen_growing", [True, False])
def test_raw_file_caught_while_it_is_replaced_still_supersedes(
    empty_workdir, field, monkeypatch, seen_growing
):
    """The run in the middle of the copying only defers; the old frame must still go when the copy is there."""
    workdir = empty_workdir()
    target = workdir.more / "image.fits"
    _replace(target, field.frames[0], 3600)
    workdir.run(stop=IMPORT)
    workdir.configure("min_file_age_seconds: 0", "min_file_age_seconds: 60")
    target.write_bytes(field.frames[1].read_bytes()[:90000])  # young and incomplete: deferred
    if seen_growing:
        monkeypatch.setattr(frame_import, "split_by_age", lambda items, _age: ([], [], items))
    workdir.run(stop=IMPORT)
    monkeypatch.undo()
    assert _states(workdir)["image.fits"][0] == "deferred"
    _replace(target, field.frames[1], 1800)
    workdir.run(stop=IMPORT)
    assert workdir.sql("SELECT eliminated FROM frames ORDER BY id") == [(1,), (0,)]


def test_raw_file_replaced_by_a_copy_of_another(empty_workdir, field):
    """Its own content no longer exists; the other's frame is the only one left."""
    workdir = empty_workdir()
    _replace(workdir.more / "a.fits", field.frames[0], 3600)
    _replace(workdir.more / "b.fits", field.frames[1], 3600)
    workdir.run(stop=IMPORT)
    _replace(workdir.more / "b.fits", field.frames[0], 1800)
    workdir.run(stop=IMPORT)
    assert workdir.sql("SELECT eliminated FROM frames f JOIN files x ON x.frame_id = f.id") == [(0,)]
    assert workdir.sql("SELECT count(*) FROM frames WHERE eliminated = 0") == [(1,)]


def test_calibration_frames_are_set_aside(empty_workdir, field):
    workdir = empty_workdir(frames=[0])
    image, header = fits.getdata(field.frames[1]), fits.getheader(field.frames[1])
    rng = np.random.default_rng(3)
    _written(
        workdir.more / "x1.fits", rng.poisson(300, image.shape).astype(np.uint16), header, IMAGETYP="bias"
    )
    _written(
        workdir.more / "x2.fits",
        rng.poisson(20000, image.shape).astype(np.uint16),
        header,
        IMAGETYP="Sky Flat",
        EXPTIME=2.0,
    )
    _written(
        workdir.more / "x3.fits", rng.poisson(400, image.shape).astype(np.uint16), header, IMAGETYP="DARK"
    )
    result = workdir.run(stop=IMPORT)
    assert result.exit_code == 0
    assert [_states(workdir)[f"x{i}.fits"] for i in (1, 2, 3)] == [
        ("calibration", "bias"), ("calibration", "flat"), ("calibration", "dark"),
    ]  # fmt: skip
    assert workdir.sql("SELECT count(*) FROM frames") == [(1,)]


def test_own_products_are_never_swallowed(empty_workdir):
    """B.2 number 31: a raw directory that holds the workdir does not feed the pipeline its own frames."""
    workdir = empty_workdir(frames=[0, 1])
    workdir.configure(", more]", ", .]")
    workdir.run(stop=STAMPS)
    assert workdir.sql("SELECT count(*) FROM frames") == [(2,)]
    assert workdir.run(stop=STAMPS).line == "nothing to do"


def test_file_that_cannot_be_read_is_tried_again(empty_workdir):
    """A failing disk is no verdict on the frame; nothing new is written as long as it fails."""
    workdir = empty_workdir(frames=[0])
    target = workdir.more / "on_bad_disk.fits"
    target.symlink_to("/proc/self/mem")  # every read of it is an I/O error
    assert workdir.run(stop=IMPORT).exit_code == 10
    assert _states(workdir)["on_bad_disk.fits"] == ("quarantined", "unreadable")
    before = workdir.sql("SELECT * FROM files")
    assert workdir.run(stop=IMPORT).exit_code == 10
    assert workdir.sql("SELECT * FROM files") == before
    target.unlink()
    shutil.copy2(next(workdir.more.glob("sim_*")), target)
    assert workdir.run(stop=IMPORT).exit_code == 0
    assert _states(workdir)["on_bad_disk.fits"] == ("duplicate", "duplicate")


@pytest.mark.parametrize("how", ["replaced", "vanished"])
def test_file_that_changes_between_search_and_reading(empty_workdir, field, monkeypatch, how):
    """What was hashed is what is measured, or the file waits."""
    workdir = empty_workdir(frames=[0, 1])
    target = workdir.more / "sim_0001.fits"
    original = frame_import.content_hash

    def hashed(path):
        digest = original(path)
        if path == target and how == "replaced":
            _replace(target, field.frames[2], 1800)
        elif path == target:
            target.unlink()
        return digest

    monkeypatch.setattr(frame_import, "content_hash", hashed)
    assert workdir.run(stop=IMPORT).exit_code == 0
    monkeypatch.undo()
    assert workdir.sql("SELECT count(*) FROM frames") == [(1,)]
    assert _states(workdir).get("sim_0001.fits", ("absent", None))[0] == (
        "deferred" if how == "replaced" else "absent"
    )
    workdir.run(stop=IMPORT)
    assert workdir.sql("SELECT count(*) FROM frames") == [(2 if how == "replaced" else 1,)]
