"""Exports are read back with each format's own reader, and hold the numbers of the database."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits, votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from astropy.wcs import WCS
from reliability.stub_workdir import CENTRE
from sqlalchemy import text, update

from lightwatch.errors import ConfigError, NoUsableData
from lightwatch.flags import DOUBTFUL, Flag
from lightwatch.pipeline import cli
from lightwatch.processes.astrometry_sky import wcs_to_header
from lightwatch.report import aavso, table_files
from lightwatch.report.check_star import CheckStar
from lightwatch.report.exports import export_light_curves
from lightwatch.report.light_curve_table import light_curve_rows, light_curve_table, metadata
from lightwatch.report.places import with_places
from lightwatch.structure import queries, queries_overview, queries_report, schema
from lightwatch.structure.database import transaction
from lightwatch.structure.light_curve_columns import LIGHT_CURVE, NIGHTLY
from lightwatch.structure.light_curve_files import write_light_curves

#: a reader that stumbles over a unit of ours is told apart from one that is asked not to mind
pytestmark = pytest.mark.filterwarnings("error::astropy.units.UnitsWarning")

NAMES = [column.name for column in LIGHT_CURVE]
TABLES = ["ecsv", "fits", "votable", "csv", "parquet"]


@pytest.fixture(scope="module")
def workspace(make_workdir, tmp_path_factory):
    """A complete workdir whose frames have a WCS, but for the last one of the filter."""
    workspace = make_workdir(tmp_path_factory.mktemp("exported") / "work")
    frames = schema.frames
    sources = schema.point_sources
    with transaction(workspace.engine) as connection:
        north = update(sources).where(sources.c.name == "B_1").values(dec=CENTRE[1] + 1e-4)
        connection.execute(north)
        for frame_id in (1, 2, 3, 4, 5, 6, 7):
            cards = wcs_to_header(wcs_of(frame_id))
            connection.execute(update(frames).where(frames.c.id == frame_id).values(wcs=cards))
    return workspace


def wcs_of(frame_id: int) -> WCS:
    """One that shifts the sky by a pixel per frame."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = list(CENTRE)
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    wcs.wcs.crpix = [40.0 + frame_id, 30.0]
    return wcs


@pytest.fixture(scope="module")
def rows(workspace):
    told = with_places(workspace.reader, light_curve_rows(workspace))
    return [row for row in told if row["filter"] == "r"]


def test_the_relative_errors_are_those_of_the_points(workspace):
    """The line at a run's end asks for these alone, not for whole light curves."""
    told = [error for (error,) in queries.stream(workspace.reader, queries_report.relative_errors())]
    points = light_curve_rows(workspace)
    expected = [row["flux_uncertainty"] / row["flux"] if row["flux"] > 0 else None for row in points]
    assert len(told) == len(points) > 10
    assert sorted(error or 0.0 for error in told) == pytest.approx(sorted(error or 0.0 for error in expected))


def test_what_is_counted_of_light_curves_is_what_the_view_has(make_workdir, tmp_path):
    """The status and a run's end ask without the view's joins: left out, too, is what an older setting gave."""
    workspace = make_workdir(tmp_path / "w")
    flux, frames = schema.roi_flux, schema.frames
    view = text("SELECT flags, count(*) AS n FROM light_curves GROUP BY flags ORDER BY flags")
    errors = text("SELECT count(*) AS n FROM light_curves")
    changes = [
        update(flux).where(flux.c.frame_id == 1).values(flags=64),
        update(frames).where(frames.c.id == 2).values(eliminated=1),
        update(flux).where(flux.c.frame_id == 3).values(flux=None),
        update(flux).where(flux.c.frame_id == 4).values(recipe="older"),
    ]
    numbers = []
    for change in changes:
        with transaction(workspace.engine) as connection:
            connection.execute(change)
        told = queries.rows(workspace.reader, queries_overview.flags_of_points())
        with workspace.reader.connect() as connection:
            assert sorted((row["flags"], row["n"]) for row in told) == [
                tuple(row) for row in connection.execute(view)
            ]
            numbers.append(connection.execute(errors).scalar_one())
        assert len(queries.rows(workspace.reader, queries_report.relative_errors())) == numbers[-1]
    assert sorted(numbers, reverse=True) == numbers
    assert len(set(numbers)) == len(changes)
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.combined_footprint).values(is_current=0))
    assert queries.rows(workspace.reader, queries_overview.flags_of_points()) == []


