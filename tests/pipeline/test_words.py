"""What a person is told by a run, and by the commands about it: causes, remedies, and how it ended."""

from __future__ import annotations

import json
import os
from contextlib import closing

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import delete, insert, update

from lightwatch.flags import Flag
from lightwatch.pipeline import cli_run, night, recipes
from lightwatch.pipeline.points import Points
from lightwatch.pipeline.reporting import TaskSummary
from lightwatch.pipeline.runner import TaskRunner
from lightwatch.pipeline.tasks import psf_modeling
from lightwatch.pipeline.workflow_manager import RunResult
from lightwatch.processes.psf_star_selection import PsfStars
from lightwatch.structure import schema
from lightwatch.structure.config import Psf
from lightwatch.structure.database import transaction
from lightwatch.structure.workspace import Workspace

from .rows import HASH, add, fill, make_workdir
from .test_cli import IMPORT


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    monkeypatch.delenv("LIGHTWATCH_CONFIG", raising=False)
    monkeypatch.delenv("LIGHTCURVER_CONFIG", raising=False)


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(tmp_path / "w")


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


def _points(workspace, flags):
    """A light curve with one point per frame, each with its flags."""
    recipe = recipes.all_recipes(workspace)["model_calibrated_cutouts"]
    add(workspace, schema.rois, {"name": "target", "ra": 42.2, "dec": 19.2})
    add(workspace, schema.point_sources, {"roi": "target", "name": "A", "ra": 42.2, "dec": 19.2})
    for number, (bits, error) in enumerate(zip(flags, (0.001, 0.0042, 0.03, 0.004), strict=False), start=1):
        place = {"combined_footprint_hash": HASH, "frame_id": number, "filter": "r", "recipe": recipe}
        source = {"roi": "target", "point_source": "A", "flux": 1.0, "flux_uncertainty": error}
        add(workspace, schema.roi_flux, {**place, **source, "flags": int(bits)})


@pytest.mark.parametrize(
    ("flags", "ending", "status"),
    [
        ([0, Flag.LOW_SNR, 0], "3 points, median error 0.42 %; next", "3 points\n"),
        (
            [0, Flag.POOR_FIT | Flag.VARIABLE, Flag.POOR_FIT | Flag.BAD],
            "3 points, 2 of them doubtful (poor_fit, bad); median error 0.42 %; next",
            "3 points, 2 of them doubtful (poor_fit, bad)\n",
        ),
    ],
)
def test_light_curves_are_told_with_their_error_and_doubtful_points(
    lightwatch, capsys, workdir, flags, ending, status
):
    """A point that is faint, or whose flag says nothing against it, is not doubtful."""
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 3)
        _points(workspace, flags)
        cli_run._say_light_curves(workspace)
    assert capsys.readouterr().out == f"{ending}: lightwatch report\n"
    assert f"light curves: {status}" in lightwatch("status", workdir)[1]


def test_many_kinds_of_doubt_are_told_by_their_number():
    assert Points(9, 8, ("poor_fit", "bad", "outside", "outlier", "saturated")).text == (
        "9 points, 8 of them doubtful (poor_fit, bad, outside, 2 more)"
    )
    assert Points(1, 0, ()).text == "1 point"


def test_status_tells_of_groups_and_directories_too(lightwatch, workdir):
    """A filter that could not be normalised, and frames that cannot be looked for."""
    with closing(Workspace.open(workdir)) as workspace:
        current = fill(workspace, 2)
        task = "calculate_normalization_coefficient"
        key = {
            "task": task,
            "combined_footprint_hash": HASH,
            "digest": "d",
            "recipe": current[task],
            "run_id": 1,
            "n_items": 2,
        }
        why = {"state": "rejected", "reason_code": "no_stars_in_common", "reason": "share no star"}
        add(workspace, schema.group_results, {**key, **why, "group_key": "r"})
        add(workspace, schema.group_results, {**key, **why, "group_key": "old", "recipe": "before"})
        add(workspace, schema.group_results, {**key, "group_key": "rp", "state": "done"})
    (workdir / "raw").rmdir()
    out = lightwatch("status", workdir)[1]
    assert f"  1 x {task}: no_stars_in_common: share no star (r)\n" in out
    assert f"look at this: {workdir / 'raw'} cannot be listed: No such file or directory" in out
    assert "initialize_database" not in out
    facts = json.loads(lightwatch("status", workdir, "--json")[1])
    assert [row["path"] for row in facts["unlisted"]] == [str(workdir / "raw")]
    assert [row["task"] for row in facts["tasks"]] == list(night.NAMES[1:])


