"""``lightwatch init``: guesses from headers are right, what is said lands in the file, the result is valid."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.time import Time

from lightwatch.errors import ConfigError, HeaderError, NoUsableData
from lightwatch.pipeline import cli, init_lightcurver
from lightwatch.pipeline.init import InitRequest, initialize_workdir
from lightwatch.pipeline.init_survey import survey
from lightwatch.structure.config_file import load_config, resolve_paths
from lightwatch.structure.header_parsing import load_header_parser, read_metadata

RAW = np.random.default_rng(5).normal(500, 20, (40, 50)).astype(np.float32)
PLAIN = {
    "EXPTIME": 30.0,
    "GAIN": 1.4,
    "DATE-OBS": "2024-03-05T01:02:03.5",
    "FILTER": "V",
    "RA": 10.5,
    "DEC": -20.25,
}
MJD = Time("2024-03-05T01:02:03.5", scale="utc").mjd


def write(folder: Path, n: int = 3, **cards: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        header = fits.Header()
        for key, value in cards.items():
            header[key] = value
        fits.writeto(folder / f"frame_{number}.fits", RAW, header)
    return folder


def made(tmp_path: Path, **request: object):
    """A workdir made by init, its configuration, and the parser's answer to the first raw frame."""
    result = initialize_workdir(InitRequest(tmp_path / "w", **request))
    config = resolve_paths(load_config(result.config_path), result.config_path)
    return result, config


def parsed(config, folder: Path):
    parser = load_header_parser(config.workdir, config.instrument)
    header = fits.getheader(next(iter(sorted(folder.glob("*.fits")))))
    return read_metadata(parser, header, name="f", time_reference="start", overrides={})


# ---------------------------------------------------------------- header parsers
TIMES = {
    "iso": ({"DATE-OBS": "2024-03-05T01:02:03.5"}, MJD),
    "iso_z": ({"DATE-OBS": "2024-03-05T01:02:03.5Z"}, MJD),
    "zoned": ({"DATE-OBS": "2024-03-04T18:02:03.5-0700"}, MJD),
    "local_and_universal": (
        {
            "DATE-OBS": "2024-03-04T18:02:03.5-0700",
            "UT-OBS": "2024-03-05T01:02:03.5-0000",
            "MJD-OBS": 60374.043,
        },
        MJD,
    ),
    "split": ({"DATE-OBS": "2024-03-05", "UT": "01:02:03.5"}, MJD),
    "mjd": ({"MJD-OBS": MJD}, MJD),
    "iso_rather_than_coarse_mjd": ({"DATE-OBS": "2024-03-05T01:02:03.5", "MJD-OBS": 60374.043}, MJD),
    "jd": ({"JD": MJD + 2400000.5}, MJD),
    "mid": ({"MJD-MID": MJD + 15 / 86400}, MJD),
    "mid_date": ({"DATE-AVG": "2024-03-05T01:02:18.5", "DATE-OBS": "2024-03-05T01:02:03.5"}, MJD),
}


@pytest.mark.parametrize("kind", TIMES)
def test_the_written_parser_finds_the_time(tmp_path, kind):
    cards, start = TIMES[kind]
    rest = {key: value for key, value in PLAIN.items() if key != "DATE-OBS"}
    raw = write(tmp_path / "raw", **rest, **cards)
    _, config = made(tmp_path, frames=raw)
    metadata = parsed(config, raw)
    assert metadata.mjd_mid == pytest.approx(start + 15 / 86400, abs=2e-8)
    assert (metadata.exptime_s, metadata.gain, metadata.filter) == (30.0, 1.4, "V")


@pytest.mark.parametrize(
    ("cards", "gain", "noise"),
    [
        ({"EGAIN": 0.8, "GAIN": 100}, 0.8, np.nan),
        ({"GAIN": 1.2, "RDNOISE": 4.5}, 1.2, 4.5),
        ({"GAIN1": 2.0, "RON": 3.0}, 2.0, 3.0),
    ],
)
def test_gain_and_read_noise_under_their_many_names(tmp_path, cards, gain, noise):
    rest = {key: value for key, value in PLAIN.items() if key != "GAIN"}
    raw = write(tmp_path / "raw", **rest, **cards, SATURATE=60000)
    metadata = parsed(made(tmp_path, frames=raw)[1], raw)
    assert metadata.gain == gain
    assert metadata.read_noise == pytest.approx(noise, nan_ok=True)
    assert metadata.saturation_adu == 60000


