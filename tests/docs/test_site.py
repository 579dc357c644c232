"""The site of the documentation is built without a warning, whole, and complete by itself."""

from __future__ import annotations

import os
import pkgutil
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HOOKS = runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))


class Links(HTMLParser):
    """What a page names: what it loads, where it leads, and the places in it that a link may lead to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: set[str] = set()
        self.led: set[str] = set()
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if "src" in found:
            self.loaded.add(found["src"])
        if "href" in found:
            loads = tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload")
            (self.loaded if loads else self.led).add(found["href"])


@pytest.fixture(scope="module")
def site(executed_tutorial, tmp_path_factory):
    """Built as by `make docs`, with the outputs of the tutorial that was executed for its test."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=300,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # a warning is an error: mkdocs.yml
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {page: Links(page) for page in sorted(site.rglob("*.html"))}


pytestmark = pytest.mark.slow


def test_every_page_of_the_navigation_is_there(site):
    listed = re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(listed) > 25
    for page in [*listed, *(HOOKS["page_of"](path) for path in HOOKS["modules"]())]:
        assert (site / page.replace("README.md", "index.md")).with_suffix(".html").is_file(), page


@pytest.mark.parametrize(
    "name",
    [
        "pipeline.workflow_manager.WorkflowManager.run",
        "processes.noise.usable_pixels",
        "structure.header_tools",
    ],
)
def test_the_reference_has_what_the_docstrings_say(site, name):
    shown = pkgutil.resolve_name(f"lightwatch.{name}")
    module = shown.__name__ if isinstance(shown, ModuleType) else shown.__module__
    text = (site / "api" / f"{module}.html").read_text(encoding="utf-8")
    assert isinstance(shown, ModuleType) or f'id="lightwatch.{name}"' in text
    (words,) = re.findall(r"^[\w ,]+", shown.__doc__)
    assert len(words) > 15
    assert words in text


def test_the_tutorial_shows_what_it_printed_and_drew(site):
    text = (site / "tutorial.html").read_text(encoding="utf-8")
    assert "theoretical bound" in text
    pictures = re.findall(r'src="(images/tutorial-[\d-]+\.png)"', text)
    assert len(pictures) > 5
    assert all((site / picture).read_bytes().startswith(b"\x89PNG") for picture in pictures)


def test_a_page_loads_nothing_from_elsewhere(pages):
    for page, links in pages.items():
        assert not [name for name in links.loaded if urlsplit(name).netloc], page


def test_links_lead_to_pages_and_places_of_the_site(pages):
    """Also those of plain HTML, which MkDocs does not look at."""
    for page, links in pages.items():
        for name in links.loaded | links.led:
            parts = urlsplit(name)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target = target / "index.html"
            assert target.is_file(), f"{page.name}: {name}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].places, f"{page.name}: {name}"
