"""Which tasks a change reaches: the table to be read by eye, and the same asked of the program for every cell."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from lightwatch.pipeline import night, recipes
from lightwatch.pipeline.planning import plan
from lightwatch.pipeline.task import Task
from lightwatch.structure.config import Config
from lightwatch.structure.header_overrides import HeaderOverride
from lightwatch.structure.workspace import Workspace

IMPORT, SOLVE, FOOTPRINT, STARS, STAMPS, PSF, FLUX, NORM, ZERO, PREPARE, MODEL = night.NAMES[1:]

#: first task whose numbers a section decides, and with it all that come after; None: it decides no number
FIRST_OF_SECTION: dict[str, str | None] = {
    "workdir": None,
    "raw_dirs": None,
    "files_match_pattern": None,
    "instrument": IMPORT,
    "header_overrides": IMPORT,
    "telescope": IMPORT,
    "rois": FOOTPRINT,
    "discovery": None,
    "importation": IMPORT,
    "background": IMPORT,
    "source_extraction": IMPORT,
    "plate_solving": SOLVE,
    "reference_stars": FOOTPRINT,
    "cutouts": STAMPS,
    "psf": PSF,
    "star_photometry": FLUX,
    "normalization": NORM,
    "zeropoints": ZERO,
    "calibrated_cutouts": PREPARE,
    "roi_model": MODEL,
    "light_curves": MODEL,
    "executor": None,
    "database": None,
    "network": None,
}
#: keys that reach further up, or less far, than the rest of their section
FIRST_OF_KEY: dict[str, str | None] = {
    "rois.target.coordinates": IMPORT,  # barycentric times are those of the first ROI
    "reference_stars.catalog": SOLVE,  # the catalogue of the astrometry too, unless plate_solving has its own
    "light_curves.night_gap_days": None,  # tables and figures alone know nights
}
#: what a task reads besides its own sections and those of tasks before it, and why no recipe needs to know
HARMLESS_READS: dict[str, dict[str, str]] = {
    IMPORT: {"rois": "the position of the first one, which the recipe has as 'target'"},
    SOLVE: {"rois": "where to look, not what is found: a solution that the stars confirm stays right"},
}
#: sections that say where and with how much patience, never what
_CIRCUMSTANCES = {name for name, first in FIRST_OF_SECTION.items() if first is None} | {"instrument"}
#: sections that speak of single files: the recipes of these change, and no task's
_OF_ITEMS = {name for task in night.NIGHT for name in task.sections_of_items}
_LEADS_ELSEWHERE = {"workdir", "raw_dirs", "files_match_pattern", "discovery.recursive", "database.url"}
_PROPERTIES = {"patterns": "files_match_pattern"}
_CANDIDATES: tuple[Any, ...] = (
    "frames", "common_footprint_stars", "end", "mesh", "G", "fixed", "serial", "dask", True, False,
    0.5, 0.25, 0.004, 2, 3, 7, 9, 24, 48, 0.9, 200.0, [0.2, 5.0], ["7"], [1], "7", "/elsewhere", ["/elsewhere"],
    {"airmass": [1.0, 2.0]}, {"*": {"gain": 1.1}}, {"A": [42.2001, 19.2001], "B": [42.2002, 19.2002]}, [42.201, 19.201],
    "sqlite:////elsewhere/database.sqlite3",
)  # fmt: skip
#: not every text is the name of a header parser
_CANDIDATES_OF = {"instrument": ("generic",)}


def dependants(first: str | None) -> frozenset[str]:
    """A task and all that come after it."""
    return frozenset(night.NAMES[night.NAMES.index(first) :]) if first else frozenset()


def declared(key: str) -> frozenset[str]:
    """Tasks that a key of the configuration reaches, by the table."""
    return dependants(FIRST_OF_KEY.get(key, FIRST_OF_SECTION[key.split(".")[0]]))


def keys_of(config: Config) -> list[str]:
    """Every key of the configuration, dotted; those of a region of interest too."""
    return list(_keys(config, ""))


def _keys(section: BaseModel, prefix: str) -> Iterator[str]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _keys(value, f"{prefix}{name}.")
        elif isinstance(value, dict) and value and all(isinstance(v, BaseModel) for v in value.values()):
            for label, item in value.items():
                yield from _keys(item, f"{prefix}{name}.{label}.")
        else:
            yield f"{prefix}{name}"


def changed(config: Config, key: str) -> Config:
    """The configuration with another legal value of one key."""
    plain = config.model_dump(mode="python")
    *path, name = key.split(".")
    for candidate in _CANDIDATES_OF.get(key, _CANDIDATES):
        values = _copied(plain)
        place = values
        for step in path:
            place = place[step]
        place[name] = candidate
        try:
            other = Config.model_validate(values)
        except (ValidationError, TypeError):
            continue
        if _told(other, key) != _told(config, key):
            return other
    raise LookupError(f"no other legal value for {key} among the candidates")


def _copied(values: Any) -> Any:
    return {name: _copied(value) for name, value in values.items()} if isinstance(values, dict) else values


def _told(config: Config, key: str) -> Any:
    value: Any = config
    for step in key.split("."):
        value = value[step] if isinstance(value, dict) else getattr(value, step)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@dataclass(frozen=True)
class Cells:
    """How many cells were looked at, and what is said of those that are wrong."""

    n: int
    wrong: tuple[str, ...]


def setting_cells(workspace: Workspace) -> Cells:
    """Every key x every task: has the recipe changed for exactly the declared tasks?"""
    before, wrong = recipes.all_recipes(workspace), []
    keys = keys_of(workspace.config)
    for key in keys:
        other = replace(workspace, config=changed(workspace.config, key))
        expected = frozenset() if key in _OF_ITEMS else declared(key)
        wrong += _differing(key, before, recipes.all_recipes(other), expected)
    return Cells(len(keys) * len(before), tuple(wrong))


def _differing(
    what: str, before: Mapping[str, str], after: Mapping[str, str], expected: frozenset[str]
) -> list[str]:
    reached = {task for task in before if before[task] != after[task]}
    return [
        f"{what}: {task} {'is' if task in reached else 'is not'} reached"
        for task in before
        if (task in reached) != (task in expected)
    ]


def version_cells(workspace: Workspace) -> Cells:
    """A higher version of each task x every task."""
    before, wrong = recipes.all_recipes(workspace), []
    for task in night.NIGHT:
        tasks = tuple(replace(t, version=t.version + 1) if t is task else t for t in night.NIGHT)
        expected = dependants(task.name) if task.name != night.NAMES[0] else frozenset({task.name})
        wrong += _differing(
            f"version of {task.name}", before, recipes.all_recipes(workspace, tasks), expected
        )
    return Cells(len(before) ** 2, tuple(wrong))


def outside_cells(workspace: Workspace) -> Cells:
    """A catalogue's content, one of the astrometry's own, and the header parser's code, x every task."""
    wrong: list[str] = []
    folder = workspace.config_path.parent
    stars, positions = folder / "stars.csv", folder / "positions.csv"
    parser = workspace.workdir / "header_parser" / "parse_header.py"
    parser.parent.mkdir(mode=0o755)
    for path in (stars, positions, parser):
        path.write_text("def parse_header(header): ...\n")
        path.chmod(0o644)
    config = workspace.config
    changes = {"reference_stars": {"catalog": stars.name}, "plate_solving": {"catalog": positions.name}}
    sections = {name: getattr(config, name).model_copy(update=update) for name, update in changes.items()}
    ours = replace(workspace, config=config.model_copy(update={**sections, "instrument": None}))
    for path, first in ((stars, FOOTPRINT), (positions, SOLVE), (parser, IMPORT)):
        before = recipes.all_recipes(ours)
        path.write_text("def parse_header(header):\n    return {}\n")
        wrong += _differing(path.name, before, recipes.all_recipes(ours), dependants(first))
    return Cells(3 * len(night.NIGHT), tuple(wrong))


