"""What became of items, as rows: attempts are counted, and what a frame has lost goes with all that follows."""

from __future__ import annotations

import pytest
from sqlalchemy import func, insert, select, update

from lightwatch.structure import frame_rows, region_rows, result_rows, schema, upgrade
from lightwatch.structure.database import open_engine, transaction
from lightwatch.structure.task_names import IMPORT_TASK

FRAME = {
    "content_hash": "one",
    "original_image_path": "/raw/a.fits", "image_relpath": "frames/a.fits", "mjd": 60000.0, "mjd_mid": 60000.1,
    "exptime": 30.0, "gain": 1.0, "naxis1": 10, "naxis2": 10, "recipe": "r",
}  # fmt: skip
RESULT = {
    "combined_footprint_hash": "f",
    "frame_id": 1,
    "recipe": "r",
    "run_id": 1,
    "seconds": 0.1,
    "flags": 0,
}


@pytest.fixture
def connection(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'database.sqlite3'}")
    upgrade.upgrade(engine)
    with transaction(engine) as connection:
        assert frame_rows.save_frame(connection, FRAME, {}) == 1
        yield connection
    engine.dispose()


def _rows(connection, table, *columns):
    return [tuple(row) for row in connection.execute(select(*(table.c[name] for name in columns)))]


def test_attempts_are_counted_under_one_recipe_and_for_one_group(connection):
    seen = []
    for state, recipe in (("error", "r"), ("error", "r"), ("done", "r"), ("error", "other")):
        row = {**RESULT, "task": "t", "state": state, "recipe": recipe}
        result_rows.save_result(connection, row)
        seen += _rows(connection, schema.task_results, "state", "attempts")
    assert seen == [("error", 1), ("error", 2), ("done", 3), ("error", 1)]
    seen = []
    group = {"task": "t", "combined_footprint_hash": "f", "group_key": "g", "state": "error", "recipe": "r",
             "n_items": 3, "run_id": 1, "seconds": 0.1}  # fmt: skip
    for digest in ("a", "a", "b"):
        result_rows.save_group_result(connection, {**group, "digest": digest})
        seen += _rows(connection, schema.group_results, "digest", "attempts")
    assert seen == [("a", 1), ("a", 2), ("b", 1)]


def test_errors_are_recorded_until_no_attempt_is_left(connection):
    row = {"run_id": 1, "task": "t", "item": "a.fits", "reason_code": "x", "message": "m", "recipe": "r"}
    left = []
    for _ in range(4):
        left.append(result_rows.has_attempts_left(connection, "a.fits", "r"))
        result_rows.record_error(connection, row)
    assert left == [True, True, False, False]
    assert result_rows.has_attempts_left(connection, "a.fits", "other")


@pytest.mark.parametrize(("footprint_hash", "left"), [("f", [("a", "f"), ("b", "g")]), ("", [("a", "f")])])
def test_a_frame_is_forgotten_in_one_footprint_or_in_all(connection, footprint_hash, left):
    for task, place in (("a", "f"), ("b", "f"), ("b", "g")):
        row = {**RESULT, "task": task, "state": "done", "combined_footprint_hash": place}
        result_rows.save_result(connection, row)
    connection.execute(insert(schema.footprints).values(frame_id=1, polygon="[]", recipe="r"))
    tables = [] if footprint_hash else ["footprints"]
    result_rows.forget_frame(connection, 1, footprint_hash, tables=tables, tasks=["b"])
    assert _rows(connection, schema.task_results, "task", "combined_footprint_hash") == left
    assert len(_rows(connection, schema.footprints, "frame_id")) == (0 if tables else 1)


