"""Somebody who follows a page: a home directory, and the ways to do there what stands in a block of code."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from reliability.commands import in_a_terminal
from reliability.small_night import Workdir

from lightwatch.pipeline import cli
from lightwatch.structure.config_file import load_config

from .pages import ROOT, Block, expected, sections

#: what a night made for the purpose has under another name
NAMES = {"J0248": "pair", "/home/me/": "~/", "~/lightwatch/.venv/bin/": "", "15 9 * * *  ": ""}
#: commands that ask the network; that they and their options exist, test_pages.py checks
ASKS_NETWORK = "lightwatch catalog fetch"
COPY_OF_DATABASE = re.compile(r"database-\d{8}T\d+-[a-z-]+\.sqlite3")
#: blocks that ask for things which a sound night does not have, or change them
MAY_BE_EMPTY = {
    (
        "docs/cookbook.md",
        """SELECT f.image_relpath, t.reason_code, t.reason
FROM task_results t JOIN frames f ON f.id = t.frame_id
WHERE t.task = 'plate_solving' AND t.state <> 'done'
ORDER BY t.reason_code, f.mjd_mid;
""",
    ),
    (
        "docs/cookbook.md",
        "UPDATE frames SET eliminated = 1, comment = 'bad seeing' WHERE seeing_arcseconds > 3;\n",
    ),
    (
        "docs/decisions/002-task-results.md",
        "DELETE FROM task_results WHERE task = 'psf_modeling' AND frame_id = 12;\n",
    ),
    (
        "docs/sql.md",
        """SELECT point_source, mjd, mag FROM light_curves
WHERE flags = 0 AND seeing_arcseconds < 1.5 AND reduced_chi2 < 2
ORDER BY point_source, mjd;
""",
    ),
    ("docs/sql.md", "SELECT path, state, reason_code, reason FROM files WHERE state <> 'imported';\n"),
    (
        "docs/sql.md",
        """SELECT f.image_relpath, t.task, t.reason_code, t.reason
FROM task_results t JOIN frames f ON f.id = t.frame_id
WHERE t.state <> 'done';
""",
    ),
    (
        "docs/sql.md",
        """SELECT f.image_relpath, s.name, x.reason, 100 * x.residual AS off_percent, x.weight
