"""lightwatch status, why, frames: questions to the database, which a run in progress does not disturb."""

from __future__ import annotations

import io
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightwatch.errors import NoUsableData
from lightwatch.pipeline.cli_session import (
    ConfigArgument,
    JsonOption,
    printable,
    say,
    say_causes,
    say_json,
    say_table,
    session_of,
)
from lightwatch.pipeline.raw_dirs import RawDirs
from lightwatch.processes.poor_fit import EPOCH_CHI2, PSF_CHI2, STAR_CHI2

if TYPE_CHECKING:
    from lightwatch.structure.workspace import Workspace

status_epilog = "Example: lightwatch status ~/j0248; to follow a run: lightwatch status ~/j0248 --watch"
why_epilog = "Example: lightwatch why ~/j0248 night3_0042.fits"
frames_epilog = 'Example: lightwatch frames ~/j0248 --eliminate 42 --comment "satellite across the target"'


_WATCH_SECONDS = 2.0
_STARS_SHOWN = 10
_CHOICES_SHOWN = 20


# ---------------------------------------------------------------- status
def status(
    ctx: typer.Context,
    config: ConfigArgument = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
) -> None:
    """How far the work is: per step, the last run, the newest frame, disk, and what was refused and why."""
    workspace = session_of(ctx).open(config)
    if watch and as_json:
        raise typer.BadParameter("--watch is for people: a program may ask with --json as often as it likes")
    if watch:
        _watch(workspace)
    elif as_json and not workspace.has_database:
        say_json({"workdir": workspace.workdir, "database": None, "tasks": []})
    elif as_json:
        say_json(status_of(workspace, RawDirs(workspace.config.raw_dirs)))
    else:
        _say_all(workspace, RawDirs(workspace.config.raw_dirs))


def _say_all(workspace: Workspace, raw_dirs: RawDirs) -> None:
    if workspace.has_database:
        _say_status(status_of(workspace, raw_dirs))
    else:
        say(f"{workspace.workdir}: no run yet; 'lightwatch run' begins")


def _watch(workspace: Workspace) -> None:
    """The status every two seconds, in place; where no terminal shows it, only when it has changed."""
    from rich.console import Console

    shown, raw_dirs = None, RawDirs(workspace.config.raw_dirs)
    try:
        while True:
            with redirect_stdout(io.StringIO()) as told:
                _say_all(workspace, raw_dirs)
            text = told.getvalue()
            if sys.stdout.isatty():
                Console().clear()
                say(f"{datetime.now(UTC):%H:%M:%S} UTC, every {_WATCH_SECONDS:g} s, Ctrl-C ends\n\n{text}")
            elif text != shown:
                say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n{text}")
                sys.stdout.flush()
            shown = text
            time.sleep(_WATCH_SECONDS)
    except KeyboardInterrupt:
        say()


def status_of(workspace: Workspace, raw_dirs: RawDirs) -> dict[str, Any]:
    """Everything that ``status`` tells."""
    from lightwatch.pipeline.beside import told_beside
    from lightwatch.pipeline.displaced import displaced_sources
    from lightwatch.pipeline.points import points_of
    from lightwatch.structure import queries, queries_overview
    from lightwatch.structure.files import path_text

    reader = workspace.reader
    footprint = queries.rows(reader, queries.current_footprint())
    place = footprint[0]["hash"] if footprint else ""
    points = points_of(workspace)
    last = queries.rows(reader, queries.last_run())
    newest = queries.rows(reader, queries_overview.newest_frame())
    counts = queries.rows(reader, queries_overview.frame_counts())[0]
    return {
        "workdir": workspace.workdir,
        "tasks": queries.rows(reader, queries_overview.progress()),
        "last_run": _run_facts(last[0], workspace.is_shared) if last else None,
        "newest_frame": newest[0] if newest else None,
        "frames": counts["frames"],
        "eliminated": counts["eliminated"],
        "files": queries.rows(reader, queries.file_states()),
        "unlisted": [{"path": path_text(path), "reason": reason} for path, reason in raw_dirs.unlisted()],
        "causes": [
            *queries.rows(reader, queries_overview.rejections(place)),
            *queries.rows(reader, queries_overview.rejected_groups(place)),
        ],
        "points": asdict(points) | {"text": points.text},
        "beside": told_beside(workspace),
        "displaced": [asdict(one) | {"text": one.text} for one in displaced_sources(workspace)],
        "disk": _disk(workspace, counts["bytes"] + queries.scalar(reader, queries_overview.product_bytes())),
    }


