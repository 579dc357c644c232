"""What the report says in words and tables: the state of the workdir, the last run, failures by cause."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lightwatch.errors import ExitCode
from lightwatch.report.failures import Cause, FileCause, causes_of_files, causes_of_frames, causes_of_groups
from lightwatch.structure import queries, queries_overview
from lightwatch.structure.magnitude_systems import INSTRUMENTAL
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_MAX_ERRORS = 30
_MAX_FILTERS = 2
#: exit codes in words
_ENDS = {
    int(ExitCode.CLEAN): "ended well",
    int(ExitCode.PARTIAL): "ended, some frames or files set aside",
    int(ExitCode.NO_DATA): "ended without usable data",
    int(ExitCode.BUG): "stopped by an error of lightwatch",
    int(ExitCode.STORAGE): "stopped by the disk or the database",
    int(ExitCode.LOCKED): "stopped: another run was at work",
    int(ExitCode.CONFIG): "stopped by the configuration",
    int(ExitCode.INTERRUPTED): "interrupted",
    128 + signal.SIGTERM: "interrupted",
}
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
        tiles=tiles_of(frames, curves),
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


def camera_of(frame: Row) -> str:
    """Telescope and camera of a frame; '' where its header names none."""
    return f"{frame['telescope_name'] or ''} {frame['telescope_imager_name'] or ''}".strip()


def mjd_of(moment: datetime) -> float:
    """MJD (UTC) of a moment."""
    return (moment - _MJD_EPOCH) / timedelta(days=1)


def tiles_of(frames: Sequence[Row], curves: Sequence[Row]) -> list[tuple[str, str]]:
    """(number, what it is) of the head of the page; ``frames`` of quality_of_frames in order of time."""
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
        # instrumental magnitudes tell nobody how deep frames are
        rows = used if name != "limiting_magnitude" else [r for r in used if r["system"] != INSTRUMENTAL]
        told = _by_filter(rows, name, digits, unit)
        if told:
            tiles.append((told, label))
    return tiles


def _by_filter(rows: Sequence[Row], name: str, digits: int, unit: str) -> str:
    """Median of a column; where filters differ, of each by its name, and from the least to the most of many."""
    known: dict[str, list[float]] = {}
    for row in rows:
        if row[name] is not None:
            known.setdefault(row["filter"] or "no filter", []).append(row[name])
    medians = {key: float(np.median(values)) for key, values in sorted(known.items())}
    told = {key: f"{value:.{digits}f}{unit}" for key, value in medians.items()}
    if len(set(told.values())) <= 1:
        return next(iter(told.values()), "")
    if len(told) > _MAX_FILTERS:
        return (
            f"{told[min(medians, key=medians.__getitem__)]} to {told[max(medians, key=medians.__getitem__)]}"
        )
    return ", ".join(f"{key}\u00a0{value}" for key, value in told.items())


def _run_text(run: Row) -> str:
    if run["ended"] is None:
        return "still running, or interrupted"
    return _ENDS.get(run["exit_code"], f"stopped with exit code {run['exit_code']}")
