"""The report in a browser: it draws, zooms, tells of points, is reached by keyboard, fits a phone, asks nobody."""

from __future__ import annotations

import csv
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from lightwatch.flags import Flag
from lightwatch.report.serve import ReportServer
from lightwatch.report.site import write_report
from lightwatch.structure import schema
from lightwatch.structure.database import transaction

from . import browser as chromium

pytest.importorskip("selenium")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

CURVE = '[data-chart="curve"]'


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def driver(downloads):
    with chromium.driving(downloads) as one:
        yield one


@pytest.fixture(scope="module")
def url(workspace, tmp_path_factory):
    return write_report(workspace, tmp_path_factory.mktemp("site")).as_uri()


@pytest.fixture
def page(driver, url):
    chromium.show(driver, url)
    yield driver
    assert chromium.complaints(driver) == []
    assert chromium.requests(driver) == [url]


def one(page, selector: str):
    return page.find_element("css selector", selector)


def shown(page, selector: str) -> str:
    """What a canvas shows."""
    return page.execute_script(
        "return document.querySelector(arguments[0]).toDataURL()", f"{selector} .plot canvas"
    )


def tip(page) -> str:
    element = one(page, f"{CURVE} .tip")
    return element.text if element.is_displayed() else ""


def scroll_to(page, element) -> None:
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)


def keys(page, *pressed: str) -> None:
    """Keys on the first light curve."""
    canvas = one(page, f"{CURVE} .plot canvas")
    for key in pressed:
        canvas.send_keys(key)


def test_every_chart_is_drawn(page):
    counts = []
    for figure in page.find_elements("css selector", "[data-chart]"):
        scroll_to(page, figure)
        canvas = figure.find_element("css selector", ".plot canvas")
        WebDriverWait(page, 5).until(
            lambda p, c=canvas: p.execute_script(
                "const c = arguments[0], d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                "return new Set(new Uint32Array(d.buffer)).size", c
            ) > 3
        )  # fmt: skip
        counts.append(figure.get_attribute("data-chart"))
    assert set(counts) == {"curve", "quality", "stars"}
    assert page.execute_script("return [...document.images].every((i) => i.complete && i.naturalWidth > 0)")


def test_arrows_go_from_point_to_point_and_tell_of_them(page):
    keys(page, Keys.ARROW_RIGHT)
    first = tip(page)
    assert first.startswith("A\n")
    for word in (
        "mag",
        "flux 1",
        "± 5.00",
        "χ² 1.00",
        "no flags",
        "seeing 1.",
        "airmass 1.",
        "frame ",
        ".fits",
    ):
        assert word in first
    keys(page, Keys.ARROW_RIGHT)
    assert tip(page) != first
    keys(page, Keys.ARROW_DOWN)
    assert tip(page).startswith("B_1\n")
    keys(page, Keys.END, Keys.HOME)
    assert tip(page).startswith("B_1\n")
    keys(page, Keys.ESCAPE)
    assert tip(page) == ""


def test_flags_are_told_by_name(driver, make_workdir, tmp_path):
    write_report(make_workdir(tmp_path / "w", n_frames=4))
    chromium.show(driver, (tmp_path / "w" / "report" / "index.html").as_uri())
    canvas = one(driver, f"{CURVE}[data-index='1'] .plot canvas")
    canvas.send_keys(Keys.ARROW_RIGHT)
    canvas.send_keys(Keys.ARROW_RIGHT)
    told = driver.execute_script(
        "return arguments[0].parentElement.querySelector('.tip').textContent", canvas
    )
    assert "poor fit" in told


#: where the middle of the first mark in the colour of the first source is, px from the corner of the canvas
_MARK = """
const c = arguments[0], {data, width, height} = c.getContext('2d').getImageData(0, 0, c.width, c.height);
const level = (x, y, k) => data[4 * (y * width + x) + k];
const blue = (x, y) => level(x, y, 0) < 30 && Math.abs(level(x, y, 1) - 115) < 25 && level(x, y, 2) > 160;
for (let x = 70; x < width - 30; x++) for (let y = 40; y < height - 60; y++)
  if ([0, 1, 2, 3].every((d) => blue(x + d, y))) return [x + 2, y];
"""


