"""Workdirs as the pipeline leaves them, made without it."""

from __future__ import annotations

import pytest
from reliability.stub_workdir import build

from lightwatch.structure.workspace import Workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A complete workdir; tests only read it."""
    return build(tmp_path_factory.mktemp("complete") / "work")


@pytest.fixture(scope="session")
def make_workdir():
    """The builder, for tests that need another one."""
    return build