def _same(table: Table, rows) -> None:
    told = light_curve_table(rows)
    assert list(table.colnames) == NAMES
    for column in LIGHT_CURVE:
        got, expected = np.ma.asarray(table[column.name]), np.asarray(told[column.name])
        if column.kind == "text":
            # readers take an empty cell for a missing one
            assert [str(value) for value in got.filled("")] == [str(value) for value in expected]
        else:
            fill = np.nan if column.kind == "number" else 0
            np.testing.assert_array_equal(got.filled(fill), expected)


def test_names_are_not_mixed_up_by_underscores(workspace, rows):
    assert {row["point_source"] for row in rows} == {"A", "B_1"}
    assert len(rows) == 16


def _same_meanings(table: Table) -> None:
    """Units, descriptions and UCDs as the dictionary of columns has them.

    Units are compared by name: VOUnits has no electron, and astropy takes the one of the file for another one.
    """
    for column in LIGHT_CURVE:
        got = table[column.name]
        assert str(got.unit or "") == str(u.Unit(column.unit)), column.name
        assert not isinstance(got.unit, u.UnrecognizedUnit)
        assert " ".join(got.description.split()) == column.description  # XML may break lines
        assert got.meta["ucd"] == column.ucd


def test_places_are_those_of_the_wcs(rows):
    """The first source is in the middle of the projection, the other 1e-4 deg, a pixel, to the north."""
    for row in rows:
        if row["frame_id"] == 8:
            assert (row["x"], row["y"]) == (None, None)
        else:
            north = {"A": 0.0, "B_1": 1.0}[row["point_source"]]
            assert row["x"] == pytest.approx(39.0 + row["frame_id"], abs=1e-6)
            assert row["y"] == pytest.approx(29.0 + north, abs=1e-6)
    assert {row["frame_id"] for row in rows} == set(range(1, 9))


def test_covariates_that_people_detrend_with_are_there():
    assert {"airmass", "x", "y", "dx", "dy", "seeing_arcseconds", "sky_level_electron_per_second"} <= set(
        NAMES
    )
    assert {"normalization_coefficient", "psf_chi2", "local_background"} <= set(NAMES)


def test_ecsv(workspace, rows, tmp_path):
    paths = export_light_curves(workspace, tmp_path, ["ecsv"])
    assert sorted(p.name for p in paths) == ["J0248_i.ecsv", "J0248_r.ecsv"]
    table = Table.read(tmp_path / "J0248_r.ecsv")
    _same(table, rows)
    _same_meanings(table)
    assert table["flux"].unit == u.electron / u.s
    assert (table.meta["TIMESYS"], table.meta["MAGSYS"], table.meta["MAGBAND"]) == ("TDB", "AB", "r_sdss")


def test_fits(workspace, rows, tmp_path):
    export_light_curves(workspace, tmp_path, ["fits"])
    with fits.open(tmp_path / "J0248_r.fits", checksum=True) as hdus:
        header = hdus["LIGHTCURVE"].header
        assert header["TIMESYS"] == "TDB"
        assert header["ZPTMAG"] == pytest.approx(27.0)
        assert header["ZPTMUCER"] == pytest.approx(0.02)
        for number, column in enumerate(LIGHT_CURVE, start=1):
            assert header.get(f"TUNIT{number}", "") == column.unit
            assert header[f"TUCD{number}"] == column.ucd
            assert header[f"TCOMM{number}"] == column.description
    # the standard has no electron: its unit alone is one that a reader must be asked not to mind
    table = Table.read(tmp_path / "J0248_r.fits", unit_parse_strict="silent")
    _same(table, rows)
    strange = {str(c.unit) for c in table.columns.values() if isinstance(c.unit, u.UnrecognizedUnit)}
    assert strange == {"electron/s"}


