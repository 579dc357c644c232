"""Copies of the database in ``backups/`` beside it: made before it is changed, and thinned by a rule.

A copy is named by when it was made (UTC) and what for. Those made before a run and before a migration are thinned;
those made by hand stay until somebody removes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from lightwatch.errors import StorageError
from lightwatch.structure.database import backup_sqlite, damage_of
from lightwatch.structure.files import path_text, remove

BEFORE_RUN, BEFORE_MIGRATION, BY_HAND, REPLACED = "before-run", "before-migration", "by-hand", "replaced"
_THINNED = (BEFORE_RUN, BEFORE_MIGRATION)
#: of so many of the latest days, weeks and months that have a copy, the newest one is kept
_RULE: tuple[tuple[Callable[[datetime], Hashable], int], ...] = (
    (datetime.date, 7),
    (lambda made: made.isocalendar()[:2], 4),
    (lambda made: (made.year, made.month), 6),
)
_STAMP = "%Y%m%dT%H%M%S%f"
#: a temporary file so old is what a killed process left
_LEFTOVER_SECONDS = 3600.0


@dataclass(frozen=True, order=True)
class Copy:
    """A copy of the database; ``made`` in UTC."""

    made: datetime
    label: str
    path: Path


def kept(moments: Iterable[datetime]) -> set[datetime]:
    """Which of the copies made at these moments to keep: 7 daily, 4 weekly, 6 monthly ones."""
    newest_first = sorted(set(moments), reverse=True)
    chosen: set[datetime] = set()
    for period, count in _RULE:
        newest: dict[Hashable, datetime] = {}
        for moment in newest_first:
            newest.setdefault(period(moment), moment)
        chosen.update(list(newest.values())[:count])
    return chosen


def copies(database: Path) -> list[Copy]:
    """Copies of a database, the oldest first; files that are not named as one are left out."""
    found = []
    for path in _directory(database).glob(f"{database.stem}-*{database.suffix}"):
        stamp, _, label = path.stem.removeprefix(f"{database.stem}-").partition("-")
        with suppress(ValueError):
            found.append(Copy(datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC), label, path))
    return sorted(found)


def new_copy_path(database: Path, label: str) -> Path:
    """Where a copy that is made now goes."""
    return _directory(database) / f"{database.stem}-{datetime.now(UTC):{_STAMP}}-{label}{database.suffix}"


def backup(engine: Engine, label: str) -> Path | None:
    """Copy an SQLite database, then remove the copies that the rule does not keep; None for a server.

    Raises
    ------
    StorageError
        When the copy cannot be made, or one made before a change is damaged as the database then is; the older ones
        are all there then.
    """
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return None
    database = Path(engine.url.database)
    target = new_copy_path(database, label)
    backup_sqlite(database, target)
    if label in _THINNED:  # by hand, people may keep what is left of a damaged one
        _refuse_damaged(database, target)
    _thin(database, spare=target)
    return target


def _refuse_damaged(database: Path, copy: Path) -> None:
    """Neither is a damaged database written to, nor do its copies push out good ones."""
    problem = damage_of(copy)
    if problem:
        remove(copy)
        raise StorageError(
            f"database {path_text(database)} is damaged ({problem}); nothing was changed, and its older copies are "
            "kept: 'lightwatch db restore' puts one back"
        )


def _thin(database: Path, *, spare: Path) -> None:
    for label in _THINNED:
        of_label = [copy for copy in copies(database) if copy.label == label]
        keep = kept(copy.made for copy in of_label)
        for copy in of_label:
            if copy.made not in keep and copy.path != spare:
                remove(copy.path)
    for leftover in _directory(database).glob(".*.tmp"):
        with suppress(FileNotFoundError):  # another process has just given it its name
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_SECONDS:
                remove(leftover)


def _directory(database: Path) -> Path:
    return database.parent / "backups"
