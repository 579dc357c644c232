"""A run does only what is missing: nothing twice, one frame for one frame, and what a change reaches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from lightwatch.pipeline.night import NAMES, NIGHT

IMPORT, SOLVE, FOOTPRINT, STARS, STAMPS, PSF, FLUX, NORM, ZERO, PREPARE, MODEL = NAMES[1:]
PER_FRAME = (IMPORT, SOLVE, FOOTPRINT, STARS, STAMPS, PSF, FLUX)
JOINT = (NORM, ZERO, PREPARE, MODEL)


def test_first_run_did_every_frame_filter_and_roi(night):
    assert night.sql("SELECT count(*) FROM frames WHERE plate_solved = 1 AND roi_in_footprint = 1") == [(6,)]
    progress = {
        task: (done, rejected, failed)
        for task, done, _p, rejected, failed, _n in night.sql("SELECT * FROM progress")
    }
    assert all(progress[task] == (6, 0, 0) for task in PER_FRAME)
    assert {task: progress[task][0] for task in JOINT} == {NORM: 2, ZERO: 2, PREPARE: 4, MODEL: 4}
    curves = night.sql("SELECT roi, point_source, filter, count(*) FROM light_curves GROUP BY 1, 2, 3")
    assert curves == [
        ("pair", "A", "g_sdss", 2), ("pair", "A", "r_sdss", 4), ("pair", "B", "g_sdss", 2), ("pair", "B", "r_sdss", 4),
        ("single", "single", "g_sdss", 2), ("single", "single", "r_sdss", 4),
    ]  # fmt: skip


def test_second_run_does_nothing(workdir, compare):
    results, files = workdir.results(), workdir.files()
    ((before,),) = workdir.sql("SELECT count(*) FROM runs")
    done = subprocess.run(
        [sys.executable, "-m", "lightwatch.pipeline.cli", "run", str(workdir.config)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "nothing to do"
    assert compare(results, workdir.results()) == []
    assert workdir.files() == files
    assert workdir.sql("SELECT count(*) FROM runs") == [(before + 1,)]
    assert workdir.sql("SELECT exit_code, summary FROM runs ORDER BY id DESC LIMIT 1") == [
        (0, "nothing to do")
    ]


def test_second_run_needs_no_science_library(workdir):
    code = (
        "import sys; from lightwatch import Workspace, WorkflowManager; "
        f"r = WorkflowManager(Workspace.open({str(workdir.config)!r})).run(); "
        "print(r.line, [m for m in ('jax', 'sep', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "nothing to do []"


@pytest.fixture(scope="module")
def grown(night, field, tmp_path_factory):
    """The night of six frames with a seventh added, and what that run did."""
    path = tmp_path_factory.mktemp("grown") / "workdir"
    shutil.copytree(night.path, path)
    workdir = type(night)(path)
    shutil.copy2(field.frames[6], workdir.more)
    return workdir, workdir.done()


def test_one_more_frame_is_one_frame_of_work(grown):
    workdir, done = grown
    assert {task: done[task].items for task in PER_FRAME} == dict.fromkeys(PER_FRAME, 1)
    assert {task: done[task].items for task in JOINT} == {
        NORM: 1,
        ZERO: 1,
        PREPARE: 2,
        MODEL: 2,
    }  # its filter alone
    assert workdir.sql("SELECT count(*) FROM light_curves WHERE filter = 'r_sdss'") == [(5 * 3,)]
    workdir.check_database()


def test_filters_never_mix(night, grown, compare):
    """A frame in r changes nothing in g, to the last bit; nor do frames of other filters enter the joint rows."""
    workdir, _done = grown
    before, after = night.results(), workdir.results()
    g_frames = {h for (h,) in workdir.sql("SELECT content_hash FROM frames WHERE filter = 'g_sdss'")}
    for table in ("normalization_coefficients", "absolute_zeropoints", "roi_flux", "star_flux_in_frame"):
        mine = [
            {key: row for key, row in rows[table].items() if g_frames & set(key)} for rows in (before, after)
        ]
        assert mine[0]
        assert compare({table: mine[0]}, {table: mine[1]}) == []
    query = "SELECT count(*) FROM {0} x JOIN frames f ON f.id = x.frame_id WHERE x.filter != f.filter"
    assert [workdir.sql(query.format(t)) for t in ("normalization_coefficients", "roi_flux")] == [
        [(0,)],
        [(0,)],
    ]


def test_order_of_arrival_does_not_matter(grown, empty_workdir, field, compare):
    """The seventh frame last, or the first frame last: the same numbers to 1e-6."""
    last, _done = grown
    other = empty_workdir(frames=range(1, 7))
    other.run()
    shutil.copy2(field.frames[0], other.more)
    assert other.done()[IMPORT].items == 1
    wanted = (
        "star_flux_in_frame",
        "normalization_coefficients",
        "absolute_zeropoints",
        "roi_flux",
        "stars",
        "PSFs",
    )
    one, two = last.results(), other.results()
    assert all(one[table] for table in wanted)
    assert compare({t: one[t] for t in wanted}, {t: two[t] for t in wanted}, rtol=1e-6) == []


# ---------------------------------------------------------------- settings
def _after(task: str) -> tuple[str, ...]:
    """A task and all that depend on it."""
    return NAMES[NAMES.index(task) :]


END = "executor: {kind: serial}"  # a line after which another section may begin
#: one changed setting of every section, and the first task that it concerns; None: no number depends on it
CHANGES = {
    "telescope": (END, END + "\ntelescope: {latitude: -29.25, longitude: -70.73}", IMPORT),
    "importation": (END, END + "\nimportation: {trim_vertical_px: 2}", IMPORT),
    "background": (END, END + "\nbackground: {box_size_px: 64}", IMPORT),
    "source_extraction": (END, END + "\nsource_extraction: {threshold_sigma: 6}", IMPORT),
    "instrument": ("instrument: simulation", "instrument: null", IMPORT),
    "plate_solving": (END, END + "\nplate_solving: {min_matches: 7}", SOLVE),
    "rois": ("      B: [", "      C: [42.2033, 19.2254]\n      B: [", FOOTPRINT),
    "reference_stars": ("max_number: 10", "max_number: 9", FOOTPRINT),
    "cutouts": ("star_size_px: 24", "star_size_px: 26", STAMPS),
    "psf": ("max_stars: 6", "max_stars: 5", PSF),
    "star_photometry": (END, END + "\nstar_photometry: {local_background: true}", FLUX),
    "normalization": (END, END + "\nnormalization: {min_snr: 25}", NORM),
    "zeropoints": ("  band: r_sdss", "  band: G", ZERO),
    "calibrated_cutouts": (END, END + "\ncalibrated_cutouts: {constraints_on_coefficient: [0.1, 10]}", PREPARE),
    "roi_model": ("{background: false}", "{background: false, local_background: false}", MODEL),
    "light_curves": (END, END + "\nlight_curves: {limit_sigma: 5}", MODEL),
    "header_overrides": (END, END + '\nheader_overrides: {"*": {gain: 1.1}}', IMPORT),
    "executor": ("{kind: serial}", "{kind: processes, jobs: 2}", None),
    "network": (END, END + "\nnetwork: {offline: true}", None),
    "discovery": ("min_file_age_seconds: 0", "min_file_age_seconds: 0, recursive: false", None),
}  # fmt: skip
PARSER = """
def parse_header(header):
    return {"exptime": header["EXPTIME"], "gain": header["GAIN"], "mjd": header["MJD-OBS"], "filter": header["FILTER"],
            "read_noise": header["RDNOISE"], "saturation": header["SATURATE"]}
