"""What ``init`` proposes for config.yaml from the frames it looked at, and the comments that say why."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lightwatch.pipeline.init_parser import IF_NOT_FOUND
from lightwatch.pipeline.init_pixels import read_stars
from lightwatch.pipeline.init_survey import Survey
from lightwatch.processes.cutouts import cutout_size_px
from lightwatch.structure.filter_names import band_of
from lightwatch.structure.frames import shown

_FEW_STARS = 20  # a table with fewer in the field serves astrometry, not photometry
_SNR_OF_FRAMES_STARS = 100.0
_UNDERSAMPLED_PX = 1.5
_LISTED = 6


@dataclass(frozen=True)
class Proposal:
    """Values and comments by dotted key, and remarks for the terminal."""

    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


# ---------------------------------------------------------------- summary
def summary(found: Survey) -> tuple[str, ...]:
    """Lines for the top of config.yaml: what was looked at, and what is there."""
    sample = found.sample
    n = len(sample.science) + len(sample.others) + len(sample.unreadable)
    lines = [
        f"Looked at the headers of {n} of {sample.n_files} files, and the pixels of {found.pixels.n_frames}:"
    ]
    lines += [f"  {name}: {text}" for name, text in _facts(found) if text]
    passed, all_of_them = len(found.metadata), len(sample.science)
    parser = (
        f"the shipped one for {found.instrument}" if found.instrument else "header_parser/parse_header.py"
    )
    lines.append(f"  parser: {parser}; it takes {passed} of the {all_of_them} headers of frames of the sky")
    return tuple(lines)


def _facts(found: Survey) -> list[tuple[str, str]]:
    metadata = found.metadata
    cameras = Counter(
        (" ".join(text for text in (meta.telescope, meta.instrument) if text) or "unnamed")
        for meta in metadata
    )
    sizes = Counter("{1} x {0} px".format(*item.shape) for item in found.sample.science)
    others = Counter(item.kind for item in found.sample.others)
    unreadable = found.sample.unreadable
    return [
        ("nights", _nights(found.nights)),
        ("filters", _listed(found.filters)),
        ("cameras", f"{_listed(cameras)}; {_listed(sizes)}" if cameras else _listed(sizes)),
        ("exposures", _exposures([meta.exptime_s for meta in metadata])),
        ("gain", _detector(found, "gain", [meta.gain for meta in metadata], "electron/ADU")),
        ("read noise", _detector(found, "read_noise", [meta.read_noise for meta in metadata], "electron")),
        ("saturation", _detector(found, "saturation", [meta.saturation_adu for meta in metadata], "ADU")),
        ("site", _site(found)),
        ("others", f"{_listed(others)}: not used" if others else ""),
        ("unreadable", f"{len(unreadable)}, such as {shown(unreadable[0])}" if unreadable else ""),
    ]


def _exposures(seconds: Sequence[float]) -> str:
    counts = Counter(f"{exposure:.4g} s" for exposure in seconds)
    return _listed(counts) if len(counts) < _LISTED else f"{min(seconds):.4g} to {max(seconds):.4g} s"


def _detector(found: Survey, name: str, values: Sequence[float], unit: str) -> str:
    """A property of the camera, and where it is from: a keyword, or the pixels; or what is done without."""
    known = sorted({float(f"{value:.4g}") for value in values if math.isfinite(value)})
    guess = found.detector[name]
    if not known and (found.instrument or guess.code is None):
        return f"not found; {IF_NOT_FOUND.get(name, 'frames are refused without it')}"
    source = guess.why
    if found.instrument:
        is_keyword = isinstance(guess.value, float) and float(f"{guess.value:.4g}") in known
        source = f"{f'{guess.why}, ' if is_keyword else ''}by the shipped parser for {found.instrument}"
    if not known:  # the parser takes none of the headers
        return shown(source)
    ends = dict.fromkeys((f"{known[0]:g}", f"{known[-1]:g}"))
    return shown(f"{' to '.join(ends)} {unit} ({source})")


def _nights(starts: Sequence[float]) -> str:
    days = [(date(1858, 11, 17) + timedelta(days=int(mjd))).isoformat() for mjd in starts]
    if not days:
        return ""
    return f"{len(days)}, {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "") + " (UTC)"


def _listed(counts: Counter[str]) -> str:
    """The commonest, with their numbers where there are several."""
    if len(counts) == 1:
        return shown(next(iter(counts)))
    named = [f"{shown(name)} ({count})" for name, count in counts.most_common(_LISTED)]
    return ", ".join(named) + (f" and {len(counts) - _LISTED} others" if len(counts) > _LISTED else "")


def _site(found: Survey) -> str:
    places = {
        (round(meta.latitude_deg, 3), round(meta.longitude_deg, 3))
        for meta in found.metadata
        if math.isfinite(meta.latitude_deg) and math.isfinite(meta.longitude_deg)
    }
    return "; ".join(f"latitude {lat:g}, longitude {lon:g} (east positive)" for lat, lon in sorted(places))


# ---------------------------------------------------------------- values and comments
def propose(found: Survey, *, catalog: str | None) -> Proposal:
    """Values, comments and remarks; ``catalog``: what the user said of reference stars."""
    values: dict[str, Any] = {}
    notes: dict[str, str] = {"raw_dirs": f"{found.sample.n_files} files found"}
    remarks = _parser_remarks(found) + _other_chips(found)
    if found.instrument:
        values["instrument"] = found.instrument
        notes["instrument"] = "recognised by the headers"
    if not _site(found):
        notes["telescope"] = "no site in the headers: latitude and longitude are needed for airmass and Moon"
    _image(found, values, notes)
    remarks += _solving(found, values, notes)
    _stars(found, catalog, values, notes)
    _band(found, catalog, values, notes)
    _sizes(found, notes)
    return Proposal(values, notes, tuple(remarks))


def _parser_remarks(found: Survey) -> list[str]:
    where = found.instrument or "header_parser/parse_header.py"
    remarks = [f"{where}: {name} was not found; fill it in before the run" for name in found.missing]
    remarks += [f"{where}: {doubt}" for doubt in found.doubts]
    unnamed = sum(meta.filter is None for meta in found.metadata)
    if unnamed:
        n = len(found.metadata)
        remarks.append(
            f"{where}: filter was not found in {unnamed} of {n} headers; {IF_NOT_FOUND['filter']}: name it there, or "
            "in header_overrides"
        )
    if found.refused and not found.missing:
        n, first = len(found.refused), found.refused[0]
        remarks.append(f"{where}: refuses {n} of {len(found.sample.science)} headers: {first}")
    return remarks


def _other_chips(found: Survey) -> list[str]:
    """Images beside the one that is taken, which would be left out without a word."""
    several = next((item for item in found.sample.science if item.alike), None)
    if several is None:
        return []
    others = ", ".join(map(str, several.alike))
    verb = "is an image too" if len(several.alike) == 1 else "are images too"
    return [
        f"importation.hdu_data: HDU {others} {verb}, as large as HDU {several.hdu_index}, which is taken; one chip per "
        "workdir: importation.hdu_data"
    ]


def _image(found: Survey, values: dict[str, Any], notes: dict[str, str]) -> None:
    hdus = sorted({item.hdu_index for item in found.sample.science})
    if hdus != [0]:
        notes["importation.hdu_data"] = f"the images were found in HDU {', '.join(map(str, hdus))}"
    if found.pixels.bad_pixel_map:
        values["importation.hdu_bad_pixels"] = "auto"
        notes["importation.hdu_bad_pixels"] = "an extension is a bad pixel map by its name; auto finds it"


def _solving(found: Survey, values: dict[str, Any], notes: dict[str, str]) -> list[str]:
    notes["plate_solving.already_plate_solved"] = "\n".join(found.wcs)
    scale = found.pixel_scale
    if scale is None:
        return ["plate_solving.pixel_scale_arcsec: not found in the headers; give it if you know it"]
    notes["plate_solving.pixel_scale_arcsec"] = shown(f"guessed: {found.pixel_scale_why}")
    if found.plate_solved < len(found.sample.science) and found.instrument is None:
        values["plate_solving.pixel_scale_arcsec"] = list(scale) if isinstance(scale, tuple) else scale
    return []


def _stars(found: Survey, catalog: str | None, values: dict[str, Any], notes: dict[str, str]) -> None:
    n = _stars_in_field(found, catalog)
    if n is None:
        return
    if n >= _FEW_STARS:
        notes["reference_stars.catalog"] = f"about {n} stars of the table lie in a frame"
        return
    values["reference_stars.catalog"] = "frames"
    values["normalization.min_snr"] = _SNR_OF_FRAMES_STARS
    notes["normalization.min_snr"] = (
        "set for the frames' own stars: an error of the sky under a star changes the flux of a faint one by much and\n"
        "that of a bright one by little, and differs from camera to camera; faint stars would carry it into the light\n"
        "curve. Where that leaves too few stars, the run says so: lower it (the default of 20 serves a single camera)"
    )
    notes["plate_solving.catalog"] = f"about {n} stars of the table lie in a frame: enough for the WCS"
    notes["reference_stars.catalog"] = (
        f"{n} stars of a table are few for photometry: the frames' own stars serve there, and magnitudes\n"
        "are on a scale of their own; put the table here, or gaia, if you prefer theirs"
    )


def _stars_in_field(found: Survey, catalog: str | None) -> int | None:
    """How many stars of the user's table a frame shows."""
    table = Path(catalog) if catalog else None
    stars = read_stars(table) if table and table.is_file() else None
    if stars is None or found.pixels.stars_in_field is not None:
        return found.pixels.stars_in_field
    scale = found.scale_arcsec
    if isinstance(found.pixel_scale, tuple):
        scale = math.sqrt(found.pixel_scale[0] * found.pixel_scale[1])
    if scale is None or found.pointing is None:
        return None
    ny, nx = found.sample.science[0].shape
    area = nx * ny * (scale / 3600.0) ** 2
    return len(stars.cone(*found.pointing, math.sqrt(area / math.pi)))


