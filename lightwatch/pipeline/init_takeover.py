"""What an older LightCurver workdir knows besides its configuration: frames eliminated by hand, WCS, stars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from lightwatch.errors import FrameError
from lightwatch.pipeline.init_sample import LIMITS
from lightwatch.structure.catalogs_table import make_catalog, write_catalog
from lightwatch.structure.elimination_list import FILE_NAME, write_eliminations
from lightwatch.structure.frames import header_wcs
from lightwatch.structure.frames_image_header import read_image_header
from lightwatch.structure.lightcurver_workdir import OldFrame, OldStar, OldWorkdir
from lightwatch.structure.wcs_files import FOLDER, stem_of, write_wcs_file

STAR_LISTS = (
    "psf.stars_to_use",
    "psf.stars_to_exclude",
    "normalization.stars_to_use",
    "normalization.stars_to_exclude",
)
STAR_TABLE = "lightcurver_stars.ecsv"
_NO_COMMENT = "eliminated in LightCurver"
_FIRST_GAIA_ID = 4_295_806_720  # smaller ids are of a table of somebody's own
_GAIA_NAMES = {"gmag": "phot_g_mean_mag", "bmag": "phot_bp_mean_mag", "rmag": "phot_rp_mean_mag"}


@dataclass
class Takeover:
    """Files to write, what is told of them, and what the owner should look at."""

    files: list[Callable[[Path], None]] = field(default_factory=list)
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
    rows = [(f.raw_path or f.relpath, f.comment or _NO_COMMENT) for f in frames if f.eliminated_by_hand]
    if rows:
        found.files.append(lambda directory: write_eliminations(directory, rows))
        found.told.append(
            f"{len(rows)} frames eliminated by hand, in {FILE_NAME}: they will be so when imported"
        )
    judged_anew = sum(f.eliminated and not f.eliminated_by_hand for f in frames)
    if judged_anew:
        found.remarks.append(
            f"{judged_anew} frames that LightCurver's own checks had eliminated are judged anew"
        )


def _wcs(old: OldWorkdir, values: dict[str, Any], found: Takeover) -> None:
    """WCS of solved frames; where the raw headers have theirs, these are used anyway."""
    if values.get("plate_solving.already_plate_solved") is True:
        return
    solved = [frame for frame in old.frames if frame.solved and not frame.eliminated]
    names = Counter(_name(frame) for frame in solved)
    known: dict[str, tuple[str, int, int]] = {}
    for frame in solved:
        wcs = _wcs_of(old.path, frame) if names[_name(frame)] == 1 else None
        if wcs is not None:
            known[_name(frame)] = wcs
    if known:
        values.pop("plate_solving.already_plate_solved", None)  # which would forbid to look at them
        found.files.append(lambda directory: _write_wcs(directory, known))
        found.told.append(
            f"{len(known)} WCS, in {FOLDER}/: tried first, and kept where the stars confirm them"
        )
    if len(known) < len(solved):
        found.remarks.append(
            f"{len(solved) - len(known)} solved frames without a WCS to be read are solved anew"
        )


def _name(frame: OldFrame) -> str:
    return stem_of(PurePath(frame.raw_path or frame.relpath).name)


def _wcs_of(workdir: Path, frame: OldFrame) -> tuple[str, int, int] | None:
    path = (workdir / frame.relpath).resolve()
    if not path.is_relative_to(workdir.resolve()):
        return None
    try:
        header, hdu = read_image_header(path, limits=LIMITS)
        text = header_wcs(header, name=path.name)
    except FrameError:
        return None
    return (text, hdu.plane[1], hdu.plane[0]) if text and hdu.plane else None


def _write_wcs(directory: Path, known: Mapping[str, tuple[str, int, int]]) -> None:
    for name, (text, nx, ny) in known.items():
        write_wcs_file(directory / FOLDER / f"{name}.wcs", text, nx=nx, ny=ny)


# ---------------------------------------------------------------- stars
def _letters(old: OldWorkdir, values: dict[str, Any], found: Takeover) -> None:
    """Letters are given anew here: the stars they meant are named by their ids."""
    if not old.stars:
        found.remarks += remark_on_letters(values)
        return
    ids = {
        star.name: star.gaia_id for star in old.stars if star.name and star.gaia_id.lstrip("-").isdecimal()
    }
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
    foreign = [star for star in stars if not _is_gaia(star.gaia_id)]
    if not foreign:
        return
    usable = [star for star in stars if _is_complete(star)]
    if len(usable) < len(stars):
        found.remarks.append(
            f"{len(stars) - len(usable)} stars of the old table have no number as id, no position or no magnitude; "
            "left out"
        )
    if usable:
        found.files.append(lambda directory: _write_stars(directory, usable))
        values["plate_solving.catalog"] = values.get("reference_stars.catalog", "gaia")
        values["reference_stars.catalog"] = STAR_TABLE
        found.told.append(f"{len(usable)} reference stars of a table of your own, in {STAR_TABLE}")


def _is_gaia(gaia_id: str) -> bool:
    return gaia_id.isdecimal() and int(gaia_id) >= _FIRST_GAIA_ID


def _is_complete(star: OldStar) -> bool:
    numbers = all(isinstance(star.columns.get(name), int | float) for name in ("ra", "dec", "gmag"))
    return numbers and star.gaia_id.isdecimal() and int(star.gaia_id) < 2**63


def _write_stars(directory: Path, stars: list[OldStar]) -> None:
    columns: dict[str, list[Any]] = {"source_id": [int(star.gaia_id) for star in stars]}
    for name in ("ra", "dec", "ref_epoch", "pmra", "pmdec", *_GAIA_NAMES):
        values = [star.columns.get(name) for star in stars]
        columns[_GAIA_NAMES.get(name, name)] = [
            float(value) if isinstance(value, int | float) else float("nan") for value in values
        ]
    catalog = make_catalog(columns, name="lightcurver_stars", release="")
    write_catalog(directory / STAR_TABLE, catalog, comments=("stars of a LightCurver workdir",))
