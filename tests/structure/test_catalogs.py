"""Reference catalogues: tables on disk, a local TAP server with bad manners, the cache."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from reliability.fake_tap import DEC, NOWHERE, RA, fake_tap, gaia_like

from lightwatch.errors import CatalogError, StorageError
from lightwatch.structure.catalogs import (
    GAIA_SERVICES,
    NetworkSettings,
    TapService,
    load_catalog,
    make_catalog,
    read_catalog,
    write_catalog,
)
from lightwatch.structure.catalogs_table import COLUMNS
from lightwatch.structure.catalogs_tap import Cone, adql


def same(first, second):
    return all(
        np.array_equal(getattr(first, c), getattr(second, c), equal_nan=c != "source_id") for c in COLUMNS
    )


# ------------------------------------------------------------------ tables


@pytest.mark.parametrize("name", ["s.csv", "s.ecsv", "s.fits", "s.vot", "s.parquet", "s.csv.gz"])
def test_every_format_gives_the_same_catalogue(tmp_path, name):
    columns = gaia_like()
    table = Table(columns)
    if name.endswith(".gz"):
        import gzip

        text = io.StringIO()
        table.write(text, format="ascii.csv")
        (tmp_path / name).write_bytes(gzip.compress(text.getvalue().encode()))
    else:
        formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".vot": "votable"}
        suffix = (tmp_path / name).suffix
        if suffix == ".parquet":
            parquet = pytest.importorskip("pyarrow.parquet")
            import pyarrow

            plain = {key: pyarrow.array(value, mask=value != value) for key, value in columns.items()}
            parquet.write_table(pyarrow.table(plain), tmp_path / name)
        else:
            table.write(tmp_path / name, format=formats.get(suffix, suffix[1:]))
    catalog = read_catalog(tmp_path / name)
    expected = make_catalog(columns, name="s", release="")
    assert same(catalog, expected)
    assert catalog.digest == expected.digest
    assert catalog.name == "s"
    assert np.isnan(catalog.pmra).sum() == 6
    assert np.isnan(catalog.phot_variable).all()
    assert not catalog.ra.flags.writeable


def test_digest_ignores_order_and_notices_values():
    columns = gaia_like()
    reference = make_catalog(columns, name="a", release="x").digest
    order = np.random.default_rng(0).permutation(40)
    shuffled = {key: value[order] for key, value in columns.items()}
    assert make_catalog(shuffled, name="b", release="").digest == reference
    for column in columns:
        changed = {key: value.copy() for key, value in columns.items()}
        changed[column][3] = changed[column][3] + 1000 if column == "source_id" else 1.5
        assert make_catalog(changed, name="a", release="x").digest != reference


def test_bundle_is_read_back_unchanged(tmp_path):
    catalog = make_catalog(gaia_like(), name="gaia", release="gaia_dr3")
    write_catalog(tmp_path / "new" / "bundle.ecsv", catalog, comments=("a cone",))
    back = read_catalog(tmp_path / "new" / "bundle.ecsv")
    assert same(back, catalog)
    assert (back.name, back.release) == ("gaia", "gaia_dr3")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bundle.ecsv"]


def test_unwritable_place_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        write_catalog(tmp_path / "file" / "x.ecsv", make_catalog(gaia_like(), name="g", release=""))


def test_minimal_csv_with_empty_cells_and_other_case(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("SOURCE_ID,RA,Dec,phot_g_mean_mag,pmra,note\n5,10.5,-3,,,x\n3,11,-3.5,12.5,1.5,y\n")
    catalog = read_catalog(path)
    assert catalog.source_id.tolist() == [3, 5]
    assert catalog.phot_g_mean_mag.tolist()[0] == 12.5
    assert np.isnan(catalog.phot_g_mean_mag[1])
    assert np.isnan(catalog.pmra[1])


def test_units_are_converted_and_variability_understood(tmp_path):
    table = Table({"source_id": ["Gaia DR3 123", "7"], "ra": [1.0, 2.0], "dec": [0.1, 0.2]})
    table["ra"].unit = table["dec"].unit = "rad"
    table["phot_g_mean_mag"] = [10.0, 11.0]
    table["phot_variable_flag"] = ["VARIABLE", "NOT_AVAILABLE"]
    table.write(tmp_path / "u.ecsv", format="ascii.ecsv")
    catalog = read_catalog(tmp_path / "u.ecsv")
    assert catalog.source_id.tolist() == [7, 123]
    assert catalog.ra == pytest.approx(np.degrees([2.0, 1.0]))
    assert catalog.phot_variable[1] == 1.0
    assert np.isnan(catalog.phot_variable[0])


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("source_id,ra,dec\n1,2,3\n", "bad_table", "phot_g_mean_mag"),
        ("source_id,ra,dec,phot_g_mean_mag\n1,2,3,4\n2,2,95,4\n", "bad_table", "column dec, row 2: 95"),
        ("source_id,ra,dec,phot_g_mean_mag\n1,,3,4\n", "bad_table", "column ra, row 1"),
        ("source_id,ra,dec,phot_g_mean_mag\n1,x,3,4\n", "bad_table", "column ra, row 1: x"),
        ("source_id,ra,dec,phot_g_mean_mag\n1,2,3,4\n1,2,4,4\n", "bad_table", "source_id, row 1"),
        ("source_id,ra,dec,phot_g_mean_mag\n4.6e18,2,3,4\n", "bad_table", "source_id, row 1"),
        ("source_id,ra,dec,phot_g_mean_mag\n1,2,3,99\n", "bad_table", "phot_g_mean_mag, row 1: 99"),
        ("source_id,ra,dec,phot_g_mean_mag\n", "no_stars", "no star"),
        ("<html><body>Log in</body></html>", "bad_table", "no column"),
        ("", "bad_table", "stars.csv"),
        ("\x00\x01\x02", "bad_table", "stars.csv"),
    ],
)
def test_wrong_tables_name_file_column_and_row(tmp_path, text, code, told):
    path = tmp_path / "stars.csv"
    path.write_text(text)
    with pytest.raises(CatalogError, match=re.escape(told)) as raised:
        read_catalog(path)
    assert raised.value.reason_code == code
    assert "stars.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(CatalogError) as raised:
        read_catalog(tmp_path / "none.csv")
    assert raised.value.reason_code == "missing_file"
    (tmp_path / "x.doc").write_text("")
    with pytest.raises(CatalogError, match=r"known are \.csv"):
        read_catalog(tmp_path / "x.doc")


def test_cone_across_ra_zero_and_at_the_pole():
    columns = {
        "source_id": [1, 2, 3, 4],
        "ra": [359.99, 0.01, 180.0, 90.0],
        "dec": [0.0, 0.0, 89.99, 89.0],
        "phot_g_mean_mag": [10.0] * 4,
    }
    catalog = make_catalog(columns, name="c", release="")
    assert catalog.cone(0.0, 0.0, 0.02).source_id.tolist() == [1, 2]
    assert catalog.cone(0.0, 89.99, 0.021).source_id.tolist() == [3]
    assert len(catalog.cone(0.0, 0.0, 180.0)) == 4


def test_offline_table_through_load_catalog(tmp_path):
    Table(gaia_like()).write(tmp_path / "g.csv", format="ascii.csv")
    settings = {"cache_dir": None, "network": network([]), "ra_deg": RA, "dec_deg": DEC}
    region = load_catalog(str(tmp_path / "g.csv"), radius_deg=0.02, faintest_g_mag=18.0, **settings)
    assert 0 < len(region) < 40
    assert region.phot_g_mean_mag.max() <= 18.0
    settings["dec_deg"] = -50.0
    with pytest.raises(CatalogError) as raised:
        load_catalog(str(tmp_path / "g.csv"), radius_deg=0.02, faintest_g_mag=None, **settings)
    assert raised.value.reason_code == "no_stars"


# ------------------------------------------------------------------ network


@pytest.fixture
def tap(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with fake_tap(gaia_like()) as server:
        yield server


def service(tap, behaviour, name="gaia"):
    return replace(GAIA_SERVICES[0], name=name, url=tap.url(behaviour))


def network(services, **changes):
    settings = {
        "enabled": True,
        "services": tuple(services),
        "connect_timeout_s": 1.0,
        "read_timeout_s": 0.5,
        "total_timeout_s": 10.0,
        "attempts": 1,
        "max_bytes": 2_000_000,
        "max_rows": 1000,
    }
    return NetworkSettings(**(settings | changes))


def ask(services, cache_dir=None, source="gaia", radius_deg=0.2, faintest_g_mag=None, **changes):
    return load_catalog(
        source,
        ra_deg=RA,
        dec_deg=DEC,
        radius_deg=radius_deg,
        faintest_g_mag=faintest_g_mag,
        cache_dir=cache_dir,
        network=network(services, **changes),
    )


def test_answer_is_the_catalogue(tap):
    catalog = ask([service(tap, "ok")], faintest_g_mag=20.5)
    assert catalog.digest == make_catalog(tap.columns, name="gaia", release="gaia_dr3").digest
    assert (catalog.name, catalog.release) == ("gaia", "gaia_dr3")
    query = tap.bodies[0]["QUERY"][0]
    assert "gaiadr3.gaia_source" in query
    assert "phot_g_mean_mag <= 20.500" in query


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("html", "web page"),
        ("truncated", "truncated"),
        ("broken", "broke off"),
        ("refused", "refused: said so"),
        ("bad_request", "no such table"),
        ("error500", "status 500"),
        ("silent", "no answer in time"),
        ("endless", "longer than"),
        ("endless_header", "in time"),
        ("redirects", "redirected in circles"),
        ("bomb", "no plain VOTable"),
        ("wrong_columns", "no column phot_g_mean_mag"),
        ("not_numbers", "column dec, row 1"),
        ("gzip_bomb", "longer than"),
    ],
)
def test_bad_manners_are_told_and_the_mirror_is_asked(tap, tmp_path, behaviour, told):
    with pytest.raises(CatalogError, match=told) as raised:
        ask([service(tap, behaviour)], tmp_path, total_timeout_s=1.5)
    assert raised.value.reason_code == "network"
    assert list(tmp_path.iterdir()) == []
    catalog = ask([service(tap, behaviour), service(tap, "ok", "mirror")], tmp_path, total_timeout_s=3.0)
    assert len(catalog) == 40


def test_zero_rows_are_no_stars_unless_the_mirror_has_some(tap):
    with pytest.raises(CatalogError) as raised:
        ask([service(tap, "zero"), service(tap, "zero", "mirror")])
    assert raised.value.reason_code == "no_stars"
    assert len(ask([service(tap, "zero"), service(tap, "ok", "mirror")])) == 40


def test_server_that_is_down(tap):
    nowhere = TapService("gaia", NOWHERE, "t", GAIA_SERVICES[0].columns)
    with pytest.raises(CatalogError, match="no connection") as raised:
        ask([nowhere], attempts=2)
    assert raised.value.reason_code == "network"
    assert len(ask([nowhere, service(tap, "ok", "mirror")])) == 40


def test_errors_that_pass_are_retried(tap):
    assert len(ask([service(tap, "recovers")], attempts=3)) == 40
    assert len(tap.asked) == 3


def test_a_silent_service_leaves_time_for_its_mirror(tap):
    assert (
        len(ask([service(tap, "silent"), service(tap, "ok", "mirror")], attempts=3, total_timeout_s=1.2))
        == 40
    )


def test_a_service_that_asks_for_a_long_pause_is_left_alone(tap):
    with pytest.raises(CatalogError, match="HTTP status 503"):
        ask([service(tap, "busy")], attempts=5)
    assert len(tap.asked) == 1


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(tap):
    impostor = replace(service(tap, "ok"), url=tap.url("ok").replace("http:", "https:"))
    with pytest.raises(CatalogError, match=r"no trusted connection \(TLS\)"):
        ask([impostor])


def test_dripping_server_cannot_outlast_the_budget(tap):
    started = time.monotonic()
    with pytest.raises(CatalogError, match="in time"):
        ask([service(tap, "drips")], total_timeout_s=1.0, attempts=5)
    assert time.monotonic() - started < 2.0


def test_too_many_rows_are_refused_and_the_mirror_is_not_bothered(tap):
    with pytest.raises(CatalogError, match="smaller radius") as raised:
        ask([service(tap, "ok"), service(tap, "ok", "mirror")], max_rows=39)
    assert raised.value.reason_code == "too_many_rows"
    assert len(tap.asked) == 1


def test_short_synchronous_answers_are_completed_by_a_job(tap):
    assert len(ask([service(tap, "queue")])) == 40
    assert ("GET", "queue", "async/17/results/result") in tap.asked


def test_cache_works_without_network_and_for_a_moved_region(tap, tmp_path):
    first = ask([service(tap, "ok")], tmp_path, radius_deg=0.02)
    off = network([], enabled=False)
    same_place = load_catalog(
        "gaia",
        ra_deg=RA,
        dec_deg=DEC,
        radius_deg=0.02,
        faintest_g_mag=None,
        cache_dir=tmp_path,
        network=off,
    )
    assert same_place.digest == first.digest
    moved = load_catalog(
        "gaia",
        ra_deg=RA + 0.001,
        dec_deg=DEC - 0.001,
        radius_deg=0.021,
        faintest_g_mag=None,
        cache_dir=tmp_path,
        network=off,
    )
    assert len(moved) > 0
    assert len(tap.asked) == 1
    with pytest.raises(CatalogError) as raised:
        load_catalog(
            "gaia",
            ra_deg=10.0,
            dec_deg=DEC,
            radius_deg=0.02,
            faintest_g_mag=None,
            cache_dir=tmp_path,
            network=off,
        )
    assert raised.value.reason_code == "network_off"


def test_damaged_cache_is_asked_again(tap, tmp_path):
    ask([service(tap, "ok")], tmp_path)
    cached = next(tmp_path.glob("*.ecsv"))
    cached.write_bytes(cached.read_bytes()[:300])
    assert len(ask([service(tap, "ok")], tmp_path)) == 40
    assert len(tap.asked) == 2


def test_mirror_that_answered_goes_first_next_time(tap, tmp_path):
    services = [service(tap, "html"), service(tap, "ok", "mirror")]
    ask(services, tmp_path)
    assert not list(tmp_path.glob("*.tmp"))
    ask(services, tmp_path, radius_deg=0.3)
    assert [behaviour for _, behaviour, _ in tap.asked] == ["html", "ok", "ok"]


def test_vizier_alone_is_asked_when_wanted(tap):
    assert len(ask([service(tap, "html"), service(tap, "ok", "vizier")], source="vizier")) == 40
    assert [behaviour for _, behaviour, _ in tap.asked] == ["ok"]


def test_null_limit_is_no_cut_in_the_query():
    for each in GAIA_SERVICES:
        open_query = adql(each, Cone(1.0, -2.0, 0.1, None), 10)
        assert "<=" not in open_query
        assert "None" not in open_query
        assert "CIRCLE('ICRS', 1.000000, -2.000000, 0.100000)" in open_query
    assert '"I/355/gaiadr3"' in adql(GAIA_SERVICES[1], Cone(1.0, -2.0, 0.1, 19.0), 10)


def test_import_touches_no_network_library():
    code = (
        "import sys; import lightwatch.structure.catalogs;"
        "print([m for m in ('requests', 'astroquery', 'pyvo', 'urllib3') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.real_data
def test_tables_of_the_real_fields(shared_data):
    for field, number in (("hatp32", 27), ("pds110", 23)):
        catalog = read_catalog(shared_data / field / "stars.ecsv")
        assert len(catalog) >= number - 10
        assert np.isnan(catalog.pmra).any()
        assert np.isfinite(catalog.phot_g_mean_mag).all()
