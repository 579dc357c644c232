"""The gate in front of the FITS reader: sizes are checked from the bytes before anything is allocated."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import stat
import zlib
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import BinaryIO

from lightwatch.errors import FrameError

BLOCK = 2880  # bytes of a FITS record
CARD = 80
_SHOWN = 200  # characters of foreign text in a message
_ALWAYS_ALLOWED = 64 * 2**20  # bytes that even a tiny file may inflate to
_FOREIGN = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
}
_NOT_REGULAR = (errno.EINVAL, errno.ENXIO, errno.EISDIR, errno.ELOOP)
_LEGAL_BITPIX = {8, 16, 32, 64, -32, -64}
_SIZE_KEY = re.compile(r"Z?(BITPIX|NAXIS\d*)|PCOUNT|GCOUNT|ZTILE\d+")
_TEXT_KEYS = {"XTENSION", "EXTNAME", "ZIMAGE", "ZQUANTIZ", "ZCMPTYPE", "ZSCALE", "ZZERO", "GROUPS"}


@dataclass(frozen=True)
class ReadLimits:
    """What a frame may cost; beyond it the file is refused as ``too_large``."""

    header_bytes: int  # of one header, e.g. 10 MB
    data_bytes: int  # declared or decompressed, e.g. 4 GB
    inflation: float  # decompressed over compressed size, e.g. 20; up to 64 MB is always allowed
    hdus: int  # e.g. 1000

    def allowed_bytes(self, file_bytes: int) -> int:
        """Largest size that a file of this many bytes may unfold to."""
        return min(self.data_bytes, max(int(self.inflation * file_bytes), _ALWAYS_ALLOWED))


@dataclass(frozen=True)
class HduInfo:
    """One HDU as its header declares it; for a compressed image, the image inside."""

    index: int
    name: str  # EXTNAME, upper case
    is_image: bool
    bitpix: int
    shape: tuple[int, ...]  # as in NumPy: slowest axis first
    compressed: bool  # a tile-compressed image
    offset: int = 0  # bytes from the start of the (inflated) file
    header_length: int = 0  # bytes
    length: int = 0  # bytes of header and data, without the last padding

    @property
    def plane(self) -> tuple[int, int] | None:
        """(ny, nx) when this is one 2-D image, axes of length one aside."""
        longer = tuple(n for n in self.shape[:-2] if n != 1)
        return (
            (self.shape[-2], self.shape[-1])
            if self.is_image and len(self.shape) >= 2 and not longer
            else None
        )


def shown(path: Path | str) -> str:
    """A file name or header text that is safe in one line of a log, whatever bytes it holds."""
    text = (path.name if isinstance(path, Path) else path)[:_SHOWN]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)[:_SHOWN]


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, never waiting on a FIFO or device; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(descriptor, "rb")


def open_fits(path: Path, limits: ReadLimits) -> tuple[BinaryIO, tuple[HduInfo, ...]]:
    """An open FITS stream, inflated if it was gzipped, and what its headers declare.

    Raises FrameError; the caller closes the stream.
    """
    try:
        file = open_regular(path)
    except OSError as error:
        raise cannot_be_read(shown(path), error) from error
    try:
        start = file.read(16)
        size = os.fstat(file.fileno()).st_size
        allowed = limits.allowed_bytes(size)
        file.seek(0)
        if start.startswith(b"\x1f\x8b"):
            with file:
                file = io.BytesIO(_inflate(file, path, allowed))
            size = file.getbuffer().nbytes
        elif not start.startswith(b"SIMPLE"):
            raise FrameError("not_fits", f"{shown(path)}: {_what_it_is(start)}; only FITS files are read")
        hdus = scan(file, size, limits, allowed, name=shown(path))
    except OSError as error:
        file.close()
        raise cannot_be_read(shown(path), error) from error
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file, hdus


def cannot_be_read(name: str, error: OSError) -> FrameError:
    """``not_regular`` (a directory, FIFO, socket, device) is a verdict; ``unreadable`` may be over next time."""
    code = "not_regular" if error.errno in _NOT_REGULAR else "unreadable"
    return FrameError(code, f"{name}: cannot be read: {error.strerror or shown(str(error))}")


def refuse_foreign(path: Path) -> None:
    """Raise FrameError(not_fits) when the first bytes are those of another kind of file, or it cannot be read."""
    try:
        with open_regular(path) as file:
            start = file.read(16)
    except OSError as error:
        raise cannot_be_read(shown(path), error) from error
    if not start.startswith((b"\x1f\x8b", b"SIMPLE")):
        raise FrameError("not_fits", f"{shown(path)}: {_what_it_is(start)}; only FITS files are read")


def _what_it_is(start: bytes) -> str:
    if not start:
        return "empty file"
    known = next((what for magic, what in _FOREIGN.items() if start.startswith(magic)), None)
    return known or "not a FITS file"


def _inflate(file: BinaryIO, path: Path, allowed: int) -> bytearray:
    """The content of a gzip file, at most ``allowed`` bytes."""
    content = bytearray()
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while part := stream.read(1 << 20):
                content += part
                if len(content) > allowed:
                    raise FrameError(
                        "too_large",
                        f"{shown(path)}: inflates to more than {allowed} bytes; raise the limit or drop it",
                    )
    except EOFError as error:
        raise FrameError(
            "truncated", f"{shown(path)}: gzip stream ends early; copy the file again"
        ) from error
    except (OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FrameError("truncated", f"{shown(path)}: damaged gzip stream; copy the file again") from error
    if not content.startswith(b"SIMPLE"):
        raise FrameError("not_fits", f"{shown(path)}: no FITS file inside the gzip stream")
    return content


def scan(file: BinaryIO, size: int, limits: ReadLimits, allowed: int, *, name: str) -> tuple[HduInfo, ...]:
    """Walk from header to header and compare what they declare with the limits and the file's size."""
    hdus: list[HduInfo] = []
    offset = 0
    while size - offset >= CARD:
        file.seek(offset)
        if hdus and not file.read(8).startswith(b"XTENSION"):
            break  # special records after the last HDU
        if len(hdus) >= limits.hdus:
            raise FrameError("too_large", f"{name}: more than {limits.hdus} HDUs")
        file.seek(offset)
        cards, header_bytes = _size_cards(file, limits.header_bytes, name)
        info = _describe(cards, len(hdus), name)
        start = offset
        stored, unfolded = _declared_bytes(cards, info, name)
        if max(stored, unfolded) > allowed:
            raise FrameError(
                "too_large",
                f"{name}: HDU {info.index} declares {max(stored, unfolded)} bytes, {allowed} are allowed",
            )
        offset += header_bytes + stored
        if offset > size:
            raise FrameError(
                "truncated", f"{name}: HDU {info.index} lacks {offset - size} bytes; copy the file again"
            )
        offset += -offset % BLOCK
        hdus.append(replace(info, offset=start, header_length=header_bytes, length=header_bytes + stored))
    return tuple(hdus)


