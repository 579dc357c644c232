"""Light curves as the time series of astropy and lightkurve."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.time import Time
from astropy.timeseries import TimeSeries

from lightwatch.errors import ConfigError, InputError, NoUsableData
from lightwatch.report.light_curve_table import light_curve_rows
from lightwatch.report.series import light_curve
from lightwatch.structure.light_curve_columns import LIGHT_CURVE


@pytest.fixture(scope="module")
def curve(workspace):
    return light_curve("A", filter="r", workspace=workspace)


@pytest.fixture(scope="module")
def points(workspace):
    return [r for r in light_curve_rows(workspace) if (r["point_source"], r["filter"]) == ("A", "r")]


def test_table_is_the_exported_one(curve, points):
    assert curve.table.colnames == [column.name for column in LIGHT_CURVE]
    assert (curve.roi, curve.point_source, curve.filter) == ("J0248", "A", "r")
    assert curve.table.meta["MAGSYS"] == "AB"
    np.testing.assert_array_equal(curve.table["flux"], [row["flux"] for row in points])


def test_timeseries(curve, points):
    series = curve.to_timeseries()
    assert isinstance(series, TimeSeries)
    assert (series.time.scale, series.time.format) == ("tdb", "jd")
    np.testing.assert_array_equal(series.time.jd, [row["bjd_tdb"] for row in points])
    assert {"roi", "point_source", "filter", "bjd_tdb"}.isdisjoint(series.colnames)
    for column in LIGHT_CURVE:
        if column.name in series.colnames:
            assert series[column.name].info.description == column.description
            assert series[column.name].info.meta["ucd"] == column.ucd
            if column.unit:
                assert series[column.name].unit == u.Unit(column.unit), column.name
    np.testing.assert_array_equal(series["flags"], [row["flags"] for row in points])
    expected = [np.nan if row["mag"] is None else row["mag"] for row in points]
    np.testing.assert_array_equal(series["mag"].to_value(u.mag), expected)
    assert series.meta["POINT_SOURCE"] == "A"
    assert series.meta["OBJECT"] == "J0248"
    assert len(series.fold(period=1.5 * u.day)) == len(points)  # it is one that astropy works with


def test_points_without_a_date_are_left_out(curve):
    table = curve.table.copy()
    table["bjd_tdb"][1] = np.nan
    assert len(replace(curve, table=table).to_timeseries()) == len(table) - 1


@pytest.mark.skipif(importlib.util.find_spec("lightkurve") is None, reason="lightkurve is not installed")
def test_lightkurve(curve, points):
    light = curve.to_lightkurve()
    assert light.time.scale == "tdb"
    assert light.time.jd == pytest.approx([row["bjd_tdb"] for row in points], abs=1e-9)
    assert light.flux.unit == light.flux_err.unit == u.electron / u.s
    np.testing.assert_array_equal(light.flux.value, [row["flux"] for row in points])
    np.testing.assert_array_equal(light.flux_err.value, [row["flux_uncertainty"] for row in points])
    np.testing.assert_array_equal(light.quality, [row["flags"] for row in points])
    assert light.label == "J0248 A r"
    assert light.ra == pytest.approx(42.2031)
    assert len(light[light.quality == 0].normalize()) == sum(row["flags"] == 0 for row in points)


def test_without_lightkurve_a_line_names_it(curve, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^to_lightkurve needs lightkurve: pip install lightkurve$"):
        curve.to_lightkurve()


def test_which_is_asked_for(workspace):
    with pytest.raises(
        InputError, match=r"4 light curves are meant; there are \(roi='J0248', point_source='A'"
    ) as error:
        light_curve(workspace=workspace)
    assert error.value.reason_code == "which_light_curve"
    with pytest.raises(InputError, match=r"no such light curve; there are .*'B_1'") as error:
        light_curve("C", workspace=workspace)
    assert error.value.reason_code == "no_such_light_curve"
    assert light_curve("B_1", filter="i", roi="J0248", workspace=workspace).point_source == "B_1"


def test_workdir_of_the_variable(workspace, monkeypatch):
    monkeypatch.setenv("LIGHTWATCH_CONFIG", str(workspace.workdir))
    assert len(light_curve("A", filter="r").table)


def test_before_the_first_light_curve(make_workdir, tmp_path):
    with pytest.raises(NoUsableData):
        light_curve(workspace=make_workdir(tmp_path / "w", n_frames=2, steps=("frames", "recipes")))


def test_time_is_that_of_the_sun_s_barycentre(curve):
    """Mid-exposure by the clock of the observatory differs by minutes, and by the leap seconds."""
    series = curve.to_timeseries()
    clock = Time(series["mjd"].value, format="mjd", scale="utc")
    assert np.all(np.abs((series.time - clock.tdb).to_value(u.min)) < 10)
