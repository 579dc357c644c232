"""Light curves as the time series of astropy and lightkurve."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from types import SimpleNamespace

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


def test_a_written_time_series_is_read_again(curve, tmp_path):
    """With units, meanings, scale and what its head says."""
    series = curve.to_timeseries()
    series.write(tmp_path / "series.ecsv", format="ascii.ecsv")
    again = TimeSeries.read(tmp_path / "series.ecsv", time_column="time", format="ascii.ecsv")
    assert again.time.scale == "tdb"
    np.testing.assert_allclose(again.time.jd, series.time.jd, rtol=0, atol=1e-9)
    for name in series.colnames[1:]:
        assert again[name].unit == series[name].unit, name
        assert again[name].info.description == series[name].info.description
        expected = np.asarray(series[name])
        # readers take an empty cell for a missing one
        missing = "" if expected.dtype.kind == "U" else np.nan
        got = again[name].filled(missing) if hasattr(again[name], "filled") else again[name]
        np.testing.assert_array_equal(np.asarray(got), expected)
    assert again.meta == series.meta
    assert (again.meta["FLUXKIND"], again.meta["ZPTMUCER"]) == ("psf", pytest.approx(0.02))


def test_what_lightkurve_is_given(curve, monkeypatch):
    """Runs without lightkurve too, whose LightCurve is a time series of astropy with a flux and its error."""

    def light_curve_of(time, flux, flux_err, meta):
        series = TimeSeries(time=time, data={"flux": flux, "flux_err": flux_err})
        series.meta.update(meta)
        return series

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "lightkurve")
    monkeypatch.setitem(sys.modules, "lightkurve", SimpleNamespace(LightCurve=light_curve_of))
    light, series = curve.to_lightkurve(), curve.to_timeseries()
    np.testing.assert_array_equal(light.time.jd, series.time.jd)
    names = {"flux_uncertainty": "flux_err", "flags": "quality"}
    assert set(light.colnames) == {names.get(name, name) for name in series.colnames}
    for name in series.colnames[1:]:
        got = light[names.get(name, name)]
        assert got.unit == series[name].unit
        np.testing.assert_array_equal(np.asarray(got), np.asarray(series[name]))
    assert (light.meta["LABEL"], light.meta["RA"]) == ("J0248 A r", pytest.approx(42.2031))
    assert "RA_OBJ" not in light.meta


@pytest.mark.skipif(
    importlib.util.find_spec("lightkurve") is None,
    reason="lightkurve is not installed: it needs python-dateutil and pandas below 3, older than those pinned",
)
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
