"""Rows against files: every kind of damage is found, and repair makes the next run mend it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from lightwatch.pipeline import cli
from lightwatch.pipeline.workflow_manager import WorkflowManager
from lightwatch.simulation import FieldSpec, simulate_field
from lightwatch.structure import products, queries, schema
from lightwatch.structure.database import transaction
from lightwatch.structure.frame_store import write_sources
from lightwatch.structure.store import write_product
from lightwatch.structure.verify import repair, verify
from lightwatch.structure.workspace import Workspace

HASH = "f" * 64
CONFIG = "raw_dirs: [raw]\ninstrument: simulation\nrois: {J0248: {coordinates: [42.2031, 19.22528]}}\n"


def product(workspace: Workspace, relpath: str, number: int) -> dict[str, object]:
    rng = np.random.default_rng(number)
    ref = write_product(workspace.workdir, relpath, {"data": rng.normal(size=(3, 16, 16))}, {"recipe": "r"})
    return {"relpath": ref.relpath, "sha256": ref.sha256, "size": ref.size}


@pytest.fixture
def workspace(tmp_path):
    """Two frames with every product, all of them whole."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "raw").mkdir()
    ws = Workspace.open(tmp_path)
    ws.initialize()
    rows: dict[object, list[dict[str, object]]] = {
        schema.combined_footprint: [{"hash": HASH, "strategy": "s", "definition": "{}", "is_current": 1}],
        schema.rois: [{"name": "J0248", "ra": 42.0, "dec": 19.0}],
        schema.frames: [], schema.files: [], schema.regions: [], schema.PSFs: [], schema.task_results: [],
        schema.group_results: [], schema.roi_models: [],
    }  # fmt: skip
    for number in (1, 2):
        raw = tmp_path / "raw" / f"f{number}.fits"
        raw.write_bytes(b"raw")
        image = product(ws, f"frames/f{number}.fits", number)
        sources = write_sources(ws.workdir, f"frames/f{number}_sources.fits", {"x": np.arange(50.0) + number})
        rows[schema.frames].append({
            "id": number, "content_hash": str(number), "original_image_path": str(raw),
            "image_relpath": image["relpath"], "image_sha256": image["sha256"],
            "sources_relpath": sources.relpath, "mjd": 59000.0, "mjd_mid": 59000.0, "exptime": 1.0, "gain": 1.0,
            "naxis1": 16, "naxis2": 16, "recipe": "r",
        })  # fmt: skip
        rows[schema.files].append({
            "path": str(raw), "size": 3, "mtime_ns": 1, "inode": number, "state": "imported", "frame_id": number,
            "recipe": "r",
        })  # fmt: skip
        key = {"combined_footprint_hash": HASH, "frame_id": number, "recipe": "r"}
        cutouts = product(ws, f"regions/ff/f{number}.r.h5", 20 + number)
        rows[schema.regions].append({**key, **cutouts, "n_stars": 3, "star_size_px": 16})
        psf = product(ws, f"psfs/ff/f{number}.r.h5", 30 + number)
        rows[schema.PSFs].append({
            **key, **psf, "psf_ref": "psf_a", "n_stars": 3, "n_reserved": 0, "stars_used": "[]",
            "subsampling_factor": 2,
        })  # fmt: skip
        for task in (
            "read_convert_skysub_character_catalog",
            "stamp_extraction",
            "psf_modeling",
            "star_photometry",
        ):
            footprint = "" if task.startswith("read") else HASH
            rows[schema.task_results].append(
                {**key, "combined_footprint_hash": footprint, "task": task, "state": "done"}
            )
    prepared = product(ws, "prepared_roi_cutouts/cutouts_ff_J0248.1.h5", 40)
    model = product(ws, "prepared_roi_cutouts/model_ff_J0248.1.h5", 41)
    rows[schema.roi_models].append({
        "combined_footprint_hash": HASH, "roi": "J0248", "filter": "r", "n_epochs": 2, "recipe": "r",
        "cutouts_relpath": prepared["relpath"], "cutouts_sha256": prepared["sha256"],
        "model_relpath": model["relpath"], "model_sha256": model["sha256"],
    })  # fmt: skip
    for task in ("prepare_calibrated_cutouts", "model_calibrated_cutouts"):
        rows[schema.group_results].append({
            "task": task, "combined_footprint_hash": HASH, "group_key": "J0248|r", "digest": "d", "state": "done",
            "n_items": 2, "recipe": "r",
        })  # fmt: skip
    with transaction(ws.engine) as connection:
        for table, content in rows.items():
            connection.execute(insert(table), content)
    yield ws
    ws.close()


