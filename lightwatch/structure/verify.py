"""Rows against files: is every product that a row names there and whole, and has every file its row?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lightwatch.structure import products
from lightwatch.structure.counts import recount
from lightwatch.structure.database import quick_check, transaction
from lightwatch.structure.products import Product
from lightwatch.structure.workspace import Workspace


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


def verify(workspace: Workspace, *, full: bool, remembered: Collection[str] = ()) -> Verification:
    """Compare rows and files. ``full``: read every byte of every product, and check the whole database.

    ``remembered``: files that a task still reads although no row names them.
    """
    found: dict[str, list[Product]] = {"missing": [], "damaged": []}
    named = set(remembered)
    n_ok = 0
    for product in products.all_products(workspace.reader):
        named.add(product.relpath)
        state = products.state(workspace, product, full=full)
        if state == "ok":
            n_ok += 1
        else:
            found[state].append(product)
    return Verification(
        ok=n_ok,
        orphan=tuple(sorted(path for path in products.files(workspace.workdir) if path not in named)),
        missing=tuple(found["missing"]),
        damaged=tuple(found["damaged"]),
        database=tuple(quick_check(workspace.reader, full=full)),
    )


def repair(workspace: Workspace, verification: Verification) -> Repair:
    """Make the results behind missing and damaged products pending, then remove orphans older than a day.

    Needs the lock of the workdir. The next run remakes the products from what is upstream of them; a
    frame whose raw file has gone cannot be remade and is left as it is.
    """
    pending = 0
    hopeless: list[str] = []
    with transaction(workspace.engine) as connection:
        workspace.refuse_other_runs(connection)
        for product in (*verification.missing, *verification.damaged):
            if products.can_be_remade(workspace, connection, product):
                pending += products.make_pending(connection, product)
            else:
                hopeless.append(product.relpath)
        recount(connection)
    removed = products.remove_old(workspace, verification.orphan)
    return Repair(pending, tuple(removed), tuple(hopeless))
