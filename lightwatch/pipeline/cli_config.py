"""lightwatch init, config check, config show, config schema, config diff."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightwatch.errors import ConfigError
from lightwatch.pipeline.cli_session import (
    ConfigArgument,
    JsonOption,
    config_file,
    printable,
    say,
    say_json,
    session_of,
)

if TYPE_CHECKING:
    from lightwatch.pipeline.init import InitRequest
    from lightwatch.pipeline.init_sample import Sample
    from lightwatch.pipeline.init_trial import Trial
    from lightwatch.structure.config import Config
    from lightwatch.structure.workspace import Workspace

_HEADERS_TO_CHECK = 12  # of a raw directory: it may be slow to read

config_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at the configuration.")

init_epilog = (
    "Example: lightwatch init ~/j0248 --frames ~/raw --name J0248 --ra 42.2031 --dec 19.22528 --band r_sdss"
)


# ---------------------------------------------------------------- init
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The workdir to be.")],
    frames: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Your frames: a few are read."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the target.")] = None,
    ra: Annotated[
        str | None, typer.Option(help="Its right ascension: degrees, or hours as 02:48:48.7.")
    ] = None,
    dec: Annotated[str | None, typer.Option(help="Its declination: degrees, or as +19:13:31.")] = None,
    band: Annotated[str | None, typer.Option(help="Band of the zero point, such as G, r_sdss, V.")] = None,
    instrument: Annotated[str | None, typer.Option(help="A shipped header parser.")] = None,
    catalog: Annotated[
        str | None, typer.Option(help="Reference stars: gaia, vizier, frames, or the path of a table.")
    ] = None,
    from_lightcurver: Annotated[
        Path | None,
        typer.Option(metavar="CONFIG", exists=True, dir_okay=False, help="Translate its config.yaml."),
    ] = None,
) -> None:
    """Begin: a workdir with a commented config.yaml, and a header parser if none that is shipped fits."""
    from lightwatch.pipeline.init import InitRequest, initialize_workdir

    request = InitRequest(directory, frames, name, ra, dec, band, instrument, catalog, from_lightcurver)
    if ra is None and frames is None and from_lightcurver is None and sys.stdin.isatty():
        request = _asked(request)
    result = initialize_workdir(request)
    say(f"wrote {_typed(result.config_path)}")
    if result.parser_path:
        say(f"wrote {_typed(result.parser_path)}")
    for line in result.found:
        say(f"{'  ' * line.startswith(' ')}{printable(line)}")
    if result.remarks:
        say("to check:")
    for remark in result.remarks:
        say(f"  {printable(remark)}")
    if result.to_fill_in:
        where = result.parser_path or directory / "header_parser" / "parse_header.py"
        say(
            f"next: fill in {', '.join(result.to_fill_in)} in {_typed(where)}, or as header_overrides in "
            f"{_typed(result.config_path)}; then lightwatch config check {_typed(directory)}"
        )
        return
    say(f"next: lightwatch run {_typed(directory)}")


def _typed(path: Path) -> str:
    """A path as it is typed in a shell."""
    text = shlex.quote(str(path))
    return text if text.isprintable() else printable(text)


def _asked(request: InitRequest) -> InitRequest:
    from dataclasses import replace

    return replace(
        request,
        name=request.name or typer.prompt("Name of the target"),
        ra=typer.prompt("Right ascension (degrees, or hours as 02:48:48.7)"),
        dec=request.dec or typer.prompt("Declination (degrees, or as +19:13:31)"),
    )


# ---------------------------------------------------------------- check
@config_app.command(epilog="Example: lightwatch config check ~/j0248")
def check(ctx: typer.Context, config: ConfigArgument = None) -> None:
    """Every mistake of a configuration at once, each with its line; exit code 78 when there is one."""
    from lightwatch.structure.database import remark_on_disk

    path = config_file(config)
    workspace = session_of(ctx).open(path)
    problems = list(_problems(workspace))
    looks = [] if problems else _looks(workspace)
    problems += _refusals(workspace, looks, of_all=True)
    if problems:
        raise ConfigError(problems)
    remark = remark_on_disk(workspace.database_path) if workspace.database_path is not None else ""
    if remark:
        say(f"hint, of this machine and not of the configuration: {printable(remark)}")
    refusals = _refusals(workspace, looks, of_all=False)
    for hint in (*_off_target(workspace, looks), *refusals, *_hints(workspace)):
        say(f"hint: {printable(hint)}")
    say(f"{path}: no mistakes")


def _problems(workspace: Workspace) -> Iterator[str]:
    """What only a look at the surroundings of a config file shows."""
    from lightwatch.pipeline import recipes
    from lightwatch.structure.elimination_list import read_eliminations
    from lightwatch.structure.frames_discovery import unlisted
    from lightwatch.structure.header_parsing import load_header_parser

    config = workspace.config
    for raw, reason in unlisted(config.raw_dirs):
        yield f"raw_dirs: {raw} cannot be listed: {reason}"
    for catalog in {config.reference_stars.catalog, recipes.astrometric_catalog(workspace)}:
        yield from _complaints(partial(recipes.catalog_identity, workspace, catalog))
    yield from _complaints(partial(load_header_parser, workspace.workdir, config.instrument))
    yield from _complaints(partial(read_eliminations, workspace.workdir))


def _looks(workspace: Workspace) -> list[tuple[Sample, Trial]]:
    """A few headers of each raw directory, and what the header parser says of them."""
    from lightwatch.errors import NoUsableData
    from lightwatch.pipeline.init_sample import sample_headers
    from lightwatch.pipeline.init_trial import tried, tried_apart
    from lightwatch.structure.header_overrides import overrides_of, relpath_of
    from lightwatch.structure.header_parsing import load_header_parser

    config = workspace.config
    parser = load_header_parser(workspace.workdir, config.instrument)
    run = tried if config.instrument else tried_apart  # what is shipped harms nobody
    found = []
    for raw_dir in config.raw_dirs:
        try:
            sample = sample_headers(raw_dir, config=config, wanted=_HEADERS_TO_CHECK)
        except NoUsableData:  # no frame there yet
            continue
        asked = [
            (
                item.path.name,
                item.header,
                overrides_of(config.header_overrides, relpath_of(item.path, config.raw_dirs)),
            )
            for item in sample.science
        ]
        found.append((sample, run(parser, asked, time_reference=config.importation.time_reference)))
    return found


def _refusals(workspace: Workspace, looks: list[tuple[Sample, Trial]], *, of_all: bool) -> list[str]:
    """That the header parser takes none of the headers (``of_all``), which is a mistake, or not all of them."""
    taken = sum(len(trial.metadata) for _, trial in looks)
    refused = [reason for _, trial in looks for reason in trial.refused]
    if not refused or of_all == (taken > 0):
        return []
    name = workspace.config.instrument
    parser = f"the shipped parser {name}" if name else "header_parser/parse_header.py"
    n = taken + len(refused)
    return [
        f"{parser} takes {taken or 'none'} of the {n} headers looked at: {printable(refused[0])}; change it, or write "
        "header_overrides"
    ]


def _off_target(workspace: Workspace, looks: list[tuple[Sample, Trial]]) -> list[str]:
    """What ``init`` remarks too: the telescope pointed elsewhere, as the headers of a few frames say."""
    from lightwatch.pipeline.init_target import remarks_on_target

    remarks: list[str] = []
    for sample, trial in looks:
        known = workspace.config.plate_solving.pixel_scale_arcsec
        scales = [m.pixel_scale_arcsec for m in trial.metadata if math.isfinite(m.pixel_scale_arcsec)]
        widest = max(known) if isinstance(known, tuple) else known
        scale = widest or max(scales, default=None)
        of_rois = [
            remarks_on_target(roi.coordinates, sample.science, scale_arcsec=scale, wcs_checked=True)
            for roi in workspace.config.rois.values()
        ]
        if all(of_rois):  # else one of the targets is near
            remarks += of_rois[0]
    return remarks


def _hints(workspace: Workspace) -> Iterator[str]:
    """What is said of files that are not there: they are still to come, or it is a slip of the finger."""
    from lightwatch.structure.elimination_list import read_eliminations, told_of
    from lightwatch.structure.files import path_text
    from lightwatch.structure.frames_discovery import find_files
    from lightwatch.structure.header_overrides import overrides_of, relpath_of
    from lightwatch.structure.wcs_files import FOLDER, SUFFIX, stem_of, wcs_files

    config, listed = workspace.config, read_eliminations(workspace.workdir)
    wcs = wcs_files(workspace.workdir)
    if not (config.header_overrides or listed.entries or wcs):
        return
    found = find_files(
        config.raw_dirs, config.patterns, recursive=config.discovery.recursive, follow_links=True
    )
    names = [relpath_of(item.path, config.raw_dirs) for item in found.files]
    for pattern, override in config.header_overrides.items():
        if not any(overrides_of({pattern: override}, name) for name in names):
            yield f"header_overrides.{pattern}: no file in raw_dirs is named so"
    told = told_of(listed.among((path_text(item.path), os.path.realpath(item.path)) for item in found.files))
    if told:
        yield told
    of_no_file = sorted(wcs.keys() - {stem_of(path_text(Path(name))) for name in names})
    if of_no_file:
        example = f"{FOLDER}/{of_no_file[0]}{SUFFIX}"
        yield f"{FOLDER}: {len(of_no_file)} of no file in raw_dirs, such as {example}: named by the path from there"


def _complaints(attempt: Callable[[], object]) -> Iterator[str]:
    try:
        attempt()
    except ConfigError as error:
        yield from error.problems


# ---------------------------------------------------------------- show, schema, diff
@config_app.command(epilog="Example: lightwatch config show ~/j0248")
def show(
    config: ConfigArgument = None,
    as_json: JsonOption = False,
) -> None:
    """Every value in force, and whether it is a default or stands in the file, and where."""
    from lightwatch.structure.config_file import key_lines, load_config

    path = config_file(config)
    lines = key_lines(path)
    origins = {
        key: f"{path.name}:{lines[tuple(key.split('.'))]}" if tuple(key.split(".")) in lines else "default"
        for key in _flat(load_config(path))
    }
    values = _flat(load_config(path))
    if as_json:
        say_json({key: {"value": value, "origin": origins[key]} for key, value in values.items()})
        return
    for key, value in values.items():
        say(f"{key}: {printable(_shown(value))}  ({origins[key]})")


@config_app.command(epilog="Example: lightwatch config schema > lightwatch.schema.json")
def schema() -> None:
    """The JSON Schema of config.yaml, for editors that complete and check."""
    from lightwatch.structure.config import Config

    say_json(Config.model_json_schema())


@config_app.command(epilog="Example: lightwatch config diff ~/j0248 old.yaml")
def diff(
    ctx: typer.Context,
    config: ConfigArgument = None,
    other: Annotated[Path | None, typer.Argument(metavar="OTHER", help="Another config file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What differs from another config file, or else from the last run, or else from the defaults."""
    from lightwatch.structure.config_file import load_config

    path = config_file(config)
    if other is not None:
        name, before, now = str(other), _flat(load_config(config_file(other))), _flat(load_config(path))
    else:
        workspace = session_of(ctx).open(path)
        name, before, now = _last_run_or_defaults(workspace)
    changes = {
        key: {"before": before.get(key), "now": now.get(key)}
        for key in (*now, *(key for key in before if key not in now))
        if before.get(key) != now.get(key)
    }
    if as_json:
        say_json({"compared_with": name, "changes": changes})
        return
    say(f"compared with {name}: {len(changes) or 'no'} change{'s' * (len(changes) != 1)}")
    for key, change in changes.items():
        say(f"  {key}: {printable(_shown(change['before']))} -> {printable(_shown(change['now']))}")


def _last_run_or_defaults(workspace: Workspace) -> tuple[str, dict[str, Any], dict[str, Any]]:
    from lightwatch.structure import queries
    from lightwatch.structure.config import Config

    now = _flat(workspace.config)
    last = queries.rows(workspace.reader, queries.last_run()) if workspace.has_database else []
    if not last:
        required = {name: getattr(workspace.config, name) for name in ("raw_dirs", "rois", "workdir")}
        return "the defaults", _flat(Config(**required)), now
    return f"the run of {last[0]['started']}", dict(_flattened(json.loads(last[0]["config"]))), now


def _flat(config: Config) -> dict[str, Any]:
    """Values by dotted key; secrets as asterisks."""
    from lightwatch.structure.config_template import leaves

    return {".".join(path): value for path, value in leaves(config)}


def _flattened(stored: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A stored configuration by dotted key: sections are opened, values that are mappings are not."""
    from lightwatch.structure.config_errors import known_keys

    for name, value in stored.items():
        if known_keys((name,)) and isinstance(value, Mapping):
            yield from ((f"{name}.{key}", item) for key, item in value.items())
        else:
            yield name, value


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
