"""Questions to the database: what is pending, what is usable, and rows that are replaced whole."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, update

from lightwatch.errors import ConfigError
from lightwatch.structure import queries, queries_joint, queries_overview, queries_report, schema, upgrade
from lightwatch.structure.database import open_engine, transaction

FRAME = {
    "original_image_path": "/raw/a", "mjd": 60000.0, "mjd_mid": 60000.1, "exptime": 30.0, "gain": 1.0, "naxis1": 10,
    "naxis2": 10, "recipe": "r", "plate_solved": 1, "roi_in_footprint": 1,
}  # fmt: skip


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'database.sqlite3'}")
    upgrade.upgrade(engine)
    with transaction(engine) as connection:
        connection.execute(
            insert(schema.frames),
            [
                {
                    **FRAME,
                    "id": i,
                    "content_hash": f"c{i}",
                    "image_relpath": f"frames/100%_{i}.fits",
                    "mjd_mid": 60010.0 - i,
                }
                for i in (1, 2, 3)
            ],
        )
    yield engine
    engine.dispose()


def _result(engine, frame_id, task="up", state="done", recipe="U", attempts=1, footprint=""):
    row = {
        "task": task,
        "combined_footprint_hash": footprint,
        "frame_id": frame_id,
        "state": state,
        "recipe": recipe,
        "attempts": attempts,
    }
    with transaction(engine) as connection:
        connection.execute(insert(schema.task_results).values(row))


def _pending(engine, needs_roi=False, footprint=""):
    query = queries.pending_frames("own", "O", footprint, upstream=("up", "U", ""), needs_roi=needs_roi)
    return [row["id"] for row in queries.rows(engine, query)]


def test_pending_is_what_upstream_has_done_and_own_has_not(engine):
    assert _pending(engine) == []
    for i in (1, 2, 3):
        _result(engine, i)
    assert _pending(engine) == [3, 2, 1], "in order of time"
    _result(engine, 1, "own", "done", "O")
    _result(engine, 2, "own", "done", "an older recipe")
    assert _pending(engine) == [3, 2]
    _result(engine, 1, "own", "done", "O", footprint="another")
    assert _pending(engine, footprint="another") == [3, 2]


@pytest.mark.parametrize(
    ("state", "attempts", "again"),
    [("done", 1, False), ("rejected", 1, False), ("error", 1, True), ("error", 2, True), ("error", 3, False)],
)
def test_errors_are_tried_three_times_and_rejections_once(engine, state, attempts, again):
    _result(engine, 1)
    _result(engine, 1, "own", state, "O", attempts)
    assert _pending(engine) == ([1] if again else [])


def test_upstream_results_of_another_recipe_or_state_do_not_count(engine):
    _result(engine, 1, recipe="older")
    _result(engine, 2, state="rejected")
    _result(engine, 3, footprint="other")
    assert _pending(engine) == []


@pytest.mark.parametrize(
    "change",
    [
        {"eliminated": 1},
        {"frame_type": "dark"},
        {"plate_solved": 0},
        {"roi_in_footprint": 0},
        {"roi_in_footprint": None},
    ],
)
def test_usable_frames(engine, change):
    _result(engine, 1)
    with transaction(engine) as connection:
        connection.execute(update(schema.frames).where(schema.frames.c.id == 1).values(change))
    assert _pending(engine, needs_roi=True) == []
    assert _pending(engine) == ([] if set(change) & {"eliminated", "frame_type"} else [1])


def test_frames_within_intervals(engine):
    condition = queries.frames_within({"mjd_mid": (60007.5, 60008.5), "exptime": (1, 100)})
    assert [row["id"] for row in queries.rows(engine, select(schema.frames).where(condition))] == [2]
    assert len(queries.rows(engine, select(schema.frames).where(queries.frames_within({})))) == 3
    for name in ("nonsense", "id; DROP TABLE frames", "mjd_mid > 0 OR 1=1 --"):
        with pytest.raises(ConfigError, match="is no column"):
            queries.frames_within({name: (0, 1)})


def test_unknown_values_are_not_within(engine):
    assert queries.rows(engine, select(schema.frames).where(queries.frames_within({"airmass": (0, 3)}))) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2", [2]),
        ("02", []),
        ("100", []),
        ("9" * 30, []),
        ("frames/100%_3.fits", [3]),
        ("%_1", [1]),
        ("%", [1, 2, 3]),
        ("_%", []),
        ("x'", []),
    ],
)
def test_frames_by_name_take_wildcards_literally(engine, text, found):
    assert [row["id"] for row in queries.rows(engine, queries.frame_named(text))] == found


def test_replace_rows_leaves_no_old_row(engine):
    table = schema.plate_solve_attempts
    old = [{"frame_id": 1, "attempt": i, "method": "header", "outcome": "x", "recipe": "r"} for i in range(3)]
    other = {"frame_id": 2, "attempt": 0, "method": "header", "outcome": "x", "recipe": "r"}
    with transaction(engine) as connection:
        connection.execute(insert(table), [*old, other])
        queries.replace_rows(connection, table, {"frame_id": 1}, [{**old[0], "method": "pattern"}])
    rows = queries.rows(engine, select(table).order_by(table.c.frame_id))
    assert [(row["frame_id"], row["method"]) for row in rows] == [(1, "pattern"), (2, "header")]
    with transaction(engine) as connection:
        queries.replace_rows(connection, table, {"frame_id": 1}, [])
    assert len(queries.rows(engine, select(table))) == 1


def test_every_named_question_runs(night):
    """The questions that take a frame or a footprint, on a finished night."""
    workspace = night.open()
    reader = workspace.reader
    name = queries.rows(reader, queries.current_footprint())[0]["hash"]
    recipes = {row["task"]: row["recipe"] for row in queries.rows(reader, select(schema.task_recipes))}
    ids = [row["id"] for row in queries.rows(reader, select(schema.frames.c.id))]
    flux, norm, zero = (
        recipes[t]
        for t in ("star_photometry", "calculate_normalization_coefficient", "calculate_absolute_zeropoints")
    )
    numbers = {
        "stars_of": (queries.stars_of(name), 10),
        "stars_on_frames": (queries.stars_on_frames(name, ids), 60),
        "regions_of": (queries.regions_of(name, ids), 6),
        "psfs_of": (queries.psfs_of(name, ids), 6),
        "star_fluxes": (queries.star_fluxes(name, flux, "r_sdss"), 40),
        "normalization_of": (queries.normalization_of(name, norm, "r_sdss"), 4),
        "normalised_stars": (queries.normalised_stars(name, norm, "r_sdss"), 10),
        "zeropoints_of": (queries.zeropoints_of(name, zero, "r_sdss"), 6),
        "story_of_frame": (queries.story_of_frame(ids[0]), 7),
        "finished_frames": (queries.finished_frames("star_photometry", flux, name), 6),
        "rejections": (queries_overview.rejections(name), 0),
        "file_states": (queries.file_states(), 1),
    }
    assert {key: len(queries.rows(reader, query)) for key, (query, _n) in numbers.items()} == {
        k: n for k, (_q, n) in numbers.items()
    }
    for task in (
        "read_convert_skysub_character_catalog",
        "psf_modeling",
        "calculate_normalization_coefficient",
    ):
        assert queries.scalar(reader, queries_joint.seconds_of_items(task)) > 0
    workspace.close()


def test_what_was_measured_under_settings_given_up_is_not_shown(engine):
    """A frame that fails under new settings keeps its old rows in the tables, not in views and report."""
    with transaction(engine) as connection:
        connection.execute(
            insert(schema.combined_footprint).values(hash="h", strategy="s", definition="{}", is_current=1)
        )
        for table, task, more in (
            (schema.PSFs, "psf_modeling", {"psf_ref": "p", "chi2": 9.0, "n_stars": 3, "n_reserved": 0,
                                           "stars_used": "[]", "subsampling_factor": 2, "relpath": "p.h5",
                                           "sha256": "", "size": 1}),
            (schema.normalization_coefficients, "calculate_normalization_coefficient",
             {"filter": "", "coefficient": 1.5, "n_stars": 3}),
            (schema.absolute_zeropoints, "calculate_absolute_zeropoints",
             {"band": "G", "source_catalog": "gaia", "system": "Vega", "zeropoint": 25.0, "n_stars": 3}),
        ):  # fmt: skip
            row = {"combined_footprint_hash": "h", "frame_id": 1, "recipe": "old", **more}
            connection.execute(insert(table).values(row))
            recipe = {"task": task, "position": 1, "recipe": "old", "settings": "{}"}
            connection.execute(insert(schema.task_recipes).values(recipe))
    assert _shown(engine) == [(9.0, 1.5, 25.0)] * 2
    with transaction(engine) as connection:
        connection.execute(update(schema.task_recipes).values(recipe="new"))
    assert _shown(engine) == [(None, None, None)] * 2


def _shown(engine):
    """PSF's chi2, coefficient and zero point of frame 1, by the view and by the report's query."""
    names = ("psf_chi2", "coefficient", "zeropoint")
    with engine.connect() as connection:
        view = connection.exec_driver_sql(
            "SELECT psf_chi2, coefficient, zeropoint FROM frame_quality WHERE frame_id = 1"
        ).all()
    rows = queries.rows(engine, queries_report.quality_of_frames("h", "G"))
    return [tuple(view[0]), *(tuple(row[name] for name in names) for row in rows if row["id"] == 1)]
