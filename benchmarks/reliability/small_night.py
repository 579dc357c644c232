"""A small simulated field and its workdir, shared by the tests and the measurements of reliability."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightwatch.pipeline.reporting import TaskSummary
from lightwatch.pipeline.workflow_manager import RunResult, WorkflowManager
from lightwatch.simulation import FieldSpec, PointSource, RoiSpec, SimulatedField, simulate_field, transit_roi
from lightwatch.structure.workspace import Workspace

#: two filters, two ROIs (a blend of two and a single star), ten reference stars that lie on every frame
FIELD = FieldSpec(
    shape=(320, 320),
    n_stars=40,
    n_variable=0,
    n_galaxies=0,
    star_mag=(15.5, 18.5),
    cosmics=3.0,
    rotation_deg=(0.0, 1.0),
    seeing_arcsec=(0.7, 0.8),
    dither_arcsec=1.5,
    filters=("r_sdss", "r_sdss", "g_sdss"),
    rois=(
        RoiSpec("pair", 0.0, 0.0, (PointSource("A", -0.6, 0.3, 17.5), PointSource("B", 0.7, -0.4, 18.2))),
        transit_roi(None, "single", mag=17.0, east=14.0, north=-12.0),
    ),
)
FIELD_SEED = 8
N_FRAMES, N_SPARE = 6, 1

# one size of cutouts and one number of stars, so that few programs are compiled
SETTINGS = """
cutouts: {star_size_px: 24, roi_size_px: 24}
psf: {max_stars: 6, reserved_fraction: 0}
roi_model: {background: false}
executor: {kind: serial}
discovery: {min_file_age_seconds: 0}
"""
#: columns that tell when and in which order something was done, not what came out
_CIRCUMSTANCES = {"id", "run_id", "seconds", "sha256", "image_sha256", "cutouts_sha256", "model_sha256", "inode",
                  "mtime_ns", "size", "attempts"}  # fmt: skip
_DIARIES = {"runs", "task_errors", "alembic_version", "task_counts"}


@dataclass(frozen=True)
class Workdir:
    """A workdir of the small field, and the short ways to run it and to ask its database."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def more(self) -> Path:
        """A raw directory of its own, empty at first; the first one is shared with other workdirs."""
        folder = self.path / "more"
        folder.mkdir(exist_ok=True)
        return folder

    def open(self) -> Workspace:
        return Workspace.open(self.config)

    def run(self, **arguments: Any) -> RunResult:
        return WorkflowManager(self.open()).run(**arguments)

    def done(self, **arguments: Any) -> dict[str, TaskSummary]:
        """Summaries, by task, of those tasks of a run that had something to do."""
        return {s.task: s for s in self.run(**arguments).summaries if s.items}

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.path / 'database.sqlite3'}?mode=ro", uri=True)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def change(self, statement: str, *values: Any) -> None:
        """What a user does with the sqlite3 shell."""
        connection = sqlite3.connect(self.path / "database.sqlite3")
        with connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement, values)
        connection.close()

    def configure(self, old: str, new: str) -> None:
        text = self.config.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the config"
        self.config.write_text(text.replace(old, new))

    def check_database(self) -> None:
        """Reliability goal R15: sound file, no dangling reference, kept counts that are those of the results."""
        assert self.sql("PRAGMA integrity_check") == [("ok",)]
        assert self.sql("PRAGMA foreign_key_check") == []
        results = (
            "SELECT task, combined_footprint_hash, recipe, state, count(*), sum(frame_id) FROM task_results"
        )
        kept = self.sql("SELECT task, combined_footprint_hash, recipe, state, n, ids FROM task_counts")
        assert sorted(kept) == sorted(self.sql(f"{results} GROUP BY 1, 2, 3, 4"))

    def results(self) -> dict[str, dict[tuple[str, ...], tuple[Any, ...]]]:
        """Every result in the database by table and key, frames named by their content; no circumstances."""
        names = {str(i): digest for i, digest in self.sql("SELECT id, content_hash FROM frames")}
        tables = [
            t for (t,) in self.sql("SELECT name FROM sqlite_master WHERE type = 'table'") if t not in _DIARIES
        ]
        out = {}
        for table in tables:
            columns = [(row[1], row[5]) for row in self.sql(f'PRAGMA table_info("{table}")')]
            wanted = [name for name, _ in columns if name not in _CIRCUMSTANCES]
            hashes = [name for name in ("content_hash", "hash") if name in wanted][:1]
            keys = [n for n, key in columns if key and n in wanted] or hashes or wanted
            rows = {}
            quoted = ", ".join(f'"{name}"' for name in wanted)
            for row in self.sql(f'SELECT {quoted} FROM "{table}"'):
                named = {
                    name: names.get(str(value), value) if name == "frame_id" else self._relative(value)
                    for name, value in zip(wanted, row, strict=True)
                }
                rows[tuple(str(named[key]) for key in keys)] = tuple(named.values())
            out[table] = rows
        return out

    def _relative(self, value: Any) -> Any:
        return value.replace(str(self.path), "") if isinstance(value, str) else value

    def files(self) -> dict[str, tuple[int, int, int]]:
        """Size, time and inode of every file but those that a run must touch: log, lock, database."""
        return {
            str(path.relative_to(self.path)): (
                path.stat().st_size,
                path.stat().st_mtime_ns,
                path.stat().st_ino,
            )
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
            and not path.name.startswith((".lightwatch", "database.sqlite3"))
            and path.parent.name != "logs"
        }


def differences(one: Any, other: Any, *, rtol: float = 0.0) -> list[str]:
    """Where the results of two workdirs differ; numbers may by a fraction."""
    found = []
    for table in sorted(set(one) | set(other)):
        a, b = one.get(table, {}), other.get(table, {})
        found += [f"{table}: only in one: {key}" for key in sorted(set(a) ^ set(b))]
        for key in sorted(set(a) & set(b)):
            if not all(_alike(x, y, rtol) for x, y in zip(a[key], b[key], strict=True)):
                found.append(f"{table} {key}: {a[key]} != {b[key]}")
    return found


def _alike(a: Any, b: Any, rtol: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=rtol, abs_tol=rtol)
    if isinstance(a, str) and isinstance(b, str) and a[:1] == b[:1] and a[:1] in ("[", "{"):
        return _alike(json.loads(a), json.loads(b), rtol)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_alike(x, y, rtol) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key], rtol) for key in a)
    return bool(a == b)


def make_field(root: Path, n_frames: int = N_FRAMES + N_SPARE) -> SimulatedField:
    """Raw frames, star table and truth of the small field below ``root``."""
    return simulate_field(root, n_frames=n_frames, seed=FIELD_SEED, spec=FIELD)


def make_workdir(path: Path, field: SimulatedField, frames: Sequence[int] = ()) -> Workdir:
    """An empty workdir of the field, with some of its frames copied to its own raw directory ``more``.

    The star table is copied, so that a test may change it.
    """
    (path / "more").mkdir(parents=True, exist_ok=True)
    text = field.config.read_text()
    text = text.replace("raw_dirs: [raw]", f"raw_dirs: [{path.parent / 'raw'}, more]")
    stars = "  catalog: stars.csv\n  max_number: 10\n  roi_disk_radius_arcsec: 26\n"
    text = text.replace("  catalog: stars.csv\n", stars)
    (path / "config.yaml").write_text(text + SETTINGS)
    shutil.copy(field.stars, path / "stars.csv")
    workdir = Workdir(path)
    for k in frames:
        shutil.copy2(field.frames[k], workdir.more)
    return workdir
