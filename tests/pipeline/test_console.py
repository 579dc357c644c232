"""Progress bars: how far, how fast, how much longer."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from lightwatch.pipeline.console import ConsoleReporter
from lightwatch.pipeline.progress_bars import RateColumn, told_rate


@pytest.mark.parametrize(
    ("rate", "item", "told"),
    [
        (12.34, "frame", "12.3 frames/s"),
        (1.0, "frame", "1.0 frames/s"),
        (0.4, "frame", "2.5 s/frame"),
        (1 / 61, "group", "61.0 s/group"),
        (None, "frame", ""),
        (0.0, "frame", ""),
    ],
)
def test_a_rate_in_words(rate, item, told):
    assert told_rate(rate, item) == told


@pytest.mark.parametrize(
    ("moments", "counts", "told"),
    [
        ([1.0, 2.0, 3.0], [4, 4, 4], "4.0 frames/s"),  # by what came after the first batch, which compiles
        ([20.0], [5], "4.0 s/frame"),
        ([70.0, 140.0, 210.0], [1, 1, 1], "70.0 s/frame"),
        ([5.0], [0], ""),
    ],
)
def test_the_rate_is_that_of_the_items_that_ended(moments, counts, told):
    now = [0.0]
    bars = Progress(
        RateColumn(),
        console=Console(file=io.StringIO()),
        get_time=lambda: now[0],
        speed_estimate_period=300.0,
    )
    key = bars.add_task("psf_modeling", total=100, item="frame")
    for moment, count in zip(moments, counts, strict=True):
        now[0] = moment
        bars.advance(key, count)
    assert RateColumn().render(bars.tasks[0]).plain == told


def test_bars_of_a_run_show_the_rate(capsys):
    with ConsoleReporter(quiet=False, bars=True) as reporter:
        for task in ("psf_modeling", "calculate_normalization_coefficient"):
            reporter.begin(task, 2)
            reporter.advance(task, 2)
    frames, groups = capsys.readouterr().err.splitlines()[-2:]
    assert "2/2" in frames
    assert "frames/s" in frames
    assert "groups/s" in groups
