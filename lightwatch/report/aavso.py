"""AAVSO Extended File Format, version 1.2 (https://www.aavso.org/aavso-extended-file-format)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightwatch.flags import DOUBTFUL
from lightwatch.report.check_star import CheckStar
from lightwatch.structure.filter_names import band_of
from lightwatch.structure.queries import Row

#: the format's codes for bands of zero points; any other band is O (other), named in the notes
_FILTERS = {
    "B": "B", "V": "V", "R": "R", "Ic": "I", "g_sdss": "SG", "r_sdss": "SR", "i_sdss": "SI", "z_sdss": "SZ",
}  # fmt: skip
#: without a filter, with magnitudes of comparison stars in a band
_UNFILTERED = {"V": "CV", "R": "CR"}
_WIDTHS = {"name": 30, "date": 16, "mag": 8, "error": 6, "star": 20, "airmass": 7, "chart": 20}
_LONGEST_NOTE = 60  # of a word of foreign origin; the field itself may have thousands of characters
_FIELDS = "NAME,DATE,MAG,MERR,FILT,TRANS,MTYPE,CNAME,CMAG,KNAME,KMAG,AMASS,GROUP,CHART,NOTES"
_MJD_ZERO = 2400000.5
_UNKNOWN = "na"
_HOW_MEASURED = {"psf": "PSF photometry", "aperture": "aperture photometry"}
Head = Mapping[str, str | float]


def write_aavso(
    rows: Sequence[Row],
    head: Head,
    checks: Mapping[str, CheckStar | None],
    observer_code: str | None,
    path: Path,
) -> None:
    """Points of an ROI with a magnitude or a limit; doubtful ones are left out. DATE is JD (UTC) of mid-exposure.

    ``checks``: the check star of each point source.
    """
    sound = [row for row in rows if not row["flags"] & DOUBTFUL]
    told = [row for row in sound if _brightness(row) is not None]
    lines = [
        "#TYPE=EXTENDED",
        f"#OBSCODE={_plain(observer_code or _UNKNOWN)}",
        f"#SOFTWARE={_plain(str(head['ORIGIN']))[:255]}",
        "#DELIM=,",
        "#DATE=JD",
        "#OBSTYPE=CCD",
        f"#Magnitudes in {_plain(str(head['MAGBAND']))} ({_plain(str(head['MAGSYS']))}),"
        f" filter {_plain(str(head['FILTER']))}; left out: {len(rows) - len(sound)} doubtful points,"
        f" {len(sound) - len(told)} without magnitude or limit",
        f"#Measured by {_HOW_MEASURED[str(head['FLUXKIND'])]} against the reference stars of the catalogue"
        f" {_plain(str(head['MAGCAT']))}; the check star is one of them, named by its id there",
        "#MERR leaves out the uncertainty of the zero point, which all points share: ZPERR of the notes, in mag",
    ]
    if observer_code is None:
        lines.append("#The observer code is missing: export again with yours")
    lines.append(f"#{_FIELDS}")
    lines += [_line(row, head, checks[row["point_source"]]) for row in told]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _line(row: Row, head: Head, check: CheckStar | None) -> str:
    limit = row["mag"] is None
    check_mag = check.mags.get(row["frame_id"]) if check else None
    fields = (
        star_name(row["roi"], row["point_source"]),
        f"{row['mjd'] + _MJD_ZERO:.6f}",
        _brightness(row),
        _UNKNOWN if limit else _error(row),
        filter_code(row["filter"], str(head["MAGBAND"])),
        "NO",
        "STD",
        "ENSEMBLE",
        _UNKNOWN,
        _plain(check.name)[: _WIDTHS["star"]] if check and check_mag is not None else _UNKNOWN,
        _fitting(check_mag, _WIDTHS["mag"], decimals=4),
        _fitting(row["airmass"], _WIDTHS["airmass"], decimals=4),
        _UNKNOWN,
        _plain(str(head["MAGCAT"]))[: _WIDTHS["chart"]] or _UNKNOWN,
        _notes(row, head, check if check_mag is not None else None),
    )
    return ",".join(str(field) for field in fields)


def _notes(row: Row, head: Head, check: CheckStar | None) -> str:
    """Subfields by the convention of the format: text, then |KEY=value."""
    told: dict[str, object] = {
        "BAND": head["MAGBAND"],
        "SYSTEM": head["MAGSYS"],
        "FILTER": row["filter"] or "unknown",
        "FRAME": row["frame_id"],
        "ZPERR": _decimal(row["zeropoint_uncertainty"]),
    }
    if check:
        told |= {"KREFMAG": _decimal(check.catalog_mag), "KREFERR": _decimal(check.catalog_error)}
    parts = [f"{key}={_plain(str(value))[:_LONGEST_NOTE]}" for key, value in told.items()]
    return "|".join([_HOW_MEASURED[str(head["FLUXKIND"])], *parts])


def _decimal(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4f}"


def filter_code(filter_name: str, band: str) -> str:
    """The code of a light curve: that of the band, unless the name of the filter says that it is another one."""
    known = band_of(filter_name)
    if known == "G":
        return _UNFILTERED.get(band, "O")
    return _FILTERS.get(band, "O") if known in (None, band) else "O"


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
        return _UNKNOWN
    for places in range(decimals, 0, -1):
        text = f"{value:.{places}f}"
        if len(text) <= width:
            return text
    return _UNKNOWN


def _plain(text: str) -> str:
    """ASCII without the delimiter, control characters or the mark of a comment."""
    ascii_text = text.encode("ascii", "replace").decode("ascii")
    return re.sub(r"[\x00-\x1f\x7f,#|]+", " ", ascii_text).strip()
