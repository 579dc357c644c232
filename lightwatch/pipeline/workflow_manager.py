"""Running the night: which items are pending, through whose hands they go, and what is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from lightwatch import __version__
from lightwatch.errors import ExitCode, LightwatchError
from lightwatch.pipeline import housekeeping, night, preflight, recipes
from lightwatch.pipeline.beside import told_beside
from lightwatch.pipeline.executors import WorkerPool
from lightwatch.pipeline.heartbeat import Heartbeat
from lightwatch.pipeline.planning import PlanLine, plan
from lightwatch.pipeline.reporting import LOG, LoggingReporter, Reporter, TaskSummary
from lightwatch.pipeline.runner import TaskRunner
from lightwatch.pipeline.task import Task
from lightwatch.structure import frames_discovery, queries, run_rows
from lightwatch.structure.backups import BEFORE_RUN, backup
from lightwatch.structure.database import checkpoint, transaction
from lightwatch.structure.files import path_text
from lightwatch.structure.result_rows import register
from lightwatch.structure.workspace import Workspace

_FOOTPRINT = "calculate_common_and_total_footprint"


@dataclass(frozen=True)
class RunResult:
    """What a run did: a summary per task, the exit code for cron, what it tidied up first, and what it lacked."""

    summaries: tuple[TaskSummary, ...] = field(default_factory=tuple)
    exit_code: int = ExitCode.CLEAN
    tidied: str = ""
    lacks: str = ""

    @property
    def items(self) -> int:
        """Items worked on in all tasks."""
        return sum(summary.items for summary in self.summaries)

    @property
    def line(self) -> str:
        """The run in one line: what it lacked, and what it did."""
        return f"{self.lacks}; {self.work}" if self.lacks else self.work

    @property
    def work(self) -> str:
        """What it did, in one line."""
        parts = [_told(summary) for summary in self.summaries if summary.items or summary.note]
        parts = [self.tidied] * bool(self.tidied) + parts
        rejected = sum(s.rejected for s in self.summaries)
        failed = sum(s.failed for s in self.summaries)
        waiting = [s.task for s in self.summaries if s.waits]
        if not self.items:
            waited = self.lacks or waiting
            return "; ".join(["nothing could be done" if waited else "nothing to do", *parts])
        seconds = sum(s.seconds for s in self.summaries)
        waits = f", waits: {', '.join(waiting)}" if waiting else ""
        return f"{'; '.join(parts)} | {rejected} rejected, {failed} failed{waits} | {seconds:.1f} s"

    def __str__(self) -> str:
        return self.line

    def __repr__(self) -> str:
        return f"RunResult(exit_code={int(self.exit_code)}): {self.line}"


class WorkflowManager:
    """Runs the tasks of the night on a workspace, and does only what is missing.

    >>> WorkflowManager(Workspace.open("config.yaml")).run(stop="psf_modeling")  # doctest: +SKIP
    """

    def __init__(
        self,
        workspace: Workspace | None = None,
        executor: Executor | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.workspace = workspace or Workspace.open()
        self._executor = executor
        self._reporter = reporter or LoggingReporter()

    def get_tasks(self) -> list[str]:
        """Names of the tasks in order."""
        return list(night.NAMES)

    def plan(
        self, start: str | None = None, stop: str | None = None, only: str | None = None
    ) -> list[PlanLine]:
        """What ``run`` would do, and why; nothing is written."""
        return plan(self.workspace, night.between(start, stop, only))

    def run(
        self,
        start: str | None = None,
        stop: str | None = None,
        *,
        only: str | None = None,
        limit: int | None = None,
        renew_footprint: bool = False,
        start_step: str | None = None,
        stop_step: str | None = None,
    ) -> RunResult:
        """Run the tasks from ``start`` to ``stop`` (names, both included; default: all of them).

        ``limit``: at most so many items per task. ``renew_footprint``: choose region and stars anew where they
        depend on the frames. ``start_step`` and ``stop_step`` are other names of ``start`` and ``stop``.

        Raises
        ------
        AnotherRunActive, ConfigError, SchemaError, StorageError
            When nothing can be run; failures of single items are in the result instead.
        """
        tasks = night.between(start or start_step, stop or stop_step, only)
        with self.workspace.lock():
            preflight.check_workdir(self.workspace.workdir)
            current = recipes.all_recipes(self.workspace)  # first: a wrong setting leaves no database behind
            self.workspace.initialize()
            preflight.check_clock(run_rows.latest_start(self.workspace.reader), datetime.now(UTC))
            run_id = self._open_run()
            before_writing = _BackupOnce(self.workspace)
            try:
                self._register(current, before_writing)
                result = self._run_tasks(tasks, current, run_id, limit, renew_footprint, before_writing)
            except BaseException as error:
                exit_code, text = _how_it_ended(error)
                if not isinstance(error, Exception):  # errors are told by who catches them, signals by nobody
                    LOG.warning("the run was %s; the next one continues", text)
                with suppress(LightwatchError):  # where the end cannot be written either, this error counts
                    self._close_run(run_id, exit_code, text)
                raise
            self._close_run(run_id, result.exit_code, result.line)
        return result

    def _run_tasks(
        self,
        tasks: Sequence[Task],
        current: dict[str, str],
        run_id: int,
        limit: int | None,
        renew: bool,
        before_writing: Callable[[], None],
    ) -> RunResult:
        summaries: list[TaskSummary] = []
        with ExitStack() as stack:
            reporter = stack.enter_context(Heartbeat(self._reporter, self.workspace, run_id))
            tidied = housekeeping.tidy(self.workspace, before_writing)
            pool = stack.enter_context(WorkerPool(self.workspace.config.executor, self._executor))
            runner = TaskRunner(
                workspace=self.workspace,
                recipes=current,
                run_id=run_id,
                pool=pool,
                reporter=reporter,
                limit=limit,
                renew_footprint=renew,
                before_import=partial(preflight.check_room, self.workspace),
                before_writing=before_writing,
            )
            for task in tasks:
                summaries.append(runner.run(task))
        searched = any(task.scope == "files" for task in tasks)
        unlisted = frames_discovery.unlisted(self.workspace.config.raw_dirs) if searched else []
        has_frames = queries.scalar(self.workspace.reader, queries.any_frame()) is not None
        exit_code = self._exit_code(summaries, len(unlisted), has_frames)
        lacks = self._what_lacks(unlisted, has_frames) if unlisted or exit_code == ExitCode.NO_DATA else ""
        if not lacks and any(task.name == _FOOTPRINT for task in tasks):
            lacks = told_beside(self.workspace)
            exit_code = max(exit_code, ExitCode.PARTIAL) if lacks else exit_code
        return RunResult(tuple(summaries), exit_code, tidied, lacks)

    def _what_lacks(self, unlisted: Sequence[tuple[Path, str]], has_frames: bool) -> str:
        """Which raw directories are not there, or what a workdir without any frame is to be given."""
        config = self.workspace.config_path.name
        if unlisted:
            paths = _first([path for path, _ in unlisted])
            what = (
                f"{paths} cannot be listed: {unlisted[0][1]}: mount its disk, mend its permissions, or correct "
                f"raw_dirs in {config}"
            )
            return f"new frames may be missing: {what}" if has_frames else f"no frames: {what}"
        return (
            f"no frames in {_first(self.workspace.config.raw_dirs)}: put raw files there, or correct raw_dirs or "
            f"discovery.patterns in {config}; 'lightwatch status' counts files that were refused"
        )

    def _exit_code(self, summaries: Sequence[TaskSummary], n_unlisted: int, has_frames: bool) -> int:
        # as on an unmounted disk: no new night can come
        if n_unlisted == len(self.workspace.config.raw_dirs):
            return ExitCode.NO_DATA
        if any(summary.rejected or summary.failed or summary.waits for summary in summaries):
            return ExitCode.PARTIAL
        if not has_frames:
            return ExitCode.NO_DATA
        return ExitCode.PARTIAL if n_unlisted else ExitCode.CLEAN

    def _register(self, current: dict[str, str], before_writing: Callable[[], None]) -> None:
        """Write the recipes and ROIs in use, when they changed; light curves of ROIs that are gone go with them."""
        wanted = recipes.recipe_rows(self.workspace, current)
        known = queries.rows(self.workspace.reader, queries.recipes_in_use())
        targets = [
            {"name": name, "ra": roi.coordinates[0], "dec": roi.coordinates[1]}
            for name, roi in self.workspace.config.rois.items()
        ]
        sources = [
            {"roi": name, "name": label, "ra": position[0], "dec": position[1]}
            for name, roi in self.workspace.config.rois.items()
            for label, position in (roi.point_sources or {name: roi.coordinates}).items()
        ]
        if known == wanted:
            return
        if known:
            before_writing()
        with transaction(self.workspace.engine) as connection:
            register(connection, wanted, targets, sources)

    def _open_run(self) -> int:
        about = {
            "version": __version__,
            "config_hash": self.workspace.config_hash(),
            "config": self.workspace.config_text(),
        }
        with transaction(self.workspace.engine) as connection:
            self.workspace.refuse_other_runs(connection)
            return run_rows.open_row(connection, about)

    def _close_run(self, run_id: int, exit_code: int, text: str) -> None:
        try:
            with transaction(self.workspace.engine) as connection:
                run_rows.close_row(connection, run_id, exit_code, text)
            checkpoint(self.workspace.engine)
        finally:
            self.workspace.close()


def _told(summary: TaskSummary) -> str:
    """One task of a run: what was done of how many, unless it waits, and its note."""
    counts = "" if summary.waits else f" {summary.done}/{summary.items}"
    return summary.task + counts + (f" ({summary.note})" if summary.note else "")


def _first(paths: Sequence[Path]) -> str:
    """One path, and how many more there are."""
    return path_text(paths[0]) + (f" (and {len(paths) - 1} more)" if len(paths) > 1 else "")


def _how_it_ended(error: BaseException) -> tuple[int, str]:
    """Exit code and a line for the run's row."""
    if isinstance(error, LightwatchError):
        return error.exit_code, str(error).splitlines()[0]
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED, "interrupted"
    if isinstance(error, SystemExit) and isinstance(error.code, int):  # raised on a signal
        return error.code, "terminated"
    if isinstance(error, OSError | DBAPIError | MemoryError):
        return ExitCode.STORAGE, " ".join(str(error).split()) or type(error).__name__
    return ExitCode.BUG, f"crashed: {type(error).__name__}"


class _BackupOnce:
    """Copies the database before the first change of a run; a run that changes nothing copies nothing."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._done = False

    def __call__(self) -> None:
        if not self._done:
            self._done = True
            backup(self._workspace.engine, BEFORE_RUN)