# ---------------------------------------------------------------- plan
def _reasons(lightwatch, workdir):
    return {row["task"]: row["reason"] for row in json.loads(lightwatch("plan", workdir, "--json")[1])}


def _old(path, content):
    path.write_text(content)
    os.utime(path, (1.5e9, 1.5e9))
    return path


@pytest.fixture
def imported(workdir):
    """Two frames whose raw files are there as they were."""
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 2)
        with transaction(workspace.engine) as connection:
            for number in (1, 2):
                path = _old(workdir / "raw" / f"night_{number}.fits", f"frame {number}")
                status = path.stat()
                where = update(schema.files).where(schema.files.c.frame_id == number)
                found = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
                connection.execute(where.values(path=str(path), **found))
    return workdir


def test_a_moved_roi_is_the_reason_of_the_import(lightwatch, imported):
    """Times and airmass are those of the first ROI."""
    assert _reasons(lightwatch, imported)[IMPORT] == "up to date"
    path = imported / "config.yaml"
    path.write_text(path.read_text().replace("42.2031", "42.2032"))
    reasons = _reasons(lightwatch, imported)
    assert {reasons[IMPORT], reasons["plate_solving"], reasons["psf_modeling"]} == {
        "settings of 'rois' changed"
    }


def test_frames_of_an_interrupted_import_are_not_called_new(lightwatch, imported):
    """The run registered its settings and was interrupted before it came to the frames."""
    path = imported / "config.yaml"
    path.write_text(path.read_text() + "background: {box_size_px: 64}\n")
    with closing(Workspace.open(imported)) as workspace, transaction(workspace.engine) as connection:
        connection.execute(delete(schema.task_recipes))
        connection.execute(
            insert(schema.task_recipes), recipes.recipe_rows(workspace, recipes.all_recipes(workspace))
        )
    reasons = _reasons(lightwatch, imported)
    assert reasons[IMPORT] == reasons["psf_modeling"] == "done before under other settings or inputs"
    for number in (1, 2):
        (imported / "raw" / f"night_{number}.fits").unlink()
    _old(imported / "raw" / "night_3.fits", "frame 3")
    assert _reasons(lightwatch, imported)[IMPORT] == "new files"


# ---------------------------------------------------------------- words
def test_ctrl_c_is_told_in_a_line(lightwatch, workdir, monkeypatch):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(TaskRunner, "run", interrupted)
    assert lightwatch("run", workdir, "-q") == (130, "", "interrupted; the next run continues\n")


def test_a_directory_that_is_no_workdir_is_told_what_to_do(lightwatch, tmp_path):
    code, _, err = lightwatch("status", tmp_path)
    assert code == 78
    assert err.startswith(f"there is no config.yaml in {tmp_path}: ")


def test_why_asks_for_the_frame_when_it_gets_the_workdir_alone(lightwatch, workdir):
    code, _, err = lightwatch("why", workdir)
    assert code == 2
    assert "which frame of" in err


def test_why_tells_how_many_more_there_are(lightwatch, workdir):
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 23)
    assert lightwatch("why", workdir, "night")[1].splitlines()[-1] == "  and 3 more"


def test_frames_are_taken_out_by_name(lightwatch, workdir):
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 12)
    told = lightwatch("frames", workdir, "--eliminate", "night_00012", "--eliminate", 2)[1]
    assert told == "frames eliminated: 2, restored: 0; the next run follows\n"
    told = lightwatch("frames", workdir, "--restore", 2, "--restore", 3)[1]
    assert told == "frames eliminated: 0, restored: 1 (1 were so already); the next run follows\n"
    rows = json.loads(lightwatch("frames", workdir, "--json")[1])
    assert [row["frame_id"] for row in rows if row["eliminated"]] == [12]