N_PRODUCTS = 10
DAMAGE = {
    "frames/f1.fits": {("read_convert_skysub_character_catalog", 1), ("stamp_extraction", 1), ("psf_modeling", 1),
                       ("star_photometry", 1)},
    "frames/f1_sources.fits": {("read_convert_skysub_character_catalog", 1), ("stamp_extraction", 1),
                               ("psf_modeling", 1), ("star_photometry", 1)},
    "regions/ff/f2.r.h5": {("stamp_extraction", 2)},
    "psfs/ff/f1.r.h5": {("psf_modeling", 1)},
    "prepared_roi_cutouts/cutouts_ff_J0248.1.h5": {("prepare_calibrated_cutouts", None),
                                                   ("model_calibrated_cutouts", None)},
    "prepared_roi_cutouts/model_ff_J0248.1.h5": {("model_calibrated_cutouts", None)},
}  # fmt: skip


def results(workspace: Workspace) -> set[tuple[str, int | None]]:
    frames = queries.rows(
        workspace.reader, select(schema.task_results.c.task, schema.task_results.c.frame_id)
    )
    groups = queries.rows(workspace.reader, select(schema.group_results.c.task))
    return {(row["task"], row["frame_id"]) for row in frames} | {(row["task"], None) for row in groups}


def test_a_sound_workdir_is_sound(workspace):
    for full in (False, True):
        found = verify(workspace, full=full)
        assert (found.ok, found.orphan, found.missing, found.damaged, found.database) == (
            N_PRODUCTS,
            (),
            (),
            (),
            (),
        )
        assert found.sound


@pytest.mark.parametrize("relpath", DAMAGE)
def test_what_is_missing_is_found_and_becomes_pending(workspace, relpath):
    (workspace.workdir / relpath).unlink()
    found = verify(workspace, full=False)
    assert [item.relpath for item in found.missing] == [relpath]
    assert (found.ok, found.damaged, found.sound) == (N_PRODUCTS - 1, (), False)
    before = results(workspace)
    mended = repair(workspace, found)
    assert before - results(workspace) == DAMAGE[relpath]
    assert mended.pending == len(DAMAGE[relpath])
    assert mended.hopeless == ()


def test_every_flipped_bit_is_found(workspace):
    rng = np.random.default_rng(7)
    paths = list(DAMAGE)
    for _ in range(60):
        path = workspace.workdir / paths[rng.integers(len(paths))]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        found = verify(workspace, full=True)
        assert [workspace.workdir / item.relpath for item in found.damaged] == [path]
        path.write_bytes(whole)


def test_truncation_is_found_without_reading(workspace):
    for relpath in ("regions/ff/f1.r.h5", "psfs/ff/f2.r.h5"):
        path = workspace.workdir / relpath
        path.write_bytes(path.read_bytes()[:-1])
    (workspace.workdir / "frames/f2.fits").write_bytes(b"")
    found = verify(workspace, full=False)
    assert sorted(item.relpath for item in found.damaged) == [
        "frames/f2.fits", "psfs/ff/f2.r.h5", "regions/ff/f1.r.h5",
    ]  # fmt: skip


def test_orphans_go_when_they_are_old(workspace):
    """Those that lightwatch wrote; what a user put among the products is told, and left."""
    old = {"regions/ff/a.0123abcd.h5", "roi_models/ff/pair_r.0123abcd.h5", "frames/x-0123abcd_sources.fits",
           "light_curves/.a.ecsv.12.tmp"}  # fmt: skip
    kept = {"psfs/.x.h5.123.tmp", "psfs/ff/young.0123abcd.h5", "frames/mask.fits", "frames/M31-20260101.fits"}
    long_ago = time.time() - 2 * 86400
    for relpath in old | kept:
        path = workspace.workdir / relpath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        if relpath.endswith("_sources.fits"):
            write_sources(workspace.workdir, relpath, {"x": np.zeros(1)})
        if relpath in old or relpath.startswith("frames/"):
            os.utime(path, (long_ago, long_ago))
    (workspace.workdir / "notes.txt").write_text("mine")
    found = verify(workspace, full=False, remembered=["psfs/ff/young.0123abcd.h5"])
    assert set(found.orphan) == old | kept - {"psfs/ff/young.0123abcd.h5"}
    assert found.sound
    assert set(repair(workspace, found).removed) == old
    assert all((workspace.workdir / relpath).exists() for relpath in kept | {"notes.txt"})
    assert verify(workspace, full=True).ok == N_PRODUCTS


