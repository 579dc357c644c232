"""Frames that people name by id or by a part of the name, and the names nearest to one that is none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from lightwatch.errors import NoUsableData
from lightwatch.structure import queries, queries_overview
from lightwatch.structure.workspace import Workspace

_SUGGESTED = 3
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
    paths = (path for (path,) in queries.stream(workspace.reader, queries_overview.paths_of_frames()))
    raise NoUsableData(f"no frame {what}; nothing was changed; {suggestion(text, paths)}")


def suggestion(text: str, paths: Iterable[str]) -> str:
    """What to do about a name that no frame bears, with the nearest names there are; a word of a name will do."""
    by_word: dict[str, str] = {}
    for path in paths:
        name = PurePosixPath(path).name
        for word in (name, *_WORDS.findall(name)):
            by_word.setdefault(word.lower(), name)
    near = difflib.get_close_matches(text.lower(), by_word, n=_SUGGESTED)
    names = list(dict.fromkeys(by_word[word] for word in near))
    meant = f"did you mean {' or '.join(names)}? " if names else ""
    return f"{meant}'lightwatch frames' lists them"
