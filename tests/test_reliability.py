"""Every goal of the scoreboard, with the small version of its procedure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reliability.board import Row, all_goals, write_into
from reliability.goal import Effort, Goal, Measured, NotMeasured


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