def _size_cards(file: BinaryIO, max_bytes: int, name: str) -> tuple[dict[str, str], int]:
    """The cards of one header that decide about sizes, as text, and the header's length in bytes."""
    cards: dict[str, str] = {}
    length = 0
    while True:
        block = file.read(BLOCK)
        length += len(block)
        if length > max_bytes:
            raise FrameError("too_large", f"{name}: a header is longer than {max_bytes} bytes")
        for start in range(0, len(block) - CARD + 1, CARD):
            card = block[start : start + CARD]
            if card[:8] == b"END     ":
                return cards, length
            _note_card(card, cards, name)
        if len(block) < BLOCK:
            raise FrameError("truncated", f"{name}: ends within a header; copy the file again")


def _note_card(card: bytes, cards: dict[str, str], name: str) -> None:
    try:
        key = card[:8].decode("ascii").rstrip()
    except UnicodeDecodeError as error:
        raise FrameError(
            "bad_header", f"{name}: a header has no END card, or bytes that are not ASCII"
        ) from error
    if card[8:10] == b"= " and key not in cards and (key in _TEXT_KEYS or _SIZE_KEY.fullmatch(key)):
        value = card[10:].decode("ascii", "replace")
        cards[key] = value.split("/")[0].strip().strip("'").strip()


def _integer(cards: dict[str, str], key: str, default: int | None, name: str) -> int:
    text = cards.get(key)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"[+-]?\d{1,19}", text):
        raise FrameError("bad_header", f"{name}: {key} is {shown(text or 'missing')}, expected an integer")
    return int(text)


def _axes(cards: dict[str, str], prefix: str, name: str) -> tuple[int, ...]:
    """Lengths of the axes, slowest first."""
    count = _integer(cards, f"{prefix}NAXIS", None, name)
    if not 0 <= count <= 99:
        raise FrameError("bad_header", f"{name}: {prefix}NAXIS = {count}, expected 0 to 99")
    lengths = [_integer(cards, f"{prefix}NAXIS{i}", None, name) for i in range(count, 0, -1)]
    if any(length < 0 for length in lengths):
        raise FrameError("bad_header", f"{name}: negative {prefix}NAXISn")
    return tuple(lengths)


def _describe(cards: dict[str, str], index: int, name: str) -> HduInfo:
    compressed = cards.get("ZIMAGE") == "T"
    prefix = "Z" if compressed else ""
    bitpix = _integer(cards, f"{prefix}BITPIX", None, name)
    if bitpix not in _LEGAL_BITPIX or _integer(cards, "BITPIX", None, name) not in _LEGAL_BITPIX:
        raise FrameError("bad_header", f"{name}: {prefix}BITPIX = {bitpix} does not exist")
    is_image = compressed or index == 0 or cards.get("XTENSION") == "IMAGE"
    axes = _axes(cards, prefix, name)
    return HduInfo(index, cards.get("EXTNAME", "").upper(), is_image, bitpix, axes, compressed)


def _declared_bytes(cards: dict[str, str], info: HduInfo, name: str) -> tuple[int, int]:
    """Bytes of the data as stored in the file, and as unfolded into an image."""
    axes = _axes(cards, "", name)
    if axes and axes[-1] == 0 and cards.get("GROUPS") == "T":
        axes = (*axes[:-1], 1)  # random groups: the first axis does not count
    pixels = prod(axes) if axes else 0
    pcount = _integer(cards, "PCOUNT", 0, name)
    gcount = _integer(cards, "GCOUNT", 1, name)
    if pcount < 0 or gcount < 0:
        raise FrameError("bad_header", f"{name}: negative PCOUNT or GCOUNT")
    stored = abs(_integer(cards, "BITPIX", None, name)) // 8 * gcount * (pcount + pixels)
    tile = prod(max(_integer(cards, f"ZTILE{i}", 1, name), 1) for i in range(1, len(info.shape) + 1))
    unfolded = abs(info.bitpix) // 8 * max(prod(info.shape) if info.shape else 0, tile)
    return stored, unfolded if info.is_image else 0
