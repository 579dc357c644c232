"""Header parsers: who may have written them, and what they may return."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time

import numpy as np
import pytest
from astropy.io import fits

from lightwatch.errors import ConfigError, HeaderError
from lightwatch.structure.header_parsing import load_header_parser, read_metadata, shipped_path

GOOD = {"exptime": 30.0, "gain": 1.5, "mjd": 59000.25, "filter": "r"}
TUTORIAL = """
from astropy.time import Time

def parse_header(header):
    return {'exptime': header['EXPTIME'], 'gain': header['GAIN'], 'filter': header['FILTER'],
            'mjd': Time(header['OBSTART'], format='isot').mjd}
"""


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "header_parser"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    return tmp_path


def written(workdir, source):
    path = workdir / "header_parser" / "parse_header.py"
    path.write_text(source)
    path.chmod(0o644)
    return path


def parsed(workdir, values, header=None, **settings):
    """Metadata of a parser that returns these values."""
    source = f"from numpy import *\nimport numpy as np\ndef parse_header(header):\n    return {values}\n"
    written(workdir, source)
    defaults = {"name": "a.fits", "time_reference": "start", "overrides": {}}
    parser = load_header_parser(workdir, None)
    return read_metadata(parser, fits.Header() if header is None else header, **{**defaults, **settings})


def test_tutorial_parser_runs_unchanged_and_travels(workdir):
    written(workdir, TUTORIAL)
    parser = pickle.loads(pickle.dumps(load_header_parser(workdir, None)))
    header = fits.Header({"EXPTIME": 320, "GAIN": 1.2, "FILTER": "r_SDSS", "OBSTART": "2022-08-09T12:00:00"})
    found = read_metadata(parser, header, name="a.fits", time_reference="start", overrides={})
    assert (found.exptime_s, found.gain, found.filter) == (320.0, 1.2, "r_SDSS")
    assert found.mjd == pytest.approx(59800.5)
    assert found.mjd_mid == pytest.approx(59800.5 + 160 / 86400, abs=1e-9)
    assert np.isnan([found.read_noise, found.saturation_adu, found.airmass, found.latitude_deg]).all()
    assert found.object is None
    assert found.notes == ()
    assert not any("parse_header" in name for name in sys.modules)
    assert str(workdir) not in str(sys.path)


def test_what_was_hashed_is_what_runs(workdir):
    path = written(workdir, TUTORIAL)
    parser = load_header_parser(workdir, None)
    path.write_text("raise RuntimeError('changed')")
    header = fits.Header({"EXPTIME": 320, "GAIN": 1.2, "FILTER": "r_SDSS", "OBSTART": "2022-08-09T12:00:00"})
    assert read_metadata(parser, header, name="a", time_reference="start", overrides={}).gain == 1.2


def test_hash_follows_the_source(workdir):
    written(workdir, TUTORIAL)
    first = load_header_parser(workdir, None).content_hash
    assert load_header_parser(workdir, None).content_hash == first
    written(workdir, TUTORIAL + "\n")
    assert load_header_parser(workdir, None).content_hash != first


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o602])
def test_file_that_others_can_write_is_not_run(workdir, mode):
    path = written(workdir, "raise SystemExit('was run')")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=r"others can write .*chmod go-w"):
        load_header_parser(workdir, None)


def test_folder_that_others_can_write_is_refused(workdir):
    written(workdir, TUTORIAL)
    (workdir / "header_parser").chmod(0o777)
    with pytest.raises(ConfigError, match="others can write"):
        load_header_parser(workdir, None)
    (workdir / "header_parser").chmod(0o755)
    workdir.chmod(0o757)
    with pytest.raises(ConfigError, match="others can write"):
        load_header_parser(workdir, None)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_file_of_another_user_is_refused(workdir):
    path = written(workdir, TUTORIAL)
    os.chown(path, 12345, 0)
    with pytest.raises(ConfigError, match="belongs to another user"):
        load_header_parser(workdir, None)
    os.chown(path, 0, 0)
    os.chown(path.parent, 12345, 0)
    with pytest.raises(ConfigError, match="belongs to another user"):
        load_header_parser(workdir, None)


@pytest.mark.skipif(os.getuid() != 0, reason="needs a foreign group")
def test_group_of_others_may_not_write(workdir):
    path = written(workdir, TUTORIAL)
    path.chmod(0o664)
    os.chown(path, 0, 1)  # a group that is not root's own
    with pytest.raises(ConfigError, match="others can write"):
        load_header_parser(workdir, None)


def test_link_is_judged_by_where_it_leads(workdir):
    elsewhere = workdir / "shared"
    elsewhere.mkdir()
    (elsewhere / "p.py").write_text(TUTORIAL)
    (workdir / "header_parser" / "parse_header.py").symlink_to(elsewhere / "p.py")
    assert load_header_parser(workdir, None)
    elsewhere.chmod(0o777)
    with pytest.raises(ConfigError, match="others can write"):
        load_header_parser(workdir, None)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def parse_header(header:\n", "SyntaxError"),
        ("x = 1\n", "no function parse_header"),
        ("(" * 5000, "SyntaxError"),
        ("#" * 1_000_001, "not a header parser"),
        ("x = '\x00'\n", "parse_header.py"),
    ],
)
def test_parser_that_cannot_be_loaded(workdir, source, told):
    written(workdir, source)
    with pytest.raises(ConfigError, match=told):
        load_header_parser(workdir, None)


@pytest.mark.parametrize(
    "source",
    [
        "import nothing_of_this_name\ndef parse_header(header): ...\n",
        "raise SystemExit(3)\ndef parse_header(header): ...\n",
        "import os\nos._exit(3)\ndef parse_header(header): ...\n",
        "while True: pass\ndef parse_header(header): ...\n",
        "x = bytearray(1 << 60)\ndef parse_header(header): ...\n",
    ],
)
def test_parser_is_hashed_without_being_run(workdir, source):
    written(workdir, source)
    assert len(load_header_parser(workdir, None).content_hash) == 64


def _told(workdir, source, seconds=0.3):
    written(workdir, source)
    with pytest.raises(HeaderError) as raised:
        read_metadata(
            load_header_parser(workdir, None), fits.Header(), name="a.fits", time_reference="start", overrides={},
            seconds=seconds,
        )  # fmt: skip
    assert raised.value.reason_code == "bad_meta:parser"
    return str(raised.value)


def test_parser_that_cannot_be_loaded_quarantines_the_frame(workdir):
    assert "nothing_of_this_name" in _told(workdir, "import nothing_of_this_name as parse_header\n")
    assert "SystemExit" in _told(workdir, "raise SystemExit(3)\ndef parse_header(header): ...\n")
    assert "is no function" in _told(workdir, "parse_header = 5\n")


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass\ndef parse_header(header): ...\n",
        "def parse_header(header):\n    while True: pass\n",
        "import time\ndef parse_header(header):\n    time.sleep(60)\n",
        "def parse_header(header):\n    while True:\n        try:\n            while True: pass\n"
        "        except Exception: pass\n",
        "class Slow(str):\n    def __len__(self):\n        while True: pass\n    def strip(self): return self\n"
        "    def __str__(self):\n        while True: pass\n"
        "def parse_header(header):\n    return dict(exptime=1, gain=1, mjd=59000, filter=Slow('x'))\n",
        "class Slow(Exception):\n    def __str__(self):\n        while True: pass\n"
        "def parse_header(header):\n    raise Slow\n",
    ],
)
def test_parser_without_end_is_stopped(workdir, source):
    begun = time.monotonic()
    assert _told(workdir, source).endswith("the header parser did not end within 0.3 s")
    assert time.monotonic() - begun < 3.0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_a_parser_prints_is_not_seen(workdir, capsys):
    found = parsed(workdir, f"print('x' * 1000) or {GOOD}")
    assert found.gain == 1.5
    assert capsys.readouterr().out == ""


def test_missing_parser_and_fifo(workdir):
    with pytest.raises(ConfigError, match="no header parser"):
        load_header_parser(workdir, None)
    os.mkfifo(workdir / "header_parser" / "parse_header.py")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_header_parser(workdir, None)


@pytest.mark.parametrize("name", ["nope", "../lco", "/etc/passwd", "", ".lco", "lco\x00"])
def test_unknown_instrument_lists_the_known_ones(tmp_path, name):
    with pytest.raises(ConfigError, match=r"known are .*generic, lco, microobservatory"):
        load_header_parser(tmp_path, name)


def test_shipped_files_are_found():
    assert shipped_path("header_parser", "lco.py").is_file()
    with pytest.raises(FileNotFoundError):
        shipped_path("header_parser", "nope.py")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(
            ("exptime", value)
            for value in (-30, 0, 1e9, "nan", "float('inf')", "'long'", "None", "True", "[30]")
        ),
        *(("gain", value) for value in (0, -1, 1e4, "nan", "'high'", "1j")),
        *(("mjd", value) for value in (0, 2459000.5, 99999999, -5, "'2020-01-01'", "None")),
        ("read_noise", -1),
        ("saturation", 0),
        ("latitude", 95),
        ("longitude", 700),
        ("filter", "['r']"),
        ("filter", "'x' * 100"),
        ("object", "b'x'"),
        ("time_reference", "'noon'"),
        ("wcs_ok", "'yes'"),
    ],
)
def test_values_out_of_range_name_file_key_and_value(workdir, key, value):
    values = {k: repr(v) for k, v in GOOD.items()} | {key: str(value)}
    source = "{" + ", ".join(f"{k!r}: {v}" for k, v in values.items()) + "}"
    with pytest.raises(HeaderError) as raised:
        parsed(workdir, source)
    assert raised.value.reason_code == f"bad_meta:{key}"
    assert str(raised.value).startswith(f"a.fits: {key}=")
    assert ": expected " in str(raised.value)


@pytest.mark.parametrize("key", ["exptime", "gain", "mjd"])
def test_missing_required_key_is_named(workdir, key):
    values = {k: v for k, v in GOOD.items() if k != key}
    with pytest.raises(HeaderError, match=f"a.fits: {key}=None: expected .*did not return it") as raised:
        parsed(workdir, values)
    assert raised.value.reason_code == f"bad_meta:{key}"


def test_clean_numbers_of_any_type_are_taken(workdir):
    source = "dict(exptime='30.0', gain=np.float32(1.5), mjd=np.array(59000.25), filter='r', airmass='1.2')"
    found = parsed(workdir, source)
    assert (found.exptime_s, found.gain, found.mjd, found.airmass) == (30.0, 1.5, 59000.25, 1.2)


def test_unknown_filter_is_a_note(workdir):
    for value in (None, "", "  "):
        found = parsed(workdir, {**GOOD, "filter": value})
        assert found.filter is None
        assert found.notes == ("a.fits: the filter is unknown",)


def test_nonsense_that_is_measured_later_becomes_unknown(workdir):
    found = parsed(workdir, {**GOOD, "airmass": 0.0, "ra": 999.0, "dec": 45.0})
    assert np.isnan([found.airmass, found.ra_deg]).all()
    assert found.dec_deg == 45.0
    assert len(found.notes) == 2


def test_hostile_text_is_made_plain(workdir):
    found = parsed(workdir, {**GOOD, "object": "M 31\x1b[31m\n</script>"})
    assert found.object == "M 31\\x1b[31m\\n</script>"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return header['EXPTIMER']", "KeyError.*EXPTIMER"),
        ("raise SystemExit(1)", "SystemExit"),
        ("import sys; sys.exit()", "SystemExit"),
        ("return 1 / 0", "ZeroDivisionError"),
        ("return parse_header(header)", "RecursionError"),
        ("return None", "returned NoneType"),
        ("return [1, 2]", "returned list"),
        ("raise ValueError('two\\nlines \\x1b[31m')", "ValueError"),
    ],
)
def test_parser_that_fails_quarantines_the_frame(workdir, body, told):
    written(workdir, f"def parse_header(header):\n    {body}\n")
    parser = load_header_parser(workdir, None)
    with pytest.raises(HeaderError, match=told) as raised:
        read_metadata(parser, fits.Header(), name="a.fits", time_reference="start", overrides={})
    assert raised.value.reason_code == "bad_meta:parser"
    assert str(raised.value).isprintable()


def test_parser_cannot_alter_the_header(workdir):
    written(workdir, f"def parse_header(header):\n    header['X'] = 2\n    return {GOOD}\n")
    header = fits.Header({"X": 1})
    read_metadata(load_header_parser(workdir, None), header, name="a", time_reference="mid", overrides={})
    assert header["X"] == 1


def test_overrides_win_and_are_checked(workdir):
    values = {**GOOD, "gain": 0}
    assert parsed(workdir, values, overrides={"gain": 2.0, "object": "M 31"}).gain == 2.0
    with pytest.raises(HeaderError) as raised:
        parsed(workdir, GOOD, overrides={"gain": -2.0})
    assert raised.value.reason_code == "bad_meta:gain"


@pytest.mark.parametrize(("reference", "sign"), [("start", 1), ("mid", 0), ("end", -1)])
def test_middle_of_the_exposure(workdir, reference, sign):
    assert parsed(workdir, GOOD, time_reference=reference).mjd_mid == 59000.25 + sign * 15 / 86400
    said = parsed(workdir, {**GOOD, "time_reference": reference}, time_reference="start")
    assert said.mjd_mid == 59000.25 + sign * 15 / 86400
