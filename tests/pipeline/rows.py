"""Workdirs with rows made by hand: as if a run had been there, without its computations."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import insert

from lightwatch.pipeline import night, recipes
from lightwatch.structure import schema
from lightwatch.structure.database import transaction
from lightwatch.structure.workspace import Workspace

CONFIG = """raw_dirs: [raw]
instrument: simulation
rois:
  J0248:
    coordinates: [42.2031, 19.22528]
reference_stars:
  catalog: stars.csv
"""
FRAME_TASKS = [task for task in night.NIGHT if task.scope in ("files", "frames")]
HASH = "f" * 64


def make_workdir(path: Path, config: str = CONFIG) -> Path:
    """A config file, an empty raw directory and a star table that nobody reads."""
    (path / "raw").mkdir(parents=True)
    (path / "stars.csv").write_text("source_id,ra,dec\n1,42.2,19.2\n")
    (path / "config.yaml").write_text(config)
    return path


def frame_row(number: int, **changes: object) -> dict[str, object]:
    """A solved frame."""
    row = {
        "id": number,
        "content_hash": f"{number:064x}",
        "original_image_path": f"/raw/night_{number:05d}.fits",
        "image_relpath": f"frames/night_{number:05d}.fits",
        "sources_relpath": f"frames/night_{number:05d}_sources.fits",
        "filter": "r",
        "mjd": 59000.0 + number,
        "mjd_mid": 59000.001 + number,
        "exptime": 100.0,
        "gain": 1.5,
        "naxis1": 1000,
        "naxis2": 1000,
        "plate_solved": 1,
        "attempted_plate_solve": 1,
        "roi_in_footprint": 1,
        "seeing_arcseconds": 1.1,
        "recipe": "r",
    }
    return row | changes


def fill(workspace: Workspace, n_frames: int, **columns: object) -> dict[str, str]:
    """Frames that went through every step but the joint ones; the recipes."""
    workspace.initialize()
    current = recipes.all_recipes(workspace)
    frames = [frame_row(number, **columns) for number in range(1, n_frames + 1)]
    files = [
        {
            "path": row["original_image_path"], "size": 1, "mtime_ns": 1, "inode": row["id"], "state": "imported",
            "content_hash": row["content_hash"], "frame_id": row["id"], "recipe": current[FRAME_TASKS[0].name],
        }
        for row in frames
    ]  # fmt: skip
    results = [
        {
            "task": task.name, "combined_footprint_hash": HASH if task.by_footprint else "", "frame_id": row["id"],
            "state": "done", "recipe": current[task.name], "run_id": 1, "seconds": 0.5,
        }
        for task in FRAME_TASKS
        for row in frames
    ]  # fmt: skip
    footprint = {"hash": HASH, "strategy": "ROI_disk", "definition": "{}", "is_current": 1}
    with transaction(workspace.engine) as connection:
        for table, rows in (
            (schema.task_recipes, recipes.recipe_rows(workspace, current)),
            (schema.combined_footprint, [footprint]),
            (schema.frames, frames),
            (schema.files, files),
            (schema.task_results, results),
        ):
            connection.execute(insert(table), rows)
    return current


def add(workspace: Workspace, table: object, *rows: dict[str, object]) -> None:
    """Insert rows."""
    with transaction(workspace.engine) as connection:
        for row in rows:
            connection.execute(insert(table).values(row))  # type: ignore[call-overload]