def planned_cells(workspace: Workspace, key: str) -> Cells:
    """A changed key x every task with items: does the plan of a finished workdir show work for just the declared?"""
    other = replace(workspace, config=changed(workspace.config, key))
    if key in _LEADS_ELSEWHERE:  # another database or raw directory has nothing to be compared with
        return Cells(0, ())
    planned = {line.task for line in plan(other, night.NIGHT) if line.total}
    expected = declared(key) if key != "roi_model.enabled" else frozenset()  # off: nothing is left to model
    wrong = [f"plan for {key}: {task}" for task in sorted(planned ^ expected)]
    return Cells(len(night.NIGHT) - 1, tuple(wrong))


def item_cells(workspace: Workspace, file_name: str) -> Cells:
    """An override for one file x every task: does the plan of a finished workdir show that one frame alone?"""
    overrides = {file_name: HeaderOverride(gain=1.1)}
    other = replace(workspace, config=workspace.config.model_copy(update={"header_overrides": overrides}))
    lines = plan(other, night.NIGHT)
    wrong = [
        f"an override for one file: {line.task}: {line.total} items" for line in lines if line.total != 1
    ]
    return Cells(len(lines), tuple(wrong))


# ---------------------------------------------------------------- what the code reads
def undeclared_reads(task: Task) -> dict[str, str]:
    """Sections of the configuration that a task's code reads and its recipe does not know: section to module."""
    upstream, known = list(task.after), {*task.sections, *task.sections_of_items}
    while upstream:
        before = night.task_named(upstream.pop())
        known |= {*before.sections, *before.sections_of_items}
        upstream += before.after
    known = {name.split(".")[0] for name in known} | _CIRCUMSTANCES | HARMLESS_READS.get(task.name, {}).keys()
    return {name: module for name, module in _reads(task) if name not in known}


def _reads(task: Task) -> Iterator[tuple[str, str]]:
    waiting = [task.module, task.module + "_files", task.module + "_groups"]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        spec = None if module in seen else importlib.util.find_spec(module)
        seen.add(module)
        if spec is None or spec.origin is None:
            continue
        tree = ast.parse(Path(spec.origin).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and _is_config(node.value):
                name = _PROPERTIES.get(node.attr, node.attr)
                if name in Config.model_fields:
                    yield name, module
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
                waiting += [name for name in imported if _does_work(name)]


def _is_config(node: ast.expr) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "config") or (
        isinstance(node, ast.Name) and node.id == "config"
    )


def _does_work(module: str) -> bool:
    """Modules that tasks are made of; recipes themselves read all that they tell of."""
    shared = ("lightwatch.pipeline.catalogs", "lightwatch.pipeline.grouping")
    if not module.startswith(("lightwatch.pipeline.tasks.", *shared)):
        return False
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # a name in a module, not a module
        return False