def test_a_frame_that_is_imported_again_keeps_what_its_owner_wrote(connection):
    frame_rows.set_columns(
        connection, 1, {"eliminated": 1, "comment": "by hand", "airmass": 1.2, "plate_solved": 1}
    )
    result_rows.save_result(connection, {**RESULT, "task": "t", "state": "done"})
    assert frame_rows.save_frame(connection, {**FRAME, "gain": 2.0}, {"eliminated": 0}) == 1
    columns = ("eliminated", "comment", "airmass", "plate_solved", "gain")
    assert _rows(connection, schema.frames, *columns) == [(1, "by hand", None, 0, 2.0)]
    assert _rows(connection, schema.task_results, "task") == []


def test_imports_of_a_frame_are_counted_whatever_the_recipe(connection):
    assert frame_rows.times_imported(connection, "never seen") == 0
    assert frame_rows.times_imported(connection, FRAME["content_hash"]) == 1  # its result was forgotten
    result_rows.save_result(connection, {**RESULT, "task": IMPORT_TASK, "state": "done"})
    assert frame_rows.times_imported(connection, FRAME["content_hash"]) == 1
    connection.execute(update(schema.task_results).values(attempts=3, recipe="another"))
    assert frame_rows.times_imported(connection, FRAME["content_hash"]) == 3


def test_a_file_with_new_content_takes_its_old_frame_out_and_with_the_old_one_back_in(connection):
    file = {"size": 1, "mtime_ns": 2, "inode": 3, "state": "imported", "recipe": "r", "frame_id": 1}
    connection.execute(insert(schema.files), [{**file, "path": "a"}, {**file, "path": "b"}])
    frame_rows.supersede(connection, "a", 1)
    frame_rows.supersede(connection, "c", None)
    frame_rows.supersede(connection, "a", None)  # its other copy is there still
    assert _rows(connection, schema.frames, "eliminated") == [(0,)]
    connection.execute(schema.files.delete().where(schema.files.c.path == "b"))
    frame_rows.supersede(connection, "a", None)
    assert _rows(connection, schema.frames, "eliminated") == [(1,)]
    frame_rows.save_frame(connection, FRAME, {})
    assert _rows(connection, schema.frames, "eliminated", "comment") == [(0, None)]


def test_limiting_magnitudes_are_of_their_frames(connection):
    frame_rows.save_frame(connection, {**FRAME, "content_hash": "two", "image_relpath": "frames/b.fits"}, {})
    frame_rows.set_limiting_magnitudes(connection, {})
    frame_rows.set_limiting_magnitudes(connection, {2: 20.5})
    assert _rows(connection, schema.frames, "id", "limiting_magnitude") == [(1, None), (2, 20.5)]


def test_one_footprint_is_current(connection):
    for key in ("f", "g", "f"):
        region_rows.make_footprint_current(connection, key, {"strategy": "ROI_disk", "definition": "{}"})
    assert sorted(_rows(connection, schema.combined_footprint, "hash", "is_current")) == [("f", 1), ("g", 0)]


def test_rois_that_stay_keep_their_light_curves(connection):
    rois = [{"name": name, "ra": 1.0, "dec": 2.0} for name in ("a", "b")]
    sources = [{"roi": name, "name": name, "ra": 1.0, "dec": 2.0} for name in ("a", "b")]
    result_rows.register(connection, [], rois, sources)
    region_rows.make_footprint_current(connection, "f", {"strategy": "ROI_disk", "definition": "{}"})
    fluxes = [
        {"combined_footprint_hash": "f", "roi": name, "point_source": name, "frame_id": 1, "filter": "r",
         "flux": 1.0, "recipe": "r"}
        for name in ("a", "b")
    ]  # fmt: skip
    for row in fluxes:
        key = {"combined_footprint_hash": "f", "roi": row["roi"], "filter": "r"}
        for _ in range(2):
            region_rows.save_roi_model(connection, key, {"flags": 0}, [row])
    assert connection.execute(select(func.count()).select_from(schema.roi_flux)).scalar() == 2
    result_rows.register(connection, [], rois[:1], sources[:1])
    assert _rows(connection, schema.roi_flux, "roi") == [("a",)]
