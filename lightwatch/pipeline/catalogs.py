"""The reference catalogue of a workspace, for the tasks that need one."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from lightwatch.errors import CatalogError
from lightwatch.pipeline.recipes import catalog_path
from lightwatch.pipeline.task import TaskContext
from lightwatch.processes.astrometry_sky import mean_direction, sky_to_plane
from lightwatch.structure.catalogs import GAIA_SERVICES, NetworkSettings, ReferenceCatalog, load_catalog
from lightwatch.structure.workspace import Workspace

_MAX_BYTES = 200_000_000
_MAX_ROWS = 500_000
_ATTEMPTS = 3
_FAINTEST_ASKED = 20.5


def network_settings(workspace: Workspace) -> NetworkSettings:
    """How archives are asked."""
    network = workspace.config.network
    return NetworkSettings(
        enabled=not network.offline,
        services=GAIA_SERVICES,
        connect_timeout_s=min(10.0, network.timeout_seconds),
        read_timeout_s=network.timeout_seconds,
        total_timeout_s=network.budget_seconds,
        attempts=_ATTEMPTS,
        max_bytes=_MAX_BYTES,
        max_rows=_MAX_ROWS,
    )


def target_centre(workspace: Workspace) -> tuple[float, float, float]:
    """(ra, dec, radius) in degrees of the smallest known disk that holds all ROIs."""
    positions = np.array([roi.coordinates for roi in workspace.config.rois.values()])
    ra, dec = mean_direction(positions[:, 0], positions[:, 1])
    east, north = sky_to_plane(positions[:, 0], positions[:, 1], ra, dec)
    return ra, dec, float(np.max(np.hypot(east, north)) / 3600.0)


def reference_catalog(context: TaskContext, source: str, radius_deg: float) -> ReferenceCatalog:
    """Stars within a radius of the ROIs, from an archive, the cache, or a table; the run's time is kept count of.

    Raises
    ------
    CatalogError
        When no stars can be had; a catalogue made from the frames is none of this function's.
    """
    if source == "frames":
        raise CatalogError("no_stars", "the catalogue 'frames' is made from solved frames")
    workspace = context.workspace
    ra, dec, spread = target_centre(workspace)
    path = catalog_path(workspace, source)
    network = network_settings(workspace)
    left = max(0.0, network.total_timeout_s - context.network_time.seconds)
    begun = time.monotonic()
    try:
        return load_catalog(
            str(path) if path is not None else source,
            ra_deg=ra,
            dec_deg=dec,
            radius_deg=radius_deg + spread,
            faintest_g_mag=_FAINTEST_ASKED if path is None else None,
            cache_dir=workspace.workdir / "catalogs",
            network=replace(network, total_timeout_s=left),
        )
    finally:
        context.network_time.seconds += time.monotonic() - begun
