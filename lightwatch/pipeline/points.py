"""How many points the light curves have, and how many of them their flags make doubtful."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lightwatch.flags import DOUBTFUL, Flag
from lightwatch.structure import queries, queries_overview
from lightwatch.structure.workspace import Workspace

_SHOWN = 3


@dataclass(frozen=True)
class Points:
    """Number of points, of doubtful ones, and what is doubtful of them, the most common flag first."""

    n: int
    doubtful: int
    flag_names: tuple[str, ...]

    @property
    def text(self) -> str:
        """As in "15 points, 3 of them doubtful (poor_fit)"."""
        text = f"{self.n} point{'s' * (self.n != 1)}"
        if not self.doubtful:
            return text
        more = [f"{len(self.flag_names) - _SHOWN} more"] * (len(self.flag_names) > _SHOWN)
        return f"{text}, {self.doubtful} of them doubtful ({', '.join([*self.flag_names[:_SHOWN], *more])})"


def points_of(workspace: Workspace) -> Points:
    """Of the light curves in use."""
    rows = queries.rows(workspace.reader, queries_overview.flags_of_points())
    names: Counter[str] = Counter()
    n_doubtful = 0
    for row in rows:
        bits = Flag(row["flags"] & DOUBTFUL)
        if bits:
            n_doubtful += row["n"]
            names.update(dict.fromkeys(bits.names, row["n"]))
    return Points(sum(row["n"] for row in rows), n_doubtful, tuple(name for name, _ in names.most_common()))
