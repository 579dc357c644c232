"""The report: one HTML page that needs nothing but itself, whatever headers and file names hold."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import lightwatch
from lightwatch.report import page
from lightwatch.structure.files import write_atomically
from lightwatch.structure.workspace import Workspace

#: control characters, and those that turn the direction of text around
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def write_report(workspace: Workspace, out_dir: Path | str | None = None) -> Path:
    """Write ``index.html`` into ``out_dir`` (default: ``report`` in the workdir) and return its path.

    Works at any stage of a workdir: what is not there yet is left out.

    Raises
    ------
    StorageError
        When the file cannot be written.
    """
    folder = Path(out_dir) if out_dir is not None else workspace.workdir / "report"
    path = folder / "index.html"
    html = render(workspace).encode("utf-8")
    write_atomically(path, partial(_write, html))
    return path


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def render(workspace: Workspace) -> str:
    """The page as text."""
    style, script = _asset("report.css"), _asset("report.js")
    content = page.collect(workspace)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            content.words,
            # both are ours, and hold nothing of the user's
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            policy=_policy(style, script),
            data=script_json(content.data),
            version=lightwatch.__version__,
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        )
    )


def script_json(data: Any) -> Markup:
    """JSON that may stand in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 and others are escaped
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704


def printable(value: Any) -> Any:
    """Text without characters that an HTML page cannot show as they are."""
    return (
        _UNPRINTABLE.sub("\ufffd", value)
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("lightwatch.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _policy(style: str, script: str) -> str:
    """Nothing from outside, and no script or style but the two of this page."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _asset(name: str) -> str:
    return resources.files("lightwatch.report").joinpath("templates", name).read_text(encoding="utf-8")
