"""Headers as cameras and observatories write them, and what must be read from them.

Each dialect: cards (keyword, value, comment), written from the public descriptions of the instruments, cut down to
what matters here. The exposure of all of them begins at ``START`` and lasts ``EXPOSED`` seconds unless the dialect
says otherwise. ``gain`` NaN: no keyword tells it, and init must say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from typing import Any

from astropy.io import fits

START = "2024-03-05T01:02:03.500"
START_MJD = 60374.043096064815
EXPOSED = 60.0
_DAY_S = 86400.0
_MID = "2024-03-05T01:02:33.500"
_END = "2024-03-05T01:03:03.500"
_JD = START_MJD + 2400000.5
_MID_MJD = START_MJD + 30 / _DAY_S


@dataclass(frozen=True)
class Dialect:
    """Cards, and the truth: gain (electron/ADU), filter, and what else is told."""

    cards: tuple[tuple[Any, ...], ...]
    gain: float = nan
    filter: str | None = None
    exptime: float = EXPOSED
    mjd_mid: float = START_MJD + EXPOSED / 2 / _DAY_S
    within_s: float = 0.002  # how precisely the header tells the time
    others: dict[str, float] = field(default_factory=dict)  # further metadata by field name
    instrument: str | None = None  # shipped parser
    says: tuple[str, ...] = ()  # words that the written parser or the remarks must hold

    def header(self) -> fits.Header:
        """The header."""
        return fits.Header([fits.Card(*card) for card in self.cards])


def _eso(*cards: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    return (
        ("ORIGIN", "ESO-PARANAL"), ("DATE-OBS", START), ("MJD-OBS", 60374.04309606),
        ("UTC", 3723.5, "[s] 01:02:03.500"),
        ("LST", 20000.0, "[s] 05:33:20"), ("RA", 150.25, "[deg] 10:01:00.0 RA (J2000) pointing"), ("DEC", -30.5),
        ("HIERARCH ESO TEL GEOELEV", 2635.0, "[m] Elevation above sea level"),
        ("HIERARCH ESO TEL GEOLAT", -24.6253, "[deg] Tel geo latitute (+=North)"),
        ("HIERARCH ESO TEL GEOLON", -70.4032, "[deg] Tel geo longitude (+=East)"), *cards,
    )  # fmt: skip


DIALECTS: dict[str, Dialect] = {
    "eso_fors2": Dialect(
        _eso(
            ("INSTRUME", "FORS2"), ("EXPTIME", 60.0), ("HIERARCH ESO DET OUT1 CONAD", 2.38, "[e/ADU] Conversion"),
            ("HIERARCH ESO DET OUT1 GAIN", 0.42, "[ADU/e] Gain"),
            ("HIERARCH ESO DET OUT1 RON", 3.15, "[e] Readout noise"),
            ("HIERARCH ESO INS FILT1 NAME", "R_SPECIAL"), ("HIERARCH ESO INS FILT2 NAME", "free"),
        ),
        gain=2.38, filter="R_SPECIAL", others={"read_noise": 3.15, "latitude_deg": -24.6253, "longitude_deg": -70.4032},
    ),
    "eso_gain_only": Dialect(
        _eso(("INSTRUME", "WFI"), ("EXPTIME", 60.0),
        ("HIERARCH ESO DET OUT1 GAIN", 0.5, "[ADU/e] Gain in ADU per electron")),
        gain=2.0,
    ),
    "eso_hawki": Dialect(
        _eso(
            ("INSTRUME", "HAWKI"), ("EXPTIME", 10.0, "[s] integration time"), ("HIERARCH ESO DET DIT", 10.0),
            ("HIERARCH ESO DET NDIT", 6), ("HIERARCH ESO DET CHIP1 CONAD", 1.7, "[e/ADU] Conversion"),
            ("HIERARCH ESO INS FILT1 NAME", "Ks"), ("HIERARCH ESO INS FILT2 NAME", "OPEN"),
        ),
        gain=1.7 * 6, filter="Ks", exptime=60.0,
    ),
    "vst_omegacam": Dialect(
        _eso(("INSTRUME", "OMEGACAM"), ("EXPTIME", 60.0), ("HIERARCH ESO DET OUT1 CONAD", 2.4),
             ("HIERARCH ESO INS FILT1 NAME", "r_SDSS")),
        gain=2.4, filter="r_SDSS", instrument="omegacam_vst", within_s=0.01,
    ),
    "lco_sinistro": Dialect(
        (
            ("ORIGIN", "LCOGT"), ("SITEID", "lsc"), ("TELESCOP", "1m0-05"), ("INSTRUME", "fa15"), ("DATE-OBS", START),
            ("MJD-OBS", 60374.0430960), ("EXPTIME", 60.0, "[s] Exposure length"), ("FILTER", "rp"), ("GAIN", 1.0),
            ("RDNOISE", 8.0), ("LATITUDE", -30.1673833), ("LONGITUD", -70.8047889), ("HEIGHT", 2198.0), ("WCSERR", 0),
        ),
        gain=1.0, filter="rp", instrument="lco", within_s=0.01, others={"longitude_deg": -70.8047889},
    ),
    "lco_raw_elsewhere": Dialect(
        (
            ("DATE-OBS", START, "[UTC] Start date and time of the observation"), ("TIMESYS", "UTC"),
            ("UTSTART", "01:02:03.500", "[UTC] The start time of the observation"), ("MJD-OBS", 60374.0430961),
            ("EXPTIME", 60.0), ("FILTER1", "air"), ("FILTER2", "V"), ("FILTER3", "air"),
            ("GAIN", 2.3, "[electrons/count] Pixel gain"), ("SATURATE", 46000.0, "[ADU] Saturation level used"),
        ),
        gain=2.3, filter="V", others={"saturation_adu": 46000.0},
    ),
    "ztf": Dialect(
        (
            ("TELESCOP", "Palomar 48-inch"), ("INSTRUME", "ZTF/MOSAIC"), ("EXPTIME", 60.0), ("FILTER", "ZTF r"),
            ("UTC-OBS", START, "UTC of shutter open"), ("OBSMJD", 60374.0430961), ("OBSJD", _JD), ("HJD", _JD + 0.004),
            ("GAIN", 5.8, "[e-/ADU] Gain of detector amplifier"), ("READNOI", 9.0),
            ("SATURATE", 60000.0, "Saturation [DN]"),
            ("OBSLAT", 33.3483717, "[deg] Telescope latitude (North)"),
            ("OBSLON", -116.85972959, "[deg] longitude (West)"),
        ),
        gain=5.8, filter="ZTF r", within_s=0.01, others={"longitude_deg": -116.85972959},
    ),
    "maxim_dl_sbig": Dialect(
        (
            ("SWCREATE", "MaxIm DL Version 6.20"), ("INSTRUME", "SBIG STXL-6303"),
            ("DATE-OBS", "2024-03-05T01:02:03.50"),
            ("EXPTIME", 60.0, "Exposure time in seconds"), ("EXPOSURE", 60.0),
            ("EGAIN", 1.47, "Electronic gain in e-/ADU"),
            ("XPIXSZ", 9.0, "Pixel Width in microns (after binning)"), ("FOCALLEN", 2400.0), ("XBINNING", 1),
            ("FILTER", "Rc"), ("JD", 2460374.5430961, "Julian Date at time of exposure"), ("OBJCTRA", "10 01 00"),
            ("OBJCTDEC", "-30 30 00"), ("SITELAT", "-30 31 34"), ("SITELONG", "-70 51 12"),
        ),
        gain=1.47, filter="Rc", within_s=0.02,
        others={"latitude_deg": -30.526, "longitude_deg": -70.8533, "ra_deg": 150.25},
    ),
    "ccdsoft_ut_apart": Dialect(
        (("DATE-OBS", "2024-03-05"), ("TIME-OBS", "01:02:03.500", "UTC start"), ("EXPTIME", 60.0), ("FILTER", "V"),
         ("EGAIN", 2.5)),
        gain=2.5, filter="V",
    ),
    "nina_asi": Dialect(
        (
            ("SWCREATE", "N.I.N.A. 3.1"), ("INSTRUME", "ZWO ASI2600MM Pro"), ("DATE-LOC", "2024-03-05T12:02:03.500"),
            ("DATE-OBS", START, "Time of observation (UTC)"), ("DATE-AVG", _MID, "Averaged midpoint time (UTC)"),
            ("EXPTIME", 60.0, "[s] Exposure duration"), ("GAIN", 100, "Sensor gain"),
            ("OFFSET", 50, "Sensor gain offset"),
            ("EGAIN", 0.246, "[e-/ADU] Electrons per A/D unit"), ("XPIXSZ", 3.76, "[um] Pixel X axis size"),
            ("FOCALLEN", 800, "[mm] Focal length"), ("FILTER", "L"),
            ("SITELAT", 51.5, "[deg] Observation site latitude"),
            ("SITELONG", -0.1, "[deg] Observation site longitude"), ("SITEELEV", 30, "[m] Observation site elevation"),
        ),
        gain=0.246, filter="L", others={"elevation_m": 30.0},
    ),
    "nina_without_egain": Dialect(
        (("INSTRUME", "QHY600M"), ("DATE-OBS", START), ("EXPTIME", 60.0), ("GAIN", 26, "Sensor gain"), ("FILTER", "R")),
        filter="R", says=("setting",),
    ),
    "sharpcap": Dialect(
        (
            ("SWCREATE", "SharpCap v4.1, 64 bit"), ("INSTRUME", "ZWO ASI533MM"),
            ("DATE-OBS", "2024-03-05T01:02:03.5000000"),
            ("DATE-END", "2024-03-05T01:03:03.6100000"), ("EXPTIME", 60.0, "seconds"), ("GAIN", 10.0), ("EGAIN", 0.9),
        ),
        gain=0.9,
    ),
    "asicap_microseconds": Dialect(
        (("CREATOR", "ZWO ASICAP"), ("INSTRUME", "ZWO ASI178MM"), ("DATE-OBS", START), ("EXPOINUS", 60000000),
         ("GAIN", 200)),
    ),
    "milliseconds": Dialect(
        (("DATE-OBS", START), ("EXPOSURE", 60000.0, "exposure time in ms"), ("GAIN", 1.3, "e-/ADU"), ("FILTER", "I")),
        gain=1.3, filter="I",
    ),
    "prism": Dialect(
        (
            ("SWCREATE", "PRISM Version 10"), ("DATE-OBS", START, "UTC start of exposure"), ("UT-START", 3723.5),
            ("EXPTIME", "60.000", "Exposure time in seconds"), ("GAINADU", 1.0), ("FILTERS", "Clear"),
            ("GAIN", 1.1, "Gain in e-/ADU"), ("GEODLAT", 0.0), ("OBSLAT", "+48:51:24"), ("OBSLONG", "-02:21:03"),
        ),
        gain=1.1, filter="Clear",
    ),
    "astroimagej": Dialect(
        (
            ("DATE-OBS", "2024-03-05T01:02:03"), ("EXPTIME", 60.0),
            ("JD_SOBS", _JD, "Julian Date at start of exposure"),
            ("JD_UTC", _JD + 30 / _DAY_S, "Julian Date (UTC) at mid-exposure"), ("HJD_UTC", _JD + 0.0041),
            ("BJD_TDB", _JD + 0.0051, "Barycentric Julian Date at mid-exposure"), ("GAIN", 1.6), ("FILTER", "ip"),
        ),
        gain=1.6, filter="ip",
    ),
    "tess_like": Dialect(
        (
            ("TELESCOP", "TESS"), ("TIMESYS", "TDB"), ("DATE-OBS", START + "Z", "TSTART as UTC calendar date"),
            ("DATE-END", _END + "Z"), ("EXPOSURE", 60 / 86400, "[d] time on source"), ("BUNIT", "electrons/s"),
        ),
        gain=60.0,
    ),
    "rate_images": Dialect(
        (("DATE-OBS", START), ("EXPTIME", 60.0), ("BUNIT", "ADU/s"), ("GAIN", 1.5, "e-/ADU"), ("FILTER", "V")),
        gain=90.0, filter="V",
    ),
    "smarts_andicam": Dialect(
        (
            ("OBSERVAT", "CTIO"), ("DATE-OBS", "2024-03-05", "UT date of observation (yyyy-mm-dd)"),
            ("TIME-OBS", "01:02:03.500", "UT at start of observation"), ("JD", 2460374.54310, "Julian date"),
            ("EXPTIME", 60.0), ("CCDFLTID", "V"), ("GAIN", 2.3, "e-/ADU"), ("RDNOISE", 6.5), ("SECPIX", 0.371),
        ),
        gain=2.3, filter="V", others={"pixel_scale_arcsec": 0.371},
    ),
    "not_alfosc": Dialect(
        (
            ("TELESCOP", "NOT"), ("INSTRUME", "ALFOSC_FASU"), ("DATE-OBS", START, "Date and UT of start"),
            ("DATE-AVG", _MID), ("EXPTIME", 60.0), ("ALFLTNM", "Bes V 550_80"), ("FAFLTNM", "Open"),
            ("FBFLTNM", "Open"),
            ("GAIN", 0.18, "e-/ADU"), ("RDNOISE", 4.3), ("OBSGEO-L", -17.885), ("OBSGEO-B", 28.757),
            ("OBSGEO-H", 2382.0),
        ),
        gain=0.18, filter="Bes V 550_80", others={"longitude_deg": -17.885, "elevation_m": 2382.0},
    ),
    "lt_ioo": Dialect(
        (
            ("TELESCOP", "Liverpool Telescope"), ("INSTRUME", "IO:O"), ("DATE-OBS", START), ("UTSTART", "01:02:03.500"),
            ("MJD", 60374.043096), ("EXPTIME", 60.0, "[Seconds] Exposure length"), ("FILTER1", "SDSS-R"),
            ("FILTER2", "clear"), ("FILTER3", "clear"), ("GAIN", 1.62, "[electrons/count]"), ("READNOIS", 8.0),
            ("LATITUDE", 28.7624), ("LONGITUD", -17.8792, "[degrees West]"), ("HEIGHT", 2363.0),
        ),
        gain=1.62, filter="SDSS-R", says=("east positive is assumed; check it",), others={"longitude_deg": -17.8792},
    ),
    "wircam": Dialect(
        (
            ("TELESCOP", "CFHT 3.6m"), ("DATE-OBS", "2024-03-05"), ("UTC-OBS", "01:02:03.50"),
            ("MJD-OBS", 60374.0430961),
            ("EXPTIME", 60.0), ("FILTER", "Ks"), ("GAIN", 3.8, "Amplifier gain (electron/ADU)"), ("RDNOISE", 30.0),
            ("LATITUDE", 19.8267), ("LONGITUD", 155.4717, "Telescope longitude (degrees west)"),
        ),
        gain=3.8, filter="Ks", within_s=0.02, others={"longitude_deg": -155.4717}, says=("west positive",),
    ),
    "decam": Dialect(
        (
            ("INSTRUME", "DECam"), ("TIMESYS", "UTC"), ("DATE-OBS", "2024-03-05T01:02:03.500000"),
            ("TIME-OBS", "01:02:03.500000"),
            ("MJD-OBS", 60374.04309606), ("EXPTIME", 60, "[s] Requested exposure duration"), ("DARKTIME", 61.0),
            ("FILTER", "r DECam SDSS c0002 6415.0 1480.0"), ("GAINA", 4.1, "[e/adu] Gain for amp A"), ("RDNOISEA", 6.5),
            ("OBS-LAT", -30.16606, "[deg] Observatory latitude"),
            ("OBS-LONG", 70.81489, "[deg] Observatory west longitude"),
            ("OBS-ELEV", 2215.0),
        ),
        gain=4.1, filter="r DECam SDSS c0002 6415.0 1480.0", others={"longitude_deg": -70.81489},
    ),
    "keck_nirc2": Dialect(
        (
            ("TELESCOP", "Keck II"), ("DATE-OBS", "2024-03-05"), ("UTC", "01:02:03.50"), ("MJD-OBS", 60374.0430961),
            ("ITIME", 10.0, "Integration time per coadd"), ("COADDS", 6), ("FWINAME", "PK50_1.5"), ("FWONAME", "Kp"),
            ("GAIN", 4.0, "e-/DN"),
        ),
        gain=4.0, filter="PK50_1.5+Kp", within_s=0.02,
    ),
    "dk154": Dialect(
        (
            ("TELESCOP", "1.54m Danish"), ("DATE-OBS", START), ("JD", _JD), ("EXPTIME", 60.0), ("FILTA", "Open"),
            ("FILTB", "R"), ("GAIN", 0.24, "ADU/e-"), ("LATITUDE", -29.2567), ("LONGITUD", -70.7387),
        ),
        gain=1 / 0.24, says=("turned over",),
    ),
    "robonet_mid_in_comment": Dialect(
        (("DATE-OBS", _MID, "UTC at mid exposure"), ("EXPTIME", 60.0), ("FILTER", "SDSS-I"), ("GAIN", 1.8)),
        gain=1.8, filter="SDSS-I",
    ),
    "trappist": Dialect(
        (
            ("TELESCOP", "TRAPPIST"), ("DATE-OBS", "2024-03-05T01:02:03.50"), ("JD", 2460374.54309606),
            ("HJD-OBS", _JD + 0.003),
            ("LST", "08 05 00"), ("EXPTIME", 60.0), ("FILTER", "I+z"), ("GAIN", 1.1, "electrons per ADU"),
            ("PIXSIZE1", 15.0),
        ),
        gain=1.1, filter="I+z",
    ),
    "euler": Dialect(
        (
            ("INSTRUME", "EULERCAM"), ("DATE-OBS", START), ("MJD-OBS", 60374.04309606), ("EXPTIME", 60.0),
            ("FILTER", "RG"),
            ("OGE DET OUT RON", 5.0), ("GAIN", 2.7, "Conversion from ADU to electrons (e-/ADU)"),
        ),
        gain=2.7, filter="RG",
    ),
    "next_tai": Dialect(
        (
            ("TIMESYS", "TAI"), ("DATE-OBS", "2024-03-05T01:02:40.500"), ("MJD-OBS", START_MJD + 37 / _DAY_S),
            ("DATE-AVG", "2024-03-05T01:03:10.500"), ("EXPTIME", 60.0), ("FILTER", "g"), ("GAIN", 1.5),
        ),
        gain=1.5, filter="g",
    ),
    "tai_unsaid": Dialect(
        (("DATE-OBS", "2024-03-05T01:02:40.500", "TAI"), ("UTC-OBS", START), ("MJD-OBS", START_MJD), ("EXPTIME", 60.0),
         ("FILTER", "g"), ("GAIN", 1.5)),
        gain=1.5, filter="g", says=("TAI is 37 s",),
    ),
    "microobservatory": Dialect(
        (
            ("DATE-OBS", "2024-03-04T18:02:03.500-0700", "Start date & time of observation, LT"),
            ("UT-OBS", "2024-03-05T01:02:03.500-0000"), ("MJD-OBS", 60374.043), ("EXPTIME", 60.0), ("FILTER", "Clear"),
            ("CREATOR", "MicroObservatory2014-05-23"), ("LATITUDE", 31.68), ("LONGITUD", 110.88),
        ),
        gain=11.0, filter="Clear", instrument="microobservatory", others={"longitude_deg": -110.88},
    ),
    "coarse_mjd_local_date": Dialect(
        (
            ("DATE-OBS", "2024-03-04T18:02:03.500", "local time"), ("MJD-OBS", 60374.043), ("EXPTIME", 60.0),
            ("FILTER", "V"), ("GAIN", 1.5),
        ),
        gain=1.5, filter="V", within_s=43.3, says=("steps of 86 s",),
    ),
    "end_of_exposure": Dialect(
        (("DATE-OBS", _END, "end of exposure"), ("EXPTIME", 60.0), ("FILTER", "V"), ("GAIN", 1.5)),
        gain=1.5, filter="V",
    ),
    "mid_mjd_alone": Dialect(
        (("MJD-MID", _MID_MJD), ("EXPTIME", 60.0), ("FILTER", "V"), ("GAIN", 1.5)), gain=1.5, filter="V",
    ),
    "right_ascension_in_hours": Dialect(
        (("DATE-OBS", START), ("EXPTIME", 60.0), ("FILTER", "V"), ("GAIN", 1.5), ("RA", 10.0, "[hours] pointing"),
         ("DEC", -30.5)),
        gain=1.5, filter="V", others={"ra_deg": 150.0},
    ),
    "old_fits_date": Dialect(
        (("DATE-OBS", "05/03/97"), ("UT", "01:02:03.5"), ("EXPTIME", 60.0), ("GAIN", 1.5), ("FILTER", "V")),
        gain=1.5, filter="V", mjd_mid=50512.043096064815 + 30 / _DAY_S,
    ),
    "electrons_units": Dialect(
        (
            ("DATE-OBS", START), ("EXPTIME", 60.0), ("FILTER", "V"), ("GAIN", 2.0, "[e-/ADU]"),
            ("SATURATE", 120000.0, "[electrons] full well"), ("RDNOISE", 4.0, "[ADU] read noise"),
        ),
        gain=2.0, filter="V", others={"saturation_adu": 60000.0, "read_noise": 8.0},
    ),
}  # fmt: skip
