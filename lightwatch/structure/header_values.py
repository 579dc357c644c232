"""What a header parser may say about an exposure, with the range of every value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from lightwatch.errors import HeaderError
from lightwatch.structure.frames_guard import shown

_SECONDS_PER_DAY = 86400.0
_MAX_TEXT = 80


@dataclass(frozen=True)
class FrameMetadata:
    """What is known of an exposure.  None or NaN: unknown."""

    exptime_s: float
    gain: float  # electron/ADU
    mjd: float  # UTC, at the start, middle or end as time_reference says
    time_reference: str  # start | mid | end
    filter: str | None
    read_noise: float  # electron
    saturation_adu: float
    object: str | None
    telescope: str | None
    instrument: str | None
    airmass: float
    frame_type: str | None
    ra_deg: float  # where the telescope pointed, roughly
    dec_deg: float
    pixel_scale_arcsec: float
    latitude_deg: float
    longitude_deg: float  # East positive
    elevation_m: float
    wcs_ok: bool | None  # what the observatory says of the WCS in the header
    notes: tuple[str, ...]  # warnings, a line each

    @property
    def mjd_mid(self) -> float:
        """UTC at the middle of the exposure."""
        half_exposures = {"start": 1.0, "mid": 0.0, "end": -1.0}[self.time_reference]
        return self.mjd + half_exposures * self.exptime_s / 2.0 / _SECONDS_PER_DAY


@dataclass(frozen=True)
class _Range:
    """A number the parser may return, and where it must lie."""

    key: str
    accepts: Callable[[float], bool]
    expected: str


_REQUIRED = {
    "exptime_s": _Range("exptime", lambda t: 1e-6 <= t < 1e6, "seconds, 1e-6 to 1e6"),
    "gain": _Range("gain", lambda g: 0 < g < 1e3, "electron/ADU, above 0 and below 1000"),
    "mjd": _Range(
        "mjd", lambda m: 15000 < m < 100000, "a Modified Julian Date (UTC) between 15000 and 100000"
    ),
}
_OPTIONAL = {
    "read_noise": _Range("read_noise", lambda r: 0 <= r < 1e4, "electron, 0 to 10000"),
    "saturation_adu": _Range("saturation", lambda s: 0 < s < 1e12, "ADU, above 0"),
    "airmass": _Range("airmass", lambda a: 1 <= a < 100, "1 or more"),
    "ra_deg": _Range("ra", lambda a: 0 <= a <= 360, "degrees, 0 to 360"),
    "dec_deg": _Range("dec", lambda d: -90 <= d <= 90, "degrees, -90 to 90"),
    "pixel_scale_arcsec": _Range("pixel_scale", lambda s: 1e-3 < s < 3600, "arcsec/pixel, 0.001 to 3600"),
    "latitude_deg": _Range("latitude", lambda d: -90 <= d <= 90, "degrees, -90 to 90"),
    "longitude_deg": _Range("longitude", lambda d: -180 <= d <= 360, "degrees East, -180 to 360"),
    "elevation_m": _Range("elevation", lambda e: -500 < e < 1e7, "metres, above -500"),
}
_TEXTS = ("filter", "object", "telescope", "instrument", "frame_type")
_TIME_REFERENCES = ("start", "mid", "end")


def checked_metadata(values: Mapping[str, Any], *, name: str, time_reference: str) -> FrameMetadata:
    """The parser's values after their check; keys outside of the contract are ignored.

    Required values that are absent or out of range raise HeaderError(``bad_meta:<key>``); so do
    optional ones that are out of range, except that airmass and pointing of a sloppy header
    become unknown with a note.
    """
    notes: list[str] = []
    fields: dict[str, Any] = {field: _required(values, rule, name) for field, rule in _REQUIRED.items()}
    fields |= {field: _optional(values, rule, name, notes) for field, rule in _OPTIONAL.items()}
    fields |= {key: _text(values.get(key), key, name) for key in _TEXTS}
    if fields["filter"] is None:
        notes.append(f"{name}: the filter is unknown")
    reference = values.get("time_reference") or time_reference
    if reference not in _TIME_REFERENCES:
        raise _wrong(name, "time_reference", reference, "start, mid or end")
    wcs_ok = values.get("wcs_ok")
    if wcs_ok is not None and not isinstance(wcs_ok, bool | np.bool_):
        raise _wrong(name, "wcs_ok", wcs_ok, "true, false or nothing")
    return FrameMetadata(
        **fields,
        time_reference=reference,
        wcs_ok=None if wcs_ok is None else bool(wcs_ok),
        notes=tuple(notes),
    )


def expected_of(key: str, value: object) -> str | None:
    """What is expected of a value of the contract, where this one cannot be it; None where all is well."""
    rules = (*_REQUIRED.values(), *_OPTIONAL.values())
    rule = next((rule for rule in rules if rule.key == key), None)
    if rule is not None:
        number = _number(value)
        return None if number is not None and rule.accepts(number) else rule.expected
    if key in _TEXTS:
        text = str(value).strip()
        return None if text and len(shown(text)) <= _MAX_TEXT else f"text of 1 to {_MAX_TEXT} characters"
    return None


def _wrong(name: str, key: str, value: object, expected: str) -> HeaderError:
    return HeaderError(f"bad_meta:{key}", f"{name}: {key}={shown(repr(value))}: expected {expected}")


def _number(value: object) -> float | None:
    """A float from a clean number or number in a string; None when there is no value; NaN when it is junk."""
    if value is None or np.ma.is_masked(value):
        return None
    if isinstance(value, np.ndarray) and value.shape == ():
        value = value.item()
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return math.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return math.nan
    return float(value)


def _required(values: Mapping[str, Any], rule: _Range, name: str) -> float:
    if rule.key not in values:
        raise _wrong(name, rule.key, None, f"{rule.expected}; the header parser did not return it")
    number = _number(values[rule.key])
    if number is None or not rule.accepts(number):
        raise _wrong(name, rule.key, values[rule.key], rule.expected)
    return number


def _optional(values: Mapping[str, Any], rule: _Range, name: str, notes: list[str]) -> float:
    given = values.get(rule.key)
    number = _number(given)
    if number is None or (isinstance(given, float | np.floating) and math.isnan(number)):
        return math.nan
    if rule.accepts(number):
        return number
    if rule.key in ("airmass", "ra", "dec", "pixel_scale"):  # computed or measured later anyway
        notes.append(f"{name}: {rule.key}={shown(repr(given))} is not used: expected {rule.expected}")
        return math.nan
    raise _wrong(name, rule.key, given, rule.expected)


def _text(value: object, key: str, name: str) -> str | None:
    """A short printable string; None when empty or absent."""
    if value is None or np.ma.is_masked(value):
        return None
    if isinstance(value, bool | np.bool_) or not isinstance(value, str | Real):
        raise _wrong(name, key, value, "text")
    text = shown(str(value).strip())
    if len(text) > _MAX_TEXT:
        raise _wrong(name, key, value, f"at most {_MAX_TEXT} characters")
    return text or None
