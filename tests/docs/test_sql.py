"""Every query of docs/sql.md and of the README runs, and finds what it is there to find."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
#: queries for things that a sound night does not have
MAY_BE_EMPTY = (
    "state <> 'imported'",
    "state <> 'done'",
    "flags = 0 AND seeing_arcseconds",
    "FROM normalization_exclusions",
)


def blocks(page: str) -> list[str]:
    return re.findall(r"```sql\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


QUERIES = [
    pytest.param(query, id=f"{page}-{i}")
    for page in ("README.md", "docs/sql.md", "docs/decisions/002-task-results.md")
    for i, query in enumerate(blocks(page))
]


def test_there_are_queries():
    assert len(blocks("docs/sql.md")) > 15


@pytest.mark.parametrize("query", QUERIES)
def test_query(night, tmp_path, query):
    database = tmp_path / "copy.sqlite3"
    original = sqlite3.connect(night.path / "database.sqlite3")
    with closing(original), closing(sqlite3.connect(database)) as copy:
        original.backup(copy)
    with closing(sqlite3.connect(database)) as connection:
        cursor = connection.execute(query.replace("'J0248'", "'pair'"))  # the ROI of the test's field
        rows = cursor.fetchall()
        if cursor.description is None:
            assert cursor.rowcount == 1 or "frame_id = 12" in query
        elif not any(part in query for part in MAY_BE_EMPTY):
            assert rows
            assert any(value is not None for value in rows[0])


def test_views_of_the_page_are_the_views_of_the_schema():
    from lightwatch.structure.views import VIEWS

    told = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/sql.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(VIEWS)
