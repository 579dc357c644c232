"""R12, R14, R20, R21: running again, damage, frames that cannot be measured, and the order of things."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lightwatch.errors import ProductError
from lightwatch.pipeline.executors import SerialExecutor
from lightwatch.pipeline.workflow_manager import WorkflowManager
from lightwatch.structure import frame_store, products, store
from lightwatch.structure.catalogs_pinned import read_pinned
from lightwatch.structure.products import Product
from lightwatch.structure.verify import repair, verify
from lightwatch.structure.workspace import Workspace
from reliability.finished_night import copy_of_night, field_of
from reliability.goal import Effort, Goal, Measured
from reliability.small_night import Workdir, differences, make_workdir

N_SMALL = 6
_FIT_TOLERANCE = 1e-6
_PREPARED = "stamp_extraction"
#: files of the run itself
_OWN = re.compile(r"database\.sqlite3(-wal|-shm|-journal)?|\.lightwatch\.lock|logs(/.*)?")


# ---------------------------------------------------------------- R12
def second_run(scratch: Path, effort: Effort) -> Measured:
    """A finished night is run again: no file below the workdir is written, no row outside of ``runs`` changes."""
    workdir = copy_of_night(scratch / "workdir", N_SMALL)
    workdir.run()
    before, rows = _bytes_of_files(workdir), _rows(workdir)
    begun = time.perf_counter()
    if effort.full and shutil.which("strace"):
        written = _written_under_strace(workdir, scratch / "trace")
        how = f"by strace: {len(written)} files opened for writing, renamed or removed"
    else:
        written = set() if workdir.run().items == 0 else {"results"}
        how = "by inode, time and digest of every file" + (" (no strace here)" if effort.full else "")
    seconds = time.perf_counter() - begun
    touched = {path for path, state in _bytes_of_files(workdir).items() if before.pop(path, None) != state}
    touched |= before.keys() | written
    changed = sum((_rows(workdir) - rows).values()) + sum((rows - _rows(workdir)).values())
    text = f"{len(touched)} files written or gone, {changed} rows changed outside of runs ({how}; {seconds:.1f} s)"
    return Measured(text, not touched and not changed)


def _bytes_of_files(workdir: Workdir) -> dict[str, tuple[Any, ...]]:
    return {
        path: (*state, hashlib.sha256((workdir.path / path).read_bytes()).hexdigest())
        for path, state in workdir.files().items()
    }


def _rows(workdir: Workdir) -> Counter[tuple[Any, ...]]:
    tables = [
        name
        for (name,) in workdir.sql("SELECT name FROM sqlite_master WHERE type = 'table'")
        if name != "runs"
    ]
    return Counter((table, *row) for table in tables for row in workdir.sql(f'SELECT * FROM "{table}"'))


def _written_under_strace(workdir: Workdir, log: Path) -> set[str]:
    """Files of the workdir that a run by the command line opens for writing, renames, makes or removes."""
    calls = "openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,truncate,ftruncate,link,symlink"
    command = [sys.executable, "-m", "lightwatch.pipeline.cli", "run", str(workdir.config)]
    traced = ["strace", "-f", "-qq", "-y", "-o", str(log), "-e", f"trace={calls}", *command]
    done = subprocess.run(traced, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: set[str] = set()
    for line in log.read_text(errors="replace").splitlines():
        changes = not re.search(r"\b(open|openat)\(", line) or re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC)", line)
        if not changes or re.search(r"= -1 E", line):
            continue
        for path in re.findall(rf'[<"]{re.escape(str(workdir.path))}/([^">]*)[>"]', line):
            if not _OWN.fullmatch(path):
                found.add(path)
    return found


# ---------------------------------------------------------------- R14
def corruption(scratch: Path, effort: Effort) -> Measured:
    """Single flipped bits, truncations and deletions of products; then repair, and the results of before."""
    workdir = copy_of_night(scratch / "workdir", N_SMALL)
    workspace = workdir.open()
    everything = list(products.all_products(workspace.reader))
    flips = _flip_bits(workspace, everything, effort.of(160, 1000))
    cut, n_cut = _cut_and_remove(workspace, everything)
    workspace.close()
    mended = _repaired(workdir, everything, full=effort.full)
    n = flips["flips"]
    text = (
        f"{flips['verified']} of {n} flips in {len(everything)} products of {len({p.task for p in everything})} tasks "
        f"found by verify --full; {flips['refused']} refused by the tasks' reading, {flips['unread']} in bytes that "
        f"hold nothing read, {flips['wrong']} read as other numbers; {cut} of {n_cut} truncations and deletions found "
        f"by both; {mended}"
    )
    found = flips["verified"] == n and flips["refused"] >= 0.99 * (flips["refused"] + flips["wrong"])
    return Measured(
        text, found and flips["wrong"] == 0 and cut == n_cut and mended.endswith("results identical")
    )


def _flip_bits(workspace: Workspace, everything: Sequence[Product], count: int) -> Counter[str]:
    rng = random.Random(14)
    whole = {product: _content(workspace, product) for product in everything}
    found: Counter[str] = Counter(flips=count)
    for _ in range(count):
        product = rng.choice(everything)
        path = workspace.path(product.relpath)
        undamaged = path.read_bytes()
        damaged = bytearray(undamaged)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        found["verified"] += products.state(workspace, product, full=True) == "damaged"
        try:
            found["unread" if _content(workspace, product) == whole[product] else "wrong"] += 1
        except ProductError:
            found["refused"] += 1
        path.write_bytes(undamaged)
    return found


def _content(workspace: Workspace, product: Product) -> str:
    """Digest of all that tasks read of a product."""
    relpath, workdir = product.relpath, workspace.workdir
    if relpath.endswith(".ecsv"):
        return read_pinned(workdir, relpath, product.sha256).digest
    if relpath.endswith("_sources.fits"):
        arrays: dict[str, Any] = dict(frame_store.read_sources(workdir, relpath))
    elif relpath.endswith(".fits"):
        arrays = vars(frame_store.read_stored_frame(workdir, relpath)).copy()
        arrays["cards"] = arrays["cards"].tostring()
    else:
        arrays = store.read_product(workdir, relpath)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.asarray(arrays[name])
        digest.update(f"{name}{values.dtype}{values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


def _cut_and_remove(workspace: Workspace, everything: Sequence[Product]) -> tuple[int, int]:
    """How many truncations and deletions verify and the readers notice, of how many."""
    rng = random.Random(41)
    found = 0
    for product in everything:
        path = workspace.path(product.relpath)
        whole = path.read_bytes()
        for length in (0, rng.randrange(len(whole)), len(whole) - 1, None):
            if length is None:
                path.unlink()
            else:
                path.write_bytes(whole[:length])
            told = products.state(workspace, product, full=True)
            try:
                _content(workspace, product)
            except ProductError:
                found += told == ("missing" if length is None else "damaged")
            path.write_bytes(whole)
    return found, 4 * len(everything)


def _repaired(workdir: Workdir, everything: Sequence[Product], *, full: bool) -> str:
    """Damage products of every kind (``full``) or those that are quickly made; verify --repair, one run, compare."""
    before = workdir.results()
    rng = random.Random(7)
    tasks = sorted({product.task for product in everything})
    wanted = (
        tasks
        if full
        else ["model_calibrated_cutouts", "prepare_calibrated_cutouts", "psf_modeling", _PREPARED]
    )
    chosen = [rng.choice([p for p in everything if p.task == task]) for task in wanted]
    for k, product in enumerate(chosen):
        path = workdir.path / product.relpath
        if k % 2:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-100])
    workspace = workdir.open()
    with workspace.lock():
        repair(workspace, verify(workspace, full=True))
    workspace.close()
    exit_code = workdir.run().exit_code
    workspace = workdir.open()
    sound = verify(workspace, full=True).sound
    workspace.close()
    unlike = differences(before, workdir.results(), rtol=_FIT_TOLERANCE)
    verdict = "identical" if exit_code == 0 and sound and not unlike else f"not identical: {unlike[:2]}"
    return f"{len(chosen)} products damaged, repaired and made again: results {verdict}"


# ---------------------------------------------------------------- R20
def numerical_failure(scratch: Path, effort: Effort) -> Measured:
    """Cutouts of one frame that cannot be fitted: it is flagged, and the others are as in a night without it."""
    n_frames = 20 if effort.full else N_SMALL
    ways = ("nan", "infinite", "rings") if effort.full else ("nan", "infinite")
    told, passed = [], True
    for way in ways:
        flagged, unlike, infinite = _with_unfit_frame(scratch / way, n_frames, way)
        told.append(
            f"{way}: {flagged}, {unlike} values of other frames differ, {infinite} NaN or Inf in the database"
        )
        passed &= bool(flagged) and unlike == infinite == 0
    return Measured(f"1 of {n_frames} frames; " + "; ".join(told), passed)


def _with_unfit_frame(scratch: Path, n_frames: int, way: str) -> tuple[str, int, int]:
    """Flag or reason of the frame; values of other frames that differ; numbers that are none."""
    spoilt, without = (copy_of_night(scratch / name, n_frames) for name in ("spoilt", "without"))
    measured = {table: spoilt.results()[table] for table in ("PSFs", "star_flux_in_frame")}
    query = "SELECT id, content_hash FROM frames WHERE filter = 'r_sdss' ORDER BY mjd LIMIT 1"
    frame_id, content = spoilt.sql(query)[0]
    _spoil(spoilt, frame_id, way)
    spoilt.run()
    without.change("UPDATE frames SET eliminated = 1 WHERE id = ?", frame_id)
    without.run()
    one, other = (_without_frame(workdir.results(), content) for workdir in (spoilt, without))
    fits = {table: one[table] for table in measured}
    unlike = differences(_without_frame(measured, content), fits)
    joint = ("normalization_coefficients", "absolute_zeropoints", "roi_flux", "normalization_stars")
    unlike += differences({t: other[t] for t in joint}, {t: one[t] for t in joint})
    unflagged = "SELECT count(*) FROM roi_flux WHERE frame_id = ? AND flux IS NOT NULL AND flags = 0"
    points = spoilt.sql(unflagged, frame_id)[0][0]
    reasons = spoilt.sql(
        "SELECT reason_code FROM task_results WHERE frame_id = ? AND state = 'rejected' "
        "UNION SELECT 'flags ' || flags FROM \"PSFs\" WHERE frame_id = ? AND flags != 0",
        frame_id, frame_id,
    )  # fmt: skip
    flagged = ", ".join(str(reason) for (reason,) in reasons) if points == 0 else ""
    return flagged, len(unlike), _not_numbers(spoilt)


def _spoil(workdir: Workdir, frame_id: int, way: str) -> None:
    """Put cutouts without stars in the place of a frame's, and let all frames be measured for the first time."""
    relpath = workdir.sql("SELECT relpath FROM regions WHERE frame_id = ?", frame_id)[0][0]
    arrays = store.read_product(workdir.path, relpath)
    rng = np.random.default_rng(20)
    for name in arrays:
        if name.endswith("/data"):
            arrays[name] = _unfit(arrays[name], way, rng)
    written = store.write_product(workdir.path, relpath, arrays, {})
    change = "UPDATE regions SET sha256 = ?, size = ? WHERE frame_id = ?"
    workdir.change(change, written.sha256, written.size, frame_id)
    for table in ('"PSFs"', "star_flux_in_frame"):
        workdir.change(f"DELETE FROM {table}")
    workdir.change("DELETE FROM task_results WHERE task IN ('psf_modeling', 'star_photometry')")


