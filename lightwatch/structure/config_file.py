"""Reading config.yaml: every problem at once, each with its line, what was expected and the nearest key."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from lightwatch.errors import ConfigError
from lightwatch.structure.config import Config
from lightwatch.structure.config_values import absolute_database_url, checked_database_url
from lightwatch.structure.config_yaml import KeyPath, dotted, parse, read_text
from lightwatch.structure.files import PRODUCT_DIRECTORIES
from lightwatch.structure.frames_guard import open_regular

_MAX_SECRET_BYTES = 10_000


def load_config(path: Path) -> Config:
    """Validated configuration of a YAML file.

    Raises
    ------
    ConfigError
        With one line per problem: ``config.yaml:LINE: key: what was expected``.
    """
    data, lines = parse(read_text(path), path.name)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError([_explain(item, lines, path.name) for item in _merge_unions(error)]) from None


def resolve_paths(config: Config, path: Path) -> Config:
    """The same configuration with every path absolute (relative ones start at the config file) and its secret read.

    Raises
    ------
    ConfigError
        When a raw directory is a file or one of products, or others can read database.url_file.
    """
    base = path.resolve().parent
    workdir = (base / config.workdir) if config.workdir else base
    files = [raw for raw in config.raw_dirs if (base / raw).is_file()]
    if files:
        raise ConfigError(located(f"raw_dirs: expected a directory, {files[0]} is a file", path))
    for raw in config.raw_dirs:
        if any(
            (base / raw).resolve().is_relative_to(workdir.resolve() / name) for name in PRODUCT_DIRECTORIES
        ):
            raise ConfigError(
                located(
                    f"raw_dirs: {raw}: products go there; keep raw files in another directory, such as raw",
                    path,
                )
            )
    updates: dict[str, Any] = {"workdir": workdir, "raw_dirs": [base / raw for raw in config.raw_dirs]}
    url, url_file = config.database.url, config.database.url_file
    if url_file is not None:
        url_file = base / url_file
        try:
            url = _read_secret(url_file)
        except ValueError as error:
            raise ConfigError(located(f"database.url_file: {error}", path)) from None
    if url is not None:
        secret = {"url": absolute_database_url(url, base), "url_file": url_file}
        updates["database"] = config.database.model_copy(update=secret)
    return config.model_copy(update=updates)


def _read_secret(path: Path) -> SecretStr:
    """Content of a file that is nobody else's business."""
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            content = file.read(_MAX_SECRET_BYTES)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    if status.st_mode & 0o077 or status.st_uid not in (os.getuid(), 0):
        raise ValueError(f"{path}: others can read or change it; chmod 600 {path}")
    return checked_database_url(SecretStr(content.decode("utf-8", "replace").strip()))


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
            bare = [get_args(arg)[0] if get_origin(arg) is Annotated else arg for arg in get_args(model)]
            dicts = [arg for arg in bare if get_origin(arg) is dict]
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
    line = _line(lines, path)
    if item["type"] == "extra_forbidden":
        known = known_keys(path[:-1])
        near = difflib.get_close_matches(str(path[-1])[:60], known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
        return f"{name}:{line}: {dotted(path)}: unknown key; {hint}"
    if item["type"] == "missing":
        return f"{name}:{line}: {dotted(path)}: this key is required"
    value = "***" if path[:1] == ("database",) else repr(item.get("input"))  # a URL may hold a password
    short = value if len(value) <= 60 else value[:57] + "..."
    return f"{name}:{line}: {dotted(path)}: {_lower(item['msg'])} (got {short})"


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
    return parse(read_text(path), path.name)[1]


def located(problem: str, path: Path) -> str:
    """A problem that begins with a key, with file and line in front as those of ``load_config``; others as they are."""
    key = re.match(r"(\w+(?:\.\w+)*): ", problem)
    parts = tuple(key[1].split(".")) if key else ("",)
    if parts[0] not in Config.model_fields:
        return problem
    try:
        lines = key_lines(path)
    except ConfigError:  # no longer the file that was read
        return problem
    return f"{path.name}:{_line(lines, parts)}: {problem}"


def _line(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """Where a key stands, or else the section that lacks it."""
    return next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)
