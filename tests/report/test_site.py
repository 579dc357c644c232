"""The report: complete, self-contained, small, and deaf to what headers and file names try."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from reliability.hostile import HOSTILE, Skeleton
from sqlalchemy import insert, select, update

from lightwatch.flags import Flag
from lightwatch.report import site
from lightwatch.report.payload import colours_of
from lightwatch.report.site import script_json, write_report
from lightwatch.report.summary import tiles_of
from lightwatch.structure import schema
from lightwatch.structure.database import transaction


def _data(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


@pytest.fixture(scope="module")
def html(workspace, tmp_path_factory):
    path = write_report(workspace, tmp_path_factory.mktemp("out"))
    assert path.name == "index.html"
    return path.read_text("utf-8")


def test_every_part_is_there(html):
    ids = {value for tag, name, value in Skeleton(html).attributes if tag == "section" and name == "id"}
    assert ids == {"news", "trust", "curves", "quality", "stars", "pixels", "field", "failures", "run"}
    for text in ("too_few_stars", "psf_modeling", "no MJD", "all well", "best seeing"):
        assert text in html.replace("<wbr>", "")  # where a long name may be broken


def test_charts_hold_the_numbers_of_the_database(html, workspace):
    data = _data(html)
    curve = next(one for one in data["curves"] if one["filter"] == "r")
    bright, faint = curve["sources"]
    assert (bright["name"], faint["name"]) == ("A", "B_1")
    assert bright["flux"] == [1000.0 + 10 * k for k in range(8)]
    assert [data["frames"]["id"][i] for i in bright["frame"]] == list(range(1, 9))
    assert faint["mag"][0] is None
    assert faint["limit"][0] is not None
    assert bright["nights"]["count"] == [1, 2, 2, 2]
    assert data["frames"]["seeing"][0] == 1.1


def test_stars_scatter_as_their_noise_says(html):
    stars = next(one for one in _data(html)["stars"] if one["filter"] == "r")
    assert stars["name"] == list("abcdef")
    assert stars["disowned"] == [False] * 5 + [True]
    for mag, scatter, expected in zip(stars["mag"], stars["scatter"], stars["expected"], strict=True):
        assert 14.5 < mag < 21
        assert 0.2 < scatter / expected < 4
    line = stars["photon"]
    # the photons alone are never more than the whole noise
    assert line["noise"][0] > line["noise"][-1]


def rows_of(html: str, caption: str) -> list[list[str]]:
    """Cells of the rows of every table whose caption begins so, without tags."""
    tables = re.findall(rf"<table>\s*<caption>{caption}.*?<tbody>(.*?)</tbody>", html, re.S)
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for table in tables
        for row in re.findall(r"<tr>(.*?)</tr>", table, re.S)
    ]


def test_weight_of_single_stars_most_influence_first(html):
    rows = rows_of(html, "How much it rests on single stars")
    assert [row[0] for row in rows] == list("fedcba") * 2  # two filters
    assert rows[0][:5] == ["f", "20.00", "12", "0.24 %", "0.60 %"]
    assert rows[0][-1] == "variable"
    assert rows[5][:5] == ["a", "15.00", "12", "0.04 %", "0.10 %"]
    by_filter = {one["filter"]: one for one in _data(html)["stars"]}
    for row, name in ((rows[0], "i"), (rows[6], "r"), (rows[11], "r")):  # the numbers of the chart
        at = by_filter[name]["name"].index(row[0])
        assert row[5:7] == [f"{100 * by_filter[name][key][at]:.2f} %" for key in ("scatter", "expected")]


def test_a_column_without_entries_is_left_out(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=6)
    assert '<th scope="col">Found</th>' in site.render(workspace)
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.normalization_stars).values(flags=0))
    assert '<th scope="col">Found</th>' not in site.render(workspace)


def test_magnitudes_of_stars_of_the_frames_are_instrumental(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=6)
    assert "star b · G 16.00" in site.render(workspace)
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.combined_footprint).values(catalog_name="frames"))
        connection.execute(update(schema.absolute_zeropoints).values(system="instrumental"))
    write_report(workspace, all_frames=True)
    page = (tmp_path / "work" / "report" / "index.html").read_text("utf-8")
    for text in (page, (tmp_path / "work" / "report" / "frames" / "1.html").read_text("utf-8")):
        assert "· G 1" not in text
        assert "5σ limit, mag (instrumental)" in text
    assert "star b · instrumental mag 16.00" in page
    assert "median 5σ limit" not in page
    assert ", instrumental magnitudes</small>" in page


def test_headline_numbers_are_of_one_filter_or_say_of_which():
    def row(name: str, seeing: float, system: str | None = "AB") -> dict:
        return {"eliminated": 0, "mjd_mid": 60000.0, "filter": name, "seeing_arcseconds": seeing,
                "psf_reserved_chi2": 1.0, "limiting_magnitude": 21.0, "system": system}  # fmt: skip

    def told(*rows: dict) -> dict:
        return {label: number for number, label in tiles_of(rows, [])}

    assert told(row("r", 1.0), row("r", 1.2))["median seeing"] == "1.10″"
    assert told(row("r", 1.0), row("u", 2.0))["median seeing"] == "r\u00a01.00″, u\u00a02.00″"
    assert told(row("r", 1.0), row("u", 9.5), row("i", 10.0))["median seeing"] == "1.00″ to 10.00″"
    assert told(row("r", 1.0), row("u", 2.0))["median 5σ limit, mag"] == "21.0"
    assert "median 5σ limit, mag" not in told(row("r", 1.0, "instrumental"))


def test_what_the_normalization_left_out(html):
    rows = rows_of(html, "Left out, or counted less than half")
    assert rows[0] == ["f", "all", "–", "–", "variable"]
    assert rows[1] == ["all", "1.fits", "–", "–", "outlier: the frame"]
    assert rows[2] == ["a", "0.fits", "+9.9 %", "25 %", "flux 99"]
    assert len(rows) == 60
    assert "101 stars, frames or single fluxes were left out" in html
    assert "And 41 fluxes that are less off." in html
    assert html.count("No star, frame or flux was left out.") == 1  # the other filter


def test_faint_stars_are_one_line_and_hide_nothing_else(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=6)
    left_out = schema.normalization_exclusions
    with transaction(workspace.engine) as connection:
        (row,) = connection.execute(select(left_out).where(left_out.c.reason == "variable")).mappings()
        faint = {"star_gaia_id": 104, "flags": int(Flag.LOW_SNR), "reason": "low_snr", "id": None}
        connection.execute(insert(left_out), [{**row, **faint, "filter": name} for name in ("r", "r", "i")])
    html = site.render(workspace)
    plain = re.sub(r"<[^>]+>", "", html)
    assert "2 stars fainter than normalization.min_snr 20 were left out." in plain
    assert "1 star fainter than normalization.min_snr 20 was left out." in plain
    assert "low_snr" not in "".join("".join(row) for row in rows_of(html, "Left out"))
    rows = rows_of(html, "Left out, or counted less than half")
    assert [row[-1] for row in rows[:3]] == ["variable", "outlier: the frame", "flux 99"]
    assert len(rows) == 60
    assert "101 stars, frames or single fluxes were left out" in html
    assert "And 41 fluxes that are less off." in html
    assert html.count("No other star, frame or flux was left out.") == 1


def test_colours_begin_with_what_tells_most():
    def begins(*curves: tuple[int, int]) -> str:
        told = colours_of([{"sources": ["s"] * n, "cameras": list(range(m))} for n, m in curves])
        assert len({value for value, _ in told}) == len(told)
        return told[0][0] if told else ""

    assert begins((1, 1), (4, 1)) == ""
    assert begins((1, 3), (4, 1)) == "camera"
    assert begins((1, 1), (4, 2)) == "source"
    assert begins((1, 3), (4, 2)) == "each"


def test_unknown_influence_is_a_dash(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=4)
    with transaction(workspace.engine) as connection:  # rows of an older version
        connection.execute(update(schema.normalization_stars).values(influence_rms=None))
        connection.execute(update(schema.PSFs).values(total_flux_error=None))
    text = site.render(workspace)
    assert rows_of(text, "How much it rests on single stars")[0][:5] == ["f", "20.00", "4", "–", "0.60 %"]
    assert "total flux" not in text


def test_error_of_the_total_flux_stands_by_the_psf(html):
    assert "total flux ±0.42 %" in html


def test_nothing_is_loaded_from_anywhere(html):
    for tag, name, value in Skeleton(html).attributes:
        assert name not in ("srcset", "action", "formaction", "background", "ping", "style"), (tag, name)
        assert not name.startswith("on")
        if name in ("src", "href", "xlink:href"):
            assert re.match(r"data:image/(png|jpeg);base64,|#|frames/\d+\.html$", value), value[:80]
    outside = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(
        r"https?:|@import|url\(|\bfetch\b|XMLHttpRequest|innerHTML|document\.write|\beval\b", outside
    )


def test_policy_lets_only_this_pages_script_and_style_run(html):
    page = Skeleton(html)
    policy = dict(
        page.attributes and [(n, v) for t, n, v in page.attributes if t == "meta" and n == "content"][:1]
    )["content"]
    assert policy.startswith("default-src 'none'")
    style, _data_script, script = page.scripts
    for kind, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


def test_hostile_text_makes_no_element_or_attribute(make_workdir, tmp_path):
    def page(text: str, roi: str, source: str) -> str:
        workspace = make_workdir(
            tmp_path / roi[:4].strip("<"), n_frames=6, text=text, roi=roi, sources=(source, "B")
        )
        return site.render(workspace)

    plain, attacked = (
        page("plain", "J0248", "A"),
        page(HOSTILE, "<b>J" + HOSTILE.replace("/", "|"), "<i>" + HOSTILE),
    )
    assert Skeleton(attacked).elements == Skeleton(plain).elements
    assert Skeleton(attacked).scripts[0::2] == Skeleton(plain).scripts[0::2]
    assert len(Skeleton(attacked).scripts) == 3
    assert "{{ 7 * 7 }}" in attacked
    for character in "\x1b\u2028\u202e":
        assert character not in attacked
    told = _data(attacked)
    assert told["curves"][0]["sources"][0]["name"] == "<i>" + HOSTILE
    assert told["frames"]["name"][0].startswith("passwd =cmd()")


def test_hostile_text_for_a_browsers_parser(make_workdir, tmp_path):
    html5lib = pytest.importorskip("html5lib")
    workspace = make_workdir(tmp_path / "w", n_frames=6, text=HOSTILE)
    tree = html5lib.parse(site.render(workspace), namespaceHTMLElements=False)
    assert len(list(tree.iter("script"))) == 2
    assert not [e for e in tree.iter() if any(str(name).startswith("on") for name in e.attrib)]
    assert not list(tree.iter("iframe"))


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "a&b", "\u2028", "\ud800"])
def test_script_json(text):
    written = str(script_json({"x": text}))
    assert written.isascii()
    assert not set("<>&") & set(written)
    assert json.loads(written) == {"x": text}


def test_script_json_refuses_nan():
    with pytest.raises(ValueError):
        script_json({"x": float("nan")})


@pytest.mark.parametrize("count", range(7))
def test_works_at_any_stage(make_workdir, tmp_path, count):
    steps = ("frames", "recipes", "stars", "fluxes", "rois", "models")[:count]
    workspace = make_workdir(tmp_path / "work", n_frames=4, steps=steps)
    text = write_report(workspace).read_text("utf-8")
    assert ("No light curves yet" in text) == (count < 6)
    assert (tmp_path / "work" / "report" / "index.html").is_file()


def test_works_without_database(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=1, steps=())
    workspace.close()
    (workspace.workdir / "database.sqlite3").unlink()
    assert "No run yet" in site.render(workspace)


def test_missing_products_are_left_out(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=6)
    for path in workspace.workdir.rglob("*.h5"):
        path.unlink()
    for path in (workspace.workdir / "frames").iterdir():
        path.unlink()
    text = site.render(workspace)
    assert "cannot be read" in text
    assert _data(text)["curves"]


@pytest.mark.slow
def test_a_thousand_frames_stay_small(make_workdir, tmp_path):
    workspace = make_workdir(
        tmp_path / "work",
        n_frames=1000,
    )
    assert write_report(workspace).stat().st_size < 15e6


def test_pages_of_frames_are_written_once_and_again_when_they_change(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=6)
    folder = tmp_path / "work" / "report" / "frames"
    text = write_report(workspace).read_text("utf-8")
    linked = {int(number) for number in re.findall(r'href="frames/(\d+)\.html"', text)}
    written = {int(path.stem) for path in folder.iterdir()}
    assert written == linked | set(_data(text)["pages"]) == set(_data(text)["pages"])
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_report(workspace)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    changed = min(written)
    with transaction(workspace.engine) as connection:
        connection.execute(
            update(schema.frames).where(schema.frames.c.id == changed).values(seeing_arcseconds=1.2345)
        )
    write_report(workspace)
    again = {int(path.stem) for path in folder.iterdir() if path.stat().st_mtime_ns != times.get(path)}
    assert changed in again
    assert "1.23″" in (folder / f"{changed}.html").read_text("utf-8")


def test_all_frames_have_a_page_when_asked(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=6)
    write_report(workspace, all_frames=True)
    folder = tmp_path / "work" / "report" / "frames"
    assert {int(path.stem) for path in folder.iterdir()} == set(range(1, 7))
    first = (folder / "1.html").read_text("utf-8")
    assert 'href="2.html" rel="next"' in first
    assert "too_few_stars" in first
    assert first.count("alt=") >= 4  # an ROI as data, model and residual, and the PSF
    second = re.sub(r"<[^>]+>", " ", (folder / "2.html").read_text("utf-8"))
    assert re.search(r"Flags of the frame\s+none\s+Flags of its points\s+poor fit", second)


def test_page_of_a_frame_is_deaf_to_hostile_text(make_workdir, tmp_path):
    pages = []
    for name, text in (("plain", "plain"), ("hostile", HOSTILE)):
        workspace = make_workdir(tmp_path / name, n_frames=3, text=text)
        write_report(workspace, all_frames=True)
        pages.append((tmp_path / name / "report" / "frames" / "1.html").read_text("utf-8"))
    plain, attacked = (Skeleton(page) for page in pages)
    assert attacked.elements == plain.elements
    assert len(attacked.scripts) == 1  # the style
    policy = next(
        value for tag, name, value in attacked.attributes if value and value.startswith("default-src")
    )
    assert "script-src" not in policy
    for _tag, name, value in attacked.attributes:
        if name in ("src", "href"):
            assert re.match(r"data:image/png;base64,|\.\./index\.html$|\d+\.html$", value), value[:80]
