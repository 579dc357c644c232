"""One task on its pending items: load, compute, save, and a row for what became of each."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from lightwatch.errors import CatalogError, LightwatchError, ProductError
from lightwatch.pipeline.compilation import keep_compiled_programs
from lightwatch.pipeline.executors import WorkerPool
from lightwatch.pipeline.guard import guarded, guarded_batch, guarded_load, one_line, outcome_of_error
from lightwatch.pipeline.night import task_named
from lightwatch.pipeline.outputs import attempt, forget
from lightwatch.pipeline.reporting import LOG, Reporter, TaskSummary
from lightwatch.pipeline.tally import Tally
from lightwatch.pipeline.task import Group, NetworkTime, Outcome, Task, TaskContext
from lightwatch.structure import products, queries, result_rows
from lightwatch.structure.database import transaction
from lightwatch.structure.files import path_text
from lightwatch.structure.frames_discovery import FoundFile
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_ROWS_PER_TRANSACTION = 16


def footprint_in_use(workspace: Workspace, task: Task) -> str:
    """Hash of the combined footprint that a task's results belong to; '' before stars are chosen."""
    if not task.by_footprint:
        return ""
    row = queries.rows(workspace.reader, queries.current_footprint())
    return str(row[0]["hash"]) if row else ""


def pending_items(
    workspace: Workspace, task: Task, recipes: Mapping[str, str], footprint_hash: str
) -> list[Row]:
    """Frames that a frame task still has to do."""
    upstream_task = task_named(task.after[0])
    upstream_hash = footprint_hash if upstream_task.by_footprint else ""
    query = queries.pending_frames(
        task.name,
        recipes[task.name],
        footprint_hash,
        upstream=(upstream_task.name, recipes[upstream_task.name], upstream_hash),
        needs_roi=task.needs_roi,
    )
    return queries.rows(workspace.reader, query)


def group_is_pending(context: TaskContext, task: Task, group: Group) -> bool:
    """Whether a joint task still has to do a group: unknown, outdated, or worth another try."""
    query = queries.group_result(task.name, context.footprint_hash, group.key)
    known = queries.rows(context.workspace.reader, query)
    if not known or known[0]["recipe"] != context.recipe or known[0]["digest"] != group.digest:
        return True
    if group.newest_input > (known[0]["run_id"] or 0):  # an input was measured again since
        return True
    return bool(known[0]["state"] == "error" and known[0]["attempts"] < queries.MAX_ATTEMPTS)


def _module_of(task: Task) -> ModuleType:
    """The task's functions; imported only when there is work, for they bring the science libraries along."""
    if task.compiles:
        keep_compiled_programs()
    return importlib.import_module(task.module)


