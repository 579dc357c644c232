"""Workdirs of many frames without any image: rows through the schema, small files where products would be.

Fluxes follow a model (mean flux of a star x transparency of a frame + noise), so that the joint tasks can be run
on them in earnest. A workdir has frames up to the star photometry, or is finished: a run finds nothing to do.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Table, insert
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from lightwatch import __version__
from lightwatch.pipeline import recipes
from lightwatch.pipeline.night import NIGHT
from lightwatch.pipeline.task import TaskContext
from lightwatch.structure import schema
from lightwatch.structure.catalogs_pinned import write_pinned
from lightwatch.structure.catalogs_table import make_catalog
from lightwatch.structure.database import transaction
from lightwatch.structure.workspace import Workspace
from reliability.small_night import Workdir

FILTER, ROI, FOOTPRINT = "r_sdss", "target", "f" * 64
RA, DEC = 42.2, 19.2
CUTOUT_PX, PIXEL_SCALE, EXPTIME, RMS = 24, 0.25, 60.0, 2.0
_FRAMES_PER_NIGHT, _FIRST_MJD = 20, 58000.0
_SEED, _BLOCK = 11, 5000
_CONFIG = f"""raw_dirs: [raw]
instrument: simulation
rois:
  {ROI}:
    coordinates: [{RA}, {DEC}]
reference_stars: {{strategy: ROI_disk, roi_disk_radius_arcsec: 300}}
cutouts: {{star_size_px: {CUTOUT_PX}, roi_size_px: {CUTOUT_PX}}}
roi_model: {{background: false}}
zeropoints: {{band: r_sdss}}
executor: {{kind: serial}}
network: {{offline: true}}
"""
_PER_FRAME = tuple(task for task in NIGHT if task.scope in ("files", "frames"))
_JOINT = tuple(task for task in NIGHT if task.scope == "groups")

Row = Mapping[str, Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """The truth and what was measured of it: frames (n,), stars (s,), fluxes (n, s)."""

    first: int
    coefficient: Floats
    seeing_px: Floats
    gmag: Floats
    flux: Floats
    flux_uncertainty: Floats

    @property
    def ids(self) -> range:
        """Ids of the frames."""
        return range(self.first, self.first + len(self.coefficient))


def draw(first: int, n_frames: int, n_stars: int) -> Numbers:
    """Frames ``first`` to ``first + n_frames - 1`` (ids begin at 1); the same whatever else is drawn."""
    gmag = np.linspace(14.0, 17.5, n_stars)
    mean = 10 ** (-0.4 * (gmag - 25.0))
    rng = [np.random.default_rng((_SEED, k)) for k in range(first, first + n_frames)]
    coefficient = np.array([math.exp(0.15 * r.standard_normal()) for r in rng])
    seeing = np.array([3.0 + r.random() for r in rng])
    light = coefficient[:, None] * mean
    error = np.sqrt(light / EXPTIME + (3 * RMS) ** 2)
    noise = np.array([r.standard_normal(n_stars) for r in rng])
    flicker = np.array([r.standard_normal(n_stars) for r in rng])
    flux = light * (1 + 0.002 * flicker) + error * noise
    return Numbers(first, coefficient, seeing, gmag, flux, error)


# ---------------------------------------------------------------- making
def make_generated(path: Path, n_frames: int, *, n_stars: int = 10, finished: bool = True) -> Workdir:
    """A workdir of ``n_frames``, all tasks up to the star photometry done; ``finished``: the joint ones too."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(_CONFIG)
    workdir = Workdir(path)
    workspace = workdir.open()
    workspace.initialize()
    current = recipes.all_recipes(workspace)
    with transaction(workspace.engine) as connection:
        connection.execute(insert(schema.task_recipes), recipes.recipe_rows(workspace, current))
        connection.execute(insert(schema.rois), [{"name": ROI, "ra": RA, "dec": DEC}])
        connection.execute(insert(schema.point_sources), [{"roi": ROI, "name": ROI, "ra": RA, "dec": DEC}])
        connection.execute(insert(schema.runs), [_run_row(workspace)])
        connection.execute(insert(schema.combined_footprint), [_footprint_row(workspace)])
        connection.execute(insert(schema.stars), list(_star_rows(draw(1, 1, n_stars).gmag, current)))
    workspace.close()
    add_frames(workdir, 1, n_frames, n_stars=n_stars)
    if finished:
        _finish(workdir, n_stars)
    return workdir


