"""Headers of many observatories: what ``init`` writes reads every one of them right, or says what is missing."""

from __future__ import annotations

import runpy
from itertools import pairwise
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lightwatch.errors import HeaderError
from lightwatch.pipeline.init_notes import band_of, propose
from lightwatch.pipeline.init_place import sky_position
from lightwatch.pipeline.init_sample import spread
from lightwatch.pipeline.init_survey import survey
from lightwatch.pipeline.init_time import choose_time
from lightwatch.structure.header_parsing import HeaderParser, load_header_parser, read_metadata

_TABLE = runpy.run_path(str(Path(__file__).with_name("header_dialects.py")))
DIALECTS, START_MJD, EXPOSED = (_TABLE[name] for name in ("DIALECTS", "START_MJD", "EXPOSED"))
IMAGE = np.random.default_rng(5).normal(500, 20, (64, 96)).astype(np.float32)


def frames(folder: Path, header: fits.Header, n: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        fits.writeto(folder / f"frame_{number}.fits", IMAGE, header)
    return folder


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_read_right(tmp_path, name):
    dialect = DIALECTS[name]
    header = dialect.header()
    found = survey(frames(tmp_path / "raw", header))
    assert found.instrument == dialect.instrument
    told = found.parser + "\n".join(propose(found, catalog=None).remarks)
    for words in dialect.says:
        assert words in " ".join(told.replace("#", " ").split())
    if dialect.instrument:
        parser = load_header_parser(tmp_path, dialect.instrument)
    else:
        parser = HeaderParser(tmp_path / "parse_header.py", "", found.parser.encode())
    settings = {"name": name, "time_reference": "start"}
    if isnan(dialect.gain):
        assert found.missing == ("gain",)
        with pytest.raises(HeaderError, match="gain=None"):
            read_metadata(parser, header, **settings, overrides={})
        metadata = read_metadata(parser, header, **settings, overrides={"gain": 1.0})
    else:
        assert found.missing == ()
        metadata = read_metadata(parser, header, **settings, overrides={})
        assert metadata.gain == pytest.approx(dialect.gain)
    assert metadata.exptime_s == pytest.approx(dialect.exptime)
    assert metadata.filter == dialect.filter
    assert abs(metadata.mjd_mid - dialect.mjd_mid) * 86400 < dialect.within_s
    for key, value in dialect.others.items():
        assert getattr(metadata, key) == pytest.approx(value, abs=1e-3), key


def test_there_are_enough_dialects():
    assert len(DIALECTS) >= 30


def test_two_dialects_in_one_directory_are_both_read(tmp_path):
    one, other = (DIALECTS[name].header() for name in ("ccdsoft_ut_apart", "nina_asi"))
    frames(tmp_path / "raw" / "a", one)
    found = survey(frames(tmp_path / "raw" / "b", other).parent)
    assert found.refused == ()
    assert {meta.gain for meta in found.metadata} == {2.5, 0.246}
    assert {meta.filter for meta in found.metadata} == {"V", "L"}
    for meta in found.metadata:
        assert meta.mjd_mid == pytest.approx(START_MJD + EXPOSED / 2 / 86400, abs=1e-7)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"HJD": 2460374.547}, "HJD: heliocentric, sidereal or local"),
        ({"DATE-OBS": "2024-03-05"}, "a date without a time"),
        ({"DATE-OBS": "2024-03-05T01:02:03", "MJD-OBS": 60375.04309, "UT-OBS": "2024-03-05T01:02:03"}, "a day"),
        ({"DATE-OBS": "2024-03-05T01:02:03.5", "MJD-OBS": 60374.043443}, "half the exposure"),
        ({"DATE-OBS": "2024-03-05T01:02:03.5", "MJD-OBS": 60374.0437905}, "may be its end"),
        ({"DATE-OBS": "2024-03-05T06:32:03.5", "UT-OBS": "2024-03-05T01:02:03.5Z"}, "(+5.5 h): one of them may be"),
        ({"DATE-OBS": "2024-03-05T01:02"}, "steps of 60 s"),
    ],
)  # fmt: skip
def test_doubts_about_the_time_are_told(cards, words):
    choice = choose_time([fits.Header(cards)] * 3, [60.0] * 3)
    assert words in " ".join(choice.doubts)


@pytest.mark.parametrize(("longitude", "sign"), [(-110.88, 1), (110.88, -1), (249.12, 1)])
def test_the_sun_tells_which_way_longitudes_count(tmp_path, longitude, sign):
    cards = {
        "DATE-OBS": "2017-12-20T07:00:00",
        "EXPTIME": 60.0,
        "GAIN": 1.0,
        "LATITUDE": 31.68,
        "LONGITUD": longitude,
    }
    found = survey(frames(tmp_path / "raw", fits.Header(cards)))
    assert found.metadata[0].longitude_deg == pytest.approx(sign * longitude)
    assert found.doubts == ()


def test_frames_taken_at_noon_raise_a_doubt(tmp_path):
    cards = {
        "DATE-OBS": "2017-12-20T20:00:00",
        "EXPTIME": 60.0,
        "GAIN": 1.0,
        "SITELAT": 31.68,
        "SITELONG": -110.88,
    }
    found = survey(frames(tmp_path / "raw", fits.Header(cards)))
    assert any("the Sun is up" in doubt for doubt in found.doubts)


@pytest.mark.parametrize(
    ("ra", "dec", "words"),
    [("x", "0", "'x' is no right ascension"), ("10", "2 apples", "is no declination"), ("400", "0", "no position"),
     ("nan", "0", "no right ascension"), ("02:04", "91", "no position")],
)  # fmt: skip
def test_what_is_no_position_is_told_in_one_line(ra, dec, words):
    with pytest.raises(ValueError, match=words) as caught:
        sky_position(ra, dec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "band"),
    [("rp", "r_sdss"), ("SDSS-R", "r_sdss"), ("r_SDSS", "r_sdss"), ("R", "R"), ("Rc", "R"), ("V", "V"), ("Ic", "Ic"),
     ("Bes V 550_80", "V"), ("Clear", "G"), ("i", "i_sdss"), ("Ha", None), ("up", None), ("g", "g_sdss"), ("B", "B")],
)  # fmt: skip
def test_bands_of_filters(name, band):
    assert band_of(name) == band


def test_the_sample_is_spread_over_folders_and_files():
    paths = [Path(f"night{n}") / f"f{k:04d}.fits" for n in range(5) for k in range(400)] + [
        Path("late") / "f.fits"
    ]
    chosen = spread(paths, 60)
    assert len(chosen) == 60
    assert {path.parent for path in chosen} == {path.parent for path in paths}
    steps = np.diff([paths.index(path) for path in chosen])
    assert steps.max() < 100
    assert spread(paths[:7], 60) == paths[:7]
    assert all(a != b for a, b in pairwise(chosen))
