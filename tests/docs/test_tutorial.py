"""The tutorial runs from top to bottom, and its light curves are near the truth."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent.parent / "docs" / "tutorial.ipynb"


def test_it_is_stored_without_outputs():
    code = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert not [cell.source for cell in code if cell.outputs or cell.execution_count]


@pytest.mark.slow
def test_it_ends_near_the_truth(executed_tutorial):
    printed = "".join(
        output.get("text", "")
        for cell in executed_tutorial.cells
        for output in cell.get("outputs", [])
        if "text" in output
    )
    assert 90 < float(re.search(r"([0-9.]+) % of the light within 25 pixels", printed).group(1)) < 100
    assert float(re.search(r"transparency within ([0-9.]+) %", printed).group(1)) < 1.0
    ends = re.findall(r"^([A-D]): .* rms ([0-9.]+), theoretical bound ([0-9.]+)$", printed, re.MULTILINE)
    assert [name for name, _, _ in ends] == list("ABCD")
    for _, rms, bound in ends:
        assert float(rms) < 2.5 * float(bound)  # six epochs: the rms itself is known to 30 %
    results = [str(output) for cell in executed_tutorial.cells for output in cell.get("outputs", [])]
    assert not [text for text in results if re.search(r"[1-9]\d* (rejected|failed)", text)]