@dataclass
class TaskRunner:
    """Runs tasks one after the other for one run."""

    workspace: Workspace
    recipes: Mapping[str, str]
    run_id: int
    pool: WorkerPool
    reporter: Reporter
    limit: int | None
    renew_footprint: bool
    before_import: Callable[[Sequence[FoundFile]], None]
    before_writing: Callable[[], None]
    network_time: NetworkTime = field(default_factory=NetworkTime)

    def run(self, task: Task) -> TaskSummary:
        """Do what is pending in a task."""
        begun = time.perf_counter()
        if task.compiles:
            self.pool.release()
        by_scope = {"once": self._once, "files": self._files, "frames": self._frames, "groups": self._groups}
        try:
            counts = by_scope[task.scope](task)
        except CatalogError as error:  # may pass: the task waits for its stars, the others go on
            LOG.warning("%s: waits: %s: %s", task.name, error.reason_code, error)
            remedy = self._without_network(task) * error.reason_code.startswith("network")
            counts = {"waits": True, "note": f"waits: {one_line(error)}{remedy}"}
        except (LightwatchError, OSError, DBAPIError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - unforeseen, and of no single item: the other tasks go on
            outcome = outcome_of_error(error)
            with transaction(self.workspace.engine) as connection:
                self._log_failure(connection, task, "", None, outcome)
            counts = {"failed": 1, "note": f"ended early: {outcome.reason_code}: {outcome.reason}"}
        summary = TaskSummary(task=task.name, seconds=time.perf_counter() - begun, **counts)
        if summary.items or summary.note:
            self.reporter.end(summary)
        return summary

    def _without_network(self, task: Task) -> str:
        own = task.name == "plate_solving" and self.workspace.config.plate_solving.catalog is not None
        key = f"{'plate_solving' if own else 'reference_stars'}.catalog"
        return f"; or give in {key} a table, or frames: the stars of the frames need no network"

    # ------------------------------------------------------------ scopes
    def _once(self, task: Task) -> dict[str, Any]:
        return {}  # the manager has made the database before any task can run

    def _files(self, task: Task) -> dict[str, Any]:
        context = self._context(task)
        candidates = importlib.import_module(task.module + "_files").find_candidates(context)
        if not candidates:
            return {}
        self.before_import(candidates[: self.limit])
        module = importlib.import_module(task.module)
        found = module.find_work(context, candidates, self.limit)
        if found.rows:
            self.before_writing()
            module.save_findings(context, found)
            for row in found.rows:
                if row["state"] == "quarantined":
                    LOG.warning("%s: %s: %s: %s", task.name, row["path"], row["reason_code"], row["reason"])
        if not found.jobs:
            return {"deferred": found.deferred, "rejected": found.rejected, "note": found.note}
        self.before_writing()
        self.reporter.begin(task.name, len(found.jobs))
        tally = Tally()
        begun = time.perf_counter()
        for index, outcome in self.pool.outcomes(module.compute, found.jobs):
            now = time.perf_counter()
            seconds, begun = now - begun, now
            with transaction(self.workspace.engine) as connection:
                outcome = self._save_file(module, connection, context, found.jobs[index], outcome, seconds)
                self._log_failure(connection, task, path_text(found.jobs[index].path), None, outcome)
            tally.count(outcome)
            self.reporter.advance(task.name)
        counts = tally.as_dict()
        counts["rejected"] += found.rejected
        counts["deferred"] += found.deferred
        return {**counts, "note": found.note}

    def _frames(self, task: Task) -> dict[str, Any]:
        context = self._context(task)
        if task.by_footprint and not context.footprint_hash:
            return {}
        items = pending_items(self.workspace, task, self.recipes, context.footprint_hash)
        if not items and not self.renew_footprint:
            return {}
        self.before_writing()
        module = _module_of(task)
        if hasattr(module, "prepare"):
            try:
                module.prepare(context)
            except ProductError as error:
                return self._not_prepared(task, error)
            items = pending_items(self.workspace, task, self.recipes, context.footprint_hash)
        items = items[: self.limit]
        self.reporter.begin(task.name, len(items))
        tally = self._work(task, module, context, items)
        if hasattr(module, "second_chance"):
            again = module.second_chance(
                context, [item for item in items if item["id"] in tally.rejected_ids]
            )
            if again:
                tally.forget(again)
                tally.add(self._work(task, module, context, again, load=module.load_again))
        if not items and hasattr(module, "finish"):
            with transaction(self.workspace.engine) as connection:
                module.finish(connection, context, self.renew_footprint)
        return tally.as_dict()

    def _work(
        self,
        task: Task,
        module: ModuleType,
        context: TaskContext,
        items: Sequence[Row],
        load: Callable[[TaskContext, Sequence[Row]], list[Any]] | None = None,
    ) -> Tally:
        tally = Tally()
        loader = partial(load or module.load, context)
        if getattr(module, "PARALLEL", False):
            jobs = guarded_load(loader, items)
            waiting = [(i, job, 0.0) for i, job in zip(items, jobs, strict=True) if isinstance(job, Outcome)]
            ready = [k for k, job in enumerate(jobs) if not isinstance(job, Outcome)]
            begun = time.perf_counter()
            for index, outcome in self.pool.outcomes(module.compute, [jobs[k] for k in ready]):
                now = time.perf_counter()
                waiting.append((items[ready[index]], outcome, now - begun))
                begun = now
                if len(waiting) >= _ROWS_PER_TRANSACTION and tally.items + len(waiting) < len(items):
                    self._save(task, module, context, waiting, tally)
                    waiting = []
            self._save(task, module, context, waiting, tally, last=True)
            return tally
        for batch in module.batches(context, items):
            begun = time.perf_counter()
            jobs = guarded_load(loader, batch)
            computed = iter(guarded_batch(module.compute, [j for j in jobs if not isinstance(j, Outcome)]))
            outcomes = [job if isinstance(job, Outcome) else next(computed) for job in jobs]
            each = (time.perf_counter() - begun) / len(batch)
            results = [(i, o, each) for i, o in zip(batch, outcomes, strict=True)]
            last = tally.items + len(batch) == len(items)
            self._save(task, module, context, results, tally, last=last)
        return tally

    def _groups(self, task: Task) -> dict[str, Any]:
        context = self._context(task)
        if not context.footprint_hash:
            return {}
        module = importlib.import_module(task.module + "_groups")
        pending = [group for group in module.groups(context) if group_is_pending(context, task, group)]
        if not pending:
            return {}
        self.before_writing()
        worker = _module_of(task)
        self.reporter.begin(task.name, len(pending))
        tally = Tally()
        for group in pending:
            begun = time.perf_counter()
            outcome = guarded(lambda g: worker.compute(worker.load(context, g)), group)
            with transaction(self.workspace.engine) as connection:
                if outcome.output is not None:
                    save = partial(worker.save, connection, context, group, outcome.output)
                    outcome = attempt(connection, save) or outcome
                if outcome.product is not None:
                    tally.lost += self._make_again(connection, outcome.product, context, group)
                self._save_group(connection, context, task, group, outcome, time.perf_counter() - begun)
                self._log_failure(connection, task, group.key, None, outcome)
            tally.count(outcome)
            self.reporter.advance(task.name)
        return tally.as_dict()

    # ------------------------------------------------------------ rows
    def _context(self, task: Task) -> TaskContext:
        return TaskContext(
            workspace=self.workspace,
            recipe=self.recipes[task.name],
            recipes=self.recipes,
            footprint_hash=footprint_in_use(self.workspace, task),
            network_time=self.network_time,
        )

    def _save(
        self,
        task: Task,
        module: ModuleType,
        context: TaskContext,
        results: Sequence[tuple[Row, Outcome, float]],
        tally: Tally,
        *,
        last: bool = False,
    ) -> None:
        if not results:
            return
        saved: list[tuple[int, Outcome]] = []
        with transaction(self.workspace.engine) as connection:
            for item, computed, seconds in results:
                outcome = self._save_output(task, module, connection, context, item, computed)
                saved.append((int(item["id"]), outcome))
                if outcome.product is not None:
                    tally.lost += self._make_again(connection, outcome.product)
                self._save_result(connection, context, task, item, outcome, seconds)
                self._log_failure(connection, task, str(item["image_relpath"]), int(item["id"]), outcome)
            # with the last results or not at all: nothing else calls for it
            if last and hasattr(module, "finish"):
                module.finish(connection, context, self.renew_footprint)
        for frame_id, outcome in saved:
            tally.count(outcome, frame_id)
        self.reporter.advance(task.name, len(results))

    def _save_output(
        self,
        task: Task,
        module: ModuleType,
        connection: Connection,
        context: TaskContext,
        item: Row,
        outcome: Outcome,
    ) -> Outcome:
        """Let a task write a frame's rows; an output that cannot be saved fails the frame, and leaves nothing."""
        void = partial(forget, connection, task, context.footprint_hash, int(item["id"]))
        if outcome.state != "done":
            void()
        if outcome.output is None:
            return outcome
        failure = attempt(connection, partial(module.save, connection, context, item, outcome.output))
        if failure is not None:
            void()
        return failure or outcome

    def _save_file(
        self,
        module: ModuleType,
        connection: Connection,
        context: TaskContext,
        job: Any,
        outcome: Outcome,
        seconds: float,
    ) -> Outcome:
        """Let the import write a file's rows; where they cannot be saved, the one that tells of the failure."""
        save = partial(module.save, connection, context, job, run_id=self.run_id, seconds=seconds)
        failure = attempt(connection, partial(save, outcome=outcome))
        if failure is not None:
            save(outcome=failure)
        return failure or outcome

    def _make_again(
        self,
        connection: Connection,
        relpath: str,
        context: TaskContext | None = None,
        group: Group | None = None,
    ) -> int:
        """Let the next run make a missing or damaged product; the number of products.

        A joint task stops at the first one: all products of its frames are looked at, so that one run mends all.
        """
        found = products.products_named(connection, [relpath])
        if context is not None and group is not None:
            others = products.products_of_filter(connection, context.footprint_hash, group.filter)
            found += [
                item
                for item in others
                if item.relpath != relpath and products.state(self.workspace, item, full=True) != "ok"
            ]
        lost = [item for item in found if products.can_be_remade(self.workspace, connection, item)]
        for item in lost:
            products.make_pending(connection, item)
            LOG.warning("%s: missing or damaged; the next run makes it again", item.relpath)
        return len(lost)

    def _not_prepared(self, task: Task, error: ProductError) -> dict[str, Any]:
        """All items wait for a product that their task begins with."""
        tally = Tally()
        outcome = outcome_of_error(error)
        with transaction(self.workspace.engine) as connection:
            tally.lost = self._make_again(connection, error.relpath)
            self._log_failure(connection, task, error.relpath, None, outcome)
        tally.count(outcome)
        return tally.as_dict()

    def _save_result(
        self,
        connection: Connection,
        context: TaskContext,
        task: Task,
        item: Row,
        outcome: Outcome,
        seconds: float,
    ) -> None:
        row = {
            "task": task.name,
            "combined_footprint_hash": context.footprint_hash,
            "frame_id": item["id"],
            "state": outcome.state,
            "reason_code": outcome.reason_code,
            "reason": outcome.reason,
            "flags": int(outcome.flags),
            "seconds": seconds,
            "run_id": self.run_id,
            "recipe": context.recipe,
        }
        result_rows.save_result(connection, row)

    def _save_group(
        self,
        connection: Connection,
        context: TaskContext,
        task: Task,
        group: Group,
        outcome: Outcome,
        seconds: float,
    ) -> None:
        row = {
            "task": task.name,
            "combined_footprint_hash": context.footprint_hash,
            "group_key": group.key,
            "digest": group.digest,
            "state": outcome.state,
            "reason_code": outcome.reason_code,
            "reason": outcome.reason,
            "n_items": group.n_members,
            "seconds": seconds,
            "run_id": self.run_id,
            "recipe": context.recipe,
        }
        result_rows.save_group_result(connection, row)

    def _log_failure(
        self, connection: Connection, task: Task, item: str, frame_id: int | None, outcome: Outcome
    ) -> None:
        if outcome.state == "done":
            return
        LOG.warning("%s: %s: %s: %s", task.name, item, outcome.reason_code, outcome.reason)
        if outcome.state != "error":
            return
        row = {
            "run_id": self.run_id,
            "task": task.name,
            "item": item,
            "frame_id": frame_id,
            "reason_code": outcome.reason_code,
            "message": outcome.reason,
            "details": outcome.details,
            "recipe": self.recipes[task.name],
        }
        result_rows.record_error(connection, row)
