"""Taking over a LightCurver workdir: what its owner has decided and found stays, and nothing in it is changed.

The workdir is made here, with the names of tables and columns that LightCurver's users know from their own SQL.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from reliability.small_night import SETTINGS, Workdir

from lightwatch.errors import ConfigError
from lightwatch.pipeline.init import InitRequest, initialize_workdir
from lightwatch.structure.catalogs_table import read_catalog
from lightwatch.structure.config_file import load_config
from lightwatch.structure.elimination_list import read_eliminations
from lightwatch.structure.wcs_files import wcs_files

SCHEMA = """
CREATE TABLE frames (
    id INTEGER PRIMARY KEY, mjd REAL, exptime REAL, gain REAL, original_image_path TEXT, image_relpath TEXT UNIQUE,
    sources_relpath TEXT, plate_solved INTEGER DEFAULT 0, attempted_plate_solve INTEGER DEFAULT 0, pixel_scale REAL,
    eliminated INTEGER DEFAULT 0, seeing_arcseconds REAL, comment TEXT, roi_in_footprint INTEGER DEFAULT 0);
CREATE TABLE combined_footprint (id INTEGER PRIMARY KEY, hash INTEGER UNIQUE, largest TEXT, common TEXT);
CREATE TABLE stars (
    combined_footprint_hash INTEGER, name TEXT, ra REAL, dec REAL, gmag REAL, rmag REAL, bmag REAL, pmra REAL,
    pmdec REAL, ref_epoch REAL, gaia_id TEXT, distance_to_roi_arcsec REAL,
    PRIMARY KEY (combined_footprint_hash, gaia_id));
