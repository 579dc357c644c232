"""What a header says: kind of frame and WCS."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lightwatch.errors import FrameError
from lightwatch.structure.frames import ReadLimits, read_frame
from lightwatch.structure.frames_headers import classify_frame, header_wcs, merged_header


def kind(file_name="a.fits", declared=None, **cards):
    return classify_frame(fits.Header(cards), file_name=file_name, declared=declared)


@pytest.mark.parametrize(
    ("expected", "cards"),
    [
        ("bias", {"IMAGETYP": "Bias Frame"}),
        ("bias", {"OBSTYPE": "ZERO"}),
        ("dark", {"IMAGETYP": "DARK"}),
        ("dark", {"IMAGETYP": "Dark Flat"}),
        ("flat", {"OBSTYPE": "SKYFLAT"}),
        ("flat", {"IMAGETYP": "Flat Field"}),
        ("focus", {"OBSTYPE": "FOCUS"}),
        ("science", {"OBSTYPE": "EXPOSE"}),
        ("science", {"IMAGETYP": "Light Frame", "OBJECT": "M 31"}),
        ("flat", {"OBJECT": "dome flat 3"}),
        ("bias", {"OBJECT": "bias"}),
        ("science", {"OBJECT": "something", "EXPTIME": 0.0}),
        ("science", {"OBJECT": "Dark Nebula B33", "EXPTIME": 60.0}),
        ("science", {"OBJECT": "Flaming Star"}),
        ("science", {"FRAME": 12}),
        ("science", {}),
    ],
)
def test_kinds_from_headers(expected, cards):
    found = kind(**cards)
    assert found.kind == expected
    assert 0 < found.confidence <= 1
    assert found.reason


def test_file_name_counts_only_when_nothing_else_speaks():
    assert kind("dark_001.fits").kind == "dark"
    assert kind("MasterFlat-r.fits").kind == "flat"
    assert kind("darkness.fits").kind == "science"
    assert kind("dark_001.fits", OBJECT="M 31").kind == "science"
    assert kind("bias_1.fits", OBSTYPE="OBJECT").kind == "science"


def test_a_dark_turned_science_is_doubted_aloud():
    found = kind(IMAGETYP="Light Frame", OBJECT="dark")
    assert found.kind == "dark"
    assert found.confidence < kind(IMAGETYP="Dark").confidence
    assert "IMAGETYP is Light Frame" in found.reason


def test_what_is_declared_wins():
    assert kind(declared="flat", IMAGETYP="Light").kind == "flat"
    assert kind(declared="science", IMAGETYP="Dark").kind == "science"
    assert kind(declared="science", IMAGETYP="Dark").confidence == 1.0


def wcs_header(**changes):
    header = fits.Header(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRVAL1": 42.2,
            "CRVAL2": 19.2,
            "CRPIX1": 512.0,
            "CRPIX2": 512.0,
            "CD1_1": -6e-5,
            "CD1_2": 0.0,
            "CD2_1": 0.0,
            "CD2_2": 6e-5,
            "EXPTIME": 30.0,
            "OBJECT": "x",
        }
    )
    header.update(changes)
    return header


SIP = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 2,
    "B_ORDER": 2,
    "A_2_0": 1e-6,
    "B_0_2": -2e-6,
    "A_1_1": 3e-7,
}
TPV = {
    "CTYPE1": "RA---TPV",
    "CTYPE2": "DEC--TPV",
    "PV1_0": 1e-4,
    "PV1_1": 1.0,
    "PV1_4": 2e-2,
    "PV2_1": 1.001,
}


@pytest.mark.parametrize("distortion", [{}, SIP, TPV], ids=["TAN", "SIP", "TPV"])
def test_wcs_survives_with_its_distortion(distortion):
    header = wcs_header(**distortion)
    text = header_wcs(header, name="a.fits")
    kept = fits.Header.fromstring(text)
    assert "EXPTIME" not in kept
    x, y = np.random.default_rng(0).uniform(0, 1024, (2, 50))
    expected = WCS(header).all_pix2world(x, y, 0)
    assert np.allclose(WCS(kept).all_pix2world(x, y, 0), expected, rtol=0, atol=1e-12)
    if distortion:
        assert not np.allclose(WCS(wcs_header()).all_pix2world(x, y, 0), expected, rtol=0, atol=1e-8)


def test_third_axis_is_dropped():
    header = wcs_header(CTYPE3="FREQ", CRVAL3=1.0, WCSAXES=3, CRPIX3=1.0)
    assert WCS(fits.Header.fromstring(header_wcs(header, name="x"))).naxis == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"CTYPE1": "FREQ", "CTYPE2": "VELO"},
        {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
        {"CTYPE1": "", "CTYPE2": ""},
        {"CTYPE1": 5},
    ],
)
def test_no_celestial_wcs_is_none(changes):
    assert header_wcs(wcs_header(**changes), name="x") is None
    assert header_wcs(fits.Header(), name="x") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"CD1_1": 0.0, "CD2_2": 0.0},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CRVAL2": 120.0},
        {"CRVAL1": "12:30:00"},
        {"CRPIX1": True},
        {**SIP, "A_ORDER": 9999},
        {**SIP, "B_ORDER": "two"},
        {"CD1_1": 60.0, "CD2_2": 60.0},
        {"CD1_1": 1e-12, "CD2_2": 1e-12},
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--SIN"},
    ],
)
def test_broken_wcs_has_its_reason(changes):
    with pytest.raises(FrameError) as raised:
        header_wcs(wcs_header(**changes), name="a\x1b.fits")
    assert raised.value.reason_code == "bad_wcs"
    assert str(raised.value).isprintable()


def test_missing_reference_value():
    header = wcs_header()
    del header["CRVAL1"]
    with pytest.raises(FrameError, match="missing"):
        header_wcs(header, name="x")


def test_merged_header_keeps_comments_and_drops_structure():
    first = fits.PrimaryHDU(header=fits.Header({"OBJECT": "a", "ONLY": 1})).header
    first["HISTORY"] = "one"
    second = fits.ImageHDU(np.zeros((2, 3), np.uint16), fits.Header({"OBJECT": "b"})).header
    second["HISTORY"] = "two"
    merged, notes = merged_header([first, second], name="x")
    assert (merged["OBJECT"], merged["ONLY"]) == ("b", 1)
    assert list(merged["HISTORY"]) == ["one", "two"]
    assert not {"SIMPLE", "XTENSION", "BITPIX", "BZERO", "NAXIS1"} & set(merged)
    assert notes == ()


@pytest.mark.real_data
def test_wcs_of_real_frames(shared_data):
    limits = ReadLimits(header_bytes=10**7, data_bytes=10**9, inflation=20.0, hdus=1000)
    path = sorted((shared_data / "pds110" / "raw" / "20170816").glob("*.fz"))[3]
    frame = read_frame(path, hdu_data=None, hdu_headers=None, hdu_bad_pixels=None, limits=limits)
    wcs = WCS(fits.Header.fromstring(header_wcs(frame.header, name=path.name)))
    ra, dec = wcs.all_pix2world(760, 510, 0)
    assert (float(ra), float(dec)) == pytest.approx((80.88, -1.17), abs=0.2)
