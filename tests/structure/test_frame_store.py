"""Stored frames and source tables: round trip, a new WCS, damage told."""

from __future__ import annotations

import resource
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.hdu import base
from astropy.wcs import WCS

from lightwatch.errors import StorageError
from lightwatch.structure.frame_store import (
    StoredFrame,
    read_sources,
    read_stored_frame,
    replace_wcs,
    write_frame,
    write_sources,
)


def _wcs(ra=10.0, **cards):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [ra, 20.0], [5.0, 6.0], [-1e-4, 1e-4]
    header = wcs.to_header()
    header.update(cards)
    return header


@pytest.fixture
def frame():
    rng = np.random.default_rng(1)
    header = _wcs()
    header["EXPTIME"] = 30.0
    header["PV1_3"] = 7.0
    return StoredFrame(
        image=rng.standard_normal((40, 50)).astype(np.float32),
        mask=rng.integers(0, 32, (40, 50)).astype(np.uint8),
        level_mesh=rng.standard_normal((2, 3)).astype(np.float32),
        rms_mesh=rng.uniform(1, 2, (2, 3)).astype(np.float32),
        cards=header,
    )


def test_round_trip(tmp_path, frame):
    product = write_frame(tmp_path, "frames/a.fits", frame)
    back = read_stored_frame(tmp_path, product.relpath)
    for name in ("image", "mask", "level_mesh", "rms_mesh"):
        assert np.array_equal(getattr(back, name), getattr(frame, name))
    assert back.cards["BUNIT"] == "electron/s"
    assert back.cards["EXPTIME"] == 30.0
    assert WCS(back.cards).wcs.crval[0] == 10.0
    with fits.open(tmp_path / "frames/a.fits", checksum=True) as hdus:
        assert hdus.verify() is None
        assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in hdus)


def test_new_wcs_takes_the_place_of_the_old_one_whole(tmp_path, frame):
    write_frame(tmp_path, "a.fits", frame)
    replace_wcs(tmp_path, "a.fits", _wcs(ra=200.0).tostring())
    back = read_stored_frame(tmp_path, "a.fits")
    assert WCS(back.cards).wcs.crval[0] == 200.0
    assert "PV1_3" not in back.cards
    assert back.cards["EXPTIME"] == 30.0
    assert np.array_equal(back.image, frame.image)
    first = (tmp_path / "a.fits").read_bytes()
    replace_wcs(tmp_path, "a.fits", _wcs(ra=200.0).tostring())
    assert (tmp_path / "a.fits").read_bytes() == first, "a second time changes nothing"


def test_same_content_is_the_same_file_at_any_time(tmp_path, frame, monkeypatch):
    one = write_frame(tmp_path, "a.fits", frame)
    monkeypatch.setattr(base, "datetime", SimpleNamespace(datetime=_Later))
    assert write_frame(tmp_path, "b.fits", frame).sha256 == one.sha256


class _Later(datetime):
    """A clock of another year."""

    @classmethod
    def now(cls, tz=None):
        return cls(2050, 1, 1, tzinfo=tz)


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 0.6, 0.9])
def test_truncated_frames_are_refused(tmp_path, frame, fraction):
    write_frame(tmp_path, "a.fits", frame)
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(whole[: int(fraction * len(whole))])
    with pytest.raises(StorageError, match=r"a\.fits"):
        read_stored_frame(tmp_path, "a.fits")


def test_no_byte_is_lost_without_a_word(tmp_path, frame):
    """A disk that takes so many bytes and no more, at any place of the file."""
    size = write_frame(tmp_path, "whole.fits", frame).size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in np.linspace(0, size - 1, 150).astype(int).tolist():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(StorageError, match="File too large"):
                write_frame(tmp_path, "cut.fits", frame)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["whole.fits"]


def test_missing_frame_and_missing_sources(tmp_path, frame):
    with pytest.raises(StorageError, match=r"none\.fits"):
        read_stored_frame(tmp_path, "none.fits")
    with pytest.raises(StorageError):
        read_sources(tmp_path, "none.fits")
    write_frame(tmp_path, "a.fits", frame)
    with pytest.raises(StorageError):
        read_sources(tmp_path, "a.fits")


def test_sources_keep_their_columns_in_native_byte_order(tmp_path):
    columns = {
        "x": np.array([1.5, 2.5]),
        "flags": np.array([0, 4], dtype=np.int32),
        "is_star": np.array([True, False]),
    }
    write_sources(tmp_path, "s.fits", columns)
    back = read_sources(tmp_path, "s.fits")
    assert set(back) == set(columns)
    for name, values in columns.items():
        assert np.array_equal(back[name], values)
        assert back[name].dtype.isnative


def test_no_sources_at_all(tmp_path):
    write_sources(tmp_path, "s.fits", {"x": np.zeros(0), "flux": np.zeros(0)})
    assert {name: len(values) for name, values in read_sources(tmp_path, "s.fits").items()} == {
        "x": 0,
        "flux": 0,
    }
