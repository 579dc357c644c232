"""The reference region, and the models of ROIs, written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from lightwatch.structure import schema as s
from lightwatch.structure.queries import Row, replace_rows


def make_footprint_current(connection: Connection, key: str, values: Mapping[str, Any]) -> None:
    """The combined footprint in use from now on, new or known, by its hash; no other is."""
    table = s.combined_footprint
    connection.execute(update(table).where(table.c.hash != key).values(is_current=0))
    known = connection.execute(select(func.count()).where(table.c.hash == key)).scalar()
    statement = update(table).where(table.c.hash == key) if known else insert(table)
    connection.execute(statement.values(hash=key, is_current=1, **values))


def save_stars(
    connection: Connection, footprint_hash: str, stars: Sequence[Row], about: Mapping[str, Any]
) -> None:
    """The reference stars of a footprint, and in its row where they came from."""
    replace_rows(connection, s.stars, {"combined_footprint_hash": footprint_hash}, stars)
    table = s.combined_footprint
    connection.execute(update(table).where(table.c.hash == footprint_hash).values(about))


def save_roi_model(
    connection: Connection, key: Mapping[str, str], values: Mapping[str, Any], fluxes: Sequence[Row]
) -> None:
    """The model of an ROI in a filter beside its cutouts, and its light curve in the place of the one before.

    ``key``: combined_footprint_hash, roi, filter.
    """
    table = s.roi_models
    where = (table.c[name] == value for name, value in key.items())
    connection.execute(update(table).where(*where).values(values))
    replace_rows(connection, s.roi_flux, key, fluxes)
