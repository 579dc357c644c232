"""What the headers of a few of the user's own frames tell, so that nobody has to type it."""

from __future__ import annotations

import math
import re
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightwatch.errors import FrameError, NoUsableData
from lightwatch.structure.config import Config
from lightwatch.structure.frames import (
    RawFrame,
    ReadLimits,
    classify_frame,
    find_files,
    header_wcs,
    read_frame,
    shown,
)

_SAMPLE = 5
_TRIED = 40
_LIMITS = ReadLimits(header_bytes=10_000_000, data_bytes=4_000_000_000, inflation=20.0, hdus=1000)
_MJD_OF_UNIX_EPOCH = 40587.0

#: what tells the frames of an instrument that lightwatch ships a header parser for: keyword and pattern
_SIGNATURES: dict[str, tuple[tuple[str, str], ...]] = {
    "simulation": (("OBJECT", "SIMULATED"), ("BUNIT", "adu")),
    "lco": (("ORIGIN", "LCOGT"), ("SITEID", ".+")),
    "microobservatory": (("CREATOR", "MicroObservatory.*"), ("UT-OBS", ".+")),
    "omegacam_vst": (("INSTRUME", "OMEGACAM"),),
}
_EXPOSURE = ("EXPTIME", "EXPOSURE", "EXP_TIME", "ITIME", "TEXPTIME")
_GAIN = ("EGAIN", "CCDGAIN", "ESO DET OUT1 CONAD", "GAIN", "GAIN1", "GAINEFF")
_LARGEST_GAIN = 30.0  # electron/ADU; CMOS cameras write a setting such as 100 into GAIN
_FILTER = ("FILTER", "FILTNAM", "FILTER1", "FILTER2", "INSFILTE", "ESO INS FILT1 NAME", "FILT")
_READ_NOISE = ("RDNOISE", "READNOIS", "RON", "READNOISE", "ENOISE", "ESO DET OUT1 RON")
_SATURATION = ("SATURATE", "SATLEVEL", "SATUR", "MAXLIN")
_PIXEL_SCALE = ("PIXSCALE", "SECPIX", "PIXSCAL1", "SCALE", "IM_SCALE", "SECPIX1")
_TELESCOPE, _INSTRUMENT = ("TELESCOP", "OBSERVAT"), ("INSTRUME", "CAMERA", "DETECTOR")
_MID_DATES, _START_DATES = ("DATE-AVG", "DATE-MID"), ("DATE-OBS", "DATE-BEG", "UT-OBS", "DATE_OBS", "OBSTART")
_MID_MJDS, _START_MJDS = (
    ("MJD-MID", "MJDMID", "MJD-AVG"),
    ("MJD-OBS", "MJD_OBS", "MJD-BEG", "MJDSTART", "MJD"),
)
_JULIAN_DATES = ("JD-OBS", "JD_UTC", "JD")
_TIMES_OF_DAY = ("UT-OBS", "TIME-OBS", "UTC-OBS", "UT", "UTSTART", "TIME-BEG")
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True)
class TimeSource:
    """Where the time of an exposure stands: ``kind`` is iso, split (date and time of day in two keywords),
    mjd or jd; ``reference`` is start or mid."""

    kind: str
    keyword: str
    reference: str
    second_keyword: str = ""


@dataclass(frozen=True)
class Survey:
    """What was found in the sample; None where the headers do not say."""

    raw_dir: Path
    n_files: int
    sampled: tuple[str, ...]
    instrument: str | None
    keywords: dict[str, str | None]
    examples: dict[str, Any]
    time: TimeSource | None
    time_doubt: str
    plate_solved: int  # how many of the sampled frames carry a WCS
    pixel_scale_arcsec: float | None
    pixel_scale_from: str
    hdu_index: int
    bad_pixel_hdu: str | None
    pointing: tuple[float, float] | None
    object: str | None
    filters: tuple[str, ...] = field(default=())


