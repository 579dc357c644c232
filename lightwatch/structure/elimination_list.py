"""Frames that are eliminated as soon as they are imported: ``eliminated_frames.csv`` in the workdir."""

from __future__ import annotations

import csv
import io
import math
import os
import stat
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lightwatch.errors import ConfigError
from lightwatch.structure.files import write_atomically
from lightwatch.structure.frames_guard import open_regular, shown

FILE_NAME = "eliminated_frames.csv"
_COLUMNS = ("file", "comment")
_MAX_BYTES = 50_000_000
_SAID = 3  # of many
_NO_COMMENT = "eliminated beforehand"


@dataclass(frozen=True)
class Entry:
    """One row: the line where it ends, the name or path of a raw file, and why its frame is eliminated."""

    line: int
    file: str
    comment: str


@dataclass(frozen=True)
class Eliminated:
    """What a list means among the files there are. ``comments``: of every frame that is eliminated."""

    comments: Mapping[str, str]
    of_no_file: tuple[Entry, ...]
    of_several: tuple[Entry, ...]


@dataclass(frozen=True)
class EliminationList:
    """The entries; one entry means one frame."""

    workdir: Path
    entries: tuple[Entry, ...] = ()

    def among(self, files: Iterable[tuple[str, str]]) -> Eliminated:
        """Which frames are meant, among (path, what identifies its frame); copies of a frame share the latter.

        A file is meant that is the entry's own, links followed; else the one whose path agrees with the entry in the
        most parts, counted from the name backwards. An entry that fits several frames alike means none.
        """
        if not self.entries:
            return Eliminated({}, (), ())
        places = _Places(files, {_ends(entry.file)[-1] for entry in self.entries})
        best: dict[str, tuple[float, list[str]]] = {}
        none: list[Entry] = []
        several: list[Entry] = []
        for entry in self.entries:
            agreement, frames = places.meant_by(entry.file, self.workdir)
            if len(frames) != 1:
                (several if frames else none).append(entry)
                continue
            before, comments = best.get(frames[0], (0.0, []))
            if agreement > before:
                best[frames[0]] = (agreement, [entry.comment])
            elif agreement == before and entry.comment not in comments:
                comments.append(entry.comment)
        told = {frame: "; ".join(comments) for frame, (_, comments) in best.items()}
        return Eliminated(told, tuple(none), tuple(several))


class _Places:
    """Files by what an entry may say of them."""

    def __init__(self, files: Iterable[tuple[str, str]], names: Container[str]) -> None:
        self.by_end: dict[str, set[str]] = defaultdict(set)  # of files with one of the names
        self.by_real_path: dict[str, str] = {}
        real_folders: dict[str, str] = {}
        for path, frame in files:
            folder, _, name = path.rpartition("/")
            if folder not in real_folders:  # of many files in few folders
                real_folders[folder] = os.path.realpath(folder)
            real = f"{real_folders[folder]}/{name}"
            self.by_real_path[os.path.realpath(real) if os.path.islink(real) else real] = frame
            if name in names:
                for end in _ends(path):
                    self.by_end[end].add(frame)

    def meant_by(self, file: str, workdir: Path) -> tuple[float, list[str]]:
        """How well an entry agrees, and the frames with which it does."""
        if "/" in file and (own := self.by_real_path.get(os.path.realpath(workdir / file))) is not None:
            return math.inf, [own]
        end = next((end for end in _ends(file) if end in self.by_end), None)
        return (0.0, []) if end is None else (1.0 + end.count("/"), list(self.by_end[end]))


def _ends(path: str) -> list[str]:
    """Its parts from each of them on to the name; the whole path first."""
    parts = [part for part in os.path.normpath(path).split("/") if part]
    return ["/".join(parts[k:]) for k in range(len(parts))]


def told_of(found: Eliminated) -> str:
    """The entries that eliminate nothing, in a line; empty where there are none."""
    kinds = ((found.of_no_file, "match no file"), (found.of_several, "match several, and eliminate none"))
    told = (
        f"{len(entries)} {what} ({shown('; '.join(f'line {entry.line}: {entry.file}' for entry in entries[:_SAID]))})"
        for entries, what in kinds
        if entries
    )
    return f"{FILE_NAME}: {', '.join(told)}" if found.of_no_file or found.of_several else ""


def read_eliminations(workdir: Path) -> EliminationList:
    """The list of a workdir; empty where there is none.

    Raises
    ------
    ConfigError
        When it is no table with the columns file and comment.
    """
    path = workdir / FILE_NAME
    if not os.path.lexists(path):
        return EliminationList(workdir)
    entries = tuple(_entries(path))
    for entry in entries:
        problem = _problem(entry.file, workdir)
        if problem:
            raise ConfigError(f"{path}:{entry.line}: file: {problem}")
    return EliminationList(workdir, entries)


def _problem(file: str, workdir: Path) -> str | None:
    """Why an entry can mean no raw file."""
    if not PurePosixPath(os.path.normpath(file)).name.strip(".") or "\0" in file:
        return "expected the name or the path of a raw file"
    if "/" not in file:
        return None
    try:
        if stat.S_ISDIR(os.stat(workdir / file).st_mode):
            return f"{shown(file)} is a directory; name its files, a row each"
    except (FileNotFoundError, NotADirectoryError):
        return None  # the file was moved, or is still to come
    except OSError as error:
        return f"{shown(file)} cannot be looked at: {error.strerror}"
    return None


def _entries(path: Path) -> Iterator[Entry]:
    reader = csv.DictReader(io.StringIO(_text(path)), strict=True, skipinitialspace=True)
    try:
        names = reader.fieldnames or ()
        if "file" not in names:
            raise ConfigError(f"{path}:1: expected the columns {' and '.join(_COLUMNS)}{_separator(names)}")
        for row in reader:
            if None in row:
                raise ConfigError(
                    f"{path}:{reader.line_num}: more columns than in line 1; put text with a comma in quotes"
                )
            # PostgreSQL holds no NUL
            comment = (row.get("comment") or "").replace("\0", "").strip() or _NO_COMMENT
            yield Entry(reader.line_num, (row["file"] or "").strip(), comment)
    except csv.Error as error:
        raise ConfigError(f"{path}:{reader.line_num}: no CSV table: {error}") from None


def _separator(names: Sequence[str]) -> str:
    """A hint where a spreadsheet has written another separator."""
    found = next((mark for mark in (";", "\t") if any(mark in name for name in names)), None)
    return f", with commas between them, not {found!r}" if found else ""


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: no CSV table in UTF-8: {error}") from None


def write_eliminations(workdir: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write the list: (name or path of a raw file, comment).

    Raises StorageError.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])

    write_atomically(workdir / FILE_NAME, write)