"""


def _own_parser(workdir, text=PARSER) -> None:
    folder = workdir.path / "header_parser"
    folder.mkdir(mode=0o755, exist_ok=True)
    (folder / "parse_header.py").write_text(text)
    os.chmod(folder / "parse_header.py", 0o644)


@pytest.mark.parametrize("section", CHANGES)
def test_plan_after_a_changed_setting(workdir, section):
    """R13: exactly the tasks that depend on a section are planned, for every section."""
    old, new, first = CHANGES[section]
    _own_parser(workdir)
    workdir.configure(old, new)
    workspace = workdir.open()
    from lightwatch.pipeline.planning import plan

    lines = {line.task: line for line in plan(workspace, NIGHT)}
    workspace.close()
    planned = tuple(task for task, line in lines.items() if line.total)
    assert planned == (_after(first) if first else ())
    assert all(lines[task].reason == "up to date" for task in lines if task not in planned)
    if first:
        assert lines[first].reason.startswith(
            "settings of" if section != "instrument" else "settings of an input"
        )


def test_every_section_has_a_row_in_the_table():
    from lightwatch.structure.config import Config

    not_for_numbers = {"workdir", "raw_dirs", "files_match_pattern", "database"}
    assert set(CHANGES) | not_for_numbers == set(Config.model_fields)


def test_changed_setting_is_carried_out_by_the_dependants_alone(workdir):
    """Normalization without a star: fluxes stay, the joint tasks run, and that star has no part."""
    star = workdir.sql("SELECT gaia_id FROM stars WHERE name = 'a'")[0][0]
    before = workdir.results()["star_flux_in_frame"]
    used = workdir.sql("SELECT max(n_stars) FROM normalization_coefficients")[0][0]
    assert workdir.sql("SELECT count(mean_flux) FROM normalization_stars WHERE star_gaia_id = ?", star) == [
        (2,)
    ]
    workdir.configure(END, END + "\nnormalization: {stars_to_exclude: [a]}")
    done = workdir.done()
    assert {task: summary.items for task, summary in done.items()} == {NORM: 2, ZERO: 2, PREPARE: 4, MODEL: 4}
    assert workdir.results()["star_flux_in_frame"] == before
    assert workdir.sql("SELECT max(n_stars) FROM normalization_coefficients") == [(used - 1,)]
    assert workdir.sql("SELECT mean_flux FROM normalization_stars WHERE star_gaia_id = ?", star) == [
        (None,),
        (None,),
    ]
    assert workdir.run().line == "nothing to do"


def test_changed_parser_imports_again_and_keeps_what_the_owner_wrote(workdir):
    """New header parser: frames are imported again under their ids; eliminated and comment are the user's."""
    _own_parser(workdir)
    workdir.configure("instrument: simulation", "instrument: null")
    assert workdir.done(stop=IMPORT)[IMPORT].items == 6
    ids = workdir.sql("SELECT id, content_hash FROM frames ORDER BY id")
    times = workdir.sql("SELECT frame_id, attempts + 1 FROM task_results WHERE task = ?", IMPORT)
    workdir.change("UPDATE frames SET eliminated = 1, comment = 'satellite' WHERE id = 2")
    _own_parser(workdir, PARSER.replace('"filter": header["FILTER"]', '"filter": "white"'))
    assert workdir.done(stop=FOOTPRINT)[IMPORT].items == 6
    assert workdir.sql("SELECT id, content_hash FROM frames ORDER BY id") == ids
    assert workdir.sql("SELECT DISTINCT filter FROM frames") == [("white",)]
    assert workdir.sql("SELECT eliminated, comment FROM frames WHERE id = 2") == [(1, "satellite")]
    assert workdir.sql("SELECT sum(eliminated), sum(plate_solved) FROM frames") == [(1, 5)]
    assert workdir.sql("SELECT frame_id, attempts FROM task_results WHERE task = ?", IMPORT) == times


