"""Every figure draws what the workdir holds, at any stage, without pyplot."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from lightwatch.report import plots

ALL = [getattr(plots, name) for name in plots.__all__]


@pytest.mark.parametrize("plot", ALL)
def test_draws_a_complete_workdir(workspace, plot):
    figure = plot(workspace)
    assert isinstance(figure, Figure)
    assert figure.axes
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("steps", [(), ("frames",), ("frames", "recipes", "stars")])
def test_says_so_when_there_is_nothing(make_workdir, tmp_path, steps):
    workspace = make_workdir(tmp_path / "work", n_frames=3, steps=steps)
    for plot in ALL:
        plot(workspace)._repr_png_()


def test_no_database(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=1, steps=())
    workspace.close()
    (workspace.workdir / "database.sqlite3").unlink()
    for plot in ALL:
        assert not plot(workspace).axes, plot.__name__


def test_light_curve_is_the_one_of_the_database(workspace):
    figure = plots.plot_light_curves(workspace, quantity="flux")
    filter_i, filter_r = figure.axes
    assert "filter i" in filter_i.get_title()
    flux = filter_r.lines[0].get_ydata()
    # the doubtful second point is drawn apart
    np.testing.assert_array_equal(flux, [1000.0 + 10 * k for k in range(8) if k != 1])


def test_magnitudes_grow_downwards(workspace):
    low, high = plots.plot_light_curves(workspace).axes[0].get_ylim()
    assert low > high


def test_east_is_left(workspace):
    left, right = plots.plot_footprints(workspace).axes[0].get_xlim()
    assert left > right


def test_names_are_no_mathematics(make_workdir, tmp_path):
    workspace = make_workdir(
        tmp_path / "work", n_frames=6, text="$\\frac", roi="$\\frac", sources=("$\\x", "_b$")
    )
    for plot in ALL:
        plot(workspace)._repr_png_()


def test_pyplot_and_jax_are_not_needed():
    code = (
        "import sys, lightwatch.report.plots, lightwatch.report.site, lightwatch.report.exports; "
        "sys.exit(any(name in sys.modules for name in ('matplotlib.pyplot', 'jax')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
