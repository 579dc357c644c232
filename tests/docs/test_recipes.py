"""The pages work as written: every block, section by section, on a copy of the small simulated night.

Of a section, blocks without a language are commands, one per line; ``yaml`` is merged into the configuration; ``sql``
is asked, ``python`` executed, in the home directory of somebody whose workdir is ~/j0248.
"""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from astropy.io import fits
from astropy.wcs import WCS
from reliability.small_night import N_FRAMES, SETTINGS, Workdir

from lightwatch import errors
from lightwatch.errors import AnotherRunActive
from lightwatch.pipeline import cli
from lightwatch.structure.config_file import load_config

ROOT = Path(__file__).resolve().parent.parent.parent
#: packages that a recipe is about, and that lightwatch does not need
OPTIONAL = {"pandas", "lightkurve"}
#: commands that ask the network; that they and their options exist, test_pages.py checks
ASKS_NETWORK = "lightwatch catalog fetch"
#: what a night made for the purpose has under another name
NAMES = {"J0248": "pair", "/home/me/": "~/", "~/lightwatch/.venv/bin/": ""}
COPY_OF_DATABASE = re.compile(r"database-\d{8}T\d+-[a-z-]+\.sqlite3")
Block = tuple[str, str]


def sections(page: str) -> dict[str, list[Block]]:
    """Blocks of code, as (language, text), by the heading under which they stand."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found: dict[str, list[Block]] = {}
    for part in re.split(r"^(?=##? )", text, flags=re.MULTILINE):
        blocks = re.findall(r"^```(\w*)\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
        if blocks:
            found[part.partition("\n")[0].lstrip("# ")] = blocks
    return found


COOKBOOK = sections("docs/cookbook.md")


class Home:
    """A home directory with the workdir ~/j0248, and the ways to do there what a page says."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.capsys = capsys
        self.names: dict[str, object] = {"__name__": "recipe"}

    @property
    def config(self) -> Path:
        (config,) = self.path.glob("**/config.yaml")
        return config

    @property
    def workdir(self) -> Workdir:
        return Workdir(self.config.parent)

    def do(self, language: str, text: str) -> str:
        """Follow a block; what the command line printed."""
        for ours, theirs in NAMES.items():
            text = text.replace(ours, theirs)
        if language == "":
            return "".join(self.command(line) for line in text.splitlines())
        {"yaml": self.merge, "sql": self.ask, "python": self.execute}[language](text)
        return ""

    def command(self, line: str) -> str:
        if not line.startswith("lightwatch "):
            subprocess.run(line, shell=True, check=True, cwd=self.path, stdout=subprocess.DEVNULL)
            return ""
        if line.startswith(ASKS_NETWORK):
            return ""
        words = [os.path.expanduser(self.existing_copy(word)) for word in shlex.split(line)[1:]]
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        told = self.capsys.readouterr()
        assert end.value.code in (0, 10), f"{line}: {told.out}{told.err}"
        return str(told.out)

    def existing_copy(self, word: str) -> str:
        if not COPY_OF_DATABASE.fullmatch(word):
            return word
        copies = sorted((self.path / "j0248" / "backups").glob("database-*.sqlite3"))
        return copies[-1].name

    def merge(self, text: str) -> None:
        """Write it into the configuration, and see that what stands there is one."""
        config = yaml.safe_load(self.config.read_text())
        for section, values in yaml.safe_load(text).items():
            known = config.get(section)
            config[section] = {**known, **values} if isinstance(known, dict) else values
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))
        load_config(self.config)

    def ask(self, query: str) -> None:
        with closing(sqlite3.connect(self.config.parent / "database.sqlite3")) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(query).fetchall()

    def execute(self, text: str) -> None:
        wanted = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
        if all(importlib.util.find_spec(name) for name in wanted & OPTIONAL):
            exec(compile(text, "recipe", "exec"), self.names)


