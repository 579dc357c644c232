"""What the last run brought: new frames, what was measured anew, what newly failed, settings that changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lightwatch.structure import queries, queries_news
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_MAX_NAMES = 3
_MAX_SETTINGS = 40
_MAX_TEXT = 80


@dataclass(frozen=True)
class Work:
    """Items of a task in a run: of new frames, of frames known before, those set aside, and those that failed;
    ``rejected_in``: how many frames of which filter were set aside, such as "15 in up"; '' where none was,
    or no filter is known."""

    task: str
    new: int
    again: int
    rejected: int
    failed: int
    rejected_in: str

    @property
    def told(self) -> bool:
        """Whether there is more to say than that all frames were new and got through."""
        return bool(self.again or self.rejected or self.failed)


@dataclass(frozen=True)
class Setting:
    """A setting that has another value than in the last run that finished before; '' where it was not there."""

    key: str
    before: str
    after: str


@dataclass(frozen=True)
class News:
    """``idle``: later runs found nothing to do. ``n_new``: frames; ``new``: names of the last of them;
    ``n_again``: frames known before whose import was done again; ``compared``: when the last run that finished
    before this one had started, whose settings and version are compared; '' without one."""

    run: Row
    idle: bool
    n_new: int
    new: list[str]
    n_again: int
    work: list[Work]
    settings: list[Setting]
    more_settings: int
    versions: tuple[str, str] | None
    compared: str


def news_of(workspace: Workspace) -> News | None:
    """What the latest run that did anything changed; None before the first one."""
    engine = workspace.reader
    run = next(iter(queries.rows(engine, queries_news.run_with_news())), None)
    if run is None:
        return None
    last = queries.rows(engine, queries.last_run())[0]
    before = next(iter(queries.rows(engine, queries_news.finished_run_before(run["id"]))), None)
    imported = queries.rows(engine, queries_news.imported_frames(run["id"]))
    frames = [row for row in imported if row["attempts"] == 1]
    settings = changed_settings(before["config"], run["config"]) if before else []
    return News(
        run=run,
        idle=last["id"] != run["id"],
        n_new=len(frames),
        new=[PurePosixPath(row["original_image_path"]).name for row in frames[-_MAX_NAMES:]][::-1],
        n_again=len(imported) - len(frames),
        work=_work(
            queries.rows(engine, queries_news.items_of_run(run["id"])),
            queries.rows(engine, queries_news.rejected_frames_of_run(run["id"])),
        ),
        settings=settings[:_MAX_SETTINGS],
        more_settings=max(0, len(settings) - _MAX_SETTINGS),
        versions=(before["version"], run["version"])
        if before and before["version"] != run["version"]
        else None,
        compared=before["started"] if before else "",
    )


def _work(rows: Sequence[Row], lost: Sequence[Row]) -> list[Work]:
    tasks = dict.fromkeys(row["task"] for row in rows)
    out = []
    for task in tasks:
        own = [row for row in rows if row["task"] == task]
        done = [row for row in own if row["state"] == "done"]
        out.append(
            Work(
                task=task,
                new=sum(row["n_new"] for row in done),
                again=sum(row["n"] - row["n_new"] for row in done),
                rejected=sum(row["n"] for row in own if row["state"] == "rejected"),
                failed=sum(row["n"] for row in own if row["state"] not in ("done", "rejected")),
                rejected_in=", ".join(
                    f"{row['n']} in {row['filter'] or 'no filter'}" for row in lost if row["task"] == task
                )
                if any(row["filter"] for row in lost)
                else "",
            )
        )
    return out


def changed_settings(before: str, after: str) -> list[Setting]:
    """Keys whose values differ between two configurations (JSON), in alphabetical order."""
    old, new = (_flat(json.loads(text)) for text in (before, after))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key, "") != new.get(key, ""))
    return [Setting(key, old.get(key, ""), new.get(key, "")) for key in keys]


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Dotted keys of nested mappings with their values as short text."""
    if isinstance(value, Mapping) and value:
        out: dict[str, str] = {}
        for key, inner in value.items():
            out |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
        return out
    if not prefix:
        return {}
    text = json.dumps(value, ensure_ascii=False)
    return {prefix: text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"}
