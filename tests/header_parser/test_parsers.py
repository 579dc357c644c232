"""The parsers delivered with lightwatch, on headers made here and on real ones."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from lightwatch.errors import HeaderError
from lightwatch.structure.frames import ReadLimits, read_frame
from lightwatch.structure.header_parsing import load_header_parser, read_metadata

LIMITS = ReadLimits(header_bytes=10**7, data_bytes=10**9, inflation=20.0, hdus=1000)


def metadata(tmp_path, instrument, header):
    parser = load_header_parser(tmp_path, instrument)
    return read_metadata(parser, header, name="a.fits", time_reference="start", overrides={})


def real_header(path):
    return read_frame(path, hdu_data=None, hdu_headers=None, hdu_bad_pixels=None, limits=LIMITS).header


@pytest.mark.parametrize("instrument", ["generic", "lco", "microobservatory", "omegacam_vst", "simulation"])
def test_an_empty_header_is_quarantined_with_a_reason(tmp_path, instrument):
    with pytest.raises(HeaderError) as raised:
        metadata(tmp_path, instrument, fits.Header())
    assert raised.value.reason_code.startswith("bad_meta:")


def test_simulation(tmp_path):
    header = fits.Header(
        {
            "EXPTIME": 320.0,
            "GAIN": 1.2,
            "RDNOISE": 5.0,
            "SATURATE": 60000.0,
            "FILTER": "r_SDSS",
            "MJD-OBS": 59800.125,
            "OBJECT": "SIMLENS",
        }
    )
    found = metadata(tmp_path, "simulation", header)
    assert (found.exptime_s, found.gain, found.read_noise, found.saturation_adu) == (320.0, 1.2, 5.0, 60000.0)
    assert (found.mjd, found.time_reference, found.filter) == (59800.125, "start", "r_SDSS")


MICRO = {
    "DATE-OBS": "2017-12-19T18:42:12.368-0700",
    "UT-OBS": "2017-12-20T01:42:12.368-0000",
    "MJD-OBS": 58107.071,
    "EXPTIME": 60.0,
    "LONGITUD": 110.88,
    "LATITUDE": 31.68,
    "FILTER": "Clear   ",
    "RA": 31.312099,
    "DEC": 46.769087,
    "IM_SCALE": 5.21,
}


def test_microobservatory_takes_universal_time_and_turns_the_longitude(tmp_path):
    found = metadata(tmp_path, "microobservatory", fits.Header(MICRO))
    assert found.mjd == pytest.approx(Time("2017-12-20T01:42:12.368").mjd, abs=1e-9)
    assert abs(found.mjd - MICRO["MJD-OBS"]) < 0.0006
    assert (found.latitude_deg, found.longitude_deg) == (31.68, -110.88)
    assert found.filter == "Clear"
    assert found.saturation_adu <= 4095


def test_microobservatory_refuses_local_time(tmp_path):
    header = fits.Header({**MICRO, "UT-OBS": MICRO["DATE-OBS"]})
    with pytest.raises(HeaderError, match="not universal time"):
        metadata(tmp_path, "microobservatory", header)


LCO = {
    "EXPTIME": 29.937,
    "GAIN": 1.0,
    "MJD-OBS": 57981.6286403,
    "DATE-OBS": "2017-08-16T15:05:16.234",
    "FILTER": "rp",
    "RDNOISE": 16.4,
    "SATURATE": 153440.0,
    "MAXLIN": 133164.0,
    "SITEID": "ogg",
    "TELESCOP": "0m4-04",
    "INSTRUME": "kb82",
    "AIRMASS": 1.548,
    "RA": "05:23:31.016",
    "DEC": "-01:10:23.83",
    "LATITUDE": 20.7069694,
    "LONGITUD": -156.2575333,
    "HEIGHT": 3037.0,
    "WCSERR": 0,
}


def test_lco(tmp_path):
    found = metadata(tmp_path, "lco", fits.Header(LCO))
    assert found.mjd_mid == pytest.approx(57981.6286403 + 29.937 / 2 / 86400, abs=1e-9)
    assert found.saturation_adu == 133164.0
    assert found.telescope == "ogg 0m4-04"
    assert (found.ra_deg, found.dec_deg) == pytest.approx((80.879233, -1.173286), abs=1e-5)
    assert (found.longitude_deg, found.elevation_m) == (-156.2575333, 3037.0)
    assert found.wcs_ok is True
    assert metadata(tmp_path, "lco", fits.Header({**LCO, "WCSERR": 4})).wcs_ok is False


def test_lco_words_for_unknown(tmp_path):
    header = fits.Header({**LCO, "AIRMASS": "UNKNOWN", "RA": "N/A", "SATURATE": "N/A", "MAXLIN": 0.0})
    found = metadata(tmp_path, "lco", header)
    assert np.isnan([found.airmass, found.ra_deg, found.saturation_adu]).all()


def test_omegacam_takes_electrons_per_adu(tmp_path):
    header = fits.Header({"EXPTIME": 320.0, "MJD-OBS": 59000.0})
    header["HIERARCH ESO DET OUT1 CONAD"] = 2.4
    header["HIERARCH ESO DET OUT1 GAIN"] = 0.42
    header["HIERARCH ESO INS FILT1 NAME"] = "r_SDSS"
    found = metadata(tmp_path, "omegacam_vst", header)
    assert (found.gain, found.filter) == (2.4, "r_SDSS")
    assert found.longitude_deg < 0


@pytest.mark.parametrize(
    ("cards", "mjd", "reference"),
    [
        ({"DATE-OBS": "2020-01-01T12:00:00"}, 58849.5, "start"),
        ({"DATE-OBS": "2020-01-01T12:00:00Z", "MJD-OBS": 58849.0}, 58849.5, "start"),
        ({"DATE-OBS": "2020-01-01", "UT": "12:00:00"}, 58849.5, "start"),
        ({"DATE-OBS": "2020-01-01", "MJD-OBS": 58849.5}, 58849.5, "start"),
        ({"DATE-AVG": "2020-01-01T12:00:00"}, 58849.5, "mid"),
        ({"MJD-MID": 58849.5, "DATE-OBS": "2020-01-01T11:00:00"}, 58849.5, "mid"),
        ({"JD": 2458850.0}, 58849.5, "start"),
        ({"DATE-OBS": "2020-01-01T12:00:37", "TIMESYS": "TAI"}, 58849.5, "start"),
        ({"MJD-OBS": 58849.5 + 37 / 86400, "TIMESYS": "TAI"}, 58849.5, "start"),
        ({"DATE-OBS": "2020-01-01T05:00:00-0700"}, 58849.5, "start"),
    ],
)
def test_generic_understands_common_times(tmp_path, cards, mjd, reference):
    found = metadata(tmp_path, "generic", fits.Header({"EXPTIME": 10.0, "EGAIN": 1.5, **cards}))
    assert found.mjd == pytest.approx(mjd, abs=1e-8)
    assert found.time_reference == reference
    assert found.gain == 1.5


def test_generic_does_not_guess(tmp_path):
    for cards in (
        {"DATE-OBS": "2020-01-01"},
        {"DATE-OBS": "2020-01-01T12:00:00 MST"},
        {"DATE-OBS": "2020-01-01T12:00:00", "TIMESYS": "LOCAL"},
        {"DATE-OBS": "x T y"},
    ):
        with pytest.raises(HeaderError):
            metadata(tmp_path, "generic", fits.Header({"EXPTIME": 10.0, "GAIN": 1.5, **cards}))
    with pytest.raises(HeaderError) as raised:
        metadata(tmp_path, "generic", fits.Header({"EXPTIME": 10.0, "MJD-OBS": 59000.0}))
    assert raised.value.reason_code == "bad_meta:gain"


def test_generic_is_not_fooled_by_the_gain_setting_of_a_cmos_camera(tmp_path):
    cards = {"EXPTIME": 10.0, "MJD-OBS": 59000.0, "GAIN": 100}
    assert metadata(tmp_path, "generic", fits.Header({**cards, "EGAIN": 0.8})).gain == 0.8
    with pytest.raises(HeaderError, match=r"gain='100 \(a setting of the camera\?\)': expected") as raised:
        metadata(tmp_path, "generic", fits.Header(cards))
    assert raised.value.reason_code == "bad_meta:gain"
    parser = load_header_parser(tmp_path, "generic")
    settings = {"name": "a.fits", "time_reference": "start", "overrides": {"gain": 0.9}}
    assert read_metadata(parser, fits.Header(cards), **settings).gain == 0.9


def test_generic_names_the_filter_in_the_beam_of_two_wheels(tmp_path):
    cards = {"EXPTIME": 10.0, "GAIN": 1.5, "MJD-OBS": 59000.0, "FILTER1": "Open", "FILTER2": "V"}
    assert metadata(tmp_path, "generic", fits.Header(cards)).filter == "V"


def test_generic_reads_sexagesimal_and_decimal_positions(tmp_path):
    cards = {"EXPTIME": 10.0, "GAIN": 1.5, "MJD-OBS": 59000.0}
    for ra, dec in (("02:00:00", "-10:30:00"), ("02 00 00", "-10 30 00"), (30.0, -10.5), ("30.0", "-10.5")):
        found = metadata(tmp_path, "generic", fits.Header({**cards, "RA": ra, "DEC": dec}))
        assert (found.ra_deg, found.dec_deg) == pytest.approx((30.0, -10.5))


@pytest.mark.real_data
def test_real_microobservatory_frames(tmp_path, shared_data):
    paths = sorted((shared_data / "hatp32" / "raw").glob("*.FITS"))
    found = [metadata(tmp_path, "microobservatory", real_header(path)) for path in paths[::20]]
    times = [each.mjd for each in found]
    assert 58107.0 < min(times) < max(times) < 58107.5
    assert all(each.exptime_s == 60.0 for each in found)


@pytest.mark.real_data
def test_real_lco_frames(tmp_path, shared_data):
    paths = sorted((shared_data / "pds110" / "raw").rglob("*.fz"))
    found = [metadata(tmp_path, "lco", real_header(path)) for path in paths[::4]]
    assert {each.filter for each in found} == {"rp", "up"}
    assert all(each.wcs_ok == (each.filter == "rp") for each in found)
    assert len({(each.latitude_deg, each.longitude_deg) for each in found}) == 2
