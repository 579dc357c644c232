"""Frames that are eliminated as soon as they are imported: ``eliminated_frames.csv`` in the workdir."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lightwatch.errors import ConfigError
from lightwatch.structure.files import write_atomically
from lightwatch.structure.frames_guard import open_regular

FILE_NAME = "eliminated_frames.csv"
_COLUMNS = ("file", "comment")
_MAX_BYTES = 50_000_000
_NO_COMMENT = "eliminated beforehand"


@dataclass(frozen=True)
class EliminationList:
    """Comments by path, and by name for entries without a path or whose file is no longer in its place."""

    by_path: dict[str, str]
    by_name: dict[str, str]

    def comment(self, path: str) -> str | None:
        """Why a raw file's frame is eliminated; None: it is not."""
        return self.by_path.get(path, self.by_name.get(PurePosixPath(path).name))


def read_eliminations(workdir: Path) -> EliminationList:
    """The list of a workdir; empty where there is none.

    Raises
    ------
    ConfigError
        When it is no table with the columns file and comment.
    """
    path = workdir / FILE_NAME
    by_path: dict[str, str] = {}
    by_name: dict[str, str] = {}
    for number, (name, comment) in enumerate(_rows(path) if path.exists() else (), start=2):
        if not name:
            raise ConfigError(f"{path}:{number}: file: expected the name or the path of a raw file")
        in_its_place = name.startswith("/") and Path(name).is_file()
        (by_path if in_its_place else by_name)[name if in_its_place else PurePosixPath(name).name] = (
            comment or _NO_COMMENT
        )
    return EliminationList(by_path, by_name)


def _rows(path: Path) -> list[tuple[str, str]]:
    try:
        with open_regular(path) as file:
            text = file.read(_MAX_BYTES).decode("utf-8")
        reader = csv.DictReader(io.StringIO(text), strict=True)
        if reader.fieldnames is None or "file" not in reader.fieldnames:
            raise ConfigError(f"{path}:1: expected the columns {' and '.join(_COLUMNS)}")
        return [((row["file"] or "").strip(), (row.get("comment") or "").strip()) for row in reader]
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: no CSV table in UTF-8: {error}") from None


def write_eliminations(workdir: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write the list: (name or path of a raw file, comment).

    Raises StorageError.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])

    write_atomically(workdir / FILE_NAME, write)
