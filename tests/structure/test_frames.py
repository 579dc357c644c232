"""Raw frames: what is read, what is refused, and with which reason."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lightwatch.errors import FrameError
from lightwatch.structure.frames import (
    ReadLimits,
    check_pixels,
    content_hash,
    find_files,
    is_settled,
    read_frame,
    shown,
    trimmed,
)

LIMITS = ReadLimits(header_bytes=10_000_000, data_bytes=4_000_000_000, inflation=20.0, hdus=1000)
PIXELS = {
    "min_side_px": 32,
    "min_good_fraction": 0.6,
    "saturation_adu": 60000.0,
    "max_saturated_fraction": 0.5,
}


def sky(shape=(60, 80), seed=1):
    return np.random.default_rng(seed).normal(500, 20, shape)


def read(path, hdu_data=None, hdu_headers=None, hdu_bad_pixels=None, limits=LIMITS):
    return read_frame(
        path, hdu_data=hdu_data, hdu_headers=hdu_headers, hdu_bad_pixels=hdu_bad_pixels, limits=limits
    )


def read_and_check(path):
    frame = read(path)
    check_pixels(frame.image, frame.good, name=path.name, **PIXELS)


def as_bytes(*hdus):
    out = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(out, output_verify="ignore")
    return out.getvalue()


def plain(data=None, **cards):
    data = sky().astype(np.float32) if data is None else data
    return as_bytes(fits.PrimaryHDU(data, fits.Header(cards)))


def header_only(*cards):
    """A header written by hand, padded, without data."""
    text = "".join(f"{card:<80}" for card in (*cards, "END"))
    return text.encode("latin-1").ljust(-(-len(text) // 2880) * 2880)


def card(key, value):
    return f"{key:<8}= {value:>20}"


def declared(bitpix="16", naxis="2", naxis1="80", naxis2="60", extra=(), data=b"\0" * 11520):
    cards = [card("SIMPLE", "T"), card("BITPIX", bitpix), card("NAXIS", naxis)]
    return header_only(*cards, card("NAXIS1", naxis1), card("NAXIS2", naxis2), *extra) + data


def compressed(data, **settings):
    return as_bytes(fits.PrimaryHDU(), fits.CompImageHDU(data, **settings))


def replaced(content, old, new):
    assert content.count(old) >= 1
    return content.replace(old, new, 1)


PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
BAD = {
    # nothing like FITS
    "empty": (b"", "not_fits"),
    "text": (b"hello, this is no image\n" * 200, "not_fits"),
    "html": (b"<!DOCTYPE html><html><body>Please log in</body></html>", "not_fits"),
    "random": (np.random.default_rng(0).bytes(10000), "not_fits"),
    "png": (PNG, "not_fits"),
    "nul": (b"\0" * 28800, "not_fits"),
    "zip": (b"PK\x03\x04" + b"\0" * 500, "not_fits"),
    "bzip2": (bz2.compress(plain()), "not_fits"),
    "gzipped text": (gzip.compress(b"no image\n" * 1000), "not_fits"),
    # cut short
    "truncated header": (plain()[:1000], "truncated"),
    "truncated data": (plain()[:-8000], "truncated"),
    "truncated data by one pixel": (plain()[: 2880 + 60 * 80 * 4 - 4], "truncated"),
    "truncated gzip": (gzip.compress(plain())[:-5000], "truncated"),
    "damaged gzip": (gzip.compress(plain())[:500] + b"\xff" * 500, "truncated"),
    "truncated fpack": (compressed((sky() * 10).astype(np.int16))[:-6000], "truncated"),
    "truncated second extension": (as_bytes(fits.PrimaryHDU(), fits.ImageHDU(sky()))[:-5000], "truncated"),
    # headers
    "BITPIX 17": (declared(bitpix="17"), "bad_header"),
    "BITPIX text": (declared(bitpix="'sixteen'"), "bad_header"),
    "NAXIS 999": (declared(naxis="999"), "bad_header"),
    "NAXIS text": (declared(naxis="two"), "bad_header"),
    "NAXIS missing": (header_only(card("SIMPLE", "T"), card("BITPIX", "16")), "bad_header"),
    "NAXIS1 missing": (replaced(declared(), b"NAXIS1", b"NAXISX"), "bad_header"),
    "NAXIS1 huge": (declared(naxis1="99999999999"), "too_large"),
    "NAXIS1 beyond 64 bits": (declared(naxis1="9" * 20), "bad_header"),
    "NAXIS1 negative": (declared(naxis1="-80"), "bad_header"),
    "PCOUNT negative": (declared(extra=[card("PCOUNT", "-5")]), "bad_header"),
    "no END": (replaced(plain(), b"END     ", b"        "), "bad_header"),
    "keyword not ASCII": (replaced(plain(FOO=1), b"FOO     ", b"F\xd6\xd6     "), "bad_header"),
    "BZERO text": (declared(extra=[card("BZERO", "'zero'")]), "bad_header"),
    # shapes
    "no data": (as_bytes(fits.PrimaryHDU()), "bad_shape"),
    "one axis": (plain(np.zeros(100, np.float32)), "bad_shape"),
    "cube": (plain(np.zeros((3, 40, 40), np.float32)), "bad_shape"),
    "axis of length zero": (declared(naxis2="0", data=b""), "bad_shape"),
    "table only": (
        as_bytes(fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])),
        "bad_shape",
    ),
    "3 x 3": (plain(sky((3, 3))), "bad_shape"),
    "one row": (plain(sky((1, 500))), "bad_shape"),
    # pixels
    "all NaN": (plain(np.full((60, 80), np.nan)), "bad_pixels:not_finite"),
    "half -Inf": (plain(np.where(np.arange(80) < 40, -np.inf, sky())), "bad_pixels:not_finite"),
    "all zero": (plain(np.zeros((60, 80), np.int16)), "bad_pixels:zero"),
    "constant": (plain(np.full((60, 80), 7.0)), "bad_pixels:constant"),
    "saturated": (plain(sky() + 65000), "bad_pixels:saturated"),
    "BSCALE 0": (declared(extra=[card("BSCALE", "0.0")]), "bad_pixels:scale"),
    "beyond float32": (plain(sky() * 1e300), "bad_pixels:not_finite"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_frames_are_refused_with_their_reason(tmp_path, kind):
    content, code = BAD[kind]
    path = tmp_path / "frame.fits"
    path.write_bytes(content)
    with pytest.raises(FrameError) as raised:
        read_and_check(path)
    assert raised.value.reason_code == code
    message = str(raised.value)
    assert message.startswith("frame.fits: ")
    assert message.isprintable()
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.reason_code, str(again)) == (code, message)


@pytest.mark.parametrize("seed", range(60))
def test_randomly_damaged_files_are_read_or_refused(tmp_path, seed):
    """Whatever the damage, a FrameError or an array; never another exception."""
    rng = np.random.default_rng(seed)
    makers = (plain, lambda: compressed((sky() * 10).astype(np.int16)), lambda: gzip.compress(plain()))
    content = bytearray(makers[seed % 3]())
    reach = len(content) if seed % 2 else 6000  # every other time in the headers
    for position in rng.integers(0, min(reach, len(content)), 5):
        content[position] = rng.integers(256)
    path = tmp_path / "frame.fits"
    path.write_bytes(content)
    with contextlib.suppress(FrameError):
        assert read(path).image.ndim == 2


def test_limits_are_those_given(tmp_path):
    path = tmp_path / "frame.fits"
    path.write_bytes(plain())
    tight = ReadLimits(header_bytes=10_000_000, data_bytes=60 * 80 * 4 - 1, inflation=20.0, hdus=1000)
    with pytest.raises(FrameError, match="19200 bytes, 19199 are allowed"):
        read(path, limits=tight)


# ------------------------------------------------------------------ legal, if odd


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]
)
@pytest.mark.parametrize("pack", ["plain", "gzip", "fpack"])
def test_every_number_type_is_read_exactly(tmp_path, dtype, pack):
    data = np.clip(sky() * 0.4, 0, 250).astype(dtype)
    if pack == "fpack":
        settings = (
            {} if np.dtype(dtype).kind in "iu" else {"quantize_level": 0.0, "compression_type": "GZIP_1"}
        )
        content = compressed(data, **settings)
    else:
        content = plain(data)
    path = tmp_path / "frame.whatever"
    path.write_bytes(gzip.compress(content) if pack == "gzip" else content)
    frame = read(path)
    assert frame.image.dtype == np.float32
    assert frame.image.flags.c_contiguous
    assert frame.image.flags.writeable
    assert np.array_equal(frame.image, data.astype(np.float32))
    assert frame.good.all()
    assert frame.hdu_index == (1 if pack == "fpack" else 0)
    if np.dtype(dtype).kind in "iu":
        assert frame.ceiling_adu == np.iinfo(dtype).max
    else:
        assert np.isnan(frame.ceiling_adu)


def test_scaled_integers_and_blank(tmp_path):
    raw = np.arange(60 * 80, dtype=np.int16).reshape(60, 80)
    hdu = fits.PrimaryHDU(raw)
    content = as_bytes(hdu)
    cards = b"".join(
        f"{card(key, value):<80}".encode()
        for key, value in (("BSCALE", "0.5"), ("BZERO", "100.0"), ("BLANK", "7"))
    )
    content = replaced(content, b"END".ljust(80), cards + b"END".ljust(80))
    content = content[:2880] + content[2880 + 240 :] if len(content) % 2880 else content
    path = tmp_path / "frame.fits"
    path.write_bytes(content)
    frame = read(path)
    expected = raw * 0.5 + 100.0
    assert np.isnan(frame.image[0, 7])
    assert not frame.good[0, 7]
    assert np.count_nonzero(~frame.good) == 1
    assert np.array_equal(frame.image[frame.good], expected[frame.good].astype(np.float32))
    assert frame.ceiling_adu == 32767 * 0.5 + 100.0


def test_quantised_floats_are_read(tmp_path):
    path = tmp_path / "frame.fits.fz"
    path.write_bytes(compressed(sky().astype(np.float32), quantize_level=16.0))
    frame = read(path)
    assert np.std(frame.image - sky()) < 2.0


def test_odd_but_legal_files_are_accepted(tmp_path):
    image = sky().astype(np.float32)
    odd = {
        "no padding": plain()[: 2880 + 60 * 80 * 4],
        "trailing junk": plain() + b"\0" * 100,
        "special records": plain() + b"x" * 2880,
        "1 x N x N": plain(image[None]),
        "1 x 1 x N x N": plain(image[None, None]),
        "unparsable card": replaced(plain(FOO=12345), b"12345", b"1:2-3"),
        "latin-1 in a value": replaced(plain(OBSERVER="Jose"), b"Jose", b"Jos\xe9"),
        "image in an extension": as_bytes(fits.PrimaryHDU(), fits.ImageHDU(image)),
        "table before image": as_bytes(
            fits.PrimaryHDU(),
            fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]),
            fits.ImageHDU(image),
        ),
        "long comments": as_bytes(fits.PrimaryHDU(image, fits.Header([("COMMENT", "x" * 5000)]))),
    }
    for kind, content in odd.items():
        path = tmp_path / "odd name \udcff (1).fits"
        path.write_bytes(content)
        frame = read(path)
        assert np.array_equal(frame.image, image), kind
        assert bool(frame.notes) == (kind == "unparsable card"), kind


def lco_like(tmp_path, with_map=True):
    science = fits.ImageHDU(
        sky().astype(np.float32), fits.Header({"EXPTIME": 30.0, "OBJECT": "inner"}), name="SCI"
    )
    bad = np.zeros((60, 80), np.uint8)
    bad[5, 6] = 3
    preview = fits.ImageHDU(sky((10, 10), seed=9).astype(np.float32), name="PREVIEW")
    parts = [fits.PrimaryHDU(header=fits.Header({"OBJECT": "outer", "TELESCOP": "T"})), preview, science]
    if with_map:
        parts.append(fits.ImageHDU(bad, name="BPM"))
    path = tmp_path / "lco.fits"
    fits.HDUList(parts).writeto(path)
    return path


def test_science_extension_headers_and_bad_pixel_map(tmp_path):
    path = lco_like(tmp_path)
    frame = read(path, hdu_bad_pixels="auto")
    assert frame.hdu_index == 2
    assert (frame.header["OBJECT"], frame.header["TELESCOP"]) == ("inner", "T")
    assert (frame.header["NAXIS1"], frame.header["NAXIS2"]) == (80, 60)
    assert frame.has_bad_pixel_map
    assert np.argwhere(~frame.good).tolist() == [[5, 6]]
    assert read(path, hdu_headers=[2, 0]).header["OBJECT"] == "outer"
    assert read(path).good.all()
    assert read(path, hdu_data="preview").image.shape == (10, 10)
    assert read(path, hdu_data=1).image.shape == (10, 10)
    with pytest.raises(FrameError, match="different shapes"):
        read(path, hdu_data=1, hdu_bad_pixels="BPM")
    for wrong in (7, "NOPE", 0):
        with pytest.raises(FrameError) as raised:
            read(path, hdu_data=wrong)
        assert raised.value.reason_code == "bad_shape"


def test_missing_bad_pixel_map(tmp_path):
    path = lco_like(tmp_path, with_map=False)
    assert not read(path, hdu_bad_pixels="auto").has_bad_pixel_map
    with pytest.raises(FrameError, match="no HDU BPM"):
        read(path, hdu_bad_pixels="BPM")


def test_check_pixels_passes_a_frame_with_flaws(tmp_path):
    image = sky().astype(np.float32)
    image[:10] = np.nan
    image[30:33, 30:33] = 65000
    check_pixels(image, np.isfinite(image), name="x", **PIXELS)
    check_pixels(image, np.isfinite(image), name="x", **{**PIXELS, "saturation_adu": np.nan})
    masked = np.zeros(image.shape, bool)
    with pytest.raises(FrameError) as raised:
        check_pixels(sky().astype(np.float32), masked, name="x", **PIXELS)
    assert raised.value.reason_code == "bad_pixels:masked"


def test_trimming_moves_the_reference_pixel(tmp_path):
    path = tmp_path / "frame.fits"
    path.write_bytes(plain(CRPIX1=40.5, CRPIX2=30.5))
    frame = read(path)
    cut = trimmed(frame, vertical_px=3, horizontal_px=5)
    assert cut.image.shape == cut.good.shape == (54, 70)
    assert np.array_equal(cut.image, frame.image[3:-3, 5:-5])
    assert (cut.header["CRPIX1"], cut.header["CRPIX2"]) == (35.5, 27.5)
    assert (cut.header["NAXIS1"], frame.header["CRPIX1"]) == (70, 40.5)
    assert trimmed(frame, vertical_px=0, horizontal_px=0) is frame
    with pytest.raises(FrameError):
        trimmed(frame, vertical_px=30, horizontal_px=0)


# ------------------------------------------------------------------ discovery


def search(
    *raw_dirs, recursive=True, follow_links=False, patterns=("*.fits*", "*.fit", "*.fts", "*.fz", "*.gz")
):
    return find_files(raw_dirs, patterns, recursive=recursive, follow_links=follow_links)


def test_several_directories_any_case_and_odd_names(tmp_path):
    names = ["a/x.fits", "a/x.FITS.fz", "b/x.fits", "b/deep/er/y.FIT", "b/notes.txt", "b/-rf *\n.fits"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"1234")
    odd = os.path.join(os.fsencode(tmp_path), b"b", b"\xff\xfe.fits")
    Path(os.fsdecode(odd)).write_bytes(b"12")
    found = search(tmp_path / "a", tmp_path / "b")
    assert len(found.files) == 6
    assert found.skipped == ()
    assert [each.path for each in found.files] == sorted(each.path for each in found.files)
    assert {each.size for each in found.files} == {2, 4}
    assert len(search(tmp_path / "b", recursive=False).files) == 3
    assert search(tmp_path / "b", tmp_path / "a") == found
    assert len(search(tmp_path, tmp_path / "a").files) == 6  # one directory inside another: once each


def test_what_is_no_regular_file_is_skipped_and_told(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    (tmp_path / "outside.fits").write_bytes(b"1")
    (raw / "good.fits").write_bytes(b"1")
    (raw / "folder.fits").mkdir()
    (raw / "loop.fits").symlink_to(raw / "loop.fits")
    (raw / "dangling.fits").symlink_to(raw / "gone")
    (raw / "out.fits").symlink_to(tmp_path / "outside.fits")
    (raw / "inner.fits").symlink_to(raw / "good.fits")
    (raw / "back").symlink_to(raw)
    os.mkfifo(raw / "pipe.fits")
    found = search(raw, tmp_path / "missing")
    assert [each.path.name for each in found.files] == ["good.fits", "inner.fits"]
    told = {path.name: why for path, why in found.skipped}
    assert set(told) == {"loop.fits", "dangling.fits", "out.fits", "pipe.fits", "missing"}
    assert told["pipe.fits"] == "not a regular file"
    assert "leads out" in told["out.fits"]
    followed = search(raw, follow_links=True)
    assert [each.path.name for each in followed.files] == ["good.fits", "inner.fits", "out.fits"]


def test_fifo_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    for function in (read, content_hash):
        with pytest.raises(FrameError) as raised:
            function(tmp_path / "pipe.fits")
        assert raised.value.reason_code == "not_regular"


def test_content_hash_is_of_the_bytes_alone(tmp_path):
    content = np.random.default_rng(0).bytes(3_000_000)
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(content)
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b")
    (tmp_path / "b").write_bytes(content[:-1] + b"x")
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")


def test_a_file_still_written_is_not_settled(tmp_path):
    path = tmp_path / "x.fits"
    path.write_bytes(b"1234")
    found = search(tmp_path).files[0]
    later = found.mtime_ns + 61 * 10**9
    assert is_settled(found, now_ns=later, min_age_seconds=60.0)
    assert not is_settled(found, now_ns=found.mtime_ns + 59 * 10**9, min_age_seconds=60.0)
    with path.open("ab") as file:
        file.write(b"5")
    assert not is_settled(found, now_ns=later, min_age_seconds=60.0)
    path.unlink()
    assert not is_settled(found, now_ns=later, min_age_seconds=60.0)


@pytest.mark.parametrize(
    "name", ["\x1b[31mred.fits", "two\nlines.fits", "\udcff.fits", "‮stif.fits", "x" * 255]
)
def test_hostile_names_are_shown_on_one_plain_line(name):
    text = shown(Path(name))
    assert text.isprintable()
    assert len(text) <= 200


@pytest.mark.real_data
def test_real_frames_are_read(shared_data):
    lco = next((shared_data / "pds110" / "raw").rglob("*-e91.fits.fz"))
    frame = read(lco, hdu_bad_pixels="auto")
    assert frame.image.shape == (1020, 1523)
    assert (frame.hdu_index, frame.has_bad_pixel_map) == (1, True)
    assert 0 < np.count_nonzero(~frame.good) < 2000
    check_pixels(frame.image, frame.good, name=lco.name, **PIXELS)
    micro = next((shared_data / "hatp32" / "raw").glob("*.FITS"))
    frame = read(micro)
    assert frame.image.shape == (500, 650)
    assert 200 < np.median(frame.image) < 500
