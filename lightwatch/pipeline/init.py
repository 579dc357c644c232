"""A new workdir: config.yaml and header parser, written from the user's own frames."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightwatch import __version__
from lightwatch.errors import ConfigError
from lightwatch.pipeline.init_lightcurver import Translation, translate
from lightwatch.pipeline.init_notes import Proposal, propose, summary
from lightwatch.pipeline.init_parser import common_parser_text
from lightwatch.pipeline.init_survey import Survey, survey
from lightwatch.pipeline.init_takeover import Takeover, remark_on_letters, take_over
from lightwatch.pipeline.init_target import remarks_on_target
from lightwatch.structure.config_file import load_config, refuse_unwritable_name
from lightwatch.structure.config_template import template
from lightwatch.structure.files import write_atomically
from lightwatch.structure.header_parsing import load_header_parser
from lightwatch.structure.header_tools import sky_position
from lightwatch.structure.lightcurver_workdir import read_lightcurver_workdir

_CATALOG_WORDS = ("gaia", "vizier", "frames")


@dataclass(frozen=True)
class InitRequest:
    """What the user said; None: not said."""

    directory: Path
    frames: Path | None = None
    name: str | None = None
    ra: str | None = None
    dec: str | None = None
    band: str | None = None
    instrument: str | None = None
    catalog: str | None = None
    from_lightcurver: Path | None = None


@dataclass(frozen=True)
class InitResult:
    """What was written, what was found in the frames, and what their owner should look at."""

    config_path: Path
    parser_path: Path | None
    found: tuple[str, ...]
    remarks: tuple[str, ...]
    to_fill_in: tuple[str, ...] = ()  # what the parser must be told before it takes any of the headers


def initialize_workdir(request: InitRequest) -> InitResult:
    """Write ``config.yaml``, and ``header_parser/parse_header.py`` unless a shipped parser fits.

    Raises
    ------
    ConfigError
        When there is a config.yaml already, no target is known, or an option is wrong; nothing is written.
    NoUsableData
        When no frame in the given directory can be read.
    """
    config_path = request.directory / "config.yaml"
    refuse_unwritable_name(request.directory)
    if config_path.exists():
        raise ConfigError(f"{config_path}: exists already; remove it, or choose another directory")
    old = translate(request.from_lightcurver) if request.from_lightcurver else None
    taken = _taken_over(old) if old else Takeover()
    _refuse_to_write_over(request.directory, taken)
    _refuse_missing_table(request.catalog)
    table = Path(request.catalog) if request.catalog and request.catalog not in _CATALOG_WORDS else None
    found = survey(request.frames, catalog=table) if request.frames else None
    values, notes, remarks = _values(request, found, old)
    text = template(values, notes, _head(request, found, old))
    return _write(request, config_path, text, found, old, taken, remarks + taken.remarks)


def _taken_over(old: Translation) -> Takeover:
    """What the older workdir knows besides its configuration, whose translation is adapted to it."""
    workdir = read_lightcurver_workdir(old.workdir)
    return take_over(workdir, old.values) if workdir else Takeover(remarks=remark_on_letters(old.values))


def _refuse_to_write_over(directory: Path, taken: Takeover) -> None:
    """What is taken over may have been changed by hand since."""
    there = [directory / name for name in taken.files if os.path.lexists(directory / name)]
    if there:
        others = f", as do {len(there) - 1} others" if len(there) > 1 else ""
        raise ConfigError(f"{there[0]}: exists already{others}; move it away, or choose another directory")


def _refuse_missing_table(catalog: str | None) -> None:
    if catalog and catalog not in _CATALOG_WORDS and not Path(catalog).is_file():
        raise ConfigError(f"--catalog: there is no file {catalog}; else write {', '.join(_CATALOG_WORDS)}")


# ---------------------------------------------------------------- values
def _values(
    request: InitRequest, found: Survey | None, old: Translation | None
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    proposal = propose(found, catalog=request.catalog) if found else Proposal()
    values = dict(old.values) if old else {}
    notes = dict(proposal.notes)
    remarks = [f"not carried over: {line}" for line in old.left_out] if old else []
    remarks += proposal.remarks
    if found:
        values["raw_dirs"] = [_relative(found.sample.raw_dir, request.directory)]
        values = proposal.values | values
    values.setdefault("raw_dirs", ["raw"])
    _target(request, found, values, notes, remarks)
    if request.instrument:
        values["instrument"] = request.instrument
    if request.band:
        values["zeropoints.band"] = request.band
    if request.catalog:
        is_word = request.catalog in _CATALOG_WORDS
        path = request.catalog if is_word else _relative(Path(request.catalog), request.directory)
        sparse = values.get("reference_stars.catalog") == "frames" and not is_word
        values["plate_solving.catalog" if sparse else "reference_stars.catalog"] = path
    return values, notes, remarks


def _relative(path: Path, directory: Path) -> str:
    """Path from the workdir when it lies in it, so that the whole can be moved; else absolute."""
    absolute, base = Path(os.path.abspath(path)), Path(os.path.abspath(directory))
    return str(absolute.relative_to(base)) if absolute.is_relative_to(base) else str(absolute)


def _target(
    request: InitRequest,
    found: Survey | None,
    values: dict[str, Any],
    notes: dict[str, str],
    remarks: list[str],
) -> None:
    """The ROI: as said, else of the older configuration, else where the telescope pointed."""
    if (request.ra is None) != (request.dec is None):
        raise ConfigError("--ra and --dec belong together")
    if request.ra is not None:
        try:
            position = sky_position(request.ra, request.dec)
        except ValueError as error:
            raise ConfigError(f"--ra, --dec: {error}") from None
        values["rois"] = {request.name or (found.object if found else None) or "target": _roi(position)}
        remarks += _on_target(position, found)
    elif "rois" in values:
        if request.name:
            first, *others = values["rois"].items()
            values["rois"] = {request.name: first[1], **dict(others)}
    elif found and found.pointing:
        values["rois"] = {request.name or found.object or "target": _roi(found.pointing)}
        notes["rois"] = "guessed: where the telescope pointed; put the coordinates of your target here"
        remarks.append("rois: the coordinates are the telescope's pointing; put those of your target")
    else:
        raise ConfigError(
            "which target? give --ra and --dec (degrees, or hours and degrees as 02:48:48.7 +19:13:31)"
        )


def _on_target(position: tuple[float, float], found: Survey | None) -> list[str]:
    if found is None:
        return []
    return remarks_on_target(
        position,
        found.sample.science,
        scale_arcsec=found.scale_arcsec,
        wcs_checked=bool(found.pixels.wcs_verdicts),
    )


def _roi(position: tuple[float, float]) -> dict[str, Any]:
    return {"coordinates": [round(coordinate, 7) for coordinate in position]}


def _head(request: InitRequest, found: Survey | None, old: Translation | None) -> tuple[str, ...]:
    lines = [f"Written by lightwatch {__version__}.", *(summary(found) if found else ())]
    if old:
        lines.append(
            f"Translated from the LightCurver configuration {request.from_lightcurver}; not carried over:"
        )
        lines += [f"  {line}" for line in old.left_out]
    return tuple(lines)


# ---------------------------------------------------------------- files
def _write(
    request: InitRequest,
    config_path: Path,
    text: str,
    found: Survey | None,
    old: Translation | None,
    taken: Takeover,
    remarks: list[str],
) -> InitResult:
    """Files that pass ``config check``, or none."""
    draft = config_path.with_name(".config.yaml.draft")
    _put(draft, text)
    try:
        config = load_config(draft)
        if config.instrument is not None:
            load_header_parser(request.directory, config.instrument)
    except ConfigError as error:
        problems = [
            problem.replace(draft.name, "the configuration to be written", 1) for problem in error.problems
        ]
        raise ConfigError(problems) from None
    finally:
        draft.unlink(missing_ok=True)
    parser_path = None
    if config.instrument is None:
        parser_path = request.directory / "header_parser" / "parse_header.py"
        if not parser_path.exists():
            _put(parser_path, _parser(found, old))
    for name, write in taken.files.items():
        write(request.directory / name)
    if config.raw_dirs == [Path("raw")]:
        (request.directory / "raw").mkdir(exist_ok=True)
    _put(config_path, text)
    told = (*(summary(found) if found else ()), *(f"taken over: {line}" for line in taken.told))
    return InitResult(config_path, parser_path, told, tuple(remarks), _to_fill_in(found, old))


def _to_fill_in(found: Survey | None, old: Translation | None) -> tuple[str, ...]:
    if found is None or found.metadata or (old and old.header_parser):
        return ()
    return found.missing or ("what the frames lack",)


def _parser(found: Survey | None, old: Translation | None) -> str:
    if old and old.header_parser:
        return old.header_parser.read_text(encoding="utf-8")
    return found.parser if found else common_parser_text()


def _put(path: Path, text: str) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o644)  # others may read; a header parser that others can write would not be run

    write_atomically(path, write)
