"""The command line: what it says, what it returns, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import select, update

from lightwatch.errors import StorageError
from lightwatch.flags import Flag
from lightwatch.pipeline import night
from lightwatch.pipeline.cli_status import status_of
from lightwatch.pipeline.raw_dirs import RawDirs
from lightwatch.pipeline.recipes import all_recipes
from lightwatch.simulation import FieldSpec, simulate_field
from lightwatch.structure import queries, schema
from lightwatch.structure.database import transaction
from lightwatch.structure.workspace import Workspace

from .rows import CONFIG, HASH, add, fill, make_workdir

COMMANDS = [
    [], ["init"], ["run"], ["plan"], ["status"], ["why"], ["frames"], ["verify"], ["report"], ["export"],
    ["config", "check"], ["config", "show"], ["config", "schema"], ["config", "diff"], ["catalog", "fetch"],
    ["db", "upgrade"], ["db", "backup"], ["db", "restore"], ["db", "unlock"], ["sql"],
]  # fmt: skip
IMPORT = "read_convert_skysub_character_catalog"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    monkeypatch.delenv("LIGHTWATCH_CONFIG", raising=False)
    monkeypatch.delenv("LIGHTCURVER_CONFIG", raising=False)


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(tmp_path / "w")


@pytest.fixture
def filled(workdir):
    """Ten frames through all steps."""
    workspace = Workspace.open(workdir)
    fill(workspace, 10)
    yield workspace
    workspace.close()


# ---------------------------------------------------------------- words
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: "-".join(words) or "lightwatch")
def test_every_help_has_an_example(lightwatch, command):
    code, out, _ = lightwatch(*command, "--help")
    assert code == 0
    assert "Example: lightwatch" in out


def test_no_command_is_left_out_of_the_tests(lightwatch):
    _, out, _ = lightwatch("--help")
    listed = re.findall(r"^  (\w+)  ", out.split("Commands:")[1], re.MULTILINE)
    assert set(listed) == {words[0] for words in COMMANDS if words}


def test_the_help_of_run_names_every_step(lightwatch):
    _, out, _ = lightwatch("run", "--help")
    named = out.split("Steps, in order:")[1].split("Exit codes")[0]
    assert re.findall(r"\w+", named) == list(night.NAMES)


def test_version(lightwatch):
    assert lightwatch("--version")[1].startswith("lightwatch 0")


# ---------------------------------------------------------------- speed
@pytest.mark.parametrize("words", [["--help"], ["status", "WORKDIR"]], ids=["help", "status"])
def test_light_commands_import_nothing_heavy(filled, words):
    script = (
        "import sys\nfrom lightwatch.pipeline.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = {'jax', 'astropy', 'matplotlib', 'scipy', 'h5py', 'sep'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)\nsys.exit(code)"
    )
    arguments = [str(filled.workdir) if word == "WORKDIR" else word for word in words]
    told = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    assert told.stderr.strip() == "[]"


def test_status_of_ten_thousand_frames_takes_less_than_a_second(workdir):
    workspace = Workspace.open(workdir)
    fill(workspace, 10_000)
    begun = time.process_time()
    facts = status_of(workspace, RawDirs(workspace.config.raw_dirs))
    seconds = time.process_time() - begun
    workspace.close()
    assert facts["frames"] == 10_000
    assert {row["task"]: row["done"] for row in facts["tasks"]}["star_photometry"] == 10_000
    assert seconds < 1.0


# ---------------------------------------------------------------- exit codes
def test_usage_is_2(lightwatch):
    assert lightwatch("run", "--limit", "many")[0] == 2
    assert lightwatch("nonsense")[0] == 2


def test_a_wrong_configuration_is_78_with_every_problem_in_a_line(lightwatch, workdir):
    (workdir / "config.yaml").write_text(CONFIG + "psff: {}\ncutouts:\n  star_size_px: -3\n")
    for command in ("run", "plan", "status", "config check"):
        code, out, err = lightwatch(*command.split(), workdir)
        assert (code, out) == (78, "")
        assert len(err.splitlines()) == 2
        assert "config.yaml:8: psff" in err
        assert "config.yaml:10: cutouts.star_size_px" in err
        assert "Traceback" not in err
    assert not (workdir / "database.sqlite3").exists()
    assert not (workdir / "logs").exists()


@pytest.mark.parametrize(
    "command", ["status", "run", "plan", "frames", "config check", "config show", "db backup"]
)
def test_no_configuration_is_78_with_what_to_do(lightwatch, tmp_path, monkeypatch, command):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, out, err = lightwatch(*command.split())
    assert (code, out, len(err.splitlines())) == (78, "", 1)
    assert f"no config.yaml in {tmp_path / 'elsewhere'}: go to a workdir" in err
    assert "LIGHTWATCH_CONFIG; 'lightwatch init DIR' begins" in err
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_in_a_workdir_no_argument_is_needed(lightwatch, filled, monkeypatch):
    monkeypatch.chdir(filled.workdir)
    assert "night_00010" in lightwatch("status")[1]
    assert "frame 3:" in lightwatch("why", "night_00003")[1]
    assert lightwatch("config", "show")[0] == 0


def test_the_configuration_may_come_from_the_environment(lightwatch, filled, monkeypatch):
    monkeypatch.setenv("LIGHTWATCH_CONFIG", str(filled.workdir / "config.yaml"))
    assert lightwatch("status")[0] == 0
    code, out, _ = lightwatch("why", "night_00003")
    assert code == 0
    assert "frame 3:" in out


def test_an_unknown_step_is_78_with_the_nearest(lightwatch, workdir):
    code, _, err = lightwatch("run", workdir, "--only", "psf_modelling")
    assert code == 78
    assert "did you mean 'psf_modeling'?" in err


def test_a_second_run_is_75_and_writes_nothing(lightwatch, filled):
    before = sorted(path.name for path in filled.workdir.iterdir())
    with filled.lock():
        begun = time.monotonic()
        code, _, err = lightwatch("run", filled.workdir, "-q")
        assert time.monotonic() - begun < 5
    assert code == 75
    assert len(err.splitlines()) == 1
    assert f"pid {os.getpid()}" in err
    assert [n for n in sorted(path.name for path in filled.workdir.iterdir()) if n not in before] == [
        ".lightwatch.lock"
    ]


def test_an_empty_raw_directory_is_65(lightwatch, workdir):
    code, out, err = lightwatch("run", workdir, "-q")
    assert (code, out) == (65, "nothing could be done\n")
    assert err.startswith(f"no frames in {workdir / 'raw'}: ")


def test_a_database_that_is_none_is_74(lightwatch, filled):
    filled.close()
    (filled.workdir / "database.sqlite3").write_bytes(b"not a database" * 1000)
    code, _, err = lightwatch("status", filled.workdir)
    assert code == 74
    assert "not a database" in err
    assert len(err.splitlines()) == 1


def test_a_database_without_tables_is_78_with_the_remedy(lightwatch, workdir):
    (workdir / "database.sqlite3").touch()
    code, _, err = lightwatch("status", workdir)
    assert code == 78
    assert "db upgrade" in err


def test_an_unexpected_error_is_70_and_names_the_log(lightwatch, filled, monkeypatch):
    def broken(*_arguments, **_more):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("lightwatch.pipeline.workflow_manager.plan", broken)
    monkeypatch.setattr("lightwatch.pipeline.recipes.all_recipes", broken)
    for words in (["run", filled.workdir], ["plan", filled.workdir]):
        code, _, err = lightwatch(*words)
        assert code == 70
        assert len(err.splitlines()) == 1
        log = Path(err.split(" report it with ")[1].strip())
        lines = log.read_text().splitlines()
        assert any("ZeroDivisionError" in line and "test_cli.py" in line for line in lines)
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)


def test_trouble_with_the_disk_is_74(lightwatch, filled, monkeypatch):
    for error in (StorageError("/x: could not be written"), OSError(28, "No space left on device", "/x")):

        def full(*_arguments, problem=error, **_more):
            raise problem

        monkeypatch.setattr("lightwatch.structure.queries.current_footprint", full)
        code, _, err = lightwatch("status", filled.workdir)
        assert code == 74
        assert err.startswith("/x: ")


# ---------------------------------------------------------------- a run
@pytest.fixture(scope="module")
def small_field(tmp_path_factory):
    root = tmp_path_factory.mktemp("field")
    spec = FieldSpec(shape=(128, 128), n_stars=30, n_galaxies=0, cosmics=0)
    simulate_field(root, n_frames=2, seed=3, spec=spec)
    for number in (1, 2):
        (root / "raw" / f"page_{number}.fits").write_bytes(b"<html>%d</html>" % number * 200)
    fits.writeto(root / "raw" / "odd.fits", np.zeros((4, 4)), fits.Header({"EXPTIME": "long"}))
    old = time.time() - 1000
    for path in (root / "raw").iterdir():
        os.utime(path, (old, old))
    return root


def test_a_run_tells_groups_logs_and_is_idempotent(lightwatch, small_field):
    code, out, err = lightwatch("run", small_field, "--stop", IMPORT, "--executor", "serial")
    assert code == 10
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith(f"{IMPORT}: 2 done, 3 rejected in ")
    assert "2 x read_convert" in lines[1]
    assert "not_fits" in lines[1]
    assert "page_1.fits" in lines[1]
    assert lines[-1].startswith(f"{IMPORT} 2/5 | 3 rejected, 0 failed")
    (log,) = (small_field / "logs").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z\.log", log.name)
    assert sum("page_" in line for line in log.read_text().splitlines()) == 2, log.read_text()

    code, out, _ = lightwatch("run", small_field, "--stop", IMPORT, "--executor", "serial")
    assert (code, out) == (0, "nothing to do\n")
    code, out, _ = lightwatch("run", small_field, "--only", IMPORT, "--json", "--executor", "serial")
    assert json.loads(out)["exit_code"] == 0
    assert json.loads(out)["causes"] == []


def test_a_dry_run_and_a_plan_write_nothing(lightwatch, small_field, tmp_path):
    (tmp_path / "config.yaml").write_text(
        (small_field / "config.yaml").read_text().replace("[raw]", f"[{small_field}/raw]").replace(
            "stars.csv", f"{small_field}/stars.csv")
    )  # fmt: skip
    for words in (["run", tmp_path, "--dry-run"], ["plan", tmp_path]):
        code, out, _ = lightwatch(*words)
        assert code == 0
        assert "5 files found" in out
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    rows = json.loads(lightwatch("plan", tmp_path, "--json", "--only", IMPORT)[1])
    assert [(row["task"], row["total"]) for row in rows] == [(IMPORT, 5)]


def test_the_plan_knows_times_from_before(lightwatch, filled):
    with transaction(filled.engine) as connection:
        connection.execute(
            update(schema.task_results)
            .where(schema.task_results.c.task == "psf_modeling", schema.task_results.c.frame_id <= 4)
            .values(recipe="old")
        )
    rows = {row["task"]: row for row in json.loads(lightwatch("plan", filled.workdir, "--json")[1])}
    assert rows["psf_modeling"]["total"] == 4
    assert rows["psf_modeling"]["seconds"] == pytest.approx(2.0)
    assert rows["stamp_extraction"]["total"] == 0


# ---------------------------------------------------------------- status
def test_status_before_the_first_run(lightwatch, workdir):
    code, out, _ = lightwatch("status", workdir)
    assert code == 0
    assert "no run yet" in out
    assert not (workdir / "database.sqlite3").exists()


def test_status_tells_what_is_pending_refused_and_crashed(lightwatch, filled):
    t = schema.task_results
    with transaction(filled.engine) as connection:
        where = (t.c.task == "star_photometry", t.c.frame_id <= 3)
        connection.execute(t.delete().where(*where))
        connection.execute(
            t.update()
            .where(t.c.task == "star_photometry", t.c.frame_id == 4)
            .values(state="rejected", reason_code="no_flux", reason="nothing there")
        )
    run = {"started": "2026-01-01T00:00:00Z", "host": os.uname().nodename, "pid": 2**22 - 7, "version": "0"}
    add(filled, schema.runs, {**run, "config_hash": "c", "config": "{}"})
    code, out, _ = lightwatch("status", filled.workdir)
    assert code == 0
    assert re.search(r"star_photometry +6 +3 +1 +0", out)
    assert "1 x star_photometry: no_flux: nothing there" in out
    assert "last run: crashed" in out
    facts = json.loads(lightwatch("status", filled.workdir, "--json")[1])
    assert facts["newest_frame"]["id"] == 10
    assert facts["files"] == [
        {"state": "imported", "reason_code": None, "n": 10, "example": "/raw/night_00001.fits"}
    ]


# ---------------------------------------------------------------- why
def test_why_tells_the_story_of_a_frame(lightwatch, filled):
    with transaction(filled.engine) as connection:
        connection.execute(
            schema.task_results.update()
            .where(schema.task_results.c.task == "psf_modeling", schema.task_results.c.frame_id == 7)
            .values(
                flags=int(Flag.POOR_FIT | Flag.SATURATED),
                state="rejected",
                reason_code="few",
                reason="2 stars",
            )
        )
    add(
        filled, schema.plate_solve_attempts,
        {"frame_id": 7, "attempt": 1, "method": "header", "outcome": "refused", "message": "off", "recipe": "r"},
        {"frame_id": 7, "attempt": 2, "method": "pattern", "outcome": "solved", "n_matches": 31, "recipe": "r"},
    )  # fmt: skip
    code, out, _ = lightwatch("why", filled.workdir, 7)
    assert code == 0
    assert "raw file /raw/night_00007.fits" in out
    assert "tried header: refused: off" in out
    assert "tried pattern: solved, 31 stars" in out
    assert "psf_modeling: rejected; few: 2 stars; flags saturated, poor_fit" in out
    assert "reduced chi2" not in out
    order = [out.index(f"  {task.name}:") for task in night.NIGHT if task.scope in ("files", "frames")]
    assert order == sorted(order)
    story = json.loads(lightwatch("why", filled.workdir, "night_00007.fits", "--json")[1])
    assert story["frames"][0]["frame"]["id"] == 7


def test_why_gives_chi2_and_limits_of_poor_fits(lightwatch, filled):
    """Of the frame's PSF, of the stars that are flagged, and of points of light curves."""
    recipe = all_recipes(filled)
    poor = int(Flag.POOR_FIT)
    key = {"combined_footprint_hash": HASH, "frame_id": 7, "flags": poor}
    target = {"roi": "target", "point_source": "A", "filter": "r"}
    for name, star in (("a", "0"), ("b", "1")):
        place = {"name": name, "ra": 42.2, "dec": 19.2, "gmag": 15.0, "recipe": "r"}
        add(filled, schema.stars, {"combined_footprint_hash": HASH, "gaia_id": star, **place})
    add(
        filled, schema.PSFs,
        {**key, "psf_ref": "p", "chi2": 4.25, "reserved_chi2": 1.5, "recipe": recipe["psf_modeling"], "n_stars": 2,
         "subsampling_factor": 2, "n_reserved": 1, "stars_used": "[]", "relpath": "p", "sha256": "s", "size": 1},
    )  # fmt: skip
    flux = {"flux": 1.0, "flux_uncertainty": 1.0}
    for star, chi2, flags in (("0", 7.5, poor), ("1", 1.0, 0)):
        row = {
            **key,
            **flux,
            "star_gaia_id": star,
            "chi2": chi2,
            "flags": flags,
            "recipe": recipe["star_photometry"],
        }
        add(filled, schema.star_flux_in_frame, row)
    add(filled, schema.rois, {"name": "target", "ra": 42.2, "dec": 19.2})
    add(filled, schema.point_sources, {"roi": "target", "name": "A", "ra": 42.2, "dec": 19.2})
    point = {**key, **target, **flux, "reduced_chi2": 2.5, "recipe": recipe["model_calibrated_cutouts"]}
    add(filled, schema.roi_flux, point)
    out = lightwatch("why", filled.workdir, 7)[1]
    assert "PSF: reduced chi2 4.25 (expected 0.8 to 1.3); of stars kept out 1.5" in out
    assert "poor_fit: star a: reduced chi2 7.5 (expected 0 to 3)" in out
    assert "star b" not in out
    assert "flux of target A: 1 +- 1 electron/s (poor_fit), reduced chi2 2.5 (expected 0.6 to 1.6)" in out
    assert "aperture" not in out