"""
OLD = {
    "workdir": "old",
    "raw_dirs": ["raw"],
    "ROI": {"pair": {"coordinates": [42.2031, 19.22528]}},
    "already_plate_solved": 0,
    "stars_to_use_psf": "acz",
    "stars_to_exclude_norm": ["b"],
}
GAIA = 4_300_000_000
FRAMES = (  # raw file, solved, eliminated, comment
    ("a.fits", 1, 0, None),
    ("b.fits", 1, 1, "satellite"),
    ("c.fits", 0, 1, None),
    ("d.fits", 1, 1, "bad_pointing"),
    ("e.fits", 1, 0, None),
)
STARS = [(300, name, 42.2, 19.2, 15.0, str(GAIA + k)) for k, name in enumerate("abc")]


def statements(path: Path, *pairs: tuple[str, list[tuple]]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement, rows in pairs:
            connection.executemany(statement, rows)


def old_workdir(folder: Path, *, config: dict | None = None, frames=FRAMES, stars=STARS) -> Path:
    """A LightCurver workdir beside its configuration, whose path is returned."""
    (folder / "old" / "frames").mkdir(parents=True)
    path = folder / "old" / "database.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    raw = folder / "raw"
    statements(
        path,
        (
            "INSERT INTO frames (original_image_path, image_relpath, plate_solved, eliminated, comment) "
            "VALUES (?, ?, ?, ?, ?)",
            [(str(raw / name), f"frames/{name}", *rest) for name, *rest in frames],
        ),
        (
            "INSERT INTO stars (combined_footprint_hash, name, ra, dec, gmag, gaia_id) VALUES (?, ?, ?, ?, ?, ?)",
            [(-17, "a", 1.0, 2.0, 12.0, str(GAIA + 99)), *stars],  # of an earlier selection, first
        ),
    )
    (folder / "config.yaml").write_text(yaml.safe_dump(config or OLD))
    return folder / "config.yaml"


def solved_frame(path: Path) -> None:
    """A frame as LightCurver keeps it, with its WCS."""
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 42.2, "CRVAL2": 19.2, "CRPIX1": 20.0, "CRPIX2": 15.0,
             "CD1_1": -1e-4, "CD2_2": 1e-4}  # fmt: skip
    fits.writeto(path, np.zeros((30, 40), np.float32), fits.Header(cards))


def content(folder: Path) -> dict[str, str]:
    return {str(p): sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def made(tmp_path: Path, config: Path):
    return initialize_workdir(InitRequest(tmp_path / "new", from_lightcurver=config))


# ---------------------------------------------------------------- what is taken over
def test_flags_wcs_and_stars_are_taken_over_and_nothing_is_changed(tmp_path):
    config = old_workdir(tmp_path)
    for name in ("a.fits", "d.fits"):  # that of e cannot be read
        solved_frame(tmp_path / "old" / "frames" / name)
    before = content(tmp_path / "old")
    result = made(tmp_path, config)
    assert content(tmp_path / "old") == before
    listed = read_eliminations(tmp_path / "new").among((f"/moved/{name}", name) for name, *_ in FRAMES)
    comments = {name: listed.comments.get(name) for name, *_ in FRAMES}
    assert comments == {
        "a.fits": None, "b.fits": "satellite", "c.fits": "eliminated in LightCurver", "d.fits": None, "e.fits": None,
    }  # fmt: skip
    assert [path.name for path in (tmp_path / "new" / "wcs").iterdir()] == ["a.wcs"]
    config = load_config(result.config_path)
    assert config.psf.stars_to_use == [str(GAIA), str(GAIA + 2)]
    assert config.normalization.stars_to_exclude == [str(GAIA + 1)]
    assert config.plate_solving.already_plate_solved == "auto"
    told, remarks = "\n".join(result.found), "\n".join(result.remarks)
    assert "2 frames eliminated by hand" in told
    assert "1 WCS" in told
    assert "no star of the old table is named z" in remarks
    assert "1 frames that LightCurver's own checks had eliminated" in remarks
    assert "1 solved frames without a WCS" in remarks


def test_wcs_of_raw_headers_stay_where_they_are(tmp_path):
    config = old_workdir(tmp_path, config={**OLD, "already_plate_solved": 1})
    solved_frame(tmp_path / "old" / "frames" / "a.fits")
    result = made(tmp_path, config)
    assert not (tmp_path / "new" / "wcs").exists()
    assert load_config(result.config_path).plate_solving.already_plate_solved is True


def test_stars_of_ones_own_become_the_table_of_reference_stars(tmp_path):
    stars = [
        (300, "a", 42.2, 19.2, 15.0, "7"),
        (300, "b", 42.3, 19.2, 15.5, "8"),
        (300, "c", 42.3, None, 15.5, "9"),
    ]
    result = made(tmp_path, old_workdir(tmp_path, stars=stars))
    config = load_config(result.config_path)
    assert config.plate_solving.catalog == "gaia"
    table = read_catalog(tmp_path / "new" / config.reference_stars.catalog)
    assert (list(table.source_id), list(table.phot_g_mean_mag)) == ([7, 8], [15.0, 15.5])
    assert config.psf.stars_to_use == ["7", "9"]
    assert any("1 stars of the old table have no" in remark for remark in result.remarks)


def test_stars_that_cannot_be_meant_are_left_out_and_told(tmp_path):
    """Positions outside of the sky, ids that are the same number, ids that no number can hold."""
    stars = [
        (300, "a", float("inf"), 19.2, 15.0, "7"),
        (300, "b", 42.3, 200.0, 15.5, "8"),
        (300, "c", 42.3, 19.2, 15.5, "9"),
        (300, "d", 42.3, 19.2, 15.5, "1"),
        (300, "e", 42.4, 19.2, 15.5, "01"),
        (300, "z", 42.4, 19.3, 15.5, "1" * 5000),
        (300, "g", 42.4, 19.3, 15.5, "0"),
    ]
    result = made(tmp_path, old_workdir(tmp_path, stars=stars))
    config = load_config(result.config_path)
    table = read_catalog(tmp_path / "new" / config.reference_stars.catalog)
    assert list(table.source_id) == [0, 9]
    assert config.psf.stars_to_use == ["7", "9"]
    remarks = "\n".join(result.remarks)
    assert "3 stars of the old table have no" in remarks
    assert "2 stars of the old table share their id" in remarks
    assert "no star of the old table is named z" in remarks


def test_paths_that_no_file_can_have_are_left_out_and_told(tmp_path):
    config = old_workdir(tmp_path)
    statements(
        tmp_path / "old" / "database.sqlite3",
        ("UPDATE frames SET image_relpath = ? WHERE id = 1", [("frames/a\0.fits",)]),
        ("UPDATE frames SET original_image_path = ? WHERE id = 2", [("/raw/b\0.fits",)]),
        ("UPDATE frames SET original_image_path = ? WHERE id = 3", [(f"/raw/{'c' * 300}.fits",)]),
        ("UPDATE frames SET original_image_path = ? WHERE id = 5", [(f"/raw/{'e' * 300}.fits",)]),
    )
    solved_frame(tmp_path / "old" / "frames" / "e.fits")
    remarks = made(tmp_path, config).remarks
    assert any("2 frames eliminated by hand have no name" in remark for remark in remarks)
    assert any("2 solved frames without a WCS" in remark for remark in remarks)
    assert not (tmp_path / "new" / "eliminated_frames.csv").exists()


def test_a_wcs_is_named_by_the_path_from_the_raw_directory(tmp_path):
    config = old_workdir(tmp_path, frames=[("n1/a.fits", 1, 0, None), ("n2/a.fits", 1, 0, None)])
    for night in ("n1", "n2"):
        (tmp_path / "old" / "frames" / night).mkdir()
        solved_frame(tmp_path / "old" / "frames" / night / "a.fits")
    made(tmp_path, config)
    assert sorted(wcs_files(tmp_path / "new")) == ["n1/a", "n2/a"]


@pytest.mark.parametrize("name", ["eliminated_frames.csv", "wcs/a.wcs", "lightcurver_stars.ecsv"])
def test_what_is_there_already_is_not_written_over(tmp_path, name):
    config = old_workdir(tmp_path, stars=[(300, "a", 42.2, 19.2, 15.0, "7")])
    solved_frame(tmp_path / "old" / "frames" / "a.fits")
    own = tmp_path / "new" / name
    own.parent.mkdir(parents=True)
    own.write_text("by hand")
    with pytest.raises(ConfigError, match=f"{name}: exists already; move it away"):
        made(tmp_path, config)
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == [own]
    assert own.read_text() == "by hand"


def test_without_a_database_the_configuration_alone_is_translated(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(OLD))
    result = made(tmp_path, tmp_path / "config.yaml")
    assert load_config(result.config_path).psf.stars_to_use == ["a", "c", "z"]
    assert any(
        re.search(r"psf\.stars_to_use, .*: the old workdir has no database", line) for line in result.remarks
    )
    assert not (tmp_path / "new" / "eliminated_frames.csv").exists()


def test_the_database_of_march_2024_is_read_too(tmp_path):
    """Ids were whole numbers then, and there was no comment of a check."""
    config = old_workdir(tmp_path)
    statements(
        tmp_path / "old" / "database.sqlite3",
        ("DROP TABLE stars", [()]),
        ("CREATE TABLE stars (combined_footprint_hash INTEGER, name TEXT, gaia_id INTEGER)", [()]),
        ("INSERT INTO stars VALUES (300, 'a', ?)", [(GAIA + 5,)]),
        ("ALTER TABLE frames DROP COLUMN comment", [()]),
    )
    assert load_config(made(tmp_path, config).config_path).psf.stars_to_use == [str(GAIA + 5)]


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize("kind", ["foreign", "damaged", "text", "folder", "journal", "no_frames"])
def test_a_database_that_cannot_be_read_is_told_in_a_line(tmp_path, kind):
    config = old_workdir(tmp_path)
    path = tmp_path / "old" / "database.sqlite3"
    if kind == "foreign":
        statements(path, ("ALTER TABLE frames DROP COLUMN eliminated", [()]))
    elif kind == "damaged":
        path.write_bytes(path.read_bytes()[:4096] + b"\x55" * 20_000)
    elif kind == "text":
        path.write_text("not a database, but long enough to be looked at" * 100)
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "journal":
        path.with_name(path.name + "-journal").write_bytes(b"hot")
    else:
        statements(path, ("DROP TABLE frames", [()]))
    before = content(tmp_path / "old")
    with pytest.raises(
        ConfigError, match=r"database.sqlite3: cannot be taken over: .*alone is translated$"
    ) as error:
        made(tmp_path, config)
    assert "\n" not in str(error.value)
    assert content(tmp_path / "old") == before
    assert not (tmp_path / "new").exists()


def test_a_path_out_of_the_old_workdir_is_not_followed(tmp_path):
    config = old_workdir(tmp_path)
    solved_frame(tmp_path / "secret.fits")
    statements(
        tmp_path / "old" / "database.sqlite3",
        ("UPDATE frames SET image_relpath = ? WHERE id = 1", [("../secret.fits",)]),
    )
    made(tmp_path, config)
    assert not (tmp_path / "new" / "wcs").exists()


# ---------------------------------------------------------------- the night that follows
def test_the_first_run_follows_what_was_taken_over(tmp_path, field):
    """Raw frames without a WCS: one comes with its own from the old workdir, one was eliminated there."""
    (tmp_path / "raw").mkdir()
    names = [path.name for path in field.frames[:2]]
    config = old_workdir(
        tmp_path, frames=[(names[0], 1, 0, None), (names[1], 0, 1, "satellite")],
        config={**OLD, "stars_to_use_psf": None, "stars_to_exclude_norm": None},
    )  # fmt: skip
    for path in field.frames[:2]:
        with fits.open(path) as hdus:
            header = hdus[0].header
            if path.name == names[0]:
                hdus.writeto(tmp_path / "old" / "frames" / path.name)
            for key in [k for k in header if re.match(r"CD\d_\d|CTYPE\d|CRVAL\d|CRPIX\d", k)]:
                del header[key]
            hdus.writeto(tmp_path / "raw" / path.name)
    ra, dec = yaml.safe_load(field.config.read_text())["rois"]["pair"]["coordinates"]
    request = InitRequest(
        tmp_path / "new", from_lightcurver=config, instrument="simulation", catalog=str(field.stars), ra=str(ra),
        dec=str(dec),
    )  # fmt: skip
    path = initialize_workdir(request).config_path
    wanted = [line for line in SETTINGS.splitlines() if line.startswith(("discovery", "executor"))]
    path.write_text("\n".join([path.read_text(), *wanted]))
    workdir = Workdir(tmp_path / "new")
    workdir.run(stop="plate_solving")
    rows = workdir.sql(
        "SELECT original_image_path, eliminated, comment, plate_solve_method FROM frames ORDER BY 1"
    )
    assert [(Path(row[0]).name, *row[1:]) for row in rows] == [
        (names[0], 0, None, "header"), (names[1], 1, "satellite", None),
    ]  # fmt: skip
    workdir.change("UPDATE frames SET eliminated = 0, comment = NULL")
    (tmp_path / "new" / "wcs" / names[0]).with_suffix(".wcs").unlink()
    assert workdir.done(stop="plate_solving")["read_convert_skysub_character_catalog"].items == 1
    assert workdir.sql("SELECT count(*), sum(plate_solved) FROM frames WHERE eliminated = 0") == [(2, 2)]
    assert workdir.sql("SELECT header_wcs FROM frames") == [(None,), (None,)]
