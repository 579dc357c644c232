"""One bad item never stops the night: it is recorded with a reason, and the others finish."""

from __future__ import annotations

import errno
import gzip
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from astropy.io import fits

from lightwatch.errors import AnotherRunActive, FrameError, StorageError
from lightwatch.pipeline.night import NAMES
from lightwatch.pipeline.tally import Tally
from lightwatch.pipeline.task import Outcome
from lightwatch.pipeline.tasks import (
    frame_character,
    frame_import,
    plate_solving,
    psf_modeling,
    roi_modelling,
    stamp_extraction,
)
from lightwatch.structure import files as structure_files

IMPORT, SOLVE, FOOTPRINT, STARS, STAMPS, PSF = NAMES[1:7]


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


def test_mended_file_is_imported(empty_workdir, field):
    workdir = empty_workdir(frames=[0])
    whole = field.frames[1].read_bytes()
    target = workdir.more / "late.fits"
    target.write_bytes(whole[:50000])
    os.utime(target, (time.time() - 3600,) * 2)
    workdir.configure("min_file_age_seconds: 0", "min_file_age_seconds: 10")
    assert workdir.run(stop=IMPORT).exit_code == 10
    target.write_bytes(whole)
    os.utime(target, (time.time() - 1800,) * 2)
    result = workdir.run(stop=IMPORT)
    assert (result.exit_code, _states(workdir)["late.fits"]) == (0, ("imported", None))


@pytest.mark.parametrize("packed", [False, True])
def test_raised_limit_lets_large_files_in(empty_workdir, field, packed):
    """Whether it was refused by its size, or by that of what is in it; nothing else is looked at again."""
    workdir = empty_workdir(frames=[1] if packed else [0, 1])
    if packed:
        with gzip.open(workdir.more / "sim_0000.fits.gz", "wb") as packing:
            packing.write(field.frames[0].read_bytes())
    name = "sim_0000.fits.gz" if packed else "sim_0000.fits"
    limit = "max_frame_gigabytes: 0.0001"
    workdir.configure("min_file_age_seconds: 0", f"min_file_age_seconds: 0, {limit}")
    assert workdir.run(stop=IMPORT).exit_code == 10
    assert _states(workdir)[name] == ("quarantined", "too_large")
    assert workdir.run(stop=IMPORT).items == 0
    workdir.configure(limit, "max_frame_gigabytes: 1")
    result = workdir.run(stop=IMPORT)
    assert (result.exit_code, result.items) == (0, 2)
    assert {state for state, _code in _states(workdir).values()} == {"imported"}


def test_without_raw_files_the_line_says_where_to_put_them(empty_workdir):
    """Exit code 65 with its cause: a directory that is not there, or one without a frame."""
    workdir = empty_workdir()
    result = workdir.run()
    raw = workdir.path.parent / "raw"
    expected = f"no frames in {raw} (and 1 more): put raw files there, or correct raw_dirs"
    assert (result.exit_code, result.line[: len(expected)]) == (65, expected)
    raw.rmdir()
    result = workdir.run()
    expected = (
        f"no frames: {raw} cannot be listed: No such file or directory: mount its disk, mend its permissions, or "
        "correct raw_dirs in config.yaml"
    )
    assert (result.exit_code, result.line[: len(expected)]) == (65, expected)


def test_only_bad_frames_is_no_usable_data(empty_workdir):
    workdir = empty_workdir()
    assert workdir.run().exit_code == 65
    (workdir.more / "text.fits").write_text("no picture")
    assert workdir.run().exit_code == 10
    assert workdir.run().exit_code == 65


# ---------------------------------------------------------------- unexpected failures
PARSER = """
import os, signal

def parse_header(header):
    if header.get("OBJECT") == "KILLER":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"exptime": header["EXPTIME"], "gain": header["GAIN"], "mjd": header["MJD-OBS"], "filter": header["FILTER"],
            "read_noise": header["RDNOISE"], "saturation": header["SATURATE"]}
"""


