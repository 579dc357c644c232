"""Which keywords tell exposure, gain, read noise, saturation and filter: guesses with their evidence."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightwatch.structure.header_tools import filter_in_beam, number

Headers = Sequence[Any]

_EXPOSURE = (
    "EXPTIME", "EXPOSURE", "EXP_TIME", "TEXPTIME", "ITIME", "TRUITIME", "EXPOSED", "INTTIME", "INT_TIME", "EXP-TIME",
    "EXPOTIME", "EXPO", "ELAPTIME", "EXPTIMEMS", "EXP_MS", "EXPOINMS", "EXPOINUS", "EXP_US",
)  # fmt: skip
_EXPOSURE_UNITS = (
    (r"\[?\bms(ec)?\b|milli", 1e-3), (r"\[?\b[uµ]s(ec)?\b|micro", 1e-6), (r"\[d\]|\bdays?\b", 86400.0),
    (r"\[min\]|\bminutes?\b", 60.0), (r"\[h\]|\bhours?\b", 3600.0),
)  # fmt: skip
_UNITS_BY_NAME = ((r".*MS", 1e-3), (r".*US", 1e-6))
_GAIN = (
    "EGAIN", "CCDGAIN", "ESO DET OUT1 CONAD", "ESO DET CHIP1 CONAD", "EPERDN", "EPADU", "E_GAIN", "GAINEFF", "GAINE",
    "ESO DET OUT1 GAIN", "ESO DET CHIP GAIN", "GAIN", "GAIN1", "GAINA", "CCDGAINA", "DETGAIN", "SYSGAIN", "GTGAIN11",
)  # fmt: skip
_GAIN_RANGE = (0.0, 60.0)  # electron/ADU; beyond are settings of the electronics
_INVERSE = re.compile(r"(adu|dn|counts?)\s*(/|per)\s*(photo)?-?e", re.IGNORECASE)
_DIRECT = re.compile(r"(e-?|el|electrons?|photons?)\s*(/|per)\s*(adu|dn|counts?|a/d|data)", re.IGNORECASE)
_SETTING = re.compile(r"setting|sensor gain|\bdB\b|gain value|percent|index", re.IGNORECASE)
_CMOS = re.compile(
    r"ZWO|\bASI\s?\d|QHY|ToupTek|Altair|Player ?One|SVBONY|Canon|Nikon|DSLR|iOptron", re.IGNORECASE
)
_READ_NOISE = (
    "RDNOISE", "READNOIS", "READNOISE", "RON", "RNOISE", "ENOISE", "ESO DET OUT1 RON", "ESO DET CHIP RON", "RDNOISE1",
    "RDNOISEA", "READNSE", "DETRON", "RO_NOISE", "GTRON11",
)  # fmt: skip
_SATURATION = (
    "SATURATE",
    "SATLEVEL",
    "SATUR_LE",
    "SATUR",
    "SATURATA",
    "MAXLIN",
    "LINLIMIT",
    "DATAMAX",
    "FULLWELL",
)
_ELECTRONS = re.compile(r"\[?\b(e-|electrons?)\b|\[e-", re.IGNORECASE)
_ADU = re.compile(r"\b(adu|dn|counts?)\b", re.IGNORECASE)
_FILTERS = (
    "FILTER", "FILTNAM", "FILTNAME", "INSFILTE", "FILT", "FILTERID", "FILTER-N", "WFFBAND", "ACAMFILT", "CCDFLTID",
    "IRFLTID", "FLTRNM", "FLTRNAME", "BAND", "FILTERS", "ESO INS FILT NAME", "FILTER01",
)  # fmt: skip
_WHEELS = (
    ("FILTER1", "FILTER2", "FILTER3"), ("ALFLTNM", "FAFLTNM", "FBFLTNM"), ("FILTERA", "FILTERB"),
    ("ESO INS FILT1 NAME", "ESO INS FILT2 NAME", "ESO INS FILT3 NAME"), ("WHEEL1", "WHEEL2"), ("FILTNAM1", "FILTNAM2"),
    ("FWINAME", "FWONAME"), ("FLT1NAME", "FLT2NAME"), ("FILTER-1", "FILTER-2"),
)  # fmt: skip
_RATES = re.compile(
    r"(e-?|el|electrons?|adu|dn|counts?)\s*(/|per)?\s*s(ec(ond)?)?(\*\*-1|\^-1|-1)?", re.IGNORECASE
)


@dataclass(frozen=True)
class Guess:
    """A Python expression over ``header``, what it gives for the first header, why, and what speaks against it."""

    code: str | None
    value: Any = None
    why: str = ""
    doubts: tuple[str, ...] = ()
    values: tuple[float, ...] = ()  # of every header, NaN unknown, where they are needed


def covering(headers: Headers, keys: Sequence[str], sound: Callable[[Any, str], bool]) -> list[str]:
    """Keywords, the best first, of which every header has a sound one; fewer headers when that cannot be."""
    usable = [key for key in keys if all(sound(h, key) for h in headers if h.get(key) not in (None, ""))]
    chosen: list[str] = []
    left = list(headers)
    while left:
        key = next((key for key in usable if any(sound(header, key) for header in left)), None)
        if key is None:
            break
        chosen.append(key)
        left = [header for header in left if not sound(header, key)]
    return chosen


def is_number(header: Any, key: str) -> bool:
    """Whether the keyword holds a finite number, written as number or text."""
    value = number(header.get(key))
    return value is not None and math.isfinite(value)


def is_text(header: Any, key: str) -> bool:
    """Whether the keyword says anything."""
    value = header.get(key)
    return value is not None and not isinstance(value, bool) and bool(str(value).strip())


def asked(keys: Sequence[str]) -> str:
    """Source text that asks the keywords in turn."""
    listed = ", ".join(map(quoted, keys))
    return f"header.get({listed})" if len(keys) == 1 else f"first_of(header, {listed})"


def quoted(key: str) -> str:
    """A keyword as a string of Python source, in double quotes."""
    return json.dumps(key)


def comment(header: Any, key: str) -> str:
    """Comment of a keyword, empty when there is none."""
    return str(header.comments[key]).strip() if key in header else ""


def told(header: Any, key: str) -> str:
    """A card for people: keyword, value, comment."""
    remark = comment(header, key)
    return f"{key} = {header.get(key)!r}" + (f" ({remark})" if remark else "")


def plain(headers: Headers, keys: Sequence[str], sound: Callable[[Any, str], bool] = is_text) -> Guess:
    """What needs no interpretation, such as OBJECT."""
    found = covering(headers, keys, sound)
    return Guess(asked(found), headers[0].get(found[0]), ", ".join(found)) if found else Guess(None)


# ---------------------------------------------------------------- exposure
def exposure(headers: Headers) -> Guess:
    """Exposure time in seconds: units of the comment, coadds."""
    positive = covering(headers, _EXPOSURE, lambda h, key: is_number(h, key) and float(h[key]) > 0)
    if not positive:
        return Guess(None)
    key = positive[0]
    header = next(h for h in headers if is_number(h, key))
    factor = _unit_factor(key, comment(header, key))
    why, doubts = [f"{told(header, key)}"], []
    code = asked(positive)
    if factor != 1.0:
        code = f"float(header[{quoted(key)}]) * {factor:g}"
        why.append(f"in units of {factor:g} s")
    value = float(header[key]) * factor
    coadds, repeated = _coadds(headers), False
    if coadds and max(float(h.get(coadds, 1)) for h in headers) > 1:
        if key in ("ITIME", "TRUITIME") or (coadds == "ESO DET NDIT" and _is_one_dit(header, value)):
            unit = f"{factor:g} * " if factor != 1.0 else ""
            code = f"{unit}float(header[{quoted(key)}]) * float(header.get({quoted(coadds)}, 1))"
            repeated = True
            why.append(f"of one of {coadds} exposures")
        else:
            doubts.append(f"{coadds} is more than 1: check that {key} is the time of all of them together")
    values = [
        factor
        * (number(first_text(h, positive)) or math.nan)
        * (_times(h, coadds) if repeated and coadds else 1.0)
        for h in headers
    ]
    return Guess(code, values[0], "; ".join(why), tuple(doubts), tuple(values))


def _times(header: Any, coadds: str) -> float:
    return number(header.get(coadds)) or 1.0


def _unit_factor(key: str, remark: str) -> float:
    if re.search(r"\[s\]|\bsec|\bs\b", remark, re.IGNORECASE) and not re.search(
        "milli|micro", remark, re.IGNORECASE
    ):
        return 1.0
    by_comment = next((f for words, f in _EXPOSURE_UNITS if re.search(words, remark, re.IGNORECASE)), None)
    by_name = next((f for name, f in _UNITS_BY_NAME if re.fullmatch(name, key)), 1.0)
    return by_comment or by_name


def _coadds(headers: Headers) -> str | None:
    keys = ("ESO DET NDIT", "COADDS", "NCOADDS", "COADD", "NCOADD", "NUMCOADD")
    return next((key for key in keys if any(is_number(h, key) for h in headers)), None)


def _is_one_dit(header: Any, exposure_s: float) -> bool:
    dit = number(header.get("ESO DET DIT"))
    return dit is not None and abs(dit - exposure_s) < 1e-3 * dit


# ---------------------------------------------------------------- gain and read noise
def gain(headers: Headers) -> Guess:
    """Electrons per ADU; inverse conventions and settings of CMOS cameras are told by comments and names."""
    notes: list[str] = []

    def sound(header: Any, key: str) -> bool:
        value = number(header.get(key))
        if value is None or not _GAIN_RANGE[0] < value <= _GAIN_RANGE[1]:
            return False
        return _DIRECT.search(comment(header, key)) is not None or not _is_setting(header, key)

    keys = covering(headers, _GAIN, sound)
    for key in _GAIN:
        if key in headers[0] and key not in keys and (not keys or key == "GAIN"):
            notes.append(f"{told(headers[0], key)} is a setting or out of range, not electron/ADU")
    rate = _is_rate(headers[0])
    if not keys:
        unit = str(headers[0].get("BUNIT", "")).strip()
        if re.match(r"(e-?|el|electrons?)\b", unit, re.IGNORECASE):
            return _in_electrons(unit, rate)
        return Guess(None, None, "; ".join(notes))
    key = keys[0]
    header = next(h for h in headers if sound(h, key))
    remark = comment(header, key)
    inverse = bool(_INVERSE.search(remark)) or key.endswith((" GAIN", "CHIP GAIN"))
    inverse = inverse and not _DIRECT.search(remark)
    code, value = asked(keys), float(header[key])
    notes.insert(0, told(header, key))
    if inverse:
        code, value = f"1.0 / float(header[{quoted(key)}])", 1.0 / value
        notes.insert(1, "ADU per electron: turned over")
    if rate:
        code = f"({code}) * exptime"
        notes.append(f"BUNIT is {headers[0]['BUNIT']!r}: rates, made counts by the exposure time")
    if any(float(number(h.get("ESO DET NDIT")) or 1) > 1 for h in headers):
        code = f'({code}) * float(header.get("ESO DET NDIT", 1))'
        notes.append("the image is the mean of NDIT exposures")
    return Guess(code, value, "; ".join(notes))


def _in_electrons(unit: str, rate: bool) -> Guess:
    if rate:
        return Guess(
            "exptime", None, f"BUNIT is {unit!r}: rates in electrons, made electrons by the exposure time"
        )
    return Guess("1.0", 1.0, f"BUNIT is {unit!r}: the image is in electrons already")


def _is_rate(header: Any) -> bool:
    return bool(_RATES.fullmatch(str(header.get("BUNIT", "")).strip()))


def _is_setting(header: Any, key: str) -> bool:
    names = " ".join(str(header.get(name, "")) for name in ("INSTRUME", "CAMERA", "DETECTOR", "CAMMODEL"))
    return bool(_SETTING.search(comment(header, key))) or (key == "GAIN" and bool(_CMOS.search(names)))


def read_noise(headers: Headers) -> Guess:
    """Electrons; a comment that says ADU is believed."""
    keys = covering(headers, _READ_NOISE, lambda h, key: is_number(h, key) and 0 < float(h[key]) < 1000)
    if not keys:
        return Guess(None)
    header = next(h for h in headers if is_number(h, keys[0]))
    remark = comment(header, keys[0])
    code, why = asked(keys), told(header, keys[0])
    if _ADU.search(remark) and not _ELECTRONS.search(remark) and not _DIRECT.search(remark):
        return Guess(
            f"float(header[{quoted(keys[0])}]) * gain", float(header[keys[0]]), why + "; in ADU, times gain"
        )
    return Guess(code, float(header[keys[0]]), why)


# ---------------------------------------------------------------- saturation
def saturation(headers: Headers) -> Guess:
    """ADU; the lower one of full well and end of linearity where both are given."""

    def sound(header: Any, key: str) -> bool:
        return is_number(header, key) and float(header[key]) > 100

    found = [key for key in _SATURATION if all(sound(header, key) for header in headers)]
    if not found:
        keys = covering(headers, _SATURATION, sound)
        if not keys:
            return Guess(None)
        without = [header for header in headers if not any(sound(header, key) for key in keys)]
        return Guess(asked(keys), first_text(headers[0], keys), ", ".join(keys), _unsaturated(without, keys))
    key = min(found, key=lambda key: statistics.median(float(header[key]) for header in headers))
    value = float(headers[0][key])
    remark = comment(headers[0], key)
    if _ELECTRONS.search(remark) and not _ADU.search(remark):
        return Guess(
            f"float(header[{quoted(key)}]) / gain", value, f"{told(headers[0], key)}; in electrons, over gain"
        )
    return Guess(asked([key]), value, told(headers[0], key))


def _unsaturated(without: Headers, keys: Sequence[str]) -> tuple[str, ...]:
    if not without:
        return ()
    names = {str(header.get("INSTRUME") or header.get("CAMERA") or "").strip() for header in without}
    cameras = f" of {', '.join(sorted(names - {''}))}" if names - {""} else ""
    return (
        f"{', '.join(keys)} is missing in {len(without)} headers{cameras}: pixels there count as saturated at the "
        "largest number that the file can hold, unless header_overrides tell better",
    )


# ---------------------------------------------------------------- filter
def filter_of(headers: Headers) -> Guess:
    """The filter's name: one keyword, or what several wheels have in the beam."""
    single = covering(headers, _FILTERS, is_text)
    if single and all(any(is_text(header, key) for key in single) for header in headers):
        return Guess(asked(single), first_text(headers[0], single), ", ".join(single))
    for keys in _WHEELS:
        present = [key for key in keys if any(is_text(header, key) for header in headers)]
        if present:
            names = ", ".join(f"header.get({quoted(key)})" for key in present)
            value = filter_in_beam(*(headers[0].get(key) for key in present))
            words = [repr(str(headers[0].get(key)).strip()) for key in present]
            return Guess(f"filter_in_beam({names})", value, f"{', '.join(present)} = {', '.join(words)}")
    if single:
        return Guess(
            asked(single), first_text(headers[0], single), f"{', '.join(single)}, in some of the headers"
        )
    return Guess(None)


def first_text(header: Any, keys: Sequence[str]) -> str | None:
    """Text of the first keyword that says anything."""
    return next((str(header[key]).strip() for key in keys if is_text(header, key)), None)
