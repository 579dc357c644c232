"""Write docs/configuration.md out of the configuration model: ``python docs/configuration.py``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from lightwatch.structure.config import Config, Roi
from lightwatch.structure.header_overrides import HeaderOverride

TARGET = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration

Every key of `config.yaml`, in the order of the night: what it may be, its default and its meaning.
(Made from the model by `python docs/configuration.py`; a test holds the two together.)

- Paths are relative to the config file. Unknown keys are errors, told with their line and the nearest
  known key; `lightwatch config check` lists every mistake at once.
- `lightwatch config show` tells each value in force and where it comes from; `lightwatch config schema`
  prints the JSON Schema, with which editors complete and check while you type.
- There are no switches for doing things again: change a setting, and exactly what depends on it is redone
  by the next run; `lightwatch plan` shows it beforehand.
- Coordinates are degrees, `[31.0428, 46.6878]`, or text, `["02:04:10.28", "+46:41:16.2"]` or
  `2h04m10.28s +46d41m16.2s`, whose right ascension is in hours; quotes are optional. A bare number is always degrees.
- `null` means: found from the data, or not set, as the meaning says.

The smallest file that runs:

```yaml
raw_dirs: [raw]
rois:
  J0248:
    coordinates: [42.2031, 19.22528]
reference_stars:
  catalog: gaia.csv
```
"""

MAPS: dict[str, type[BaseModel]] = {
    "## Each ROI: `rois.NAME`": Roi,
    "## Files whose names match: `header_overrides.PATTERN`\n\n"
    "A pattern with a slash is compared with the path from the raw directory, one without with the file's name; `*` "
    "stands for anything, case is ignored. All patterns that match count; of two values the later one holds. "
    "What changes is done again for the files concerned alone.": HeaderOverride,
}


def document() -> str:
    """The whole page."""
    schema = Config.model_json_schema()
    plain = {name: field for name, field in Config.model_fields.items() if not _section(field)}
    parts = [
        HEAD,
        "## Top level\n",
        _table(plain, schema["properties"], schema),
    ]
    for heading, model in MAPS.items():
        parts.append(f"{heading}\n")
        parts.append(_table(model.model_fields, schema["$defs"][model.__name__]["properties"], schema))
    for name, field in Config.model_fields.items():
        if model := _section(field):
            properties = schema["$defs"][model.__name__]["properties"]
            parts.append(f"## `{name}`\n\n{(model.__doc__ or '').strip()}\n")
            parts.append(_table(model.model_fields, properties, schema))
    return "\n".join(parts)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _table(fields: Mapping[str, FieldInfo], properties: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    lines = ["| Key | Values | Default | Meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        values = " or ".join(dict.fromkeys(_values(properties[name], schema)))
        meaning = _cell(field.description or "")
        lines.append(f"| `{name}` | {_cell(values)} | {_default(field)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "required" if value is PydanticUndefined else f"`{json.dumps(value)}`"


def _values(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """What a key may be, in words."""
    if "$ref" in part:
        yield "section"
    elif "anyOf" in part:
        for option in part["anyOf"]:
            yield from _values(option, schema)
    elif "enum" in part or "const" in part:
        yield ", ".join(str(value) for value in part.get("enum", [part.get("const")]))
    elif part.get("type") == "array":
        items = part.get("prefixItems")
        inner = (
            [next(_values(item, schema)) for item in items]
            if items
            else [*_values(part["items"], schema), "..."]
        )
        yield f"[{', '.join(inner)}]"
    elif part.get("type") == "object":
        yield f"name: {next(_values(part['additionalProperties'], schema))}"
    else:
        yield _words(part) + _range(part)


def _words(part: Mapping[str, Any]) -> str:
    if part.get("format") in ("path", "password"):
        return {"path": "path", "password": "text (kept secret)"}[part["format"]]
    words = {"string": "text", "boolean": "true, false", "integer": "whole number", "null": "null"}
    return words.get(part["type"], part["type"])


def _range(part: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {part[name]:g}" for name, sign in signs.items() if name in part]
    return f" {' and '.join(limits)}" if limits else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(document(), encoding="utf-8")
