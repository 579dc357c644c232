"""Which keywords of a header tell the time of the exposure: candidates, their precision, and whether they agree."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightwatch.pipeline.init_keywords import quoted
from lightwatch.structure.header_tools import number, utc_mjd, utc_of_days, zone_hours

_MID_DATES = ("DATE-AVG", "DATE-MID", "DATE_MID", "DATEMID", "UTMIDDLE", "UT-MID", "UTC-MID")
_START_DATES = (
    "DATE-OBS", "DATE-BEG", "DATE_OBS", "DATEOBS", "DATE-STA", "DATE_BEG", "OBSTART", "UT-OBS", "UTC-OBS",
    "UTCSTART", "UTSTART", "SHUTOPEN", "UTSHUT", "DATE-UT", "UTDATE", "UT-DATE", "UTC-DATE", "DATE-STR",
)  # fmt: skip
_END_DATES = ("DATE-END", "DATE_END", "UTCEND", "UTSTOP", "SHUTCLOS")
_CLOCKS = (
    "UT-OBS", "TIME-OBS", "UTC-OBS", "UTCSTART", "UTSTART", "UTC-STRT", "UTC-BEG", "TIME-BEG", "UT-START",
    "UT_START", "UTSHUT", "UT", "UTC", "TIMEOBS", "TIME_OBS", "STARTUT", "TIME",
)  # fmt: skip
_MID_DAYS = (
    "MJD-MID",
    "MJDMID",
    "MJD_MID",
    "MJD-AVG",
    "JD-MID",
    "JDMID",
    "JD_MID",
    "JD_MOBS",
    "MIDMJD",
    "MIDJD",
)
_START_DAYS = (
    "MJD-OBS", "MJD_OBS", "MJDOBS", "MJD-BEG", "MJDSTART", "MJD-STR", "MJD_UTC", "OBSMJD", "MJD", "MJDATE",
    "JD-OBS", "JD_SOBS", "JD-BEG", "JD_START", "JDSTART", "JD_UTC", "OBSJD", "JD", "JULDATE", "JULIAN", "JD-START",
)  # fmt: skip
_END_DAYS = ("MJD-END", "MJDEND", "JD-END")
_NOT_UTC = re.compile(
    r"(HJD|BJD|JD[-_]?HEL|HELJD|LJD).*|LST.*|ST|SIDTIME|SIDEREAL|LOCTIME|TIME-LOC|DATE-LOC|LT"
)
_ZONED = re.compile(r".*(Z|UTC?|GMT|[+-]\d\d:?\d\d)$")
_FULL = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]\s*\d\d?:\d\d(:\d\d(\.\d*)?)?\s*(Z|UTC?|GMT|[+-]\d\d:?\d\d)?")
_DAY = re.compile(r"\d{4}[-/]\d\d[-/]\d\d|\d{8}|\d\d/\d\d/\d\d")
_CLOCK = re.compile(r"\d\d?[: ]\d\d?[: ]\d\d?(\.\d*)?")
LOCAL = re.compile(r"\blocal\b|\bLT\b", re.IGNORECASE)
_DAYS_OF_JD = (2_400_000.5, 2_500_000.5)
_DAYS_OF_MJD = (15_000.0, 100_000.0)
#: keywords of one camera may lie this far apart: latencies of shutters and of clocks
_SLACK_S = 2.5
_OF_AN_EXPOSURE = {"start": 0.0, "mid": 0.5, "end": 1.0}
_COARSEST_S = 450.0  # half a quarter of an hour: what is coarser confirms no zone
_ENDS_SLACK_S = 20.0  # the end is often written after the readout
_BEST_RESOLUTION_S = 0.05  # finer is no better


@dataclass(frozen=True)
class TimeSource:
    """Where a time stands. ``kind``: iso (date and time in one text), split (in two keywords), mjd or jd."""

    kind: str
    keyword: str
    reference: str  # start, mid or end of the exposure
    clock: str = ""  # the second keyword of split
    zone: str = ""  # the keyword with the hours that a local time is ahead of UTC

    @property
    def name(self) -> str:
        """As it is told to people."""
        return " with ".join(key for key in (self.keyword, self.clock, self.zone) if key)

    def mjd(self, header: Any) -> float | None:
        """MJD (UTC) of what this keyword says; None when it says nothing that can be read."""
        scale = header.get("TIMESYS") or "UTC"
        try:
            if self.kind in ("mjd", "jd"):
                return utc_of_days(_days(header.get(self.keyword), self.kind), scale=scale)
            date, clock = str(header[self.keyword]), header.get(self.clock) if self.clock else None
            if self.clock and not _CLOCK.fullmatch(str(clock).strip()):
                return None
            ahead = zone_hours(header[self.zone]) if self.zone else 0.0
            return utc_mjd(date, clock, scale=scale) - ahead / 24.0
        except (ValueError, KeyError, TypeError):
            return None

    def resolution_s(self, headers: Sequence[Any]) -> float:
        """Step of the number as it is written, of the header that gives the most decimals."""
        texts = [str(header.get(self.clock or self.keyword, "")).strip() for header in headers]
        if self.kind in ("mjd", "jd"):
            return 86400.0 * 10.0 ** -max(
                _decimals(f"{number(text) or 0.0:.9f}".rstrip("0")) for text in texts
            )
        clocks = [
            re.sub(r"\s*(Z|UTC?|GMT|[+-]\d\d:?\d\d)$", "", re.split("[T ]", text)[-1]) for text in texts
        ]
        if all(clock.count(":") < 2 and " " not in clock for clock in clocks):
            return 60.0
        return 10.0 ** -max(_decimals(clock) for clock in clocks)


@dataclass(frozen=True)
class TimeChoice:
    """The sources to be asked in turn (usually one), why they, and what speaks against."""

    sources: tuple[TimeSource, ...]
    why: tuple[str, ...]
    doubts: tuple[str, ...]
    offered: TimeSource | None = None  # what may tell the time, where nothing surely does


def _days(value: Any, kind: str) -> float:
    days = number(value)
    low, high = _DAYS_OF_JD if kind == "jd" else _DAYS_OF_MJD
    if days is None or not low < days < high:
        raise ValueError("no date")
    return days - 2_400_000.5 if kind == "jd" else days


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


# ---------------------------------------------------------------- the choice
def choose_time(headers: Sequence[Any], exposures: Sequence[float]) -> TimeChoice:
    """The most precise statement of the time that others confirm.

    ``exposures`` (s, NaN unknown) of the same headers: starts, middles and ends are compared as starts. Of
    headers in several dialects, a source for each.
    """
    sources: list[TimeSource] = []
    why: list[str] = []
    doubts: list[str] = []
    left = list(zip(headers, exposures, strict=True))
    while left and len(sources) < 4:
        chosen, reasons, contradictions = of_one_dialect(left)
        if chosen is None:
            break
        sources.append(chosen)
        why += reasons
        doubts += contradictions
        left = [(header, exposure) for header, exposure in left if chosen.mjd(header) is None]
    if left:
        doubts.append(
            f"no keyword with the time (UTC) was recognised in {len(left)} of {len(headers)} headers"
            + _unusable(left[0][0])
        )
    return TimeChoice(tuple(sources), tuple(why), tuple(dict.fromkeys(doubts)))


_Exposed = Sequence[tuple[Any, float]]


def of_one_dialect(exposed: _Exposed) -> tuple[TimeSource | None, list[str], list[str]]:
    """The best source for the first header and all that have the same keywords."""
    candidates = [source for source in _candidates(exposed[0][0]) if source.mjd(exposed[0][0]) is not None]
    if not candidates:
        return None, [], []
    alike = [
        (header, exposure)
        for header, exposure in exposed
        if all(c.mjd(header) is not None for c in candidates)
    ]
    headers = [header for header, _ in alike]
    resolution = {source: source.resolution_s(headers) for source in candidates}
    friends = {
        source: [other for other in candidates if other is source or _agree(source, other, alike, resolution)]
        for source in candidates
    }

    def rank(source: TimeSource) -> tuple[Any, ...]:
        weights = [_weight(friend, headers[0]) for friend in friends[source]]
        coarse = math.ceil(math.log10(max(resolution[source], _BEST_RESOLUTION_S)) - 1e-9)
        kinds = ("iso", "mjd", "jd", "split")
        return (
            -sum(weights), -max(weights), source.reference == "end", coarse,
            source.reference != "mid", kinds.index(source.kind), candidates.index(source),
        )  # fmt: skip

    best = min(candidates, key=rank)
    others = [source for source in candidates if source is not best]
    agree = [source.name for source in others if source in friends[best]]
    why = [f"{best.name}: {best.reference} of the exposure, to {_seconds(resolution[best])}"]
    if agree:
        why.append(f"{', '.join(agree)} {'agrees' if len(agree) == 1 else 'agree'} with it")
    if len(agree) + 1 < len(candidates):
        coarse_ones = [s for s in others if s in friends[best] and resolution[s] > 10 * resolution[best]]
        why += [f"{s.name} has {_seconds(resolution[s])} steps only" for s in coarse_ones]
    doubts = [_contradiction(source, best, alike) for source in others if source not in friends[best]]
    doubts += _one_doubt(best, resolution[best], headers[0])
    return best, why, doubts


def _candidates(header: Any) -> list[TimeSource]:
    found: list[TimeSource] = []
    for reference, dates in (("start", _START_DATES), ("mid", _MID_DATES), ("end", _END_DATES)):
        for key in dates:
            text = str(header.get(key, "")).strip()
            if _FULL.fullmatch(text) and not (_is_local(header, key) and not _ZONED.fullmatch(text[10:])):
                found.append(TimeSource("iso", key, _told_reference(header, key, reference)))
                found += _splits(header, key) if reference == "start" else []  # a second witness
            elif _DAY.fullmatch(text) and reference == "start":
                found += _splits(header, key)
    for reference, keys in (("start", _START_DAYS), ("mid", _MID_DAYS), ("end", _END_DAYS)):
        for key in keys:
            days = number(header.get(key))
            if days is None or _is_local(header, key):
                continue
            for kind, (low, high) in (("mjd", _DAYS_OF_MJD), ("jd", _DAYS_OF_JD)):
                if low < days < high:
                    found.append(TimeSource(kind, key, _told_reference(header, key, reference)))
    return found


def _splits(header: Any, date: str) -> list[TimeSource]:
    """Date and time of day in two keywords, the times of day that can be read."""
    clocks = [
        key for key in _CLOCKS if key != date and _CLOCK.fullmatch(str(header.get(key, "")).strip())
        and not _is_local(header, key)
    ]  # fmt: skip
    return [TimeSource("split", date, _told_reference(header, key, "start"), key) for key in clocks]


def _comment(header: Any, key: str) -> str:
    return str(header.comments[key]) if key in header else ""


def _is_local(header: Any, key: str) -> bool:
    return bool(LOCAL.search(_comment(header, key)))


def _told_reference(header: Any, key: str, usual: str) -> str:
    """Start, middle or end, as the comment of the keyword says; else what its name means."""
    comment = _comment(header, key).lower()
    if re.search(r"\bmid(?!night)", comment):
        return "mid"
    if re.search(r"\b(start|begin|began|open)", comment):
        return "start"
    return "end" if re.search(r"\b(end of|finish|stop)", comment) else usual


def _weight(source: TimeSource, header: Any) -> int:
    """1 for a time that may well be local, 2 for one that is universal by its name, its zone or its comment; of a
    time of day beside a full date one less, the date is the same."""
    text = str(header.get(source.keyword, "")).strip()
    words = f"{source.keyword} {source.clock} {header.get('TIMESYS', '')}"
    told = f"{_comment(header, source.keyword)} {_comment(header, source.clock)}"
    universal = (
        source.kind in ("mjd", "jd") or "UT" in words or re.search(r"\bUTC?\b|\bGMT\b|\bTAI\b", told + words)
    )
    weight = 2 if universal or (source.kind == "iso" and _ZONED.fullmatch(text[10:])) else 1
    return weight - 1 if source.kind == "split" and _FULL.fullmatch(text) else weight


def _start(source: TimeSource, header: Any, exposure: float) -> float:
    mjd = source.mjd(header)
    assert mjd is not None  # the headers were chosen so
    part = _OF_AN_EXPOSURE[source.reference]
    return mjd - (part * exposure / 86400.0 if part and math.isfinite(exposure) else 0.0)


def _difference_s(one: TimeSource, other: TimeSource, exposed: _Exposed) -> float:
    return 86400.0 * statistics.median(_start(one, h, t) - _start(other, h, t) for h, t in exposed)


def _agree(
    one: TimeSource, other: TimeSource, exposed: _Exposed, resolution: dict[TimeSource, float]
) -> bool:
    tolerance = min(resolution[one] + resolution[other], _COARSEST_S) + _SLACK_S
    if "end" in (one.reference, other.reference):
        tolerance += _ENDS_SLACK_S
    return abs(_difference_s(one, other, exposed)) <= tolerance


def _contradiction(source: TimeSource, best: TimeSource, exposed: _Exposed) -> str:
    difference = _difference_s(source, best, exposed)
    text = f"{source.name} is {difference:+.0f} s from {best.name}"
    exposure = statistics.median(time for _, time in exposed)
    quarters = difference / 900.0
    if abs(abs(difference) - exposure / 2) < _SLACK_S:
        return f"{text}, half the exposure: one of them may be the middle, not the start"
    if abs(abs(difference) - exposure) < _SLACK_S:
        return f"{text}, the exposure: one of them may be its end, not its start"
    if abs(abs(difference) - 86400) < 60:
        return f"{text}, a day: one of them may be the date of the evening"
    if abs(quarters - round(quarters)) < 0.02 and 0 < abs(difference) <= 14.5 * 3600:
        return f"{text} ({difference / 3600:+g} h): one of them may be local time"
    if 30 < abs(difference) < 72:
        return f"{text}: one of them may be in another time scale (TAI is 37 s, TT 69 s ahead of UTC)"
    return f"{text}: check which one is right"


def _one_doubt(best: TimeSource, resolution: float, header: Any) -> list[str]:
    doubts = []
    if resolution > 1.5:
        doubts.append(
            f"{best.name} is written in steps of {_seconds(resolution)} and nothing better was found; "
            "times are that uncertain"
        )
    if _weight(best, header) < 2 and str(header.get("TIMESYS", "")).strip() == "" and best.kind != "iso":
        doubts.append(f"{best.name} is taken for universal time; the header does not say so")
    return doubts


def _unusable(header: Any) -> str:
    named = [key for key in header if _NOT_UTC.fullmatch(key.upper())]
    local = [key for key in (*_START_DATES, *_CLOCKS) if key in header and _is_local(header, key)]
    if named or local:
        listed = ", ".join(dict.fromkeys([*named, *local]))
        return f" ({listed}: heliocentric, sidereal or local, from which UTC does not follow)"
    return " (DATE-OBS alone is a date without a time)" if header.get("DATE-OBS") else ""


def _seconds(resolution: float) -> str:
    return f"{resolution:.0f} s" if resolution >= 10 else f"{resolution:.2g} s"


# ---------------------------------------------------------------- source text
def time_expression(source: TimeSource, *, with_scale: bool) -> str:
    """Python for the header parser: MJD (UTC) of this source, from ``header``."""
    scale = ', scale=header.get("TIMESYS", "UTC")' if with_scale else ""
    key = f"header[{quoted(source.keyword)}]"
    ahead = f" - zone_hours(header[{quoted(source.zone)}]) / 24" if source.zone else ""
    writers: dict[str, Callable[[], str]] = {
        "iso": lambda: f"utc_mjd({key}{scale}){ahead}",
        "split": lambda: f"utc_mjd({key}, header[{quoted(source.clock)}]{scale}){ahead}",
        "mjd": lambda: f"utc_of_days({key}{scale})",
        "jd": lambda: f"utc_of_days(float({key}) - 2400000.5{scale})",
    }
    return writers[source.kind]()
