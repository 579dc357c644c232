"""What a run does before its tasks: rows without file and files without row are found by name, and dealt with."""

from __future__ import annotations

from collections.abc import Callable

from lightwatch.pipeline.reporting import LOG
from lightwatch.pipeline.tasks.roi_products import remembered_models
from lightwatch.structure import products
from lightwatch.structure.database import transaction
from lightwatch.structure.workspace import Workspace


def tidy(workspace: Workspace, before_writing: Callable[[], None]) -> str:
    """Make results pending whose product is gone, remove old orphans; what was done, in words for one line.

    Needs the lock. A frame whose raw file is gone too keeps its results: it could not be made again.
    """
    without_file, without_row = products.unmatched(workspace.reader, workspace.workdir)
    n_pending = _make_pending(workspace, _gone(workspace, without_file), before_writing)
    removed = products.remove_old(workspace, set(without_row) - remembered_models(workspace))
    for relpath in removed:
        LOG.info("%s: removed; nothing names it", relpath)
    notes = [f"{n_pending} missing products to be made again"] * bool(n_pending)
    return ", ".join(notes + [f"{len(removed)} orphaned files removed"] * bool(removed))


def _gone(workspace: Workspace, unseen: set[str]) -> set[str]:
    """Of names that were not among those of products: the files that are elsewhere in the workdir are there."""
    return {relpath for relpath in unseen if not (workspace.workdir / relpath).is_file()}


def _make_pending(workspace: Workspace, gone: set[str], before_writing: Callable[[], None]) -> int:
    if not gone:
        return 0
    with workspace.reader.connect() as connection:
        lost = [
            product
            for product in products.products_named(connection, gone)
            if products.counts_as_done(connection, product)
            and products.can_be_remade(workspace, connection, product)
        ]
    if not lost:
        return 0
    before_writing()
    with transaction(workspace.engine) as connection:
        for product in lost:
            products.make_pending(connection, product)
            LOG.warning("%s: missing; made again", product.relpath)
    return len(lost)