def test_why_says_that_a_point_was_measured_in_an_aperture(lightwatch, filled):
    recipe = all_recipes(filled)
    key = {"combined_footprint_hash": HASH, "frame_id": 7, "filter": "r"}
    add(filled, schema.rois, {"name": "target", "ra": 42.2, "dec": 19.2})
    add(filled, schema.point_sources, {"roi": "target", "name": "A", "ra": 42.2, "dec": 19.2})
    add(
        filled, schema.normalization_coefficients,
        {**key, "coefficient": 1.0, "n_stars": 5, "flux_kind": "aperture",
         "recipe": recipe["calculate_normalization_coefficient"]},
    )  # fmt: skip
    point = {**key, "roi": "target", "point_source": "A", "flux": 2.0, "flux_uncertainty": 1.0}
    add(filled, schema.roi_flux, {**point, "recipe": recipe["model_calibrated_cutouts"]})
    out = lightwatch("why", filled.workdir, 7)[1]
    assert "flux of target A: 2 +- 1 electron/s\n    measured in an aperture" in out


def test_why_knows_files_that_never_became_frames(lightwatch, filled):
    hostile = "/raw/\x1b[31mred\x1b[0m.fits"
    add(
        filled, schema.files,
        {"path": hostile, "size": 1, "mtime_ns": 1, "inode": 99, "state": "quarantined", "reason_code": "truncated",
         "reason": "half of it is missing", "recipe": "r"},
    )  # fmt: skip
    code, out, _ = lightwatch("why", filled.workdir, "red")
    assert code == 0
    assert "quarantined, truncated: half of it is missing" in out
    assert "\x1b" not in out
    assert "\x1b" not in lightwatch("status", filled.workdir)[1]


