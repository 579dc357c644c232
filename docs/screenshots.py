"""Pictures of the report for the docs: python docs/screenshots.py WORKDIR

WORKDIR: a finished workdir, such as the one that ``make demo`` leaves in demo/. Needs Chromium with chromedriver and
Selenium (``pip install selenium``). Writes docs/images/report-1400.png and report-400.png, each below 400 kB: the top
of the page at the width of a laptop and of a phone, with a point of the light curve chosen.
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys

from lightwatch.report.site import write_report
from lightwatch.structure.workspace import Workspace

IMAGES = Path(__file__).parent / "images"
#: width and height of the picture, px
SIZES = ((1400, 2300), (400, 2700))
MAX_BYTES = 400_000
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--hide-scrollbars",
)


def main(config: Path) -> None:
    """Write the report to a temporary place and take its pictures."""
    workspace = Workspace.open(config)
    with tempfile.TemporaryDirectory() as folder:
        url = write_report(workspace, folder).as_uri()
        options = webdriver.ChromeOptions()
        for option in OPTIONS:
            options.add_argument(option)
        options.binary_location = shutil.which("chromium") or ""
        browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            for width, height in SIZES:
                path = IMAGES / f"report-{width}.png"
                path.write_bytes(small(picture(browser, url, width, height)))
                sys.stdout.write(f"{path}: {path.stat().st_size} bytes\n")
        finally:
            browser.quit()
    workspace.close()


def picture(browser: webdriver.Chrome, url: str, width: int, height: int) -> bytes:
    """PNG of the top of the page, with the fifth point of the first light curve chosen."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(url)
    canvas = browser.find_elements("css selector", '[data-chart="curve"] .plot canvas')[0]
    for key in [Keys.ARROW_RIGHT] * 5 + [Keys.ENTER]:
        canvas.send_keys(key)
    browser.execute_script("scrollTo({top: 0, behavior: 'instant'})")
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    return base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", {})["data"])


def small(png: bytes) -> bytes:
    """The same with 256 colours.

    Raises
    ------
    ValueError
        When it is larger than the docs may hold.
    """
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        buffer, "png", optimize=True
    )
    if buffer.tell() > MAX_BYTES:
        raise ValueError(f"the picture takes {buffer.tell()} bytes, more than {MAX_BYTES}")
    return buffer.getvalue()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]) / "config.yaml")
