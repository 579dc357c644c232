"""The tutorial, executed once: its test looks at what it printed, and the site shows it."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def executed_tutorial(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """The notebook with its outputs, which stays in build/ for the site."""
    folder = tmp_path_factory.mktemp("tutorial")
    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    (ROOT / "build").mkdir(exist_ok=True)
    nbformat.write(notebook, folder / "tutorial.ipynb")
    shutil.move(folder / "tutorial.ipynb", ROOT / "build" / "tutorial.ipynb")
    return notebook
