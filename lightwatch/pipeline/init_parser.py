"""The header parser that ``lightwatch init`` writes, filled in with the keywords of the user's own frames."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from lightwatch.pipeline.init_keywords import Guess, asked, quoted
from lightwatch.pipeline.init_pixels import Pixels
from lightwatch.pipeline.init_sample import Sample
from lightwatch.pipeline.init_time import TimeChoice, TimeSource, time_expression
from lightwatch.processes.calibration import SATURATED_FRACTION
from lightwatch.structure.frames import shown

_DOCSTRING = '''"""Header parser of this workdir: from a FITS header to what lightwatch needs. It is yours to change.

parse_header(header) returns a dict. Required: exptime (s), gain (electron/ADU), mjd (UTC).
Optional: filter, read_noise (electron), saturation (ADU), object, telescope, instrument, airmass,
frame_type (science, bias, dark, flat), ra and dec (degrees), pixel_scale (arcsec), latitude,
longitude (degrees, east positive), elevation (m), wcs_ok, and time_reference (start, mid or end: what
of the exposure mjd is). None means unknown. Frames with a wrong value are put aside with the reason:
'lightwatch status' shows them.
"""
'''
_TOOLS = ("degrees", "filter_in_beam", "first_of", "number", "utc_mjd", "utc_of_days", "zone_hours")
_WHAT = {
    "exptime": "Exposure time, s",
    "gain": "Gain, electron/ADU",
    "filter": "Filter",
    "read_noise": "Read noise, electron",
    "saturation": "Saturation, ADU",
    "pixel_scale": "Pixel scale, arcsec: a first guess, the true one is solved",
    "latitude": "Latitude, degrees",
    "longitude": "Longitude, degrees, east positive",
    "elevation": "Elevation, m",
}
_ORDER = (
    "filter", "read_noise", "saturation", "object", "telescope", "instrument", "airmass", "ra", "dec", "pixel_scale",
    "latitude", "longitude", "elevation",
)  # fmt: skip
#: what follows from it
IF_NOT_FOUND = {
    "filter": "frames of different filters would be taken for one",
    "read_noise": "the noise of the sky is measured in any case",
    "saturation": "pixels count as saturated at the largest number that the file can hold",
}
_WIDTH = 108
_WORD_ADU = 65536  # of 16 bits
_COMMON_GUESSES = {
    "exptime": Guess(asked(["EXPTIME"])),
    "gain": Guess(asked(["GAIN"])),
    **{
        name: Guess(asked([key]))
        for name, key in {
            "filter": "FILTER", "read_noise": "RDNOISE", "saturation": "SATURATE", "object": "OBJECT",
            "telescope": "TELESCOP", "instrument": "INSTRUME", "airmass": "AIRMASS",
        }.items()
    },
}  # fmt: skip


def common_parser_text() -> str:
    """Source of ``parse_header.py`` with the commonest keywords, for want of frames to look at."""
    time = TimeChoice((TimeSource("iso", "DATE-OBS", "start"),), (), ())
    remark = "Written without a look at any frame: compare every keyword with a header of yours."
    return _assembled([remark], time, _COMMON_GUESSES)


def parser_text(sample: Sample, time: TimeChoice, guesses: Mapping[str, Guess], doubts: Sequence[str]) -> str:
    """Source of ``parse_header.py``."""
    n, example = len(sample.science), shown(sample.science[0].path)
    remarks = [f"Guessed from the headers of {n} of {sample.n_files} files, such as {example}."]
    remarks += [f"CHECK: {doubt}" for doubt in doubts]
    return _assembled(remarks, time, guesses)


def from_pixels(guesses: Mapping[str, Guess], pixels: Pixels) -> dict[str, Guess]:
    """Values that no keyword tells but the pixels do."""
    found: dict[str, Guess] = {}
    transfer = pixels.transfer
    if guesses["gain"].code is None and transfer is not None:
        levels = f"{transfer.lowest_adu:.0f} to {transfer.highest_adu:.0f} ADU"
        why = f"measured: noise of the sky against its level ({levels}), +- {transfer.gain_uncertainty:.2g}"
        found["gain"] = Guess(f"{transfer.gain:.3g}", transfer.gain, why)
        if guesses["read_noise"].code is None and math.isfinite(transfer.read_noise):
            found["read_noise"] = Guess(
                f"{transfer.read_noise:.2g}", transfer.read_noise, "measured with the gain"
            )
    elif guesses["gain"].code is None:
        why = "; ".join(text for text in (guesses["gain"].why, pixels.transfer_problem) if text)
        found["gain"] = Guess(None, None, why)
    if guesses["saturation"].code is None and math.isfinite(pixels.pile_up_adu):
        why = (
            f"measured: the brightest pixels of {pixels.n_frames} frames pile up at"
            f" {pixels.pile_up_adu / SATURATED_FRACTION:.0f}; 2 % less is taken"
        )
        found["saturation"] = Guess(f"{pixels.pile_up_adu:.0f}.0", pixels.pile_up_adu, why)
    elif guesses["saturation"].code is None and pixels.stored_step > 1:
        level = _WORD_ADU - 2 * pixels.stored_step
        why = f"counts come in steps of {pixels.stored_step}: the highest is {_WORD_ADU - pixels.stored_step}"
        found["saturation"] = Guess(f"{level}.0", level, why)
    return found


def _assembled(remarks: Sequence[str], time: TimeChoice, guesses: Mapping[str, Guess]) -> str:
    body = ["def parse_header(header):", *(line for remark in remarks for line in _comment(remark, 4))]
    body += _time_lines(time)
    for name in ("exptime", "gain"):
        body += _about(name, guesses[name], 4)
        body.append(f"    {name} = {guesses[name].code or 'None'}")
    body += ["    return {", '        "exptime": exptime,', '        "gain": gain,', '        "mjd": mjd,']
    body.append('        "time_reference": time_reference,')
    for name in _ORDER:
        guess = guesses.get(name, Guess(None))
        if guess.code is not None:
            body += [*_about(name, guess, 8), f'        "{name}": {guess.code},']
        elif name in ("filter", "read_noise", "saturation"):
            body += [
                *_comment(f"{_WHAT[name]}: not found; {IF_NOT_FOUND[name]}", 8),
                f'        "{name}": None,',
            ]
    source = "\n".join([*body, "    }"]) + "\n"
    used = [tool for tool in _TOOLS if re.search(rf"\b{tool}\(", source)]
    imports = f"from lightwatch.structure.header_tools import {', '.join(used)}\n\n\n" if used else "\n"
    return f"{_DOCSTRING}\n{imports}{source}"


def _about(name: str, guess: Guess, indent: int) -> list[str]:
    """What a value is, and where the guess comes from."""
    if name not in _WHAT:
        return []
    text = _WHAT[name]
    if guess.code is None:
        text = f"TO DO: {text[0].lower()}{text[1:]}: not found, and frames are refused without it"
    return _comment(f"{text}: {guess.why}" if guess.why else text, indent)


def _comment(text: str, indent: int) -> list[str]:
    """Header text is foreign: one printable line each, broken where it is long."""
    words = "".join(c if c.isprintable() else " " for c in text).split()
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) + indent + 3 > _WIDTH:
            lines.append(line)
            line = "  "
        line += (" " if line.strip() else "") + word[:80]
    return [f"{' ' * indent}# {line}" for line in (*lines, line)]


def _time_lines(time: TimeChoice) -> list[str]:
    if not time.sources:
        todo = "TO DO: no keyword with the time (UTC) was found; frames are refused without it"
        offered = [f"    # {_assignment(time.offered)}"] if time.offered else []
        return [*_comment(todo, 4), '    mjd, time_reference = None, "start"', *offered]
    lines = [
        line for why in ("Time, MJD (UTC): " + "; ".join(time.why),) for line in _comment(why.rstrip(": "), 4)
    ]
    *others, last = time.sources
    for position, source in enumerate(others):
        lines.append(f"    {'el' if position else ''}if {_is_there(source)}:")
        lines.append(f"        {_assignment(source)}")
    if others:
        return [*lines, "    else:", f"        {_assignment(last)}"]
    return [*lines, f"    {_assignment(last)}"]


def _is_there(source: TimeSource) -> str:
    if source.kind == "iso":
        return f'":" in str(header.get({quoted(source.keyword)}, ""))'
    return f"header.get({quoted(source.clock or source.keyword)}) is not None"


def _assignment(source: TimeSource) -> str:
    return f'mjd, time_reference = {time_expression(source, with_scale=True)}, "{source.reference}"'
