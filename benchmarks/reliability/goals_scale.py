"""R11 and R13: workdirs of many frames, and which tasks a change reaches."""

from __future__ import annotations

from pathlib import Path

from reliability import invalidation
from reliability.generated_workdir import make_generated, raw_name
from reliability.goal import Effort, Goal, Measured

from lightwatch.pipeline import night
from lightwatch.pipeline.planning import plan

_FRAMES_OF_MATRIX = 3


# ---------------------------------------------------------------- R13
def invalidation_matrix(scratch: Path, effort: Effort) -> Measured:
    """Every key, version and outside input x every task, by recipes; some, or all, by the plan of a workdir too."""
    workdir = make_generated(scratch / "workdir", _FRAMES_OF_MATRIX)
    workspace = workdir.open()
    keys = invalidation.keys_of(workspace.config)
    cells = [
        invalidation.setting_cells(workspace),
        invalidation.version_cells(workspace),
        invalidation.outside_cells(workspace),
    ]
    planned = keys if effort.full else keys[:: len(keys) // 12]
    cells += [invalidation.planned_cells(workspace, key) for key in planned]
    (workdir.path / "raw" / raw_name(1)).write_bytes(b"other bytes")
    lines = {line.task: line.total for line in plan(workspace, night.NIGHT)}
    workspace.close()
    wrong = [text for found in cells for text in found.wrong]
    wrong += [f"a changed raw file: {task}: {n} items" for task, n in lines.items() if n != 1]
    reads = {task.name: invalidation.undeclared_reads(task) for task in night.NIGHT}
    wrong += [f"{task} reads {', '.join(found)} undeclared" for task, found in reads.items() if found]
    total = sum(found.n for found in cells) + len(lines)
    text = f"{total - len(wrong)} of {total} cells right ({len(keys)} keys, {len(planned)} of them planned)"
    return Measured("; ".join([text, *wrong[:3]]), not wrong)


GOALS = (
    Goal(
        "R13",
        "Invalidation",
        "100 % of the cells of keys, versions and inputs x tasks; no task reads what it does not declare",
        invalidation_matrix,
    ),
)
