"""The command line: ``lightwatch COMMAND``. It parses, calls, and tells how it ended; the work is done elsewhere."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.main import get_command

from lightwatch import __version__
from lightwatch.pipeline import cli_run, cli_status
from lightwatch.pipeline.cli_session import EXIT_INTERRUPTED, Session, end_with_error, say

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


app.command(epilog=cli_run.run_epilog)(cli_run.run)
app.command(epilog=cli_run.plan_epilog)(cli_run.plan)
app.command(epilog=cli_status.status_epilog)(cli_status.status)
app.command(epilog=cli_status.why_epilog)(cli_status.why)
app.command(epilog=cli_status.frames_epilog)(cli_status.frames)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; ends the process with the exit code that belongs to the outcome."""
    session = Session()
    with session.stack:
        try:
            get_command(app).main(args=arguments, prog_name="lightwatch", obj=session)
        except KeyboardInterrupt:
            code = EXIT_INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the last one to know: a line for people, the rest to the log
            code = end_with_error(error, session)
    sys.exit(code)


if __name__ == "__main__":
    main()