def test_a_number_that_is_no_id_is_a_part_of_a_name(lightwatch, workdir):
    """Names of frames are often numbers: 0389 is no id, nor is 20170819."""
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 12)
    told = lightwatch("frames", workdir, "--eliminate", "0012")[1].splitlines()
    assert told[0] == "0012 is no id, but a part of a name: night_00012.fits (id 12)"
    assert told[1].startswith("frames eliminated: 1,")
    assert lightwatch("why", workdir, "00007")[1].startswith("frame 7: ")
    code, _, err = lightwatch("why", workdir, "00107")
    assert code == 65
    assert "did you mean night_00010.fits or night_00007.fits" in err


def test_among_many_names_an_old_one_is_found(lightwatch, workdir):
    """Not all of them are compared, which would take long."""
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 1500)
    for text in ("nihgt_00012", "raw/nigt_00012.fits", "NIGTH_00012"):
        assert "did you mean night_00012.fits" in lightwatch("frames", workdir, "--restore", text)[2], text
        assert "did you mean night_00012.fits" in lightwatch("why", workdir, text)[2], text
    for text in ("'", "%", "_" * 300):
        assert lightwatch("why", workdir, text)[0] in (0, 65), text


def test_a_workdir_that_is_not_there_names_the_one_beside_it(lightwatch, workdir):
    beside = workdir.with_name("v")
    code, _, err = lightwatch("run", workdir.with_name("ww"))
    assert code == 78
    assert f"no such file or directory (did you mean {workdir}?)" in err
    assert f"(did you mean {workdir / 'config.yaml'}?)" in lightwatch("status", workdir / "confg.yaml")[2]
    assert f"(did you mean {workdir}?)" in lightwatch("status", workdir.parent)[2]
    assert "did you mean" not in lightwatch("status", beside)[2]
    assert "did you mean" not in lightwatch("status", workdir / "raw")[2]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--eliminate", "night"], 65, "12 frames bear the name 'night'; nothing was changed"),
        (["--restore", "dawn"], 65, "no frame bears the name 'dawn'; nothing was changed"),
        (["--eliminate", "77"], 65, "no frame has the id 77 or bears it in its name; nothing was changed"),
        (["--eliminate", "7" * 30], 65, "no frame has the id 77777"),
        (["--eliminate", "nihgt_00007"], 65, "did you mean night_00007.fits"),
        (["--eliminate", "0001"], 65, "4 frames bear the name '0001'"),
        (["--eliminate", "00310"], 65, "did you mean night_00010.fits or "),
        (["--eliminate", "3", "--restore", "night_00003"], 2, "both name frame 3"),
    ],
)
def test_a_choice_of_frames_that_cannot_be_meant(lightwatch, workdir, words, code, told):
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 12)
    ended, _, err = lightwatch("frames", workdir, *words)
    assert ended == code
    assert told in " ".join(err.replace("│", " ").split())
    assert not any(row["eliminated"] for row in json.loads(lightwatch("frames", workdir, "--json")[1]))


def test_config_check_tells_of_a_target_where_the_telescope_did_not_point(lightwatch, workdir):
    """As init does: hours given as degrees, a slip of a digit."""
    for number in range(2):
        header = fits.Header(
            {"EXPTIME": 60.0, "RA": 42.2, "DEC": 19.2, "GAIN": 1.0, "RDNOISE": 5.0, "FILTER": "r"}
        )
        header["MJD-OBS"] = 60000.0 + number
        fits.writeto(workdir / "raw" / f"a{number}.fits", np.ones((20, 20), np.float32), header)
    assert not [line for line in lightwatch("config", "check", workdir)[1].splitlines() if "rois" in line]
    path = workdir / "config.yaml"
    path.write_text(path.read_text().replace("42.2031", "2.81354"))
    code, out, _ = lightwatch("config", "check", workdir)
    (hint,) = [line for line in out.splitlines() if "rois" in line]
    assert code == 0
    assert hint.startswith(
        "hint: rois: the target is 37.1 degrees from where the telescope pointed (42.2000 +19.2000)"
    )
    assert "in degrees unless" in hint