def test_worker_that_dies_takes_nobody_along(empty_workdir, field):
    """R6: one frame kills its worker process, twice; it is recorded, the others are imported; three runs at most."""
    workdir = empty_workdir(frames=[0, 1, 2])
    image, header = fits.getdata(field.frames[3]), fits.getheader(field.frames[3])
    _written(workdir.more / "aaa_killer.fits", image, header, OBJECT="KILLER")
    (workdir.path / "header_parser").mkdir()
    (workdir.path / "header_parser" / "parse_header.py").write_text(PARSER)
    os.chmod(workdir.path / "header_parser" / "parse_header.py", 0o600)
    workdir.configure("instrument: simulation", "instrument: null")
    workdir.configure("{kind: serial}", "{kind: processes, jobs: 2}")
    result = workdir.run(stop=IMPORT)
    summary = {s.task: s for s in result.summaries}[IMPORT]
    assert (result.exit_code, summary.done, summary.failed) == (10, 3, 1)
    assert workdir.sql("SELECT reason_code, item FROM task_errors") == [
        ("worker_died", str(workdir.more / "aaa_killer.fits"))
    ]
    assert _states(workdir)["aaa_killer.fits"] == ("quarantined", "worker_died")
    codes = [workdir.run(stop=IMPORT).exit_code for _ in range(3)]
    assert codes == [10, 10, 0]
    assert workdir.sql("SELECT count(*) FROM task_errors") == [(3,)]


def _once_broken(monkeypatch, module, name, is_victim):
    """Let a computation raise for some job."""
    original = getattr(module, name)

    def broken(job):
        if is_victim(job):
            raise ZeroDivisionError("a bug\non two lines")
        return original(job)

    monkeypatch.setattr(module, name, broken)


def test_unexpected_error_of_one_frame(empty_workdir, monkeypatch):
    """A row in task_errors, the others go on, three attempts at most; a new recipe begins anew."""
    workdir = empty_workdir(frames=[0, 1, 2])
    workdir.run(stop=IMPORT)
    victim = workdir.sql("SELECT id, image_relpath FROM frames ORDER BY id LIMIT 1")[0]
    _once_broken(monkeypatch, plate_solving, "compute", lambda job: job.image_relpath == victim[1])
    results = [workdir.run(stop=STAMPS) for _ in range(4)]
    assert [result.exit_code for result in results] == [10, 10, 10, 0]
    assert results[0].summaries[2].done == 2
    assert workdir.sql("SELECT count(*) FROM regions") == [(2,)]
    errors = workdir.sql("SELECT task, frame_id, reason_code, message, details FROM task_errors")
    assert len(errors) == 3
    assert errors[0][:4] == (SOLVE, victim[0], "ZeroDivisionError", "a bug on two lines")
    assert "broken" in errors[0][4]
    assert workdir.sql(
        "SELECT state, attempts FROM task_results WHERE task = ? AND state = 'error'", SOLVE
    ) == [("error", 3)]
    monkeypatch.undo()
    workdir.configure("executor: {kind: serial}", "executor: {kind: serial}\nplate_solving: {min_matches: 7}")
    assert workdir.run(stop=STAMPS).exit_code == 0
    assert workdir.sql("SELECT count(*) FROM regions") == [(3,)]


def test_unexpected_error_of_one_file(empty_workdir, monkeypatch):
    workdir = empty_workdir(frames=[0, 1])
    _once_broken(monkeypatch, frame_character, "import_frame", lambda job: job.path.name == "sim_0000.fits")
    codes = [workdir.run(stop=IMPORT).exit_code for _ in range(5)]
    assert codes == [10, 10, 10, 0, 0]
    assert workdir.sql("SELECT count(*) FROM task_errors") == [(3,)]
    assert workdir.sql("SELECT count(*) FROM frames") == [(1,)]
    monkeypatch.undo()
    workdir.configure("executor: {kind: serial}", "executor: {kind: serial}\nbackground: {box_size_px: 64}")
    workdir.run(stop=IMPORT)
    assert workdir.sql("SELECT count(*) FROM frames") == [(2,)], "another recipe is another chance"


