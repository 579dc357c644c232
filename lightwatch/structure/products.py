"""Products: which files rows name, whether they are whole, and what must be done again when one is not."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Table,
    and_,
    delete,
    exists,
    func,
    null,
    select,
    update,
)

from lightwatch.errors import ProductError
from lightwatch.structure import schema as s
from lightwatch.structure.files import PRODUCT_DIRECTORIES, remove, sha256_of
from lightwatch.structure.parts import parts
from lightwatch.structure.task_names import IMPORT_TASK
from lightwatch.structure.workspace import Workspace

_STARS = "query_gaia_for_stars"
_PREPARE, _MODEL = "prepare_calibrated_cutouts", "model_calibrated_cutouts"
_ORPHAN_AGE_SECONDS = 86400.0

#: directories where an interrupted writer may leave something too
_OTHER_DIRECTORIES = ("", "catalogs", "light_curves", "backups", "report")
_LEFTOVER = re.compile(r"\..+\.\d+\.tmp")
#: names of products end with a part of a hash; files with other names are their owner's
_OURS = re.compile(r".+[-.][0-9a-f]{8}(_sources)?\.(fits|h5)")


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
class _Kind:
    """Where rows name products of a task; ``checksum`` of the content, where the file has none of its own.

    The products are in a directory of their own.
    """

    task: str
    directory: str
    relpath: Column[Any]
    checksum: Column[Any] | None = None
    size: Column[Any] | None = None


_KINDS = (
    _Kind(IMPORT_TASK, "frames", s.frames.c.image_relpath, s.frames.c.image_sha256),
    _Kind(IMPORT_TASK, "frames", s.frames.c.sources_relpath),
    _Kind(_STARS, "catalogs", s.combined_footprint.c.catalog_relpath, s.combined_footprint.c.catalog_digest),
    _Kind("stamp_extraction", "regions", s.regions.c.relpath, s.regions.c.sha256, s.regions.c.size),
    _Kind("psf_modeling", "psfs", s.PSFs.c.relpath, s.PSFs.c.sha256, s.PSFs.c.size),
    _Kind(_PREPARE, "prepared_roi_cutouts", s.roi_models.c.cutouts_relpath, s.roi_models.c.cutouts_sha256),
    _Kind(_MODEL, "roi_models", s.roi_models.c.model_relpath, s.roi_models.c.model_sha256),
)


# ---------------------------------------------------------------- what rows name
def unmatched(reader: Engine, workdir: Path) -> tuple[set[str], list[str]]:
    """Products that rows name and that are not where products are, and files there that no row names.

    One directory after the other: the names of all products at once would take most of a run's memory.
    """
    without_file: set[str] = set()
    without_row: list[str] = []
    with reader.connect() as connection:
        for directory in dict.fromkeys(kind.directory for kind in _KINDS):
            named = _names(connection, directory)
            for relpath in _below(workdir, f"{directory}/") if directory in PRODUCT_DIRECTORIES else ():
                if relpath in named:
                    named.remove(relpath)
                else:
                    without_row.append(relpath)
            without_file |= named
        elsewhere = {product.relpath for product in products_named(connection, without_row)}
    without_row += _leftovers(workdir)
    return without_file, [relpath for relpath in without_row if relpath not in elsewhere]


def _names(connection: Connection, directory: str) -> set[str]:
    """What rows name of the kinds of product that are in a directory."""
    named: set[str] = set()
    for kind in _KINDS:
        if kind.directory == directory:
            query = select(kind.relpath).where(kind.relpath.is_not(None))
            named.update(connection.execute(query).scalars())
    return named


def all_products(reader: Engine) -> Iterator[Product]:
    """Every product that a row names, and what is known of it."""
    with reader.connect() as connection:
        for kind in _KINDS:
            yield from _found(connection, kind, kind.relpath.is_not(None))


def products_named(connection: Connection, relpaths: Iterable[str]) -> list[Product]:
    """Those products that are at some paths."""
    wanted = sorted(relpaths)
    return [
        item
        for kind in _KINDS
        for part in parts(wanted)
        for item in _found(connection, kind, kind.relpath.in_(part))
    ]


def products_of_filter(connection: Connection, footprint_hash: str, filter_name: str) -> list[Product]:
    """Cutouts and PSFs of the frames of a filter ('' when it is unknown)."""
    frames = select(s.frames.c.id).where(func.coalesce(s.frames.c.filter, "") == filter_name)
    return [
        item
        for kind in _KINDS
        for c in [kind.relpath.table.c]
        if kind.relpath.table in (s.regions, s.PSFs)
        for item in _found(
            connection, kind, and_(c.combined_footprint_hash == footprint_hash, c.frame_id.in_(frames))
        )
    ]


def _found(connection: Connection, kind: _Kind, condition: ColumnElement[bool]) -> Iterator[Product]:
    table = kind.relpath.table
    columns = table.c
    frame = columns.id if table is s.frames else columns.get("frame_id", null())
    footprint = (
        columns.hash if table is s.combined_footprint else columns.get("combined_footprint_hash", null())
    )
    group = (columns.roi, columns["filter"]) if table is s.roi_models else (null(), null())
    known = (null() if column is None else column for column in (kind.checksum, kind.size))
    query = select(kind.relpath, *known, frame, footprint, *group).where(condition)
    for row in connection.execute(query):
        relpath, checksum, size, frame_id, footprint_hash, roi, filter_name = tuple(row)
        key = "" if roi is None else f"{roi}|{filter_name}"
        yield Product(relpath, checksum, size, kind.task, frame_id, footprint_hash or "", key)


def state(workspace: Workspace, product: Product, *, full: bool) -> str:
    """``ok``, ``missing`` or ``damaged``. ``full``: every byte is read."""
    if not full:
        return _state_by_size(f"{workspace.workdir}/{product.relpath}", product.size)
    path = workspace.path(product.relpath)
    if not path.is_file():
        return "missing"
    if product.task != _STARS and product.sha256 is not None:
        return "ok" if sha256_of(path) == product.sha256 else "damaged"
    try:
        _read(workspace, product)
    except ProductError as error:
        return error.reason_code.removesuffix("_product")
    return "ok"


def _state_by_size(path: str, size: int | None) -> str:
    """From one question to the file system: a workdir has hundreds of thousands of products."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    if not stat.S_ISREG(status.st_mode):
        return "missing"
    return "damaged" if status.st_size == 0 or size not in (None, status.st_size) else "ok"