def test_a_result_shows_itself_in_a_line():
    summaries = tuple(TaskSummary(name, done=2, seconds=1.0) for name in ("plate_solving", "psf_modeling"))
    result = RunResult(summaries, 10)
    line = "plate_solving 2/2; psf_modeling 2/2 | 0 rejected, 0 failed | 2.0 s"
    assert (str(result), repr(result)) == (line, f"RunResult(exit_code=10): {line}")


def test_the_last_line_names_what_waits():
    """Exit code 10 with nothing rejected and nothing failed would be a riddle."""
    waiting = TaskSummary("query_gaia_for_stars", seconds=1.0, note="waits: no network", waits=True)
    line = "query_gaia_for_stars (waits: no network)"
    assert RunResult((waiting,), 10).line == f"nothing could be done; {line}"
    done = TaskSummary("plate_solving", done=2, seconds=1.0)
    assert RunResult((done, waiting), 10).line == (
        f"plate_solving 2/2; {line} | 0 rejected, 0 failed, waits: query_gaia_for_stars | 2.0 s"
    )


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ("", "reference_stars.catalog"),
        ("plate_solving: {catalog: vizier}\n", "plate_solving.catalog"),
    ],
)
def test_a_wait_for_the_network_names_the_catalogues_without(lightwatch, workdir, settings, key):
    path = workdir / "config.yaml"
    text = path.read_text().replace("catalog: stars.csv", "catalog: gaia")
    path.write_text(f"{text}{settings}network: {{offline: true}}\n")
    with closing(Workspace.open(workdir)) as workspace:
        fill(workspace, 2)
        with transaction(workspace.engine) as connection:
            connection.execute(
                delete(schema.task_results).where(schema.task_results.c.task == "plate_solving")
            )
    code, out, _ = lightwatch("run", workdir, "-q", "--only", "plate_solving", "--executor", "serial")
    assert code == 10
    assert out.startswith("nothing could be done; plate_solving (waits: network.offline is set")
    assert f"or give in {key} a table, or frames: the stars of the frames need no network" in out


def test_a_workdir_before_the_query_is_told_the_order(lightwatch, workdir):
    code, _, err = lightwatch("sql", workdir, "SELECT 1")
    assert code == 2
    assert "the query comes first" in err


LOW, OFF = int(Flag.LOW_SNR), int(Flag.OUTSIDE)


LOWER = (
    "lower psf.min_snr (40) to {} or less, and normalization.min_snr where it is higher (in a workdir of this filter "
    "alone: faint stars would make other filters worse)"
)


@pytest.mark.parametrize(
    ("snr", "reasons", "stars_of_frames", "told"),
    [
        (
            [80.0, 38.0, 30.9, 9.0, 12.0], [0, LOW, LOW, LOW, LOW | OFF], False,
            "1 of 5 stars can make the PSF, 3 are needed (3 low_snr, 1 outside and low_snr); " + LOWER.format(30)
            + ", or take reference stars from the frames (reference_stars.catalog: frames)",
        ),
        (
            [30.0, 12.6, 11.2], [LOW, LOW, LOW], True,
            "0 of 3 stars can make the PSF, 3 are needed (3 low_snr); " + LOWER.format(11),
        ),
        (
            [90.0, 80.0, 3.0], [0, 0, LOW], True,
            "2 of 3 stars can make the PSF, 3 are needed (1 low_snr); lower psf.min_stars to 2",
        ),
        ([], [], True, "0 of 0 stars can make the PSF, 3 are needed (no stars on the frame)"),
    ],
)  # fmt: skip
def test_too_few_stars_for_a_psf_are_told_with_what_would_help(
    monkeypatch, snr, reasons, stars_of_frames, told
):
    """Counts add up; no advice that is followed already. Settings of later steps are none of this one's: no number."""
    bits = np.array(reasons, dtype=np.int64)
    choice = PsfStars(bits == 0, np.zeros(len(bits), bool), bits)
    monkeypatch.setattr(psf_modeling, "rough_snr", lambda _stars: np.array(snr))
    job = psf_modeling.PsfJob(
        stars=None, named={}, settings=Psf(), roi_position=(1.0, 1.0), pixel_scale=1.0, relpath="p",
        image_relpath="frames/a.fits", recipe="r", stars_of_frames=stars_of_frames,
    )  # fmt: skip
    assert psf_modeling._too_few(job, choice).reason == f"frames/a.fits: {told}"