def add_frames(workdir: Workdir, first: int, n_frames: int, *, n_stars: int = 10) -> None:
    """Frames with ids from ``first`` on, with raw files and products, done up to the star photometry."""
    workspace = workdir.open()
    current = recipes.all_recipes(workspace)
    connection = _quick_connection(workdir)
    for start in range(first, first + n_frames, _BLOCK):
        numbers = draw(start, min(_BLOCK, first + n_frames - start), n_stars)
        _touch_files(workdir, numbers.ids)
        _insert(connection, schema.frames, _frame_rows(workdir, numbers, current))
        _insert(connection, schema.files, _file_rows(workdir, numbers, current))
        _insert(connection, schema.footprints, _outline_rows(numbers, current))
        for task in _PER_FRAME:
            _insert(
                connection, schema.task_results, _result_rows(task.name, task.by_footprint, numbers, current)
            )
        _insert(connection, schema.stars_in_frames, _place_rows(numbers, current))
        _insert(connection, schema.regions, _region_rows(numbers, current))
        _insert(connection, schema.PSFs, _psf_rows(numbers, current))
        _insert(connection, schema.star_flux_in_frame, _flux_rows(numbers, current))
    connection.commit()
    connection.close()
    workspace.close()


def _finish(workdir: Workdir, n_stars: int) -> None:
    """Rows of the joint tasks as if they had been run, with the truth for a result."""
    workspace = workdir.open()
    current = recipes.all_recipes(workspace)
    (count,) = workdir.sql("SELECT max(id) FROM frames")[0]
    connection = _quick_connection(workdir)
    for start in range(1, count + 1, _BLOCK):
        numbers = draw(start, min(_BLOCK, count + 1 - start), n_stars)
        _insert(connection, schema.normalization_coefficients, _coefficient_rows(numbers, current))
        _insert(connection, schema.absolute_zeropoints, _zeropoint_rows(numbers, current))
        _insert(connection, schema.roi_flux, _roi_flux_rows(numbers, current))
    _insert(connection, schema.roi_models, [_model_row(workdir, count, current)])
    connection.commit()
    connection.close()
    for task in _JOINT:
        context = TaskContext(workspace, current[task.name], current, FOOTPRINT)
        groups = import_module(task.module + "_groups").groups(context)
        with transaction(workspace.engine) as writing:
            writing.execute(
                insert(schema.group_results),
                [
                    {
                        "task": task.name, "combined_footprint_hash": FOOTPRINT, "group_key": group.key,
                        "digest": group.digest, "state": "done", "n_items": group.n_members, "seconds": 1.0,
                        "run_id": 1, "recipe": current[task.name],
                    }
                    for group in groups
                ],
            )  # fmt: skip
    workspace.close()


def _quick_connection(workdir: Workdir) -> sqlite3.Connection:
    """A scratch workdir need not survive a power cut while it is made."""
    connection = sqlite3.connect(workdir.path / "database.sqlite3")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _insert(connection: sqlite3.Connection, table: Table, rows: Iterable[Row]) -> None:
    """Rows with one and the same set of columns, which must be the table's."""
    iterator = iter(rows)
    first = next(iterator)
    names = list(first)
    unknown = set(names) - set(table.columns.keys())
    assert not unknown, f"{table.name} has no {unknown}"
    statement = str(
        insert(table).values(dict.fromkeys(names)).compile(dialect=sqlite_dialect(paramstyle="qmark"))
    )
    connection.execute(statement, tuple(first.values()))
    connection.executemany(statement, (tuple(row.values()) for row in iterator))


# ---------------------------------------------------------------- files
def raw_name(frame_id: int) -> str:
    """Raw file of a frame, below raw/."""
    return f"night{frame_id // _FRAMES_PER_NIGHT:05d}/frame{frame_id:06d}.fits"


def _products(frame_id: int) -> dict[str, str]:
    name = f"frame{frame_id:06d}"
    folder = f"{frame_id // 1000:03d}"
    return {
        "frame": f"frames/{folder}/{name}.fits",
        "sources": f"frames/{folder}/{name}_sources.fits",
        "region": f"regions/{FOOTPRINT[:16]}/{folder}/{name}.h5",
        "psf": f"psfs/{FOOTPRINT[:16]}/{folder}/{name}.h5",
    }


