"""What the report says in words and tables: the state of the workdir, the last run, failures by cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lightwatch.report.failures import Cause, FileCause, causes_of_files, causes_of_frames, causes_of_groups
from lightwatch.structure import queries, queries_overview
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_MAX_ERRORS = 30
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


@dataclass(frozen=True)
class Summary:
    """Rows for the tables of the report, and ``tiles``: (number, what it is)."""

    tiles: list[tuple[str, str]] = field(default_factory=list)
    progress: list[Row] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    groups_failed: list[Cause] = field(default_factory=list)
    files: list[Row] = field(default_factory=list)
    quarantined: list[FileCause] = field(default_factory=list)
    eliminated: list[dict[str, Any]] = field(default_factory=list)
    run: Row | None = None
    run_text: str = ""
    errors: list[Row] = field(default_factory=list)


def summarise(
    workspace: Workspace, footprint_hash: str, frames: Sequence[Row], curves: Sequence[Row]
) -> Summary:
    """The words of the report, from the database."""
    engine = workspace.reader
    runs = queries.rows(engine, queries.last_run())
    run = runs[0] if runs else None
    failures = queries.rows(engine, queries_overview.failures_of_run(run["id"])) if run else []
    rejections = queries.rows(engine, queries_overview.rejections(footprint_hash))
    told = {(row["task"], row["state"], row["reason_code"]) for row in rejections}
    return Summary(
        tiles=_tiles(frames, curves),
        progress=queries.rows(engine, queries_overview.progress()),
        causes=causes_of_frames(workspace, footprint_hash, rejections, run["id"] if run else None),
        groups_failed=causes_of_groups(
            [row for row in failures if (row["task"], row["state"], row["reason_code"]) not in told]
        ),
        files=queries.rows(engine, queries.file_states()),
        quarantined=causes_of_files(queries.rows(engine, queries_overview.quarantined_files())),
        eliminated=[
            {"name": PurePosixPath(row["original_image_path"]).name, "comment": row["comment"]}
            for row in frames
            if row["eliminated"]
        ],
        run=run,
        run_text=_run_text(run) if run else "",
        errors=queries.rows(engine, queries.errors_of_run(run["id"]))[-_MAX_ERRORS:] if run else [],
    )


def date_of(mjd: float) -> str:
    """Calendar date and time of an MJD (UTC), to the minute."""
    return f"{_MJD_EPOCH + timedelta(days=mjd):%Y-%m-%d %H:%M}"


def mjd_of(moment: datetime) -> float:
    """MJD (UTC) of a moment."""
    return (moment - _MJD_EPOCH) / timedelta(days=1)


def _tiles(frames: Sequence[Row], curves: Sequence[Row]) -> list[tuple[str, str]]:
    used = [row for row in frames if not row["eliminated"]]
    tiles = [(f"{len(used):,}".replace(",", "\u202f"), "frames")]
    if used:
        tiles.append((date_of(used[-1]["mjd_mid"])[:10], "newest frame"))
    epochs = len({(row["roi"], row["filter"], row["frame_id"]) for row in curves})
    if epochs:
        tiles.append((f"{epochs:,}".replace(",", "\u202f"), "epochs in light curves"))
    for name, unit, label, digits in (
        ("seeing_arcseconds", "″", "median seeing", 2),
        ("psf_reserved_chi2", "", "median χ² of reserved stars", 2),
        ("limiting_magnitude", "", "median 5σ limit, mag", 1),
    ):
        known = [row[name] for row in used if row[name] is not None]
        if known:
            tiles.append((f"{np.median(known):.{digits}f}{unit}", label))
    return tiles


def _run_text(run: Row) -> str:
    if run["ended"] is None:
        return "still running, or interrupted"
    return "ended well" if run["exit_code"] == 0 else f"ended with exit code {run['exit_code']}"
