"""Header parsers: foreign code, loaded only when nobody else can have changed it, its result checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.io import fits


@dataclass(frozen=True)
class HeaderParser:
    """A loaded parser; travels to worker processes by path and hash."""

    path: Path
    content_hash: str
    parse: Callable[[fits.Header], Any]


@dataclass(frozen=True)
class FrameMetadata:
    """What is known of an exposure.  None or NaN: unknown."""

    exptime_s: float
    gain: float  # electron/ADU
    mjd: float  # UTC, at the start or middle as time_reference says
    time_reference: str  # start | mid | end
    filter: str | None
    read_noise: float  # electron
    saturation_adu: float
    object: str | None
    telescope: str | None
    instrument: str | None
    airmass: float
    frame_type: str | None
    ra_deg: float
    dec_deg: float
    pixel_scale_arcsec: float
    latitude_deg: float
    longitude_deg: float  # East positive
    elevation_m: float
    notes: tuple[str, ...]  # warnings, a line each

    @property
    def mjd_mid(self) -> float:
        """UTC at the middle of the exposure."""
        shift = {"start": 0.5, "mid": 0.0, "end": -0.5}[self.time_reference]
        return self.mjd + shift * self.exptime_s / 86400.0


def shipped_path(folder: str, name: str) -> Path:
    """Path of a file delivered with lightwatch: inside the package, else in the checkout."""
    raise NotImplementedError


def load_header_parser(workdir: Path, instrument: str | None) -> HeaderParser:
    """The shipped parser named ``instrument``, or ``workdir/header_parser/parse_header.py`` when None.

    Raises ConfigError when there is none, when others than the user can write it, or when it defines
    no ``parse_header``.
    """
    raise NotImplementedError


def read_metadata(
    parser: HeaderParser,
    header: fits.Header,
    *,
    name: str,
    time_reference: str,
    overrides: Mapping[str, Any],
) -> FrameMetadata:
    """Run the parser and check what it returns, key by key.

    ``name`` is the file in messages; ``time_reference`` holds where the parser does not say;
    ``overrides`` (keys of the parser contract) replace the parser's values.
    Raises HeaderError with reason code ``bad_meta:<key>`` or ``bad_meta:parser``.
    """
    raise NotImplementedError
