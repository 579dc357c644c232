"""The recipe of every task under the present configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightwatch.errors import ConfigError
from lightwatch.pipeline.night import NIGHT
from lightwatch.pipeline.task import Task, make_recipe
from lightwatch.structure import header_parsing
from lightwatch.structure.files import sha256_of
from lightwatch.structure.task_names import IMPORT_TASK
from lightwatch.structure.workspace import Workspace

#: words of reference_stars.catalog that are not paths
CATALOG_WORDS = ("gaia", "vizier", "frames")


def settings_of(workspace: Workspace, task: Task) -> dict[str, Any]:
    """The parts of the configuration that decide the numbers of all its items: sections, or single keys of them."""
    return _settings(workspace, task.sections)


def told_settings(workspace: Workspace, task: Task) -> dict[str, Any]:
    """The same, and those that speak of single items."""
    return _settings(workspace, (*task.sections, *task.sections_of_items))


def _settings(workspace: Workspace, names: Sequence[str]) -> dict[str, Any]:
    settings = {}
    for name in names:
        section, _, key = name.partition(".")
        values = workspace.config.section(section)
        settings[name] = values[key] if key else values
    return settings


def all_recipes(workspace: Workspace, tasks: Sequence[Task] = NIGHT) -> dict[str, str]:
    """Recipe by task name."""
    recipes: dict[str, str] = {}
    for task in tasks:
        upstream = [recipes[name] for name in task.after]
        recipes[task.name] = make_recipe(
            task, settings_of(workspace, task), upstream, _external(workspace, task)
        )
    return recipes


def recipe_rows(workspace: Workspace, recipes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of the table task_recipes."""
    return [
        {
            "task": task.name,
            "position": position,
            "upstream": task.after[0] if task.scope == "frames" else None,
            "recipe": recipes[task.name],
            "settings": json.dumps(told_settings(workspace, task), sort_keys=True),
        }
        for position, task in enumerate(NIGHT)
    ]


def _external(workspace: Workspace, task: Task) -> dict[str, str]:
    """Inputs from outside of the configuration: the header parser's code, the catalogue's content."""
    if task.name == IMPORT_TASK:
        parser = header_parsing.load_header_parser(workspace.workdir, workspace.config.instrument)
        target = next(iter(workspace.config.rois.values())).coordinates
        return {"header_parser": parser.content_hash, "target": json.dumps(target)}
    if task.name == "plate_solving":
        return {"catalog": catalog_identity(workspace, astrometric_catalog(workspace))}
    if task.name in ("calculate_common_and_total_footprint", "query_gaia_for_stars"):
        return {"catalog": catalog_identity(workspace, workspace.config.reference_stars.catalog)}
    return {}


def astrometric_catalog(workspace: Workspace) -> str:
    """The catalogue that plate solving uses."""
    return workspace.config.plate_solving.catalog or workspace.config.reference_stars.catalog


def catalog_path(workspace: Workspace, catalog: str) -> Path | None:
    """Path of an offline table (relative to the config file), or None for an archive."""
    return None if catalog in CATALOG_WORDS else workspace.config_path.parent / catalog


def catalog_identity(workspace: Workspace, catalog: str) -> str:
    """What tells two catalogues apart: the name of an archive, or the content of a table.

    Raises
    ------
    ConfigError
        When the table is missing.
    """
    path = catalog_path(workspace, catalog)
    if path is None:
        return catalog
    try:
        return sha256_of(path)
    except OSError as error:
        key = "reference_stars" if catalog == workspace.config.reference_stars.catalog else "plate_solving"
        raise ConfigError(
            f"{key}.catalog: {path}: {error.strerror}; give gaia, vizier, frames or a table"
        ) from None