def test_hover_tells_of_the_frame(page):
    canvas = one(page, f"{CURVE} .plot canvas")
    scroll_to(page, canvas)
    x, y = page.execute_script(_MARK, canvas)
    left, top = canvas.size["width"] // 2, canvas.size["height"] // 2
    ActionChains(page, duration=0).move_to_element_with_offset(canvas, x - left, y - top).perform()
    told = tip(page)
    assert told.startswith("A\n")
    assert "seeing" in told
    assert told.splitlines()[-1].startswith("frame ")
    ActionChains(page, duration=0).move_to_element(one(page, f"{CURVE} figcaption")).perform()
    assert tip(page) == ""


def test_zoom_by_keyboard_wheel_drag_and_buttons(page):
    canvas = one(page, f"{CURVE} .plot canvas")
    scroll_to(page, canvas)
    keys(page, Keys.ESCAPE)
    whole = shown(page, CURVE)
    keys(page, "+")
    closer = shown(page, CURVE)
    assert closer != whole
    keys(page, "0")
    assert shown(page, CURVE) == whole
    turn = "{deltaY: -100, clientX: 600, clientY: 300, bubbles: true, cancelable: true}"
    page.execute_script(f"arguments[0].dispatchEvent(new WheelEvent('wheel', {turn}))", canvas)
    assert shown(page, CURVE) != whole
    keys(page, "0")
    drag = ActionChains(page, duration=50).move_to_element_with_offset(canvas, -200, 0).click_and_hold()
    drag.move_by_offset(150, 0).release().move_to_element(one(page, "h1")).perform()
    dragged = shown(page, CURVE)
    assert dragged not in (whole, closer)
    one(page, f"{CURVE} .tools button[aria-label='Show all']").click()
    page.execute_script("document.activeElement.blur()")
    one(page, f"{CURVE} .tools button[aria-label='Zoom in']").click()
    assert shown(page, CURVE) != whole


def test_all_light_curves_zoom_together(page):
    second = f"{CURVE}[data-index='1']"
    page.execute_script(
        "document.querySelectorAll('[data-chart=curve]').forEach((f) => f.style.height = '300px')"
    )
    scroll_to(page, one(page, second))
    time.sleep(0.1)
    before = shown(page, second)
    keys(page, "+")
    assert shown(page, second) != before


def test_magnitude_flux_nights_scale_and_doubtful(page):
    seen = {shown(page, CURVE)}
    for name, value in (("quantity", "flux"), ("bins", "nights"), ("scale", "relative"), ("quantity", "mag")):
        one(page, f"input[name={name}][value={value}]").click()
        picture = shown(page, CURVE)
        assert picture not in seen, (name, value)
        seen.add(picture)
    keys(page, Keys.ARROW_RIGHT)
    assert "night of 20" in tip(page)
    one(page, "input[name=doubtful]").click()
    assert not one(page, "input[name=doubtful]").is_selected()


def test_time_is_told_both_ways_and_the_axis_switches(page):
    keys(page, Keys.ARROW_RIGHT)
    line = next(line for line in tip(page).splitlines() if line.startswith("MJD"))
    mjd, bjd = (float(part.split()[1]) for part in line.split(" · "))
    assert bjd == pytest.approx(mjd + 2400000.505, abs=1.1e-5)
    keys(page, Keys.ENTER, "+", Keys.ESCAPE)
    zoomed = shown(page, CURVE)
    one(page, "input[name=time][value=bjd]").click()
    barycentric = shown(page, CURVE)
    assert barycentric != zoomed
    keys(page, Keys.HOME)
    assert line in tip(page)
    keys(page, Keys.ESCAPE)
    one(page, "input[name=bins][value=nights]").click()
    keys(page, Keys.HOME)
    assert "MJD 60004.00500 UTC · BJD 2460004.51000 TDB" in tip(page)
    one(page, "input[name=bins][value=points]").click()
    one(page, "input[name=time][value=mjd]").click()
    assert shown(page, CURVE) not in (barycentric, zoomed)  # all of it again


