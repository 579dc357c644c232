"""Rows against files: is every product that a row names there and whole, and has every file its row?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, delete, select

from lightwatch.structure import schema as s
from lightwatch.structure.database import quick_check, transaction
from lightwatch.structure.files import remove
from lightwatch.structure.queries import rows
from lightwatch.structure.store import check_product
from lightwatch.structure.workspace import Workspace

_IMPORT = "read_convert_skysub_character_catalog"
#: directories that hold nothing but products of rows
_PRODUCT_DIRECTORIES = ("frames", "regions", "psfs", "prepared_roi_cutouts", "roi_models")
_ORPHAN_AGE_SECONDS = 86400.0


@dataclass(frozen=True)
class Product:
    """A file that a row names: how it is told to be intact, and whose result it is."""

    relpath: str
    sha256: str | None
    size: int | None
    task: str
    frame_id: int | None = None
    footprint_hash: str = ""
    group_key: str = ""


@dataclass(frozen=True)
class Verification:
    """What was found: counts, and the files behind them, relative to the workdir."""

    ok: int
    orphan: tuple[str, ...]
    missing: tuple[Product, ...]
    damaged: tuple[Product, ...]
    database: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """True when every row has its product and the database is whole; orphans harm nobody."""
        return not (self.missing or self.damaged or self.database)


@dataclass(frozen=True)
class Repair:
    """What was mended: results that became pending, orphans removed, and products that cannot be remade."""

    pending: int
    removed: tuple[str, ...]
    hopeless: tuple[str, ...]


def verify(workspace: Workspace, *, full: bool) -> Verification:
    """Compare rows and files. ``full``: read every byte of every product, and check the whole database."""
    products = list(_products(workspace))
    found: dict[str, list[Product]] = {"ok": [], "missing": [], "damaged": []}
    for product in products:
        found[_state(workspace, product, full)].append(product)
    named = {product.relpath for product in products}
    return Verification(
        ok=len(found["ok"]),
        orphan=tuple(path for path in _files(workspace.workdir) if path not in named),
        missing=tuple(found["missing"]),
        damaged=tuple(found["damaged"]),
        database=tuple(quick_check(workspace.reader, full=full)),
    )


def _state(workspace: Workspace, product: Product, full: bool) -> str:
    path = workspace.path(product.relpath)
    if full:
        return check_product(workspace.workdir, product.relpath, product.sha256) or "ok"
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    return "damaged" if size == 0 or product.size not in (None, size) else "ok"


def _products(workspace: Workspace) -> Iterator[Product]:
    reader = workspace.reader
    for row in rows(reader, select(s.frames)):
        yield Product(row["image_relpath"], row["image_sha256"], None, _IMPORT, row["id"])
        if row["sources_relpath"]:
            yield Product(row["sources_relpath"], None, None, _IMPORT, row["id"])
    for table, task in ((s.regions, "stamp_extraction"), (s.PSFs, "psf_modeling")):
        for row in rows(reader, select(table)):
            key = row["frame_id"], row["combined_footprint_hash"]
            yield Product(row["relpath"], row["sha256"], row["size"], task, *key)
    for row in rows(reader, select(s.roi_models)):
        group = f"{row['roi']}|{row['filter']}"
        for kind, task in (("cutouts", "prepare_calibrated_cutouts"), ("model", "model_calibrated_cutouts")):
            if row[f"{kind}_relpath"]:
                yield Product(
                    row[f"{kind}_relpath"], row[f"{kind}_sha256"], None, task,
                    footprint_hash=row["combined_footprint_hash"], group_key=group,
                )  # fmt: skip


def _files(workdir: Path) -> Iterator[str]:
    """Files where only products are, and what interrupted writers left anywhere."""
    for name in _PRODUCT_DIRECTORIES:
        for path in sorted((workdir / name).rglob("*")):
            if path.is_file():
                yield str(path.relative_to(workdir))
    yield from (str(path.relative_to(workdir)) for path in sorted(workdir.glob(".*.tmp")))


# ---------------------------------------------------------------- repair
def repair(workspace: Workspace, verification: Verification) -> Repair:
    """Make the results behind missing and damaged products pending, then remove orphans older than a day.

    Needs the lock of the workdir. The next run remakes the products from what is upstream of them; a
    frame whose raw file has gone cannot be remade and is left as it is.
    """
    pending = 0
    hopeless: list[str] = []
    with transaction(workspace.engine) as connection:
        for product in (*verification.missing, *verification.damaged):
            if product.task == _IMPORT and not _has_raw_file(connection, product):
                hopeless.append(product.relpath)
            else:
                pending += _make_pending(connection, product)
    return Repair(pending, tuple(_remove_old(workspace, verification.orphan)), tuple(hopeless))


def _has_raw_file(connection: Connection, product: Product) -> bool:
    paths = connection.execute(select(s.files.c.path).where(s.files.c.frame_id == product.frame_id)).scalars()
    return any(Path(path).is_file() for path in paths)


def _make_pending(connection: Connection, product: Product) -> int:
    """Delete the results that must be made again; the number of them."""
    if product.group_key:
        return _deleted(connection, s.group_results, _group_condition(product))
    t = s.task_results
    if product.task != _IMPORT:
        condition = and_(
            t.c.task == product.task,
            t.c.frame_id == product.frame_id,
            t.c.combined_footprint_hash == product.footprint_hash,
        )
        return _deleted(connection, t, condition)
    # an import starts a frame afresh: no later result of it may count as done
    _deleted(connection, s.files, s.files.c.frame_id == product.frame_id)
    return _deleted(connection, t, t.c.frame_id == product.frame_id)


def _group_condition(product: Product) -> Any:
    g = s.group_results
    tasks = {
        "prepare_calibrated_cutouts": ("prepare_calibrated_cutouts", "model_calibrated_cutouts"),
        "model_calibrated_cutouts": ("model_calibrated_cutouts",),
    }[product.task]
    return and_(
        g.c.task.in_(tasks),
        g.c.combined_footprint_hash == product.footprint_hash,
        g.c.group_key == product.group_key,
    )


def _deleted(connection: Connection, table: Any, condition: Any) -> int:
    return int(connection.execute(delete(table).where(condition)).rowcount)


def _remove_old(workspace: Workspace, orphans: Iterable[str]) -> Iterator[str]:
    limit = time.time() - _ORPHAN_AGE_SECONDS
    for relpath in orphans:
        path = workspace.path(relpath)
        if path.is_file() and path.stat().st_mtime < limit:
            remove(path)
            yield relpath
