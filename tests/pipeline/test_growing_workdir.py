"""Joint tasks on generated workdirs: what they notice; frames added night by night give what a fresh run gives."""

from __future__ import annotations

import numpy as np
import pytest
from reliability.generated_pixels import write_pixels
from reliability.generated_workdir import FILTER, add_frames, make_generated

from lightwatch.pipeline.night import NAMES, NIGHT
from lightwatch.pipeline.planning import plan
from lightwatch.structure import store

FLUX, NORM, ZERO, PREPARE = NAMES[7:11]
FIRST, NIGHTS, PER_NIGHT = 120, 4, 10
#: the greatest difference between a row that stayed and a fresh solution, relative
PINNED = 4e-7


def _solve(workdir):
    """Both joint tasks that need no pixels; the number of groups that each had to solve."""
    return [workdir.run(only=task).items for task in (NORM, ZERO)]


@pytest.fixture
def small(tmp_path):
    workdir = make_generated(tmp_path / "small", 30, finished=False)
    assert _solve(workdir) == [1, 1]
    assert _solve(workdir) == [0, 0]
    return workdir


def _coefficients(workdir):
    query = "SELECT frame_id, coefficient, coefficient_uncertainty FROM normalization_coefficients"
    return {k: (c, e) for k, c, e in workdir.sql(query)}


def _zeropoints(workdir):
    query = (
        "SELECT frame_id, zeropoint, zeropoint_uncertainty, normalised_zeropoint, normalised_zeropoint_uncertainty "
        "FROM absolute_zeropoints"
    )
    return {row[0]: row[1:] for row in workdir.sql(query)}


@pytest.fixture(scope="module")
def grown_and_fresh(tmp_path_factory):
    """The same frames: some first and the rest in a few nights, or all at once."""
    folder = tmp_path_factory.mktemp("growth")
    grown = make_generated(folder / "grown", FIRST, finished=False)
    _solve(grown)
    for night in range(NIGHTS):
        add_frames(grown, FIRST + night * PER_NIGHT + 1, PER_NIGHT)
        assert _solve(grown) == [1, 1]
    fresh = make_generated(folder / "fresh", FIRST + NIGHTS * PER_NIGHT, finished=False)
    _solve(fresh)
    return grown, fresh


def test_frames_added_by_night_give_what_a_fresh_run_gives(grown_and_fresh):
    grown, fresh = grown_and_fresh
    one, two = _coefficients(grown), _coefficients(fresh)
    assert set(one) == set(two)
    value, error = (np.array([[rows[k][i] for k in sorted(rows)] for rows in (one, two)]) for i in (0, 1))
    worst = np.max(np.abs(value[0] / value[1] - 1)), np.max(np.abs(error[0] / error[1] - 1))
    print(f"coefficients: {worst[0]:.1e}, their uncertainties {worst[1]:.1e}")
    assert max(worst) <= PINNED * 1.01


def test_zero_points_too_and_one_scale_for_all_frames(grown_and_fresh):
    grown, fresh = grown_and_fresh
    one, two = _zeropoints(grown), _zeropoints(fresh)
    for k, row in one.items():
        assert row == pytest.approx(two[k], rel=2 * PINNED)
    assert len({row[2] for row in one.values()}) == 1


def test_a_frame_measured_again_is_noticed_by_all_that_rest_on_it(small):
    """Its content is the same, and so are all recipes: only the run that measured it is another."""
    small.change("UPDATE star_flux_in_frame SET flux = flux * 0.5 WHERE frame_id = 7")
    small.change("UPDATE task_results SET run_id = 99 WHERE task = ? AND frame_id = 7", FLUX)
    before = _coefficients(small)[7][0]
    columns, moment = "id, version, config_hash, config, started, ended", "'2026-01-01T00:00:00Z'"
    small.change(f"INSERT INTO runs ({columns}) VALUES (100, '', '', '', {moment}, {moment})")
    assert {line.task: line.pending for line in plan(small.open(), NIGHT)}[NORM] == 1
    assert _solve(small) == [1, 1]
    assert _coefficients(small)[7][0] == pytest.approx(0.5 * before, rel=1e-3)
    assert _solve(small) == [0, 0]


def test_a_frame_whose_filter_changed_leaves_one_group_for_another(small):
    small.change("UPDATE frames SET filter = 'g_sdss' WHERE id <= 10")
    assert _solve(small) == [2, 2]
    counts = "SELECT filter, count(*) FROM normalization_coefficients GROUP BY filter ORDER BY filter"
    assert small.sql(counts) == [("g_sdss", 10), (FILTER, 20)]
    assert small.sql("SELECT count(*) FROM absolute_zeropoints") == [(30,)]
    assert _solve(small) == [0, 0]
    small.check_database()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE frames SET eliminated = 1 WHERE id = 3",
        "UPDATE frames SET plate_solved = 0 WHERE id = 3",
        "DELETE FROM task_results WHERE task = 'star_photometry' AND frame_id = 3",
        "UPDATE task_results SET state = 'rejected' WHERE task = 'star_photometry' AND frame_id = 3",
        "DELETE FROM frames WHERE id = 3",
    ],
)
def test_a_frame_that_is_gone_leaves_the_solution(small, change):
    small.change(change)
    assert _solve(small) == [1, 1]
    assert 3 not in _coefficients(small)
    assert 3 not in _zeropoints(small)
    assert _solve(small) == [0, 0]


def test_deleted_results_of_a_joint_task_are_made_again(small):
    before = _coefficients(small)
    small.change("DELETE FROM group_results WHERE task = ?", NORM)
    small.change("DELETE FROM normalization_coefficients WHERE frame_id < 5")
    assert _solve(small) == [1, 1]
    assert _coefficients(small) == before


