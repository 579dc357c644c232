"""Local times whose zone the header states: UTC follows, where something tells which way the zone counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lightwatch.pipeline.init_keywords import comment, told
from lightwatch.pipeline.init_place import longitude_east
from lightwatch.pipeline.init_time import LOCAL, TimeChoice, TimeSource, of_one_dialect
from lightwatch.structure.header_tools import number, utc_mjd, zone_hours

_ZONES = (
    "TIMEZONE", "TIMEZON", "TIME-ZON", "TZ", "ZONE", "UTCOFF", "UTC-OFF", "UTC_OFF", "UTCOFFST", "UTOFFSET", "TZOFFSET",
    "GMTOFF", "GMTOFFST",
)  # fmt: skip
_WRITTEN_WITHIN_DAYS = 0.05  # of the end of the exposure the file is written
_CLOCKS_APART_DAYS = 0.002
_ZONE_FROM_SUN_HOURS = 3.0  # by law, not by the Sun: at most so far


def with_local_time(time: TimeChoice, headers: Sequence[Any], exposures: Sequence[float]) -> TimeChoice:
    """The same choice; where nothing tells UTC, that of a local time with a zone: taken where the longitude, ``DATE``
    or the way it is written confirms which way the zone counts, else only offered."""
    if time.sources:
        return time
    zone = next((key for key in _ZONES if all(_hours(header, key) is not None for header in headers)), None)
    if zone is None:
        return time
    local = [_as_if_universal(header) for header in headers]
    source, why, doubts = of_one_dialect(list(zip(local, exposures, strict=True)))
    if source is None or not any(
        LOCAL.search(comment(headers[0], key)) for key in (source.keyword, source.clock) if key
    ):
        return time
    source = replace(source, zone=zone)
    confirmed = _confirmed_by(headers[0], source, max(0.0, exposures[0]))
    reason = f"local time, of the zone {told(headers[0], zone)}"
    if confirmed:
        return TimeChoice((source,), (*why, f"{reason}, ahead of UTC as {confirmed} confirms"), tuple(doubts))
    offer = (
        f"{source.keyword} is local time; UTC follows if {told(headers[0], zone)} is hours ahead of UTC (negative in "
        "America), which nothing confirms: remove the '#' of the line offered there, or turn its sign"
    )
    return TimeChoice((), (), (offer,), offered=source)


def _hours(header: Any, key: str) -> float | None:
    try:
        return zone_hours(header.get(key))
    except ValueError:
        return None


def _as_if_universal(header: Any) -> Any:
    """The header with the words about local time taken out, so that its times are looked at like others."""
    copy = header.copy()
    for card in copy.cards:
        if LOCAL.search(card.comment):
            card.comment = LOCAL.sub("UT", card.comment)
    return copy


def _is_sun_time(hours: float, east_deg: float) -> bool:
    """Whether clocks so many hours ahead of UTC go roughly by the Sun at a longitude."""
    return abs((hours - east_deg / 15.0 + 12.0) % 24.0 - 12.0) < _ZONE_FROM_SUN_HOURS


def _confirmed_by(header: Any, source: TimeSource, exposure_s: float) -> str | None:
    """What shows that the zone counts hours ahead of UTC."""
    if number(header.get(source.zone)) is None or re.search(
        r"\beast|ahead of UTC?\b|local *- *UTC?\b", comment(header, source.zone), re.IGNORECASE
    ):
        return "the way it is written"
    hours, east = _hours(header, source.zone), longitude_east(header)
    # near the date line a zone and its opposite are both near the Sun's time
    if hours and east is not None and _is_sun_time(hours, east) and not _is_sun_time(-hours, east):
        return "the longitude"
    begun = source.mjd(header)
    try:
        written = utc_mjd(header.get("DATE"))
    except ValueError:
        return None
    if (
        begun is not None
        and -_CLOCKS_APART_DAYS < written - begun - exposure_s / 86400.0 < _WRITTEN_WITHIN_DAYS
    ):
        return "DATE, when the file was written,"
    return None
