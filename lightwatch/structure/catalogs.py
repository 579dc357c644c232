"""Reference stars: from a table on disk, from the Gaia archive or its mirror, or from the cache."""

from __future__ import annotations

from pathlib import Path

from lightwatch.structure.catalogs_table import ReferenceCatalog, read_catalog, write_catalog
from lightwatch.structure.catalogs_tap import GAIA_SERVICES, NetworkSettings, TapService

__all__ = [
    "GAIA_SERVICES",
    "NetworkSettings",
    "ReferenceCatalog",
    "TapService",
    "load_catalog",
    "read_catalog",
    "write_catalog",
]


def load_catalog(
    source: str,
    *,
    ra_deg: float,
    dec_deg: float,
    radius_deg: float,
    faintest_g_mag: float | None,
    cache_dir: Path | None,
    network: NetworkSettings,
) -> ReferenceCatalog:
    """Reference stars within ``radius_deg`` of a position.

    ``source``: ``gaia`` (the mirror that answered last, then ESA, then VizieR), ``vizier`` (that mirror
    alone), or the path of a table with Gaia column names.  A cached answer that covers the same request
    is used without the network.

    Raises CatalogError: ``missing_file``, ``bad_table``, ``no_stars``, ``network_off``,
    ``network`` (every service failed; the message says how), ``too_many_rows``.
    """
    raise NotImplementedError
