"""A product that is missing or damaged fails one item at most, and the next plain run makes it again."""

from __future__ import annotations

import os
import re
import shutil
import time

import pytest
from reliability.small_night import differences

from lightwatch.errors import CatalogError, ProductError, StorageError, TooFewStars
from lightwatch.pipeline.guard import guarded_load
from lightwatch.pipeline.night import NAMES
from lightwatch.pipeline.task import Outcome
from lightwatch.pipeline.tasks.roi_products import remembered_models
from lightwatch.structure.verify import verify

IMPORT, _SOLVE, _FOOTPRINT, STARS, STAMPS, PSF, PHOTOMETRY, NORMALIZE, _ZERO, PREPARE, MODEL = NAMES[1:]


def _damage(workdir, query, *values):
    """Cut products short, so that whatever is read of them is lost."""
    for (relpath,) in workdir.sql(query, *values):
        path = workdir.path / relpath
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _heals(workdir, before):
    """The next run, plain, leaves nothing to be done, and the results of before."""
    healed = workdir.run()
    assert healed.exit_code == 0, healed.line
    assert workdir.run().items == 0
    found = verify(workdir.open(), full=True, remembered=remembered_models(workdir.open()))
    assert found.sound
    assert differences(before, workdir.results(), rtol=1e-6) == []


def _errors(workdir):
    return workdir.sql("SELECT task, reason_code, count(*) FROM task_errors GROUP BY task, reason_code")


def test_damaged_products_of_frames(workdir):
    """An image, read in a worker, and cutouts, read for many frames at once: the other frames are measured."""
    before = workdir.results()
    (one,), (two,), *_rest = workdir.sql("SELECT id FROM frames WHERE filter = 'r_sdss' ORDER BY mjd")
    _damage(workdir, "SELECT image_relpath FROM frames WHERE id = ?", one)
    workdir.change("DELETE FROM task_results WHERE task = ? AND frame_id = ?", STAMPS, one)
    _damage(workdir, "SELECT relpath FROM regions WHERE frame_id = ?", two)
    workdir.change("DELETE FROM task_results WHERE task = ?", PSF)
    result = workdir.run()
    assert result.exit_code == 10
    assert (
        "psf_modeling 4/5 (1 missing or damaged products will be made again by the next run)" in result.line
    )
    assert _errors(workdir) == [
        (PSF, "damaged_product", 1),
        (STAMPS, "damaged_product", 1),
    ]
    _heals(workdir, before)


def test_damaged_products_of_joint_tasks(workdir):
    """The joint task stops at the first; all are made again by one further run, and so is the group."""
    before = workdir.results()
    of_one_filter = (
        "SELECT p.relpath FROM PSFs p JOIN frames f ON f.id = p.frame_id WHERE f.filter = 'r_sdss' LIMIT 2"
    )
    _damage(workdir, of_one_filter)
    workdir.change(
        "UPDATE roi_models SET cutouts_relpath = NULL WHERE filter = 'r_sdss'"
    )  # no epochs are kept
    workdir.change("DELETE FROM group_results WHERE task = ? AND group_key LIKE '%r_sdss'", PREPARE)
    _damage(workdir, "SELECT cutouts_relpath FROM roi_models WHERE filter = 'g_sdss' AND roi = 'pair'")
    workdir.change("DELETE FROM group_results WHERE task = ? AND group_key LIKE '%g_sdss'", MODEL)
    assert workdir.run().exit_code == 10
    assert _errors(workdir) == [(MODEL, "damaged_product", 1), (PREPARE, "damaged_product", 2)]
    assert len(workdir.sql("SELECT 1 FROM task_results WHERE task = ?", PSF)) == 4
    _heals(workdir, before)


def test_changed_reference_catalogue(workdir):
    """One digit of a star's position: no cutouts are made with it, and the stars are chosen again."""
    before = workdir.results()
    (path,) = (workdir.path / "catalogs").glob("*.ecsv")
    *lines, star, checksum = path.read_text().splitlines()
    path.write_text("\n".join([*lines, star.replace(".", ".1", 1), checksum]) + "\n")
    workdir.change("DELETE FROM task_results WHERE task = ?", STAMPS)
    result = workdir.run(stop=STAMPS)
    assert result.exit_code == 10
    assert "stamp_extraction 0/6 (1 missing" in result.line
    assert workdir.run(stop=STAMPS).exit_code == 0
    assert verify(workdir.open(), full=True).sound
    after = workdir.results()
    assert all(
        after[table] == before[table]
        for table in ("combined_footprint", "stars", "stars_in_frames", "regions")
    )


