"""What the database of an older LightCurver workdir says of its frames and stars. It is read, and never written to."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightwatch.errors import ConfigError

DATABASE = "database.sqlite3"
#: comments that its own checks write; the frames are judged anew here
_WRITTEN_BY_CHECKS = ("bad_pointing", "suspicious_plate_solved")
_STAR_COLUMNS = ("gaia_id", "name", "ra", "dec", "gmag", "rmag", "bmag", "pmra", "pmdec", "ref_epoch")


@dataclass(frozen=True)
class OldFrame:
    """One frame: its raw file, the file made of it (below the workdir), and what became of it."""

    raw_path: str
    relpath: str
    eliminated: bool
    comment: str
    solved: bool

    @property
    def eliminated_by_hand(self) -> bool:
        """Not by a check of the pipeline."""
        return self.eliminated and self.comment not in _WRITTEN_BY_CHECKS


@dataclass(frozen=True)
class OldStar:
    """A reference star of the latest selection: id, letters, position (degrees), what else is known by column name."""

    gaia_id: str
    name: str
    columns: dict[str, Any]


@dataclass(frozen=True)
class OldWorkdir:
    """What an older workdir knows."""

    path: Path
    frames: tuple[OldFrame, ...]
    stars: tuple[OldStar, ...]


def read_lightcurver_workdir(workdir: Path) -> OldWorkdir | None:
    """Frames and stars of its database; None when it has none yet.

    Raises
    ------
    ConfigError
        When the database is damaged, foreign, or being written to.
    """
    path = workdir / DATABASE
    if not path.exists():
        return None
    for journal in (f"{DATABASE}-journal", f"{DATABASE}-wal"):
        if (workdir / journal).exists() and (workdir / journal).stat().st_size:
            raise _refused(
                path, f"{journal} beside it says that a program writes to it, or did not end in order"
            )
    try:
        # immutable: nothing is written beside it either, no lock and no journal
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as connection:
            connection.row_factory = sqlite3.Row
            return OldWorkdir(workdir, _frames(connection, path), _stars(connection))
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise _refused(path, str(error)) from None


def _refused(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path}: cannot be taken over: {why}; moved aside, the configuration alone is translated"
    )


def _frames(connection: sqlite3.Connection, path: Path) -> tuple[OldFrame, ...]:
    there = _columns(connection, "frames")
    needed = {"original_image_path", "image_relpath", "eliminated", "plate_solved"}
    if not needed <= there:
        raise _refused(
            path, f"no database of LightCurver, its table frames lacks {', '.join(sorted(needed - there))}"
        )
    return tuple(
        OldFrame(
            raw_path=str(row["original_image_path"] or ""),
            relpath=str(row["image_relpath"] or ""),
            eliminated=row["eliminated"] == 1,
            comment=str(row["comment"] or "").strip() if "comment" in there else "",
            solved=row["plate_solved"] == 1,
        )
        for row in connection.execute("SELECT * FROM frames ORDER BY rowid")
    )


def _stars(connection: sqlite3.Connection) -> tuple[OldStar, ...]:
    """Stars of the latest footprint that has some."""
    there = _columns(connection, "stars")
    if not {"combined_footprint_hash", "gaia_id", "name"} <= there:
        return ()
    rows: Sequence[sqlite3.Row] = connection.execute(
        "SELECT * FROM stars WHERE combined_footprint_hash = "
        "(SELECT combined_footprint_hash FROM stars ORDER BY rowid DESC LIMIT 1) ORDER BY rowid"
    ).fetchall()
    return tuple(
        OldStar(
            str(row["gaia_id"]),
            str(row["name"] or ""),
            {name: row[name] for name in _STAR_COLUMNS if name in there},
        )
        for row in rows
    )


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {str(name) for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
