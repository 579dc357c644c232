"""Reading config.yaml: every mistake at once, with its line and the nearest key; nothing falls through."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightwatch.errors import ConfigError
from lightwatch.structure.config import Config
from lightwatch.structure.config_file import MAX_BYTES, key_lines, known_keys, load_config, resolve_paths
from lightwatch.structure.config_template import leaves, template

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


# ---------------------------------------------------------------- what is wrong
WRONG = {
    "unknown_key": ("psff: {}\n", 10, "psff: unknown key; did you mean 'psf'?"),
    "unknown_nested_key": (
        "psf:\n  min_star: 3\n",
        11,
        "psf.min_star: unknown key; did you mean 'min_stars'?",
    ),
    "nothing_near": ("qqqqqq: 1\n", 10, "known keys: "),
    "negative_size": ("cutouts:\n  star_size_px: -3\n", 11, "greater than or equal to 8 (got -3)"),
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
    "duplicate_section": ("reference_stars: {}\n", 10, "reference_stars: key given twice"),
    "duplicate_key": ("psf:\n  min_stars: 3\n  min_stars: 4\n", 12, "psf.min_stars: key given twice"),
}


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
        ("<<: {raw_dirs: [raw]}\n", "unknown key"),
        ("raw_dirs: [raw\nrois: {}\n", "not valid YAML"),
        ("\tkey: 1\n", "not valid YAML"),
        ("- a\n- b\n", "expected keys with values"),
        ("just text", "expected keys with values"),
        ("", "required"),
        ("raw_dirs: !!python/object/apply:os.system ['touch owned']\n", "tags"),
        ("a: " + "[" * 5000, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: \x00\n", "not valid YAML"),
        ("#" * (MAX_BYTES + 1), "too large"),
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


# ---------------------------------------------------------------- fuzz
EXAMPLE = activated(template(REQUIRED, {}))
LINES = [line for line in EXAMPLE.splitlines() if line.strip() and not line.lstrip().startswith("#")]
JUNK = st.one_of(
    st.sampled_from(
        ["", "~", "null", "-1", "1e999", ".nan", "yes", "[]", "{}", "[1, [2]]", "{a: {b: c}}", "'", '"', "|", ">", "*x",
         "&x", "!!binary a", "!t x", "%", "@", "`", "0x1F", "1_0", "12:30:45", "2024-01-01", "? a", "- -", ": :",
         "\x85",
         "\u2028", "0" * 300, "9" * 5000, "{" * 50, "<<", "=", "é"]
    ),
    st.text(max_size=12),
)  # fmt: skip
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["delete", "double", "value", "key", "indent", "insert", "cut", "swap"]),
        st.integers(0, len(LINES) - 1),
        st.integers(0, 60),
        JUNK,
    ),
    min_size=1,
    max_size=4,
)


def edited(edits: list[tuple[str, int, int, str]]) -> str:
    lines = list(LINES)
    for kind, at, column, junk in edits:
        at %= max(len(lines), 1)
        line = lines[at] if lines else ""
        changed = {
            "delete": [],
            "double": [line, line],
            "value": [line.split(":")[0] + ": " + junk],
            "key": [junk + line[column % (len(line) + 1) :]],
            "indent": [" " * (column % 7) + line.lstrip()],
            "insert": [line[:column] + junk + line[column:]],
            "cut": [line[:column]],
            "swap": [line, junk],
        }[kind]
        lines[at : at + 1] = changed
    return "\n".join(lines) + "\n"


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(EDITS)
def test_no_edit_of_a_configuration_falls_through(edits):
    try:
        loaded(edited(edits).encode("utf-8", "surrogatepass"))
    except ConfigError as error:
        found = error.problems
    else:
        return
    assert found
    for problem in found:
        assert problem.startswith("config.yaml")
        assert len(problem.splitlines()) == 1
        assert len(problem) < 1500


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_no_bytes_fall_through(content):
    with pytest.raises(ConfigError):
        loaded(content)
