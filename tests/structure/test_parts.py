"""Questions about more ids than a database binds values at once."""

from __future__ import annotations

from functools import partial

import pytest

from lightwatch.pipeline.task import TaskContext
from lightwatch.pipeline.tasks.star_cutouts import batches_by_size
from lightwatch.structure import queries
from lightwatch.structure.elimination import set_eliminated
from lightwatch.structure.parts import parts, rows_of

MANY = 40_000  # SQLite binds 32766


def test_parts_are_all_values_in_order():
    assert [value for part in parts(range(25_000)) for value in part] == list(range(25_000))


@pytest.mark.parametrize("query", [queries.stars_on_frames, queries.regions_of, queries.psfs_of])
def test_rows_of_very_many_frames(night, query):
    (digest,), *_ = night.sql("SELECT hash FROM combined_footprint")
    reader = night.open().reader
    few = queries.rows(reader, query(digest, list(range(100))))
    assert few
    assert rows_of(reader, partial(query, digest), list(range(MANY))) == few


def test_batches_of_very_many_frames(night):
    """More frames than one statement can name, of which those with cutouts are given out."""
    (digest,), *_ = night.sql("SELECT hash FROM combined_footprint")
    items = [{"id": i, "mjd_mid": 59000.0 + i} for i in range(MANY)]
    context = TaskContext(night.open(), "", {}, digest)
    found = [item["id"] for batch in batches_by_size(context, items) for item in batch]
    assert sorted(found) == [i for (i,) in night.sql("SELECT frame_id FROM regions ORDER BY 1")]


def test_very_many_frames_are_eliminated_at_once(workdir):
    frame_ids = [i for (i,) in workdir.sql("SELECT id FROM frames")]
    repeated = frame_ids * (MANY // len(frame_ids))
    set_eliminated(workdir.open(), repeated, eliminated=True, comment="clouds")
    assert workdir.sql("SELECT count(*) FROM frames WHERE eliminated = 1") == [(len(frame_ids),)]