def _read(workspace: Workspace, product: Product) -> None:
    """Read a product that has a checksum of its own, or one of its content."""
    # a run that finds nothing to do needs no astropy
    from lightwatch.structure import frame_store
    from lightwatch.structure.catalogs_pinned import read_pinned

    if product.task == _STARS:
        read_pinned(workspace.workdir, product.relpath, product.sha256)
    elif product.relpath.endswith("_sources.fits"):
        frame_store.read_sources(workspace.workdir, product.relpath)
    else:
        frame_store.read_stored_frame(workspace.workdir, product.relpath)


# ---------------------------------------------------------------- what is done again
def can_be_remade(workspace: Workspace, connection: Connection, product: Product) -> bool:
    """False for a frame whose raw file is in none of the raw directories any more."""
    if product.task != IMPORT_TASK:
        return True
    query = select(s.files.c.path).where(s.files.c.frame_id == product.frame_id)
    paths = [Path(path) for path in connection.execute(query).scalars()]
    raw = workspace.config.raw_dirs
    return any(path.is_file() and any(path.is_relative_to(place) for place in raw) for path in paths)


def counts_as_done(connection: Connection, product: Product) -> bool:
    """Whether a result stands that needs the product: its own task's, or any of a frame that must be imported."""
    return any(
        connection.execute(select(exists().where(condition))).scalar()
        for _table, condition in _results(product)
    )


def make_pending(connection: Connection, product: Product) -> int:
    """Delete the results that must be made again, so that the next run makes them; the number of them."""
    n = sum(
        connection.execute(delete(table).where(condition)).rowcount for table, condition in _results(product)
    )
    # the raw file is looked at again; where it is no frame any more, this one is out
    if product.task == IMPORT_TASK:
        connection.execute(update(s.files).where(s.files.c.frame_id == product.frame_id).values(recipe=""))
    elif product.task == _STARS:
        pinned = s.combined_footprint
        condition = pinned.c.hash == product.footprint_hash
        connection.execute(update(pinned).where(condition).values(catalog_relpath=None))
    return n


def _results(product: Product) -> list[tuple[Table, ColumnElement[bool]]]:
    """Rows that say a product is there: what follows from an import or a choice of stars starts afresh with it."""
    t, g = s.task_results, s.group_results
    of_footprint = [(table, table.c.combined_footprint_hash == product.footprint_hash) for table in (t, g)]
    if product.task == IMPORT_TASK:
        return [(t, t.c.frame_id == product.frame_id)]
    if product.task == _STARS:
        return of_footprint
    if product.group_key:
        tasks = (_PREPARE, _MODEL) if product.task == _PREPARE else (_MODEL,)
        return [(g, and_(of_footprint[1][1], g.c.task.in_(tasks), g.c.group_key == product.group_key))]
    return [(t, and_(of_footprint[0][1], t.c.task == product.task, t.c.frame_id == product.frame_id))]


# ---------------------------------------------------------------- what no row names
def files(workdir: Path) -> Iterator[str]:
    """Files where only products are, and what interrupted writers left elsewhere; nothing but names is read."""
    for name in PRODUCT_DIRECTORIES:
        yield from _below(workdir, f"{name}/")
    yield from _leftovers(workdir)


def _leftovers(workdir: Path) -> Iterator[str]:
    for name in _OTHER_DIRECTORIES:
        prefix = f"{name}/" if name else ""
        yield from (
            f"{prefix}{entry.name}" for entry in _entries(workdir / name) if _LEFTOVER.fullmatch(entry.name)
        )


def _below(workdir: Path, prefix: str) -> Iterator[str]:
    waiting = [prefix]
    while waiting:
        prefix = waiting.pop()
        for entry in _entries(workdir / prefix):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_somebody_elses(path: Path) -> bool:
    """A FITS file that bears a name like ours, as one that ends with a date does, but is none of ours."""
    # astropy: only where there is something to look at
    from lightwatch.structure.frame_store import is_own_file

    return path.suffix == ".fits" and not is_own_file(path)


def remove_old(workspace: Workspace, orphans: Iterable[str]) -> list[str]:
    """Remove those of the files without a row that lightwatch wrote more than a day ago; which they were."""
    limit = time.time() - _ORPHAN_AGE_SECONDS
    removed = []
    for relpath in orphans:
        name = relpath.rsplit("/", 1)[-1]
        path = workspace.workdir / relpath
        ours = _LEFTOVER.fullmatch(name) or _OURS.fullmatch(name)
        if ours and path.is_file() and path.lstat().st_mtime < limit and not _is_somebody_elses(path):
            remove(path)
            removed.append(relpath)
    return removed
