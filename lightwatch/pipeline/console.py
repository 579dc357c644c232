"""What people see of a run: progress bars on a terminal, plain lines under cron, and a log file in UTC."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lightwatch.pipeline.night import NIGHT
from lightwatch.pipeline.reporting import LOG, LoggingReporter, TaskSummary

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from lightwatch.structure.config import Config

_HIDDEN = "***"
#: what tasks count that do not count frames
_ITEMS = {task.name: "group" for task in NIGHT if task.scope == "groups"}


def secrets_of(config: Config) -> tuple[str, ...]:
    """Texts that may never be shown, longest first: the database's URL or path, its password as written or meant."""
    if config.database.url is None:
        return ()
    from urllib.parse import unquote, urlsplit

    url = config.database.url.get_secret_value()
    try:
        password = urlsplit(url).password or ""
    except ValueError:  # no URL at all: opening the database says so
        password = ""
    texts = {url, url.removeprefix("sqlite:///"), password, unquote(password)}
    return tuple(sorted(filter(None, texts), key=len, reverse=True))


def redacted(text: str, secrets: Sequence[str]) -> str:
    """Text without the secrets."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return text


class OneLineFormatter(logging.Formatter):
    """UTC time, level, message; one line per event whatever the message holds, and no secrets."""

    converter = staticmethod(time.gmtime)

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        text = redacted(super().format(record), self._secrets)
        lines = (line.strip() for line in text.splitlines())
        return "".join(c if c.isprintable() else "?" for c in " | ".join(line for line in lines if line))


class _LogFile(logging.FileHandler):
    """Appears with the first event, so that a run that may not start leaves nothing behind."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written ends the run as any full disk does."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, self.baseFilename) from error
        raise RuntimeError(record.getMessage())

    def close(self) -> None:
        """What could not be written was told when it failed; closing would only fail once more."""
        with suppress(OSError):
            super().close()


@contextmanager
def log_to(path: Path, secrets: Sequence[str], *, verbose: int) -> Iterator[None]:
    """Send the program's log to a file; ``verbose`` 1 adds it on standard error, 2 in full detail."""
    handlers: list[logging.Handler] = [_LogFile(path)]
    if verbose:
        handlers.append(logging.StreamHandler(sys.stderr))
    loggers = (LOG, logging.getLogger("py.warnings"))
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    logging.captureWarnings(True)
    for logger in loggers:
        logger.setLevel(logging.DEBUG if verbose > 1 else logging.INFO)
        logger.propagate = False
        for handler in handlers:
            handler.setFormatter(OneLineFormatter(secrets))
            logger.addHandler(handler)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, level, propagate in before:
            for handler in handlers:
                logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
        for handler in handlers:
            handler.close()


class ConsoleReporter(LoggingReporter):
    """Tells the log, and the terminal: bars where there is one, else a line per task; quiet: neither."""

    def __init__(self, *, quiet: bool, bars: bool) -> None:
        self._quiet = quiet
        self._bars = bars and not quiet
        self._progress: Progress | None = None
        self._bar: dict[str, TaskID] = {}

    def __enter__(self) -> ConsoleReporter:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin(self, task: str, total: int) -> None:
        super().begin(task, total)
        if self._bars:
            self._bar[task] = self._started().add_task(task, total=total, item=_ITEMS.get(task, "frame"))

    def advance(self, task: str, count: int = 1) -> None:
        super().advance(task, count)
        if self._progress is not None and task in self._bar:
            self._progress.advance(self._bar[task], count)

    def end(self, summary: TaskSummary) -> None:
        super().end(summary)
        if self._bars or self._quiet:
            return
        problems = "".join(
            f", {number} {word}"
            for number, word in (
                (summary.rejected, "rejected"), (summary.failed, "failed"), (summary.deferred, "deferred"),
            )
            if number
        )  # fmt: skip
        note = f" ({summary.note})" if summary.note else ""
        typer.echo(f"{summary.task}: {summary.done} done{problems} in {summary.seconds:.1f} s{note}")

    def _started(self) -> Progress:
        if self._progress is None:
            from lightwatch.pipeline.progress_bars import new_bars

            self._progress = new_bars()
            self._progress.start()
        return self._progress
