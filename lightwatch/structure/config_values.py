"""What a value in config.yaml may be: numbers that are numbers, ranges in order, names, positions on the sky."""

from __future__ import annotations

import difflib
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    WithJsonSchema,
)

_INCONCEIVABLE = 1e6
_LONGEST_NAME = 255  # bytes
_SQLITE = "sqlite:///"
_COORDINATES = 2
_COORDINATE = {"anyOf": [{"type": "number"}, {"type": "string"}]}
#: how a position may be written
POSITIONS = (
    'in degrees such as [42.2031, 19.22528], or in hours and degrees such as "02:48:48.74 +19:13:31.0"; '
    "a number is never hours"
)


class Section(BaseModel):
    """Base of all sections: frozen, strict about names and numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _conceivable(number: float) -> float:
    """A slip of the finger or of units: nothing that is set here reaches a million."""
    if number > _INCONCEIVABLE:
        raise ValueError(f"expected at most {_INCONCEIVABLE:g}")
    return number


#: strict: no text, no yes or no where a number belongs, and no number where yes or no does
Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
Switch = Annotated[bool, Strict()]
Degrees = Annotated[Number, Field(ge=-360.0, le=360.0)]
Positive = Annotated[Number, Field(gt=0.0), AfterValidator(_conceivable)]
NonNegative = Annotated[Number, Field(ge=0.0), AfterValidator(_conceivable)]
Count = Annotated[Whole, Field(ge=1), AfterValidator(_conceivable)]
Magnitude = Annotated[Number, Field(ge=-30.0, le=40.0)]
Trim = Annotated[Whole, Field(ge=0, le=100_000)]
Arcminutes = Annotated[Number, Field(gt=0.0, le=10_800.0)]
Seconds = Annotated[Number, Field(gt=0.0, le=86400.0)]
Interval = tuple[Number, Number]


def _ordered(interval: Interval) -> Interval:
    if interval[0] >= interval[1]:
        raise ValueError(f"the lower end {interval[0]:g} must be below the upper end {interval[1]:g}")
    return interval


def in_order(low_name: str, low: float | None, high_name: str, high: float | None) -> None:
    """Refuse two limits that contradict each other."""
    if low is not None and high is not None and low > high:
        raise ValueError(f"{low_name} {low:g} must not be above {high_name} {high:g}")


def no_star_twice(used: list[str] | None, excluded: list[str]) -> None:
    """Refuse a choice that takes a star and leaves it out."""
    both = sorted(set(used or ()) & set(excluded))
    if both:
        raise ValueError(f"stars_to_use and stars_to_exclude both name {', '.join(both)}")


def _in_degrees(position: Any) -> Any:
    """Of a position written as text, as a whole or in its parts, the numbers; others as they are."""
    parts = _parts(position) if isinstance(position, str) else position
    if not isinstance(parts, list | tuple) or not any(isinstance(part, str) for part in parts):
        return position
    # most configurations give numbers, and need no astropy to be read
    from lightwatch.structure.header_tools import sky_position

    if len(parts) != _COORDINATES:
        raise ValueError(f"expected a right ascension and a declination, {POSITIONS}")
    return list(sky_position(*parts))


def _parts(text: str) -> list[str]:
    """Right ascension and declination of one text: at the comma, at the declination's sign, else in the middle."""
    if text.count(",") == 1:
        return text.split(",")
    signed = re.fullmatch(r"\s*(\S.*?)\s+([-+\N{MINUS SIGN}].*)", text)
    if signed:
        return [signed[1], signed[2]]
    words = text.split()
    half, odd = divmod(len(words), 2)
    return words if odd else [" ".join(words[:half]), " ".join(words[half:])]


def _sky_position(position: Interval) -> Interval:
    ra, dec = position
    if not (0.0 <= ra < 360.0 and -90.0 <= dec <= 90.0):
        raise ValueError(f"expected 0 <= ra < 360 and -90 <= dec <= 90, {POSITIONS}")
    return position


def separation_deg(one: Interval, other: Interval) -> float:
    """Great-circle distance of two positions (haversine)."""
    (ra1, dec1), (ra2, dec2) = (tuple(map(math.radians, position)) for position in (one, other))
    half = math.sin((dec1 - dec2) / 2) ** 2
    half += math.cos(dec1) * math.cos(dec2) * math.sin((ra1 - ra2) / 2) ** 2
    return math.degrees(2 * math.asin(min(1.0, math.sqrt(half))))


def _as_text(star: Any) -> Any:
    """An id may be written without quotes."""
    return str(star) if isinstance(star, int) and not isinstance(star, bool) else star


def _star_id(star: str) -> str:
    if not star.removeprefix("-").isdecimal():
        raise ValueError("expected the id of a star in the catalogue, a whole number")
    return star


def _named(name: str) -> str:
    if not name.strip():
        raise ValueError("expected a name")
    return name


def _frame_column(name: str) -> str:
    # most configurations have no such constraint, and need no SQL to be read
    from lightwatch.structure.schema import frames

    columns = [column.name for column in frames.columns if column.type.python_type in (int, float)]
    if name not in columns:
        near = difflib.get_close_matches(name, columns, n=1, cutoff=0.0)
        raise ValueError(f"expected a column of numbers of the table frames; did you mean '{near[0]}'?")
    return name


def checked_database_url(url: SecretStr) -> SecretStr:
    """Refuse what is no database of a kind that is supported, and one whose driver is not installed."""
    text = url.get_secret_value()
    if text.startswith(_SQLITE) and text not in (_SQLITE, f"{_SQLITE}:memory:"):
        return url
    if not text.startswith("postgresql"):
        raise ValueError("expected sqlite:/// and the path of a file, or a URL of PostgreSQL")
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        make_url(text).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        raise ValueError(f"needs the package {error.name} (pip install {error.name})") from None
    except (SQLAlchemyError, ValueError):  # the error's own text may hold the password
        raise ValueError("expected a URL such as postgresql://user:password@host/database") from None
    return url


def absolute_database_url(url: SecretStr, base: Path) -> SecretStr:
    """The same database from whatever directory a command is called: a relative path of SQLite starts at ``base``."""
    text = url.get_secret_value()
    if not text.startswith(_SQLITE):
        return url
    return SecretStr(f"{_SQLITE}{base / text.removeprefix(_SQLITE)}")


def _path_text(text: Any) -> Any:
    """'' would be taken for the directory of the config file."""
    named = isinstance(text, str | Path) and str(text).strip()
    if (
        not named
        or len(str(text)) > 4000
        or any(len(part.encode("utf-8", "replace")) > _LONGEST_NAME for part in Path(text).parts)
    ):
        raise ValueError("expected a path")
    return text


OrderedInterval = Annotated[Interval, AfterValidator(_ordered)]
SkyPosition = Annotated[
    Interval,
    BeforeValidator(_in_degrees),
    AfterValidator(_sky_position),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "prefixItems": [_COORDINATE] * 2, "minItems": 2, "maxItems": 2},
                {"type": "string"},
            ]
        }
    ),
]
Band = Literal["G", "BP", "RP", "g_sdss", "r_sdss", "i_sdss", "z_sdss", "B", "V", "R", "Ic", "B_T", "V_T"]
StarName = Annotated[str, BeforeValidator(_as_text)]
StarId = Annotated[str, BeforeValidator(_as_text), AfterValidator(_star_id)]
StarNames = list[StarName] | None
Name = Annotated[str, AfterValidator(_named)]
FrameColumn = Annotated[str, AfterValidator(_frame_column)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(checked_database_url)]
GivenPath = Annotated[Path, BeforeValidator(_path_text)]
