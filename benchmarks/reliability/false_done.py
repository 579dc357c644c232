"""What an error of the system may do to a run: end it with one line, or put items in error; never a false 'done'."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reliability.disturbed_run import Ended, compared, has_tables
from reliability.recorded_night import Night
from reliability.small_night import Workdir, differences

_STORAGE, _CONFIG, _PARTIAL, _NO_DATA = 74, 78, 10, 65
#: how each kind of error reads in a message of the system, of SQLite or of lightwatch
WORDS = {
    "EIO": r"input/output error|disk i/o error|unable to (open|get)|damaged|malformed",
    "EMFILE": r"too many open files|unable to open|damaged|malformed",
    "EINTR": r"interrupted|disk i/o error|unable to open|damaged|malformed",
    "MemoryError": r"memory",
}
#: where a task's results are: of a frame, and of groups of frames
_OF_FRAME = {"stamp_extraction": "regions", "psf_modeling": "PSFs", "star_photometry": "star_flux_in_frame"}
_OF_GROUPS = {
    "calculate_normalization_coefficient": "normalization_coefficients",
    "calculate_absolute_zeropoints": "absolute_zeropoints",
    "model_calibrated_cutouts": "roi_flux",
}
_ITEMS = (
    "SELECT task, state, reason_code, reason FROM task_results UNION ALL SELECT task, state, reason_code, reason \
FROM group_results UNION ALL SELECT path, state, reason_code, reason FROM files"
)
_FINE, _LATER = ("done", "imported"), ("error", "deferred")


def badly_told(night: Night, ended: Ended, kind: str) -> list[str]:
    """What is wrong with how a run ended that met one error of a kind.

    Exit code 0: the error harmed nothing, and every result and file is there. 74, or 78 where a file of the
    configuration could not be read: one line. 10, or 65 where no raw file could be seen: an item in error, or a line
    of the log, tells of the error.
    """
    lines = ended.said.strip().splitlines()
    if ended.code == 0:
        return [f"exit code 0, but {text}" for text in compared(night, ())]
    if ended.code in (_STORAGE, _CONFIG):
        named = ended.code == _STORAGE or re.search(WORDS[kind], ended.said, re.IGNORECASE)
        return [] if len(lines) == 1 and named else [f"exit code {ended.code}, told as: {lines}"]
    if ended.code not in (_PARTIAL, _NO_DATA):
        return [f"exit code {ended.code}: {ended.said.strip()[:200]}"]
    told = [*_reasons(night.workdir), *_log(night.workdir)]
    if not any(re.search(WORDS[kind], text, re.IGNORECASE) for text in told):
        return [f"exit code {ended.code}, and the error is told nowhere: {told[:3]}"]
    return []


def _reasons(workdir: Workdir) -> Iterator[str]:
    for _item, state, code, reason in workdir.sql(_ITEMS):
        if state not in _FINE:
            yield f"{code}: {reason}"


def _log(workdir: Workdir) -> Iterator[str]:
    for path in (workdir.path / "logs").glob("*"):
        yield from path.read_text(errors="replace").splitlines()


def falsely_done(night: Night, kind: str) -> list[str]:
    """Items that count as done with other results than those of the undisturbed night, or that are set aside for
    another reason than the error.

    A joint result is compared where its frames are all there.
    """
    workdir = night.workdir
    if not (workdir.path / "database.sqlite3").exists() or not has_tables(workdir):
        return []
    found = [
        f"{item} is {state}: {code}: {reason}"
        for item, state, code, reason in workdir.sql(_ITEMS)
        if state not in _FINE
        and not (state in _LATER and code and reason)
        and not re.search(WORDS[kind], f"{code}: {reason}", re.IGNORECASE)
    ]
    results = workdir.results()
    names = dict(workdir.sql("SELECT id, content_hash FROM frames"))
    for task, frame_id in workdir.sql("SELECT task, frame_id FROM task_results WHERE state = 'done'"):
        if task in _OF_FRAME:
            rows = (_of_frame(every[_OF_FRAME[task]], names[frame_id]) for every in (night.results, results))
            found += [f"{task} is done: {text}" for text in differences(*({task: r} for r in rows))]
    groups, whole = results["group_results"], night.results["group_results"]
    for task, table in _OF_GROUPS.items():
        keys = [key for key in whole if key[0] == task]
        if all(groups.get(key) == whole[key] for key in keys):
            found += differences({table: night.results[table]}, {table: results[table]})
    return found


def _of_frame(rows: dict[tuple[str, ...], object], content: str) -> dict[tuple[str, ...], object]:
    return {key: row for key, row in rows.items() if content in key}
