"""Reading config.yaml: every mistake at once, with its line and the nearest key; nothing falls through."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from lightwatch.errors import ConfigError
from lightwatch.structure.config import Config
from lightwatch.structure.config_errors import known_keys
from lightwatch.structure.config_file import key_lines, load_config, located, resolve_paths
from lightwatch.structure.config_template import leaves, template
from lightwatch.structure.config_values import absolute_database_url
from lightwatch.structure.config_yaml import MAX_BYTES
from lightwatch.structure.workspace import Workspace

MINIMAL = """raw_dirs: [raw]
rois:
  J0248:
    coordinates: [42.2031, 19.22528]
    point_sources:
      A: [42.202991, 19.225400]
      B: [42.202944, 19.225186]
reference_stars:
  catalog: gaia.csv
"""
REQUIRED = {"raw_dirs": ["raw"], "rois": {"J0248": {"coordinates": [42.2031, 19.22528]}}}


def loaded(text: str | bytes) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path)


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    return caught.value.problems


# ---------------------------------------------------------------- what is right
def test_the_minimal_file_is_enough():
    config = loaded(MINIMAL)
    assert config.rois["J0248"].coordinates == (42.2031, 19.22528)
    assert config.plate_solving.already_plate_solved == "auto"
    assert config.reference_stars.strategy == "ROI_disk"


def test_labels_that_look_like_numbers_stay_labels():
    text = MINIMAL.replace("J0248", "2024").replace("A:", "1:").replace("B:", "on:")
    assert set(loaded(text).rois["2024"].point_sources) == {"1", "on"}


def test_stars_are_named_with_and_without_quotes():
    config = loaded(MINIMAL + "psf: {stars_to_use: [a, 12]}\n")
    assert config.psf.stars_to_use == ["a", "12"]
    assert Config.model_validate(
        {**config.model_dump(), "reference_stars": {"catalog": "gaia", "exclude": [4295806720, "-7"]}}
    ).reference_stars.exclude == ["4295806720", "-7"]


def test_a_letter_cannot_exclude_a_catalogue_star():
    """Letters are given after the selection; ignored silently, the star would stay."""
    with pytest.raises(ValueError, match="id of a star"):
        Config.model_validate({**loaded(MINIMAL).model_dump(), "reference_stars": {"exclude": ["a"]}})


def test_paths_start_at_the_config_file(tmp_path):
    (tmp_path / "config.yaml").write_text(MINIMAL.replace("[raw]", "[raw, /far/away]"))
    config = resolve_paths(load_config(tmp_path / "config.yaml"), tmp_path / "config.yaml")
    assert config.workdir == tmp_path
    assert config.raw_dirs == [tmp_path / "raw", Path("/far/away")]


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        loaded(MINIMAL).psf.min_stars = 7


@pytest.mark.parametrize(
    "written",
    ['["02:04:10.28", "+46:41:16.2"]', "[02:04:10.28, +46:41:16.2]", "02:04:10.28 +46:41:16.2",
     "[2h04m10.28s, +46d41m16.2s]", "2h04m10.28s +46d41m16.2s", "2h 04m 10.28s +46d 41m 16.2s",
     "02 04 10.28 +46 41 16.2", '"02:04:10.28, 46:41:16.2"', "02:04:10.28 +46 41 16.2",
     "2h04m10.28s, 46d41m16.2s", "[31d02m34.2s, 46.687833333333333]", '"31.042833333333 46.687833333333"'],
)  # fmt: skip
def test_coordinates_in_hours_and_degrees(written):
    """Without quotes too: YAML 1.1 would make the number 7450.28 of 02:04:10.28."""
    text = MINIMAL.replace("[42.2031, 19.22528]", written).replace("[42.202991, 19.225400]", written)
    text = text.replace("[42.202944, 19.225186]", "[31.04, 46.68]")
    roi = loaded(text).rois["J0248"]
    assert roi.coordinates == pytest.approx((31.04283333, 46.68783333), abs=1e-7)
    assert roi.point_sources["A"] == roi.coordinates


@pytest.mark.parametrize("written", ["00:00:01 -00:00:30", "[00:00:01, \N{MINUS SIGN}0:00:30]"])
def test_a_declination_just_south_of_the_equator_stays_there(written):
    text = "raw_dirs: [raw]\nrois: {J: {coordinates: " + written + "}}\n"
    assert loaded(text).rois["J"].coordinates == pytest.approx((1 / 240, -1 / 120))


def test_seconds_rounded_up_to_sixty_are_read_without_a_warning(recwarn):
    text = "raw_dirs: [raw]\nrois: {J: {coordinates: 02:04:60 +10 00 00}}\n"
    assert loaded(text).rois["J"].coordinates == pytest.approx((31.25, 10.0))
    assert not recwarn.list


# ---------------------------------------------------------------- what is wrong
WRONG = {
    "unknown_key": ("psff: {}\n", 10, "psff: unknown key; did you mean 'psf'?"),
    "unknown_nested_key": (
        "psf:\n  min_star: 3\n",
        11,
        "psf.min_star: unknown key; did you mean 'min_stars'?",
    ),
    "nothing_near": ("qqqqqq: 1\n", 10, "known keys: "),
    "negative_size": ("cutouts:\n  star_size_px: -3\n", 11, "expected a number of at least 8 (got -3)"),
    "text_for_number": ("psf:\n  min_snr: bright\n", 11, "psf.min_snr"),
    "reversed_interval": (
        "calibrated_cutouts:\n  constraints_on_coefficient: [5, 1]\n",
        11,
        "below the upper end",
    ),
    "singular": ("zeropoints:\n  band: V\nreference_star: {}\n", 12, "did you mean 'reference_stars'?"),
    "wrong_choice": ("executor:\n  kind: threads\n", 11, "'processes', 'serial' or 'dask'"),
    "infinity": ("psf:\n  min_snr: .inf\n", 11, "finite"),
    "not_a_number": ("psf:\n  min_snr: .nan\n", 11, "psf.min_snr"),
    "list_for_section": ("psf: [1]\n", 10, "psf"),
    "scalar_for_section": ("psf: 3\n", 10, "psf"),
    "wrong_in_a_map": (
        "calibrated_cutouts:\n  constraints_on_frame_columns:\n    airmass: [2]\n",
        12,
        "airmass",
    ),
    "unknown_override": (
        'header_overrides:\n  "*_camB_*":\n    gian: 1.4\n',
        12,
        "header_overrides.*_camB_*.gian: unknown key; did you mean 'gain'?",
    ),
    "impossible_override": (
        'header_overrides:\n  "*_camB_*":\n    gain: 0\n',
        12,
        "gain: expected electron/ADU, above 0 and below 1000 (got 0)",
    ),
    "empty_override": ('header_overrides:\n  "*_camB_*": {}\n', 11, "such as {gain: 1.4}"),
    "override_twice": (
        'header_overrides:\n  "*": {gain: 1}\n  "*": {gain: 2}\n',
        12,
        "header_overrides.*: key given twice",
    ),
    "override_half_a_pointing": ('header_overrides:\n  "*": {ra: 10}\n', 11, "expected both ra and dec"),
    "override_of_null": (
        "header_overrides:\n  null: {gain: 1}\n",
        11,
        "header_overrides.null: expected a key",
    ),
    "override_with_a_control_character": (
        'header_overrides:\n  "*": {filter: "R\\a"}\n',
        11,
        "filter: expected text without line breaks",
    ),
    "duplicate_section": ("reference_stars: {}\n", 10, "reference_stars: key given twice"),
    "duplicate_key": ("psf:\n  min_stars: 3\n  min_stars: 4\n", 12, "psf.min_stars: key given twice"),
}


PLAIN = {
    "psf: false": "psf: expected keys with values below it, such as stars_to_use (got False)",
    "psf:": "such as stars_to_use; without any, remove its line (got None)",
    "psf: {min_stars: 2.5}": "expected a whole number (got 2.5)",
    "background: {subtract: 1}": "expected true or false (got 1)",
    "plate_solving: {pixel_scale_arcsec: '1:2'}": "expected a number; or expected two numbers, such as [1, 2]",
    "zeropoints: {band: r}": "or 'V_T'; did you mean 'r_sdss'? (got 'r')",
    "zeropoints: {band: rp}": "did you mean 'r_sdss', or 'RP', which is Gaia's? (got 'rp')",
    "zeropoints: {band: gp}": "did you mean 'g_sdss'? (got 'gp')",
    "zeropoints: {band: ip}": "did you mean 'i_sdss'? (got 'ip')",
    "zeropoints: {band: zp}": "did you mean 'z_sdss'? (got 'zp')",
    "zeropoints: {band: bp}": "did you mean 'BP'? (got 'bp')",
    "calibrated_cutouts: {constraints_on_coefficient: [1, 2, 3]}": "expected at most 2 values (got [1, 2, 3])",
    "raw_dirs: raw": "raw_dirs: expected a list, such as [a, b] (got 'raw')",
    "rois: {J: {coordinates: ['46:41:16', '+02:04:10']}}":
        "rois.J.coordinates: '46:41:16' is no right ascension: write 31.0427 or 02:04:10.2 (got",
    "rois: {J: {coordinates: [02:64:10.28, 3]}}": "'02:64:10.28' is no right ascension: write 31.0427 or 02:04:10.2",
    "rois: {J: {coordinates: [3, two]}}": "'two' is no declination: write 46.6878 or +46:41:16",
    "rois: {J: {coordinates: 02:04:10.28}}": "coordinates: expected a right ascension and a declination, in degrees",
    "rois: {J: {coordinates: [31.0427 46.6878]}}": "expected a right ascension and a declination, in degrees",
    "rois: {J: {coordinates: [400, 2]}}": "expected 0 <= ra < 360 and -90 <= dec <= 90, in degrees such as [42.2031,",
    "rois: {J: {coordinates: [1, true]}}": "rois.J.coordinates: expected [ra, dec] in degrees such as [42.2031,",
    "rois: {J: {coordinates: [1, 2], point_sources: {}}}": "rois.J.point_sources: expected at least 1 of them",
    "rois: {J: {coordinates: [1, 2], point_sources: {A: 5}}}": "point_sources.A: expected [ra, dec] in degrees such",
}  # fmt: skip


@pytest.mark.parametrize("line", PLAIN)
def test_what_was_expected_is_told_in_plain_words(line):
    given = {"raw_dirs": "raw_dirs: [raw]", "rois": "rois: {J: {coordinates: [1, 2]}}"}
    given[line.partition(":")[0]] = line
    (problem,) = problems("\n".join(given.values()) + "\n")
    assert PLAIN[line] in problem
    assert "nput should" not in problem


TEMPLATE = """#psf:
#  min_snr: 40
zeropoints:
  band: G