def _touch_files(workdir: Workdir, ids: Iterable[int]) -> None:
    made: set[str] = set()
    for k in ids:
        for relpath in (f"raw/{raw_name(k)}", *_products(k).values()):
            folder, _, _name = relpath.rpartition("/")
            if folder not in made:
                (workdir.path / folder).mkdir(parents=True, exist_ok=True)
                made.add(folder)
            descriptor = os.open(f"{workdir.path}/{relpath}", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(descriptor, b".")
            os.close(descriptor)


# ---------------------------------------------------------------- rows
def _run_row(workspace: Workspace) -> Row:
    return {
        "started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T01:00:00Z", "host": "generated", "pid": 1,
        "version": __version__, "config_hash": workspace.config_hash(), "config": workspace.config_text(),
        "exit_code": 0, "summary": "generated",
    }  # fmt: skip


def _footprint_row(workspace: Workspace) -> Row:
    columns = {"source_id": [1], "ra": [RA + 0.5], "dec": [DEC], "phot_g_mean_mag": [12.0]}
    catalog = make_catalog(columns, name="generated", release="")
    relpath = f"catalogs/{FOOTPRINT[:16]}.ecsv"
    workspace.path(relpath).parent.mkdir()
    write_pinned(workspace.path(relpath), catalog)
    return {
        "hash": FOOTPRINT, "strategy": "ROI_disk", "definition": "{}", "is_current": 1,
        "catalog_relpath": relpath, "catalog_name": catalog.name, "catalog_digest": catalog.digest,
    }  # fmt: skip


def _star_rows(gmag: Floats, current: Mapping[str, str]) -> Iterable[Row]:
    for j, mag in enumerate(gmag.tolist()):
        yield {
            "combined_footprint_hash": FOOTPRINT, "gaia_id": 1000 + j, "name": f"s{j}", "ra": RA + 0.001 * j,
            "dec": DEC, "gmag": mag, "bmag": mag + 0.4, "rmag": mag - 0.5, "distance_to_roi_arcsec": 3.6 * (j + 1),
            "recipe": current["query_gaia_for_stars"], "flags": 0,
        }  # fmt: skip


def _mjd(frame_id: int) -> float:
    night, place = divmod(frame_id, _FRAMES_PER_NIGHT)
    return _FIRST_MJD + night + 0.2 + 0.001 * place


def _content_hash(frame_id: int) -> str:
    return hashlib.blake2b(str(frame_id).encode(), digest_size=32).hexdigest()


def _frame_rows(workdir: Workdir, numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    wcs = "".join(card.ljust(80) for card in ("WCSAXES =                    2", *["CRPIX1  =   1000.0"] * 12))
    for i, k in enumerate(numbers.ids):
        products, seeing = _products(k), float(numbers.seeing_px[i])
        yield {
            "id": k, "content_hash": _content_hash(k), "hdu_index": 0,
            "original_image_path": str(workdir.path / "raw" / raw_name(k)),
            "image_relpath": products["frame"], "sources_relpath": products["sources"], "filter": FILTER,
            "mjd": _mjd(k), "mjd_mid": _mjd(k), "bjd_tdb": 2400000.5 + _mjd(k), "exptime": EXPTIME, "gain": 1.0,
            "naxis1": 2000, "naxis2": 2000, "airmass": 1.2, "seeing_pixels": seeing,
            "seeing_arcseconds": PIXEL_SCALE * seeing, "ellipticity": 0.05, "sky_level_electron_per_second": 4.0,
            "background_rms_electron_per_second": RMS, "n_sources": 100, "masked_fraction": 0.0,
            "header_wcs": wcs, "attempted_plate_solve": 1, "plate_solved": 1, "wcs": wcs,
            "pixel_scale": PIXEL_SCALE, "angle_to_north": 0.0, "roi_in_footprint": 1,
            "recipe": current["read_convert_skysub_character_catalog"], "flags": 0,
        }  # fmt: skip


def _file_rows(workdir: Workdir, numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    for k in numbers.ids:
        path = f"{workdir.path}/raw/{raw_name(k)}"
        status = os.stat(path)
        yield {
            "path": path, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino,
            "content_hash": _content_hash(k), "state": "imported", "frame_id": k,
            "recipe": current["read_convert_skysub_character_catalog"],
        }  # fmt: skip


def _outline_rows(numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    for k in numbers.ids:
        d = 0.07 + 1e-5 * (k % 7)
        corners = [[RA - d, DEC - d], [RA + d, DEC - d], [RA + d, DEC + d], [RA - d, DEC + d]]
        yield {"frame_id": k, "polygon": str(corners), "recipe": current["plate_solving"]}


def _result_rows(
    task: str, by_footprint: bool, numbers: Numbers, current: Mapping[str, str]
) -> Iterable[Row]:
    for k in numbers.ids:
        yield {
            "task": task, "combined_footprint_hash": FOOTPRINT if by_footprint else "", "frame_id": k,
            "state": "done", "flags": 0, "attempts": 1, "seconds": 0.1, "run_id": 1, "recipe": current[task],
        }  # fmt: skip


def _place_rows(numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    for k in numbers.ids:
        for j in range(len(numbers.gmag)):
            yield {
                "combined_footprint_hash": FOOTPRINT, "frame_id": k, "star_gaia_id": 1000 + j,
                "x": 100.0 + 90 * j, "y": 800.0, "recipe": current["query_gaia_for_stars"],
            }  # fmt: skip


def _region_rows(numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    for k in numbers.ids:
        yield {
            "combined_footprint_hash": FOOTPRINT, "frame_id": k, "relpath": _products(k)["region"],
            "sha256": "0" * 64, "size": 1, "n_stars": len(numbers.gmag), "star_size_px": CUTOUT_PX,
            "recipe": current["stamp_extraction"], "flags": 0,
        }  # fmt: skip


def _psf_rows(numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    for i, k in enumerate(numbers.ids):
        yield {
            "combined_footprint_hash": FOOTPRINT, "frame_id": k, "psf_ref": "psf_generated", "chi2": 1.0,
            "n_stars": len(numbers.gmag), "n_reserved": 0, "stars_used": "[]", "subsampling_factor": 2,
            "fwhm_pixels": float(numbers.seeing_px[i]), "model_error": 0.0, "total_flux_error": 0.0005,
            "relpath": _products(k)["psf"], "sha256": "0" * 64, "size": 1, "recipe": current["psf_modeling"],
            "flags": 0,
        }  # fmt: skip


def _flux_rows(numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    flux, error = numbers.flux.tolist(), numbers.flux_uncertainty.tolist()
    for i, k in enumerate(numbers.ids):
        for j in range(len(numbers.gmag)):
            yield {
                "combined_footprint_hash": FOOTPRINT, "frame_id": k, "star_gaia_id": 1000 + j,
                "flux": flux[i][j], "flux_uncertainty": error[i][j], "aperture_flux": flux[i][j],
                "aperture_flux_uncertainty": 1.1 * error[i][j], "chi2": 1.0, "x": 100.0, "y": 800.0, "dx": 0.01,
                "dy": -0.01, "recipe": current["star_photometry"], "flags": 0,
            }  # fmt: skip


def _coefficient_rows(numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    for i, k in enumerate(numbers.ids):
        yield {
            "combined_footprint_hash": FOOTPRINT, "frame_id": k, "filter": FILTER,
            "coefficient": float(numbers.coefficient[i]), "coefficient_uncertainty": 0.001,
            "psf_uncertainty": 0.0005, "reduced_chi2": 1.0, "n_stars": len(numbers.gmag), "flux_kind": "psf",
            "recipe": current["calculate_normalization_coefficient"], "flags": 0,
        }  # fmt: skip


def _zeropoint_rows(numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    for k in numbers.ids:
        yield {
            "combined_footprint_hash": FOOTPRINT, "frame_id": k, "band": "r_sdss", "source_catalog": "generated",
            "system": "AB", "zeropoint": 25.0, "zeropoint_uncertainty": 0.01, "normalised_zeropoint": 25.0,
            "normalised_zeropoint_uncertainty": 0.01, "n_stars": len(numbers.gmag),
            "recipe": current["calculate_absolute_zeropoints"], "flags": 0,
        }  # fmt: skip


def _roi_flux_rows(numbers: Numbers, current: Mapping[str, str]) -> Iterable[Row]:
    for k in numbers.ids:
        yield {
            "combined_footprint_hash": FOOTPRINT, "roi": ROI, "point_source": ROI, "frame_id": k,
            "filter": FILTER, "flux": 600.0, "flux_uncertainty": 2.0, "photon_uncertainty": 1.9,
            "reduced_chi2": 1.0, "zeropoint": 25.0, "zeropoint_uncertainty": 0.01, "mag": 18.05,
            "mag_uncertainty_up": 0.004, "mag_uncertainty_down": 0.004,
            "recipe": current["model_calibrated_cutouts"], "flags": 0,
        }  # fmt: skip


def _model_row(workdir: Workdir, count: int, current: Mapping[str, str]) -> Row:
    relpath = "prepared_roi_cutouts/generated.h5"
    (workdir.path / relpath).parent.mkdir(exist_ok=True)
    (workdir.path / relpath).write_bytes(b".")
    return {
        "combined_footprint_hash": FOOTPRINT, "roi": ROI, "filter": FILTER, "n_epochs": count,
        "cutouts_relpath": relpath, "recipe": current["prepare_calibrated_cutouts"], "flags": 0,
    }  # fmt: skip
