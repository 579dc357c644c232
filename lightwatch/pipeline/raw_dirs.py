"""Whether the raw directories can be listed, told in time: a disk of the network that is gone answers nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from lightwatch.structure.frames_discovery import unlisted


@dataclass
class RawDirs:
    """Raw directories, which may be asked again and again; one that has not answered yet is not asked anew."""

    folders: Sequence[Path]
    seconds: float = 2.0
    _asked: dict[Path, _Asked] = field(default_factory=dict)

    def unlisted(self) -> list[tuple[Path, str]]:
        """Those that cannot be listed now, and why, within ``seconds`` for all of them."""
        for folder in self.folders:
            if folder not in self._asked:
                self._asked[folder] = _Asked(folder)
        latest = time.monotonic() + self.seconds
        return [item for folder in self.folders for item in self._answer(folder, latest)]

    def _answer(self, folder: Path, latest: float) -> list[tuple[Path, str]]:
        asked = self._asked[folder]
        asked.thread.join(max(0.0, latest - time.monotonic()))
        if asked.thread.is_alive():
            return [(folder, f"it did not answer within {self.seconds:g} s")]
        del self._asked[folder]
        return asked.told


class _Asked:
    """A folder, and a thread that waits for its answer, for which the program does not wait at its end."""

    def __init__(self, folder: Path) -> None:
        self.told: list[tuple[Path, str]] = []
        self.thread = Thread(target=lambda: self.told.extend(unlisted([folder])), daemon=True)
        self.thread.start()