def _unfit(data: np.ndarray[Any, Any], way: str, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    if way in ("nan", "infinite"):
        return np.full_like(data, np.nan if way == "nan" else np.inf)
    # rings of different radii: bright enough to be taken for stars, and no PSF fits them all
    y, x = np.indices(data.shape[-2:]) - (data.shape[-1] - 1) / 2
    radius = rng.uniform(2, 9, (len(data), 1, 1))
    rings = np.exp(-0.5 * (np.hypot(x, y) - radius) ** 2)
    return (data.max(axis=(1, 2), keepdims=True) * rings).astype(data.dtype)


def _without_frame(results: dict[str, Any], content: str) -> dict[str, Any]:
    """Results in which no row is of a frame."""
    return {
        table: {key: row for key, row in rows.items() if content not in row and content not in key}
        for table, rows in results.items()
    }


def _not_numbers(workdir: Workdir) -> int:
    """Values in columns of numbers that are infinite (SQLite keeps a NaN as NULL)."""
    count = 0
    for (table,) in workdir.sql("SELECT name FROM sqlite_master WHERE type = 'table'"):
        columns = [row[1] for row in workdir.sql(f'PRAGMA table_info("{table}")') if row[2] == "REAL"]
        for column in columns:
            query = f'SELECT count(*) FROM "{table}" WHERE abs("{column}") > 1e300 OR typeof("{column}") = \'text\''
            count += workdir.sql(query)[0][0]
    return count


# ---------------------------------------------------------------- R21
_TO_CUTOUTS = {"cutouts": "regions"}
_TO_THE_END = {
    **_TO_CUTOUTS,
    "star fluxes": "star_flux_in_frame",
    "normalization coefficients": "normalization_coefficients",
    "zero points": "absolute_zeropoints",
    "light-curve points": "roi_flux",
}


def determinism(scratch: Path, effort: Effort) -> Measured:
    """Frames taken by different numbers of workers and in different orders of arrival: one catalogue of results."""
    n_frames = effort.of(4, 8)
    stop = None if effort.full else _PREPARED
    (scratch / "raw").mkdir()
    orders = [list(range(n_frames)) for _ in range(effort.of(1, 3))]
    for seed, order in enumerate(orders):
        random.Random(seed).shuffle(order)
    first = _in_one_run(scratch / "serial", n_frames, stop, None)
    found: dict[str, int] = {}
    for workers in (2, 4) if effort.full else (2,):
        other = _in_one_run(scratch / f"workers{workers}", n_frames, stop, workers)
        found[f"{workers} workers"] = _unlike(first, other)
    for k, order in enumerate(orders):
        other = _one_after_the_other(scratch / f"order{k}", order, stop)
        found[f"order of arrival {k + 1}"] = _unlike(first, other)
    rows = sum(len(table) for table in first.values())
    counts = {
        name: len(first[table]) for name, table in (_TO_THE_END if stop is None else _TO_CUTOUTS).items()
    }
    complete = len(first["regions"]) == n_frames and all(counts.values())
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    text = f"{rows} rows of {n_frames} frames by 1 worker ({told}); rows that differ: " + ", ".join(
        f"{name} {count}" for name, count in found.items()
    )
    return Measured(text, complete and not any(found.values()))


def _in_one_run(path: Path, n_frames: int, stop: str | None, workers: int | None) -> dict[str, Any]:
    workdir = make_workdir(path, field_of(n_frames), range(n_frames))
    with (
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        if workers
        else SerialExecutor()
    ) as executor:
        WorkflowManager(workdir.open(), executor=executor).run(stop=stop)
    return _results(workdir)


def _one_after_the_other(path: Path, order: Sequence[int], stop: str | None) -> dict[str, Any]:
    """Frames arrive in two nights and in another order; each night is run as far as the first run went."""
    workdir = make_workdir(path, field_of(len(order)))
    half = len(order) // 2
    for part in (order[:half], order[half:]):
        for k in part:
            shutil.copy2(field_of(len(order)).frames[k], workdir.more)
        workdir.run(stop=stop)
    return _results(workdir)


def _results(workdir: Workdir) -> dict[str, Any]:
    """All results but the times of files."""
    workdir.check_database()
    return {table: rows for table, rows in workdir.results().items() if table != "files"}


def _unlike(one: dict[str, Any], other: dict[str, Any]) -> int:
    return len(differences(one, other, rtol=_FIT_TOLERANCE))


GOALS = (
    Goal("R12", "Idempotence", "second run: 0 file writes but log and run row, 0 rows changed", second_run),
    Goal(
        "R14",
        "Corruption detected",
        "1000 of 1000 bit flips and all truncations found, 99 % by reading; repair: identical results",
        corruption,
    ),
    Goal(
        "R20",
        "Numerical failure",
        "frame flagged with reason, others unchanged to the last bit, no NaN or Inf as a value",
        numerical_failure,
    ),
    Goal("R21", "Determinism", "any number of workers, any order: identical, fits to 1e-6", determinism),
)