FROM normalization_exclusions x
JOIN combined_footprint c ON c.hash = x.combined_footprint_hash AND c.is_current = 1
LEFT JOIN frames f ON f.id = x.frame_id
LEFT JOIN stars s ON s.combined_footprint_hash = x.combined_footprint_hash AND s.gaia_id = x.star_gaia_id
ORDER BY abs(x.residual) DESC;
""",
    ),
}
#: so that one which hangs does not cost the time of all tests; no judgement of its speed
SECONDS_OF_A_LINE = 300.0
#: packages that a recipe is about, and that lightwatch does not need
OPTIONAL = {"lightkurve"}


class Home:
    """A home directory, at first with nothing in it.

    ``names`` are texts of the page that are different here, ``settings`` are added to what `init` writes, and ``exact``
    says that the frames are those of the page, so that what it shows of them is compared too.
    """

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str], *, exact: bool = False) -> None:
        self.path = path
        self.capsys = capsys
        self.exact = exact
        self.page = ""
        self.names = dict(NAMES)
        self.settings: dict[str, Any] = {}
        self.variables: dict[str, object] = {"__name__": "recipe"}
        #: blocks that were followed; all that was printed; and what was since the last block that shows it
        self.followed: list[Block] = []
        self.told = self.fresh = ""

    @property
    def config(self) -> Path:
        (config,) = self.path.glob("**/config.yaml")
        return config

    @property
    def workdir(self) -> Workdir:
        return Workdir(self.config.parent)

    def follow(self, blocks: list[Block]) -> None:
        """What a reader does with a section: block after block. A language that nobody knows here is an error."""
        ways = {
            "": self.type,
            "text": self.compare,
            "yaml": self.merge,
            "sql": self.ask,
            "python": self.execute,
        }
        for language, text in blocks:
            ways[language](self.here(text))
            self.followed.append((language, text))

    def follow_story(self, page: str) -> None:
        """A page from its first section to the last; its settings are those that `init` has written."""
        self.page = page
        for blocks in sections(page).values():
            for language, text in blocks:
                if language == "yaml":
                    self.find_in_force(self.here(text))
                    self.followed.append((language, text))
                else:
                    self.follow([(language, text)])

    def here(self, text: str) -> str:
        for theirs, ours in self.names.items():
            text = text.replace(theirs, ours)
        return text

    # ------------------------------------------------------------ commands, and what they print
    def type(self, text: str) -> str:
        """Lines of commands; what they printed."""
        told = "".join(self.command(line) for line in text.splitlines())
        self.told += told
        self.fresh += told
        return told

    def command(self, line: str) -> str:
        if line.startswith(ASKS_NETWORK):
            return ""
        if not line.startswith("lightwatch "):
            return self._shell(line)
        words = [os.path.expanduser(self._existing_copy(word)) for word in shlex.split(line)[1:]]
        if "--serve" in words:
            return self._serve(words)
        with pytest.raises(SystemExit) as end:
            cli.main(words)
        told = self.capsys.readouterr()
        assert end.value.code in (0, 10), f"{line}: {told.out}{told.err}"
        if words[0] == "init" and self.settings:
            self.merge(self.settings)
        return f"{told.out}{told.err}"

    def _shell(self, line: str) -> str:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            line, shell=True, check=False, cwd=self.path, env=environment, capture_output=True, text=True,
            timeout=SECONDS_OF_A_LINE,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def _serve(self, words: list[str]) -> str:
        """Started as from a terminal, on a free port; asked for its first page; ended with Ctrl-C."""
        with in_a_terminal(*words, "--port", "0") as process:
            told = process.stdout.readline()
            (url,) = re.findall(r"http://\S+", told)
            parts = urlsplit(url)
            with closing(HTTPConnection(parts.netloc, timeout=60)) as connection:
                connection.request("GET", f"{parts.path}?{parts.query}")
                assert connection.getresponse().status == 200
            process.send_signal(signal.SIGINT)
            _, mistakes = process.communicate(timeout=60)
        assert (process.returncode, mistakes) == (0, "")
        return told

    def _existing_copy(self, word: str) -> str:
        if not COPY_OF_DATABASE.fullmatch(word):
            return word
        return max(path.name for path in (self.config.parent / "backups").glob("database-*.sqlite3"))

    def compare(self, shown: str) -> None:
        """What the page shows is what the blocks before it printed; a line behind '$ ' is typed first."""
        for line in re.findall(r"^\$ (.*)\n", shown, re.MULTILINE):
            self.type(line.replace(" benchmarks/", f" {ROOT}/benchmarks/"))
        shown = re.sub(r"^\$ .*\n", "", shown, flags=re.MULTILINE)
        printed = self.fresh.replace(str(self.path), "~")
        assert expected(shown, numbers_too=not self.exact).fullmatch(printed), (
            f"{shown}\n--- printed:\n{printed}"
        )
        self.fresh = ""

    # ------------------------------------------------------------ settings, queries, Python
    def merge(self, settings: str | dict[str, Any]) -> None:
        """Write them into the configuration, and see that what stands there is one."""
        config = yaml.safe_load(self.config.read_text())
        added = yaml.safe_load(settings) if isinstance(settings, str) else settings
        for section, values in added.items():
            known = config.get(section)
            config[section] = {**known, **values} if isinstance(known, dict) else values
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))
        load_config(self.config)

    def find_in_force(self, text: str) -> None:
        """What the page shows of the configuration stands in it; with other frames, its keys are such as there are."""
        if self.exact:
            lines = [re.sub(r" +# .*", "", line) for line in self.config.read_text().splitlines()]
            missing = set(text.replace("~", str(self.path)).splitlines()) - set(lines)
            assert not missing, f"{missing} are not in\n{lines}"
        else:
            shown = self.path / "shown.yaml"
            shown.write_text(
                yaml.safe_dump({**yaml.safe_load(self.config.read_text()), **yaml.safe_load(text)})
            )
            load_config(shown)

    def ask(self, query: str) -> None:
        """A query finds something, a statement changes exactly one row; those of MAY_BE_EMPTY may do neither."""
        may_be_empty = (self.page, query) in MAY_BE_EMPTY
        with closing(sqlite3.connect(self.config.parent / "database.sqlite3")) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            cursor = connection.execute(query)
            rows = cursor.fetchall()
            n_found = cursor.rowcount if cursor.description is None else len(rows)
            assert n_found or may_be_empty, query
            assert cursor.description is not None or n_found <= 1, query
            assert not rows or any(value is not None for value in rows[0]), query

    def execute(self, text: str) -> None:
        wanted = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
        if all(importlib.util.find_spec(name) for name in wanted & OPTIONAL):
            exec(compile(text, "recipe", "exec"), self.variables)
        told = self.capsys.readouterr().out
        self.told += told
        self.fresh += told
