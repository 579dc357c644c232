"""HDF5 products, written once: the one file that imports h5py.

A product is a nested mapping of names to arrays (or text), with attributes. It is never changed in place: a
recomputed product is a new file, and the row in the database is switched to it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lightwatch.errors import StorageError
from lightwatch.structure.damage import unreadable
from lightwatch.structure.files import ProductRef, write_atomically

Arrays = Mapping[str, Any]


def write_product(workdir: Path, relpath: str, arrays: Arrays, attributes: Mapping[str, Any]) -> ProductRef:
    """Write arrays (keys may be paths such as ``stars/data``) with checksums; the file appears whole.

    Numbers and booleans keep their type; text and lists of text are stored as UTF-8.
    """

    def fill(file: h5py.File) -> None:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, value in arrays.items():
            _write_dataset(file, name, value)

    digest, size = write_atomically(workdir / relpath, lambda path: _write_file(path, fill))
    return ProductRef(relpath, digest, size)


def _write_file(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """A new HDF5 file. An error of the disk is raised when HDF5 has closed it."""
    with path.open("w+b", buffering=0) as stream:
        disk = _Disk(stream)
        try:
            with h5py.File(disk, "w", libver=("v110", "v110")) as file:
                fill(file)
        finally:
            if disk.error is not None:
                raise disk.error


class _Disk(io.RawIOBase):
    """A file for HDF5 that never fails to write; ``error`` is the first error that there was.

    HDF5 itself swallows errors of writing when it closes datasets, so that a file without some of its chunks
    passes for whole, and once it could not close a file it crashes the process at the end.
    """

    def __init__(self, stream: io.FileIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int | None:
        return self._stream.readinto(buffer)

    def write(self, data: Any) -> int:
        left = memoryview(data)
        size = len(left)
        try:
            while left and self.error is None:
                left = left[self._stream.write(left) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            if self.error is None:
                self._stream.truncate(size)
        except OSError as error:
            self.error = error
        return size or 0


def _write_dataset(file: h5py.File, name: str, value: Any) -> None:
    array = np.asarray(value)
    if array.dtype.kind == "O":
        raise StorageError(f"dataset {name}: arrays of Python objects are not stored")
    if array.dtype.kind == "U":  # of fixed length: the heap where others are kept has no checksum
        encoded = np.char.encode(array, "utf-8")
        array = encoded.astype(h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize)))
    if array.ndim == 0:  # within its header, which has a checksum; a filter needs dimensions
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.COMPACT)
        layout.set_obj_track_times(False)  # as h5py itself: the same content is the same file
        kind, space = h5py.h5t.py_create(array.dtype, logical=True), h5py.h5s.create(h5py.h5s.SCALAR)
        dataset = h5py.h5d.create(file.id, None, kind, space, layout)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, array)
        file[name] = h5py.Dataset(dataset)
    elif array.size == 0:
        file.create_dataset(name, data=array)
    else:
        # one chunk per cutout: a single star is read without the others
        chunk = array.shape if array.ndim <= 2 else (1,) * (array.ndim - 2) + array.shape[-2:]
        file.create_dataset(name, data=array, chunks=chunk, fletcher32=True)


def read_product(
    workdir: Path,
    relpath: str,
    prefix: str = "",
    names: Iterable[str] | None = None,
    *,
    optional: bool = False,
) -> dict[str, Any]:
    """Arrays of a product below ``prefix`` (all of them, or the named ones), text as ``str``.

    ``optional``: none where the product has no such prefix, as frames that do not hold an ROI.

    Raises
    ------
    ProductError
        When the file is missing, damaged, or lacks a name.
    StorageError
        When the disk fails.
    """
    path = workdir / relpath
    try:
        with h5py.File(path, "r", locking=False) as file:
            if optional and prefix not in file:
                return {}
            group = file[prefix] if prefix else file
            if names is None:
                return {name: _read_dataset(item) for name, item in _datasets(group).items()}
            return {name: _read_dataset(group[name]) for name in names}
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise unreadable(workdir, relpath, error) from error


def _datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    """Datasets below a group by name, each opened once."""
    found: dict[str, h5py.Dataset] = {}
    group.visititems(
        lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None
    )
    return found


def _read_dataset(dataset: h5py.Dataset) -> Any:
    if h5py.check_string_dtype(dataset.dtype) is None:
        return dataset[()]
    value = dataset.asstr()[()]
    return value if isinstance(value, str) else np.asarray(value, dtype=str)


def write_index(path: Path, links: Mapping[str, str]) -> None:
    """A thin file of external links, so that one file shows every product; holds no data of its own."""

    def fill(file: h5py.File) -> None:
        for name, target in links.items():
            file[name] = h5py.ExternalLink(target, "/")

    write_atomically(path, lambda temporary: _write_file(temporary, fill))
