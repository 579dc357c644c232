"""The night, in order."""

from __future__ import annotations

import difflib

from lightwatch.errors import ConfigError
from lightwatch.pipeline.task import Task
from lightwatch.structure.task_names import IMPORT_TASK

_TASKS = "lightwatch.pipeline.tasks."

NIGHT: tuple[Task, ...] = (
    Task(
        name="initialize_database",
        version=1,
        after=(),
        scope="once",
        sections=(),
        module=_TASKS + "database_setup",
    ),
    Task(
        name=IMPORT_TASK,
        version=3,
        after=(),
        scope="files",
        sections=("importation", "background", "source_extraction", "telescope"),
        module=_TASKS + "frame_import",
        sections_of_items=("header_overrides",),
    ),
    Task(
        name="plate_solving",
        version=2,
        after=(IMPORT_TASK,),
        scope="frames",
        sections=("plate_solving",),
        module=_TASKS + "plate_solving",
        outputs=("footprints", "plate_solve_attempts"),
    ),
    Task(
        name="calculate_common_and_total_footprint",
        version=1,
        after=("plate_solving",),
        scope="frames",
        sections=("rois", "reference_stars"),  # the hash of the footprint is made of both
        module=_TASKS + "footprints",
    ),
    Task(
        name="query_gaia_for_stars",
        version=1,
        after=("calculate_common_and_total_footprint",),
        scope="frames",
        sections=("reference_stars",),
        module=_TASKS + "reference_stars",
        by_footprint=True,
        needs_roi=True,
        outputs=("stars_in_frames",),
    ),
    Task(
        name="stamp_extraction",
        version=2,
        after=("query_gaia_for_stars",),
        scope="frames",
        sections=("cutouts", "rois"),
        module=_TASKS + "stamp_extraction",
        by_footprint=True,
        needs_roi=True,
        outputs=("regions",),
    ),
    Task(
        name="psf_modeling",
        version=2,
        after=("stamp_extraction",),
        scope="frames",
        sections=("psf",),
        module=_TASKS + "psf_modeling",
        compiles=True,
        by_footprint=True,
        needs_roi=True,
        outputs=("PSFs",),
    ),
    Task(
        name="star_photometry",
        version=2,
        after=("psf_modeling",),
        scope="frames",
        sections=("star_photometry",),
        module=_TASKS + "star_photometry",
        compiles=True,
        by_footprint=True,
        needs_roi=True,
        outputs=("star_flux_in_frame",),
    ),
    Task(
        name="calculate_normalization_coefficient",
        version=4,
        after=("star_photometry",),
        scope="groups",
        sections=("normalization",),
        module=_TASKS + "normalization",
        by_footprint=True,
        needs_roi=True,
    ),
    Task(
        name="calculate_absolute_zeropoints",
        version=2,
        after=("calculate_normalization_coefficient",),
        scope="groups",
        sections=("zeropoints",),
        module=_TASKS + "zeropoints",
        by_footprint=True,
        needs_roi=True,
    ),
    Task(
        name="prepare_calibrated_cutouts",
        version=4,
        after=("calculate_absolute_zeropoints",),
        scope="groups",
        sections=("calibrated_cutouts",),
        module=_TASKS + "calibrated_cutouts",
        compiles=True,
        by_footprint=True,
        needs_roi=True,
    ),
    Task(
        name="model_calibrated_cutouts",
        version=5,
        after=("prepare_calibrated_cutouts",),
        scope="groups",
        sections=("roi_model", "light_curves.limit_sigma"),
        module=_TASKS + "roi_modelling",
        compiles=True,
        by_footprint=True,
        needs_roi=True,
    ),
)

NAMES = tuple(task.name for task in NIGHT)


def task_named(name: str) -> Task:
    """The task of a name.

    Raises
    ------
    ConfigError
        Naming the nearest task.
    """
    for task in NIGHT:
        if task.name == name:
            return task
    near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.3)
    raise ConfigError(
        f"'{name}' is no step; " + (f"did you mean '{near[0]}'?" if near else "see 'lightwatch run --help'")
    )


def between(start: str | None, stop: str | None, only: str | None = None) -> tuple[Task, ...]:
    """Tasks from ``start`` to ``stop``, both included; or the one named by ``only``."""
    if only is not None:
        return (task_named(only),)
    first = NAMES.index(task_named(start).name) if start else 0
    last = NAMES.index(task_named(stop).name) if stop else len(NAMES) - 1
    if first > last:
        raise ConfigError(f"start '{start}' comes after stop '{stop}'")
    return NIGHT[first : last + 1]