def test_votable(workspace, rows, tmp_path):
    export_light_curves(workspace, tmp_path, ["votable"])
    path = tmp_path / "J0248_r.vot"
    document = votable.parse(path, verify="exception")
    field = {f.name: f for f in document.get_first_table().fields}
    assert field["bjd_tdb"].ref == "bjd"
    assert field["mjd"].ref == "mjd_utc"
    scales = {
        system.ID: (system.timescale, system.timeorigin) for system in document.resources[0].time_systems
    }
    assert scales == {"bjd": ("TDB", 0.0), "mjd_utc": ("UTC", 2400000.5)}
    assert "TIMESYS=TDB" in document.get_first_table().description
    _same(document.get_first_table().to_table(use_names_over_ids=True), rows)
    _same_meanings(with_ucd(Table.read(path), field))


def with_ucd(table: Table, fields) -> Table:
    """What Table.read makes of a VOTable, with the UCDs where ECSV has them."""
    for name in table.colnames:
        table[name].meta["ucd"] = fields[name].ucd
    return table


def test_csv(workspace, rows, tmp_path):
    paths = export_light_curves(workspace, tmp_path, ["csv"])
    assert tmp_path / "light_curve_columns.csv" in paths
    with (tmp_path / "J0248_r.csv").open(newline="") as stream:
        got = list(csv.DictReader(stream))
    assert list(got[0]) == NAMES
    for column in LIGHT_CURVE:
        told = light_curve_table(rows)[column.name]
        if column.kind == "number":
            np.testing.assert_array_equal([float(row[column.name] or "nan") for row in got], told)
        else:
            assert [row[column.name] for row in got] == [str(value) for value in told]
    limit = next(row for row in got if row["mag_limit"])
    assert limit["mag"] == ""
    with (tmp_path / "light_curve_columns.csv").open(newline="") as stream:
        meanings = {row["name"]: row for row in csv.DictReader(stream)}
    for column in LIGHT_CURVE:
        told = {
            "name": column.name,
            "unit": column.unit,
            "ucd": column.ucd,
            "description": column.description,
        }
        assert meanings[column.name] == told


