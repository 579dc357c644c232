"""YAML with the line of every key: no aliases, no tags, nothing twice, and no number in disguise."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lightwatch.errors import ConfigError
from lightwatch.structure.frames_guard import open_regular, shown

MAX_BYTES = 200_000
_MAX_DEPTH = 20
_WHOLE = "(whole file)"
#: what "\0" and "\ud800" in quotes become: no file name, no database and no UTF-8 can hold it
_UNWRITABLE = re.compile("[\\0\ud800-\udfff]")
_KEY = re.compile(r"( *)([A-Za-z0-9_]{1,60}) *:(?:\s|$)")
_COMMENTED_SECTION = re.compile(r"# ?([a-z_]{1,60}):\s*(?:#.*)?$")
_OPENING = (
    yaml.FlowSequenceStartToken
    | yaml.FlowMappingStartToken
    | yaml.BlockSequenceStartToken
    | yaml.BlockMappingStartToken
)
_CLOSING = yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken | yaml.BlockEndToken
KeyPath = tuple[str | int, ...]


#: kind of a plain scalar by its looks
_SCALARS = (
    ("null", r"~|null|Null|NULL|"),
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)"),
    ("float", r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
)


class _Loader(yaml.SafeLoader):
    """YAML whose numbers are what they look like.

    YAML 1.1 reads 1:30 as 90, 012 as ten, 0x1F as 31, 1_0 as ten and 2024-01-01 as a date: all these stay text
    here, which no number may be. 1e5 is a number, as in YAML 1.2.
    """

    yaml_implicit_resolvers = {
        first: [(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{looks})$")) for kind, looks in _SCALARS]
        for first in ("", *"~nNyYtTfFoO-+.0123456789")
    }


def read_text(path: Path) -> str:
    """Text of a config file.

    Raises
    ------
    ConfigError
        When it is too large, no UTF-8, or no file.
    """
    try:
        with open_regular(path) as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; give the path of a config.yaml"
        ) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path.name}:1: {_WHOLE}: expected at most {MAX_BYTES} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        problem = f"expected UTF-8 text, not the byte {raw[error.start]:#04x}"
        raise ConfigError(_unreadable(path.name, before, 1 + before.count("\n"), problem)) from None


def parse(text: str, name: str) -> tuple[Any, dict[KeyPath, int]]:
    """Plain data and the line of every key, from the node tree (no aliases, no duplicate keys).

    Raises
    ------
    ConfigError
        With a line for every problem.
    """
    tree = _Tree(name)
    try:
        _refuse_constructs(text, name)
        node = _Loader(text).get_single_node()
        data = tree.plain(node, ()) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        # what is never closed is missed at the end of the file only
        mark = error.context_mark if "<stream end>" in str(error.problem) else error.problem_mark
        line = mark.line + 1 if mark else 1
        problem = f"not valid YAML: {error.problem}"
        commented = commented_sections(text, line)
        if commented and text.split("\n")[line - 1][:1] == " ":
            problem += f"; is the line of {commented[0]} still commented? remove its '#'"
        raise ConfigError(_unreadable(name, text, line, problem)) from None
    except yaml.reader.ReaderError as error:
        line = 1 + text.count("\n", 0, error.position)
        character = f"not valid YAML: the character {chr(error.character)!a} is not allowed"
        raise ConfigError(_unreadable(name, text, line, character)) from None
    if tree.problems:
        raise ConfigError(tree.problems)
    if not isinstance(data, dict):
        raise ConfigError(f"{name}:1: {_WHOLE}: expected keys with values, such as 'raw_dirs: [raw]'")
    return data, tree.lines


def _refuse_constructs(text: str, name: str) -> None:
    """What a configuration never needs and what could make reading it endless."""
    depth = 0
    for token in yaml.scan(text, Loader=_Loader):
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
            problem = (
                "anchors, aliases and tags are not allowed; put text that begins with &, * or ! in quotes"
            )
        elif depth > _MAX_DEPTH:
            problem = f"not valid: expected at most {_MAX_DEPTH} levels"
        else:
            continue
        raise ConfigError(_unreadable(name, text, token.start_mark.line + 1, problem))


@dataclass
class _Tree:
    """Plain data out of a node tree; the line of every key, and what is wrong with keys."""

    name: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    loader: _Loader = field(default_factory=lambda: _Loader(""))

    def plain(self, node: yaml.Node, at: KeyPath) -> Any:
        """Values of a node."""
        line = node.start_mark.line + 1
        self.lines[at] = line
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*at, i)) for i, item in enumerate(node.value)]
        try:
            value = self.loader.construct_object(node)
        except ValueError:  # Python converts no integer of thousands of digits
            self.problems.append(f"{self.name}:{line}: {dotted(at)}: expected a shorter number")
            return None
        if isinstance(value, str) and _UNWRITABLE.search(value):
            self.problems.append(
                f"{self.name}:{line}: {dotted(at)}: expected text without NUL and half characters"
            )
        return value

    def _mapping(self, node: yaml.MappingNode, at: KeyPath) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = f"{self.name}:{key_node.start_mark.line + 1}"
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(f"{where}: {dotted(at)}: expected keys that are text")
                continue
            # keys stay text: a source labelled 1 or an ROI named 2024 is a name, not a number
            key = key_node.value
            if key and key_node.tag == "tag:yaml.org,2002:null":
                self.problems.append(
                    f"{where}: {dotted((*at, key))}: expected a key; put it in quotes if it is a name"
                )
            if key == "<<" and key_node.style is None:
                self.problems.append(
                    f"{where}: {dotted((*at, key))}: merging is not allowed; repeat the keys"
                )
            if _UNWRITABLE.search(key):
                self.problems.append(
                    f"{where}: {dotted((*at, key))}: expected text without NUL and half characters"
                )
            if key in out:
                self.problems.append(f"{where}: {dotted((*at, key))}: key given twice")
            out[key] = self.plain(value_node, (*at, key))
            self.lines[(*at, key)] = key_node.start_mark.line + 1
        return out


def _unreadable(name: str, text: str, line: int, problem: str) -> str:
    """A problem of a file that has no tree; the key is told by the indentation above the line."""
    parts: list[str] = []
    indent = math.inf
    for number in range(min(line, text.count("\n") + 1), 0, -1):
        found = _KEY.match(text.split("\n")[number - 1])
        if found and len(found[1]) < indent:
            indent = len(found[1])
            parts.insert(0, found[2])
    return f"{name}:{line}: {dotted(tuple(parts)) if parts else _WHOLE}: {problem}"


def commented_sections(text: str, line: int) -> list[str]:
    """Sections whose line is commented, between a line and the section in force above it; the nearest first."""
    found: list[str] = []
    for above in reversed(text.split("\n")[: line - 1]):
        if above[:1] not in ("", " ", "#", "\r"):
            break
        if commented := _COMMENTED_SECTION.match(above):
            found.append(commented[1])
    return found


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """Where a key stands, or else the section that lacks it."""
    return next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)


def dotted(path: KeyPath) -> str:
    """A key as people write it."""
    return ".".join(shown(str(part)) for part in path) or "(top level)"
