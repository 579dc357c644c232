"""Frames that people name by id or by a part of the name, and the names nearest to one that is none."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Select

from lightwatch.errors import NoUsableData
from lightwatch.structure import queries, queries_overview
from lightwatch.structure.workspace import Workspace

_SUGGESTED = 3
_COMPARED = 500
_SHORT = 6  # a mistake in the middle leaves few pieces of three letters whole
_PIECES = 8  # of a name, looked for in all paths
_WORDS = re.compile(r"[^\W_]+")


def frame_meant(workspace: Workspace, text: str) -> queries.Row:
    """The one frame that an id, or a part of a name, means.

    Raises
    ------
    NoUsableData
        When there is none, or more than one.
    """
    found = queries.rows(workspace.reader, queries.frame_named(text))
    if len(found) == 1:
        return found[0]
    if found:
        raise NoUsableData(
            f"{len(found)} frames bear the name '{text}'; nothing was changed; 'lightwatch frames' lists them"
        )
    what = f"has the id {text} or bears it in its name" if text.isdecimal() else f"bears the name '{text}'"
    told = suggestion(workspace, text, queries_overview.paths_of_frames)
    raise NoUsableData(f"no frame {what}; nothing was changed; {told}")


def suggestion(
    workspace: Workspace, text: str, paths_like: Callable[[Sequence[str], int], Select[Any]]
) -> str:
    """What to do about a name that no frame bears, with the nearest names there are; a word of a name will do.

    ``paths_like`` is the question for those paths, as many as a number, that have most of some pieces: names are
    compared one by one, which takes half a minute where there are very many.
    """
    text = PurePosixPath(text).name
    size = 3 if len(text) > _SHORT else 2
    pieces = list(dict.fromkeys(text[i : i + size] for i in range(len(text) - size + 1)))
    few = pieces[:: math.ceil(len(pieces) / _PIECES) or 1]
    by_word: dict[str, str] = {}
    for (path,) in queries.stream(workspace.reader, paths_like(few, _COMPARED)):
        name = PurePosixPath(path).name
        for word in (name, *_WORDS.findall(name)):
            by_word.setdefault(word.lower(), name)
    near = difflib.get_close_matches(text.lower(), by_word, n=_SUGGESTED)
    names = list(dict.fromkeys(by_word[word] for word in near))
    meant = f"did you mean {' or '.join(names)}? " if names else ""
    return f"{meant}'lightwatch frames' lists them"
