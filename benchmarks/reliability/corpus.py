"""What a raw directory can hold: kinds of bad files with the verdict that each must get, and odd ones that are legal.

A kind writes one file (or something like a file) from a sound frame. Its verdict is what must become of it:
``quarantined`` with a reason code, ``imported`` (with the doubt that is written down, if any), ``unsolved``
(imported, and then refused by plate solving, for nothing of the field is on it), ``calibration`` or ``finished``
(whatever is found, it must be found without trouble).
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """A sound frame of the field: raw pixels (ny, nx), header, and the whole file."""

    image: NDArray[Any]
    header: fits.Header
    whole: bytes

    @classmethod
    def of(cls, path: Path) -> Sample:
        return cls(fits.getdata(path), fits.getheader(path), path.read_bytes())


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    name: str
    verdict: str
    code: str | None
    write: Callable[[Path, Sample], None]
    suffix: str = ".fits"

    def make(self, folder: Path, sample: Sample) -> Path:
        """Put it into a folder."""
        path = folder / (self.name.replace(" ", "_").replace("/", "_") + self.suffix)
        self.write(path, sample)
        return path


Build = Callable[[Sample], bytes]


def as_bytes(*hdus: Any, **settings: Any) -> bytes:
    """A FITS file."""
    out = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(out, output_verify="ignore", **settings)
    return out.getvalue()


def changed(sample: Sample, image: NDArray[Any] | None = None, **cards: Any) -> bytes:
    """The frame with other pixels or cards; None takes a card away, and ``__`` in a name stands for ``-``."""
    header = sample.header.copy()
    for key, value in cards.items():
        key = key.replace("__", "-")
        if value is None:
            header.remove(key, ignore_missing=True)
        else:
            header[key] = value
    return as_bytes(fits.PrimaryHDU(sample.image if image is None else image, header))


def card(key: str, value: str) -> bytes:
    """A card written by hand, legal or not."""
    return f"{key:<8}= {value:>20}".ljust(80).encode("latin-1")


def with_raw_card(sample: Sample, key: str, value: str) -> bytes:
    """The frame in which the text of one card is replaced or added, whatever it says."""
    content = sample.whole
    start = next((i for i in range(0, 28800, 80) if content[i : i + 8] == key.ljust(8).encode()), None)
    if start is not None:
        return content[:start] + card(key, value) + content[start + 80 :]
    end = next(i for i in range(0, 28800, 80) if content[i : i + 8] == b"END     ")
    return content[:end] + card(key, value) + content[end : end + 80] + content[end + 160 :]


def packed(sample: Sample, image: NDArray[Any] | None = None, **settings: Any) -> bytes:
    """Tile-compressed."""
    return as_bytes(
        fits.PrimaryHDU(),
        fits.CompImageHDU(sample.image if image is None else image, sample.header, **settings),
    )


def gzip_bomb(declared: int, megabytes: int) -> bytes:
    """A small gzip file that inflates to a FITS file of ``declared`` pixels on a side and so many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    cards = b"".join(
        (card("SIMPLE", "T"), card("BITPIX", "16"), card("NAXIS", "2"), card("NAXIS1", str(declared)),
         card("NAXIS2", str(declared)), b"END".ljust(80))
    )  # fmt: skip
    parts = [packer.compress(cards.ljust(2880))]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(megabytes)]
    return b"".join(parts) + packer.flush()


def tile_bomb(sample: Sample, megabytes: int) -> bytes:
    """A compressed image of which one tile inflates far beyond its pixels."""
    bomb = np.frombuffer(gzip.compress(bytes(megabytes << 20), 9), np.uint8)
    ny, nx = sample.image.shape
    tiles = np.empty(ny, object)
    tiles[:] = [bomb] + [np.frombuffer(gzip.compress(bytes(2 * nx)), np.uint8)] * (ny - 1)
    table = fits.BinTableHDU.from_columns([fits.Column("COMPRESSED_DATA", "1PB()", array=tiles)])
    cards: dict[str, Any] = {"ZIMAGE": True, "ZCMPTYPE": "GZIP_1", "ZBITPIX": 16, "ZNAXIS": 2, "ZNAXIS1": nx}
    for key, value in (cards | {"ZNAXIS2": ny, "ZTILE1": nx, "ZTILE2": 1}).items():
        table.header[key] = value
    return as_bytes(fits.PrimaryHDU(), table)


def hand_written(*cards: bytes, data: bytes = b"") -> bytes:
    """A header of these cards, padded, and data."""
    header = b"".join((*cards, b"END".ljust(80)))
    return header.ljust(-(-len(header) // 2880) * 2880) + data


def declared(naxis1: str = "80", bitpix: str = "16", naxis: str = "2", *extra: bytes) -> bytes:
    """A header that declares something, and little data."""
    cards = (card("SIMPLE", "T"), card("BITPIX", bitpix), card("NAXIS", naxis), card("NAXIS1", naxis1))
    return hand_written(*cards, card("NAXIS2", "60"), *extra, data=bytes(11520))


def noise(sample: Sample, level: float = 500.0, sigma: float = 20.0) -> NDArray[np.float32]:
    """Sky without any star."""
    return np.random.default_rng(5).normal(level, sigma, sample.image.shape).astype(np.float32)


def file_of(build: Build) -> Callable[[Path, Sample], None]:
    """A writer of a plain file."""

    def write(path: Path, sample: Sample) -> None:
        path.write_bytes(build(sample))

    return write


def bad(name: str, code: str, build: Build, suffix: str = ".fits") -> Kind:
    """A file that must be quarantined."""
    return Kind(name, "quarantined", code, file_of(build), suffix)


def fine(name: str, build: Build, doubt: str | None = None, suffix: str = ".fits") -> Kind:
    """A file that must be imported."""
    return Kind(name, "imported", doubt, file_of(build), suffix)


def solved_or_not(name: str, verdict: str, build: Build) -> Kind:
    """A sound file whose content is odd."""
    return Kind(name, verdict, None, file_of(build))


def _socket(path: Path, _sample: Sample) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    try:  # the address of a socket may only be short
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"/proc/self/fd/{here}/{path.name}")
        listener.close()
    finally:
        os.close(here)


def unpacked_corpus() -> tuple[Kind, ...]:
    """Every kind, bad and legal."""
    from reliability.corpus_bad import BAD
    from reliability.corpus_odd import ODD

    return (*BAD, *ODD)


def squeezed(content: bytes, how: str) -> bytes:
    """Another compression than gzip."""
    return bz2.compress(content) if how == "bz2" else zlib.compress(content)


def random_groups() -> bytes:
    """An interferometer's file: no image in it."""
    cards = (("SIMPLE", "T"), ("BITPIX", "-32"), ("NAXIS", "3"), ("NAXIS1", "0"), ("NAXIS2", "3"), ("NAXIS3", "4"),
             ("GROUPS", "T"), ("PCOUNT", "1"), ("GCOUNT", "10"))  # fmt: skip
    return hand_written(*(card(key, value) for key, value in cards), data=bytes(2880))
