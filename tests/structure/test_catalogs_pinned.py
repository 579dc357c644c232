"""The reference catalogue of a footprint: every changed byte is found, tables without a checksum are still read."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lightwatch.errors import ProductError
from lightwatch.structure.catalogs_pinned import read_pinned, write_pinned
from lightwatch.structure.catalogs_table import make_catalog, read_catalog, write_catalog


@pytest.fixture(scope="module")
def catalog():
    n = np.arange(1, 6)
    columns = {"source_id": n, "ra": 42.0 + n / 100, "dec": 19.0 + n / 100, "phot_g_mean_mag": 14.0 + n / 3}
    return make_catalog(columns, name="gaia", release="gaia_dr3")


def test_any_flipped_bit_and_any_cut_is_found(tmp_path, catalog):
    path = tmp_path / "c.ecsv"
    write_pinned(path, catalog)
    assert read_pinned(tmp_path, "c.ecsv", catalog.digest).digest == catalog.digest
    assert read_catalog(path).digest == catalog.digest
    whole = path.read_bytes()
    rng = random.Random(3)
    last = range(whole.rindex(b"# sha256") - 1, len(whole))
    for place in [*rng.sample(range(len(whole)), 60), *last]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ProductError):
            read_pinned(tmp_path, "c.ecsv", catalog.digest)
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ProductError):
            read_pinned(tmp_path, "c.ecsv", catalog.digest)


def test_table_without_checksum_is_read_and_its_content_checked(tmp_path, catalog):
    write_catalog(tmp_path / "old.ecsv", catalog)
    assert read_pinned(tmp_path, "old.ecsv", catalog.digest).digest == catalog.digest
    with pytest.raises(ProductError, match="its content has changed"):
        read_pinned(tmp_path, "old.ecsv", "0" * 64)