def _run_facts(row: Mapping[str, Any], shared: bool) -> dict[str, Any]:
    from lightwatch.structure.run_rows import state_of_run

    facts = {
        name: row[name]
        for name in ("id", "started", "ended", "host", "pid", "version", "exit_code", "summary")
    }
    return {**facts, "state": state_of_run(row, shared=shared)}


def _disk(workspace: Workspace, product_bytes: int) -> dict[str, int]:
    path = workspace.database_path
    return {
        "database_bytes": path.stat().st_size if path is not None else 0,
        "products_bytes": product_bytes,
        "free_bytes": shutil.disk_usage(workspace.workdir).free,
    }


def _say_status(facts: Mapping[str, Any]) -> None:
    names = ("task", "done", "pending", "rejected", "failed")
    say_table(names, [[row[name] for name in names] for row in facts["tasks"]])
    say("pending '-': only 'lightwatch plan' can tell")
    say()
    say(f"last run: {_told_run(facts['last_run'])}")
    newest = facts["newest_frame"]
    if newest:
        say(
            f"newest frame: {_name(newest)} (id {newest['id']}), MJD {newest['mjd_mid']:.5f}, "
            f"filter {printable(newest['filter'] or 'unknown')}"
        )
    say(f"frames: {facts['frames']}, of which {facts['eliminated']} eliminated")
    disk = {name: value / 1e9 for name, value in facts["disk"].items()}
    say(
        f"disk: about {disk['products_bytes']:.2f} GB of products, {disk['database_bytes']:.2f} GB database, "
        f"{disk['free_bytes']:.1f} GB free"
    )
    if facts["points"]["n"]:
        say(f"light curves: {facts['points']['text']}")
    _say_files(facts["files"])
    if facts["causes"]:
        say("what a step refused or failed on:")
        say_causes(facts["causes"])
    for folder in facts["unlisted"]:
        path = printable(folder["path"])
        say(f"look at this: {path} cannot be listed: {folder['reason']}: new frames may be missing")
    if facts["beside"]:
        say(f"look at this: {printable(facts['beside'])}")
    for source in facts["displaced"]:
        say(f"look at this: {printable(source['text'])}")