def test_what_is_not_in_the_headers_stays_unknown_and_is_told(tmp_path):
    raw = write(
        tmp_path / "raw", EXPTIME=30.0, GAIN=100, RA=1.0, DEC=2.0
    )  # the gain setting of a CMOS camera
    result, config = made(tmp_path, frames=raw)
    text = result.parser_path.read_text()
    assert "# TO DO: gain, electron/ADU: not found" in text
    assert "GAIN = 100 is a setting" in text
    assert "# TO DO: no keyword with the time (UTC) was found" in text
    assert any("gain was not found" in remark for remark in result.remarks)
    told = "\n".join(result.found)
    assert "gain: not found; frames are refused without it" in told
    assert "read noise: not found; the noise of the sky is measured in any case" in told
    with pytest.raises(HeaderError, match="gain"):
        parsed(config, raw)


def test_times_that_contradict_each_other_are_told(tmp_path):
    raw = write(tmp_path / "raw", **{**PLAIN, "DATE-OBS": "2024-03-04T18:02:03.5"}, **{"MJD-OBS": MJD})
    result, config = made(tmp_path, frames=raw)
    assert "# CHECK: DATE-OBS is -25200 s from MJD-OBS (-7 h): one of them" in result.parser_path.read_text()
    assert parsed(config, raw).mjd == pytest.approx(MJD, abs=1e-9)  # an MJD is universal time by definition
    assert any("local time" in remark for remark in result.remarks)


def test_hostile_header_text_stays_text(tmp_path):
    evil = "'''\"\"\"; import os; os.system('touch owned') #"
    raw = write(tmp_path / "raw", **{**PLAIN, "FILTER": evil, "GAIN": (1.5, evil)}, OBJECT=evil)
    result, config = made(tmp_path, frames=raw)
    names = runpy.run_path(str(result.parser_path))
    assert set(names) >= {"parse_header"}
    assert "os" not in names
    assert len(config.rois) == 1


def test_gain_noise_and_saturation_are_told_with_their_source(tmp_path):
    raw = write(tmp_path / "raw", **PLAIN, RDNOISE=7.5, SATURATE=60000.0)
    told = "\n".join(made(tmp_path, frames=raw)[0].found)
    assert "gain: 1.4 electron/ADU (GAIN = 1.4)" in told
    assert "read noise: 7.5 electron (RDNOISE = 7.5)" in told
    assert "saturation: 60000 ADU (SATURATE = 60000.0)" in told


def test_a_shipped_parser_is_recognised(tmp_path):
    raw = write(tmp_path / "raw", **PLAIN, ORIGIN="LCOGT", SITEID="cpt", **{"MJD-OBS": MJD})
    result, config = made(tmp_path, frames=raw)
    assert config.instrument == "lco"
    assert result.parser_path is None


def test_a_shipped_parser_that_takes_none_of_the_headers_is_not_chosen(tmp_path):
    raw = write(tmp_path / "raw", **PLAIN, ORIGIN="LCOGT", SITEID="cpt")  # no MJD-OBS
    _, config = made(tmp_path, frames=raw)
    assert config.instrument is None
    assert parsed(config, raw).mjd == pytest.approx(MJD, abs=1e-9)


# ---------------------------------------------------------------- configuration
def test_every_option_lands_in_the_file(tmp_path):
    raw = write(tmp_path / "w" / "raw", **PLAIN)
    (tmp_path / "w" / "stars.csv").write_text("source_id,ra,dec\n")
    _, config = made(
        tmp_path, frames=raw, name="J0248", ra="02:48:48.744", dec="+19:13:31", band="V", instrument="generic",
        catalog=str(tmp_path / "w" / "stars.csv"),
    )  # fmt: skip
    ra, dec = config.rois["J0248"].coordinates
    assert (ra, dec) == (pytest.approx(42.2031), pytest.approx(19.225278))
    assert config.zeropoints.band == "V"
    assert config.instrument == "generic"
    assert config.reference_stars.catalog == "stars.csv"
    assert config.raw_dirs == [tmp_path / "w" / "raw"]


