"""What is wrong with a configuration, in the words of who writes one: line, key, what was expected, the nearest key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from lightwatch.structure.config import Config
from lightwatch.structure.config_values import POSITIONS
from lightwatch.structure.config_yaml import KeyPath, commented_sections, dotted, line_of
from lightwatch.structure.filter_names import band_of

_LONGEST_SHOWN = 60
_GAIA_BANDS = ("G", "BP", "RP")
_POSITION = f"expected [ra, dec] {POSITIONS}"
#: by pydantic's kind of error, with its context
_EXPECTED = {
    "float_type": "expected a number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "string_type": "expected text",
    "list_type": "expected a list, such as [a, b]",
    "tuple_type": "expected two numbers, such as [1, 2]",
    "dict_type": "expected keys with values below it",
    "finite_number": "expected a finite number",
    "literal_error": "expected {expected}",
    "greater_than": "expected a number above {gt}",
    "greater_than_equal": "expected a number of at least {ge}",
    "less_than": "expected a number below {lt}",
    "less_than_equal": "expected a number of at most {le}",
    "too_short": "expected at least {min_length} of them",
    "too_long": "expected at most {max_length} values",
}


def explained(
    error: ValidationError, data: Mapping[str, Any], lines: Mapping[KeyPath, int], text: str, name: str
) -> list[str]:
    """A line per key: ``config.yaml:LINE: key: what was expected``.

    ``data``, ``lines``, ``text``: values of the file, the line of every key, and the file as it is written.
    """
    messages: dict[KeyPath, list[str]] = {}
    for item in error.errors(include_url=False):
        path = _existing_path(item["loc"])
        line = line_of(lines, path)
        of_path = messages.setdefault(path, [])
        if item["type"] == "extra_forbidden":
            of_path.append(_unknown_key(path, text, line))
        elif item["type"] == "missing" and path == item["loc"]:
            of_path.append("this key is required")
        else:
            of_path.append(_expected(dict(item), path))
    return [
        f"{name}:{line_of(lines, path)}: {dotted(path)}: {'; or '.join(dict.fromkeys(told))}{_got(path, told, data)}"
        for path, told in messages.items()
    ]


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


def _unknown_key(path: KeyPath, text: str, line: int) -> str:
    key = str(path[-1])
    homes = [section for section in Config.model_fields if key in known_keys((section,))]
    commented = next((section for section in commented_sections(text, line) if section in homes), None)
    if commented is not None:
        return f"unknown key; it is a key of {commented}, whose line is still commented: remove its '#'"
    if homes and len(path) > 1:
        return f"unknown key; it is a key of {' and of '.join(homes)}"
    known = known_keys(path[:-1])
    near = difflib.get_close_matches(key[:_LONGEST_SHOWN], known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key; {hint}"


def _expected(item: Mapping[str, Any], path: KeyPath) -> str:
    kind = item["type"]
    is_position = path[2:] == ("coordinates",) or (path[2:3] == ("point_sources",) and len(path) > 3)
    if kind != "value_error" and path[:1] == ("rois",) and is_position:
        return _POSITION
    if kind == "missing":  # of a pair
        return _EXPECTED["tuple_type"]
    if kind == "model_type":
        keys = known_keys(path)
        empty = "; without any, remove its line" if item.get("input") is None else ""
        return f"expected keys with values below it, such as {keys[0]}{empty}"
    if kind in _EXPECTED:
        return _EXPECTED[kind].format(**item.get("ctx", {})) + _near_choice(item)
    message = str(item["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _near_choice(item: Mapping[str, Any]) -> str:
    """The choice that a wrong one begins: r of r_sdss."""
    value = item.get("input")
    if item["type"] != "literal_error" or not isinstance(value, str) or not value:
        return ""
    choices = str(item["ctx"]["expected"]).split("'")[1::2]
    near = [choice for choice in choices if choice.startswith(value)]
    near += [choice for choice in choices if choice.lower().startswith(value.lower())]
    band = band_of(value)  # rp is a filter r' more often than Gaia's RP
    if band in choices and band not in near:
        gaia = [choice for choice in near if choice in _GAIA_BANDS]
        also = f", or '{gaia[0]}', which is Gaia's" if gaia else ""
        return f"; did you mean '{band}'{also}?"
    near += difflib.get_close_matches(value[:_LONGEST_SHOWN], choices, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _got(path: KeyPath, told: list[str], data: Mapping[str, Any]) -> str:
    """The value as it stands in the file; a database's URL may hold a password."""
    if told[0] == "this key is required" or told[0].startswith("unknown key"):
        return ""
    value: Any = data
    for part in path:
        if part == "[key]":  # of a name that is no name of an entry: the message says it
            return ""
        value = value[part]
    shown = "***" if path[:1] == ("database",) else repr(value)
    return f" (got {shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + '...'})"
