"""Every goal of the scoreboard, with the small version of its procedure."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from reliability import disturbed_run
from reliability.board import Row, all_goals, write_into
from reliability.disturbed_run import Ended, Way, after_reruns, run_in_child, unsound
from reliability.false_done import badly_told, falsely_done
from reliability.goal import Effort, Goal, Measured, NotMeasured
from reliability.recorded_night import recorded_night

from lightwatch.errors import StorageError
from lightwatch.structure import store


@pytest.mark.parametrize("goal", [goal for goal in all_goals() if goal.every_commit], ids=lambda g: g.number)
def test_goal(goal, tmp_path):
    try:
        measured = goal.measure(tmp_path, Effort(full=False))
    except NotMeasured as reason:
        pytest.skip(str(reason))
    print(measured.text)
    assert measured.passed, measured.text


def test_goals_have_numbers_of_their_own():
    numbers = [goal.number for goal in all_goals()]
    assert len(set(numbers)) == len(numbers)


def test_rows_take_their_places_in_a_page(tmp_path):
    """Rows measured now replace those of the same goals; the others stay."""
    goals = [
        Goal(number, "kill", "all", lambda scratch, effort: Measured("", True)) for number in ("R2", "R10")
    ]
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- scoreboard -->\n<!-- end of scoreboard -->\nbelow\n")
    write_into(page, [Row(goal, Measured("old", True), "", 1.0) for goal in goals], Effort(full=False))
    write_into(page, [Row(goals[0], Measured("1 | 2", False), "", 2.0)], Effort(full=True))
    write_into(page, [Row(replace(goals[0], number="R5b"), None, "no strace", 0.0)], Effort(full=True))
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("above", "below")
    assert [line for line in lines if line.startswith("| R")] == [
        "| R2 | kill | all | 1 \\| 2 | MISSED | full | 2 |",
        "| R5b | kill | all | no strace | not measured | full | 0 |",
        "| R10 | kill | all | old | reached | small | 1 |",
    ]


# ---------------------------------------------------------------- the judge of R3
@pytest.fixture
def finished():
    """The recorded night, run to its end without any disturbance."""
    night = recorded_night(2)
    night.fresh()
    assert run_in_child(night).code == 0
    assert unsound(night) + falsely_done(night, "EIO") == []
    return night


def _first(workdir, pattern):
    return min(workdir.path.glob(pattern))


def _flip(workdir):
    """A frame's file is damaged while it waits for its WCS, which excuses the WCS alone."""
    workdir.change("DELETE FROM task_results WHERE task = 'plate_solving'")
    path = _first(workdir, "frames/*[0-9a-f].fits")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


PLANTED = {
    "product gone": lambda workdir: _first(workdir, "regions/*/*.h5").unlink(),
    "damaged while waiting": _flip,
    "no rows": lambda workdir: workdir.change("DELETE FROM star_flux_in_frame WHERE frame_id = 1"),
    "other rows": lambda workdir: workdir.change(
        "UPDATE star_flux_in_frame SET flux = 1.001 * flux WHERE frame_id = 1"
    ),
    "other light curve": lambda workdir: workdir.change("UPDATE roi_flux SET flux = 1.001 * flux"),
    "set aside for good": lambda workdir: workdir.change(
        "UPDATE task_results SET state = 'rejected', reason_code = 'x', reason = 'y' WHERE task = 'psf_modeling'"
    ),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_false_done_is_found(finished, plant):
    plant(finished.workdir)
    assert unsound(finished) + falsely_done(finished, "EIO") != []


def test_swallowed_error_is_found():
    """A store that takes an error of the disk for success: the last product of the night is missing, and done."""
    night = recorded_night(2)
    night.fresh()
    write = store.write_atomically

    def fail(_step, path):
        if "roi_models" in path.parts:
            raise OSError(errno.EIO, "Input/output error", str(path))

    def careless(path, fill):
        try:
            return write(path, fill)
        except (OSError, StorageError):
            return "0" * 64, 1000

    ended = run_in_child(night, trap=fail, prepare=lambda: setattr(store, "write_atomically", careless))
    assert ended.code == 0
    assert badly_told(night, ended, "EIO") != []
    assert unsound(night) != []


def test_silent_end_is_found(finished):
    """Exit codes that promise a line, or items in error, are not believed without them."""
    ends = [
        (10, ""),
        (65, ""),
        (74, ""),
        (74, "two\nlines"),
        (78, "config.yaml: bad value"),
        (70, "bug"),
        (-9, ""),
    ]
    for code, said in ends:
        assert badly_told(finished, Ended(code, said, 1, 1.0), "EIO") != [], (code, said)
    for code, said in [
        (0, ""),
        (74, "x.h5: could not be written: Input/output error"),
        (78, "x: disk I/O error"),
    ]:
        assert badly_told(finished, Ended(code, said, 1, 1.0), "EIO") == [], (code, said)


def test_the_way_to_the_same_results_is_told(finished, monkeypatch):
    """What was the same only within a tolerance, or after a run for good, does not count as identical."""
    clean, failed = Ended(0, "", 1, 1.0), Ended(74, "x", 1, 1.0)
    assert after_reruns(finished, clean) == (Way.AT_ONCE, [])
    assert after_reruns(finished, failed) == (Way.BITWISE, [])
    monkeypatch.setattr(disturbed_run, "run_in_child", lambda _night: clean)
    with monkeypatch.context() as other:
        other.setattr(disturbed_run, "_other_ids", lambda _night: True)
        assert after_reruns(finished, clean) == (Way.OTHER_IDS, [])
    monkeypatch.setattr(disturbed_run, "run_in_child", lambda _night: failed)
    way, problems = after_reruns(finished, failed)
    assert way is Way.COMPUTED
    assert problems == ["run again: exit code 74: x"], "without an unknown fit the exit code is the problem"