@pytest.fixture
def home(night, field, tmp_path, monkeypatch, capsys):
    """Somebody's home directory: a finished workdir, raw frames, stars."""
    for variable in ("LIGHTWATCH_CONFIG", "LIGHTCURVER_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(night.path, tmp_path / "j0248")
    (tmp_path / "archive").mkdir()
    (tmp_path / "j0248" / "gaia.ecsv").write_text("")
    return Home(tmp_path, capsys)


# ---------------------------------------------------------------- the cookbook
def add_frame_and_wcs(home: Home, spare: Path) -> None:
    """Two new frames without a WCS, and their WCS in files elsewhere."""
    with fits.open(spare) as hdus:
        for name in ("night3_0042.wcs", "night3_0043.wcs"):
            fits.PrimaryHDU(header=WCS(hdus[0].header).to_header()).writeto(home.path / name)
        for key in set(WCS(hdus[0].header).to_header()) - {"MJD-OBS", "DATE-OBS"}:
            hdus[0].header.remove(key, ignore_missing=True)
        for key in [key for key in hdus[0].header if re.match(r"CD\d_\d|CTYPE\d", key)]:
            hdus[0].header.remove(key)
        hdus.writeto(home.path / "j0248" / "more" / "night3_0042.fits")
        hdus[0].data = hdus[0].data + 1
        hdus.writeto(home.path / "j0248" / "more" / "night3_0043.fits")


def add_frame_without_gain(home: Home, spare: Path) -> None:
    """A new frame of another camera, whose header has no usable gain."""
    with fits.open(spare) as hdus:
        hdus[0].header["GAIN"] = 0.0
        hdus.writeto(home.path / "j0248" / "more" / "night3_camB_0001.fits")


def add_frame_of_a_wrong_clock(home: Home, spare: Path) -> None:
    """A new frame of a night when the clock was slow."""
    (home.path / "j0248" / "more" / "2026-03-11").mkdir()
    shutil.copy2(spare, home.path / "j0248" / "more" / "2026-03-11" / "0001.fits")


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


def in_use_again(home: Home, told: str) -> bool:
    return home.workdir.sql("SELECT count(*) FROM frames WHERE eliminated = 1") == [(0,)]


#: what a recipe has achieved when it was followed
ACHIEVED = {
    "Cookbook": nothing_left_to_do,
    "A frame that cannot be solved": lambda home, told: "plate_solving" in told,
    "My own WCS": believed,
    "A camera that does not tell its gain": gain_as_told,
    "A clock that was wrong": time_as_told,
    "A frame to leave out": in_use_again,
    "Changing settings": light_curves_alone,
    "Moving a workdir": nothing_left_to_do,
    "Restoring the database": lambda home, told: (
        "restored database" in told and nothing_left_to_do(home, told)
    ),
    "Results in astropy, lightkurve and pandas": lambda home, told: len(home.names["series"]) > 2,
}


#: what a recipe needs to be there
PREPARED = {
    "My own WCS": add_frame_and_wcs,
    "A camera that does not tell its gain": add_frame_without_gain,
    "A clock that was wrong": add_frame_of_a_wrong_clock,
}


@pytest.mark.parametrize("section", COOKBOOK)
def test_recipe(home, section, field):
    if section in PREPARED:
        PREPARED[section](home, field.frames[N_FRAMES])
    told = "".join([home.do(language, text) for language, text in COOKBOOK[section]])
    assert section not in ACHIEVED or ACHIEVED[section](home, told), told


def test_recipes_have_results():
    assert set(ACHIEVED) <= set(COOKBOOK)


# ---------------------------------------------------------------- other pages
def test_readme(home, field, monkeypatch):
    """From raw frames to the report, by the commands of the README; a table stands in for the archive."""
    shutil.rmtree(home.path / "j0248")
    (home.path / "raw").mkdir()
    for path in field.frames[:N_FRAMES]:
        shutil.copy2(path, home.path / "raw")
    (home.path / "raw" / field.frames[2].name).rename(home.path / "raw" / "night3_0042.fits")
    readme = sections("README.md")
    (_, begin), (_, odd) = readme["Your own frames, in five commands"]
    told = ""
    for line in begin.splitlines():
        told += home.do("", line)
        if line.startswith("lightwatch init"):
            ra, dec = yaml.safe_load(field.config.read_text())["rois"]["pair"]["coordinates"]
            home.do("yaml", f"rois: {{pair: {{coordinates: [{ra}, {dec}]}}}}")
            home.do(
                "yaml", f"{SETTINGS}reference_stars: {{catalog: {field.stars}, roi_disk_radius_arcsec: 26}}"
            )
    assert (home.path / "j0248" / "report" / "index.html").is_file()
    assert "no mistakes" in told
    assert home.workdir.sql("SELECT count(DISTINCT frame_id) FROM light_curves") == [(N_FRAMES,)]
    told = home.do("", odd.replace(" 42 ", " 3 "))
    assert "night3_0042" in told
    assert home.workdir.sql("SELECT comment FROM frames WHERE eliminated = 1") == [
        ("satellite across the target",)
    ]
    monkeypatch.chdir(home.path / "j0248")
    (code,) = [text for language, text in readme["What comes out"] if language == "python"]
    home.do("python", code)


@pytest.mark.parametrize("page", ["hatp32", "pds110"])
def test_figures_of_the_examples(home, page, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    (code,) = [
        text
        for blocks in sections(f"docs/examples/{page}.md").values()
        for language, text in blocks
        if language == "python"
    ]
    home.do("python", re.sub(r'"\w+/light_curves/[^"]+"', '"j0248/light_curves/single_r_sdss.ecsv"', code))
    assert (home.path / "light_curve.png").stat().st_size > 5000


@pytest.mark.parametrize("section", ["Every night, by cron", "Copies of the database"])
def test_commands_of_the_page_on_cron(home, section):
    text = "".join(text for _, text in sections("docs/cron.md")[section])
    for line in text.splitlines():
        home.do("", re.sub(r"^15 9 \* \* \* +", "", line))
    assert home.workdir.sql("PRAGMA quick_check") == [("ok",)]


def test_commands_of_the_page_on_sql(home):
    """Those that answer; the one that serves is followed in tests/report/test_sql_command.py."""
    ((_, text),) = sections("docs/sql.md")["From the command line"]
    table, points, frames = (home.do("", line) for line in text.splitlines())
    assert table.startswith("task")
    assert len(points.splitlines()) > 2
    assert {"frame_id", "psf_chi2"} <= set(json.loads(frames)[0])


@pytest.mark.parametrize("line", range(2))
@pytest.mark.parametrize("code", [0, 10, 65, 70, 74, 75, 78])
def test_mail_comes_when_somebody_is_needed(tmp_path, line, code):
    text = "".join(text for _, text in sections("docs/cron.md")["Mail when something needs a person"])
    command = text.splitlines()[line].removeprefix("15 9 * * *  ").replace("/tmp/", f"{tmp_path}/")
    stub = tmp_path / "lightwatch"
    stub.write_text(f"#!/bin/sh\necho told\nexit {code}\n")
    stub.chmod(0o755)
    mail = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    ).stdout
    assert mail == ("" if code in ((0, 75), (0, 10, 75))[line] else "told\n")


def test_units_of_systemd(home):
    blocks = [text for language, text in sections("docs/cron.md")["With systemd"] if language == "ini"]
    units = [configparser.ConfigParser(interpolation=None, strict=True) for _ in blocks]
    for unit, text in zip(units, blocks, strict=True):
        unit.optionxform = str
        unit.read_string(text)
    service, timer, mail = units
    for key in ("ExecStart", "ExecStartPost"):
        home.command(service["Service"][key].replace("%h/lightwatch/.venv/bin/", "").replace("%h", "~"))
    assert timer["Timer"]["OnCalendar"]
    assert mail["Service"]["Type"] == service["Service"]["Type"] == "oneshot"
    codes = {int(code) for code in service["Service"]["SuccessExitStatus"].split()}
    assert codes == {10, AnotherRunActive.exit_code, 128 + signal.SIGTERM}


def test_exit_codes_of_the_page_are_those_of_the_program():
    page = (ROOT / "docs/cron.md").read_text(encoding="utf-8")
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    kinds = [errors.LightwatchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert told == {0, 2, 10, 130, 128 + signal.SIGTERM} | {kind.exit_code for kind in kinds}