def test_legend_takes_a_source_away(page):
    whole = shown(page, CURVE)
    button = one(page, f"{CURVE} .legend button")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert shown(page, CURVE) != whole
    keys(page, Keys.ARROW_RIGHT)
    assert tip(page).startswith("B_1")
    keys(page, Keys.ESCAPE)
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-pressed") == "true"


def test_pixels_of_the_epoch_that_is_chosen(page):
    strip = f"{CURVE} .epoch"
    picture = "return document.querySelector(arguments[0]).toDataURL()"
    newest = page.execute_script(picture, f"{strip} canvas")
    text = one(page, f"{strip} p").text
    keys(page, Keys.ARROW_RIGHT, Keys.HOME, Keys.ENTER)
    assert one(page, f"{strip} p").text != text
    assert page.execute_script(picture, f"{strip} canvas") != newest
    slider = one(page, f"{strip} input")
    slider.send_keys(Keys.END)
    assert one(page, f"{strip} p").text == text
    assert page.execute_script(picture, f"{strip} canvas") == newest


def _saved(downloads: Path, name: str) -> list[list[str]]:
    path = downloads / name
    for _ in range(100):
        if path.is_file() and path.stat().st_size:
            break
        time.sleep(0.05)
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_download_holds_the_numbers_of_the_page(page, downloads):
    one(page, f"{CURVE}[data-index='1'] .tools button[aria-label^='Download']").click()
    head, *rows = _saved(downloads, "J0248_r.csv")
    table = [dict(zip(head, row, strict=True)) for row in rows]
    bright = [float(row["flux"]) for row in table if row["point_source"] == "A"]
    assert bright == [1000.0 + 10 * k for k in range(8)]
    assert table[1]["flags"] == "poor fit"
    assert table[1]["doubtful"] == "true"
    assert table[0]["frame"] == "0.fits"
    assert table[0]["camera"] == "T"
    assert float(table[0]["bjd_tdb"]) == pytest.approx(2460000.505, abs=2e-6)
    assert next(row["mag"] for row in table if row["point_source"] == "B_1") == ""


def test_download_holds_no_formula(driver, make_workdir, tmp_path, downloads):
    workspace = make_workdir(tmp_path / "w", n_frames=6, text='=cmd|"x",', roi="+roi", sources=("@A", "-1"))
    write_report(workspace)
    chromium.show(driver, (tmp_path / "w" / "report" / "index.html").as_uri())
    one(driver, f"{CURVE}[data-index='1'] .tools button[aria-label^='Download']").click()
    head, *rows = _saved(downloads, "roi_r.csv")
    assert len(rows) == 8
    numbers = {
        i
        for i, name in enumerate(head)
        if name not in ("roi", "filter", "point_source", "flags", "camera", "frame")
    }
    for row in rows:
        for i, text in enumerate(row):
            assert i in numbers or not text.startswith(("=", "+", "-", "@")), text
    assert {row[0] for row in rows} == {"'+roi"}
    assert {row[2] for row in rows} == {"'@A", "'-1"}
    assert rows[0][-1].startswith("'=cmd|")


