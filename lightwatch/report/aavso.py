"""AAVSO Extended File Format, version 1.2 (https://www.aavso.org/aavso-extended-file-format)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightwatch.report.light_curve_table import DOUBTFUL
from lightwatch.structure.queries import Row

#: the format's codes for bands of zero points; any other band is O (other), named in the notes
_FILTERS = {
    "V": "V", "R": "R", "Ic": "I", "g_sdss": "SG", "r_sdss": "SR", "i_sdss": "SI", "z_sdss": "SZ",
}  # fmt: skip
_WIDTHS = {"name": 30, "date": 16, "mag": 8, "error": 6, "airmass": 7, "notes": 100}
_FIELDS = "NAME,DATE,MAG,MERR,FILT,TRANS,MTYPE,CNAME,CMAG,KNAME,KMAG,AMASS,GROUP,CHART,NOTES"
_MJD_ZERO = 2400000.5


def write_aavso(
    rows: Sequence[Row], head: Mapping[str, str | float], observer_code: str | None, path: Path
) -> None:
    """Points with a magnitude or a limit; doubtful ones are left out. DATE is JD (UTC) of mid-exposure."""
    sound = [row for row in rows if not row["flags"] & DOUBTFUL]
    told = [row for row in sound if _brightness(row) is not None]
    lines = [
        "#TYPE=EXTENDED",
        f"#OBSCODE={_plain(observer_code or 'na')}",
        f"#SOFTWARE={_plain(str(head['ORIGIN']))[:255]}",
        "#DELIM=,",
        "#DATE=JD",
        "#OBSTYPE=CCD",
        f"#Magnitudes in {_plain(str(head['MAGBAND']))} ({_plain(str(head['MAGSYS']))}),"
        f" filter {_plain(str(head['FILTER']))}; left out: {len(rows) - len(sound)} doubtful points,"
        f" {len(sound) - len(told)} without magnitude or limit",
    ]
    if observer_code is None:
        lines.append("#The observer code is missing: export again with yours")
    lines.append(f"#{_FIELDS}")
    lines += [_line(row, str(head["MAGBAND"]), str(head["MAGSYS"])) for row in told]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _line(row: Row, band: str, system: str) -> str:
    limit = row["mag"] is None
    fields = (
        star_name(row["roi"], row["point_source"]),
        f"{row['mjd'] + _MJD_ZERO:.6f}",
        _brightness(row),
        "na" if limit else _error(row),
        _FILTERS.get(band, "O"),
        "NO",
        "STD",
        "ENSEMBLE",
        "na",
        "na",
        "na",
        _fitting(row["airmass"], _WIDTHS["airmass"], decimals=4),
        "na",
        "na",
        _plain(f"{band} {system}; filter {row['filter'] or 'unknown'}; frame {row['frame_id']}")[
            : _WIDTHS["notes"]
        ],
    )
    return ",".join(str(field) for field in fields)


def star_name(roi: str, source: str) -> str:
    """The name of a point source within 30 characters; the label outlives a long ROI's name."""
    width = _WIDTHS["name"]
    source, roi = _plain(source), _plain(roi)
    if source == roi:
        return roi[:width]
    return f"{roi[: max(0, width - 1 - len(source))]} {source}".strip()[:width]


def _brightness(row: Row) -> str | None:
    if row["mag"] is not None:
        return _fitting(row["mag"], _WIDTHS["mag"], decimals=4)
    return (
        None if row["mag_limit"] is None else "<" + _fitting(row["mag_limit"], _WIDTHS["mag"] - 1, decimals=3)
    )


def _error(row: Row) -> str:
    """The larger of the two sides: the format has one number."""
    sides = [row[name] for name in ("mag_uncertainty_up", "mag_uncertainty_down") if row[name] is not None]
    return _fitting(max(sides, default=None), _WIDTHS["error"], decimals=4)


def _fitting(value: float | None, width: int, *, decimals: int) -> str:
    """A decimal number with a dot in at most so many characters, or na."""
    if value is None or not math.isfinite(value):
        return "na"
    for places in range(decimals, 0, -1):
        text = f"{value:.{places}f}"
        if len(text) <= width:
            return text
    return "na"


def _plain(text: str) -> str:
    """ASCII without the delimiter, control characters or the mark of a comment."""
    ascii_text = text.encode("ascii", "replace").decode("ascii")
    return re.sub(r"[\x00-\x1f\x7f,#|]+", " ", ascii_text).strip()