def test_progress_counts_what_can_be_counted_frame_by_frame(small):
    """The view takes short cuts; here is what it means, spelled out."""
    for change in (
        "UPDATE frames SET eliminated = 1 WHERE id IN (3, 17)",
        "UPDATE frames SET roi_in_footprint = 0 WHERE id IN (5, 18)",
        "UPDATE frames SET roi_in_footprint = NULL WHERE id = 19",
        "DELETE FROM task_results WHERE task = 'psf_modeling' AND frame_id IN (9, 17, 18, 19)",
        "DELETE FROM task_results WHERE task = 'star_photometry' AND frame_id IN (9, 10, 17, 18, 19)",
        "UPDATE task_results SET state = 'rejected' WHERE task = 'star_photometry' AND frame_id IN (12, 3)",
        "UPDATE task_results SET recipe = 'old' WHERE task = 'stamp_extraction' AND frame_id = 20",
        "DELETE FROM task_results WHERE task = 'plate_solving' AND frame_id = 5",
    ):
        small.change(change)
        assert _by_view(small) == _spelled_out(small), change


def _by_view(workdir):
    return {row[0]: row[1:5] for row in workdir.sql("SELECT * FROM progress")}


def _spelled_out(workdir):
    recipes = {
        t: (r, u)
        for t, r, u in workdir.sql("SELECT task, recipe, upstream FROM task_recipes WHERE position > 0")
    }
    frames = {k: (e, r) for k, e, r in workdir.sql("SELECT id, eliminated, roi_in_footprint FROM frames")}
    rows = workdir.sql("SELECT task, frame_id, state, recipe FROM task_results")
    state = {(t, k): s for t, k, s, r in rows if r == recipes[t][0] and not frames[k][0]}
    joint = workdir.sql("SELECT task, state, recipe FROM group_results")
    told = {}
    for task, (recipe, upstream) in recipes.items():
        states = [s for (t, _k), s in state.items() if t == task]
        states += [s for t, s, r in joint if (t, r) == (task, recipe)]
        waiting = [
            k
            for (t, k), s in state.items()
            if (t, s) == (upstream, "done")
            and (task, k) not in state
            and (frames[k][1] == 1 or task in NAMES[2:4])
        ]
        pending = len(waiting) if upstream else None  # only a plan can tell
        told[task] = (states.count("done"), pending, states.count("rejected"), states.count("error"))
    return told


def test_time_of_a_plan_is_that_of_usual_items(small):
    """One item that waited for a compilation does not count a thousandfold."""
    small.change("UPDATE task_results SET seconds = 0.1")
    small.change("UPDATE task_results SET seconds = 500 WHERE frame_id = 1")
    small.change("DELETE FROM task_results WHERE task = ? AND frame_id > 20", FLUX)
    line = {line.task: line for line in plan(small.open(), NIGHT)}[FLUX]
    assert line.total == 10
    assert line.seconds == pytest.approx(1.0)


def _cutouts(workdir):
    ((relpath,),) = workdir.sql("SELECT cutouts_relpath FROM roi_models")
    return store.read_product(workdir.path, relpath)


def _assert_alike(values, others, name):
    if np.asarray(values).dtype.kind == "f":
        np.testing.assert_allclose(values, others, rtol=1e-13, err_msg=name)
    else:
        np.testing.assert_array_equal(values, others, err_msg=name)


def test_prepared_cutouts_read_new_epochs_alone_and_are_those_of_a_fresh_run(tmp_path, monkeypatch):
    workdir = make_generated(tmp_path / "grown", 12, finished=False)
    write_pixels(workdir, 1, 12, 10)
    _solve(workdir)
    workdir.run(only=PREPARE)
    add_frames(workdir, 13, 2)
    write_pixels(workdir, 13, 2, 10)
    workdir.change("UPDATE frames SET eliminated = 1 WHERE id = 4")
    _solve(workdir)
    opened = []
    real = store.read_product

    def counted(workdir, relpath, prefix="", **more):
        opened.append(prefix)
        return real(workdir, relpath, prefix, **more)

    monkeypatch.setattr(store, "read_product", counted)
    assert workdir.run(only=PREPARE).items == 1
    assert opened.count("rois/target") == opened.count("model") == 2
    monkeypatch.undo()
    joined = _cutouts(workdir)
    assert set(joined["frame_id"]) == set(range(1, 15)) - {4}
    workdir.change("UPDATE roi_models SET recipe = 'forgotten'")
    workdir.change("DELETE FROM group_results WHERE task = ?", PREPARE)
    workdir.run(only=PREPARE)
    for name, values in _cutouts(workdir).items():
        _assert_alike(values, joined[name], name)


def test_epochs_whose_inputs_are_the_same_are_not_opened(tmp_path, monkeypatch):
    """One frame is taken out: all others are taken over from the last product, without a look at their files."""
    workdir = make_generated(tmp_path / "kept", 12, finished=False)
    write_pixels(workdir, 1, 12, 10)
    _solve(workdir)
    workdir.run(only=PREPARE)
    before = _cutouts(workdir)
    workdir.change("UPDATE frames SET eliminated = 1 WHERE id = 4")
    workdir.change("UPDATE frames SET limiting_magnitude = 20 WHERE id = 5")  # no part of an epoch
    workdir.change("DELETE FROM group_results WHERE task = ?", PREPARE)
    for (relpath,) in workdir.sql("SELECT relpath FROM regions"):
        (workdir.path / relpath).write_bytes(b"not read")
    assert [summary.done for summary in workdir.run(only=PREPARE).summaries] == [1]
    keep = before["frame_id"] != 4
    after = _cutouts(workdir)
    for name, values in after.items():
        if np.shape(values)[:1] == (11,):
            _assert_alike(values, before[name][keep], name)
    assert len(after["frame_id"]) == 11