@pytest.mark.parametrize("width", [320, 400, 1400])
def test_nothing_runs_over_the_edge(driver, url, width):
    chromium.show(driver, url, width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert chromium.complaints(driver) == []


def test_a_finger_finds_buttons_large_enough(driver, url):
    chromium.show(driver, url, 400)
    sizes = driver.execute_script(
        "return [...document.querySelectorAll('.tools button, .legend button, fieldset label, summary, nav a, .rests a,"
        " .epoch input')].filter((b) => b.checkVisibility()).map((b) => b.offsetHeight)"
    )
    assert len(sizes) > 20
    assert min(sizes) >= 40


def test_all_sections_are_in_sight_on_a_phone(driver, url):
    chromium.show(driver, url, 400)
    edges = driver.execute_script(
        "return [...document.querySelectorAll('nav a')].map((a) => a.getBoundingClientRect().right)"
    )
    assert len(edges) == 9
    assert max(edges) <= 400
    height = "return document.getElementById('trust').offsetHeight"
    assert driver.execute_script(height) < 450  # the verdicts of two light curves, not their grounds


def test_light_curves_by_camera(driver, make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=12)
    frames = schema.frames
    with transaction(workspace.engine) as connection:
        connection.execute(
            update(frames)
            .where(frames.c.id % 2 == 0)
            .values(telescope_name="North", telescope_imager_name="c2")
        )
        connection.execute(update(frames).where(frames.c.id % 2 == 1).values(telescope_name="South"))
    chromium.show(driver, write_report(workspace).as_uri())
    keys(driver, Keys.ARROW_RIGHT)
    assert "\nSouth\nframe " in tip(driver)
    keys(driver, Keys.ARROW_RIGHT)
    assert "\nNorth c2\nframe " in tip(driver)
    keys(driver, Keys.ESCAPE)
    before = shown(driver, CURVE)
    one(driver, "input[name=colour][value=camera]").click()
    assert shown(driver, CURVE) != before
    names = [
        button.text
        for button in driver.find_elements("css selector", f"{CURVE}[data-index='0'] .legend button")
    ]
    assert names == ["A · North c2", "A · South", "B_1 · North c2", "B_1 · South"]
    one(driver, "input[name=bins][value=nights]").click()  # a night's mean is of all cameras
    assert len(driver.find_elements("css selector", f"{CURVE}[data-index='0'] .legend button")) == 2
    assert chromium.complaints(driver) == []


def test_cameras_are_apart_at_once_where_the_source_is_single(driver, make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=12, sources=("A",))
    frames = schema.frames
    with transaction(workspace.engine) as connection:
        connection.execute(update(frames).where(frames.c.id % 2 == 0).values(telescope_name="North"))
    chromium.show(driver, write_report(workspace).as_uri())
    legend = f"{CURVE}[data-index='0'] .legend button"
    assert one(driver, "input[name=colour][value=camera]").is_selected()
    assert len(driver.find_elements("css selector", legend)) == 2
    one(driver, "input[name=colour][value=source]").click()
    assert driver.find_elements("css selector", legend) == []
    assert chromium.complaints(driver) == []


def test_pixels_beside_apertures_say_whose_residuals_they_are(driver, make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=6, sources=("A",))
    chromium.show(driver, write_report(workspace).as_uri())
    assert "neighbours" not in one(driver, f"{CURVE} .epoch p").text
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.normalization_coefficients).values(flux_kind="aperture"))
        connection.execute(update(schema.roi_flux).values(reduced_chi2=None))
    chromium.show(driver, write_report(workspace).as_uri())
    assert "with neighbours that no list has" in one(driver, f"{CURVE} .epoch p").text
    assert one(driver, f"{CURVE} .epoch p a[href='#pixels']").is_displayed()


#: from now on, what the charts write
_LISTEN = """
window.written = [];
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
  window.written.push([text, x, y]);
  write.call(this, text, x, y);
};
"""


def _ticks(written: list[tuple[str, float, float]]) -> list[list[tuple[str, float]]]:
    """Numbers and dates along the time, each with its place, px, of a chart drawn once."""
    by_height: dict[float, list[tuple[str, float]]] = {}
    for text, x, y in written:
        if text != "MJD":
            by_height.setdefault(y, []).append((text, x))
    return [by_height[y] for y in sorted(by_height)[-2:]]


@pytest.mark.parametrize("width", [400, 1400])
def test_ticks_of_time_are_three_and_differ(driver, url, width):
    chromium.show(driver, url, width)
    canvas = one(driver, f"{CURVE} .plot canvas")
    driver.execute_script("document.querySelectorAll('figure + figure').forEach((f) => f.remove())")
    scroll_to(driver, canvas)
    keys(driver, Keys.ESCAPE)
    driver.execute_script(_LISTEN)
    turn = (
        "window.written = []; const r = arguments[0].getBoundingClientRect(), clientX = r.x + r.width * .4;"
        "arguments[0].dispatchEvent(new WheelEvent('wheel', {deltaY: -100, clientX, cancelable: true}));"
        "return window.written"
    )  # fmt: skip
    for _ in range(44):  # from four days to less than a minute
        numbers, dates = _ticks(driver.execute_script(turn, canvas))
        assert len(numbers) == len(dates) >= 3
        for told in (numbers, dates):
            assert all(first != second for (first, _), (second, _) in pairwise(told)), told
            assert min(b - a for (_, a), (_, b) in pairwise(told)) > 5 * len(numbers[-1][0])
        for (number, _), (date, _) in zip(numbers, dates, strict=True):
            if ":" in date:
                hour, minute, *second = (float(part) for part in date.split()[-1].split(":"))
                seconds = 3600 * hour + 60 * minute + sum(second)
                assert 0 <= float(number) % 1 * 86400 - seconds + 0.01 < (1.02 if second else 60)
            else:
                assert float(number).is_integer()
    assert chromium.complaints(driver) == []