def test_guesses_are_called_guesses(tmp_path):
    raw = write(tmp_path / "raw", **PLAIN, OBJECT="HAT 7", SECPIX=1.25)
    result, config = made(tmp_path, frames=raw)
    assert config.rois["HAT 7"].coordinates == (10.5, -20.25)
    assert config.plate_solving.pixel_scale_arcsec == 1.25
    text = result.config_path.read_text()
    assert "guessed: where the telescope pointed" in text
    assert "guessed: SECPIX" in text
    assert "0 of 3 headers hold a WCS" in text


def test_a_wcs_and_its_scale_are_noticed(tmp_path):
    wcs = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.5, "CRVAL2": -20.25, "CRPIX1": 25.0, "CRPIX2": 20.0,
        "CD1_1": -0.5 / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.5 / 3600,
    }  # fmt: skip
    found = survey(write(tmp_path / "raw", **PLAIN, **wcs))
    assert found.plate_solved == 3
    assert found.pixel_scale == pytest.approx(0.5, rel=1e-3)


def test_scale_from_pixel_size_and_focal_length(tmp_path):
    found = survey(write(tmp_path / "raw", **PLAIN, XPIXSZ=9.0, FOCALLEN=2000.0))
    assert found.pixel_scale == pytest.approx(206.265 * 9 / 2000, rel=1e-3)


def test_calibration_frames_and_rubbish_are_not_what_is_looked_at(tmp_path):
    raw = write(tmp_path / "raw", **PLAIN)
    fits.writeto(
        raw / "a_bias.fits", RAW, fits.Header({"IMAGETYP": "bias", "EXPTIME": 0.0, "FILTER": "none"})
    )
    (raw / "a.fits").write_text("nothing")
    found = survey(raw)
    assert set(found.filters) == {"V"}
    assert (len(found.sample.science), len(found.sample.others), len(found.sample.unreadable)) == (3, 1, 1)


def test_a_target_far_from_the_pointing_is_told_and_hours_are_suspected(tmp_path):
    raw = write(tmp_path / "raw", **PLAIN)
    result, _ = made(tmp_path, frames=raw, ra="0.7", dec="-20.25")
    assert any(
        "degrees from where the telescope pointed" in r and "is in degrees unless" in r
        for r in result.remarks
    )
    near, _ = made(tmp_path / "near", frames=raw, ra="10.4", dec="-20.3")
    assert not any("pointed" in remark for remark in near.remarks)


def test_the_gain_is_measured_where_no_keyword_tells_it(tmp_path):
    rng = np.random.default_rng(7)
    cards = {key: value for key, value in PLAIN.items() if key != "GAIN"}
    gain, noise, pedestal = 1.6, 6.0, 300.0
    raw = tmp_path / "raw"
    raw.mkdir()
    for number, sky in enumerate(np.repeat([100, 250, 400, 600], 2)):
        image = np.rint((rng.poisson(sky, (256, 256)) + rng.normal(0, noise, (256, 256))) / gain + pedestal)
        fits.writeto(raw / f"f{number}.fits", image.astype(np.int16), fits.Header(cards))
    bias = np.rint(rng.normal(0, noise, (256, 256)) / gain + pedestal).astype(np.int16)
    fits.writeto(raw / "bias.fits", bias, fits.Header({"IMAGETYP": "bias"}))
    result, config = made(tmp_path, frames=raw)
    parser = load_header_parser(config.workdir, None)
    metadata = read_metadata(parser, fits.Header(cards), name="f", time_reference="start", overrides={})
    assert metadata.gain == pytest.approx(gain, rel=0.1)
    assert metadata.read_noise == pytest.approx(noise, rel=0.2)
    assert "measured: noise of the sky against its level" in " ".join(result.parser_path.read_text().split())
    told = "\n".join(result.found)
    assert f"gain: {metadata.gain:.4g} electron/ADU (measured: noise of the sky against its level (" in told
    assert f"read noise: {metadata.read_noise:.4g} electron (measured with the gain)" in told
    assert not any("gain" in remark for remark in result.remarks)


