"""Files that are odd, and legal: what cameras, pipelines and users really write. None may be refused by the import."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from reliability.corpus import (
    Kind,
    Sample,
    as_bytes,
    changed,
    file_of,
    fine,
    noise,
    packed,
    solved_or_not,
    with_raw_card,
)

_WCS = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2", "CUNIT1", "CUNIT2",
        "PC1_1", "PC1_2", "PC2_1", "PC2_2", "LONPOLE", "LATPOLE", "WCSAXES", "RADESYS")  # fmt: skip


def _own(sample: Sample, k: int) -> Sample:
    """The sound frame with one pixel changed, so that no two kinds are copies of each other."""
    image = sample.image.copy()
    image[0, k] += 1
    return Sample(image, sample.header, changed(Sample(image, sample.header, b"")))


def _with(k: int, **cards: Any) -> Any:
    return lambda s: changed(_own(s, k), **cards)


def _unpadded(sample: Sample) -> bytes:
    image = _own(sample, 0).image.astype(np.int16)
    content = changed(sample, image)
    return content[: len(content) - -image.nbytes % 2880]


def _scaled(sample: Sample) -> bytes:
    hdu = fits.PrimaryHDU(sample.image.astype(float), sample.header)
    hdu.scale("int32", bscale=0.01, bzero=1000.0)
    return as_bytes(hdu)


def _with_blank(sample: Sample) -> bytes:
    image = _own(sample, 60).image
    image[10:12, 10:12] = 0  # stored as -32768
    return changed(Sample(image, sample.header, b""), BLANK=-32768)


def _other_stars(sample: Sample) -> bytes:
    rng = np.random.default_rng(7)
    image = noise(sample)
    y, x = np.indices(image.shape)
    for _ in range(25):
        squared = (y - rng.uniform(0, 320)) ** 2 + (x - rng.uniform(0, 320)) ** 2
        image += np.float32(rng.uniform(500, 20000)) * np.exp(-squared / 6).astype(np.float32)
    return changed(sample, image)


def _long_header(sample: Sample) -> bytes:
    header = sample.header.copy()
    for k in range(10_000):
        header.add_history(f"step {k} of a long reduction")
    return as_bytes(fits.PrimaryHDU(_own(sample, 1).image, header))


def _in_extension(sample: Sample) -> bytes:
    bad = np.zeros(sample.image.shape, np.uint8)
    bad[40:44, 50:60] = 1
    return as_bytes(
        fits.PrimaryHDU(header=fits.Header({"ORIGIN": "an observatory"})),
        fits.ImageHDU(sample.image, sample.header, name="SCI"),
        fits.ImageHDU(bad, name="BPM"),
        fits.ImageHDU(np.sqrt(sample.image.astype(np.float32)), name="ERR"),
    )


def _checksum_wrong(sample: Sample) -> bytes:
    content = bytearray(as_bytes(fits.PrimaryHDU(_own(sample, 2).image, sample.header), checksum=True))
    content[-4000] ^= 1
    return bytes(content)


def _without_wcs(sample: Sample) -> fits.Header:
    header = sample.header.copy()
    for key in _WCS:
        header.remove(key, ignore_missing=True)
    return header


def _wcs(k: int, **cards: Any) -> Any:
    """The frame with a WCS as a CD matrix, some cards of it changed or taken away."""

    def build(sample: Sample) -> bytes:
        header, old = _without_wcs(sample), sample.header
        for i in (1, 2):
            for name in ("CTYPE", "CRVAL", "CRPIX"):
                header[f"{name}{i}"] = old[f"{name}{i}"]
            for j in (1, 2):
                unit = 1.0 if i == j else 0.0
                header[f"CD{i}_{j}"] = old.get(f"PC{i}_{j}", unit) * old.get(f"CDELT{i}", 1.0)
        own = _own(sample, k)
        return changed(Sample(own.image, header, b""), **cards)

    return build


def _moved(function: Any) -> Any:
    """Pixels as a function of the sound ones."""
    return lambda s: changed(s, function(s.image))


def _stars_doubled(image: NDArray[Any]) -> NDArray[Any]:
    return ((image.astype(float) + np.roll(image, (3, 9), (0, 1))) / 2).astype(np.uint16)


def _trailed(image: NDArray[Any]) -> NDArray[Any]:
    return np.mean([np.roll(image.astype(float), k, 1) for k in range(25)], axis=0).astype(np.float32)


def _cosmics_only(sample: Sample) -> bytes:
    rng = np.random.default_rng(6)
    image = noise(sample)
    image[rng.integers(0, 320, 60), rng.integers(0, 320, 60)] += 5000
    return changed(sample, image)


def _zero_border(image: NDArray[Any]) -> NDArray[Any]:
    padded = np.zeros_like(image)
    padded[24:-24, 24:-24] = image[24:-24, 24:-24]
    return padded


def _linked(path: Path, sample: Sample) -> None:
    store = path.parent / "archive"
    store.mkdir(exist_ok=True)
    (store / "linked.dat").write_bytes(_own(sample, 3).whole)
    path.symlink_to(store / "linked.dat")


def _named(name: str, k: int) -> Any:
    """A writer below another file name, which may hold any bytes but a slash."""

    def write(path: Path, sample: Sample) -> None:
        path.write_bytes(_own(sample, k).whole)

    return Kind(name, "imported", None, write, "")


ODD = (
    # ---- containers
    fine("no padding", _unpadded),
    fine("trailing bytes", lambda s: _own(s, 4).whole + b"\0" * 100),
    fine("special records", lambda s: _own(s, 5).whole + b"x" * 2880),
    fine("1 x N x N", lambda s: changed(s, _own(s, 6).image[None])),
    fine("1 x 1 x N x N", lambda s: changed(s, _own(s, 7).image[None, None])),
    fine("fpack rice", lambda s: packed(_own(s, 8)), suffix=".fits.fz"),
    fine("fpack gzip", lambda s: packed(_own(s, 9), compression_type="GZIP_2"), suffix=".fits.fz"),
    fine(
        "fpack hcompress",
        lambda s: packed(_own(s, 10), compression_type="HCOMPRESS_1", tile_shape=(16, 320)),
        suffix=".fz",
    ),
    fine(
        "fpack quantised",
        lambda s: packed(s, s.image.astype(np.float32), quantize_level=16.0),
        suffix=".fits.fz",
    ),
    fine("fpack of one tile", lambda s: packed(_own(s, 11), tile_shape=(320, 320)), suffix=".fits.fz"),
    fine("gzip", lambda s: gzip.compress(_own(s, 12).whole, 1), suffix=".fits.gz"),
    fine("gzip without gz", lambda s: gzip.compress(_own(s, 13).whole, 1)),
    fine(
        "gzip of two members",
        lambda s: gzip.compress(_own(s, 14).whole[:9000]) + gzip.compress(_own(s, 14).whole[9000:]),
    ),
    fine("image in an extension", _in_extension),
    fine(
        "table before the image",
        lambda s: as_bytes(
            fits.PrimaryHDU(),
            fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]),
            fits.ImageHDU(_own(s, 15).image, s.header),
        ),
    ),
    Kind("link", "imported", None, _linked, ".fits"),
    Kind(
        "unreadable extension",
        "imported",
        None,
        file_of(
            lambda s: as_bytes(
                fits.PrimaryHDU(_own(s, 16).image, s.header), fits.ImageHDU(np.ones(5), name="BROKEN")
            ).replace(b"BROKEN", b"BR\xd6KEN")
        ),
        ".fits",
    ),
    # ---- numbers
    fine("int32", lambda s: changed(s, _own(s, 17).image.astype(np.int32))),
    fine("float32", lambda s: changed(s, _own(s, 18).image.astype(np.float32))),
    fine("float64", lambda s: changed(s, _own(s, 19).image.astype(float))),
    fine("BSCALE and BZERO", _scaled),
    fine("BLANK", _with_blank),
    fine("some NaN", lambda s: changed(s, np.where(np.arange(320) < 30, np.nan, s.image.astype(np.float32)))),
    fine("zero border", _moved(_zero_border)),
    fine("all negative", _moved(lambda p: p.astype(np.float32) - 70000)),
    fine("sky subtracted", _moved(lambda p: p.astype(np.float32) - np.float32(np.median(p)))),
    fine("in nanojansky", _moved(lambda p: p.astype(np.float32) * np.float32(1e-6))),
    # ---- headers
    fine("long header", _long_header),
    fine("HIERARCH and CONTINUE", _with(20, **{"HIERARCH ESO TEL NAME": "x", "LONGTEXT": "y" * 300})),
    fine(
        "duplicate keyword",
        lambda s: with_raw_card(_own(s, 21), "EXPTIME2", "30.0").replace(b"EXPTIME2", b"EXPTIME "),
    ),
    fine("card that cannot be parsed", lambda s: with_raw_card(_own(s, 22), "FOO", "1:2-3"), "bad_cards"),
    fine("Latin-1 in a value", lambda s: changed(_own(s, 23), OBSERVER="Jose").replace(b"Jose", b"Jos\xe9")),
    fine("lower-case logical", lambda s: with_raw_card(_own(s, 24), "SHUTTER", "t"), "bad_cards"),
    fine("checksum wrong", _checksum_wrong, "checksum"),
    fine("checksum right", lambda s: as_bytes(fits.PrimaryHDU(_own(s, 25).image, s.header), checksum=True)),
    fine("no filter", _with(26, FILTER=None)),
    fine("filter a number", _with(27, FILTER=3)),
    fine("airmass of 0", _with(28, AIRMASS=0.0)),
    fine("old date", _with(29, MJD__OBS=45000.5)),
    fine("very short exposure", _with(30, EXPTIME=0.001)),
    Kind("bias", "calibration", "bias", file_of(_with(31, IMAGETYP="Bias Frame", EXPTIME=0.0)), ".fits"),
    Kind("flat", "calibration", "flat", file_of(_with(32, IMAGETYP="flat")), ".fits"),
    # ---- WCS: none, good, or so broken that the frame has to be solved
    fine("no WCS", lambda s: changed(Sample(_own(s, 33).image, _without_wcs(s), b""))),
    fine("CD matrix", _wcs(34)),
    fine(
        "SIP",
        _wcs(35, CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, B_ORDER=2, A_2_0=1e-8, B_0_2=1e-8),
    ),
    fine("TPV", _wcs(36, CTYPE1="RA---TPV", CTYPE2="DEC--TPV", PV1_1=1.0, PV2_1=1.0)),
    fine("WCS singular", _wcs(37, CD1_1=0.0, CD1_2=0.0, CD2_1=0.0, CD2_2=0.0), "bad_wcs"),
    fine("WCS unknown projection", _wcs(38, CTYPE1="RA---XYZ", CTYPE2="DEC--XYZ"), "bad_wcs"),
    fine("WCS dec 120", _wcs(39, CRVAL2=120.0), "bad_wcs"),
    fine(
        "WCS SIP order 9999",
        _wcs(40, CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=9999, B_ORDER=2),
        "bad_wcs",
    ),
    fine("WCS spectral", _wcs(41, CTYPE1="WAVE", CTYPE2="LINEAR")),
    fine("WCS CRVAL text", _wcs(42, CRVAL1="05:12:33"), "bad_wcs"),
    fine("WCS CRVAL missing", _wcs(43, CRVAL1=None), "bad_wcs"),
    fine("WCS absurd scale", _wcs(44, CD1_1=-3.0, CD2_2=3.0), "bad_wcs"),
    fine("WCS mirrored", lambda s: changed(s, _own(s, 45).image[:, ::-1])),
    fine("upside down", lambda s: changed(s, _own(s, 46).image[::-1])),
    # ---- names
    _named("UPPER.FITS", 50),
    _named("lower.fit", 51),
    _named("-rf *.fits", 52),
    _named("two\nlines.fits", 53),
    _named("\x1b[31mred.fits", 54),
    _named(os.fsdecode(b"\xff\xfe latin.fits"), 55),
    _named("x" * 240 + ".fits", 56),
    _named("dots...and.more.fits", 57),
    _named("no stem .fits", 58),
    _named("=cmd().fits", 59),
    # ---- skies on which nothing of the field is
    solved_or_not("no source", "unsolved", lambda s: changed(s, noise(s))),
    solved_or_not("only cosmic rays", "unsolved", _cosmics_only),
    solved_or_not("swapped bytes", "unsolved", _moved(lambda p: p.astype(np.uint16).byteswap())),
    solved_or_not("other field", "unsolved", _other_stars),
    solved_or_not(
        "pattern of columns", "finished", lambda s: changed(s, noise(s) + 200 * (np.arange(320) % 7 == 0))
    ),
    solved_or_not(
        "gradient without noise",
        "finished",
        lambda s: changed(s, np.add.outer(np.arange(320.0), np.arange(320.0))),
    ),
    solved_or_not("doubled stars", "finished", _moved(_stars_doubled)),
    solved_or_not("trailed stars", "finished", _moved(_trailed)),
    solved_or_not("wrapped at 16 bits", "finished", _moved(lambda p: (p.astype(int) * 40).astype(np.uint16))),
    solved_or_not(
        "half the frame dark", "finished", _moved(lambda p: np.where(np.arange(320) < 100, p // 8, p))
    ),
    solved_or_not("only 40 x 40", "finished", lambda s: changed(s, s.image[:40, :40])),
    solved_or_not("very narrow", "finished", lambda s: changed(s, s.image[:, :33])),
)