def test_a_point_off_the_scale_waits_at_the_edge(driver, make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=12, sources=("A",))
    points = schema.roi_flux
    with transaction(workspace.engine) as connection:
        of_filter = select(points.c.frame_id).where(points.c.filter == "i").order_by(points.c.frame_id)
        first = connection.execute(of_filter).scalars().first()
        connection.execute(
            update(points)
            .where(points.c.frame_id == first)
            .values(flux=10.0, flux_uncertainty=0.1, flags=int(Flag.POOR_FIT))
        )
    chromium.show(driver, write_report(workspace).as_uri())
    scroll_to(driver, one(driver, f"{CURVE} .plot canvas"))
    at_the_edge = (
        "const c = document.querySelector(arguments[0]), box = [60, c.height - 44 - 20, c.width - 80, 19];"
        "const {data} = c.getContext('2d').getImageData(...box);"
        "return data.filter((v, k) => k % 4 === 2 && v - data[k - 2] > 60).length"
    )
    one(driver, "input[name=quantity][value=flux]").click()
    one(driver, "input[name=doubtful]").click()
    without = driver.execute_script(at_the_edge, f"{CURVE} .plot canvas")
    one(driver, "input[name=doubtful]").click()
    assert (
        driver.execute_script(at_the_edge, f"{CURVE} .plot canvas") > without + 15
    )  # the mark, and its angle
    keys(driver, Keys.ARROW_RIGHT)
    assert "flux 10.0000" in tip(driver)
    assert tip(driver).endswith("off the scale of this chart")
    keys(driver, Keys.ARROW_RIGHT)
    assert "off the scale" not in tip(driver)


def test_one_camera_needs_no_switch(page):
    assert page.find_elements("css selector", "input[name=colour]") == []


def test_a_finger_turns_the_pages_of_frames(driver, url):
    chromium.show(driver, url, 400)
    chromium.show(driver, one(driver, "#pixels a").get_attribute("href"), 400)
    links = driver.find_elements("css selector", ".turn a, .brand a")
    assert len(links) > 1
    assert min(link.size["height"] for link in links) >= 40
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 400


def test_fingers_choose_and_spread(driver, url):
    chromium.show(driver, url, 400)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    canvas = one(driver, f"{CURVE} .plot canvas")
    scroll_to(driver, canvas)
    corner = driver.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return [r.x, r.y]", canvas
    )

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": corner[0] + x, "y": corner[1] + y, "id": i} for i, (x, y) in enumerate(places)]
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", WebDriverWait(driver, 5).until(lambda _: driver.execute_script(_MARK, canvas)))
    touch("touchEnd")
    WebDriverWait(driver, 5).until(lambda _: tip(driver).startswith("A\n"))
    whole = shown(driver, CURVE)
    touch("touchStart", (150, 120), (200, 120))
    for k in range(1, 6):
        touch("touchMove", (150 - 10 * k, 120), (200 + 10 * k, 120))
    touch("touchEnd")
    WebDriverWait(driver, 5).until(lambda _: shown(driver, CURVE) != whole)
    assert chromium.complaints(driver) == []
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_dark_screens_get_a_dark_page(driver, url):
    colour = "return getComputedStyle(document.body).backgroundColor"
    chromium.show(driver, url)
    light = driver.execute_script(colour)
    chromium.show(driver, url, prefers_color_scheme="dark")
    dark = driver.execute_script(colour)
    brightness = [sum(int(n) for n in text.strip("rgb()").split(",")) for text in (light, dark)]
    assert brightness[0] > 700
    assert brightness[1] < 120


