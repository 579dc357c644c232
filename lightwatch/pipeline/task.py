"""What a task is: data about it here, its functions in the module it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # workers import this module and need no database
    from lightwatch.structure.workspace import Workspace

Scope = Literal["once", "files", "frames", "groups"]
State = Literal["done", "rejected", "error"]


@dataclass(frozen=True)
class Task:
    """One declared step of the night.

    ``scope`` says what its items are: the database (once), raw files, frames one by one, or groups of frames
    solved jointly. ``sections`` are the parts of the configuration that decide its numbers. ``by_footprint``:
    its results belong to a choice of reference stars. ``compiles``: it runs JAX programs. ``outputs``: tables of a
    frame task's own, with rows by ``frame_id``. ``sections_of_items``: parts of the configuration that speak of single
    items, whose own recipes have them.
    """

    name: str
    version: int
    after: tuple[str, ...]
    scope: Scope
    sections: tuple[str, ...]
    module: str
    by_footprint: bool = False
    needs_roi: bool = False
    compiles: bool = False
    outputs: tuple[str, ...] = ()
    sections_of_items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one item: an output to save, or the reason why there is none.

    ``product``: the missing or damaged product, below the workdir, for want of which it failed.
    """

    state: State = "done"
    output: Any = None
    flags: int = 0
    reason_code: str | None = None
    reason: str | None = None
    details: str | None = None
    product: str | None = None


@dataclass(frozen=True)
class Group:
    """Frames of one filter (and ROI) that are solved jointly.

    ``digest`` tells which frames they are, ``newest_input`` the latest run that made one of the results they are
    solved from: a group solved by an earlier run, or from other frames, is pending.
    """

    key: str
    digest: str
    n_members: int
    newest_input: int
    filter: str = ""
    roi: str = ""


@dataclass
class NetworkTime:
    """Seconds that a run has waited for the network: all its tasks share one budget."""

    seconds: float = 0.0


@dataclass(frozen=True)
class TaskContext:
    """What a task's functions are given besides their items."""

    workspace: Workspace
    recipe: str
    recipes: Mapping[str, str]
    footprint_hash: str
    network_time: NetworkTime = field(default_factory=NetworkTime)


def make_recipe(
    task: Task, settings: Mapping[str, Any], upstream: list[str], external: Mapping[str, str]
) -> str:
    """sha256 of what decides a task's numbers: name, version, settings, recipes upstream, outside inputs."""
    content = [task.name, task.version, settings, upstream, external]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[
        :32
    ]


def digest_of(parts: list[Any]) -> str:
    """Digest of the rows that a joint task consumes."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]