def test_why_asks_when_many_answer_and_says_when_none_does(lightwatch, filled):
    assert "10 frames and files bear this name" in lightwatch("why", filled.workdir, "night_0")[1]
    code, _, err = lightwatch("why", filled.workdir, "nobody")
    assert code == 65
    assert "nobody" in err


# ---------------------------------------------------------------- frames
def test_frames_are_listed_eliminated_and_restored(lightwatch, filled):
    heading, *lines = lightwatch("frames", filled.workdir)[1].splitlines()
    assert len(lines) == 10
    assert "seeing [arcsec]  sky [electron/s/px]" in heading
    words = ["--eliminate", 3, "--eliminate", 5, "--comment", "satellite"]
    assert lightwatch("frames", filled.workdir, *words)[0] == 0
    rows = json.loads(lightwatch("frames", filled.workdir, "--json")[1])
    assert {row["frame_id"]: row["comment"] for row in rows if row["eliminated"]} == {
        3: "satellite",
        5: "satellite",
    }
    assert lightwatch("frames", filled.workdir, "--restore", 3)[0] == 0
    frames = schema.frames
    query = select(frames.c.id).where(frames.c.eliminated == 1)
    assert queries.rows(filled.reader, query) == [{"id": 5}]


def test_an_unknown_frame_changes_nothing(lightwatch, filled):
    code, _, err = lightwatch("frames", filled.workdir, "--eliminate", 1, "--eliminate", 77)
    assert code == 65
    assert "77" in err
    assert (
        queries.scalar(filled.reader, select(schema.frames.c.id).where(schema.frames.c.eliminated == 1))
        is None
    )


