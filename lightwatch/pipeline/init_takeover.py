"""What an older LightCurver workdir knows besides its configuration: frames eliminated by hand, WCS, stars."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from lightwatch.errors import FrameError
from lightwatch.pipeline.init_sample import LIMITS
from lightwatch.structure.catalogs_table import make_catalog, write_catalog
from lightwatch.structure.elimination_list import FILE_NAME, write_eliminations
from lightwatch.structure.frames import header_wcs
from lightwatch.structure.frames_image_header import read_image_header
from lightwatch.structure.lightcurver_workdir import OldFrame, OldStar, OldWorkdir
from lightwatch.structure.wcs_files import FOLDER, SUFFIX, stem_of, write_wcs_file

STAR_LISTS = (
    "psf.stars_to_use",
    "psf.stars_to_exclude",
    "normalization.stars_to_use",
    "normalization.stars_to_exclude",
)
STAR_TABLE = "lightcurver_stars.ecsv"
_NO_COMMENT = "eliminated in LightCurver"
_FIRST_GAIA_ID = 4_295_806_720  # smaller ids are of a table of somebody's own
_ID = re.compile(r"-?[0-9]{1,19}")
#: of a star that can be meant
_RANGES = {"ra": (0.0, 360.0), "dec": (-90.0, 90.0), "gmag": (-30.0, 40.0)}
_EPOCHS = (1800.0, 2200.0)
_LONGEST_NAME, _LONGEST_PATH = 250, 4000  # bytes
_GAIA_NAMES = {"gmag": "phot_g_mean_mag", "bmag": "phot_bp_mean_mag", "rmag": "phot_rp_mean_mag"}


@dataclass
class Takeover:
    """Files to write by their path in the new workdir, what is told of them, and what the owner should look at."""

    files: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def take_over(old: OldWorkdir, values: dict[str, Any]) -> Takeover:
    """What to write into the new workdir; ``values``, the translated configuration, is adapted to it."""
    found = Takeover()
    _eliminations(old.frames, found)
    _wcs(old, values, found)
    _letters(old, values, found)
    _own_table(old.stars, values, found)
    return found


def remark_on_letters(values: Mapping[str, Any]) -> list[str]:
    """Where no database tells which stars the letters meant."""
    named = [key for key in STAR_LISTS if any(not star.isdecimal() for star in values.get(key) or ())]
    told = (
        "the old workdir has no database that tells which stars were meant, and letters are given anew here"
    )
    return [f"{', '.join(named)}: {told}; check them"] if named else []


# ---------------------------------------------------------------- frames
def _eliminations(frames: tuple[OldFrame, ...], found: Takeover) -> None:
    by_hand = [frame for frame in frames if frame.eliminated_by_hand]
    rows = [(_raw(frame), frame.comment or _NO_COMMENT) for frame in by_hand if _has_name(frame)]
    if len(rows) < len(by_hand):
        found.remarks.append(
            f"{len(by_hand) - len(rows)} frames eliminated by hand have no name that a file can have; left out"
        )
    if rows:
        found.files[FILE_NAME] = lambda path: write_eliminations(path.parent, rows)
        found.told.append(
            f"{len(rows)} frames eliminated by hand, in {FILE_NAME}: they will be so when imported"
        )
    judged_anew = sum(f.eliminated and not f.eliminated_by_hand for f in frames)
    if judged_anew:
        found.remarks.append(
            f"{judged_anew} frames that LightCurver's own checks had eliminated are judged anew"
        )


def _raw(frame: OldFrame) -> str:
    return frame.raw_path or frame.relpath


def _has_name(frame: OldFrame) -> bool:
    path = PurePath(_raw(frame))
    short = len(bytes(path)) <= _LONGEST_PATH and all(
        len(os.fsencode(p)) <= _LONGEST_NAME for p in path.parts
    )
    return bool(path.name.strip(".")) and short and "\0" not in _raw(frame)


def _wcs(old: OldWorkdir, values: dict[str, Any], found: Takeover) -> None:
    """WCS of solved frames; where the raw headers have theirs, these are used anyway."""
    if values.get("plate_solving.already_plate_solved") is True:
        return
    solved = [frame for frame in old.frames if frame.solved and not frame.eliminated]
    raw_dirs = [os.path.realpath(raw) for raw in values.get("raw_dirs") or ()]
    names = {frame: _name(frame, raw_dirs) for frame in solved if _has_name(frame)}
    counts = Counter(names.values())
    known: dict[str, tuple[str, int, int]] = {}
    for frame, name in names.items():
        wcs = _wcs_of(old.path, frame) if counts[name] == 1 else None
        if wcs is not None:
            known[f"{FOLDER}/{name}{SUFFIX}"] = wcs
    if known:
        values.pop("plate_solving.already_plate_solved", None)  # which would forbid to look at them
        found.files |= {relpath: partial(_write_wcs, wcs) for relpath, wcs in known.items()}
        found.told.append(
            f"{len(known)} WCS, in {FOLDER}/: tried first, and kept where the stars confirm them"
        )
    if len(known) < len(solved):
        found.remarks.append(
            f"{len(solved) - len(known)} solved frames without a WCS to be read are solved anew"
        )


def _name(frame: OldFrame, raw_dirs: Sequence[str]) -> str:
    """Path from its raw directory; the bare name where it lay in none of them."""
    real = PurePath(os.path.realpath(_raw(frame)))
    base = next((raw for raw in raw_dirs if real.is_relative_to(raw)), real.parent)
    return stem_of(real.relative_to(base).as_posix())


def _wcs_of(workdir: Path, frame: OldFrame) -> tuple[str, int, int] | None:
    try:
        path = (workdir / frame.relpath).resolve()
        if not path.is_relative_to(workdir.resolve()):
            return None
        image = read_image_header(path, limits=LIMITS)
        text = header_wcs(image.header, name=path.name)
    except (FrameError, OSError, ValueError, RuntimeError):  # no path that a file could have, a loop of links
        return None
    plane = image.hdu.plane
    return (text, plane[1], plane[0]) if text and plane else None


def _write_wcs(wcs: tuple[str, int, int], path: Path) -> None:
    text, nx, ny = wcs
    write_wcs_file(path, text, nx=nx, ny=ny)


# ---------------------------------------------------------------- stars
def _letters(old: OldWorkdir, values: dict[str, Any], found: Takeover) -> None:
    """Letters are given anew here: the stars they meant are named by their ids."""
    if not old.stars:
        found.remarks += remark_on_letters(values)
        return
    ids = {star.name: str(number) for star in old.stars if star.name and (number := _id(star)) is not None}
    for key in STAR_LISTS:
        named = values.get(key)
        if not named:
            continue
        values[key] = [ids.get(star, star) for star in named if star in ids or star.isdecimal()]
        unknown = [star for star in named if star not in ids and not star.isdecimal()]
        if unknown:
            found.remarks.append(f"{key}: no star of the old table is named {', '.join(unknown)}; left out")
        if values[key]:
            found.told.append(f"{key}: {len(values[key])} stars, by their ids")
        else:
            del values[key]


def _own_table(stars: tuple[OldStar, ...], values: dict[str, Any], found: Takeover) -> None:
    """Stars that are not Gaia's: the old selection becomes the table of reference stars."""
    if all((_id(star) or 0) >= _FIRST_GAIA_ID for star in stars):
        return
    times = Counter(_id(star) for star in stars)
    complete = [star for star in stars if _is_complete(star)]
    usable = [star for star in complete if times[_id(star)] == 1]
    if len(complete) < len(stars):
        found.remarks.append(
            f"{len(stars) - len(complete)} stars of the old table have no number as id, no position or no magnitude, "
            "or one out of range; left out"
        )
    if len(usable) < len(complete):
        found.remarks.append(
            f"{len(complete) - len(usable)} stars of the old table share their id with another; left out"
        )
    if usable:
        found.files[STAR_TABLE] = partial(_write_stars, usable)
        values["plate_solving.catalog"] = values.get("reference_stars.catalog", "gaia")
        values["reference_stars.catalog"] = STAR_TABLE
        found.told.append(f"{len(usable)} reference stars of a table of your own, in {STAR_TABLE}")