def test_changed_catalogue_is_used(workdir):
    """A star table with other content, under the same name: solved again, other stars, another footprint hash."""
    before = workdir.sql("SELECT hash FROM combined_footprint WHERE is_current = 1")
    known = {i for (i,) in workdir.sql("SELECT gaia_id FROM stars")}
    table = workdir.path / "stars.csv"
    lines = table.read_text().splitlines()
    gone = next(line for line in lines if line.split(",")[0] == str(min(known)))
    table.write_text("\n".join(line for line in lines if line != gone) + "\n")
    done = workdir.done(stop=STARS)
    assert (done[SOLVE].items, done[STARS].items) == (6, 6)
    after = workdir.sql("SELECT hash FROM combined_footprint WHERE is_current = 1")
    assert len(after) == 1
    assert after != before
    now = {
        i for (i,) in workdir.sql("SELECT gaia_id FROM stars WHERE combined_footprint_hash = ?", after[0][0])
    }
    assert min(known) not in now
    assert len(now) == 10


def test_changed_cut_on_stars_gives_them_a_hash_of_their_own(workdir):
    before = workdir.sql("SELECT hash FROM combined_footprint WHERE is_current = 1")[0][0]
    workdir.configure("max_number: 10", "max_number: 7")
    workdir.run(stop=STARS)
    now = workdir.sql("SELECT hash FROM combined_footprint WHERE is_current = 1")[0][0]
    assert now != before
    assert workdir.sql("SELECT count(*) FROM stars WHERE combined_footprint_hash = ?", now) == [(7,)]
    assert workdir.sql("SELECT count(*) FROM stars WHERE combined_footprint_hash = ?", before) == [(10,)]
    workdir.configure("max_number: 7", "max_number: 10")
    workdir.run(stop=STARS)
    assert workdir.sql("SELECT hash FROM combined_footprint WHERE is_current = 1")[0][0] == before


