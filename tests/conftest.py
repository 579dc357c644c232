"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real frames beside the repository; tests that need them are skipped elsewhere."""
    path = SHARED / "data"
    if not path.is_dir():
        pytest.skip("real frames are not here (../shared/data)")
    return path