def _id(star: OldStar) -> int | None:
    """The id as a number of the catalogue; None where it is none."""
    number = int(star.gaia_id) if _ID.fullmatch(star.gaia_id) else None
    return number if number is not None and abs(number) < 2**63 else None


def _is_complete(star: OldStar) -> bool:
    in_range = all(
        isinstance(value := star.columns.get(name), int | float) and low <= value <= high
        for name, (low, high) in _RANGES.items()
    )
    epoch, number = star.columns.get("ref_epoch"), _id(star)
    known_when = not isinstance(epoch, int | float) or _EPOCHS[0] <= epoch <= _EPOCHS[1]
    return in_range and known_when and number is not None and number >= 0


def _write_stars(stars: list[OldStar], path: Path) -> None:
    columns: dict[str, list[Any]] = {"source_id": [int(star.gaia_id) for star in stars]}
    for name in ("ra", "dec", "ref_epoch", "pmra", "pmdec", *_GAIA_NAMES):
        values = [star.columns.get(name) for star in stars]
        columns[_GAIA_NAMES.get(name, name)] = [
            float(value) if isinstance(value, int | float) else float("nan") for value in values
        ]
    catalog = make_catalog(columns, name="lightcurver_stars", release="")
    write_catalog(path, catalog, comments=("stars of a LightCurver workdir",))
