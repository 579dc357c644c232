"""Reference stars: from a table on disk, from the Gaia archive or its mirror, or from the cache."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from math import asin, ceil, cos, degrees, inf, radians, sin, sqrt
from pathlib import Path

from lightwatch.errors import CatalogError, StorageError
from lightwatch.structure.catalogs_table import ReferenceCatalog, make_catalog, read_catalog, write_catalog
from lightwatch.structure.catalogs_tap import (
    GAIA_SERVICES,
    RELEASE,
    Cone,
    NetworkSettings,
    TapService,
    query_services,
)
from lightwatch.structure.files import remove, write_atomically

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

_LAST_MIRROR = "last_mirror.txt"
_CACHED = re.compile(
    r"(?P<source>gaia|vizier)_(?P<release>\w+)_(?P<ra>[\d.]+)(?P<dec>[+-][\d.]+)"
    r"_r(?P<radius>[\d.]+)_g(?P<faintest>all|-?[\d.]+)"
)


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
    Queries are made a little larger and kept in ``cache_dir``: a region inside one that was asked before
    does not need the network again.  With ``faintest_g_mag``, stars of unknown magnitude are left out.

    Raises CatalogError: ``missing_file``, ``bad_table``, ``no_stars``, ``network_off``,
    ``network`` (every service failed; the message says how), ``too_many_rows``.
    """
    if source in ("gaia", "vizier"):
        catalog = _from_archive(source, Cone(ra_deg, dec_deg, radius_deg, faintest_g_mag), cache_dir, network)
    else:
        catalog = read_catalog(Path(source))
    if faintest_g_mag is not None:
        catalog = catalog.taken(catalog.phot_g_mean_mag <= faintest_g_mag)
    region = catalog.cone(ra_deg, dec_deg, radius_deg)
    if len(region) == 0:
        place = f"{radius_deg:.3f} deg of {ra_deg:.4f} {dec_deg:+.4f}"
        raise CatalogError("no_stars", f"{source}: no star of {len(catalog)} lies within {place}")
    return region


def _from_archive(
    source: str, cone: Cone, cache_dir: Path | None, network: NetworkSettings
) -> ReferenceCatalog:
    """A catalogue that covers the cone: the smallest sound one in the cache, else what a service answers."""
    for path in _cached_covers(source, cone, cache_dir) if cache_dir else []:
        try:
            return read_catalog(path)
        except CatalogError:
            remove(path)  # damaged: ask again
    larger = replace(cone, radius_deg=ceil((1.1 * cone.radius_deg + 0.01) * 1000) / 1000)
    services = _in_order(source, cache_dir, network.services)
    catalog, service = query_services(larger, replace(network, services=services))
    if cache_dir:
        _keep(cache_dir / f"{_cache_name(source, larger)}.ecsv", catalog, service)
    return catalog


def _cache_name(source: str, cone: Cone) -> str:
    limit = "all" if cone.faintest_g_mag is None else f"{cone.faintest_g_mag:.3f}"
    return f"{source}_{RELEASE}_{cone.ra_deg:.6f}{cone.dec_deg:+.6f}_r{cone.radius_deg:.3f}_g{limit}"


def _cached_covers(source: str, cone: Cone, cache_dir: Path) -> list[Path]:
    """Cached answers that hold the whole cone, smallest first."""
    covers = []
    for path in cache_dir.glob("*.ecsv"):
        told = _CACHED.fullmatch(path.stem)
        if told and (told["source"], told["release"]) == (source, RELEASE):
            limit = inf if told["faintest"] == "all" else float(told["faintest"])
            apart = _separation_deg(float(told["ra"]), float(told["dec"]), cone.ra_deg, cone.dec_deg)
            deep_enough = limit >= (inf if cone.faintest_g_mag is None else cone.faintest_g_mag)
            if deep_enough and apart + cone.radius_deg <= float(told["radius"]):
                covers.append((float(told["radius"]), path))
    return [path for _, path in sorted(covers)]


def _separation_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Great-circle distance (haversine)."""
    d1, d2 = radians(dec1), radians(dec2)
    half = sin((d1 - d2) / 2) ** 2 + cos(d1) * cos(d2) * sin(radians(ra1 - ra2) / 2) ** 2
    return degrees(2 * asin(min(1.0, sqrt(half))))


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


def _keep(cached: Path, catalog: ReferenceCatalog, service: TapService) -> None:
    """Put an answer into the cache; a cache that cannot be written costs time, not the run."""
    with suppress(StorageError):
        write_catalog(cached, catalog, comments=(f"from {service.name}, {service.url}",))
        write_atomically(cached.parent / _LAST_MIRROR, lambda path: path.write_text(service.name + "\n"))
