"""The pages work as written: every block of every page, section by section, on copies of the small simulated night.

Blocks without a language are commands, one per line; ``yaml`` is merged into the configuration; ``sql`` is asked,
``python`` executed, in the home directory of somebody whose workdir is ~/j0248; ``text`` is what all that printed.
A new section is followed as it stands; what needs more is said here, and what cannot be followed, with the reason.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.wcs import WCS
from reliability.small_night import N_FRAMES, SETTINGS

from lightwatch import errors
from lightwatch.errors import AnotherRunActive
from lightwatch.simulation import SimulatedField
from lightwatch.structure.views import VIEWS
from tests.pipeline.test_init_lightcurver import old_workdir

from .home import MAY_BE_EMPTY, Home
from .pages import PAGES, ROOT, Block, name_of, sections

#: pages whose sections make sense one after the other only
STORIES = [name_of(page) for page in PAGES if page.parent.name == "examples"]
SECTIONS = [
    (name_of(page), section)
    for page in PAGES
    if name_of(page) not in STORIES
    for section in sections(name_of(page))
]
#: noise that drowns most of the light of a star of the small field
NOISE_ADU = 400.0
#: settings for a small field, beside those that `init` writes
SMALL = {**yaml.safe_load(SETTINGS), "reference_stars": {"max_number": 10, "roi_disk_radius_arcsec": 26}}


@pytest.fixture
def home(night, field, tmp_path, monkeypatch, capsys):
    """Somebody's home directory: a finished workdir, raw frames, stars."""
    for variable in ("LIGHTWATCH_CONFIG", "LIGHTCURVER_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(night.path, tmp_path / "j0248")
    (tmp_path / "archive").mkdir()
    (tmp_path / "j0248" / "gaia.ecsv").write_text("")
    return Home(tmp_path, capsys)


# ---------------------------------------------------------------- what has to be there, and what is achieved
def add_frame_and_wcs(home: Home, field: SimulatedField) -> None:
    """Two new frames without a WCS, and their WCS in files elsewhere."""
    with fits.open(field.frames[N_FRAMES]) as hdus:
        for name in ("night3_0042.wcs", "night3_0043.wcs"):
            fits.PrimaryHDU(header=WCS(hdus[0].header).to_header()).writeto(home.path / name)
        for key in set(WCS(hdus[0].header).to_header()) - {"MJD-OBS", "DATE-OBS"}:
            hdus[0].header.remove(key, ignore_missing=True)
        for key in [key for key in hdus[0].header if re.match(r"CD\d_\d|CTYPE\d", key)]:
            hdus[0].header.remove(key)
        hdus.writeto(home.path / "j0248" / "more" / "night3_0042.fits")
        hdus[0].data = hdus[0].data + 1
        hdus.writeto(home.path / "j0248" / "more" / "night3_0043.fits")


def add_frame_without_gain(home: Home, field: SimulatedField) -> None:
    """A new frame of another camera, whose header has no usable gain."""
    with fits.open(field.frames[N_FRAMES]) as hdus:
        hdus[0].header["GAIN"] = 0.0
        hdus.writeto(home.path / "j0248" / "more" / "night3_camB_0001.fits")


def add_frame_of_a_wrong_clock(home: Home, field: SimulatedField) -> None:
    """A new frame of a night when the clock was slow."""
    (home.path / "j0248" / "more" / "2026-03-11").mkdir()
    shutil.copy2(field.frames[N_FRAMES], home.path / "j0248" / "more" / "2026-03-11" / "0001.fits")


def lay_out_raw_frames(home: Home, field: SimulatedField) -> None:
    """The frames of the README, and its place on the sky; a table stands in for the archive."""
    shutil.rmtree(home.path / "j0248")
    lay_out(home, field, "raw", range(N_FRAMES))
    (home.path / "raw" / field.frames[2].name).rename(home.path / "raw" / "night3_0042.fits")
    stars = {**SMALL["reference_stars"], "catalog": str(field.stars)}
    home.settings = {
        **SMALL,
        "reference_stars": stars,
        "rois": {"pair": {"coordinates": list(place(field, "pair"))}},
    }
    home.names[" 42 "] = " 3 "


def lay_out(home: Home, field: SimulatedField, folder: str, which: Iterable[int]) -> None:
    (home.path / folder).mkdir(parents=True)
    for k in which:
        shutil.copy2(field.frames[k], home.path / folder)


def place(field: SimulatedField, roi: str) -> tuple[float, float]:
    ra, dec = yaml.safe_load(field.config.read_text())["rois"][roi]["coordinates"]
    return ra, dec


def make_lightcurver_workdir(home: Home, field: SimulatedField) -> None:
    """Three frames, the parser of their headers, and one frame that was eliminated by hand."""
    shutil.rmtree(home.path / "j0248")
    lay_out(home, field, "raw", (0, 1, 3))
    old = {
        "workdir": "old",
        "raw_dirs": [str(home.path / "raw")],
        "ROI": {"pair": {"coordinates": list(place(field, "pair"))}},
        "gaia_provider": str(field.stars),
    }
    frames = [(field.frames[k].name, 1, int(k == 1), "satellite" if k == 1 else None) for k in (0, 1, 3)]
    config = old_workdir(home.path / "elsewhere", config=old, frames=frames, stars=[])
    (config.parent / "old" / "header_parser").mkdir()
    parser = ROOT / "header_parser" / "simulation.py"
    shutil.copy(parser, config.parent / "old" / "header_parser" / "parse_header.py")
    config.rename(config.with_name("config.yml"))
    home.names["OLD/config.yaml"] = str(config.with_name("config.yml"))
    home.settings = SMALL


def make_checkout(home: Home, field: SimulatedField) -> None:
    """The simulated frames of the demo are there already, and worked on: those of the small night."""
    make_simulated_night(home, field)
    (home.path / "bench").rename(home.path / "demo")
    for name in ("Makefile", "benchmarks", "requirements.lock", "pyproject.toml"):
        (home.path / name).symlink_to(ROOT / name)
    home.names["make "] = f"make VENV={sys.prefix} -o {sys.prefix}/.installed "  # it is installed


def make_simulated_night(home: Home, field: SimulatedField) -> None:
    """Workdir and truth of the small night in place of a large one."""
    (home.path / "j0248").rename(home.path / "bench")
    shutil.copytree(field.truth, home.path / "bench" / "truth")
    home.names |= {
        "'bench', n_frames=20": "'another', n_frames=1",
        "python benchmarks/": f"python {ROOT}/benchmarks/",
    }


def go_to_workdir(home: Home, field: SimulatedField) -> None:
    os.chdir(home.path / "j0248")


def gain_as_told(home: Home, told: str) -> bool:
    query = "SELECT gain, filter FROM frames WHERE original_image_path LIKE '%camB%'"
    return home.workdir.sql(query) == [(1.4, "r")]


def time_as_told(home: Home, told: str) -> bool:
    ((path, mjd),) = home.workdir.sql("SELECT original_image_path, mjd FROM frames ORDER BY id DESC LIMIT 1")
    return "2026-03-11" in path and abs((mjd - fits.getval(path, "MJD-OBS")) * 86400 - 3600) < 0.01


def nothing_left_to_do(home: Home, told: str) -> bool:
    return told.endswith("nothing to do\n")


def believed(home: Home, told: str) -> bool:
    query = (
        "SELECT plate_solved, plate_solve_method FROM frames WHERE original_image_path LIKE '%night3_004%'"
    )
    return home.workdir.sql(query) == [(1, "header"), (1, "header")]


def light_curves_alone(home: Home, told: str) -> bool:
    changed = re.findall(r"^(\w+) .* settings of '\w+' changed$", told, re.MULTILINE)
    return "roi_model.local_background: true -> false" in told and changed == ["model_calibrated_cutouts"]


def restored(home: Home, told: str) -> bool:
    return "restored database" in told and nothing_left_to_do(home, told)


def in_use_again(home: Home, told: str) -> bool:
    return home.workdir.sql("SELECT count(*) FROM frames WHERE eliminated = 1") == [(0,)]


def answered(home: Home, told: str) -> bool:
    table, points, frames = re.split(r"(?=^bjd_tdb,|^\[)", told, flags=re.MULTILINE)
    return table.startswith("task") and len(points.splitlines()) > 2 and "psf_chi2" in json.loads(frames)[0]


def taken_over(home: Home, told: str) -> bool:
    query = "SELECT eliminated, comment FROM frames WHERE eliminated = 1"
    return (
        home.workdir.sql(query) == [(1, "satellite")] and home.workdir.sql("SELECT * FROM light_curves") != []
    )


#: what a reader has achieved who followed a section
ACHIEVED = {
    ("docs/cookbook.md", "Cookbook"): nothing_left_to_do,
    ("docs/cookbook.md", "A frame that cannot be solved"): lambda home, told: "plate_solving" in told,
    ("docs/cookbook.md", "My own WCS"): believed,
    ("docs/cookbook.md", "A camera that does not tell its gain"): gain_as_told,
    ("docs/cookbook.md", "A clock that was wrong"): time_as_told,
    ("docs/cookbook.md", "A frame to leave out"): in_use_again,
    ("docs/cookbook.md", "Changing settings"): light_curves_alone,
    ("docs/cookbook.md", "Moving a workdir"): nothing_left_to_do,
    ("docs/cookbook.md", "Restoring the database"): restored,
    ("docs/cookbook.md", "Results in astropy, lightkurve and pandas"): lambda home, told: (
        len(home.variables["series"]) > 2
    ),
    ("docs/cron.md", "Copies of the database"): lambda home, told: "restored database" in told,
    ("docs/migrating.md", "Coming from LightCurver"): taken_over,
    ("docs/report.md", "The report"): lambda home, told: (
        home.workdir.path / "report" / "index.html"
    ).is_file(),
    ("docs/report.md", "During a run"): lambda home, told: "http://127.0.0.1:" in told,
    ("docs/sql.md", "From the command line"): answered,
    ("docs/sql.md", "In a browser"): lambda home, told: "http://127.0.0.1:" in told,
    ("README.md", "Try it"): lambda home, told: "Light curves against truth: 6 epochs" in told,
}
#: what a section needs to be there
PREPARED = {
    ("docs/cookbook.md", "My own WCS"): add_frame_and_wcs,
    ("docs/cookbook.md", "A camera that does not tell its gain"): add_frame_without_gain,
    ("docs/cookbook.md", "A clock that was wrong"): add_frame_of_a_wrong_clock,
    ("docs/migrating.md", "Coming from LightCurver"): make_lightcurver_workdir,
    ("README.md", "Try it"): make_checkout,
    ("README.md", "Your own frames, in five commands"): lay_out_raw_frames,
    ("README.md", "What comes out"): go_to_workdir,
    ("benchmarks/README.md", "Benchmarks"): make_simulated_night,
}


# ---------------------------------------------------------------- what is followed in a way of its own
def mail(home: Home, blocks: list[Block]) -> None:
    """A stub ends with every exit code: the mail of the first line, and of the second, has a text where it should."""
    stub = home.path / "lightwatch"
    for block, silent in zip(blocks, ((0, 75), (0, 10, 75)), strict=True):
        command = home.here(block[1]).replace("/tmp/", f"{home.path}/")
        for code in (0, 10, 65, 70, 74, 75, 78):
            stub.write_text(f"#!/bin/sh\necho told\nexit {code}\n")
            stub.chmod(0o755)
            done = subprocess.run(
                ["sh", "-c", command], capture_output=True, text=True, check=False,
                env={"PATH": f"{home.path}:/usr/bin:/bin"},
            )  # fmt: skip
            assert done.stdout == ("" if code in silent else "told\n"), code
        home.followed.append(block)


def systemd(home: Home, blocks: list[Block]) -> None:
    """Units that can be read, whose commands work, and whose exit codes of success are harmless ones."""
    units = [configparser.ConfigParser(interpolation=None, strict=True) for _ in blocks]
    for unit, block in zip(units, blocks, strict=True):
        unit.optionxform = str
        unit.read_string(block[1])
        home.followed.append(block)
    service, timer, mail = units
    for key in ("ExecStart", "ExecStartPost"):
        home.type(home.here(service["Service"][key].replace("%h/", "~/")))
    assert timer["Timer"]["OnCalendar"]
    assert mail["Service"]["Type"] == service["Service"]["Type"] == "oneshot"
    codes = {int(code) for code in service["Service"]["SuccessExitStatus"].split()}
    assert codes == {10, AnotherRunActive.exit_code, 128 + signal.SIGTERM}


WAYS = {
    ("docs/cron.md", "Mail when something needs a person"): mail,
    ("docs/cron.md", "With systemd"): systemd,
}


#: blocks that no test follows here, with the reason
LEFT_OUT = {
    ("README.md", "make test\n"): "it is what runs this test",
}


@pytest.mark.parametrize(("page", "section"), SECTIONS)
def test_section(home, field, page, section):
    """Every block is followed: a page or a section that is new, too."""
    home.page = page
    PREPARED.get((page, section), lambda home, field: None)(home, field)
    blocks = [(language, text) for language, text in sections(page)[section] if (page, text) not in LEFT_OUT]
    WAYS.get((page, section), Home.follow)(home, blocks)
    assert home.followed == blocks
    assert ACHIEVED.get((page, section), lambda home, told: True)(home, home.told), home.told


@pytest.mark.parametrize("page", STORIES)
def test_story(home, field, page):
    """From raw frames to the light curve; what the page shows has the words that the program prints.

    With the frames of the page itself: tests/test_real_nights.py.
    """
    name = Path(page).stem
    shutil.rmtree(home.path / "j0248")
    lay_out(home, field, f"raw/{name}", (0, 1, 2, 3) if name == "pds110" else (0, 1, 3))
    for path in (home.path / "raw" / name).glob("*.fits"):
        drown(path)
    stars = sorted(field.stars.read_text().splitlines()[1:], key=lambda line: float(line.split(",")[6]))
    table = [field.stars.read_text().splitlines()[0], *(stars[:12] if name == "pds110" else stars)]
    (home.path / "raw" / f"{name}-stars.csv").write_text("\n".join(table))
    ra, dec = place(field, "single")
    for line in re.findall(r"^lightwatch init .*", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE):
        (asked,) = re.findall(r"--ra \S+ --dec \S+", line)
        home.names[asked] = f"--ra {ra} --dec {dec}"
    home.names |= {"-stars.ecsv": "-stars.csv", "_Clear.": "_r_sdss.", "_rp.": "_r_sdss.",
                   "filter Clear": "filter r_sdss", "filter rp": "filter r_sdss"}  # fmt: skip
    home.settings = {**SMALL, "psf": {**SMALL["psf"], "min_snr": 100}}
    home.follow_story(page)
    assert home.followed == [block for blocks in sections(page).values() for block in blocks]
    assert (home.path / "light_curve.png").stat().st_size > 5000


def drown(path: Path) -> None:
    """Noise in a frame in g, so that no star of it can make a PSF, as in the shortest exposures of PDS 110."""
    with fits.open(path, mode="update") as hdus:
        if hdus[0].header["FILTER"] == "g_sdss":
            noise = np.random.default_rng(1).normal(0, NOISE_ADU, hdus[0].data.shape)
            hdus[0].data = np.clip(hdus[0].data + noise, 0, 65535).astype(np.uint16)


def test_there_is_one_notebook():
    """... which tests/docs/test_tutorial.py executes."""
    assert [path.name for path in (ROOT / "docs").rglob("*.ipynb")] == ["tutorial.ipynb"]


def test_what_is_said_of_sections_is_said_of_some_that_exist():
    said = {*ACHIEVED, *PREPARED, *WAYS, *((page, None) for page, _ in LEFT_OUT)}
    known = {*SECTIONS, *((page, None) for page, _ in SECTIONS)}
    assert said <= known
    assert all(("", text) in chain(*sections(page).values()) for page, text in LEFT_OUT)
    assert all(("sql", text) in chain(*sections(page).values()) for page, text in MAY_BE_EMPTY)


def test_exit_codes_of_the_page_are_those_of_the_program():
    page = (ROOT / "docs/cron.md").read_text(encoding="utf-8")
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    kinds = [errors.LightwatchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert told == {0, 2, 10, 130, 128 + signal.SIGTERM} | {kind.exit_code for kind in kinds}


def test_views_of_the_page_are_the_views_of_the_schema():
    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/sql.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(VIEWS)
