"""What mkdocs.yml adds to docs/: README, notebook and other files beside it as pages, and a page per module.

Links are written so that they work in the repository; here those that leave docs/ are led to their page of the site.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
#: the notebook with what it printed and drew (``make docs`` executes it; the repository holds it without)
EXECUTED = ROOT / "build" / "tutorial.ipynb"
#: files beside docs/, and the page that each becomes
BESIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks/README.md",
    "docs/tutorial.ipynb": "tutorial.md",
    "example_config": "example_config.md",
    "LICENSE": "LICENSE.md",
    "CITATION.cff": "CITATION.md",
}
_FOLDERS = {"docs/decisions": "decisions/001-footprint-hash.md"}
#: modules for notebooks and header parsers; all of processes and simulation are shown besides
MODULES = (
    "lightwatch/pipeline/workflow_manager.py",
    "lightwatch/pipeline/steps.py",
    "lightwatch/pipeline/psf_of_frame.py",
    "lightwatch/structure/workspace.py",
    "lightwatch/structure/header_tools.py",
    "lightwatch/structure/light_curve_columns.py",
    "lightwatch/report/exports.py",
    "lightwatch/report/export_frames.py",
    "lightwatch/report/series.py",
    "lightwatch/flags.py",
    "lightwatch/errors.py",
)
_PACKAGES = ("processes", "simulation")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)]*)?\))")


def modules() -> list[str]:
    """Modules that have a page, as paths in the repository."""
    found = [path for name in _PACKAGES for path in sorted((ROOT / "lightwatch" / name).glob("[a-z]*.py"))]
    return [*MODULES, *(path.relative_to(ROOT).as_posix() for path in found)]


def page_of(path: str) -> str:
    """The page, relative to docs/, of something in the repository."""
    if path in modules():
        return f"api/{_dotted(path)}.md"
    return {**BESIDE, **_FOLDERS}.get(path, path.removeprefix("docs/"))


def source_of(page: str) -> str:
    """Where a page comes from, relative to the repository."""
    return next((path for path, name in BESIDE.items() if name == page), f"docs/{page}")


def with_links(markdown: str, page: str) -> str:
    """Links of the repository as links of the site."""
    here = posixpath.dirname(source_of(page))

    def led(match: re.Match[str]) -> str:
        target = page_of(posixpath.normpath(posixpath.join(here, match[2])))
        return f"{match[1]}{posixpath.relpath(target, posixpath.dirname(page) or '.')}{match[3]}"

    return _LINK.sub(led, markdown)


def text_of(path: str) -> str:
    """A file beside docs/ as Markdown."""
    source = ROOT / path
    if source.is_dir():
        return "# Worked configurations\n\n" + "\n".join(
            f"## {file.name}\n\n```yaml\n{_read(file)}```\n" for file in sorted(source.glob("*.yaml"))
        )
    if source.suffix == ".ipynb":
        return notebook_as_markdown(json.loads(_read(EXECUTED if EXECUTED.exists() else source)))
    if source.suffix != ".md":
        return f"# {source.name}\n\n```text\n{_read(source)}```\n"
    return _read(source)


def notebook_as_markdown(notebook: dict[str, Any]) -> str:
    """Texts, code, and what the code printed; its pictures are the files that `pictures_of` names."""
    return "\n\n".join(
        _cell(cell, f"{number:02d}")
        for number, cell in enumerate(notebook["cells"])
        if "".join(cell["source"])
    )


def _cell(cell: dict[str, Any], number: str) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return text
    blocks = [f"```python\n{text}\n```"]
    for place, output in enumerate(cell.get("outputs", [])):
        data = output.get("data", {})
        printed = "".join(output.get("text", data.get("text/plain", "")))
        if "image/png" in data:
            blocks.append(f"![what the code above draws](images/tutorial-{number}-{place}.png)")
        elif printed.strip():
            blocks.append(f"```text\n{_COLOUR.sub('', printed).rstrip()}\n```")
    return "\n\n".join(blocks)


def pictures_of(notebook: dict[str, Any]) -> dict[str, bytes]:
    """The pictures of an executed notebook, by their page."""
    return {
        f"images/tutorial-{number:02d}-{place}.png": base64.b64decode(output["data"]["image/png"])
        for number, cell in enumerate(notebook["cells"])
        for place, output in enumerate(cell.get("outputs", []))
        if "image/png" in output.get("data", {})
    }


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _dotted(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


# ---------------------------------------------------------------- called by MkDocs
def on_config(config: Any) -> Any:
    config.nav.append({"Modules": [{_dotted(path): page_of(path)} for path in modules()]})
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File  # in the environment of the site alone

    for path, page in BESIDE.items():
        files.append(File.generated(config, page, content=text_of(path)))
    if EXECUTED.exists():
        for page, picture in pictures_of(json.loads(_read(EXECUTED))).items():
            files.append(File.generated(config, page, content=picture))
    for path in modules():
        text = f"# {_dotted(path)}\n\n::: {_dotted(path)}\n    options:\n      show_root_heading: false\n"
        files.append(File.generated(config, page_of(path), content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    return with_links(markdown, page.file.src_uri)
