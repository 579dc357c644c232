"""Text that tries to be more than text, and what looks whether it was."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

PAYLOADS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover=alert(1) x='",
    "`${alert(1)}`",
    "javascript:alert(1)",
    "<!-- <script>",
    "-->",
    "]]>",
    "<svg/onload=alert(1)>",
    "&lt;b&gt;",
    "&#60;script&#62;",
    "</title>",
    "</style><style>*{display:none}",
    "<base href=//evil>",
    "<meta http-equiv=refresh content=0>",
    "<iframe srcdoc=x>",
    "<a href=https://evil>x</a>",
    "url(https://evil)",
    "@import 'https://evil'",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{# x",
    "${7*7}",
    "#{7*7}",
    "%s%s%n",
    "%(name)s",
    "{0.__class__}",
    "../../../etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "~/x",
    "$(id)",
    "`id`",
    "; rm -rf x",
    "| id",
    "'; DROP TABLE frames; --",
    '" OR 1=1 --',
    "a\nb: c",
    "a\r\nSet-Cookie: x",
    "a\tb",
    "=cmd()",
    '=cmd|"/c calc"!A1',
    "@SUM(A1:A9)",
    "+1+1",
    "-2+3",
    "\t=1",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x08\x08",
    "\u202etxt.exe",
    "\u2066x\u2069",
    "\u2028x",
    "\u2029x",
    "\u200b",
    "\ufeff",
    "\x85",
    "e\u0301\U0001f52d",
    "\u03b1\u4e2d",
    "A" * 3000,
    "'" * 50,
    "\\" * 50,
    "NULL",
    "nan",
    "None",
    "-0",
    "1e999",
    " ",
    "[bold red]x[/]",
    "[link=https://evil]x[/link]",
)
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"' onmouseover=alert(1) x='"
    "`${alert(1)}` javascript:alert(1) <!-- --><svg/onload=alert(1)> &lt;b&gt; ../../etc/passwd =cmd()"
    "\x1b[31m\u2028\u2029\u202e{{ 7 * 7 }}{% raw %}"
)


class Skeleton(HTMLParser):
    """Elements with their attributes' names, and the content of scripts; text is left out."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[object, ...]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.scripts: list[str] = []
        self._script = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._script = tag in ("script", "style")
        if self._script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.elements.append(("/" + tag,))
        self._script = False

    def handle_comment(self, data):
        self.elements.append(("comment", data))

    def handle_data(self, data):
        if self._script:
            self.scripts[-1] += data


def is_plain(text: str) -> bool:
    """Whether text in a terminal or log is characters and line ends alone: nothing that steers, hides or turns."""
    return all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


def is_safe_name(name: str) -> bool:
    """Whether a file name holds letters, digits and a few marks alone."""
    return re.fullmatch(r"[A-Za-z0-9_.+-]{1,200}", name) is not None
