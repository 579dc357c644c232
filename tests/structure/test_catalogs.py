"""Reference catalogues: tables on disk, a local TAP server with bad manners, the cache."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import numpy as np
import pytest
from astropy.table import Table

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

RA, DEC = 42.2031, 19.22528


def gaia_like(n=40, seed=5):
    rng = np.random.default_rng(seed)
    return {
        "source_id": rng.permutation(n).astype(np.int64) + 4_611_686_018_427_387_904,
        "ra": RA + rng.uniform(-0.05, 0.05, n),
        "dec": DEC + rng.uniform(-0.05, 0.05, n),
        "ref_epoch": np.full(n, 2016.0),
        "pmra": np.where(np.arange(n) % 7 == 0, np.nan, rng.normal(0, 5, n)),
        "pmdec": rng.normal(0, 5, n),
        "phot_g_mean_mag": rng.uniform(12, 20, n),
        "phot_g_mean_flux_over_error": rng.uniform(100, 5000, n),
        "astrometric_excess_noise_sig": rng.exponential(1, n),
    }


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


def votable(table, status="OK"):
    out = io.BytesIO()
    table.write(out, format="votable", tabledata_format="binary2")
    info = f'<INFO name="QUERY_STATUS" value="{status}">said so</INFO>'.encode()
    return re.sub(rb"(<RESOURCE[^>]*>)", rb"\1" + info, out.getvalue(), count=1)


class FakeTap(BaseHTTPRequestHandler):
    """Behaves as the first part of the path says."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.respond("GET")

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.bodies.append(parse_qs(self.rfile.read(length).decode()))
        self.respond("POST")

    def respond(self, method):
        behaviour, _, rest = self.path.strip("/").partition("/")
        self.server.asked.append((method, behaviour, rest))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, behaviour)(rest)

    def send(self, body, status=200, kind="application/x-votable+xml", length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def ok(self, rest):
        self.send(votable(Table(self.server.columns)))

    def zero(self, rest):
        self.send(votable(Table(self.server.columns)[:0]))

    def html(self, rest):
        self.send(b"<!DOCTYPE html><html><body>maintenance</body></html>", kind="text/html")

    def truncated(self, rest):
        body = votable(Table(self.server.columns))
        self.send(body[: len(body) // 2])

    def broken(self, rest):
        body = votable(Table(self.server.columns))
        self.send(body[: len(body) // 2], length=len(body))

    def refused(self, rest):
        self.send(votable(Table(self.server.columns)[:0], status="ERROR"))

    def bad_request(self, rest):
        self.send(b"no such table", status=400, kind="text/plain")

    def error500(self, rest):
        self.send(b"oops", status=500, kind="text/plain")

    def recovers(self, rest):
        seen = sum(behaviour == "recovers" for _, behaviour, _ in self.server.asked)
        self.error500(rest) if seen < 3 else self.ok(rest)

    def silent(self, rest):
        time.sleep(3)

    def drips(self, rest):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.1)

    def endless(self, rest):
        self.send_response(200)
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b"<VOTABLE>" + b" " * 100_000)

    def queue(self, rest):
        """Cuts synchronous answers short and holds the whole in a job."""
        if rest == "sync":
            self.send(votable(Table(self.server.columns)[:5], status="OVERFLOW"))
        elif rest == "async":
            self.send_response(303)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/queue/async/17")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif rest == "async/17/phase":
            seen = sum(asked == "async/17/phase" for _, _, asked in self.server.asked)
            self.send(b"EXECUTING" if seen < 2 else b"COMPLETED", kind="text/plain")
        elif rest == "async/17/results/result":
            self.ok(rest)
        else:
            self.send(b"<job/>", kind="text/xml")


@pytest.fixture
def tap(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeTap)
    server.daemon_threads = True
    server.asked, server.bodies, server.columns = [], [], gaia_like()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def service(tap, behaviour, name="gaia"):
    return replace(GAIA_SERVICES[0], name=name, url=f"http://127.0.0.1:{tap.server_port}/{behaviour}")


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
    ],
)
def test_bad_manners_are_told_and_the_mirror_is_asked(tap, tmp_path, behaviour, told):
    with pytest.raises(CatalogError, match=told) as raised:
        ask([service(tap, behaviour)], tmp_path)
    assert raised.value.reason_code == "network"
    assert list(tmp_path.iterdir()) == []
    catalog = ask([service(tap, behaviour), service(tap, "ok", "mirror")], tmp_path)
    assert len(catalog) == 40


def test_zero_rows_are_no_stars_unless_the_mirror_has_some(tap):
    with pytest.raises(CatalogError) as raised:
        ask([service(tap, "zero"), service(tap, "zero", "mirror")])
    assert raised.value.reason_code == "no_stars"
    assert len(ask([service(tap, "zero"), service(tap, "ok", "mirror")])) == 40


def test_server_that_is_down(tap):
    nowhere = TapService("gaia", "http://127.0.0.1:9/tap", "t", GAIA_SERVICES[0].columns)
    with pytest.raises(CatalogError, match="no connection") as raised:
        ask([nowhere], attempts=2)
    assert raised.value.reason_code == "network"
    assert len(ask([nowhere, service(tap, "ok", "mirror")])) == 40


def test_errors_that_pass_are_retried(tap):
    assert len(ask([service(tap, "recovers")], attempts=3)) == 40
    assert len(tap.asked) == 3


def test_dripping_server_cannot_outlast_the_budget(tap):
    started = time.monotonic()
    with pytest.raises(CatalogError, match="too slow"):
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
