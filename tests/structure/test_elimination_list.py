"""The list of frames to be eliminated: whom it means, and what is said of a list that is none."""

from __future__ import annotations

import pytest

from lightwatch.errors import ConfigError
from lightwatch.structure.elimination_list import FILE_NAME, read_eliminations, write_eliminations


def test_names_and_paths(tmp_path):
    there = tmp_path / "night1" / "a.fits"
    there.parent.mkdir()
    there.write_text("")
    rows = [(str(there), 'a "trail", long'), ("/gone/b.fits", ""), ("c.fits", "clouds\nagain")]
    write_eliminations(tmp_path, rows)
    found = read_eliminations(tmp_path)
    assert found.comment(str(there)) == 'a "trail", long'
    assert found.comment("/elsewhere/a.fits") is None  # the file that is meant is in its place
    assert found.comment("/moved/b.fits") == "eliminated beforehand"
    assert found.comment("/any/c.fits") == "clouds\nagain"
    assert found.comment("/any/d.fits") is None


def test_no_list_eliminates_nothing(tmp_path):
    assert read_eliminations(tmp_path).comment("/any/a.fits") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a.fits,clouds\n", ":1: expected the columns file and comment"),
        (b"", ":1: expected the columns"),
        (b"file,comment\n,clouds\n", ":2: file: expected the name"),
        (b"file\n\xff\n", "no CSV table in UTF-8"),
        (b'file,comment\n"a,b\n', "no CSV table"),
    ],
)
def test_a_list_that_is_none_is_told_in_a_line(tmp_path, content, words):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ConfigError, match=words) as error:
        read_eliminations(tmp_path)
    assert "\n" not in str(error.value)
