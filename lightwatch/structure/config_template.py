"""The commented template of a configuration, made of the model: every key, its default, its meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lightwatch.structure.config import Config

_COMMENT_COLUMN = 44
_WIDTH = 116
_HEAD = (
    "Configuration of lightwatch. A line that begins with '#' and a key shows a default: to change it,",
    "remove the '#', and that of its section's line. Paths are relative to this file. 'lightwatch config",
    "check' tells every mistake, 'lightwatch config show' what is in force.",
)


def template(values: Mapping[str, Any], notes: Mapping[str, str], head: tuple[str, ...] = ()) -> str:
    """Text of a config.yaml.

    ``values``: what is set, by dotted key (``reference_stars.catalog``); all other keys stand there as
    comments with their defaults. ``notes``: remarks put before a key, by dotted key. ``head``: lines for
    the top.
    """
    lines = [f"# {line}".rstrip() for line in (*head, *([""] if head else []), *_HEAD)]
    for name, field in Config.model_fields.items():
        lines.append("")
        lines += _notes(notes, name, "")
        section = _section_of(field)
        lines += _section(name, section, values, notes) if section else _key(name, name, field, values, "")
    return "\n".join(lines) + "\n"


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _section(
    name: str, model: type[BaseModel], values: Mapping[str, Any], notes: Mapping[str, str]
) -> Iterator[str]:
    active = any(key.startswith(name + ".") for key in values)
    yield f"# {(model.__doc__ or '').strip().splitlines()[0]}"
    yield f"{'' if active else '#'}{name}:"
    for key, field in model.model_fields.items():
        dotted = f"{name}.{key}"
        yield from _notes(notes, dotted, "  ")
        yield from _key(dotted, key, field, values, "  ")


def _notes(notes: Mapping[str, str], dotted: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in notes[dotted].splitlines()] if dotted in notes else []


def _key(dotted: str, key: str, field: FieldInfo, values: Mapping[str, Any], indent: str) -> list[str]:
    meaning = field.description or ""
    if dotted not in values and field.is_required():
        raise KeyError(f"the template needs a value of the required key {dotted}")
    if dotted in values:
        written = _yaml(values[dotted], block=dotted == "rois")
        if "\n" in written:
            inner = [f"{indent}  {line}" for line in written.splitlines()]
            return [f"{indent}# {meaning}", f"{indent}{key}:", *inner]
        return _with_comment(f"{indent}{key}: {written}", meaning, indent)
    return _with_comment(f"#{indent}{key}: {_yaml(_default(field), block=False)}", meaning, "#" + indent)


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    return None if value is PydanticUndefined else value


def _with_comment(line: str, meaning: str, indent: str) -> list[str]:
    if len(line) < _COMMENT_COLUMN and _COMMENT_COLUMN + len(meaning) + 2 <= _WIDTH:
        return [f"{line.ljust(_COMMENT_COLUMN)}# {meaning}"]
    # a remark has a blank after its '#', a key that is switched off has not
    return [f"{indent.lstrip('#')}# {meaning}", line]


def _yaml(value: Any, *, block: bool) -> str:
    """A value as YAML: in one line, or as a block whose innermost lists stay in one line."""
    style = None if block else True
    text = yaml.safe_dump(
        _plain(value), default_flow_style=style, sort_keys=False, width=10_000, allow_unicode=True
    )
    return text.strip().removesuffix("...").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value


def leaves(model: BaseModel, at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(key path, JSON-ready value) of every key of a configuration, in order; secrets as asterisks."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*at, name))
        else:
            yield (*at, name), model.model_dump(mode="json", include={name})[name]