def test_a_file_that_a_row_names_is_no_orphan_in_whatever_directory(workspace):
    (row,) = queries.rows(workspace.reader, select(schema.PSFs).limit(1))
    other = f"regions/{Path(row['relpath']).name}"
    (workspace.workdir / row["relpath"]).rename(workspace.workdir / other)
    with transaction(workspace.engine) as connection:
        connection.execute(
            update(schema.PSFs).where(schema.PSFs.c.relpath == row["relpath"]).values(relpath=other)
        )
    _, without_row = products.unmatched(workspace.reader, workspace.workdir)
    assert other not in without_row
    assert set(products.PRODUCT_DIRECTORIES) <= {kind.directory for kind in products._KINDS}


def test_a_frame_whose_raw_file_is_gone_keeps_its_results(workspace):
    (workspace.workdir / "frames/f1.fits").unlink()
    (workspace.workdir / "raw/f1.fits").unlink()
    before = results(workspace)
    mended = repair(workspace, verify(workspace, full=False))
    assert mended.hopeless == ("frames/f1.fits",)
    assert results(workspace) == before


def test_a_row_that_points_nowhere_is_found(workspace):
    with workspace.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql(
            "INSERT INTO footprints (frame_id, polygon, recipe) VALUES (99, '[]', 'r')"
        )
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("BEGIN")
    found = verify(workspace, full=False)
    assert len(found.database) == 1
    assert "footprints" in found.database[0]
    assert not found.sound


def test_the_command(workspace, capsys):
    def lightwatch(*words: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["verify", str(workspace.workdir), *words])
        return end.value.code, capsys.readouterr().out

    assert lightwatch() == (0, "ok 10, orphan 0, missing 0, damaged 0\n")
    orphans = ["psfs/ff/old.0123abcd.h5", "psfs/ff/older.0123abcd.h5"]
    for relpath in orphans:
        (workspace.workdir / relpath).write_bytes(b"left by settings of before")
    told, last = lightwatch()[1].splitlines()
    assert told.startswith("2 orphans: files that no row names, as after a changed setting: harmless")
    assert last == "ok 10, orphan 2, missing 0, damaged 0"
    assert lightwatch("--verbose")[1].splitlines()[:2] == [f"orphan: {relpath}" for relpath in orphans]
    for relpath in orphans:
        (workspace.workdir / relpath).unlink()
    (workspace.workdir / "psfs/ff/f1.r.h5").unlink()
    code, out = lightwatch("--full")
    assert code == 1
    assert "missing: psfs/ff/f1.r.h5 (of psf_modeling)" in out
    assert "ok 9, orphan 0, missing 1, damaged 0\n" in out
    told = json.loads(lightwatch("--repair", "--json")[1])
    assert told["repair"]["pending"] == 1


def test_a_run_after_repair_remakes_a_damaged_frame(tmp_path):
    field = simulate_field(
        tmp_path, n_frames=2, seed=2, spec=FieldSpec(shape=(128, 128), n_stars=20, cosmics=0)
    )
    field.config.write_text(field.config.read_text() + "executor: {kind: serial}\n")
    for path in field.frames:
        os.utime(path, (time.time() - 1000,) * 2)
    workspace = Workspace.open(tmp_path)
    WorkflowManager(workspace).run(stop="read_convert_skysub_character_catalog")
    (row, *_) = queries.rows(workspace.reader, select(schema.frames).order_by(schema.frames.c.id))
    path: Path = workspace.path(row["image_relpath"])
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] + b"\xff" + whole[1001:])
    found = verify(workspace, full=True)
    assert [item.frame_id for item in found.damaged] == [row["id"]]
    repair(workspace, found)
    workspace.close()
    result = WorkflowManager(workspace).run(stop="read_convert_skysub_character_catalog")
    assert result.items == 1
    assert verify(workspace, full=True).sound
    again = queries.rows(workspace.reader, select(schema.frames).where(schema.frames.c.id == row["id"]))[0]
    assert again["content_hash"] == row["content_hash"]
    assert again["background_rms_electron_per_second"] == row["background_rms_electron_per_second"]
    workspace.close()
