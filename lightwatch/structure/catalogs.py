"""Reference stars: from a table on disk, from the Gaia archive or its mirror, or from the cache."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from math import ceil, hypot
from pathlib import Path

from lightwatch.errors import CatalogError, StorageError
from lightwatch.structure.catalogs_table import ReferenceCatalog, make_catalog, read_catalog, write_catalog
from lightwatch.structure.catalogs_table import catalog_of_table as _catalog_of_table
from lightwatch.structure.catalogs_tap import (
    GAIA_SERVICES,
    RELEASE,
    Cone,
    NetworkSettings,
    TapService,
    query_services,
)

__all__ = [
    "GAIA_SERVICES",
    "Cone",
    "NetworkSettings",
    "ReferenceCatalog",
    "TapService",
    "load_catalog",
    "make_catalog",
    "read_catalog",
    "write_catalog",
]

_CENTRE_STEP_DEG, _RADIUS_STEP_DEG = 0.01, 0.05
_LAST_MIRROR = "last_mirror.txt"


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

    ``source``: ``gaia`` (the service that answered last, then the others in order), ``vizier`` (that
    mirror alone), or the path of a table with Gaia column names, of which the region is taken.
    Queries are made a little larger, on a grid, and kept in ``cache_dir``: the same region, or one
    moved by a hair, does not need the network again.

    Raises CatalogError: ``missing_file``, ``bad_table``, ``no_stars``, ``network_off``,
    ``network`` (every service failed; the message says how), ``too_many_rows``.
    """
    if source in ("gaia", "vizier"):
        asked = _on_grid(Cone(ra_deg, dec_deg, radius_deg, faintest_g_mag))
        catalog = _from_archive(source, asked, cache_dir, network)
    else:
        catalog = read_catalog(Path(source))
        if faintest_g_mag is not None:
            catalog = catalog.taken(~(catalog.phot_g_mean_mag > faintest_g_mag))
    region = catalog.cone(ra_deg, dec_deg, radius_deg)
    if len(region) == 0:
        place = f"{radius_deg:.3f} deg of {ra_deg:.4f} {dec_deg:+.4f}"
        raise CatalogError("no_stars", f"{source}: no star of {len(catalog)} lies within {place}")
    return region


def _on_grid(cone: Cone) -> Cone:
    """The smallest cone of a coarse grid that covers this one."""
    ra = round(cone.ra_deg / _CENTRE_STEP_DEG) * _CENTRE_STEP_DEG % 360.0
    dec = max(-90.0, min(90.0, round(cone.dec_deg / _CENTRE_STEP_DEG) * _CENTRE_STEP_DEG))
    moved = hypot((ra - cone.ra_deg + 180.0) % 360.0 - 180.0, dec - cone.dec_deg) * 1.01
    steps = ceil((cone.radius_deg + moved) / _RADIUS_STEP_DEG)
    return Cone(round(ra, 6), round(dec, 6), round(steps * _RADIUS_STEP_DEG, 6), cone.faintest_g_mag)


def _from_archive(
    source: str, cone: Cone, cache_dir: Path | None, network: NetworkSettings
) -> ReferenceCatalog:
    cached = cache_dir / f"{_cache_key(source, cone)}.ecsv" if cache_dir else None
    if cached and cached.is_file():
        try:
            return read_catalog(cached)
        except CatalogError:
            cached.unlink(missing_ok=True)  # damaged: ask again
    services = _in_order(source, cache_dir, network.services)
    table, service = query_services(cone, replace(network, services=services))
    catalog = _catalog_of_table(table, name="gaia", release=RELEASE, where=service.name)
    if cached and cache_dir:
        _keep(cached, catalog, cone, service, cache_dir)
    return catalog


def _cache_key(source: str, cone: Cone) -> str:
    return blake2b(f"{source} {RELEASE} {cone!r}".encode(), digest_size=16).hexdigest()


def _in_order(
    source: str, cache_dir: Path | None, services: tuple[TapService, ...]
) -> tuple[TapService, ...]:
    """The services to ask: the one that answered last goes first."""
    if source == "vizier":
        return tuple(service for service in services if service.name == "vizier")
    last = cache_dir / _LAST_MIRROR if cache_dir else None
    try:
        name = last.read_text().strip() if last else ""
    except (OSError, UnicodeDecodeError):
        name = ""
    return tuple(sorted(services, key=lambda service: service.name != name))


def _keep(cached: Path, catalog: ReferenceCatalog, cone: Cone, service: TapService, cache_dir: Path) -> None:
    """Put an answer into the cache; a cache that cannot be written costs time, not the run."""
    try:
        write_catalog(cached, catalog, comments=(f"{service.name}: {cone!r}",))
        (cache_dir / _LAST_MIRROR).write_text(service.name + "\n")
    except (StorageError, OSError):
        cached.unlink(missing_ok=True)
