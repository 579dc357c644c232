"""The pages of the documentation, and what stands in their blocks of code."""

from __future__ import annotations

import re
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
#: words that begin a command, should somebody indent one instead of fencing it
_COMMAND = re.compile(r"^\s*(\$ |lightwatch |make |pip |python )", re.MULTILINE)
_TIME = r"\d{4}-\d\d-\d\dT[\d:.]+Z"
#: what may differ from a page, and what may stand there instead: on the frames of the page, and on others
_FREE = {_TIME: _TIME, r"\.\.\.": r".*", r"[-+]?\d+\.\d+": r"[-+]?\d+(?:\.\d+)?"}
_FREER = {_TIME: _TIME, r"\.\.\.": r".*", r"\S*\d\S*": r"\S+", r" +": r" +"}
#: what 'init' tells of frames, whatever they are
_FOUND = re.compile(r"^  [a-z][a-z ]*: ")
#: why frames were set aside
_REASON = re.compile(r"  \d+ x \w+: \w+: ")
#: what is told of points that a sound night does not have
_DOUBTFUL = re.compile(r", \d+ of them doubtful \([^)]*\)(;?)")

Block = tuple[str, str]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sections_of(text: str) -> dict[str, list[Block]]:
    """Blocks of code, as (language, text), by the heading under which they stand; as a reader of Markdown sees them."""
    found: dict[str, list[Block]] = {}
    heading, tokens = "", MarkdownIt().parse(text)
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            heading = token.content
        indented_command = token.type == "code_block" and _COMMAND.search(token.content)
        if token.type == "fence" or indented_command:
            found.setdefault(heading, []).append((token.info.strip(), token.content))
    return found


def sections(page: str) -> dict[str, list[Block]]:
    return sections_of(text_of(ROOT / page))


def expected(shown: str, *, numbers_too: bool = False) -> re.Pattern[str]:
    """What is printed where a page shows this: '...' is anything, and decimal numbers and times may differ.

    With ``numbers_too``, for other frames than those of the page, so may whatever has a digit in it (counts, names of
    frames), the values that `init` found in them, why frames were set aside, and the widths of columns.
    """
    line = _of_other_frames if numbers_too else _of_the_frames
    return re.compile("".join(line(text) for text in shown.splitlines(keepends=True)))


def _of_the_frames(line: str) -> str:
    return r"(?:.*\n)*" if line == "...\n" else _with_gaps(line, _FREE)


def _of_other_frames(line: str) -> str:
    if line.startswith("  site: "):  # not every frame tells of one
        return r"(?:  site: .*\n)?"
    if found := _FOUND.match(line) or _REASON.match(line):
        return _with_gaps(found[0], _FREER) + r".*\n"
    return (
        r"(?:.*\n)*"
        if line == "...\n"
        else _with_gaps(_DOUBTFUL.sub(lambda found: "," * len(found[1]), line), _FREER)
    )


def _with_gaps(line: str, free: dict[str, str]) -> str:
    """A line as a pattern, with the parts that match a key of ``free`` replaced by the value."""
    out, end, gaps = "", 0, list(free.values())
    for found in re.finditer("|".join(f"({part})" for part in free), line):
        out += re.escape(line[end : found.start()]) + gaps[found.lastindex - 1]
        end = found.end()
    return out + re.escape(line[end:])