#star_photometry:
#  local_background: false
  position_sigma_px: 0.3
#normalization:
"""


def test_a_key_whose_section_is_still_commented():
    (problem,) = problems(MINIMAL + TEMPLATE)
    assert problem.endswith(
        "zeropoints.position_sigma_px: unknown key; it is a key of star_photometry, whose line is still commented: "
        "remove its '#'"
    )
    (problem,) = problems(MINIMAL + "executor:\n  min_stars: 3\n")
    assert problem.endswith("it is a key of psf and of normalization and of zeropoints")
    (problem,) = problems(MINIMAL + "instrument: null\n#telescope:\n  latitude: 3\n")
    assert "not valid YAML" in problem
    assert problem.endswith("is the line of telescope still commented? remove its '#'")


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_told_with_its_line(name):
    addition, line, words = WRONG[name]
    (problem,) = problems(MINIMAL + addition)
    assert problem.startswith(f"config.yaml:{line}: ")
    assert words in problem


def test_every_mistake_is_told_at_once():
    text = MINIMAL.replace("19.22528]", "190.0]").replace("raw_dirs: [raw]", "raw_dir: [raw]")
    found = problems(text + "psf:\n  min_starz: 1\n  min_snr: -1\nbackground:\n  method: medium\n")
    assert {re.match(r"config.yaml:(\d+): ([\w.]+):", line).groups() for line in found} == {
        ("1", "raw_dirs"), ("1", "raw_dir"), ("4", "rois.J0248.coordinates"), ("11", "psf.min_starz"),
        ("12", "psf.min_snr"), ("14", "background.method"),
    }  # fmt: skip


def test_several_forms_of_a_value_make_one_problem():
    (problem,) = problems(MINIMAL + "plate_solving:\n  pixel_scale_arcsec: [0.3, 0.2]\n")
    assert problem.startswith("config.yaml:11: plate_solving.pixel_scale_arcsec: ")


def test_required_keys():
    assert problems("psf: {}\n") == [
        "config.yaml:1: raw_dirs: this key is required",
        "config.yaml:1: rois: this key is required",
    ]
    (problem,) = problems(MINIMAL.replace("    coordinates: [42.2031, 19.22528]\n", ""))
    assert problem == "config.yaml:3: rois.J0248.coordinates: this key is required"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x 1\nb: *x\n", "anchors, aliases"),
        ("<<: {raw_dirs: [raw]}\n", "merging is not allowed"),
        ("raw_dirs: [raw\nrois: {}\n", "not valid YAML"),
        ("\tkey: 1\n", "not valid YAML"),
        ("- a\n- b\n", "expected keys with values"),
        ("just text", "expected keys with values"),
        ("", "required"),
        ("raw_dirs: !!python/object/apply:os.system ['touch owned']\n", "tags"),
        ("a: " + "[" * 5000, "at most 20 levels"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        (b"\xff\xfe\x00", "expected UTF-8"),
        (b"a: \x00\n", "not valid YAML"),
        ("#" * (MAX_BYTES + 1), "at most 200000 bytes"),
    ],
)
def test_files_that_are_no_configuration(text, words):
    found = problems(text)
    assert all(line.startswith("config.yaml") and "\n" not in line for line in found)
    assert any(words in line for line in found)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_a_password_in_the_wrong_form_is_not_repeated():
    for url in ("[postgresql://me:hunter2@host/db]", "{url: hunter2}"):
        (problem,) = problems(MINIMAL + f"database:\n  url: {url}\n")
        assert "hunter2" not in problem


# ---------------------------------------------------------------- template
def activated(text: str) -> str:
    """The template with every key switched on."""
    return re.sub(r"^#( *[a-z0-9_]+:)", r"\1", text, flags=re.MULTILINE)


def test_the_template_names_every_key_with_its_default():
    text = template(REQUIRED, {})
    assert loaded(text) == loaded(activated(text)) == Config.model_validate(REQUIRED)
    given = yaml.safe_load(activated(text))
    named = {(top, key) for top, section in given.items() if known_keys((top,)) for key in section}
    expected = {path for path, _ in leaves(Config.model_validate(REQUIRED)) if len(path) == 2}
    assert named == expected
    assert set(given) == set(Config.model_fields)


def test_the_template_explains_every_key():
    for name in Config.model_fields:
        for key in known_keys((name,)):
            section = Config.model_fields[name].annotation
            assert section.model_fields[key].description, f"{name}.{key} has no description"
    assert all(len(line) <= 130 for line in template(REQUIRED, {}).splitlines())


def test_values_and_notes_land_in_the_template():
    values = {
        **REQUIRED,
        "psf.min_stars": 7,
        "reference_stars.catalog": "a: b # c.csv",
        "zeropoints.band": "V",
    }
    text = template(values, {"psf.min_stars": "said so", "rois": "guessed"}, head=("Made by hand",))
    config = loaded(text)
    assert (config.psf.min_stars, config.reference_stars.catalog, config.zeropoints.band) == (
        7,
        "a: b # c.csv",
        "V",
    )
    assert text.startswith("# Made by hand\n")
    assert "  # said so\n" in text
    assert key_lines_of(text)[("psf", "min_stars")] == 1 + text[: text.index("  min_stars: 7")].count("\n")


def key_lines_of(text: str) -> dict[tuple[str | int, ...], int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.yaml"
        path.write_text(text)
        return key_lines(path)


# ---------------------------------------------------------------- secrets, and what only the surroundings show
def secret_file(folder: Path, text: str, mode: int) -> Path:
    (folder / "secret").write_text(text)
    (folder / "secret").chmod(mode)
    path = folder / "config.yaml"
    path.write_text(MINIMAL + "database:\n  url_file: secret\n")
    return path


def test_the_databases_url_is_read_from_a_file_of_its_own(tmp_path):
    path = secret_file(tmp_path, f"sqlite:///{tmp_path}/x.sqlite3\n", 0o600)
    config = resolve_paths(load_config(path), path)
    assert config.database.url.get_secret_value() == f"sqlite:///{tmp_path}/x.sqlite3"
    assert str(tmp_path / "x.sqlite3") not in repr(config)
    assert config.database.url_file == tmp_path / "secret"


@pytest.mark.parametrize("key", ["url: 'sqlite:///db/x.sqlite3'", "url_file: secret"])
def test_a_relative_database_is_the_same_from_every_directory(tmp_path, monkeypatch, key):
    path = secret_file(tmp_path, "sqlite:///db/x.sqlite3\n", 0o600)
    path.write_text(MINIMAL + f"database: {{{key}}}\n")
    places = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        places.append(Workspace.open(f"../{path.name}").database_path)
    assert places == [tmp_path / "db" / "x.sqlite3"] * 2


def test_a_server_is_no_path(tmp_path):
    url = SecretStr("postgresql://me:hunter2@host/db")
    assert absolute_database_url(url, tmp_path) == url


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("sqlite:////x", 0o640, "others can read or change it; chmod 600"),
        ("sqlite:////x", 0o602, "others can read or change it"),
        ("hunter2", 0o600, "expected sqlite:///"),
        ("postgresql://me:hunter2@[::1/x", 0o600, "expected|psycopg"),
    ],
)
def test_a_secret_that_others_can_read_is_refused(tmp_path, text, mode, told):
    path = secret_file(tmp_path, text, mode)
    with pytest.raises(ConfigError, match=told) as caught:
        resolve_paths(load_config(path), path)
    (problem,) = caught.value.problems
    assert problem.startswith("config.yaml:11: database.url_file: ")
    assert "hunter2" not in problem


def test_a_raw_directory_that_is_a_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL.replace("[raw]", "[config.yaml]"))
    with pytest.raises(ConfigError, match=r"^config.yaml:1: raw_dirs: expected a directory"):
        resolve_paths(load_config(path), path)


def test_problems_found_later_are_located(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL)
    assert located("reference_stars.catalog: gone", path) == "config.yaml:9: reference_stars.catalog: gone"
    assert located("psf.min_stars: few", path) == "config.yaml:1: psf.min_stars: few"
    assert located("nobody: knows", path) == "nobody: knows"


# ---------------------------------------------------------------- fuzz; edits of configurations: reliability goal R18
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_no_bytes_fall_through(content):
    with pytest.raises(ConfigError):
        loaded(content)


def test_raw_frames_are_not_kept_among_products(tmp_path):
    """Housekeeping removes products that no row names; raw frames must not be near it."""
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL.replace("raw_dirs: [raw]", "raw_dirs: [raw, frames/night1]"))
    with pytest.raises(ConfigError, match=r"raw_dirs: frames/night1: products go there"):
        resolve_paths(load_config(path), path)


def test_rois_that_would_share_files_are_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("raw_dirs: [raw]\nrois:\n  J 1: {coordinates: [1, 2]}\n  J_1: {coordinates: [3, 4]}\n")
    with pytest.raises(ConfigError, match="would share their files, J 1 and J_1"):
        load_config(path)
