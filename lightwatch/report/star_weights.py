"""What the normalization rests on: the weight of single stars, and what it trusted less or left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lightwatch.flags import Flag
from lightwatch.report.star_scatter import StarScatter
from lightwatch.structure import queries, queries_report
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_MAX_STARS = 60
_MAX_EXCLUSIONS = 60


@dataclass(frozen=True)
class StarWeight:
    """A star; changes of the frames' coefficients when it is left out, its scatter and what is stated for it (both
    as in the chart of the stars' scatter), as fractions."""

    name: str
    gmag: float | None
    n_frames: int
    scatter: float | None
    stated: float | None
    influence_rms: float | None
    influence: float | None
    flags: str


@dataclass(frozen=True)
class Exclusion:
    """A star (in all frames), a frame (with all stars), or one star on one frame; fractions."""

    star: str
    frame: str
    off: float | None
    weight: float | None
    reason: str


@dataclass(frozen=True)
class Weights:
    """One filter: stars of most influence first, and what was left out: ``n_faint`` stars below the least S/N, and
    others, one by one; ``more_...`` are not shown."""

    filter: str
    stars: list[StarWeight]
    more_stars: int
    n_faint: int
    exclusions: list[Exclusion]
    more_exclusions: int


def weights_by_filter(
    workspace: Workspace, footprint_hash: str, judged: Sequence[Row], scatter: Sequence[StarScatter]
) -> list[Weights]:
    """What the normalization of each filter rests on; ``judged``: rows of normalization_stars, ``scatter`` of
    star_scatter."""
    engine = workspace.reader
    known = {row["gaia_id"]: row for row in queries.rows(engine, queries.stars_of(footprint_hash))}
    counts = {
        row["filter"]: row["n"]
        for row in queries.rows(engine, queries_report.number_of_exclusions(footprint_hash))
    }
    measured = {
        (one.filter, star): (float(one.scatter[i]), float(one.expected[i]))
        for one in scatter
        for i, star in enumerate(one.ids)
    }
    out = []
    for name in sorted({row["filter"] for row in judged}):
        stars = [_weight(row, known, measured) for row in judged if row["filter"] == name and row["n_frames"]]
        stars.sort(key=lambda star: (-(star.influence_rms or star.influence or 0.0), star.name))
        # stars come first, and no more are faint than are known
        query = queries_report.exclusions_of(footprint_hash, name, _MAX_EXCLUSIONS + len(known))
        left_out = queries.rows(engine, query)
        others = [row for row in left_out if row["frame_id"] is not None or row["flags"] != Flag.LOW_SNR]
        n_faint, shown = len(left_out) - len(others), others[:_MAX_EXCLUSIONS]
        out.append(
            Weights(
                filter=name,
                stars=stars[:_MAX_STARS],
                more_stars=max(0, len(stars) - _MAX_STARS),
                n_faint=n_faint,
                exclusions=[_exclusion(row) for row in shown],
                more_exclusions=counts.get(name, 0) - n_faint - len(shown),
            )
        )
    return [one for one in out if one.stars or one.n_faint or one.exclusions]


def _weight(
    row: Row, known: Mapping[int, Row], measured: Mapping[tuple[str, int], tuple[float, float]]
) -> StarWeight:
    star = known[row["star_gaia_id"]]
    scatter, stated = measured.get((row["filter"], row["star_gaia_id"]), (None, None))
    return StarWeight(
        name=star["name"],
        gmag=star["gmag"],
        n_frames=row["n_frames"],
        scatter=scatter,
        stated=stated,
        influence_rms=row["influence_rms"],
        influence=row["influence"],
        flags=", ".join(Flag(row["flags"]).names).replace("_", " "),
    )


def _exclusion(row: Row) -> Exclusion:
    path = row["original_image_path"]
    return Exclusion(
        star=row["star"] or "",
        frame=PurePosixPath(path).name if path else "",
        off=row["residual"],
        weight=row["weight"],
        reason=row["reason"],
    )