# ---------------------------------------------------------------- frames and files
def test_eliminated_frame_leaves_and_comes_back(workdir, compare):
    before = workdir.results()
    frame = workdir.sql("SELECT id FROM frames WHERE filter = 'r_sdss' ORDER BY mjd LIMIT 1")[0][0]
    workdir.change("UPDATE frames SET eliminated = 1, comment = 'clouds' WHERE id = ?", frame)
    assert workdir.sql("SELECT count(*) FROM light_curves WHERE frame_id = ?", frame) == [(0,)]
    done = workdir.done()
    assert {task: s.items for task, s in done.items()} == {NORM: 1, ZERO: 1, PREPARE: 2, MODEL: 2}
    assert workdir.sql("SELECT count(*) FROM roi_flux WHERE frame_id = ?", frame) == [(0,)]
    assert workdir.sql("SELECT comment FROM frames WHERE id = ?", frame) == [("clouds",)]
    workdir.change("UPDATE frames SET eliminated = 0, comment = NULL WHERE id = ?", frame)
    assert set(workdir.done()) == set(JOINT)
    assert compare(before, workdir.results(), rtol=1e-9) == []


def test_touched_or_moved_raw_file_is_no_work(night, workdir, compare):
    """A raw file with another time, or under another path, is the same frame: it stays as it is."""
    raw = workdir.path / "raw"
    shutil.copytree(night.path.parent / "raw", raw)
    for path in raw.iterdir():
        os.utime(path)
    workdir.configure(str(night.path.parent / "raw"), str(raw))
    before = {table: rows for table, rows in workdir.results().items() if table != "files"}
    result = workdir.run()
    assert not result.items
    after = {table: rows for table, rows in workdir.results().items() if table != "files"}
    assert compare(before, after) == []
    assert workdir.sql("SELECT sum(plate_solved) FROM frames") == [(6,)]
    assert workdir.run().line == "nothing to do"


def test_touched_raw_file_is_no_work(empty_workdir, compare):
    workdir = empty_workdir(frames=[0, 1])
    workdir.run(stop=SOLVE)
    before = workdir.results()
    for path in workdir.more.iterdir():
        os.utime(path)
    assert not workdir.run(stop=SOLVE).items
    assert compare(before, workdir.results()) == []
    workdir.change(
        "DELETE FROM task_results WHERE task = ?", IMPORT
    )  # as 'verify --repair' does: imported anew
    workdir.change("UPDATE files SET recipe = ''")
    assert {task: s.items for task, s in workdir.done(stop=SOLVE).items()} == {IMPORT: 2, SOLVE: 2}
    assert compare(before, workdir.results()) == []


def test_moved_raw_files_follow_new_settings(night, workdir):
    """After a move of the raw directory, a changed import setting still reaches every frame."""
    raw = workdir.path / "raw"
    shutil.copytree(night.path.parent / "raw", raw)
    workdir.configure(str(night.path.parent / "raw"), str(raw))
    workdir.run(stop=IMPORT)
    workdir.configure(END, END + "\nbackground: {box_size_px: 64}")
    assert workdir.done(stop=IMPORT)[IMPORT].done == 6
    assert workdir.sql("SELECT count(DISTINCT recipe) FROM frames") == [(1,)]


def test_limit_and_start_and_stop(empty_workdir):
    workdir = empty_workdir(frames=[0, 1, 2])
    assert workdir.done(stop=SOLVE, limit=2)[IMPORT].items == 2
    assert {t: s.items for t, s in workdir.done(stop=SOLVE).items()} == {IMPORT: 1, SOLVE: 1}
    assert set(workdir.done(start=FOOTPRINT, stop=STARS)) == {FOOTPRINT, STARS}
    assert workdir.run(only=IMPORT).line == "nothing to do"


def test_first_plan_writes_nothing(empty_workdir):
    from lightwatch.pipeline.planning import plan

    workdir = empty_workdir(frames=[0, 1])
    before = workdir.files()
    lines = {line.task: line.total for line in plan(workdir.open(), NIGHT)}
    assert lines[IMPORT] == 2
    assert workdir.files() == before
    assert not (workdir.path / "database.sqlite3").exists()


def test_progress_agrees_with_the_plan_on_frames_without_the_roi(empty_workdir):
    """A frame that misses every ROI is done at the footprint, and nothing waits for it."""
    workdir = empty_workdir(frames=[0, 1])
    text = workdir.config.read_text()
    start = text.index("rois:")
    workdir.config.write_text(
        text[:start] + "rois: {far: {coordinates: [43.5, 19.2]}}\n" + text[text.index("reference_stars:") :]
    )
    workdir.run(stop=FOOTPRINT)
    assert workdir.sql("SELECT roi_in_footprint FROM frames") == [(0,), (0,)]
    assert workdir.sql("SELECT pending FROM progress WHERE task = ?", STARS) == [(0,)]
    assert workdir.run().work == "nothing could be done"