def test_parquet(workspace, rows, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    export_light_curves(workspace, tmp_path, ["parquet"])
    table = parquet.read_table(tmp_path / "J0248_r.parquet")
    assert table.column_names == NAMES
    for column in LIGHT_CURVE:
        if column.name in rows[0]:
            assert table.column(column.name).to_pylist() == [row[column.name] for row in rows]
        told = {"unit": column.unit, "ucd": column.ucd, "description": column.description}
        about = table.schema.field(column.name).metadata
        assert {key.decode(): value.decode() for key, value in about.items()} == told
    assert table.schema.metadata[b"TIMESYS"] == b"TDB"


def test_aavso_fields_have_their_widths(workspace, rows, tmp_path):
    export_light_curves(workspace, tmp_path, ["aavso"], observer_code="XYZ")
    lines = (tmp_path / "J0248_r_aavso.txt").read_text().splitlines()
    assert all(lines)
    assert lines[:6] == [
        "#TYPE=EXTENDED", "#OBSCODE=XYZ", "#SOFTWARE=lightwatch 0.1.0", "#DELIM=,", "#DATE=JD", "#OBSTYPE=CCD"
    ]  # fmt: skip
    data = [line.split(",") for line in lines if not line.startswith("#")]
    good = [row for row in rows if not row["flags"] & DOUBTFUL]
    assert len(data) == len(good) < len(rows)
    for fields, row in zip(data, good, strict=True):
        assert len(fields) == 15
        for value, width in zip(fields, (30, 16, 8, 6, 5, 3, 3, 20, 8, 20, 8, 7, 5, 20, 1000), strict=True):
            assert 0 < len(value) <= width
        assert float(fields[1]) == pytest.approx(row["mjd"] + 2400000.5, abs=1e-6)
        sides = (row["mag_uncertainty_up"], row["mag_uncertainty_down"])
        assert fields[3] == ("na" if row["mag"] is None else f"{max(sides):.4f}")
        assert float(fields[11]) == pytest.approx(row["airmass"], abs=1e-4)
        assert "." in fields[2]
        assert fields[2].startswith("<") == (row["mag"] is None)
        assert float(fields[2].lstrip("<")) == pytest.approx(row["mag"] or row["mag_limit"], abs=1e-3)
    assert {fields[4] for fields in data} == {"SR"}
    assert {(fields[7], fields[8], fields[13]) for fields in data} == {("ENSEMBLE", "na", "gaia")}


def notes_of(fields: list[str]) -> dict[str, str]:
    """Subfields of the last field, by the convention of the format."""
    return dict(part.split("=", 1) for part in fields[14].split("|")[1:])


def test_aavso_names_a_check_star(workspace, rows, tmp_path):
    """The steady star next to the source in magnitude: A has 19.5 mag, B_1 19.9, the stars 15, 16 ... 19 and 20."""
    with transaction(workspace.engine) as connection:
        told = {"catalog": "gaia", "band": "r_sdss", "star_gaia_id": 104, "mag": 19.01, "mag_err": 0.02}
        connection.execute(schema.catalog_star_photometry.insert(), told | {"recipe": "r6", "flags": 0})
    export_light_curves(workspace, tmp_path, ["aavso"], observer_code="XYZ")
    lines = (tmp_path / "J0248_r_aavso.txt").read_text().splitlines()
    data = [line.split(",") for line in lines if not line.startswith("#")]
    fluxes = {
        row["frame_id"]: row["normalised_flux"]
        for row in queries.rows(workspace.reader, queries_report.star_fluxes_on_frames())
        if row["star_gaia_id"] == 104
    }
    assert {fields[9] for fields in data} == {"104"}, "105 varies"
    for fields in data:
        told = notes_of(fields)
        assert float(fields[10]) == pytest.approx(27 - 2.5 * np.log10(fluxes[int(told["FRAME"])]), abs=1e-4)
        assert (told["KREFMAG"], told["KREFERR"], told["ZPERR"]) == ("19.0100", "0.0200", "0.0200")
        assert fields[14].startswith("PSF photometry|BAND=r_sdss|SYSTEM=AB|FILTER=r|")


def test_a_check_star_without_a_measurement_is_not_named(workspace, rows, tmp_path):
    head = metadata(workspace, rows)
    good = [row for row in rows if row["point_source"] == "A" and not row["flags"]]
    checks = {"A": CheckStar("104", {good[0]["frame_id"]: 19.0}, None, None)}
    aavso.write_aavso(good[:2], head, checks, "X", tmp_path / "a.txt")
    first, second = (line.split(",") for line in (tmp_path / "a.txt").read_text().splitlines()[-2:])
    assert (first[9:11], notes_of(first)["KREFMAG"]) == (["104", "19.0000"], "na")
    assert (second[9:11], "KREFMAG" in notes_of(second)) == (["na", "na"], False)


@pytest.mark.parametrize(
    ("name", "band", "code"),
    [("V", "V", "V"), ("B", "B", "B"), ("Bes V 550_80", "V", "V"), ("", "V", "V"), ("Astrodon 3", "Ic", "I"),
     ("rp", "r_sdss", "SR"), ("i", "r_sdss", "O"), ("R", "V", "O"), ("Clear", "V", "CV"), ("Clear", "r_sdss", "O"),
     ("Clear", "G", "O"), ("V", "V_T", "O")],
)  # fmt: skip
def test_aavso_code_of_a_filter(name, band, code):
    assert aavso.filter_code(name, band) == code


def test_aavso_file_says_how_fluxes_were_measured(workspace, rows, tmp_path):
    row = next(row for row in rows if row["mag"] is not None and not row["flags"])
    aperture = {**row, "flux_kind": "aperture", "reduced_chi2": None}
    aavso.write_aavso([aperture], metadata(workspace, [aperture]), {"A": None}, "X", tmp_path / "a.txt")
    text = (tmp_path / "a.txt").read_text()
    assert "\n#Measured by aperture photometry against the reference stars of the catalogue gaia;" in text
    assert ",aperture photometry|BAND=" in text


@pytest.mark.parametrize(
    ("value", "width"), [(1.2345678, 6), (12345.678, 7), (-1.5, 8), (99.99999, 6), (1e9, 7)]
)
def test_aavso_numbers_never_exceed_their_width(value, width):
    text = aavso._fitting(value, width, decimals=4)
    assert len(text) <= width
    assert text == "na" or ("." in text and float(text) == pytest.approx(value, rel=1e-2))


def test_aavso_name_keeps_the_label():
    assert aavso.star_name("J" * 60, "B_1") == "J" * 26 + " B_1"
    assert len(aavso.star_name("x", "y" * 99)) == 30
    assert aavso.star_name("a,b", "a,b") == "a b"


def test_nightly_means(workspace, rows, tmp_path):
    export_light_curves(workspace, tmp_path, ["ecsv"], nightly=True)
    table = Table.read(tmp_path / "J0248_r_nightly.ecsv")
    bright = table[table["point_source"] == "A"]
    flux = np.array([row["flux"] for row in rows if row["point_source"] == "A"])
    # the second point of the first night is doubtful and takes no part
    expected = [flux[0], *flux[2:].reshape(-1, 2).mean(axis=1)]
    np.testing.assert_allclose(bright["flux"], expected)
    np.testing.assert_allclose(bright["bjd_tdb"] - bright["mjd"], 2400000.505, atol=1e-6)


def test_nightly_means_in_every_format(workspace, tmp_path):
    export_light_curves(workspace, tmp_path, TABLES, nightly=True)
    stem = tmp_path / "J0248_r_nightly"
    expected = Table.read(stem.with_suffix(".ecsv"))
    assert expected.colnames == [column.name for column in NIGHTLY]
    for table in readings(stem).values():
        for column in NIGHTLY:
            got, told = table[column.name], expected[column.name]
            if column.kind == "text":
                assert list(got) == list(told)
            else:
                values = [np.ma.filled(np.ma.asarray(c, dtype=float), np.nan) for c in (got, told)]
                np.testing.assert_array_equal(*values)


def readings(stem: Path) -> dict[str, Table]:
    """What the reader of each format makes of a light curve's file."""
    parquet = pytest.importorskip("pyarrow.parquet")
    return {
        "ecsv": Table.read(stem.with_suffix(".ecsv")),
        "fits": Table.read(stem.with_suffix(".fits"), unit_parse_strict="silent"),
        "votable": Table.read(stem.with_suffix(".vot")),
        "csv": Table.read(stem.with_suffix(".csv"), format="ascii.csv"),
        "parquet": Table(parquet.read_table(stem.with_suffix(".parquet")).to_pydict()),
    }


def heads(stem: Path) -> dict[str, dict[str, str]]:
    """What the formats that have a place for it say of the whole."""
    parquet = pytest.importorskip("pyarrow.parquet")
    described = votable.parse(stem.with_suffix(".vot")).get_first_table().description
    metadata = parquet.read_schema(stem.with_suffix(".parquet")).metadata
    return {
        "ecsv": {key: str(value) for key, value in Table.read(stem.with_suffix(".ecsv")).meta.items()},
        "fits": {key: str(value) for key, value in fits.getheader(stem.with_suffix(".fits"), 1).items()},
        "votable": dict(part.split("=", 1) for part in " ".join(described.split()).split("; ")),
        "parquet": {key.decode(): value.decode() for key, value in metadata.items()},
    }


@pytest.mark.parametrize("ending", ["", "_nightly"])
def test_every_format_tells_scale_method_and_zero_point(workspace, tmp_path, ending):
    export_light_curves(workspace, tmp_path, TABLES, nightly=True)
    for name, told in heads(tmp_path / f"J0248_r{ending}").items():
        assert (told["TIMESYS"], told["TREFPOS"], told["FLUXKIND"]) == ("TDB", "BARYCENTER", "psf"), name
        assert (float(told["ZPTMAG"]), float(told["ZPTMUCER"])) == pytest.approx((27.0, 0.02)), name


def test_nightly_means_keep_units_and_meanings(workspace, tmp_path):
    export_light_curves(workspace, tmp_path, TABLES, nightly=True)
    found = readings(tmp_path / "J0248_r_nightly")
    header = fits.getheader(tmp_path / "J0248_r_nightly.fits", 1)
    for number, column in enumerate(NIGHTLY, start=1):
        for name in ("ecsv", "votable"):
            assert str(found[name][column.name].unit or "") == str(u.Unit(column.unit)), (name, column.name)
            assert " ".join(found[name][column.name].description.split()) == column.description
        told = (header.get(f"TUNIT{number}", ""), header[f"TUCD{number}"], header[f"TCOMM{number}"])
        assert told == (column.unit, column.ucd, column.description)


def test_names_in_any_script_in_every_format(make_workdir, tmp_path):
    sources = ("\u00c4 1", "x/y")
    workspace = make_workdir(tmp_path / "work", n_frames=3, roi="\u03b1 Ori / b", sources=sources)
    paths = export_light_curves(workspace, tmp_path / "out", [*TABLES, "aavso"], observer_code="X")
    stem = next(path.with_suffix("") for path in paths if path.suffix == ".ecsv")
    assert stem.name.isascii()
    for name, table in readings(stem).items():
        escaped = name == "fits"  # the standard has ASCII alone
        assert set(table["point_source"]) == {r"\xc4 1" if escaped else sources[0], "x/y"}, name
        assert set(table["roi"]) == {r"\u03b1 Ori / b" if escaped else "\u03b1 Ori / b"}, name
    text = stem.with_name(f"{stem.name}_aavso.txt").read_text(encoding="ascii")
    assert {line.split(",")[0] for line in text.splitlines() if line[0] != "#"} == {
        "? Ori / b ? 1",
        "? Ori / b x/y",
    }


def test_a_light_curve_of_doubtful_points_alone(make_workdir, tmp_path):
    """Its points are there with their flags, its nights and its AAVSO file are empty, and all can be read."""
    workspace = make_workdir(tmp_path / "work", n_frames=3)
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.roi_flux).values(flags=int(Flag.POOR_FIT)))
    export_light_curves(workspace, tmp_path / "out", [*TABLES, "aavso"], nightly=True)
    for name, table in readings(tmp_path / "out" / "J0248_r").items():
        assert set(table["flags"]) == {256}, name
    for name, table in readings(tmp_path / "out" / "J0248_r_nightly").items():
        assert len(table) == 0, name
        assert table.colnames == [column.name for column in NIGHTLY], name
    lines = (tmp_path / "out" / "J0248_r_aavso.txt").read_text().splitlines()
    assert all(line.startswith("#") for line in lines)
    assert "left out: 4 doubtful points" in " ".join(lines)


