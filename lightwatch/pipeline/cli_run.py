"""lightwatch run, plan."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lightwatch.pipeline import night
from lightwatch.pipeline.cli_session import (
    ConfigArgument,
    JsonOption,
    Session,
    complain,
    printable,
    say,
    say_causes,
    say_json,
    say_table,
    session_of,
)

if TYPE_CHECKING:
    from lightwatch.pipeline.planning import PlanLine
    from lightwatch.pipeline.workflow_manager import RunResult
    from lightwatch.structure.workspace import Workspace

MODEL_TASK = night.NAMES[-1]
STEPS_HELP = (
    "Steps, in order: initialize_database, read_convert_skysub_character_catalog, plate_solving, "
    "calculate_common_and_total_footprint, query_gaia_for_stars, stamp_extraction, psf_modeling, "
    "star_photometry, calculate_normalization_coefficient, calculate_absolute_zeropoints, "
    "prepare_calibrated_cutouts, model_calibrated_cutouts."
)
_EXIT_HELP = (
    "Exit codes: 0 clean, or nothing to do; 10 finished, some items were rejected or failed; 2 usage; "
    "65 no usable data; 70 bug; 74 disk; 75 another run is active; 78 configuration; "
    "130 Ctrl-C, 143 SIGTERM: ended in order, the next run continues."
)

StartOption = Annotated[str | None, typer.Option(metavar="STEP", help="First step.")]
StopOption = Annotated[str | None, typer.Option(metavar="STEP", help="Last step, included.")]
OnlyOption = Annotated[str | None, typer.Option(metavar="STEP", help="This step alone.")]


def run(
    ctx: typer.Context,
    config: ConfigArgument = None,
    start: StartOption = None,
    stop: StopOption = None,
    only: OnlyOption = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most N items per step.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, do nothing.")] = False,
    executor: Annotated[
        Literal["processes", "serial", "dask"] | None, typer.Option(help="Where the work runs, for this run.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Worker processes, for this run.")
    ] = None,
    renew_footprint: Annotated[
        bool,
        typer.Option("--renew-footprint", help="Choose region and stars anew from the frames there are now."),
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="The last line only.")] = False,
    verbose: Annotated[
        int,
        typer.Option("-v", "--verbose", count=True, help="The log on standard error too; -vv: all of it."),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Do what is missing: new frames, changed settings. Nothing is done twice."""
    session = session_of(ctx)
    workspace = with_executor(session.open(config), executor, jobs)
    if dry_run:
        show_plan(workspace, start, stop, only, as_json=as_json)
        return
    session.stack.enter_context(workspace.lock())  # before the heavy imports: a second cron job ends at once
    try:
        result, causes = _run_logged(
            session, workspace, quiet=quiet or as_json, verbose=verbose,
            arguments={
                "start": start, "stop": stop, "only": only, "limit": limit, "renew_footprint": renew_footprint,
            },
        )  # fmt: skip
    except KeyboardInterrupt:
        complain("interrupted; the next run continues")
        raise
    if as_json:
        say_json({
            "exit_code": result.exit_code, "summary": result.line, "causes": causes,
            "tasks": [asdict(summary) for summary in result.summaries],
        })  # fmt: skip
    else:
        if not quiet:
            say_causes(causes)
        say(result.work)
        if not quiet and any(summary.task == MODEL_TASK and summary.done for summary in result.summaries):
            _say_light_curves(workspace)
    if result.lacks:  # cron mails it, quiet or not
        complain(printable(result.lacks), session.secrets)
    raise typer.Exit(result.exit_code)


run_epilog = (
    f"Example: lightwatch run ~/j0248 --stop psf_modeling\n\nIn a crontab: lightwatch run ~/j0248 -q\n\n"
    f"{STEPS_HELP}\n\n{_EXIT_HELP}"
)


def with_executor(workspace: Workspace, kind: str | None, jobs: int | None) -> Workspace:
    """The workspace with another executor for this run."""
    changes = {name: value for name, value in (("kind", kind), ("jobs", jobs)) if value is not None}
    if not changes:
        return workspace
    executor = workspace.config.executor.model_copy(update=changes)
    return replace(workspace, config=workspace.config.model_copy(update={"executor": executor}))


def _run_logged(
    session: Session, workspace: Workspace, *, quiet: bool, verbose: int, arguments: Mapping[str, Any]
) -> tuple[RunResult, list[dict[str, Any]]]:
    from lightwatch.pipeline.causes import causes_of_run, quarantined_files
    from lightwatch.pipeline.console import ConsoleReporter, log_to
    from lightwatch.pipeline.displaced import displaced_sources
    from lightwatch.pipeline.reporting import LOG
    from lightwatch.pipeline.workflow_manager import WorkflowManager

    path = workspace.workdir / "logs" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.log"
    session.log_path = path
    session.stack.enter_context(log_to(path, session.secrets, verbose=verbose))
    before = quarantined_files(workspace)
    bars = sys.stderr.isatty() and not verbose
    with ConsoleReporter(quiet=quiet, bars=bars) as reporter:
        result = WorkflowManager(workspace, reporter=reporter).run(**arguments)
    LOG.info("%s", result.line)
    if any(summary.task == MODEL_TASK and summary.done for summary in result.summaries):
        for source in displaced_sources(workspace):  # cron mails it, quiet or not
            complain(printable(source.text), session.secrets)
            LOG.warning("%s", source.text)
    session.stack.callback(workspace.close)
    return result, causes_of_run(workspace, before)


def _say_light_curves(workspace: Workspace) -> None:
    """What all was for, in a line."""
    from lightwatch.pipeline.points import points_of
    from lightwatch.structure import queries, queries_report

    errors = [error for (error,) in queries.stream(workspace.reader, queries_report.relative_errors())]
    known = [error for error in errors if error is not None]
    if known:
        points = points_of(workspace)
        comma = ";" if points.doubtful else ","
        say(f"{points.text}{comma} median error {100 * median(known):.2g} %; next: lightwatch report")


def plan(
    ctx: typer.Context,
    config: ConfigArgument = None,
    start: StartOption = None,
    stop: StopOption = None,
    only: OnlyOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a run would do, and why, with the time it would take by what was measured before."""
    show_plan(session_of(ctx).open(config), start, stop, only, as_json=as_json)


plan_epilog = f"Example: lightwatch plan ~/j0248\n\n{STEPS_HELP}"


def show_plan(
    workspace: Workspace, start: str | None, stop: str | None, only: str | None, *, as_json: bool
) -> None:
    """Print what a run would do."""
    from lightwatch.pipeline.planning import plan as make_plan

    lines = make_plan(workspace, night.between(start, stop, only))
    if as_json:
        say_json([asdict(line) | {"total": line.total} for line in lines])
        return
    say_table(
        ("step", "items", "time", "why"),
        [(line.task, line.total, _duration(line.seconds), line.reason) for line in lines],
    )
    say(_total(lines))


def _total(lines: Sequence[PlanLine]) -> str:
    if not any(line.total for line in lines):
        return "nothing to do"
    known = sum(line.seconds or 0.0 for line in lines)
    unknown = [line.task for line in lines if line.total and line.seconds is None]
    parts = [f"about {_duration(known)}"] * (known > 0) + [
        f"{len(unknown)} steps of unknown duration"
    ] * bool(unknown)
    return "in all " + ", ".join(parts)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
