"""Files that are no usable frames, and the reason that must be given."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from reliability.corpus import (
    Kind,
    Sample,
    _socket,
    as_bytes,
    bad,
    card,
    changed,
    declared,
    gzip_bomb,
    hand_written,
    noise,
    packed,
    random_groups,
    squeezed,
    tile_bomb,
    with_raw_card,
)


def _cut(n: int) -> Any:
    return lambda s: s.whole[:n]


def _of(value: Any, dtype: Any = np.float32) -> Any:
    """All pixels of one value."""
    return lambda s: changed(s, np.full(s.image.shape, value, dtype))


def _with(**cards: Any) -> Any:
    return lambda s: changed(s, **cards)


def _raw(key: str, value: str) -> Any:
    return lambda s: with_raw_card(s, key, value)


def _float(function: Any) -> Any:
    """Pixels as a function of the sound ones."""
    return lambda s: changed(s, function(s.image.astype(float)))


def _checkerboard(sample: Sample) -> bytes:
    y, x = np.indices(sample.image.shape)
    return changed(sample, np.where((x + y) % 2, 200, 100).astype(np.int16))


def _table_image(sample: Sample) -> bytes:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    return as_bytes(fits.PrimaryHDU(header=sample.header), table)


def _wild_descriptors(sample: Sample) -> bytes:
    """Tiles of a compressed image that are said to lie far beyond the file."""
    content = packed(sample)
    start = content.index(b"XTENSION")
    data = start + next(i for i in range(0, 100000, 80) if content[start + i : start + i + 4] == b"END ")
    data += -data % 2880
    return content[:data] + b"\x7f" * 2400 + content[data + 2400 :]


def _zip(_sample: Sample) -> bytes:
    return b"PK\x03\x04" + bytes(500)


def _many_hdus(sample: Sample) -> bytes:
    return sample.whole + as_bytes(fits.PrimaryHDU(), fits.ImageHDU())[2880:] * 1100


def _loop(path: Path, _sample: Sample) -> None:
    path.symlink_to(path)


def _dangling(path: Path, _sample: Sample) -> None:
    path.symlink_to(path.parent / "gone.fits")


def _device(path: Path, _sample: Sample) -> None:
    path.symlink_to("/dev/zero")


def _failing_disk(path: Path, _sample: Sample) -> None:
    """Opens as any file, and every read fails with an I/O error."""
    path.symlink_to("/proc/self/mem")


BAD = (
    # ---- nothing like FITS
    bad("empty", "not_fits", lambda s: b""),
    bad("one byte", "not_fits", lambda s: b"S"),
    bad("text", "not_fits", lambda s: b"not a picture\n" * 50),
    bad("login page", "not_fits", lambda s: b"<!DOCTYPE html><html><body>Please log in</body></html>"),
    bad("random bytes", "not_fits", lambda s: np.random.default_rng(0).bytes(10000)),
    bad("png", "not_fits", lambda s: b"\x89PNG\r\n\x1a\n" + bytes(100)),
    bad("jpeg", "not_fits", lambda s: b"\xff\xd8\xff\xe0" + bytes(5000)),
    bad("only nul", "not_fits", lambda s: bytes(28800)),
    bad("zip", "not_fits", _zip),
    bad("bzip2", "not_fits", lambda s: squeezed(s.whole, "bz2")),
    bad("zlib", "not_fits", lambda s: squeezed(s.whole, "zlib")),
    bad("gzipped text", "not_fits", lambda s: gzip.compress(b"no picture\n" * 1000), ".fits.gz"),
    bad("gzipped nothing", "not_fits", lambda s: gzip.compress(b""), ".fits.gz"),
    bad("gzipped twice", "not_fits", lambda s: gzip.compress(gzip.compress(s.whole)), ".fits.gz"),
    bad("leading blank", "not_fits", lambda s: b" " + s.whole),
    bad("byte order mark", "not_fits", lambda s: b"\xef\xbb\xbf" + s.whole),
    bad("hdf5", "not_fits", lambda s: b"\x89HDF\r\n\x1a\n" + bytes(3000)),
    # ---- cut short
    bad("cut in the header", "truncated", _cut(1000)),
    bad("cut after the header", "truncated", _cut(5760)),
    bad("cut in the data", "truncated", lambda s: s.whole[: len(s.whole) // 2]),
    bad(
        "cut by a pixel",
        "truncated",
        lambda s: s.whole[: 2880 * 2 + s.image.nbytes - 2] if len(s.whole) else b"",
    ),
    bad("cut gzip", "truncated", lambda s: gzip.compress(s.whole, 1)[:20000], ".fits.gz"),
    bad("damaged gzip", "truncated", lambda s: gzip.compress(s.whole)[:500] + b"\xff" * 500, ".fits.gz"),
    bad("cut fpack", "truncated", lambda s: packed(s)[:-9000], ".fits.fz"),
    bad("wild descriptors", "truncated", _wild_descriptors, ".fits.fz"),
    # ---- headers that cannot be read
    bad("BITPIX 17", "bad_header", lambda s: declared(bitpix="17")),
    bad("BITPIX text", "bad_header", lambda s: declared(bitpix="'sixteen'")),
    bad("NAXIS 999", "bad_header", lambda s: declared(naxis="999")),
    bad("NAXIS text", "bad_header", lambda s: declared(naxis="two")),
    bad("NAXIS missing", "bad_header", lambda s: hand_written(card("SIMPLE", "T"), card("BITPIX", "16"))),
    bad("NAXIS1 negative", "bad_header", lambda s: declared("-80")),
    bad("NAXIS1 float", "bad_header", lambda s: declared("80.5")),
    bad("NAXIS1 beyond 64 bits", "bad_header", lambda s: declared("9" * 20)),
    bad("PCOUNT negative", "bad_header", lambda s: declared("80", "16", "2", card("PCOUNT", "-5"))),
    bad("no END", "bad_header", lambda s: s.whole.replace(b"END     ", b" " * 8, 1)),
    bad("keyword not ASCII", "bad_header", lambda s: s.whole.replace(b"GAIN    ", b"G\xc4IN    ", 1)),
    bad("BZERO text", "bad_header", lambda s: with_raw_card(s, "BZERO", "'zero'")),
    bad("BSCALE NaN", "bad_header", lambda s: with_raw_card(s, "BSCALE", "NaN")),
    # ---- bombs
    bad("NAXIS1 huge", "too_large", lambda s: declared("99999999999")),
    bad("gzip bomb", "too_large", lambda s: gzip_bomb(40000, 100), ".fits.gz"),
    bad("gzip bomb without gz", "too_large", lambda s: gzip_bomb(300, 100)),
    bad("tile bomb", "too_large", lambda s: tile_bomb(s, 100), ".fits.fz"),
    bad(
        "ZNAXIS huge",
        "too_large",
        lambda s: packed(s).replace(b"ZNAXIS1 =                  320", b"ZNAXIS1 =              9000000", 1),
        ".fits.fz",
    ),
    bad(
        "ZTILE huge",
        "too_large",
        lambda s: packed(s).replace(b"ZTILE1  =                  320", b"ZTILE1  =           9000000000", 1),
        ".fits.fz",
    ),
    bad("endless header", "too_large", lambda s: card("SIMPLE", "T") + b"COMMENT ".ljust(80) * 150_000),
    bad("1100 HDUs", "too_large", _many_hdus),
    # ---- what the header says of the exposure
    bad("EXPTIME missing", "bad_meta:exptime", _with(EXPTIME=None)),
    bad("EXPTIME text", "bad_meta:exptime", _with(EXPTIME="long")),
    bad("EXPTIME 0", "bad_meta:exptime", _with(EXPTIME=0.0)),
    bad("EXPTIME 1e-30", "bad_meta:exptime", _with(EXPTIME=1e-30)),
    bad("EXPTIME negative", "bad_meta:exptime", _with(EXPTIME=-30.0)),
    bad("EXPTIME 1e9", "bad_meta:exptime", _with(EXPTIME=1e9)),
    bad("EXPTIME NaN", "bad_meta:exptime", _raw("EXPTIME", "NaN")),
    bad("EXPTIME quoted inf", "bad_meta:exptime", _with(EXPTIME="inf")),
    bad("EXPTIME logical", "bad_meta:exptime", _with(EXPTIME=True)),
    bad("EXPTIME undefined", "bad_meta:exptime", _raw("EXPTIME", "")),
    bad("GAIN missing", "bad_meta:gain", _with(GAIN=None)),
    bad("GAIN text", "bad_meta:gain", _with(GAIN="high")),
    bad("GAIN 0", "bad_meta:gain", _with(GAIN=0.0)),
    bad("GAIN negative", "bad_meta:gain", _with(GAIN=-1.0)),
    bad("GAIN 1e9", "bad_meta:gain", _with(GAIN=1e9)),
    bad("MJD missing", "bad_meta:mjd", _with(MJD__OBS=None)),
    bad("MJD text", "bad_meta:mjd", _with(MJD__OBS="yesterday")),
    bad("MJD 0", "bad_meta:mjd", _with(MJD__OBS=0.0)),
    bad("MJD of 1858", "bad_meta:mjd", _with(MJD__OBS=12.3)),
    bad("MJD is a JD", "bad_meta:mjd", _with(MJD__OBS=2459800.5)),
    bad("MJD 99999999", "bad_meta:mjd", _with(MJD__OBS=99999999.0)),
    bad("MJD in the future", "bad_meta:mjd", _with(MJD__OBS=88000.0)),
    bad("read noise negative", "bad_meta:read_noise", _with(RDNOISE=-3.0)),
    bad("filter a logical", "bad_meta:filter", _with(FILTER=True)),
    bad("filter endless", "bad_meta:filter", lambda s: changed(s, FILTER="x" * 400)),
    bad("values swapped", "bad_meta:exptime", _with(EXPTIME="r_sdss", FILTER=30.0)),
    # ---- pixels
    bad("all NaN", "bad_pixels:not_finite", _of(np.nan)),
    bad("all inf", "bad_pixels:not_finite", _of(np.inf)),
    bad(
        "half minus inf",
        "bad_pixels:not_finite",
        lambda s: changed(s, np.where(np.arange(320) < 160, -np.inf, s.image)),
    ),
    bad("beyond float32", "bad_pixels:not_finite", _float(lambda p: p * 1e300)),
    bad("near the end of float32", "bad_pixels:range", lambda s: changed(s, s.image * 1e32, SATURATE=None)),
    bad("smaller than float32", "bad_pixels:range", _float(lambda p: p * 1e-30)),
    bad("all zero", "bad_pixels:zero", _of(0, np.int16)),
    bad("constant", "bad_pixels:constant", _of(7.0)),
    bad(
        "one hot pixel on zero",
        "bad_pixels:zero",
        lambda s: changed(s, np.eye(320, k=319).astype(np.float32) * 6e4),
    ),
    bad("all saturated", "bad_pixels:saturated", _of(65535, np.uint16)),
    bad("nearly all saturated", "bad_pixels:saturated", _float(lambda p: np.minimum(p + 64000, 65535))),
    bad("checkerboard", "bad_pixels:few_values", _checkerboard),
    bad("two levels", "bad_pixels:few_values", lambda s: changed(s, (noise(s) > 500).astype(np.int16))),
    bad("BSCALE 0", "bad_pixels:scale", _raw("BSCALE", "0.0")),
    bad(
        "all BLANK",
        "bad_pixels:not_finite",
        lambda s: changed(s, np.full(s.image.shape, -32768, np.int16), BLANK=-32768),
    ),
    bad(
        "half never read out",
        "bad_pixels:masked",
        lambda s: changed(s, np.where(np.arange(320)[:, None] < 160, 0, s.image).astype(np.uint16)),
    ),
    # ---- shapes
    bad("no data", "bad_shape", lambda s: as_bytes(fits.PrimaryHDU(header=s.header))),
    bad("spectrum", "bad_shape", lambda s: changed(s, s.image[0])),
    bad("cube", "bad_shape", lambda s: changed(s, np.stack([s.image[:64, :64]] * 3))),
    bad("one row", "bad_shape", lambda s: changed(s, s.image[:1])),
    bad("one column", "bad_shape", lambda s: changed(s, s.image[:, :1])),
    bad("3 x 3", "bad_shape", lambda s: changed(s, s.image[:3, :3])),
    bad("NAXIS1 zero", "bad_shape", lambda s: declared("0")),
    bad("table only", "bad_shape", _table_image),
    bad("random groups", "bad_shape", lambda s: random_groups()),
    bad("color", "bad_shape", lambda s: changed(s, np.stack([s.image] * 3, axis=-1))),
    # ---- what is no file
    Kind("fifo", "quarantined", "not_regular", lambda path, _s: os.mkfifo(path)),
    Kind("socket", "quarantined", "not_regular", _socket),
    Kind("device", "quarantined", "not_regular", _device),
    Kind("dangling link", "quarantined", "not_regular", _dangling),
    Kind("link to itself", "quarantined", "not_regular", _loop),
    Kind("failing disk", "quarantined", "unreadable", _failing_disk),
)
