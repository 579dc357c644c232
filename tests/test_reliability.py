"""Every goal of the scoreboard, with the small version of its procedure."""

from __future__ import annotations

import pytest
from reliability.board import Row, all_goals, as_markdown, write_into
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


def test_table_takes_its_place_in_a_page(tmp_path):
    goal = Goal("R1", "kill", "all", lambda scratch, effort: Measured("2 of 2", True))
    rows = [Row(goal, Measured("1 | 2", False), "", 2.0), Row(goal, None, "no strace", 0.0)]
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- scoreboard -->\nold\n<!-- end of scoreboard -->\nbelow\n")
    write_into(page, as_markdown(rows, Effort(full=True)))
    text = page.read_text()
    assert "| R1 | kill | all | 1 \\| 2 | MISSED | 2 |" in text
    assert "| no strace | not measured |" in text
    assert text.startswith("above")
    assert text.endswith("below\n")
    assert "old" not in text
