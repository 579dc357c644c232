"""The report: HTML that needs nothing but itself, whatever headers and file names hold.

One page tells of the whole workdir. Frames worth a closer look have a page each in ``frames/`` beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import lightwatch
from lightwatch.report import page
from lightwatch.report.advice import advice_for
from lightwatch.report.summary import date_of
from lightwatch.structure.files import write_atomically
from lightwatch.structure.workspace import Workspace

#: control characters, and those that turn the direction of text around
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_SCRIPTS = ("base.js", "chart.js", "curves.js", "quality.js", "epochs.js", "start.js")
_LIVE_SCRIPT = "live.js"
_STAMP = re.compile(rb'<meta name="stamp" content="([0-9a-f]+)">')


def write_report(
    workspace: Workspace, out_dir: Path | str | None = None, *, all_frames: bool = False
) -> Path:
    """Write ``index.html`` into ``out_dir`` (default: ``report`` in the workdir) and return its path.

    Pages of frames go into ``frames/`` there: of representative frames, the newest night and the frames of its
    alarms, or of all frames. Works at any stage of a workdir: what is not there yet is left out.

    Raises
    ------
    StorageError
        When a file cannot be written.
    """
    folder = Path(out_dir) if out_dir is not None else workspace.workdir / "report"
    content = page.collect(workspace)
    ids = content.notable
    if ids:
        from lightwatch.report.frame_page import FramePages  # JAX, which takes a second to import

        pages = FramePages(workspace)
        ids = list(pages.ids) if all_frames else ids
        _write_frames(pages, folder / "frames", ids)
    path = folder / "index.html"
    write_atomically(path, partial(_write, _page(page.linked(content, ids), live=False).encode("utf-8")))
    return path


def render(workspace: Workspace) -> str:
    """The page as text, without links to pages of frames."""
    return _page(page.collect(workspace), live=False)


def render_live(workspace: Workspace) -> str:
    """The page for a server: it asks for news, and links to a page of every frame."""
    return _page(page.linked(page.collect(workspace), "all"), live=True)


def render_frame(pages: Any, frame_id: int, linked: Iterable[int]) -> str:
    """The page of a frame; ``pages``: FramePages, ``linked``: ids of frames with a page, in order of time."""
    style = _asset("report.css")
    order = list(linked)
    at = order.index(frame_id)
    before, after = (order[i] if 0 <= i < len(order) else None for i in (at - 1, at + 1))
    return (
        _environment()
        .get_template("frame.html.j2")
        .render(
            pages.words(frame_id),
            style=Markup(style),  # noqa: S704
            policy=_policy(style),
            stamp=_stamp(pages, frame_id, before, after),
            before=before,
            before_name=pages.name(before) if before is not None else "",
            after=after,
            after_name=pages.name(after) if after is not None else "",
            advice=advice_for,
            version=lightwatch.__version__,
            made=_now(),
        )
    )


def _write_frames(pages: Any, folder: Path, ids: Iterable[int]) -> None:
    """Pages of frames that are not there yet, or tell of an older state."""
    wanted = set(ids)
    order = [frame for frame in pages.ids if frame in wanted]
    for i, frame in enumerate(order):
        path = folder / f"{frame}.html"
        before, after = (order[k] if 0 <= k < len(order) else None for k in (i - 1, i + 1))
        if _stamp_of(path) != _stamp(pages, frame, before, after):
            write_atomically(path, partial(_write, render_frame(pages, frame, order).encode("utf-8")))


def _stamp(pages: Any, frame_id: int, before: int | None, after: int | None) -> str:
    told = f"{lightwatch.__version__} {pages.stamp(frame_id)} {before} {after}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _stamp_of(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        found = _STAMP.search(file.read(500))
    return found[1].decode("ascii") if found else None


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _page(content: page.Content, *, live: bool) -> str:
    style, script = _asset("report.css"), _script(live)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            content.words,
            # both are ours, and hold nothing of the user's
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            policy=_policy(style, script, live=live),
            data=script_json(content.data),
            version=lightwatch.__version__,
            made=_now(),
            live=live,
            date_of=date_of,
        )
    )


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


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


def _policy(style: str, script: str | None = None, *, live: bool = False) -> str:
    """Nothing from outside, and no script or style but those of this page."""
    parts = ["default-src 'none'", "img-src data:", f"style-src '{_digest(style)}'"]
    parts += [f"script-src '{_digest(script)}'"] if script is not None else []
    parts += ["connect-src 'self'"] if live else []
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'"])


def _script(live: bool) -> str:
    """The parts of the script as one, with names of its own."""
    names = [*_SCRIPTS, _LIVE_SCRIPT] if live else _SCRIPTS
    return '"use strict";\n(() => {\n' + "\n".join(_asset(name) for name in names) + "})();\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _asset(name: str) -> str:
    return resources.files("lightwatch.report").joinpath("templates", name).read_text(encoding="utf-8")
