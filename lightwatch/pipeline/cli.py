"""The command line: ``lightwatch COMMAND``. It parses, calls, and tells how it ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.main import get_command

from lightwatch import __version__
from lightwatch.errors import ExitCode
from lightwatch.pipeline import cli_config, cli_data, cli_database, cli_run, cli_sql, cli_status
from lightwatch.pipeline.cli_session import (
    ConfigArgument,
    Session,
    complain,
    end_with_error,
    say,
    session_of,
)

if TYPE_CHECKING:
    from lightwatch.structure.workspace import Workspace

app = typer.Typer(
    name="lightwatch",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: lightwatch init ~/j0248 --frames ~/raw, then lightwatch run ~/j0248.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"lightwatch {__version__}")
        raise typer.Exit


@app.callback()
def _lightwatch(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Calibrated light curves from frames of one field, night after night."""


app.command(epilog=cli_config.init_epilog)(cli_config.init)
app.command(epilog=cli_run.run_epilog)(cli_run.run)
app.command(epilog=cli_run.plan_epilog)(cli_run.plan)
app.command(epilog=cli_status.status_epilog)(cli_status.status)
app.command(epilog=cli_status.why_epilog)(cli_status.why)
app.command(epilog=cli_status.frames_epilog)(cli_status.frames)
app.command(epilog=cli_sql.sql_epilog)(cli_sql.sql)
app.command(epilog=cli_data.verify_epilog)(cli_data.verify)
app.add_typer(cli_config.config_app, name="config")
app.add_typer(cli_data.catalog_app, name="catalog")
app.add_typer(cli_database.db_app, name="db")


@app.command(epilog="Example: lightwatch report ~/j0248; during a run: lightwatch report ~/j0248 --serve")
def report(
    ctx: typer.Context,
    config: ConfigArgument = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: report/ of the workdir.")] = None,
    all_frames: Annotated[
        bool, typer.Option("--all-frames", help="A page for every frame, not for notable ones alone.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show it to a browser of this machine; it follows a run.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For --serve; 0: any free one.")] = 8711,
    bind: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="For --serve: an address that other machines can reach too."),
    ] = None,
) -> None:
    """Pictures and tables of everything as a web page that needs no network."""
    from lightwatch.report.site import write_report

    if bind is not None and not serve:
        raise typer.BadParameter("--bind says where --serve listens: give --serve too")
    if serve:
        _serve(session_of(ctx).open(config), bind, port)
    else:
        say(str(write_report(session_of(ctx).open_existing(config), out, all_frames=all_frames)))


def _serve(workspace: Workspace, bind: str | None, port: int) -> None:
    """Answer a browser until Ctrl-C."""
    from lightwatch.report.serve import LOOPBACK, ReportServer, is_loopback

    address = bind or LOOPBACK
    try:
        server = ReportServer(workspace, address=address, port=port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise typer.BadParameter(f"cannot listen on {address}, port {port}: {reason}") from error
    if not is_loopback(address):
        complain(f"whoever reaches {address} can read this report: there is no password")
    say(f"{server.url}  (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say()
    finally:
        server.server_close()


@app.command(epilog="Example: lightwatch export ~/j0248 --format ecsv --format aavso")
def export(
    ctx: typer.Context,
    config: ConfigArgument = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="ecsv, fits, votable, csv, parquet or aavso; may be given again."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Default: light_curves/ of the workdir.")
    ] = None,
    roi: Annotated[str | None, typer.Option(help="This ROI alone.")] = None,
    nightly: Annotated[bool, typer.Option("--nightly", help="Nightly means too.")] = False,
    observer: Annotated[
        str | None, typer.Option(metavar="CODE", help="Your AAVSO observer code, for aavso.")
    ] = None,
) -> None:
    """Light curves as files for other programs."""
    from lightwatch.flags import DOUBTFUL
    from lightwatch.report.exports import export_light_curves
    from lightwatch.report.light_curve_table import light_curve_rows

    workspace = session_of(ctx).open_existing(config)
    written = export_light_curves(
        workspace,
        out or workspace.workdir / "light_curves",
        formats or ["ecsv"],
        roi=roi,
        nightly=nightly,
        observer_code=observer,
    )
    for path in written:
        say(str(path))
    if "aavso" in (formats or []) and observer is None:
        complain(
            "the AAVSO files lack your observer code (OBSCODE) and would be refused: export with --observer CODE"
        )
    flags = [row["flags"] for row in light_curve_rows(workspace, roi)]
    doubtful = sum(bool(flag & DOUBTFUL) for flag in flags)
    if doubtful and (nightly or "aavso" in (formats or [])):
        complain(
            f"{doubtful} of {len(flags)} points are doubtful by their flags: not in nightly means and AAVSO files"
        )


def main(arguments: list[str] | None = None) -> None:
    """Run a command; ends the process with the exit code that belongs to the outcome."""
    _set_up_libraries()
    session = Session()
    with session.stack:
        session.stack.enter_context(_terminated_in_order())
        try:
            get_command(app).main(args=arguments, prog_name="lightwatch", obj=session)
        except KeyboardInterrupt:
            code: int = ExitCode.INTERRUPTED
        except Exception as error:  # noqa: BLE001 - a line for people, the rest to the log
            code = end_with_error(error, session)
    sys.exit(code)


@contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Let SIGTERM end the program as Ctrl-C does: workers stop, the run's row is closed. A second one kills it."""

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _set_up_libraries() -> None:
    """One thread for linear algebra, and worker processes that keep the memory of a frame for the next one.

    Matrices are small: more threads get in each other's way, 20 times slower on a busy machine. That counts only
    before NumPy is imported. glibc gives arrays of megabytes back to the system, which hands them out anew
    page by page: a third of the time of work on whole frames. A value of the user's wins.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(2**25))  # the largest that it takes
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**27))


if __name__ == "__main__":
    main()
