"""Asking the Gaia archive or its mirror, within a budget of time, bytes and rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TapService:
    """A TAP service and how it spells the columns we want."""

    name: str
    url: str  # of the synchronous endpoint
    table: str
    columns: tuple[tuple[str, str], ...]  # (our name, ADQL expression)


@dataclass(frozen=True)
class NetworkSettings:
    """How long, how much and whom to ask."""

    enabled: bool
    services: tuple[TapService, ...]  # in order of preference
    connect_timeout_s: float
    read_timeout_s: float
    total_timeout_s: float  # of one load_catalog, all services and attempts
    attempts: int  # per service
    max_bytes: int
    max_rows: int


GAIA_SERVICES: tuple[TapService, ...] = ()
