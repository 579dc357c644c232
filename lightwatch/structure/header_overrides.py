"""What a configuration says in place of the headers of some files: a camera without a gain, a clock that was wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from lightwatch.structure.config_values import Number, Section

_FARTHEST_CLOCK_S = 1e9  # set back to 1970, 2000...


def _as_text(value: Any) -> Any:
    """A filter may be named by a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_as_text)] | None


class HeaderOverride(Section):
    """Values that replace those of the header parser, for the files whose names match."""

    exptime: Number | None = Field(None, description="Exposure time, seconds.")
    gain: Number | None = Field(None, description="Electron per ADU.")
    mjd: Number | None = Field(None, description="Modified Julian Date, UTC.")
    time_offset_seconds: Annotated[Number, Field(ge=-_FARTHEST_CLOCK_S, le=_FARTHEST_CLOCK_S)] | None = Field(
        None, description="Added to the time: positive where the camera's clock was slow."
    )
    time_reference: Literal["start", "mid", "end"] | None = Field(
        None, description="What mjd is: start, mid or end of the exposure."
    )
    filter: Text = Field(None, description="Name of the filter.")
    read_noise: Number | None = Field(None, description="Electron.")
    saturation: Number | None = Field(None, description="ADU of the raw file.")
    frame_type: Literal["science", "bias", "dark", "flat", "focus"] | None = Field(
        None, description="What the frame is for: all but science are left out."
    )
    object: Text = Field(None, description="Name of the field.")
    telescope: Text = Field(None, description="Name of the telescope.")
    instrument: Text = Field(None, description="Name of the camera.")
    airmass: Number | None = Field(None, description="Used where the place of the telescope is unknown.")
    ra: Number | None = Field(None, description="Where the telescope pointed, degrees ICRS.")
    dec: Number | None = Field(None, description="Where the telescope pointed, degrees ICRS.")
    pixel_scale: Number | None = Field(None, description="Arcsec per pixel.")
    latitude: Number | None = Field(None, description="Of the telescope, degrees, north positive.")
    longitude: Number | None = Field(None, description="Of the telescope, degrees, east positive.")
    elevation: Number | None = Field(None, description="Of the telescope, metres.")

    @field_validator("*")
    @classmethod
    def _in_range(cls, value: Any, info: ValidationInfo) -> Any:
        # most configurations override nothing, and need no NumPy to be read
        from lightwatch.structure.header_values import expected_of

        expected = None if value is None else expected_of(str(info.field_name), value)
        if isinstance(value, str) and not value.isprintable():
            expected = "text without line breaks and other control characters"
        if expected:
            raise ValueError(f"expected {expected}")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> HeaderOverride:
        if not self.values:
            raise ValueError("expected a value that replaces the header's, such as {gain: 1.4}")
        if (self.ra is None) != (self.dec is None):
            raise ValueError("expected both ra and dec: a pointing of two sources lies nowhere")
        return self

    @model_serializer(mode="wrap")
    def _only_what_is_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}

    @property
    def values(self) -> dict[str, Any]:
        """What is replaced, by key of the header parser's contract (and ``time_offset_seconds``)."""
        return {key: value for key in type(self).model_fields if (value := getattr(self, key)) is not None}


def relpath_of(path: PurePath, raw_dirs: Sequence[Path]) -> str:
    """Path of a file from its raw directory, as patterns are compared with."""
    base = next((raw for raw in raw_dirs if path.is_relative_to(raw)), path.parent)
    return path.relative_to(base).as_posix()


def overrides_of(overrides: Mapping[str, HeaderOverride], relpath: str) -> dict[str, Any]:
    """What is said of one file, ``relpath`` being its path from the raw directory.

    A pattern with a slash is compared with that path, one without with the file's name; case is ignored. Every
    pattern that matches counts; where two say different values, the later one wins.
    """
    path = relpath.lower()
    name = path.rpartition("/")[2]
    said: dict[str, Any] = {}
    for pattern, override in overrides.items():
        if fnmatchcase(path if "/" in pattern else name, pattern.lower()):
            said |= override.values
    return said