def test_batch_that_fails_is_searched_for_the_culprit(workdir, monkeypatch):
    """Frames are fitted in batches: one that breaks its batch fails alone."""
    original = psf_modeling.compute
    victim = workdir.sql("SELECT image_relpath FROM frames ORDER BY mjd LIMIT 1")[0][0]

    def broken(jobs):
        if any(job.image_relpath == victim for job in jobs):
            raise FloatingPointError("nan")
        return [Outcome("rejected", reason_code="not_today", reason="") for _ in jobs]

    monkeypatch.setattr(psf_modeling, "compute", broken)
    workdir.configure("max_stars: 6", "max_stars: 5")
    summary = workdir.done(only=PSF)[PSF]
    assert (summary.failed, summary.rejected) == (1, 5)
    assert original is not broken


def test_rejected_frame_is_not_tried_again(workdir):
    """Too few stars for a PSF: a row with reason and flag, no PSF, no retry; nothing of it in the light curves."""
    workdir.configure("max_stars: 6", "max_stars: 40, min_stars: 40")
    result = workdir.run()
    assert result.exit_code == 10
    rows = workdir.sql("SELECT state, reason_code, reason, flags FROM task_results WHERE task = ?", PSF)
    assert {(s, c) for s, c, _r, _f in rows} == {("rejected", "too_few_psf_stars")}
    assert all(
        "of 10 stars can make the PSF, 40 are needed" in reason and flags for _s, _c, reason, flags in rows
    )
    assert workdir.sql("SELECT count(*) FROM current_psfs") == [(0,)]
    assert workdir.sql("SELECT count(*) FROM light_curves") == [(0,)]
    assert workdir.run().line == "nothing to do"


def test_every_computation_survives_a_frame_of_nan(workdir):
    """R20: all pixels of one stored frame become NaN behind our back: that frame is flagged, the others finish."""
    frame_id, relpath = workdir.sql(
        "SELECT id, image_relpath FROM frames WHERE filter = 'r_sdss' ORDER BY mjd LIMIT 1"
    )[0]
    before = {t: workdir.results()[t] for t in ("star_flux_in_frame", "PSFs")}
    path = workdir.path / relpath
    with fits.open(path, mode="update", checksum=True) as hdus:
        hdus[0].data[:] = np.nan
    workdir.configure("star_size_px: 24", "star_size_px: 24, cosmics_objlim: 5.5")
    result = workdir.run(stop=NAMES[7])
    assert result.exit_code == 10
    bad = workdir.sql(
        "SELECT state, reason_code FROM task_results WHERE task = ? AND frame_id = ?", PSF, frame_id
    )
    assert bad[0][0] == "rejected"
    query = "SELECT count(*) FROM current_star_fluxes WHERE frame_id = ? AND flux IS NOT NULL"
    assert workdir.sql(query, frame_id) == [(0,)]
    assert workdir.sql("SELECT count(*) FROM current_psfs") == [(5,)]
    assert len(before["PSFs"]) == 6


def _breaks_for(monkeypatch, module, is_victim, error):
    """Let the saving of some item raise after it has written its rows."""
    original = module.save

    def broken(connection, context, item, *arguments, **named):
        original(connection, context, item, *arguments, **named)
        if is_victim(item):
            raise error

    monkeypatch.setattr(module, "save", broken)


