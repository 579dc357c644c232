"""The gate in front of the FITS reader: sizes are checked from the bytes before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadLimits:
    """What a frame may cost; beyond it the file is refused as ``too_large``."""

    header_bytes: int  # of one header, e.g. 10 MB
    data_bytes: int  # declared or decompressed, e.g. 4 GB
    inflation: float  # decompressed over compressed size, e.g. 20; small files are always allowed
    hdus: int  # e.g. 1000