def test_everything_is_reached_with_the_tab_key(page):
    page.execute_script("document.activeElement.blur()")
    kinds = set()
    for _ in range(60):
        ActionChains(page).send_keys(Keys.TAB).perform()
        kinds.add(
            page.execute_script(
                "const e = document.activeElement;"
                "return e.closest('[data-chart]') ? e.tagName + (e.type || '') : e.tagName"
            )
        )
    assert {"A", "INPUT", "CANVAS", "BUTTONbutton", "INPUTrange"} <= kinds


def test_pages_of_frames_open(driver, url):
    chromium.show(driver, url)
    link = one(driver, "#pixels a")
    target = link.get_attribute("href")
    scroll_to(driver, link)
    link.click()
    assert driver.current_url == target
    assert "Story" in driver.find_element("tag name", "main").text
    assert driver.execute_script("return [...document.images].every((i) => i.naturalWidth > 0)")
    assert chromium.complaints(driver) == []


def test_a_thousand_frames_open_at_once(driver, make_workdir, tmp_path):
    path = write_report(make_workdir(tmp_path / "w", n_frames=1000))
    assert path.stat().st_size < 15e6
    times = []
    for _ in range(3):  # the quickest: what else the machine does is no property of the page
        chromium.show(driver, path.as_uri())
        times.append(
            driver.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
        )
    assert chromium.complaints(driver) == []
    assert min(times) < 2.0


def test_one_roi_of_several(driver, make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=4)
    with transaction(workspace.engine) as connection:
        for table in (schema.rois, schema.point_sources, schema.roi_flux):
            rows = [dict(row) for row in connection.execute(select(table)).mappings()]
            name = "name" if table is schema.rois else "roi"
            connection.execute(insert(table), [row | {name: "Second"} for row in rows])
    chromium.show(driver, write_report(workspace).as_uri())

    def titles() -> list[str]:
        figures = driver.find_elements("css selector", f"{CURVE} figcaption")
        return [figure.text.split()[0] for figure in figures if figure.is_displayed()]

    assert titles() == ["J0248", "J0248", "Second", "Second"]
    Select(one(driver, "select[name=roi]")).select_by_visible_text("Second")
    assert titles() == ["Second", "Second"]
    Select(one(driver, "select[name=roi]")).select_by_index(0)
    assert len(titles()) == 4
    assert chromium.complaints(driver) == []


def test_served_page_follows_the_run(driver, make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w", n_frames=4)
    server = ReportServer(workspace)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        chromium.show(driver, server.url)
        live = one(driver, ".live")
        WebDriverWait(driver, 10).until(lambda _: live.text != "")
        assert "No run goes on" in live.text
        keys(driver, Keys.ARROW_RIGHT)  # somebody looks at a point: the page is not taken away
        results = schema.task_results
        with transaction(workspace.engine) as connection:
            change = {"state": "rejected", "reason_code": "no_good_pixels", "reason": "all of them masked"}
            connection.execute(
                update(results)
                .where(results.c.task == "star_photometry", results.c.frame_id == 2)
                .values(change)
            )
        button = WebDriverWait(driver, 20).until(
            lambda _: driver.find_elements("css selector", ".live button")
        )[0]
        assert tip(driver) != ""
        driver.execute_script("arguments[0].click()", button)
        told = "return document.getElementById('failures')?.textContent.includes('all of them masked')"
        WebDriverWait(driver, 20).until(lambda _: driver.execute_script(told))
        assert chromium.complaints(driver) == []
        assert {url.rpartition("/")[0] + "/" for url in chromium.requests(driver)} == {server.url}
    finally:
        server.shutdown()
        server.server_close()


def test_paper_is_white(driver, url):
    chromium.show(driver, url, prefers_color_scheme="dark")
    colour = "return getComputedStyle(document.documentElement).getPropertyValue('--ink')"
    dark, drawn = driver.execute_script(colour), shown(driver, CURVE)
    folded = "return document.querySelectorAll('.verdict:not([open])').length"
    assert driver.execute_script(folded) == 2
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert driver.execute_script(folded) == 0
    assert driver.execute_script(colour) != dark
    assert shown(driver, CURVE) != drawn
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert driver.execute_script(folded) == 2
    assert shown(driver, CURVE) == drawn
