"""R5 to R8, R24 and R26: whatever lies in the raw directory, and whatever reads it, one frame never stops the night."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from lightwatch.pipeline.executors import WorkerPool
from lightwatch.structure.config import Executor
from lightwatch.structure.files import path_text
from reliability import faulty_work, parsers
from reliability.corpus import Kind, Sample, changed, unpacked_corpus
from reliability.finished_night import field_of
from reliability.goal import Effort, Goal, Measured
from reliability.small_night import Workdir, differences, make_workdir

IMPORT, STAMPS = "read_convert_skysub_character_catalog", "stamp_extraction"
_N_GOOD = 5
_EVERY = 7  # of the corpus in the small version: the others take their turn in the tests of the reader
_SOME_FAULTS = ("segmentation fault", "division in C", "hang", "too much memory")
_BOMBS = ("NAXIS1 huge", "gzip bomb", "gzip bomb without gz", "tile bomb", "ZNAXIS huge", "ZTILE huge",
          "endless header", "1100 HDUs")  # fmt: skip


@dataclass(frozen=True)
class Night:
    """What became of a run in a process of its own."""

    code: int
    seconds: float
    megabytes: float  # the largest resident size of any of its processes
    text: str


def run_apart(workdir: Workdir, *options: str) -> Night:
    """``lightwatch run`` as cron starts it."""
    command = [sys.executable, "-m", "lightwatch.pipeline.cli", "run", str(workdir.config), *options]
    return measured_process(command, workdir.path)


def measured_process(command: Sequence[str], folder: Path) -> Night:
    """Run a command, and tell its exit code, time and memory."""
    begun = time.monotonic()
    with (folder / "output.txt").open("w+") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=Path(__file__).parent.parent
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    return Night(process.returncode, time.monotonic() - begun, usage.ru_maxrss / 1024, text)


def _workdir(scratch: Path, name: str = "workdir", n_good: int = _N_GOOD) -> tuple[Workdir, Sample]:
    """A workdir with some good frames, and a frame to make others of."""
    scratch.mkdir(exist_ok=True)
    field = field_of(n_good + 1)
    (scratch / "raw").mkdir(exist_ok=True)
    workdir = make_workdir(scratch / name, field, range(n_good))
    workdir.configure("{kind: serial}", "{kind: processes, jobs: 2, frame_timeout_seconds: 30}")
    return workdir, Sample.of(field.frames[n_good])


# ---------------------------------------------------------------- R5
def bad_frames(scratch: Path, effort: Effort) -> Measured:
    """All kinds among five good frames in one run."""
    workdir, sample = _workdir(scratch)
    kinds = [kind for i, kind in enumerate(unpacked_corpus()) if effort.full or i % _EVERY == 0]
    (workdir.more / "corpus").mkdir()
    places = {kind.name: kind.make(workdir.more / "corpus", sample) for kind in kinds}
    night = run_apart(workdir, "--stop", STAMPS)
    wrong = wrong_verdicts(workdir, kinds, places)
    good = workdir.sql(
        "SELECT count(*) FROM frames f JOIN regions r ON r.frame_id = f.id "
        "WHERE f.original_image_path NOT LIKE '%corpus%'"
    )[0][0]
    quarantined = workdir.sql("SELECT count(*) FROM files WHERE state = 'quarantined'")[0][0]
    silent = workdir.sql(
        "SELECT count(*) FROM files WHERE state = 'quarantined' AND (reason_code IS NULL OR reason IS NULL)"
    )[0][0]
    n_bad = sum(kind.verdict == "quarantined" for kind in kinds)
    passed = (
        not wrong and good == _N_GOOD and night.code == 10 and silent == 0 and "Traceback" not in night.text
        and night.megabytes < 2000 and f"{quarantined} rejected" in night.text.replace(",", "")
    )  # fmt: skip
    return Measured(
        f"{n_bad} bad and {len(kinds) - n_bad} odd kinds, {len(kinds) - len(wrong)} with the right verdict; "
        f"{good} of {_N_GOOD} good frames finished; exit code {night.code}; {night.seconds:.0f} s in all, "
        f"{night.megabytes:.0f} MB" + "".join(f"; {each}" for each in wrong[:8]),
        passed,
    )


def wrong_verdicts(workdir: Workdir, kinds: Sequence[Kind], places: dict[str, Path]) -> list[str]:
    """Kinds that became something else than they must."""
    rows = {
        path: row
        for path, *row in workdir.sql("SELECT path, state, reason_code, frame_id, reason FROM files")
    }
    refused = {
        frame: code
        for frame, code, state in workdir.sql("SELECT frame_id, reason_code, state FROM task_results")
        if state != "done"
    }
    wrong = []
    for kind in kinds:
        state, code, frame_id, reason = rows.get(path_text(places[kind.name]), ("absent", None, None, None))
        sound = {
            "quarantined": (state, code) == ("quarantined", kind.code) and bool(reason),
            "imported": (state, code) == ("imported", kind.code),
            "calibration": (state, code) == ("calibration", kind.code),
            "unsolved": state == "imported" and bool(refused.get(frame_id)),
            "finished": state in ("imported", "quarantined"),
        }[kind.verdict]
        if not sound:
            wrong.append(f"{kind.name}: {state} {code} ({reason}), expected {kind.verdict} {kind.code}")
    return wrong


# ---------------------------------------------------------------- R5b
def large_frame(scratch: Path, effort: Effort) -> Measured:
    """One frame of a large camera through the import."""
    side = 10240 if effort.full else 4096
    workdir, sample = _workdir(scratch, n_good=0)
    workdir.configure("frame_timeout_seconds: 30", "frame_timeout_seconds: 300")
    write_large_frame(workdir.more / "large.fits", side, sample)
    night = run_apart(workdir, "--stop", IMPORT)
    rows = workdir.sql("SELECT naxis1, naxis2, n_sources FROM frames")
    passed = night.code == 0 and rows[:1] == [(side, side, rows[0][2])] and rows[0][2] > 200
    return Measured(
        f"{side} x {side} pixels of 16 bits: {night.megabytes:.0f} MB at most, {night.seconds:.0f} s",
        passed and night.megabytes < 1500,
    )


def write_large_frame(path: Path, side: int, sample: Sample) -> None:
    """Sky and some 400 stars, made without much memory."""
    rng = np.random.default_rng(1)
    tile = rng.normal(500, 20, (512, 512)).round().astype(np.uint16)
    image = np.tile(tile, (side // 512, side // 512))
    y, x = np.indices((15, 15)) - 7
    star = np.exp(-(x**2 + y**2) / 5.0)
    for _ in range(400):
        row, column = rng.integers(20, side - 20, 2)
        place = image[row - 7 : row + 8, column - 7 : column + 8]
        place += (rng.uniform(500, 20000) * star).astype(np.uint16)
    fits.PrimaryHDU(image, sample.header).writeto(path)


# ---------------------------------------------------------------- R6
def worker_death(_scratch: Path, effort: Effort) -> Measured:
    """Items that kill, stop or exhaust their workers, among others that do no harm."""
    faults = list(faulty_work.FAULTS) * 3 if effort.full else _SOME_FAULTS
    jobs = [job for fault in faults for job in (fault, *("good",) * 4)]
    settings = Executor(jobs=2, frame_timeout_seconds=8.0, worker_memory_gigabytes=2.0)
    begun = time.monotonic()
    with WorkerPool(settings) as pool:
        outcomes = dict(pool.outcomes(faulty_work.compute, jobs))
    seconds = time.monotonic() - begun
    good = sum(outcomes[i].output == "good" for i, job in enumerate(jobs) if job == "good")
    wrong = []
    for i, job in enumerate(jobs):
        code, text = faulty_work.FAULTS.get(job, (None, ""))
        outcome = outcomes[i]
        if code and not (
            outcome.state == "error" and code in ("*", outcome.reason_code) and text in outcome.reason
        ):
            wrong.append(f"{job}: {outcome.state} {outcome.reason_code} {outcome.reason}")
    n_bad = sum(job != "good" for job in jobs)
    return Measured(
        f"{n_bad - len(wrong)} of {n_bad} faults told with their cause, {good} of {len(jobs) - n_bad} others done, "
        f"{seconds:.0f} s" + "".join(f"; {each}" for each in wrong),
        not wrong and good == len(jobs) - n_bad and (seconds < 10 * len(faults) or not effort.full),
    )


# ---------------------------------------------------------------- R7
def growing_frame(scratch: Path, effort: Effort) -> Measured:
    """A writer appends during the run; and a copy stands still, young and incomplete."""
    workdir, sample = _workdir(scratch, n_good=1)
    workdir.configure("min_file_age_seconds: 0", "min_file_age_seconds: 60")
    workdir.configure("{kind: processes, jobs: 2, frame_timeout_seconds: 30}", "{kind: serial}")
    _age(workdir.more)
    whole, target, stop = sample.whole, workdir.more / "growing.fits", threading.Event()
    target.write_bytes(whole[:9000])

    def append() -> None:
        with target.open("ab") as file:
            while not stop.is_set():
                file.write(whole[9000:9500])
                file.flush()
                time.sleep(0.05)

    writer = threading.Thread(target=append)
    writer.start()
    (workdir.more / "stalled.fits").write_bytes(whole[: len(whole) // 2])
    during = workdir.run(stop=IMPORT)
    stop.set()
    writer.join()
    states = dict(workdir.sql("SELECT path, state FROM files"))
    deferred = [states.get(str(workdir.more / name)) for name in ("growing.fits", "stalled.fits")]
    (workdir.more / "stalled.fits").unlink()
    target.write_bytes(whole)
    _age(workdir.more)
    after = workdir.run(stop=IMPORT)
    shutil.copytree(
        workdir.path, scratch / "undisturbed", ignore=shutil.ignore_patterns("database*", "frames")
    )
    undisturbed = Workdir(scratch / "undisturbed")
    (undisturbed.more / "growing.fits").write_bytes(whole)
    undisturbed.run(stop=IMPORT)
    other = differences(_frames(workdir), _frames(undisturbed))
    return Measured(
        f"{deferred.count('deferred')} of 2 deferred, {during.exit_code} and {after.exit_code} the exit codes; "
        f"measured in the next run with {len(other)} differences to a frame that was whole",
        deferred == ["deferred"] * 2 and (during.exit_code, after.exit_code) == (0, 0) and not other,
    )


def _frames(workdir: Workdir) -> dict[str, object]:
    rows = workdir.results()["frames"]
    return {"frames": {key: tuple(v for v in row if not isinstance(v, str)) for key, row in rows.items()}}


def _age(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 3600,) * 2)


# ---------------------------------------------------------------- R8
def copies_and_changes(scratch: Path, _effort: Effort) -> Measured:
    """Same bytes twice, same name twice, and a file whose bytes change after its import."""
    field = field_of(3)
    (scratch / "raw").mkdir()
    workdir = make_workdir(scratch / "workdir", field)
    for night, k in (("one", 0), ("two", 1)):
        (workdir.more / night).mkdir()
        shutil.copy2(field.frames[k], workdir.more / night / "image_001.fits")
    shutil.copy2(field.frames[0], workdir.more / "copy.fits")
    workdir.run(stop=IMPORT)
    frames = workdir.sql(
        "SELECT count(*), count(DISTINCT content_hash), count(DISTINCT image_relpath) FROM frames"
    )[0]
    copies = workdir.sql("SELECT reason FROM files WHERE state = 'duplicate'")
    pixels = len({sha for (sha,) in workdir.sql("SELECT image_sha256 FROM frames")})
    shutil.copy(field.frames[2], workdir.more / "two" / "image_001.fits")
    workdir.run(stop=IMPORT)
    after = workdir.sql("SELECT eliminated, count(*) FROM frames GROUP BY eliminated ORDER BY eliminated")
    checks = [
        frames == (2, 2, 2) and pixels == 2,
        len(copies) == 1 and copies[0][0].startswith("same content as "),
        after == [(0, 2), (1, 1)],
    ]
    return Measured(
        f"{sum(checks)} of 3: same name in two directories, {frames[0]} frames; same bytes twice, "
        f"{len(copies)} noted as a duplicate; changed after import, {after[-1][1]} frame superseded and measured anew",
        all(checks),
    )


# ---------------------------------------------------------------- R24
def bombs(scratch: Path, effort: Effort) -> Measured:
    """In a process whose time and memory are measured: each alone, or in the small version one after the other."""
    sample = Sample.of(field_of(1).frames[0])
    paths = [str(kind.make(scratch, sample)) for kind in unpacked_corpus() if kind.name in _BOMBS]
    worst_time = worst_memory = 0.0
    wrong, refused = [], 0
    for together in [[path] for path in paths] if effort.full else [paths]:
        night = measured_process([sys.executable, "-m", "reliability.read_one", *together], scratch)
        told = [line.split() for line in night.text.splitlines()]
        if len(told) != len(together) or any(words[0] != "too_large" for words in told):
            wrong.append(f"{[Path(path).name for path in together]}: {night.text.strip()[-400:]}")
            continue
        refused += len(told)
        worst_time = max(worst_time, *(float(seconds) for _code, seconds, _memory in told))
        worst_memory = max(worst_memory, *(float(memory) for _code, _seconds, memory in told))
    return Measured(
        f"{refused} of {len(_BOMBS)} refused, after {worst_time:.2f} s and with "
        f"{worst_memory:.0f} MB at most, interpreter and libraries included"
        + "".join(f"; {each}" for each in wrong),
        refused == len(_BOMBS) and (worst_time < 2.0 or not effort.full) and worst_memory < 500,
    )


# ---------------------------------------------------------------- R26
def header_parsers(scratch: Path, effort: Effort) -> Measured:
    """Parsers that fail on one frame of two; parsers that would fail the main process; files that others can write."""
    wrong, n = [], 0
    for fault in parsers.FAULTS if effort.full else ("exits", "ends its process"):
        n += 1
        wrong += _parser_fault(scratch / f"fault{n}", fault)
    workdir, _sample = _workdir(scratch / "main", n_good=1)
    for name, text in list(parsers.AT_IMPORT.items())[: effort.of(1, 9)]:
        n += 1
        _install(workdir, f"{text}\ndef parse_header(header): ...\n")
        answers = [
            measured_process(
                [sys.executable, "-m", "lightwatch.pipeline.cli", word, str(workdir.config)], workdir.path
            )
            for word in ("status", "plan")
        ]
        slow = effort.full and any(answer.seconds > 10 for answer in answers)
        if slow or any(answer.code != 0 or answer.megabytes > 1000 for answer in answers):
            wrong.append(
                f"{name} at import: {[(a.code, round(a.seconds), round(a.megabytes)) for a in answers]}"
            )
    folder = workdir.path / "header_parser"
    for place in (folder, folder / "parse_header.py")[: effort.of(1, 2)]:
        n += 1
        mode = place.stat().st_mode
        place.chmod(mode | 0o022)
        night = run_apart(workdir, "--stop", IMPORT)
        place.chmod(mode)
        if night.code != 78 or "others can write" not in night.text:
            wrong.append(f"{place.name} writable: exit code {night.code}")
    return Measured(f"{n - len(wrong)} of {n} cases" + "".join(f"; {each}" for each in wrong), not wrong)


def _install(workdir: Workdir, source: str) -> None:
    if "instrument: simulation" in workdir.config.read_text():
        workdir.configure("instrument: simulation", "instrument: null")
    path = workdir.path / "header_parser" / "parse_header.py"
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.write_text(source)
    path.chmod(0o600)


def _parser_fault(scratch: Path, fault: str) -> list[str]:
    scratch.mkdir()
    workdir, sample = _workdir(scratch, n_good=1)
    (workdir.more / "victim.fits").write_bytes(changed(sample, OBJECT="VICTIM"))
    _install(workdir, parsers.source(fault))
    night = run_apart(workdir, "--stop", IMPORT)
    states = {
        Path(p).name: row for p, *row in workdir.sql("SELECT path, state, reason_code, reason FROM files")
    }
    state, code, reason = states.get("victim.fits", ("absent", None, None))
    expected = parsers.FAULTS[fault][1]
    sound = states.get("sim_0000.fits", [""])[0] == "imported" and night.code == (10 if expected else 0)
    if expected is None:
        sound &= state == "imported" and len(night.text) < 10_000
    else:
        sound &= (state, code) == ("quarantined", expected[0]) and expected[1] in (reason or "")
    return [] if sound else [f"{fault}: exit code {night.code}, {state} {code} {reason}"]


GOALS = (
    Goal(
        "R5",
        "Bad frames",
        "every kind with the right verdict, good frames finish, exit code 10, < 2 GB",
        bad_frames,
    ),
    Goal(
        "R5b",
        "Large frames",
        "10,240 x 10,240 pixels imported with less than 1.5 GB",
        large_frame,
        every_commit=False,
    ),
    Goal(
        "R6",
        "Worker death",
        "told with its signal after at most 2 tries, the others go on, no hang",
        worker_death,
    ),
    Goal("R7", "Frame still being written", "deferred, then measured as a whole one", growing_frame),
    Goal(
        "R8",
        "Copies, same names, changed files",
        "one frame per content, changed files measured anew",
        copies_and_changes,
    ),
    Goal("R24", "Bombs", "refused in less than 2 s and 500 MB", bombs),
    Goal(
        "R26",
        "Header parsers",
        "a failing one costs the frame only, and is never run by the main process",
        header_parsers,
    ),
)
