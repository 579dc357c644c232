"""Reading config.yaml: every problem at once, paths that are absolute, secrets from files of their own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from lightwatch.errors import ConfigError
from lightwatch.structure.config import Config
from lightwatch.structure.config_errors import explained
from lightwatch.structure.config_values import absolute_database_url, checked_database_url
from lightwatch.structure.config_yaml import KeyPath, line_of, parse, read_text
from lightwatch.structure.files import PRODUCT_DIRECTORIES, path_text
from lightwatch.structure.frames_guard import open_regular

_MAX_SECRET_BYTES = 10_000


def load_config(path: Path) -> Config:
    """Validated configuration of a YAML file.

    Raises
    ------
    ConfigError
        With one line per problem: ``config.yaml:LINE: key: what was expected``.
    """
    text = read_text(path)
    data, lines = parse(text, path.name)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explained(error, data, lines, text, path.name)) from None


def resolve_paths(config: Config, path: Path) -> Config:
    """The same configuration with every path absolute (relative ones start at the config file) and its secret read.

    Raises
    ------
    ConfigError
        When a raw directory is a file or one of products, others can read database.url_file, or a path is not UTF-8.
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
    for directory in (workdir, *(base / raw for raw in config.raw_dirs)):
        refuse_unwritable_name(directory)
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


def refuse_unwritable_name(directory: Path) -> None:
    """A directory whose path a database, which holds text alone, and some libraries cannot open.

    Raises
    ------
    ConfigError
        When it is not UTF-8.
    """
    real = directory.resolve()
    try:
        str(real).encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(
            f"{path_text(real)}: not UTF-8, which databases and libraries cannot open: rename the directory"
        ) from None


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
    return f"{path.name}:{line_of(lines, parts)}: {problem}"
