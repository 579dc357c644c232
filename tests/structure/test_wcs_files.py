"""A WCS in a file beside the frame: found by its name, made to fit the trimmed image, refused where it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lightwatch.errors import FrameError
from lightwatch.structure.wcs_files import (
    read_wcs_file,
    stem_of,
    wcs_beside,
    wcs_digest,
    wcs_files,
    write_wcs_file,
)

NY, NX = 60, 80


def header() -> fits.Header:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [42.2, 19.2], [40.0, 30.0]
    wcs.wcs.cd = np.diag([-1e-4, 1e-4])
    return wcs.to_header()


def crpix(text: str) -> tuple[float, float]:
    cards = fits.Header.fromstring(text)
    return cards["CRPIX1"], cards["CRPIX2"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.fits", "a"),
        ("a.b.FIT", "a.b"),
        ("n/a.fits.fz", "n/a"),
        ("a.fts.gz", "a"),
        ("a.fz", "a"),
        ("a.b", "a.b"),
    ],
)
def test_stem(name, stem):
    assert stem_of(name) == stem


def test_a_file_is_found_by_the_path_from_the_raw_directory(tmp_path):
    assert wcs_files(tmp_path) == {}
    (tmp_path / "wcs" / "night2").mkdir(parents=True)
    for name in ("a.wcs", "night2/a.wcs", "b.txt"):
        (tmp_path / "wcs" / name).write_text("")
    (tmp_path / "wcs" / "gone.wcs").symlink_to(tmp_path / "nowhere")
    files, raw = wcs_files(tmp_path), [tmp_path / "raw"]
    assert wcs_beside(files, "a.fits", raw) == tmp_path / "wcs" / "a.wcs"
    assert wcs_beside(files, "night1/a.fits", raw) is None  # it is of another frame
    assert wcs_beside(files, "night2/a.fits.fz", raw) == tmp_path / "wcs" / "night2" / "a.wcs"
    assert wcs_beside(files, "b.fits", raw) is None
    assert wcs_beside(files, "gone.fits", raw) is None


def test_a_path_in_two_raw_directories_tells_not_which_is_meant(tmp_path):
    raws = [tmp_path / "one", tmp_path / "two", tmp_path / "two" / ".." / "one"]
    for raw in raws[:2]:
        raw.mkdir()
    (raws[0] / "a.fits").write_text("")
    files = {"a": tmp_path / "wcs" / "a.wcs"}
    assert wcs_beside(files, "a.fits", raws) == files["a"]
    (raws[1] / "a.fits").write_text("")
    assert wcs_beside(files, "a.fits", raws) is None


@pytest.mark.parametrize("kind", ["vanished", "fifo", "input_output_error", "sparse"])
def test_a_file_that_cannot_be_read_is_the_trouble_of_its_frame_alone(tmp_path, kind):
    path = tmp_path / "a.wcs"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "input_output_error":
        path.symlink_to("/proc/self/mem")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(2**32)
    assert wcs_digest(path) == "bad_wcs"
    with pytest.raises(FrameError, match=r"a\.wcs: ") as error:
        read_wcs_file(path, shape=(NY, NX), trimmed_px=(0, 0))
    assert error.value.reason_code == "bad_wcs"


def test_a_file_behind_a_closed_door_is_listed_so_that_its_frame_tells(tmp_path, monkeypatch):
    (tmp_path / "wcs").mkdir()
    (tmp_path / "wcs" / "a.wcs").write_text("")
    real = Path.stat

    def closed(self, **rest):
        if self.suffix == ".wcs":
            raise PermissionError(13, "Permission denied")
        return real(self, **rest)

    monkeypatch.setattr(Path, "stat", closed)
    assert list(wcs_files(tmp_path)) == ["a"]


@pytest.mark.parametrize(
    ("size", "expected"), [(None, (38.0, 27.0)), ((NX, NY), (38.0, 27.0)), ((NX - 4, NY - 6), (40.0, 30.0))]
)
def test_crpix_follows_the_trimming_unless_made_after_it(tmp_path, size, expected):
    cards = fits.PrimaryHDU(header=header()).header
    if size:
        cards["IMAGEW"], cards["IMAGEH"] = size
    cards.tofile(tmp_path / "a.wcs")
    assert crpix(read_wcs_file(tmp_path / "a.wcs", shape=(NY - 6, NX - 4), trimmed_px=(3, 2))) == expected


def test_what_is_written_is_read(tmp_path):
    text = header().tostring(sep="", endcard=False, padding=False)
    write_wcs_file(tmp_path / "wcs" / "a.wcs", text, nx=NX, ny=NY)
    again = WCS(
        fits.Header.fromstring(read_wcs_file(tmp_path / "wcs" / "a.wcs", shape=(NY, NX), trimmed_px=(0, 0)))
    )
    assert np.allclose(again.all_pix2world([[3.0, 7.0]], 0), WCS(header()).all_pix2world([[3.0, 7.0]], 0))


@pytest.mark.parametrize("kind", ["other_size", "no_wcs", "text", "empty", "cut", "broken_card", "folder"])
def test_what_is_no_wcs_for_the_image_is_refused_in_a_line(tmp_path, kind):
    path = tmp_path / "a.wcs"
    cards = fits.PrimaryHDU(header=header()).header
    if kind == "other_size":
        cards["IMAGEW"], cards["IMAGEH"] = 10, 10
    if kind == "no_wcs":
        del cards["CTYPE1"]
    content = cards.tostring().encode()
    contents = {"text": b"CRVAL1 = 3\n", "empty": b"", "cut": content[:400]}
    if kind == "broken_card":
        card = content[content.index(b"CRVAL1") :][:80]
        content = content.replace(card, b"CRVAL1  = 'forty-two'".ljust(80))
    if kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(contents.get(kind, content))
    with pytest.raises(FrameError) as error:
        read_wcs_file(path, shape=(NY, NX), trimmed_px=(0, 0))
    assert "a.wcs" in str(error.value)
    assert "\n" not in str(error.value)
