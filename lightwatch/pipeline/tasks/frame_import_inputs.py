"""What belongs to one raw file besides its content: values in place of its header's."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from lightwatch.pipeline.task import TaskContext, digest_of
from lightwatch.structure.header_overrides import overrides_of
from lightwatch.structure.workspace import Workspace

_DIGITS = 12


def overrides_for(workspace: Workspace, path: str) -> dict[str, Any]:
    """What the configuration says in place of the header of one raw file."""
    overrides = workspace.config.header_overrides
    return overrides_of(overrides, _relpath(workspace, PurePath(path))) if overrides else {}


def _relpath(workspace: Workspace, path: PurePath) -> str:
    """Path from the raw directory."""
    base = next((raw for raw in workspace.config.raw_dirs if path.is_relative_to(raw)), path.parent)
    return path.relative_to(base).as_posix()


def recipe_of_file(context: TaskContext, path: str) -> str:
    """The recipe of one file's import: the task's, and what belongs to this file alone."""
    overrides = overrides_for(context.workspace, path)
    return f"{context.recipe} {digest_of([overrides])[:_DIGITS]}" if overrides else context.recipe