# ---------------------------------------------------------------- config
def test_config_show_tells_values_and_their_origin(lightwatch, workdir):
    out = lightwatch("config", "show", workdir)[1]
    assert 'reference_stars.catalog: "stars.csv"  (config.yaml:7)' in out
    assert "psf.subsampling_factor: 2  (default)" in out


def test_config_diff_with_a_file_the_last_run_and_the_defaults(lightwatch, filled, tmp_path):
    path = filled.workdir / "config.yaml"
    (tmp_path / "old.yaml").write_text(path.read_text() + "psf: {min_stars: 5}\n")
    assert "psf.min_stars: 5 -> 3" in lightwatch("config", "diff", path, tmp_path / "old.yaml")[1]
    changes = json.loads(lightwatch("config", "diff", path, "--json")[1])["changes"]
    assert set(changes) == {"instrument", "reference_stars.catalog"}
    run = {"started": "2026", "version": "0", "config_hash": "c", "config": filled.config_text()}
    add(filled, schema.runs, run)
    path.write_text(path.read_text() + "psf: {min_stars: 4}\n")
    told = json.loads(lightwatch("config", "diff", path, "--json")[1])
    assert told == {"compared_with": "the run of 2026", "changes": {"psf.min_stars": {"before": 3, "now": 4}}}