def test_a_table_with_few_stars_serves_astrometry_and_the_frames_photometry(tmp_path):
    raw = write(tmp_path / "raw", **PLAIN, SECPIX=2.0)
    rows = [f"{n},{10.5 + 0.002 * n},{-20.25 + 0.001 * n},12.0" for n in range(1, 6)]
    for name, n_copies, expected in (("few", 1, "frames"), ("many", 8, str(tmp_path / "many.csv"))):
        lines = [row.replace(",", f"{k},", 1) for k in range(n_copies) for row in rows]
        table = tmp_path / f"{name}.csv"
        table.write_text("\n".join(["source_id,ra,dec,phot_g_mean_mag", *lines]) + "\n")
        _, config = made(tmp_path / name, frames=raw, catalog=str(table))
        assert config.reference_stars.catalog == expected
        assert config.plate_solving.catalog == (str(table) if expected == "frames" else None)


def test_without_frames_a_target_is_enough(tmp_path):
    result, config = made(tmp_path, name="X", ra="10", dec="20")
    assert config.rois["X"].coordinates == (10.0, 20.0)
    assert config.raw_dirs == [tmp_path / "w" / "raw"]
    assert config.raw_dirs[0].is_dir()
    values = read_metadata(
        load_header_parser(config.workdir, None),
        fits.Header(PLAIN),
        name="f",
        time_reference="mid",
        overrides={},
    )
    assert values.mjd == pytest.approx(MJD, abs=2e-8)
    assert result.remarks == ()


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "which target"),
        ({"ra": "10"}, "belong together"),
        ({"ra": "400", "dec": "0"}, "no position"),
        ({"ra": "x", "dec": "0"}, "--ra"),
        ({"ra": "1", "dec": "2", "instrument": "../lco"}, "parser"),
        ({"ra": "1", "dec": "2", "catalog": "stars.cvs"}, "--catalog: there is no file stars.cvs"),
    ],
)
def test_wrong_requests_write_nothing(tmp_path, request_, words):
    with pytest.raises(ConfigError, match=words):
        initialize_workdir(InitRequest(tmp_path / "w", **request_))
    assert not [path for path in (tmp_path / "w").rglob("*") if path.is_file()]


def test_a_configuration_is_never_overwritten(tmp_path):
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        initialize_workdir(InitRequest(tmp_path, ra="1", dec="2"))
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_a_directory_without_frames_is_no_data(tmp_path):
    (tmp_path / "raw").mkdir()
    for words, make in (
        ("no FITS file there", lambda raw: None),
        ("none could be read", lambda raw: (raw / "a.fits").write_text("nothing")),
        (
            r"no frame of the sky .*bias",
            lambda raw: fits.writeto(raw / "b.fits", RAW, fits.Header({"IMAGETYP": "bias"})),
        ),
    ):
        make(tmp_path / "raw")
        with pytest.raises(NoUsableData, match=words) as caught:
            initialize_workdir(InitRequest(tmp_path / "w", frames=tmp_path / "raw"))
        assert "\n" not in str(caught.value)


def test_the_command_never_prompts_without_a_terminal(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["init", str(tmp_path / "w")])
    assert end.value.code == 78
    assert "--ra" in capsys.readouterr().err


