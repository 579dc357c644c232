"""Dates that cannot be, or that another keyword of the file speaks against."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from lightwatch.pipeline.init_time import TimeChoice
from lightwatch.structure.header_tools import OLD_DATE, utc_mjd

_FIRST_MJD = 44239.0  # 1980: CCDs are not older
_TWENTIETH_CENTURY_ENDS = 51544.0  # 2000: later years have four digits by the FITS standard
_UNIX_EPOCH_MJD = 40587.0
_ZONES_DAYS = 1.1  # clocks of another zone are not of another day


def doubts_of_dates(time: TimeChoice, headers: Sequence[Any], mjds: Sequence[float]) -> tuple[str, ...]:
    """A line for each kind of doubt, of the first header that raises it; ``mjds`` (UTC, NaN unknown) of the headers."""
    doubts: dict[str, str] = {}
    latest = _UNIX_EPOCH_MJD + clock.time() / 86400.0 + _ZONES_DAYS
    for header, mjd in zip(headers, mjds, strict=True):
        if not math.isfinite(mjd):
            continue
        source = next(source for source in time.sources if source.mjd(header) is not None)
        text = str(header.get(source.keyword, "")).strip()
        said = f"{source.keyword} = {text!r} is read as {_day(mjd)}"
        if source.kind == "split" and OLD_DATE.fullmatch(text) and mjd > _TWENTIETH_CENTURY_ENDS:
            doubts.setdefault("short", f"{said}, by day, month and year of two digits: check it")
        if mjd < _FIRST_MJD:
            doubts.setdefault("old", f"{said}, before there were CCD cameras: check it")
        elif mjd > latest:
            doubts.setdefault("future", f"{said}, which is still to come: check it")
        written = _written(header)
        if math.isfinite(written) and mjd > written + _ZONES_DAYS:
            doubts.setdefault("written", f"{said}, but the file was written on {_day(written)}, by its DATE")
    return tuple(doubts.values())


def _written(header: Any) -> float:
    text = str(header.get("DATE", "")).strip()
    try:
        return utc_mjd(text if ":" in text else f"{text}T00:00:00")
    except ValueError:
        return math.nan


def _day(mjd: float) -> str:
    try:
        return (date(1858, 11, 17) + timedelta(days=math.floor(mjd))).isoformat()
    except OverflowError:
        return f"MJD {mjd:g}"