def test_output_that_cannot_be_saved_fails_its_item_alone(empty_workdir, monkeypatch):
    """A frame whose rows break off is an error of its own, and nothing of them stays; so is a raw file."""
    workdir = empty_workdir(frames=[0, 1, 2])
    save = frame_import.save

    def broken(connection, context, job, outcome, **named):
        save(connection, context, job, outcome, **named)
        if job.path.name == "sim_0000.fits" and outcome.state == "done":
            raise ZeroDivisionError("in save")

    monkeypatch.setattr(frame_import, "save", broken)
    result = workdir.run(stop=IMPORT)
    assert (result.exit_code, result.summaries[1].done, result.summaries[1].failed) == (10, 2, 1)
    assert workdir.sql("SELECT count(*) FROM frames") == [(2,)]
    assert _states(workdir)["sim_0000.fits"] == ("quarantined", "ZeroDivisionError")
    monkeypatch.undo()
    assert workdir.run(stop=STARS).exit_code == 0
    (victim,) = workdir.sql("SELECT id FROM frames ORDER BY id LIMIT 1")[0]
    _breaks_for(monkeypatch, stamp_extraction, lambda item: item["id"] == victim, KeyError("in save"))
    result = workdir.run(stop=STAMPS)
    assert (result.exit_code, result.summaries[-1].done, result.summaries[-1].failed) == (10, 2, 1)
    assert workdir.sql("SELECT count(*) FROM regions") == [(2,)]
    assert workdir.sql("SELECT frame_id FROM task_errors WHERE task = ?", STAMPS) == [(victim,)]
    monkeypatch.undo()
    assert workdir.run(stop=STAMPS).exit_code == 0


def test_disk_that_fails_while_rows_are_saved_ends_the_run(empty_workdir, monkeypatch):
    workdir = empty_workdir(frames=[0])
    workdir.run(stop=STARS)
    _breaks_for(monkeypatch, stamp_extraction, lambda _item: True, StorageError("disk full"))
    with pytest.raises(StorageError):
        workdir.run(stop=STAMPS)
    assert workdir.sql("SELECT count(*) FROM regions") == [(0,)]


def test_group_whose_solution_cannot_be_saved_keeps_the_last_one(workdir, monkeypatch):
    """It is an error of the group, tried again; its light curve of before stays."""
    points = workdir.sql("SELECT * FROM light_curves ORDER BY roi, point_source, frame_id")
    _breaks_for(monkeypatch, roi_modelling, lambda group: group.key == "pair|r_sdss", KeyError("in save"))
    workdir.change("DELETE FROM group_results WHERE task = ?", NAMES[-1])
    result = workdir.run(only=NAMES[-1])
    assert (result.exit_code, result.summaries[-1].done, result.summaries[-1].failed) == (10, 3, 1)
    assert workdir.sql("SELECT * FROM light_curves ORDER BY roi, point_source, frame_id") == points
    monkeypatch.undo()
    assert workdir.run().exit_code == 0


def test_frame_that_fails_when_made_again_leaves_no_old_rows(workdir, monkeypatch):
    """Settings are those of before: nothing but their absence tells old rows from current ones."""
    (victim,), *_others = workdir.sql("SELECT id FROM frames WHERE filter = 'r_sdss' ORDER BY mjd")
    workdir.change("DELETE FROM task_results WHERE task = ? AND frame_id = ?", STAMPS, victim)
    monkeypatch.setattr(
        stamp_extraction, "compute", lambda _job: Outcome("rejected", reason_code="no", reason="")
    )
    assert workdir.run().exit_code == 10
    for table in ("regions", "current_psfs", "current_star_fluxes", "light_curves"):
        assert workdir.sql(f"SELECT count(*) FROM {table} WHERE frame_id = ?", victim) == [(0,)], table
    assert workdir.sql("SELECT count(*) FROM current_psfs") == [(5,)]
    assert workdir.sql("SELECT count(*) FROM stars_in_frames WHERE frame_id = ?", victim) == [(10,)]
    assert workdir.sql("SELECT count(*) FROM group_results WHERE state != 'done'") == [(0,)]


