"""The reference catalogue as arrays, and as a table on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ReferenceCatalog:
    """Stars of one region, sorted by source_id; every column (n,), NaN where unknown."""

    source_id: NDArray[np.int64]
    ra: NDArray[np.float64]  # deg ICRS at ref_epoch
    dec: NDArray[np.float64]
    ref_epoch: NDArray[np.float64]  # Julian year
    pmra: NDArray[np.float64]  # mas/yr, with cos(dec)
    pmdec: NDArray[np.float64]
    phot_g_mean_mag: NDArray[np.float64]
    phot_bp_mean_mag: NDArray[np.float64]
    phot_rp_mean_mag: NDArray[np.float64]
    phot_g_mean_flux_over_error: NDArray[np.float64]
    astrometric_excess_noise: NDArray[np.float64]  # mas
    astrometric_excess_noise_sig: NDArray[np.float64]
    phot_variable: NDArray[np.float64]  # 1 variable, 0 not, NaN unknown
    name: str  # gaia, frames, or the stem of the table's file name
    release: str  # gaia_dr3, ...; empty when unknown

    def __len__(self) -> int:
        return len(self.source_id)

    @property
    def digest(self) -> str:
        """blake2b of the content; the order of the rows does not matter."""
        raise NotImplementedError

    def cone(self, ra_deg: float, dec_deg: float, radius_deg: float) -> ReferenceCatalog:
        """The stars within ``radius_deg`` of a position."""
        raise NotImplementedError


def read_catalog(path: Path) -> ReferenceCatalog:
    """Read csv, ecsv, fits, votable or parquet with Gaia column names.

    source_id, ra, dec and phot_g_mean_mag are required.  Raises CatalogError.
    """
    raise NotImplementedError


def write_catalog(path: Path, catalog: ReferenceCatalog) -> None:
    """Write an ECSV table that ``read_catalog`` gives back unchanged; the file appears whole or not at all.

    Raises StorageError.
    """
    raise NotImplementedError
