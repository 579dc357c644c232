"""HDF5 products: what is written is read; damage is never read as numbers."""

from __future__ import annotations

import errno
import os
from functools import partial

import h5py
import numpy as np
import pytest

from lightwatch.errors import StorageError
from lightwatch.structure import store
from lightwatch.structure.files import sha256_of
from lightwatch.structure.store import (
    read_product,
    write_index,
    write_product,
)

RNG = np.random.default_rng(1)
ARRAYS = {
    "stars/data": RNG.standard_normal((5, 24, 24)).astype(np.float32),
    "stars/mask": RNG.integers(0, 32, (5, 24, 24)).astype(np.uint8),
    "stars/gaia_id": np.array([2**62 + 1, 5, 7, 11, 13], dtype=np.int64),
    "stars/present": np.array([True, False, True, True, False]),
    "empty": np.zeros((0, 3)),
    "exptime": 320.0,
    "wcs": "CTYPE1  = 'RA---TAN'",
    "labels": ["A", "émilie", "C_1"],
}


def test_round_trip_keeps_types_and_bits(tmp_path):
    product = write_product(tmp_path, "regions/a.h5", ARRAYS, {"recipe": "r", "unit": "electron/s"})
    back = read_product(tmp_path, product.relpath)
    assert set(back) == set(ARRAYS)
    for name in ("stars/data", "stars/mask", "stars/gaia_id", "stars/present", "empty"):
        assert back[name].dtype == ARRAYS[name].dtype
        assert np.array_equal(back[name], ARRAYS[name])
    assert back["exptime"] == 320.0
    assert back["wcs"] == ARRAYS["wcs"]
    assert back["labels"].tolist() == ARRAYS["labels"]
    with h5py.File(tmp_path / product.relpath) as file:
        assert dict(file.attrs) == {"recipe": "r", "unit": "electron/s"}
    assert set(read_product(tmp_path, product.relpath, prefix="stars")) == {
        "data",
        "mask",
        "gaia_id",
        "present",
    }
    assert set(read_product(tmp_path, product.relpath, names=["exptime"])) == {"exptime"}


def test_same_content_is_the_same_file(tmp_path):
    one, two = (write_product(tmp_path, f"{name}.h5", ARRAYS, {"recipe": "r"}) for name in "ab")
    assert one.sha256 == two.sha256
    with h5py.File(tmp_path / "a.h5", "r") as file:  # nor does it tell when it was written
        assert {h5py.h5g.get_objinfo(file.id, name.encode()).mtime for name in ARRAYS} == {0}


def test_nan_and_infinity_survive(tmp_path):
    values = np.array([[np.nan, np.inf, -np.inf, -0.0]])
    write_product(tmp_path, "a.h5", {"x": values}, {})
    assert np.array_equal(read_product(tmp_path, "a.h5")["x"], values, equal_nan=True)


def test_python_objects_are_not_stored(tmp_path):
    with pytest.raises(StorageError, match="Python objects"):
        write_product(tmp_path, "a.h5", {"x": np.array([{}, None], dtype=object)}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("chunks_that_fit", [0, 1, 3, 10, 30])
def test_a_full_disk_is_an_error_and_no_file(tmp_path, monkeypatch, chunks_that_fit):
    """HDF5 alone would lose chunks in silence, and crash the process later."""
    monkeypatch.setattr(store, "_Disk", partial(_FullDisk, chunks_that_fit))
    with pytest.raises(
        StorageError, match=r"a\.h5: could not be written: No space left on device \(\d+ MB free"
    ):
        write_product(tmp_path, "a.h5", ARRAYS, {"recipe": "r"})
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    product = write_product(tmp_path, "a.h5", ARRAYS, {"recipe": "r"})
    assert np.array_equal(read_product(tmp_path, product.relpath)["stars/data"], ARRAYS["stars/data"])


class _FullDisk(store._Disk):
    """Takes so many writes, then none until the end."""

    def __init__(self, left, stream):
        super().__init__(_Full(left, stream))


class _Full:
    def __init__(self, left, stream):
        self.left, self.stream = left, stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, data):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.stream.write(data[: max(1, len(data) // 2)])  # a disk may take a part


def test_missing_file_and_missing_name(tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        read_product(tmp_path, "none.h5")
    write_product(tmp_path, "a.h5", {"x": np.ones(3)}, {})
    for arguments in ({"names": ["y"]}, {"prefix": "stars"}):
        with pytest.raises(StorageError, match="verify --repair"):
            read_product(tmp_path, "a.h5", **arguments)


def test_an_optional_prefix_may_be_missing_but_not_the_file(tmp_path):
    write_product(tmp_path, "a.h5", {"rois/pair/x": np.ones(3), "rois/pair_2/x": np.zeros(2)}, {})
    assert read_product(tmp_path, "a.h5", "rois/none", optional=True) == {}
    assert read_product(tmp_path, "a.h5", "none/pair", optional=True) == {}
    assert list(read_product(tmp_path, "a.h5", "rois/pair", optional=True)["x"]) == [1, 1, 1]
    with pytest.raises(StorageError):
        read_product(tmp_path, "b.h5", "rois/pair", optional=True)


def test_no_flipped_bit_is_read_as_another_number(tmp_path):
    """R14: a flip is refused when read, or it hit nothing that is read; the checksum finds every one."""
    product = write_product(
        tmp_path, "a.h5", {"x": ARRAYS["stars/data"], "n": ARRAYS["stars/gaia_id"]}, {"recipe": "r"}
    )
    whole = (tmp_path / "a.h5").read_bytes()
    refused = 0
    rng = np.random.default_rng(2)
    for _ in range(150):
        at, bit = int(rng.integers(len(whole))), int(rng.integers(8))
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        (tmp_path / "a.h5").write_bytes(damaged)
        assert sha256_of(tmp_path / "a.h5") != product.sha256
        try:
            back = read_product(tmp_path, "a.h5")
        except StorageError:
            refused += 1
        else:
            assert np.array_equal(back["x"], ARRAYS["stars/data"])
            assert np.array_equal(back["n"], ARRAYS["stars/gaia_id"])
    assert refused > 100
    (tmp_path / "a.h5").write_bytes(whole)
    assert sha256_of(tmp_path / "a.h5") == product.sha256


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 0.99])
def test_truncated_products_are_refused(tmp_path, fraction):
    product = write_product(tmp_path, "a.h5", {"x": ARRAYS["stars/data"]}, {})
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(whole[: int(fraction * len(whole))])
    assert sha256_of(tmp_path / "a.h5") != product.sha256
    with pytest.raises(StorageError):
        read_product(tmp_path, "a.h5")


def test_index_shows_the_products(tmp_path):
    write_product(tmp_path, "regions/a.h5", {"x": np.arange(3)}, {})
    write_index(tmp_path / "regions.h5", {"frames/a.fits": "regions/a.h5"})
    with h5py.File(tmp_path / "regions.h5", "r") as file:
        assert file["frames/a.fits/x"][:].tolist() == [0, 1, 2]


def test_every_frame_is_in_the_index_of_a_night(night):
    with h5py.File(night.path / "regions.h5", "r") as file:
        for (relpath,) in night.sql("SELECT image_relpath FROM frames"):
            assert file[relpath]["stars/data"].shape == (10, 24, 24)
            assert set(file[relpath]["rois"]) == {"pair", "single"}