def _band(found: Survey, catalog: str | None, values: dict[str, Any], notes: dict[str, str]) -> None:
    names = [name for name in found.filters if name != "unknown"]
    if not names:
        return
    bands = {band_of(name) for name in names}
    notes["zeropoints.band"] = f"filters of the frames: {', '.join(shown(name) for name in sorted(names))}"
    band = bands.pop() if len(bands) == 1 else None
    table = Path(catalog) if catalog else None
    stars = read_stars(table) if table and table.is_file() else None
    coloured = stars is None or bool(np.isfinite(stars.phot_bp_mean_mag - stars.phot_rp_mean_mag).any())
    if band not in (None, "G") and coloured and values.get("reference_stars.catalog") != "frames":
        values["zeropoints.band"] = band
        notes["zeropoints.band"] += f"; {band} is guessed from it"


def _sizes(found: Survey, notes: dict[str, str]) -> None:
    pixels = found.pixels
    if math.isfinite(pixels.fwhm_px):
        text = f"seeing of the {pixels.n_frames} frames looked at: {pixels.fwhm_px:.1f} px"
        if isinstance(found.pixel_scale, float):
            text += f" ({pixels.fwhm_px * found.pixel_scale:.1f} arcsec)"
        text += f"; null makes cutouts of {cutout_size_px(pixels.fwhm_px)} px of such a frame"
        notes["cutouts.star_size_px"] = text
        notes["cutouts.roi_size_px"] = (
            f"null makes {cutout_size_px(pixels.fwhm_px)} px of a target alone; of several point sources what they take"
        )
        if pixels.fwhm_px < _UNDERSAMPLED_PX:
            notes["psf.subsampling_factor"] = "the frames are undersampled: 3 may serve better"
    _magnitudes(found, notes)


def _magnitudes(found: Survey, notes: dict[str, str]) -> None:
    """No limits are set: what they are for is measured on every frame. What they would be is told."""
    level = next((m.saturation_adu for m in found.metadata if math.isfinite(m.saturation_adu)), math.nan)
    reached = f"that reach {level:.0f} ADU" if math.isfinite(level) else "that are saturated"
    bright = f"none is needed: stars {reached} are found and left out by themselves"
    faint = "none is needed: psf.min_snr and normalization.min_snr leave out faint stars, on every frame anew"
    if math.isfinite(found.pixels.brightest_gmag):
        bright += (
            f"; the brightest\nstar of the table below that level has G = {found.pixels.brightest_gmag:.1f}"
        )
        faint += f";\nS/N 20 is reached to G = {found.pixels.faintest_gmag:.1f} in the frames looked at"
    notes["reference_stars.min_gmag"], notes["reference_stars.max_gmag"] = bright, faint