def survey(raw_dir: Path) -> Survey:
    """Read a few frames of a directory.

    Raises
    ------
    NoUsableData
        When it holds no readable frame of the sky.
    """
    patterns = Config.model_fields["files_match_pattern"].default
    found = find_files([raw_dir], patterns, recursive=True, follow_links=True)
    frames, problem = _sample([item.path for item in found.files])
    if not frames:
        raise NoUsableData(
            f"{raw_dir}: {len(found.files)} files of frames' names, none could be read{problem}"
        )
    headers = [frame.header for _, frame in frames]
    keywords = {
        "exptime": _present(headers, _EXPOSURE),
        "gain": _gain_keyword(headers),
        "filter": _present(headers, _FILTER, text=True),
        "read_noise": _present(headers, _READ_NOISE),
        "saturation": _present(headers, _SATURATION),
        "object": _present(headers, ("OBJECT", "TARGNAME"), text=True),
        "telescope": _present(headers, _TELESCOPE, text=True),
        "instrument": _present(headers, _INSTRUMENT, text=True),
        "airmass": _present(headers, ("AIRMASS", "AMSTART", "SECZ")),
        "pixel_scale": _present(headers, _PIXEL_SCALE),
    }
    time = _time_source(headers)
    solved = [
        _wcs_text(header, path.name) for path, header in zip((p for p, _ in frames), headers, strict=True)
    ]
    scale, scale_from = _pixel_scale([text for text in solved if text], headers, keywords["pixel_scale"])
    return Survey(
        raw_dir=raw_dir,
        n_files=len(found.files),
        sampled=tuple(shown(path) for path, _ in frames),
        instrument=_instrument(headers),
        keywords=keywords,
        examples={name: headers[0].get(key) for name, key in keywords.items() if key},
        time=time,
        time_doubt=_time_doubt(headers[0], time),
        plate_solved=sum(text is not None for text in solved),
        pixel_scale_arcsec=scale,
        pixel_scale_from=scale_from,
        hdu_index=frames[0][1].hdu_index,
        bad_pixel_hdu=_bad_pixel_hdu(frames[0][0], frames[0][1]),
        pointing=_pointing(headers),
        object=_common_text(headers, keywords["object"]),
        filters=_texts(headers, keywords["filter"]),
    )


