"""Reading config.yaml: every problem at once, each with its line, what was expected and the nearest key."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from lightwatch.errors import ConfigError
from lightwatch.structure.config import Config

MAX_BYTES = 200_000
KeyPath = tuple[str | int, ...]


def load_config(path: Path) -> Config:
    """Validated configuration of a YAML file.

    Raises
    ------
    ConfigError
        With one line per problem: ``config.yaml:LINE: key: what was expected``.
    """
    text = _read(path)
    data, lines = _parse(text, path.name)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError([_explain(item, lines, path.name) for item in _merge_unions(error)]) from None


def resolve_paths(config: Config, path: Path) -> Config:
    """The same configuration with every path absolute; relative ones start at the config file."""
    base = path.resolve().parent
    workdir = (base / config.workdir) if config.workdir else base
    updates: dict[str, Any] = {"workdir": workdir, "raw_dirs": [base / raw for raw in config.raw_dirs]}
    return config.model_copy(update=updates)


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; give the path of a config.yaml"
        ) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(
            f"{path.name}: {len(raw)} bytes is too large for a configuration (at most {MAX_BYTES})"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name}: not UTF-8 text (byte {error.start})") from None


def _parse(text: str, name: str) -> tuple[Any, dict[KeyPath, int]]:
    """Plain data and the line of every key, from the node tree (no aliases, no duplicate keys)."""
    try:
        forbidden = yaml.AliasToken | yaml.AnchorToken | yaml.TagToken
        if any(isinstance(token, forbidden) for token in yaml.scan(text)):
            raise ConfigError(f"{name}: anchors, aliases and tags (&, * and !) are not allowed")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        problems: list[str] = []
        lines: dict[KeyPath, int] = {}
        data = _plain(node, (), lines, problems, name) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    if problems:
        raise ConfigError(problems)
    if not isinstance(data, dict):
        raise ConfigError(f"{name}:1: expected keys with values, such as 'raw_dirs: [raw]'")
    return data, lines


def _plain(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int], problems: list[str], name: str) -> Any:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        out: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            # keys stay text: a source labelled 1 or an ROI named 2024 is a name, not a number
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else str(key_node.start_mark.line)
            if key in out:
                problems.append(
                    f"{name}:{key_node.start_mark.line + 1}: {_dotted((*at, key))}: key given twice"
                )
            out[key] = _plain(value_node, (*at, key), lines, problems, name)
            lines[(*at, key)] = key_node.start_mark.line + 1
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*at, i), lines, problems, name) for i, item in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path) or "(top level)"


def _merge_unions(error: ValidationError) -> list[dict[str, Any]]:
    """One entry per key: pydantic reports each branch of a union, the user wrote one value."""
    merged: dict[KeyPath, dict[str, Any]] = {}
    for item in error.errors(include_url=False):
        key = _existing_path(item["loc"])
        if key in merged:
            merged[key]["msg"] += f"; or {_lower(item['msg'])}"
        else:
            merged[key] = {**item, "loc": key}
    return list(merged.values())


def _existing_path(location: tuple[str | int, ...]) -> KeyPath:
    """The part of a pydantic location that names keys of the file (union branches are dropped)."""
    model: Any = Config
    path: list[str | int] = []
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            path.append(part)
            field = model.model_fields.get(str(part))
            model = field.annotation if field else None
        elif get_origin(model) is dict and isinstance(part, str):
            path.append(part)
            model = get_args(model)[1]
        elif get_origin(model) in (Union, UnionType):
            dicts = [arg for arg in get_args(model) if get_origin(arg) is dict]
            if isinstance(part, str) and part.startswith("dict["):
                model = dicts[0]
            elif dicts and isinstance(part, str):
                path.append(part)
                model = get_args(dicts[0])[1]
            else:
                break
        else:
            break
    return tuple(path)


def _explain(item: dict[str, Any], lines: dict[KeyPath, int], name: str) -> str:
    path: KeyPath = item["loc"]
    line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)
    if item["type"] == "extra_forbidden":
        known = known_keys(path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"{name}:{line}: {_dotted(path)}: unknown key; {hint}"
    if item["type"] == "missing":
        return f"{name}:{line}: {_dotted(path)}: this key is required"
    value = "***" if path[:1] == ("database",) else repr(item.get("input"))  # a URL may hold a password
    shown = value if len(value) <= 60 else value[:57] + "..."
    return f"{name}:{line}: {_dotted(path)}: {_lower(item['msg'])} (got {shown})"


def _lower(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def known_keys(section: KeyPath) -> list[str]:
    """Names of the keys that a section of the file may have."""
    model: Any = Config
    for part in section:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            model = field.annotation if field else None
        elif get_origin(model) is dict:
            model = get_args(model)[1]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def key_lines(path: Path) -> dict[KeyPath, int]:
    """Line of every key that a config file gives.

    Raises
    ------
    ConfigError
        When the file is no YAML.
    """
    return _parse(_read(path), path.name)[1]
