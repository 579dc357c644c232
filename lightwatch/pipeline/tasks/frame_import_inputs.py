"""What belongs to a raw file besides its content: values in place of its header's, a WCS, that it is eliminated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lightwatch.pipeline.task import TaskContext, digest_of
from lightwatch.structure.elimination_list import Eliminated, EliminationList, read_eliminations, told_of
from lightwatch.structure.header_overrides import HeaderOverride, overrides_of, relpath_of
from lightwatch.structure.wcs_files import wcs_beside, wcs_digest, wcs_files

_DIGITS = 12


@dataclass(frozen=True)
class Beside:
    """What is said of one file. ``eliminated``: why its frame is, as soon as there is one; None: it is not."""

    overrides: Mapping[str, Any]
    wcs: Path | None
    eliminated: str | None


@dataclass(frozen=True)
class Inputs:
    """What is said of the files of a workdir, as it is now. Paths of raw files are texts, as in the database."""

    recipe: str
    raw_dirs: Sequence[Path]
    overrides: Mapping[str, HeaderOverride]
    wcs: Mapping[str, Path]
    eliminations: EliminationList

    def beside(self, path: str, eliminated: str | None) -> Beside:
        """What is said of one file."""
        return Beside(*self._of_recipe(path), eliminated)

    def recipe_of(self, path: str) -> str:
        """The recipe of one file's import: the task's, and what changes the numbers of this frame alone."""
        overrides, wcs = self._of_recipe(path)
        if not overrides and wcs is None:
            return self.recipe
        return f"{self.recipe} {digest_of([overrides, wcs_digest(wcs) if wcs else None])[:_DIGITS]}"

    def _of_recipe(self, path: str) -> tuple[dict[str, Any], Path | None]:
        if not self.overrides and not self.wcs:  # most often: no time is lost on it
            return {}, None
        relpath = relpath_of(PurePath(path), self.raw_dirs)
        return overrides_of(self.overrides, relpath), wcs_beside(self.wcs, relpath, self.raw_dirs)


def eliminated_of(
    inputs: Inputs,
    found: Iterable[str],
    known: Mapping[str, Mapping[str, Any]],
    contents: Iterable[tuple[str, str]],
) -> tuple[Eliminated, str]:
    """The frames to be eliminated, by their content, and what is to be told of the list.

    ``found``: paths of files that are there, to be imported now or later; ``known``: rows of all files by path;
    ``contents``: (path, hash) of those that were read now.
    """
    if not inputs.eliminations.entries:
        return inputs.eliminations.among(()), ""
    files = {path: path for path in found}
    files |= {path: row["content_hash"] or path for path, row in known.items()} | dict(contents)
    eliminated = inputs.eliminations.among(files.items())
    return eliminated, told_of(eliminated)


def inputs_of(context: TaskContext) -> Inputs:
    """Look what is said of raw files.

    Raises
    ------
    ConfigError
        When the list of frames to be eliminated is no such list.
    """
    workspace = context.workspace
    return Inputs(
        recipe=context.recipe,
        raw_dirs=workspace.config.raw_dirs,
        overrides=workspace.config.header_overrides,
        wcs=wcs_files(workspace.workdir),
        eliminations=read_eliminations(workspace.workdir),
    )