def _sample(paths: Sequence[Path]) -> tuple[list[tuple[Path, RawFrame]], str]:
    """Frames of the sky spread over the list, and the reason why the last unreadable one was not."""
    step = max(len(paths) // _TRIED, 1)
    order = list(paths[::step])
    frames: list[tuple[Path, RawFrame]] = []
    problem = ""
    for path in (*order[:: max(len(order) // _SAMPLE, 1)], *order):
        if len(frames) == _SAMPLE or any(path == known for known, _ in frames):
            continue
        try:
            frame = read_frame(path, hdu_data=None, hdu_headers=None, hdu_bad_pixels=None, limits=_LIMITS)
        except FrameError as error:
            problem = f" ({error})"
            continue
        if classify_frame(frame.header, file_name=path.name, declared=None).kind == "science":
            frames.append((path, frame))
    return frames, problem


def _instrument(headers: Sequence[Any]) -> str | None:
    """The shipped parser whose signature all headers bear."""
    for name, signature in _SIGNATURES.items():
        if all(
            re.fullmatch(pattern, str(header.get(key, "")).strip())
            for header in headers
            for key, pattern in signature
        ):
            return name
    return None


def _present(headers: Sequence[Any], candidates: Sequence[str], *, text: bool = False) -> str | None:
    """The first keyword that has a value of the right kind in every header."""
    return next((key for key in candidates if all(_has(header.get(key), text) for header in headers)), None)


def _has(value: Any, text: bool) -> bool:
    return bool(str(value).strip()) and value is not None if text else _number(value) is not None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _gain_keyword(headers: Sequence[Any]) -> str | None:
    def sound(header: Any, key: str) -> bool:
        value = _number(header.get(key))
        return value is not None and 0 < value <= _LARGEST_GAIN

    return next((key for key in _GAIN if all(sound(header, key) for header in headers)), None)


# ---------------------------------------------------------------- time
def _time_source(headers: Sequence[Any]) -> TimeSource | None:
    """The most precise statement of the time: an ISO date in UTC or with its zone, else a long enough MJD."""
    for reference, dates in (("mid", _MID_DATES), ("start", _START_DATES)):
        found = [
            key
            for key in dates
            if all(_ISO.fullmatch(str(header.get(key, "")).strip()) for header in headers)
        ]
        if found:
            return TimeSource(
                "iso", min(found, key=lambda key: _zone_rank(str(headers[0][key]).strip())), reference
            )
    date = _present(headers, _START_DATES, text=True)
    clock = _present(headers, _TIMES_OF_DAY, text=True)
    numbers = [
        TimeSource(kind, key, reference)
        for kind, reference, keys in (
            ("mjd", "mid", _MID_MJDS), ("mjd", "start", _START_MJDS), ("jd", "start", _JULIAN_DATES),
        )
        if (key := _present(headers, keys)) is not None
    ]  # fmt: skip
    if date and clock and date != clock and re.fullmatch(r"\d{4}-\d\d-\d\d", str(headers[0][date]).strip()):
        return TimeSource("split", date, "start", clock)
    return numbers[0] if numbers else None


def _zone_rank(text: str) -> int:
    """0: said to be UTC; 1: a zone of its own; 2: no zone, which FITS takes for UTC."""
    zone = re.search(r"(Z|[+-]\d\d:?\d\d)$", text[11:])
    if zone is None:
        return 2
    return 0 if zone[0] == "Z" or set(zone[0][1:]) <= {"0", ":"} else 1


def _time_doubt(header: Any, time: TimeSource | None) -> str:
    """A line when two statements of the time disagree, as when one of them is local."""
    if time is None or time.kind != "iso":
        return ""
    mjd_key = next((key for key in _START_MJDS if _number(header.get(key)) is not None), None)
    if mjd_key is None or time.reference != "start":
        return ""
    moment = datetime.fromisoformat(str(header[time.keyword]).strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    difference = (moment.timestamp() / 86400.0 + _MJD_OF_UNIX_EPOCH - float(header[mjd_key])) * 86400.0
    if abs(difference) < 120.0:
        return ""
    return f"{time.keyword} is {difference:+.0f} s from {mjd_key}: one of them may be local time; check it"


# ---------------------------------------------------------------- sky
def _wcs_text(header: Any, name: str) -> str | None:
    try:
        return header_wcs(header, name=name)
    except FrameError:
        return None


def _pixel_scale(
    solved: Sequence[str], headers: Sequence[Any], keyword: str | None
) -> tuple[float | None, str]:
    if solved:
        from astropy.io import fits
        from astropy.wcs import WCS
        from astropy.wcs.utils import proj_plane_pixel_scales

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scales = [
                math.sqrt(math.prod(proj_plane_pixel_scales(WCS(fits.Header.fromstring(text))))) * 3600.0
                for text in solved
            ]
        return float(f"{statistics.median(scales):.4g}"), "the WCS of the frames"
    if keyword is not None:
        return float(headers[0][keyword]), keyword
    pixel_um, focal_mm = _number(headers[0].get("XPIXSZ")), _number(headers[0].get("FOCALLEN"))
    if pixel_um and focal_mm:
        return float(f"{206.265 * pixel_um / focal_mm:.4g}"), "XPIXSZ and FOCALLEN"
    return None, ""


def _bad_pixel_hdu(path: Path, frame: RawFrame) -> str | None:
    """Name of an extension that is a bad-pixel map by its name and shape."""
    automatic = read_frame(
        path, hdu_data=frame.hdu_index, hdu_headers=None, hdu_bad_pixels="auto", limits=_LIMITS
    )
    return "auto" if automatic.has_bad_pixel_map else None


def _pointing(headers: Sequence[Any]) -> tuple[float, float] | None:
    """Median right ascension and declination (degrees) that the headers give."""
    positions = [position for header in headers if (position := _position(header)) is not None]
    if not positions:
        return None
    ra0 = positions[0][0]  # around the first, so that 359 and 1 degree are neighbours
    ra = ra0 + statistics.median((p[0] - ra0 + 180.0) % 360.0 - 180.0 for p in positions)
    return round(ra % 360.0, 5), round(statistics.median(p[1] for p in positions), 5)


def _position(header: Any) -> tuple[float, float] | None:
    for ra_key, dec_key in (
        ("RA", "DEC"),
        ("OBJCTRA", "OBJCTDEC"),
        ("TELRA", "TELDEC"),
        ("CRVAL1", "CRVAL2"),
    ):
        try:
            return sky_position(header.get(ra_key), header.get(dec_key))
        except ValueError:
            continue
    return None


def sky_position(ra: Any, dec: Any) -> tuple[float, float]:
    """(ra, dec) in degrees, of numbers (degrees) or of sexagesimal text (hours and degrees).

    Raises
    ------
    ValueError
        When they are no position.
    """
    from astropy.coordinates import Angle

    degrees = []
    for value, unit in ((ra, "hourangle"), (dec, "deg")):
        number = _number(value)
        degrees.append(number if number is not None else float(Angle(str(value).strip(), unit=unit).deg))
    if not (0.0 <= degrees[0] < 360.0 and -90.0 <= degrees[1] <= 90.0):
        raise ValueError(f"{ra} {dec} is no position: expected degrees, 0 <= ra < 360 and -90 <= dec <= 90")
    return degrees[0], degrees[1]


def _texts(headers: Sequence[Any], keyword: str | None) -> tuple[str, ...]:
    return tuple(sorted({shown(str(header[keyword]).strip()) for header in headers})) if keyword else ()


def _common_text(headers: Sequence[Any], keyword: str | None) -> str | None:
    texts = _texts(headers, keyword)
    return texts[0] if len(texts) == 1 else None
