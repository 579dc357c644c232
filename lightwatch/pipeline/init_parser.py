"""The header parser that ``lightwatch init`` writes, filled in with the keywords of the user's own frames."""

from __future__ import annotations

from lightwatch.pipeline.init_survey import Survey, TimeSource

_DOCSTRING = '''"""Header parser of this workdir: from a FITS header to what lightwatch needs. It is yours.

parse_header(header) returns a dict. Required: exptime (s), gain (electron/ADU), mjd (UTC).
Optional: filter, read_noise (electron), saturation (ADU), object, telescope, instrument, airmass,
frame_type (science, bias, dark, flat), ra and dec (degrees), pixel_scale (arcsec), latitude,
longitude (east positive), elevation (m), wcs_ok, and time_reference (start, mid or end: what of the
exposure mjd is). None means unknown. Frames with a wrong value are put aside with the reason:
'lightwatch status' shows them.
"""
'''
_FROM_TEXT = (
    "    moment = datetime.fromisoformat(text)",
    "    if moment.tzinfo is None:",
    "        moment = moment.replace(tzinfo=UTC)  # FITS: UTC unless it says otherwise",
    "    mjd = moment.timestamp() / 86400 + 40587",
)
_COMMON: dict[str, str | None] = {
    "exptime": "EXPTIME", "gain": "GAIN", "filter": "FILTER", "read_noise": "RDNOISE",
    "saturation": "SATURATE",
    "object": "OBJECT", "telescope": "TELESCOP", "instrument": "INSTRUME", "airmass": "AIRMASS",
}  # fmt: skip
_UNITS = {
    "exptime": "s", "gain": "electron/ADU", "read_noise": "electron", "saturation": "ADU",
    "pixel_scale": "arcsec, a first guess",
}  # fmt: skip
_REQUIRED = ("exptime", "gain")


def parser_text(survey: Survey | None) -> str:
    """Source of ``parse_header.py``; without frames to look at, with the commonest keywords."""
    time = survey.time if survey else TimeSource("iso", "DATE-OBS", "start")
    lines = [_DOCSTRING]
    if time is not None and time.kind in ("iso", "split"):
        lines += ["from datetime import UTC, datetime", ""]
    lines += ["", "def parse_header(header):"]
    lines += [f"    # {remark}" for remark in _remarks(survey)]
    lines += _time_lines(time)
    lines += ["    return {", *_entries(survey), '        "mjd": mjd,']
    lines += [f'        "time_reference": "{time.reference if time else "start"}",', "    }"]
    return "\n".join(lines) + "\n"


def _remarks(survey: Survey | None) -> list[str]:
    if survey is None:
        return ["written without a look at any frame: compare every keyword with a header of yours"]
    remarks = [f"guessed from {len(survey.sampled)} frames, such as {survey.sampled[0]}: check it"]
    return remarks + ([f"DOUBT: {survey.time_doubt}"] if survey.time_doubt else [])


def _time_lines(time: TimeSource | None) -> list[str]:
    if time is None:
        return ["    mjd = None  # TO DO: no keyword with the time was found; frames are refused without it"]
    key, reference = time.keyword, time.reference
    if time.kind == "mjd":
        return [f"    mjd = float(header[{key!r}])  # taken for UTC, {reference} of the exposure"]
    if time.kind == "jd":
        return [f"    mjd = float(header[{key!r}]) - 2400000.5  # taken for UTC, {reference} of the exposure"]
    if time.kind == "split":
        second = time.second_keyword
        text = f'    text = header[{key!r}].strip() + "T" + header[{second!r}].strip()'
        return [f"{text}  # {reference} of the exposure", *_FROM_TEXT]
    return [f"    text = header[{key!r}].strip()  # {reference} of the exposure", *_FROM_TEXT]


def _entries(survey: Survey | None) -> list[str]:
    keywords = survey.keywords if survey else _COMMON
    lines = []
    for name, key in keywords.items():
        if key is None and name == "pixel_scale":
            continue
        remarks = [_UNITS[name]] if name in _UNITS else []
        if key is None:
            remarks.append("not found in the headers")
            remarks[:0] = ["TO DO: frames are refused without it"] * (name in _REQUIRED)
        elif survey:
            remarks.append(f"such as {survey.examples[name]!r}")
        value = f"header.get({key!r})" if key else "None"
        lines.append(f'        "{name}": {value},' + (f"  # {'; '.join(remarks)}" if remarks else ""))
    return lines