def test_the_result_passes_config_check(tmp_path, capsys):
    raw = write(tmp_path / "raw", **PLAIN)
    for words in (
        ["init", str(tmp_path / "w"), "--frames", str(raw)],
        ["config", "check", str(tmp_path / "w")],
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        assert end.value.code == 0, capsys.readouterr().err


# ---------------------------------------------------------------- LightCurver
OLD = """
workdir: lc
raw_dirs: raw
files_match_pattern: '*.fits'
hdu_data_index: 0
hdu_header_indexes: [0]
trim_vertical: 4
trim_horizontal: 0
multiprocessing_cpu_count: 2
ROI: {J0248: {coordinates: [42.2031, 19.22528]}}
ROI_size: 3.5
telescope: {name: VST, latitude: -24.6, longitude: -70.4, elevation: 2635, imager_name: OmegaCAM}
mask_sources_before_background: false
background_estimation_n_boxes: 3
source_extraction_threshold: 2.0
already_plate_solved: 1
plate_scale_interval: [0.2, 0.23]
astrometry_net_api_key: topsecret
max_pixel_anisotropy: 2e-2
star_selection_strategy: ROI_disk
ROI_disk_radius_arcseconds: 300
star_min_gmag: 16.0
star_max_gmag: null
min_number_stars: 6
gaia_provider: gaia
stars_to_use_psf: abc
stars_to_use_norm: null
stars_to_exclude_norm: [d, e]
stamp_size_stars: 24
cosmics_masking_params: {sigclip: 4.5, sigfrac: 0.3, objlim: 5.0}
redo_psf: false
field_distortion: false
constraints_on_frame_columns_for_roi: {seeing_arcseconds: [0.0, 3.0]}
constraints_on_normalization_coeff: {coefficient: [0.1, 10.]}
photometric_band: r_sdss
point_sources: {A: [42.2030, 19.2254], B: [42.2029, 19.2252]}
fix_point_source_astrometry: false
something_new: 1
"""


def test_a_lightcurver_configuration_is_translated(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD)
    parser = tmp_path / "lc" / "header_parser" / "parse_header.py"
    parser.parent.mkdir(parents=True)
    parser.write_text("def parse_header(header):\n    return {'exptime': 1, 'gain': 1, 'mjd': 60000.0}\n")
    result, config = made(tmp_path, from_lightcurver=tmp_path / "old.yaml", band="G")
    assert config.raw_dirs == [tmp_path / "raw"]
    assert config.importation.trim_vertical_px == 4
    assert set(config.rois["J0248"].point_sources) == {"A", "B"}
    assert config.telescope.elevation == 2635
    assert config.background.method == "mesh"
    assert config.plate_solving.already_plate_solved is True
    assert config.plate_solving.max_pixel_anisotropy == 0.02
    assert (config.reference_stars.min_gmag, config.reference_stars.max_gmag) == (16.0, None)
    assert config.psf.stars_to_use == ["a", "b", "c"]
    assert config.normalization.stars_to_exclude == ["d", "e"]
    assert config.calibrated_cutouts.constraints_on_frame_columns == {"seeing_arcseconds": (0.0, 3.0)}
    assert config.calibrated_cutouts.constraints_on_coefficient == (0.1, 10.0)
    assert config.roi_model.astrometry == "free"
    assert config.zeropoints.band == "G"  # what is said now wins
    assert result.parser_path.read_text() == parser.read_text()
    told = "\n".join(result.remarks)
    assert "something_new: unknown" in told
    assert "redo_psf" in told
    assert "topsecret" not in told + result.config_path.read_text()


def test_every_lightcurver_key_has_one_fate():
    kinds = [set(init_lightcurver.RENAMED), set(init_lightcurver._SPECIAL), set(init_lightcurver.LEFT_OUT)]
    assert sum(map(len, kinds)) == len(set.union(*kinds))
    documented = set(yaml.safe_load(OLD)) - {"something_new"}
    assert documented <= set.union(*kinds)


@pytest.mark.parametrize(
    "text", ["[1, 2]", "ROI: 3", "a: [", "ROI: {X: {coordinates: [1, 2]}}\ntrim_vertical: many"]
)
def test_a_wrong_lightcurver_configuration_is_refused_in_words(tmp_path, text):
    (tmp_path / "old.yaml").write_text(text)
    with pytest.raises(ConfigError):
        initialize_workdir(InitRequest(tmp_path / "w", from_lightcurver=tmp_path / "old.yaml"))


# ---------------------------------------------------------------- real frames
@pytest.mark.real_data
@pytest.mark.parametrize(("folder", "instrument"), [("hatp32", "microobservatory"), ("pds110", "lco")])
def test_real_frames_are_recognised(tmp_path, shared_data, folder, instrument):
    _, config = made(tmp_path, frames=shared_data / folder / "raw")
    assert config.instrument == instrument