def test_config_check_looks_around_too(lightwatch, workdir):
    code, out, _ = lightwatch("config", "check", workdir)
    assert (code, out) == (0, f"{workdir / 'config.yaml'}: no mistakes\n")
    (workdir / "stars.csv").unlink()
    (workdir / "raw").rmdir()
    (workdir / "eliminated_frames.csv").write_text("a.fits,clouds\n")
    code, _, err = lightwatch("config", "check", workdir)
    assert code == 78
    assert len(err.splitlines()) == 3
    assert all(
        word in err for word in ("raw_dirs", "stars.csv", "eliminated_frames.csv:1: expected the columns")
    )


def test_config_check_tells_of_overrides_that_match_no_file(lightwatch, workdir):
    (workdir / "raw" / "x_camB_1.fits").write_text("")
    with (workdir / "config.yaml").open("a") as file:
        file.write("header_overrides:\n  '*_camB_*': {gain: 1.4}\n  '*_camC_*': {gain: 1.5}\n")
    code, out, _ = lightwatch("config", "check", workdir)
    assert code == 0
    assert re.findall(r"^hint: header_overrides\.(.*): no file", out, re.MULTILINE) == ["*_camC_*"]


def test_config_check_tells_of_files_beside_that_match_no_frame(lightwatch, workdir):
    (workdir / "wcs").mkdir()
    for name in ("raw/night1/x.fits", "raw/night2/x.fits", "wcs/x.wcs", "eliminated_frames.csv"):
        (workdir / name).parent.mkdir(exist_ok=True)
        (workdir / name).write_text("file,comment\nx.fits,clouds\ny.fits,trail\n")
    code, out, _ = lightwatch("config", "check", workdir)
    assert code == 0
    assert "hint: eliminated_frames.csv: 1 match no file (line 3: y.fits), 1 match several" in out
    assert "hint: wcs: 1 of no file in raw_dirs, such as wcs/x.wcs" in out


