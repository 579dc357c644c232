"""Failures by cause: how many, which frames or files, what it means and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from lightwatch.report.advice import advice_for
from lightwatch.structure import queries, queries_news
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_MAX_NAMES = 40
_MAX_ROWS = 4000
_STATES = {"rejected": "rejected", "error": "failed"}


@dataclass(frozen=True)
class Cause:
    """A reason of a task; ``n_new`` of the ``n`` came with the last run; ``frames``: (id, name), newest first."""

    task: str
    state: str
    code: str
    n: int
    n_new: int
    reason: str
    advice: str
    frames: list[tuple[int, str]]


@dataclass(frozen=True)
class FileCause:
    """A reason for which raw files are no frames."""

    code: str
    n: int
    reason: str
    advice: str
    names: list[str]


def causes_of_frames(
    workspace: Workspace, footprint_hash: str, rejections: Sequence[Row], run_id: int | None
) -> list[Cause]:
    """``rejections``: rows of the query of the same name, with counts; this adds the frames."""
    if not rejections:
        return []
    query = queries_news.frames_without_result(footprint_hash, _MAX_ROWS)
    by_cause: dict[tuple[str, str, str | None], list[Row]] = {}
    for row in queries.rows(workspace.reader, query):
        by_cause.setdefault((row["task"], row["state"], row["reason_code"]), []).append(row)
    out = []
    for row in rejections:
        own = by_cause.get((row["task"], row["state"], row["reason_code"]), [])
        frames = [(one["frame_id"], PurePosixPath(one["original_image_path"]).name) for one in own]
        n_new = sum(one["run_id"] == run_id for one in own)
        out.append(_cause(row, n_new, frames[:_MAX_NAMES]))
    return out


def filters_without_curve(
    workspace: Workspace, footprint_hash: str, frames: Sequence[Row], curves: Sequence[Row]
) -> list[tuple[str, str]]:
    """Filters (name, why) that have frames and no light curve; ``frames`` of quality_of_frames."""
    told = {row["filter"] or "" for row in curves}
    own = [row for row in frames if not row["eliminated"]]
    lacking = sorted({row["filter"] or "" for row in own} - told)
    if not lacking:
        return []
    lost = queries.rows(workspace.reader, queries_news.frames_without_result(footprint_hash, _MAX_ROWS))
    groups = queries.rows(workspace.reader, queries_news.groups_without_result(footprint_hash))
    out = []
    for name in lacking:
        ids = {row["id"] for row in own if (row["filter"] or "") == name}
        causes = Counter((r["task"], r["state"], r["reason_code"]) for r in lost if r["frame_id"] in ids)
        parts = [
            f"{n} {_STATES[state]} by {task} ({code})" for (task, state, code), n in causes.most_common(2)
        ]
        parts += [
            f"{row['task']} has nothing for them ({row['reason_code']})"
            for row in groups
            if row["group_key"].rpartition("|")[2] == name
        ][:1]
        frames_text = f"{len(ids)} frame{'s' if len(ids) > 1 else ''} and no light curve"
        out.append((name, f"{frames_text}: {', '.join(parts) or 'the ROI was not modelled so far'}."))
    return out


def causes_of_groups(failures: Sequence[Row]) -> list[Cause]:
    """Failures of a run that are not of single frames."""
    return [_cause(row, row["n"], []) for row in failures]


def _cause(row: Row, n_new: int, frames: list[tuple[int, str]]) -> Cause:
    code = row["reason_code"] or ""
    return Cause(
        task=row["task"],
        state=row["state"],
        code=code,
        n=row["n"],
        n_new=n_new,
        reason=row["reason"] or "",
        advice=advice_for(code),
        frames=frames,
    )


def causes_of_files(quarantined: Sequence[Row]) -> list[FileCause]:
    """Raw files that are no frames, most frequent cause first."""
    rows = sorted(quarantined, key=lambda row: (row["reason_code"] or "", row["path"]))
    out = []
    for code, group in groupby(rows, key=lambda row: row["reason_code"] or ""):
        own = list(group)
        names = [PurePosixPath(row["path"]).name for row in own[:_MAX_NAMES]]
        out.append(FileCause(code, len(own), own[0]["reason"] or "", advice_for(code), names))
    return sorted(out, key=lambda cause: -cause.n)