def _told_run(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return "none"
    if run["state"] != "ended":
        return f"{run['state']}, begun {run['started']} by pid {run['pid']} on {run['host']}"
    return f"{run['ended']}, exit code {run['exit_code']}: {printable(run['summary'] or '')}"


def _say_files(files: Sequence[Mapping[str, Any]]) -> None:
    if files:
        say("raw files:")
    for row in files:
        reason = f", {row['reason_code']}" if row["reason_code"] else ""
        example = f" (such as {printable(row['example'])})" if row["state"] != "imported" else ""
        say(f"  {row['n']} {row['state']}{reason}{example}")


def _name(frame: Mapping[str, Any]) -> str:
    return printable(Path(frame["original_image_path"]).name)


# ---------------------------------------------------------------- why
def why(
    ctx: typer.Context,
    config: ConfigArgument = None,
    frame: Annotated[
        str | None, typer.Argument(metavar="FRAME", help="Its id, or a part of the name of its file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The story of one frame, or of a file that never became one: results, flags, reasons."""
    from lightwatch.pipeline.frame_names import suggestion
    from lightwatch.structure import queries, queries_overview

    if frame is None:  # the config came from the environment, so the only word given is the frame
        if config is None:
            raise typer.BadParameter("which frame? give its id or a part of its name")
        if config.is_dir() or config.suffix in (".yaml", ".yml"):
            raise typer.BadParameter(f"which frame of {config}? give its id or a part of its name too")
        config, frame = None, str(config)
    workspace = session_of(ctx).open_existing(config)
    found = queries.rows(workspace.reader, queries.frame_named(frame))
    loose = [
        row for row in queries.rows(workspace.reader, queries.files_named(frame)) if row["frame_id"] is None
    ]
    if not found and not loose:
        told = suggestion(workspace, frame, queries_overview.paths_of_files)
        raise NoUsableData(f"no frame or raw file is known by '{printable(frame)}'; {told}")
    stories = [_story(workspace, row) for row in found]
    if as_json:
        say_json({"frames": stories, "files": loose})
        return
    if len(stories) + len(loose) > _MANY:
        _say_choice(stories, loose)
        return
    for story in stories:
        _say_story(story)
    for row in loose:
        say(
            f"{printable(row['path'])}: {row['state']}, {row['reason_code'] or ''}: "
            f"{printable(row['reason'] or '')}"
        )


_MANY = 3


def _story(workspace: Workspace, row: Mapping[str, Any]) -> dict[str, Any]:
    from lightwatch.flags import Flag
    from lightwatch.structure import queries, queries_overview

    def spelled(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            {**item, "flag_names": Flag(item["flags"]).names} if "flags" in item else dict(item)
            for item in rows
        ]

    reader, key = workspace.reader, row["id"]
    return {
        "frame": {**row, "flag_names": Flag(row["flags"]).names},
        "files": queries.rows(reader, queries_overview.files_of_frame(key)),
        "tasks": spelled(queries.rows(reader, queries.story_of_frame(key))),
        "groups": queries.rows(reader, queries_overview.groups_of_frame(key)),
        "psf": spelled(queries.rows(reader, queries_overview.psf_of_frame(key))),
        "poor_stars": spelled(queries.rows(reader, queries_overview.flagged_stars(key, int(Flag.POOR_FIT)))),
        "plate_solve_attempts": queries.rows(reader, queries_overview.attempts_of_frame(key)),
        "light_curve_points": spelled(queries.rows(reader, queries_overview.light_curve_points(key))),
    }


def _say_choice(stories: Sequence[Mapping[str, Any]], loose: Sequence[Mapping[str, Any]]) -> None:
    say(f"{len(stories) + len(loose)} frames and files bear this name; which one?")
    lines = [
        f"  {story['frame']['id']}  {printable(story['frame']['original_image_path'])}" for story in stories
    ]
    lines += [f"  {printable(row['path'])} ({row['state']})" for row in loose]
    for line in lines[:_CHOICES_SHOWN]:
        say(line)
    if len(lines) > _CHOICES_SHOWN:
        say(f"  and {len(lines) - _CHOICES_SHOWN} more")


def _say_story(story: Mapping[str, Any]) -> None:
    from lightwatch.pipeline.displaced import full_name

    frame = story["frame"]
    say(f"frame {frame['id']}: {printable(frame['image_relpath'])}")
    for row in story["files"]:
        copy = " (a copy)" if row["state"] == "duplicate" else ""
        say(f"  raw file {printable(row['path'])}{copy}")
    say(
        f"  MJD {frame['mjd_mid']:.5f}, {frame['exptime']:g} s, "
        f"filter {printable(frame['filter'] or 'unknown')}"
    )
    if frame["eliminated"]:
        say(f"  eliminated: {printable(frame['comment'] or 'no comment')}")
    say(f"  flags: {', '.join(frame['flag_names']) or 'none'}")
    if frame["roi_in_footprint"] == 0:
        say("  no ROI lies on this frame: later steps leave it out")
    for row in story["tasks"]:
        _say_result(row["task"], row)
        if row["task"] == "plate_solving":
            _say_attempts(story["plate_solve_attempts"])
        elif row["task"] == "psf_modeling":
            _say_psf(story["psf"])
        elif row["task"] == "star_photometry":
            _say_poor_stars(story["poor_stars"])
    for row in story["groups"]:
        _say_result(f"{row['task']} [{printable(row['group_key']) or 'no filter'}]", row)
    for point in story["light_curve_points"]:
        flags = f" ({', '.join(point['flag_names'])})" if point["flag_names"] else ""
        if "poor_fit" in point["flag_names"]:
            flags += f", {_told_chi2(point['reduced_chi2'], EPOCH_CHI2)}"
        error = f" +- {point['flux_uncertainty']:.4g}" if point["flux_uncertainty"] is not None else ""
        name = printable(full_name(point["roi"], point["point_source"]))
        say(f"  flux of {name}: {point['flux']:.6g}{error} electron/s{flags}")
        if point["flux_kind"] == "aperture" and point["reduced_chi2"] is None:
            say(
                "    measured in an aperture: stars are small against the pixels, and poor_fit of PSF and stars "
                "does not matter to it"
            )
    say()


def _say_result(title: str, row: Mapping[str, Any]) -> None:
    parts = [str(row["state"])]
    parts += [printable(f"{row['reason_code']}: {row['reason'] or ''}")] if row["reason_code"] else []
    parts += [f"flags {', '.join(row['flag_names'])}"] if row.get("flag_names") else []
    parts += [f"{row['attempts']} attempts"] if row["attempts"] > 1 else []
    parts += [f"{row['seconds']:.2f} s"] if row["seconds"] else []
    parts += [] if row["current"] else ["outdated: settings or inputs changed since"]
    say(f"  {title}: {'; '.join(parts)}")


def _say_attempts(attempts: Sequence[Mapping[str, Any]]) -> None:
    for row in attempts:
        matches = f", {row['n_matches']} stars" if row["n_matches"] is not None else ""
        scatter = f", {row['rms_arcsec']:.3f} arcsec" if row["rms_arcsec"] is not None else ""
        message = f": {printable(row['message'])}" if row["message"] else ""
        say(f"    tried {row['method']}: {row['outcome']}{matches}{scatter}{message}")


def _say_psf(psfs: Sequence[Mapping[str, Any]]) -> None:
    for row in psfs:
        kept_out = (
            f"; of stars kept out {row['reserved_chi2']:.3g}" if row["reserved_chi2"] is not None else ""
        )
        say(f"    PSF: {_told_chi2(row['chi2'], PSF_CHI2)}{kept_out}")


def _say_poor_stars(stars: Sequence[Mapping[str, Any]]) -> None:
    for row in stars[:_STARS_SHOWN]:
        say(f"    poor_fit: star {printable(row['star'])}: {_told_chi2(row['chi2'], STAR_CHI2)}")
    if len(stars) > _STARS_SHOWN:
        say(f"    poor_fit: and {len(stars) - _STARS_SHOWN} more stars")


def _told_chi2(chi2: float | None, limits: tuple[float, float]) -> str:
    return f"reduced chi2 {'unknown' if chi2 is None else f'{chi2:.3g}'} (expected {limits[0]:g} to {limits[1]:g})"


# ---------------------------------------------------------------- frames
def frames(
    ctx: typer.Context,
    config: ConfigArgument = None,
    eliminate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FRAME", help="Never use it: its id, or a part of its name; may be given again."
        ),
    ] = None,
    restore: Annotated[
        list[str] | None, typer.Option(metavar="FRAME", help="Use it again; may be given again.")
    ] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the frames, or take some out and back in; the next run follows."""
    from lightwatch.structure import queries, queries_overview
    from lightwatch.structure.elimination import set_eliminated

    workspace = session_of(ctx).open_existing(config)
    if comment is not None and not eliminate:
        raise typer.BadParameter("--comment says why a frame is eliminated: give --eliminate too")
    if eliminate or restore:
        with workspace.lock():
            with (
                workspace.engine.connect() as connection
            ):  # before a reader is there, and names that a run may change
                workspace.refuse_other_runs(connection)
            out, back = ([_id_of(workspace, text) for text in texts or ()] for texts in (eliminate, restore))
            both = sorted(set(out) & set(back))
            if both:
                raise typer.BadParameter(
                    f"--eliminate and --restore both name frame {', '.join(map(str, both))}"
                )
            n_out = set_eliminated(workspace, out, eliminated=True, comment=comment or "eliminated by hand")
            n_back = set_eliminated(workspace, back, eliminated=False, comment=None)
        idle = len(set(out)) + len(set(back)) - n_out - n_back
        unchanged = f" ({idle} were so already)" if idle else ""
        say(f"frames eliminated: {n_out}, restored: {n_back}{unchanged}; the next run follows")
        return
    rows = queries.rows(workspace.reader, queries_overview.frame_quality())
    if as_json:
        say_json(rows)
        return
    say_table(
        _FRAME_HEADINGS,
        [_listed(row) for row in rows],
    )


def _id_of(workspace: Workspace, text: str) -> int:
    """The frame that an id, or a part of a name, means."""
    from lightwatch.pipeline.frame_names import frame_meant

    row = frame_meant(workspace, text)
    if text.isdecimal() and text != str(row["id"]):
        say(f"{text} is no id, but a part of a name: {_name(row)} (id {row['id']})")
    return int(row["id"])


_FRAME_HEADINGS = (
    "id", "MJD", "filter", "seeing [arcsec]", "sky [electron/s/px]", "PSF chi2/dof", "coeff.", "flags", "out", "name",
)  # fmt: skip


def _listed(row: Mapping[str, Any]) -> list[object]:
    from lightwatch.flags import Flag

    out = row["comment"] or "eliminated" if row["eliminated"] else ""
    return [
        row["frame_id"], f"{row['mjd_mid']:.5f}", row["filter"], row["seeing_arcseconds"],
        row["sky_level_electron_per_second"], row["psf_chi2"], row["coefficient"],
        ",".join(Flag(row["flags"]).names), out, Path(row["image_relpath"]).stem,
    ]  # fmt: skip
