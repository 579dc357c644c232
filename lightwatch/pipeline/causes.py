"""What a run did not get done, grouped by cause: for its last lines, and for notebooks."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from lightwatch.structure import queries, queries_overview
from lightwatch.structure.task_names import IMPORT_TASK
from lightwatch.structure.workspace import Workspace

Quarantined = frozenset[tuple[Any, ...]]


def quarantined_files(workspace: Workspace) -> Quarantined:
    """Raw files that are put aside by now; asked before a run, to know afterwards which are new."""
    if not workspace.has_database:
        return frozenset()
    engine = workspace.reader
    if not queries_overview.has_tables(engine):
        return frozenset()
    return frozenset(
        tuple(row.values()) for row in queries.rows(engine, queries_overview.quarantined_files())
    )


def causes_of_run(workspace: Workspace, before: Quarantined) -> list[dict[str, Any]]:
    """Causes in this process's latest run: task, state, reason_code, n, example and reason of it."""
    found = queries.rows(workspace.reader, queries_overview.quarantined_files())
    new = [row for row in found if tuple(row.values()) not in before]
    examples = {row["reason_code"]: row for row in reversed(new)}
    causes = [
        {
            "task": IMPORT_TASK,
            "state": "quarantined",
            "reason_code": code,
            "n": n,
            "example": examples[code]["path"],
            "reason": examples[code]["reason"],
        }
        for code, n in Counter(row["reason_code"] for row in new).most_common()
    ]
    run_id = queries.scalar(workspace.reader, queries_overview.run_of_process(os.getpid()))
    if run_id is not None:
        causes += [
            dict(row) for row in queries.rows(workspace.reader, queries_overview.failures_of_run(run_id))
        ]
    return causes