@pytest.mark.parametrize("payload", ['=cmd|"/c calc"!A1', "+1+1", "@SUM(A1)", "-2+3", "\t=1", "x\n=1"])
def test_csv_cells_are_no_formulas(make_workdir, tmp_path, payload):
    workspace = make_workdir(tmp_path / "work", n_frames=3, sources=(payload,))
    (path, *_rest) = export_light_curves(workspace, tmp_path / "out", ["csv"])
    with path.open(newline="") as stream:
        cells = [row["point_source"] for row in csv.DictReader(stream)]
    assert cells
    assert not any(cell[0] in "=+-@\t\r" or "\n" in cell for cell in cells)


def test_file_names_hold_nothing_hostile(make_workdir, tmp_path):
    roi = "../../etc/x"
    workspace = make_workdir(tmp_path / "work", n_frames=3, roi=roi)
    paths = export_light_curves(workspace, tmp_path / "out", ["ecsv", "fits", "votable", "aavso"])
    assert {path.parent for path in paths} == {tmp_path / "out"}
    path = next(p for p in paths if p.suffix == ".fits")
    assert Table.read(path, unit_parse_strict="silent")["roi"][0] == roi


def test_problems_are_told_together(workspace, tmp_path):
    with pytest.raises(ConfigError, match="unknown format 'xls'") as error:
        export_light_curves(workspace, tmp_path, ["xls"], roi="nowhere")
    assert len(error.value.problems) == 2
    assert not list(tmp_path.iterdir())


