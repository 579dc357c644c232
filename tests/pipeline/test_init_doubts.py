"""What ``init`` and ``config check`` doubt: dates, local times, chips, targets beside the frames, useless parsers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lightwatch.pipeline import cli
from lightwatch.pipeline.init import InitRequest, initialize_workdir
from lightwatch.pipeline.init_dates import doubts_of_dates
from lightwatch.pipeline.init_local_time import with_local_time
from lightwatch.pipeline.init_notes import propose
from lightwatch.pipeline.init_survey import survey
from lightwatch.pipeline.init_time import choose_time
from lightwatch.structure.config_file import load_config

MJD = 60374.0430961  # 2024-03-05T01:02:03.5
EXPOSED = 60.0
IMAGE = np.random.default_rng(5).normal(500, 20, (48, 64)).astype(np.float32)
CARDS = {"DATE-OBS": "2024-03-05T01:02:03.5", "EXPTIME": EXPOSED, "GAIN": 1.5, "FILTER": "R"}
LOCAL = {"DATE-OBS": ("2024-03-04T18:02:03.5", "local time at start")}


def header_of(cards: dict) -> fits.Header:
    header = fits.Header()
    header.update(cards)
    return header


def frames(folder: Path, cards: dict, n: int = 2, image=IMAGE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        fits.writeto(folder / f"{folder.name}_{number}.fits", image, header_of(cards))
    return folder


def said(words: list[str], capsys, code: int = 0) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    printed = capsys.readouterr()
    assert end.value.code == code, printed
    return printed.out + printed.err


def begun(tmp_path: Path, raw: Path, capsys, *more: str) -> str:
    return said(["init", str(tmp_path / "w"), "--frames", str(raw), *more], capsys)


# ---------------------------------------------------------------- dates
@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"DATE-OBS": "05/03/24", "UT-OBS": "01:02:03.5"}, "is read as 2024-03-05, by day, month and year of two"),
        ({"DATE-OBS": "1924-03-05T01:02:03"}, "1924-03-05, before there were CCD"),
        ({"DATE-OBS": "2924-03-05T01:02:03"}, "2924-03-05, which is still to come"),
        ({"DATE-OBS": "2024-03-05T01:02:03", "DATE": "2023-11-02"}, "written on 2023-11-02, by its DATE"),
        ({"DATE-OBS": "2024-03-05T01:02:03", "DATE": "2024-03-05T00:30:00"}, None),  # of another zone
        ({"DATE-OBS": "05/03/97", "UT-OBS": "01:02:03.5", "DATE": "2020-01-01"}, None),
    ],
)  # fmt: skip
def test_dates_that_cannot_be_are_doubted(cards, words):
    headers = [header_of(cards)] * 2
    time = choose_time(headers, [60.0] * 2)
    doubts = doubts_of_dates(time, headers, [time.sources[0].mjd(header) for header in headers])
    assert len(doubts) == (words is not None)
    assert (words or "") in " ".join(doubts)


def test_a_short_year_of_this_century_is_told_in_the_parser_and_to_check(tmp_path):
    raw = frames(tmp_path / "raw", CARDS | {"DATE-OBS": "05/03/24", "UT-OBS": "01:02:03.5"})
    found = survey(raw)
    assert found.metadata[0].mjd == pytest.approx(MJD, abs=1e-6)
    assert "# CHECK: DATE-OBS = '05/03/24' is read as 2024-03-05" in found.parser
    assert any("is read as 2024-03-05" in remark for remark in propose(found, catalog=None).remarks)


# ---------------------------------------------------------------- local time
@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"TIMEZONE": -7, "DATE": "2024-03-05T01:03:20"}, "DATE"),
        ({"TIMEZONE": -7, "LONGITUD": (-110.88, "east positive")}, "the longitude"),
        ({"TIMEZONE": "UTC-7"}, "the way it is written"),
        ({"TZ": (-7, "[h] local - UT")}, "the way it is written"),
        ({"TIMEZONE": -7}, None),
        ({"TIMEZONE": -7, "DATE": "2024-03-04T18:03:20"}, None),  # local, too
        ({"TIMEZONE": 7, "LONGITUD": (-110.88, "east positive")}, None),  # counted to the west
    ],
)
def test_of_local_time_with_a_zone_that_is_confirmed_utc_follows(tmp_path, more, why):
    headers = [header_of(CARDS | LOCAL | more)] * 2
    nothing = choose_time(headers, [EXPOSED] * 2)
    assert not nothing.sources
    time = with_local_time(nothing, headers, [EXPOSED] * 2)
    assert bool(time.sources) == (why is not None) == (time.offered is None)
    if why:
        assert time.sources[0].mjd(headers[0]) == pytest.approx(MJD, abs=1e-6)
        assert why in " ".join(time.why)
        found = survey(frames(tmp_path / "raw", CARDS | LOCAL | more))
        assert found.metadata[0].mjd == pytest.approx(MJD, abs=1e-6)


@pytest.mark.parametrize("zone", [12, -12])
def test_near_the_date_line_the_longitude_confirms_neither_sign_of_a_zone(zone):
    """Mount John: half a day ahead of UTC or behind it, the Sun stands the same."""
    headers = [header_of(CARDS | LOCAL | {"TIMEZONE": zone, "LONGITUD": (170.46, "east positive")})] * 2
    time = with_local_time(choose_time(headers, [EXPOSED] * 2), headers, [EXPOSED] * 2)
    assert not time.sources
    assert time.offered is not None


def test_a_zone_that_nothing_confirms_is_offered_and_its_line_works(tmp_path):
    found = survey(frames(tmp_path / "raw", CARDS | LOCAL | {"TIMEZONE": -7}))
    assert found.missing == ("mjd",)
    (line,) = [line for line in found.parser.splitlines() if "# mjd, time_reference = utc_mjd(" in line]
    source = found.parser.replace(line, line.replace("# ", ""))
    names: dict = {}
    exec(source, names)
    parsed = names["parse_header"](header_of(CARDS | LOCAL | {"TIMEZONE": -7}))
    assert parsed["mjd"] == pytest.approx(MJD, abs=1e-6)
    assert any("which nothing confirms" in doubt for doubt in found.doubts)


# ---------------------------------------------------------------- the parser is tried
@pytest.mark.parametrize(
    ("name", "typed"), [("my  w", "'my  w'"), ("o'w;x", "'o'\"'\"'w;x'"), ("a\x1b[2Jb", "'a?[2Jb'")]
)
def test_the_next_command_can_be_typed_whatever_the_directory(tmp_path, capsys, monkeypatch, name, typed):
    frames(tmp_path / "raw", CARDS)
    monkeypatch.chdir(tmp_path)
    told = said(["init", name, "--frames", "raw", "--ra", "10", "--dec", "20"], capsys)
    assert told.splitlines()[-1] == f"next: lightwatch run {typed}"
    assert "\x1b" not in told


def test_what_is_next_is_to_fill_in_where_the_parser_takes_no_header(tmp_path, capsys):
    cards = {key: value for key, value in CARDS.items() if key != "GAIN"}
    raw = frames(tmp_path / "raw", cards)
    told = begun(tmp_path, raw, capsys, "--ra", "10", "--dec", "20")
    last = told.strip().splitlines()[-1]
    assert last.startswith(f"next: fill in gain in {tmp_path / 'w' / 'header_parser' / 'parse_header.py'}")
    told = said(["config", "check", str(tmp_path / "w")], capsys, 78)
    assert (
        "header_parser/parse_header.py takes none of the 2 headers looked at: raw_0.fits: gain=None" in told
    )
    config = tmp_path / "w" / "config.yaml"
    config.write_text(config.read_text() + "header_overrides: {'*_0.fits': {gain: 1.5}}\n")
    told = said(["config", "check", str(tmp_path / "w")], capsys)
    assert "hint: header_parser/parse_header.py takes 1 of the 2 headers looked at: raw_1.fits: gain" in told
    config.write_text(config.read_text().replace("*_0.fits", "*.fits"))
    assert said(["config", "check", str(tmp_path / "w")], capsys) == f"{config}: no mistakes\n"


def test_a_parser_that_ends_its_process_is_told_in_a_line(tmp_path, capsys):
    raw = frames(tmp_path / "raw", CARDS)
    begun(tmp_path, raw, capsys, "--ra", "10", "--dec", "20")
    parser = tmp_path / "w" / "header_parser" / "parse_header.py"
    parser.write_text("import os\n\n\ndef parse_header(header):\n    os._exit(0)\n")
    told = said(["config", "check", str(tmp_path / "w")], capsys, 78)
    assert "the header parser ended its process" in told


# ---------------------------------------------------------------- what is in the frames
def test_a_second_chip_is_told_and_companions_of_the_image_are_none(tmp_path):
    for name, second, told in (("chips", "CHIP2", True), ("mef", "ERR", False)):
        raw = tmp_path / name
        raw.mkdir()
        hdus = [
            fits.PrimaryHDU(header=header_of(CARDS)),
            *(fits.ImageHDU(IMAGE, name=n) for n in ("A", second)),
        ]
        fits.HDUList(hdus).writeto(raw / "f.fits")
        remarks = " ".join(propose(survey(raw), catalog=None).remarks)
        assert ("HDU 2 is an image too" in remarks) == told


def test_a_missing_filter_is_to_be_checked(tmp_path):
    cards = {key: value for key, value in CARDS.items() if key != "FILTER"}
    remarks = " ".join(propose(survey(frames(tmp_path / "raw", cards)), catalog=None).remarks)
    assert "filter was not found in 2 of 2 headers" in remarks
    remarks = " ".join(propose(survey(frames(tmp_path / "named", CARDS)), catalog=None).remarks)
    assert "filter" not in remarks


def test_the_camera_without_a_saturation_keyword_is_named(tmp_path):
    frames(tmp_path / "raw" / "a", CARDS | {"INSTRUME": "CamA", "SATURATE": 50000.0})
    frames(tmp_path / "raw" / "b", CARDS | {"INSTRUME": "CamB"})
    found = survey(tmp_path / "raw")
    assert any("SATURATE is missing in 2 headers of CamB" in doubt for doubt in found.doubts)


def test_saturation_is_told_with_its_margin(tmp_path):
    image = np.random.default_rng(3).normal(500, 20, (200, 200))
    image[50:80, 50:80] = 65535
    found = survey(frames(tmp_path / "raw", CARDS, image=image.astype(np.uint16)))
    assert found.metadata[0].saturation_adu == 64224
    assert "pile up at 65535; 2 % less is taken" in found.detector["saturation"].why


# ---------------------------------------------------------------- where they are
SCALE = {"CDELT1": -0.6 / 3600, "CDELT2": 0.6 / 3600, "CRVAL1": 150.25, "CRVAL2": -30.5}


@pytest.mark.parametrize("as_matrix", [False, True])
def test_steps_in_degrees_without_ctype_are_a_pixel_scale(tmp_path, as_matrix):
    names = {"CDELT1": "CD1_1", "CDELT2": "CD2_2"} if as_matrix else {}
    cards = CARDS | {names.get(key, key): value for key, value in SCALE.items()}
    assert survey(frames(tmp_path / "raw", cards)).pixel_scale == pytest.approx(0.6)
    wrong = CARDS | SCALE | {"CDELT1": 1.0, "CDELT2": 1.0}  # what is written for want of anything better
    assert survey(frames(tmp_path / "wrong", wrong)).pixel_scale is None


@pytest.mark.parametrize(
    "more",
    [
        {"RA": 150.25, "DEC": -30.5, "PIXSCALE": 30.0},
        SCALE | {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 32.0, "CRPIX2": 24.0, "CDELT1": -30 / 3600,
                 "CDELT2": 30 / 3600},
    ],
    ids=["pointing", "wcs"],
)  # fmt: skip
def test_a_target_beside_the_frames_is_told(tmp_path, capsys, more):
    raw = frames(tmp_path / "raw", CARDS | more)  # 0.5 x 0.4 degrees
    told = begun(tmp_path, raw, capsys, "--ra", "150.25", "--dec", "-31.5")
    assert "rois: the target is in none of the 2 frames looked at, 1.00 degrees from where the" in told
    assert ("not checked: no star table" in told) == ("CTYPE1" in more)
    assert "1.00 degrees from where" in said(["config", "check", str(tmp_path / "w")], capsys)
    near = begun(tmp_path / "near", raw, capsys, "--ra", "150.3", "--dec", "-30.4")
    assert "rois:" not in near


# ---------------------------------------------------------------- proposals
def test_stars_of_the_frames_come_with_their_limit_even_for_one_camera(tmp_path):
    raw = frames(tmp_path / "raw", CARDS | {"RA": 150.25, "DEC": -30.5, "PIXSCALE": 30.0})
    table = tmp_path / "stars.csv"
    table.write_text("source_id,ra,dec,phot_g_mean_mag\n1,150.25,-30.5,12\n2,150.26,-30.5,11\n")
    result = initialize_workdir(InitRequest(tmp_path / "w", frames=raw, catalog=str(table)))
    config = load_config(result.config_path)
    assert (config.reference_stars.catalog, config.normalization.min_snr) == ("frames", 100.0)
    assert "faint stars would carry it into the light" in " ".join(result.config_path.read_text().split())


def test_magnitude_limits_and_sizes_are_proposed_by_a_table_and_the_wcs(tmp_path):
    """25 stars from magnitude 10 on, of a table without epochs; the brightest are saturated, the last ones drown."""
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:300, :300]
    image = rng.normal(300, 12, x.shape)
    rows = []
    for number, (gx, gy) in enumerate(
        np.stack(np.meshgrid(range(30, 300, 60), range(30, 300, 60)), -1).reshape(-1, 2)
    ):
        gmag, px, py = 10 + 0.4 * number, *(np.array([gx, gy]) + rng.uniform(-10, 10, 2))
        flux = 10 ** (0.4 * (24.8 - gmag))
        image += flux / (2 * np.pi * 2.25) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 4.5)
        rows.append(f"{number + 1},{150.25 - (px - 149.5) / 3600},{(py - 149.5) / 3600},{gmag}")
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.25, "CRVAL2": 0.0, "CRPIX1": 150.5,
             "CRPIX2": 150.5, "CDELT1": -1 / 3600, "CDELT2": 1 / 3600}  # fmt: skip
    raw = frames(tmp_path / "raw", CARDS | cards, image=np.clip(image, 0, 20000).astype(np.uint16))
    table = tmp_path / "stars.csv"
    table.write_text("\n".join(["source_id,ra,dec,phot_g_mean_mag", *rows]) + "\n")
    found = survey(raw, catalog=table)
    brightest, faintest = found.pixels.brightest_gmag, found.pixels.faintest_gmag
    assert brightest == pytest.approx(11.2, abs=0.41)  # 19500 ADU at the peak
    assert faintest == pytest.approx(15.6, abs=0.41)
    notes = propose(found, catalog=str(table)).notes
    assert f"below that level has G = {brightest:.1f}" in notes["reference_stars.min_gmag"]
    assert f"S/N 20 is reached to G = {faintest:.1f}" in notes["reference_stars.max_gmag"]
    assert "null makes 24 px of a target alone" in notes["cutouts.roi_size_px"]
