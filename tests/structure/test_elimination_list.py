"""The list of frames to be eliminated: whom it means, and what is said of a list that is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lightwatch.errors import ConfigError
from lightwatch.structure import elimination_list
from lightwatch.structure.elimination_list import FILE_NAME, read_eliminations, told_of, write_eliminations


def meant(workdir: Path, *paths: object) -> dict[str, str]:
    """Comments by path."""
    return dict(read_eliminations(workdir).among((str(path), str(path)) for path in paths).comments)


def test_names_and_paths(tmp_path):
    there = tmp_path / "night1" / "a.fits"
    there.parent.mkdir()
    there.write_text("")
    rows = [(str(there), 'a "trail", long'), ("/gone/b.fits", ""), ("c.fits", "clouds\nagain")]
    write_eliminations(tmp_path, rows)
    others = ["/elsewhere/a.fits", "/moved/b.fits", "/any/c.fits", "/any/d.fits"]
    assert meant(tmp_path, there, *others) == {
        str(there): 'a "trail", long',  # the file that is meant is in its place
        "/moved/b.fits": "eliminated beforehand",
        "/any/c.fits": "clouds\nagain",
    }


def test_a_file_is_the_same_by_whatever_path_it_is_found(tmp_path):
    """raw_dirs: [../raw], and links to a directory or a file, beside a file of the same name elsewhere."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "w").mkdir()
    for name in ("x.fits", "y.fits"):
        (tmp_path / "raw" / name).write_text("")
    (tmp_path / "linked").symlink_to("raw")
    (tmp_path / "w" / "renamed.fits").symlink_to("../raw/y.fits")
    write_eliminations(tmp_path / "w", [(f"{tmp_path}/raw/x.fits", "1"), ("../linked/y.fits", "2")])
    other, indirect = f"{tmp_path}/other/x.fits", f"{tmp_path}/w/../linked/x.fits"
    renamed = f"{tmp_path}/w/renamed.fits"
    assert meant(tmp_path / "w", indirect, other, renamed) == {indirect: "1", renamed: "2"}


def test_a_moved_file_is_the_one_that_agrees_best(tmp_path):
    """Copied directories, whether the old ones are still there or not; names that return every night."""
    old = tmp_path / "old" / "night1" / "img_1.fits"
    old.parent.mkdir(parents=True)
    old.write_text("")
    write_eliminations(
        tmp_path, [(str(old), "1"), ("/gone/night2/img_1.fits", "2"), ("night3/img_1.fits", "3")]
    )
    nights = [f"/new/night{k}/img_1.fits" for k in (1, 2, 3, 4)]
    assert meant(tmp_path, *nights) == {nights[0]: "1", nights[1]: "2", nights[2]: "3"}
    assert meant(tmp_path, nights[1]) == {nights[1]: "2"}  # not what is said of the others


def test_what_fits_several_frames_alike_eliminates_none_and_is_told(tmp_path):
    write_eliminations(tmp_path, [("img_1.fits", ""), ("/gone/n/img_2.fits", ""), ("c.fits", "")])
    paths = ["/a/img_1.fits", "/b/img_1.fits", "/a/n/img_2.fits", "/b/n/img_2.fits"]
    listed = read_eliminations(tmp_path)
    found = listed.among((path, path) for path in paths)
    assert found.comments == {}
    told = told_of(found)
    assert "1 match no file (line 4: c.fits)" in told
    assert "2 match several, and eliminate none (line 2: img_1.fits; line 3: /gone/n/img_2.fits)" in told
    copies = listed.among([("/a/img_1.fits", "hash"), ("/b/img_1.fits", "hash")])
    assert list(copies.comments) == ["hash"]  # copies are one frame
    assert told_of(listed.among([])).count("match") == 1


def test_no_list_eliminates_nothing(tmp_path):
    assert meant(tmp_path, "/any/a.fits") == {}


def test_what_spreadsheets_write(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b'\xef\xbb\xbffile, comment\r\na.fits, "clouds, moon"\r\n')
    assert meant(tmp_path, "/any/a.fits") == {"/any/a.fits": "clouds, moon"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a.fits,clouds\n", ":1: expected the columns file and comment"),
        (b"", ":1: expected the columns"),
        (b"file,comment\n,clouds\n", ":2: file: expected the name"),
        (b"file\n\xff\n", "no CSV table in UTF-8"),
        (b'file,comment\n"a,b\n', "no CSV table"),
        (b"file;comment\na.fits;clouds\n", ":1: expected .*with commas between them, not ';'"),
        (b"file,comment\n\na.fits,clouds, moon\n", ":3: more columns than in line 1"),
        (b"file\na.fits\n/tmp\n", ":3: file: /tmp is a directory"),
        (b"file\n/" + b"a" * 300 + b".fits\n", ":2: file: /a.*a cannot be looked at: File name too long"),
        (b"file\na\0.fits\n", ":2: file: expected the name"),
        (b"file\n..\n", ":2: file: expected the name"),
    ],
)
def test_a_list_that_is_none_is_told_in_a_line(tmp_path, content, words):
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ConfigError, match=words) as error:
        read_eliminations(tmp_path)
    assert "\n" not in str(error.value)


def test_a_directory_that_cannot_be_searched_is_told_by_row(tmp_path, monkeypatch):
    write_eliminations(tmp_path, [("a.fits", ""), ("/closed/b.fits", "")])
    real = os.stat

    def closed(path, **rest):
        if str(path).startswith("/closed"):
            raise PermissionError(13, "Permission denied")
        return real(path, **rest)

    monkeypatch.setattr(os, "stat", closed)
    with pytest.raises(
        ConfigError, match=r":3: file: /closed/b.fits cannot be looked at: Permission denied$"
    ):
        read_eliminations(tmp_path)


def test_a_list_is_read_whole_or_not_at_all(tmp_path, monkeypatch):
    write_eliminations(tmp_path, [("a.fits", "")] * 10)
    monkeypatch.setattr(elimination_list, "_MAX_BYTES", 30)
    with pytest.raises(ConfigError, match="expected at most 30 bytes"):
        read_eliminations(tmp_path)