def test_parquet_without_its_library_stops_no_other_format(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(table_files, "has_parquet", lambda: False)
    with pytest.raises(ConfigError, match="pip install pyarrow; the other formats are in"):
        export_light_curves(workspace, tmp_path, ["parquet", "ecsv"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["J0248_i.ecsv", "J0248_r.ecsv"]


def test_aavso_tells_why_points_are_left_out(workspace, rows, tmp_path):
    head = metadata(workspace, rows)
    row = next(row for row in rows if row["mag"] is not None and not row["flags"])
    unknown = {**row, "mag": None, "mag_limit": None}
    bad = {**row, "flags": int(DOUBTFUL)}
    aavso.write_aavso([row, unknown, bad, bad], head, {row["point_source"]: None}, "X", tmp_path / "a.txt")
    assert "left out: 2 doubtful points, 1 without magnitude or limit" in (tmp_path / "a.txt").read_text()


def test_labels_in_any_script(tmp_path):
    rows = [
        {
            "point_source": "\u03b1\U0001f52d\n=1",
            "frame_id": 1,
            "filter": "r",
            "mjd": 1.0,
            "flux": 1.0,
            "flags": 0,
        }
    ]
    ecsv, table = write_light_curves(tmp_path, "x", rows)
    assert Table.read(ecsv)["point_source"][0] == "\u03b1\U0001f52d =1"
    assert Table.read(table, unit_parse_strict="silent")["point_source"][0] == r"\u03b1\U0001f52d =1"


def test_nothing_to_export(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=2, steps=("frames", "recipes"))
    with pytest.raises(NoUsableData):
        export_light_curves(workspace, tmp_path / "out", ["ecsv"])


@pytest.mark.parametrize("columns", [LIGHT_CURVE, NIGHTLY])
def test_column_dictionary_is_complete(columns):
    assert len({column.name for column in columns}) == len(columns)
    for column in columns:
        assert column.description
        assert check_ucd(column.ucd, check_controlled_vocabulary=True)
        u.Unit(column.unit)


@pytest.mark.parametrize(
    ("words", "told"), [(["--nightly"], True), (["--format", "aavso"], True), ([], False)]
)
def test_the_command_says_how_many_points_are_left_out(workspace, tmp_path, capsys, words, told):
    rows = light_curve_rows(workspace)
    with pytest.raises(SystemExit) as end:
        cli.main(["export", str(workspace.workdir), "--out", str(tmp_path), *words])
    assert not end.value.code
    doubtful = sum(bool(row["flags"] & DOUBTFUL) for row in rows)
    assert doubtful
    err = capsys.readouterr().err
    assert (f"{doubtful} of {len(rows)} points are doubtful" in err) == told
    assert ("lack your observer code (OBSCODE)" in err) == ("aavso" in words)


def test_an_observer_code_is_written_as_it_was_given(workspace, tmp_path, capsys):
    words = ["--out", str(tmp_path), "--format", "aavso", "--observer", "ABCD"]
    with pytest.raises(SystemExit):
        cli.main(["export", str(workspace.workdir), *words])
    assert "OBSCODE" not in capsys.readouterr().err
    assert "\n#OBSCODE=ABCD\n" in (tmp_path / "J0248_r_aavso.txt").read_text()


def test_instrumental_magnitudes_are_no_aavso_file(make_workdir, tmp_path, capsys):
    """They would be submitted as standard ones; the other formats of the command are written."""
    workspace = make_workdir(tmp_path / "work", n_frames=4)
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.absolute_zeropoints).values(system="instrumental"))
    out = tmp_path / "out"
    words = ["--out", str(out), "--format", "ecsv", "--format", "aavso", "--observer", "X"]
    with pytest.raises(SystemExit) as end:
        cli.main(["export", str(workspace.workdir), *words])
    assert end.value.code == 78
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aavso: these magnitudes are on a scale of the frames' own (instrumental)")
    assert "set reference_stars.catalog to a catalogue" in line
    assert line.endswith(f"; the other formats are in {out}")
    written = {path.suffix for path in out.iterdir()}
    assert written == {".ecsv"}
    (path, *_) = out.glob("*.ecsv")
    assert Table.read(path).meta["MAGSYS"] == "instrumental"