def test_missing_products_are_made_in_the_same_run(workdir):
    before = workdir.results()
    queries = ("SELECT relpath FROM PSFs LIMIT 2", "SELECT relpath FROM regions LIMIT 1",
               "SELECT sources_relpath FROM frames ORDER BY id DESC LIMIT 1",
               "SELECT model_relpath FROM roi_models LIMIT 1")  # fmt: skip
    for query in queries:
        for (relpath,) in workdir.sql(query):
            (workdir.path / relpath).unlink()
    result = workdir.run()
    assert (result.exit_code, result.tidied) == (0, "5 missing products to be made again")
    assert result.line.startswith(result.tidied)
    assert workdir.sql("SELECT summary FROM runs ORDER BY id DESC LIMIT 1")[0][0].startswith(result.tidied)
    _heals(workdir, before)


def test_frame_that_cannot_be_made_again_keeps_its_results(workdir):
    """Neither the run nor a repair takes results away that nothing could bring back."""
    before = workdir.results()
    (relpath,) = workdir.sql("SELECT image_relpath FROM frames LIMIT 1")[0]
    (workdir.path / relpath).unlink()
    workdir.config.write_text(re.sub(r"raw_dirs: .*", "raw_dirs: [more]", workdir.config.read_text()))
    assert workdir.more.is_dir()
    result = workdir.run()
    assert result.tidied == ""
    assert differences(before, workdir.results()) == []
    assert [item.relpath for item in verify(workdir.open(), full=False).missing] == [relpath]


def test_orphans_older_than_a_day_go_when_a_run_begins(workdir):
    old = time.time() - 2 * 86400
    orphans = ["psfs/f/.a.h5.12.tmp", "roi_models/f/pair_r.0123abcd.h5", "regions/f/x-0123abcd.89abcdef.h5"]
    for relpath in [*orphans, "frames/mine.fits"]:
        path = workdir.path / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (old, old))
    young = workdir.path / "regions/f/y-0123abcd.89abcdef.h5"
    young.write_bytes(b"x")
    for path in workdir.path.rglob("*.h5"):  # products are no orphans, however old
        if path != young:
            os.utime(path, (old, old))
    result = workdir.run()
    assert (result.items, result.tidied) == (0, "3 orphaned files removed")
    assert "3 orphaned files removed" in result.line
    assert not any((workdir.path / relpath).exists() for relpath in orphans)
    assert young.exists()
    assert (workdir.path / "frames/mine.fits").exists()
    assert verify(workdir.open(), full=True).sound
    assert workdir.run().tidied == ""


def test_model_that_new_frames_will_join_is_no_orphan(workdir, field):
    """A run that stops after the cutouts leaves the last model without a row; the next run continues it."""
    shutil.copy2(field.frames[-1], workdir.more)
    workdir.run(stop=PREPARE)
    found = verify(workdir.open(), full=False, remembered=remembered_models(workdir.open()))
    assert not any(relpath.startswith("roi_models/") for relpath in found.orphan)
    assert any(relpath.startswith("roi_models/") for relpath in verify(workdir.open(), full=False).orphan)
    old = time.time() - 2 * 86400
    for path in workdir.path.rglob("*.h5"):
        os.utime(path, (old, old))
    models = set((workdir.path / "roi_models").rglob("*.h5"))
    assert "orphaned" in workdir.run(stop=PREPARE).line, "the cutouts that were superseded"
    assert set((workdir.path / "roi_models").rglob("*.h5")) == models


# ---------------------------------------------------------------- loading
def test_items_that_cannot_be_loaded_do_not_take_the_others_along():
    def load(items):
        for item in items:
            if isinstance(item, Exception):
                raise item
        return [item * 10 for item in items]

    lost, few = ProductError("missing_product", "a.h5: gone", "a.h5"), TooFewStars("no_epochs", "none")
    jobs = guarded_load(load, [1, lost, 2, few, KeyError("x")])
    assert jobs[:3:2] == [10, 20]
    assert [(job.state, job.reason_code, job.product) for job in jobs if isinstance(job, Outcome)] == [
        ("error", "missing_product", "a.h5"), ("rejected", "no_epochs", None), ("error", "KeyError", None),
    ]  # fmt: skip
    for error in (StorageError("full"), CatalogError("down", "no answer")):
        with pytest.raises(type(error)):
            guarded_load(load, [1, error])