def test_frame_that_cannot_be_imported_again_is_out(workdir, monkeypatch):
    """Its image was lost, and the raw file is refused now: no point of it stays in the light curves; later it may."""
    points = workdir.sql("SELECT count(*) FROM light_curves")
    (victim, relpath), *_others = workdir.sql("SELECT id, image_relpath FROM frames WHERE filter = 'r_sdss'")
    (workdir.path / relpath).unlink()

    def refused(_job):
        raise FrameError("bad_pixels", "no picture")

    with monkeypatch.context() as patch:
        patch.setattr(frame_character, "import_frame", refused)
        assert workdir.run().exit_code == 10
    assert workdir.sql("SELECT count(*) FROM light_curves WHERE frame_id = ?", victim) == [(0,)]
    assert workdir.sql("SELECT count(*) FROM light_curves") > [(0,)]
    workdir.configure("executor: {kind: serial}", "executor: {kind: serial}\nbackground: {box_size_px: 64}")
    assert workdir.run().exit_code == 0
    assert workdir.sql("SELECT count(*) FROM light_curves") == points


def test_files_still_written_while_they_are_read_are_no_work_done():
    tally = Tally()
    for outcome in (Outcome(), Outcome(reason_code="deferred"), Outcome(reason_code="vanished")):
        tally.count(outcome)
    assert (tally.done, tally.deferred, tally.items) == (1, 1, 1)
    assert tally.as_dict()["deferred"] == 1


def _storage_error(workdir):
    try:
        workdir.run(stop=STAMPS)
    except StorageError as error:
        return error
    return None


def test_full_disk_ends_the_run_and_a_rerun_is_identical(empty_workdir, monkeypatch, compare):
    """R2: no space at some write: exit code 74, the file named; with space again the result is as undisturbed."""
    quiet = empty_workdir(frames=[0, 1], name="quiet")
    quiet.run(stop=STAMPS)
    workdir = empty_workdir(frames=[0, 1])
    original = structure_files._sync
    n, failures = {"calls": 0}, 0

    def full(path):
        n["calls"] += 1
        if n["calls"] == n["fail"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(path)

    monkeypatch.setattr(structure_files, "_sync", full)
    for fail in (1, 2, 3, 4, 5, 3, 2, 4):
        n.update(calls=0, fail=fail)
        if not _storage_error(workdir):
            continue
        failures += 1
        code, text = workdir.sql("SELECT exit_code, summary FROM runs ORDER BY id DESC LIMIT 1")[0]
        assert code == 74
        assert "No space left on device" in text
        assert "MB free" in text
    monkeypatch.undo()
    assert failures >= 6
    workdir.run(stop=STAMPS)
    one, two = quiet.results(), workdir.results()
    assert (
        compare(
            {t: r for t, r in one.items() if t != "files"}, {t: r for t, r in two.items() if t != "files"}
        )
        == []
    )
    assert not list(workdir.path.rglob("*.tmp"))
    workdir.check_database()


# ---------------------------------------------------------------- two at once
def test_second_run_is_refused_at_once(workdir):
    """R9: exit code 75 within a second or so, the holder named, nothing written."""
    before = workdir.sql("SELECT count(*) FROM runs")
    command = [sys.executable, "-m", "lightwatch.pipeline.cli", "run", str(workdir.config)]
    with workdir.open().lock():
        done = subprocess.run(command, capture_output=True, text=True)
        with pytest.raises(AnotherRunActive, match=f"pid {os.getpid()} on .* since 20"):
            workdir.run()
    assert done.returncode == 75
    assert f"pid {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr
    assert workdir.sql("SELECT count(*) FROM runs") == before
    assert workdir.run().line == "nothing to do"


def test_lock_of_a_killed_run_is_free(workdir):
    code = f"""
        import time
        from lightwatch import Workspace
        with Workspace.open({str(workdir.config)!r}).lock():
            print("held", flush=True)
            time.sleep(60)
    """
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(AnotherRunActive, match=f"pid {holder.pid}"):
        workdir.run()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert workdir.run().exit_code == 0
