"""Pixels of one HDU, strip by strip: a large image needs little more memory than its result."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lightwatch.errors import FrameError
from lightwatch.structure.frames_guard import BLOCK, HduInfo, cannot_be_read, shown

_EMPTY_PRIMARY = fits.PrimaryHDU().header.tostring().encode()
_STRIP_PIXELS = 1 << 22
_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_TILE_SLACK_BYTES = 1 << 16
_WORD_BYTES = 4

Strips = Iterator[tuple[slice, NDArray[Any]]]


@dataclass(frozen=True)
class StoredPlane:
    """A 2-D image as it is stored: header, and ``strips()``: (rows, unscaled values) from the first row to the last.

    ``damaged``: the header holds a DATASUM, and the data another; known when all strips were read.
    """

    header: fits.Header
    strips: Callable[[], Strips]
    damaged: Callable[[], bool]


@contextmanager
def _told(name: str, code: str, doing: str) -> Iterator[None]:
    """On damaged files astropy raises many kinds of exceptions, some of private modules: all become FrameError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what astropy warns of we check, or it is harmless
            yield
    except FrameError:
        raise
    except MemoryError as error:
        raise FrameError("too_large", f"{name}: not enough memory to read it") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the file's content
            raise cannot_be_read(name, error) from error
        raise FrameError(code, f"{name}: {doing}; copy the file again: {shown(str(error))}") from error


def read_header(stream: BinaryIO, info: HduInfo, name: str) -> fits.Header:
    """Header of one HDU; of a compressed image that of the image inside."""
    if info.compressed:
        return _compressed_plane(stream, info, name).header
    with _told(name, "bad_header", "a header cannot be read"):
        stream.seek(info.offset)
        return fits.Header.fromfile(io.BytesIO(stream.read(info.header_length)))


def stored_plane(stream: BinaryIO, info: HduInfo, name: str) -> StoredPlane:
    """One image HDU whose ``plane`` is not None."""
    if info.compressed:
        return _compressed_plane(stream, info, name)
    header, shape = read_header(stream, info, name), _plane_of(info, name)
    summed = _DataSum(header)
    dtype = np.dtype(_DTYPES[info.bitpix])

    def strips() -> Strips:
        with _told(name, "truncated", "damaged data"):
            stream.seek(info.offset + info.header_length)
            for rows in _rows_of_strips(shape, 1):
                content = stream.read((rows.stop - rows.start) * shape[1] * dtype.itemsize)
                summed.add(content)
                yield rows, np.frombuffer(content, dtype).reshape(-1, shape[1])

    return StoredPlane(header, strips, summed.differs)


def _plane_of(info: HduInfo, name: str) -> tuple[int, int]:
    if info.plane is None:
        raise FrameError("bad_shape", f"{name}: HDU {info.index} is no 2-D image (its shape is {info.shape})")
    return info.plane


def _rows_of_strips(shape: tuple[int, int], tile_rows: int) -> Iterator[slice]:
    """Slices of rows, whole tiles each."""
    ny, nx = shape
    step = max(1, _STRIP_PIXELS // (nx * tile_rows)) * tile_rows
    return (slice(y, min(y + step, ny)) for y in range(0, ny, step))


def _compressed_plane(stream: BinaryIO, info: HduInfo, name: str) -> StoredPlane:
    """A tile-compressed image, given to astropy alone: the other HDUs cannot disturb it."""
    with _told(name, "bad_header", "a header cannot be read"):
        stream.seek(info.offset)
        content = stream.read(info.length)
        summed = _DataSum(fits.Header.fromfile(io.BytesIO(content[: info.header_length])))
        summed.add(memoryview(content)[info.header_length :])
        # the last padding may be missing
        alone = b"".join((_EMPTY_PRIMARY, content, b"\0" * (-len(content) % BLOCK)))
        del content
        hdu = fits.open(io.BytesIO(alone), memmap=False, do_not_scale_image_data=True)[1]
        header = hdu.header.copy()

    def strips() -> Strips:
        shape = _plane_of(info, name)
        with _told(name, "truncated", "damaged data"):
            _refuse_tile_bombs(alone, name)
            tile_rows = hdu.tile_shape[-2] if len(hdu.tile_shape) > 1 else 1
            leading = (0,) * (len(info.shape) - 2)
            for rows in _rows_of_strips(shape, tile_rows):
                yield rows, np.asarray(hdu.section[(*leading, rows)])

    return StoredPlane(header, strips, summed.differs)


def _refuse_tile_bombs(alone: bytes, name: str) -> None:
    """Raise FrameError when a gzipped tile inflates to more than the pixels of a tile take."""
    with fits.open(io.BytesIO(alone), memmap=False, disable_image_compression=True) as hdus:
        table = hdus[1]
        columns = ["GZIP_COMPRESSED_DATA"]
        if str(table.header.get("ZCMPTYPE", "")).startswith("GZIP"):
            columns.append("COMPRESSED_DATA")
        columns = [column for column in columns if column in table.columns.names]
        axes = range(1, table.header["ZNAXIS"] + 1)
        sides = [table.header.get(f"ZTILE{i}", table.header["ZNAXIS1"] if i == 1 else 1) for i in axes]
        allowed = 8 * prod(sides) + _TILE_SLACK_BYTES
        for column in columns:
            for tile in table.data[column]:
                _refuse_bomb(np.asarray(tile).tobytes(), allowed, name)


def _refuse_bomb(content: bytes, allowed: int, name: str) -> None:
    left = allowed
    while content.startswith(b"\x1f\x8b"):  # a gzip stream may consist of several
        one = zlib.decompressobj(31)
        left -= len(one.decompress(content, left + 1))
        if left < 0:
            raise FrameError("too_large", f"{name}: a compressed tile inflates to more than {allowed} bytes")
        content = one.unused_data


class _DataSum:
    """The FITS data checksum (ones' complement sum of 32-bit words) of content that comes in parts."""

    def __init__(self, header: fits.Header) -> None:
        self._expected = str(header.get("DATASUM", "")).strip()
        self._sum = 0
        self._rest = b""

    def add(self, part: bytes | memoryview) -> None:
        if not self._expected.isdecimal():
            return
        head = bytes(part[: -len(self._rest) % _WORD_BYTES])  # completes the word begun by the part before
        whole = (len(part) - len(head)) // _WORD_BYTES * _WORD_BYTES + len(head)
        self._rest += head
        if len(self._rest) == _WORD_BYTES:
            self._sum += int.from_bytes(self._rest, "big")
            self._rest = b""
        self._sum += int(np.frombuffer(part[len(head) : whole], ">u4").sum(dtype=np.uint64))
        self._rest += bytes(part[whole:])

    def differs(self) -> bool:
        if not self._expected.isdecimal():
            return False
        total = self._sum + int.from_bytes(self._rest.ljust(_WORD_BYTES, b"\0"), "big")
        while total >> 32:
            total = (total & 0xFFFFFFFF) + (total >> 32)
        return total != int(self._expected)