def test_the_schema_is_json(lightwatch):
    assert "rois" in json.loads(lightwatch("config", "schema")[1])["properties"]


# ---------------------------------------------------------------- secrets
def test_a_password_is_never_told(lightwatch, workdir, monkeypatch):
    secret = "hunter2secret"
    url = f"postgresql+psycopg2://me:{secret}@127.0.0.1:1/lw"
    (workdir / "config.yaml").write_text(CONFIG + f"database:\n  url: {url}\n")

    def leaky(self):
        raise ValueError(f"cannot reach {self.database_url}")

    monkeypatch.setitem(sys.modules, "psycopg2", ModuleType("psycopg2"))  # nothing is asked of the driver
    monkeypatch.setattr("lightwatch.structure.workspace.Workspace.initialize", leaky)
    monkeypatch.setattr("lightwatch.pipeline.causes.queries_overview.has_tables", lambda _engine: False)
    monkeypatch.setattr("lightwatch.structure.database.open_reader", lambda _url: None)
    told = [lightwatch("run", workdir, "-v"), lightwatch("config", "show", workdir)]
    assert told[0][0] == 70, told
    told_logs = [path.read_text() for path in (workdir / "logs").iterdir()]
    assert told_logs
    assert secret not in repr(told) + repr(told_logs)


# ---------------------------------------------------------------- database
def test_upgrade_and_backup(lightwatch, workdir):
    assert lightwatch("db", "upgrade", workdir)[1] == "upgraded\n"
    assert lightwatch("db", "upgrade", workdir)[1] == "up to date already\n"
    copy = Path(lightwatch("db", "backup", workdir)[1].strip())
    assert copy.read_bytes()[:15] == b"SQLite format 3"
