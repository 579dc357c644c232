"""R22, R25: text that tries to be more than text, and secrets, looked for in everything that lightwatch puts out."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import logging
import os
import re
import shutil
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from astropy.io import fits, votable
from astropy.table import Table

from lightwatch.errors import CatalogError
from lightwatch.pipeline.console import OneLineFormatter
from lightwatch.structure.catalogs import read_catalog
from reliability.commands import command
from reliability.goal import Effort, Goal, Measured
from reliability.hostile import PAYLOADS, Skeleton, is_plain, is_safe_name
from reliability.small_night import make_field, make_workdir
from reliability.stub_workdir import build

#: columns of rows that hold what headers, file names, configurations and errors said
_TEXTS = {
    "frames": ("object", "telescope_name", "instrument", "comment", "original_image_path"),
    "files": ("path", "reason"),
    "task_results": ("reason",),
    "task_errors": ("item", "message", "details"),
    "runs": ("host", "summary"),
    "absolute_zeropoints": ("source_catalog",),
    "normalization_exclusions": ("reason",),
    "stars": ("name",),
    "combined_footprint": ("catalog_name",),
}
_FORMATS = ("ecsv", "fits", "votable", "csv", "aavso")
_N_FRAMES = 12
#: what a page of the report may refer to: a place in it, a picture in it, another page of the same report
_INSIDE = re.compile(r"#[\w-]*$|data:image/(png|jpeg);base64,|(\.\./)?(frames/)?\w+\.html(#[\w-]*)?$")
#: what a spreadsheet takes for one; a number may have a sign
_FORMULA = re.compile(r"[=@\t\r]|[+-](?!\d+(\.\d*)?(e[+-]\d+)?$)")


# ---------------------------------------------------------------- R22: what is in the database
def _put(path: Path, texts: tuple[str, ...]) -> None:
    """Texts into every column of foreign text, another one in each row; a filter gets the first."""
    connection = sqlite3.connect(path)
    with connection:
        for table, wanted in _TEXTS.items():
            there = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            rows = [row[0] for row in connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
            for column in there & set(wanted):
                values = [
                    (f"{texts[k % len(texts)]}{k if column != 'object' else ''}", row)
                    for k, row in enumerate(rows)
                ]
                connection.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", values)
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if any(row[1] == "filter" for row in connection.execute(f"PRAGMA table_info({table})")):
                connection.execute(f"UPDATE {table} SET filter = ? WHERE filter = 'i'", (texts[0],))
    connection.close()


def _workdir(path: Path, texts: tuple[str, ...]) -> Path:
    """A workdir whose frames, stars, ROI and point sources have these names."""
    names = (texts[0] or "A", (texts[1 % len(texts)] or "B") + "_1")
    workspace = build(path, n_frames=_N_FRAMES, roi=texts[-1] or "J0248", sources=names)
    workspace.close()
    _put(path / "database.sqlite3", texts)
    return path


def _page_problems(html: str, plain: Skeleton) -> Iterator[str]:
    """What harmless text has not done to a page."""
    page = Skeleton(html)
    if page.elements != plain.elements:
        yield "other elements or attributes"
    own = [text for text in plain.scripts if not _is_data(text)]
    if [text for text in page.scripts if not _is_data(text)] != own or len(page.scripts) != len(
        plain.scripts
    ):
        yield "other scripts"
    contents = [value or "" for tag, name, value in page.attributes if (tag, name) == ("meta", "content")]
    policy = next((content for content in contents if content.startswith("default-src")), "")
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in own]
    if not policy.startswith("default-src 'none'") or not all(
        f"'sha256-{each}'" in policy for each in hashes
    ):
        yield "the content security policy is missing or wrong"
    addresses = [
        value or "" for _, name, value in page.attributes if name in ("src", "href", "action", "xlink:href")
    ]
    outside = [each for each in addresses if not _INSIDE.match(each)]
    if outside:
        yield f"it refers to {outside[:3]}"
    if not is_plain(html.replace("\t", " ")):
        yield "control characters"


def _is_data(script: str) -> bool:
    try:
        json.loads(script)
    except ValueError:
        return False
    return True


def _pages(workdir: Path) -> dict[str, str]:
    """Pages of a report by their names."""
    folder = workdir / "report"
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in sorted(folder.rglob("*.html"))}


def _file_problems(folder: Path) -> Iterator[str]:
    """What is wrong with exported files, each read by its format's own reader."""
    for path in sorted(folder.iterdir()):
        if not is_safe_name(path.name):
            yield f"file name {path.name!r}"
        if path.suffix == ".ecsv":
            rows = len(Table.read(path, format="ascii.ecsv"))
        elif path.suffix == ".fits":
            with fits.open(path, checksum=True) as hdus:
                hdus.verify("exception")
                rows = len(hdus[1].data)
        elif path.suffix == ".vot":
            rows = len(votable.parse(path, verify="exception").get_first_table().array)
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as stream:
                cells = list(csv.reader(stream))
            rows = len(cells) - 1
            if any(len(row) != len(cells[0]) for row in cells):
                yield f"{path.name}: rows of different length"
            if any(_FORMULA.match(cell) for row in cells for cell in row):
                yield f"{path.name}: a cell is a formula"
        else:
            lines = path.read_text("ascii").splitlines()
            told = [line for line in lines if not line.startswith("#")]
            rows = len(told)
            if any(len(line.split(",")) != 15 for line in told) or not all(map(is_plain, lines)):
                yield f"{path.name}: broken lines"
        if not rows:
            yield f"{path.name}: nothing in it"


def _command_problems(workdir: Path) -> Iterator[str]:
    """What is wrong with what the commands print."""
    for words in (
        ["status"],
        ["frames"],
        ["why", "1"],
        ["config", "show"],
        ["config", "check"],
        ["plan"],
        ["verify"],
    ):
        ended = command(
            words[0], *words[1:2] * (words[0] == "config"), str(workdir), *words[1:] * (words[0] == "why")
        )
        if ended.code == 70 or not ended.told.strip() or not is_plain(ended.told):
            yield f"{' '.join(words)}: exit code {ended.code}, {ended.told[-200:]!r}"
    for words in ("status", "frames"):
        ended = command(words, str(workdir), "--json")
        if not json.loads(ended.out) or not is_plain(ended.out):
            yield f"{words} --json"


def _outputs(scratch: Path, texts: tuple[str, ...], plain: Mapping[str, Skeleton]) -> list[str]:
    """Everything that goes wrong with a workdir full of these texts."""
    scratch.mkdir()
    workdir = _workdir(scratch / "workdir", texts)
    outside = sorted(path.name for path in scratch.iterdir())
    problems: list[str] = []
    ended = command("report", str(workdir))
    if ended.code:
        problems.append(f"report: {ended.told}")
    else:
        pages = _pages(workdir)
        problems += [] if pages.keys() == plain.keys() else ["report: other pages"]
        for name in pages.keys() & plain.keys():
            problems += [f"{name}: {problem}" for problem in _page_problems(pages[name], plain[name])]
    words = [word for name in _FORMATS for word in ("--format", name)]
    ended = command("export", str(workdir), "--nightly", "--observer", texts[0] or "X", *words)
    problems += [f"export: {ended.told}"] if ended.code else list(_file_problems(workdir / "light_curves"))
    problems += [] if is_plain(ended.told) else ["export: control characters"]
    problems += _command_problems(workdir)
    if sorted(path.name for path in scratch.iterdir()) != outside:
        problems.append("a file outside of the workdir")
    return [f"{problem} (with {texts[0][:30]!r}...)" for problem in problems]


def _harmless(path: Path, text: str) -> dict[str, Skeleton]:
    """The pages of a workdir in which all names are this word."""
    workdir = _workdir(path, (text,))
    command("report", str(workdir))
    return {name: Skeleton(html) for name, html in _pages(workdir).items()}


def _log_problems() -> list[str]:
    formatter = OneLineFormatter(())
    told = [formatter.format(logging.LogRecord("x", 20, "", 0, "%s", (text,), None)) for text in PAYLOADS]
    return [f"log: {line!r}" for line in told if not is_plain(line) or "\n" in line]


def _catalog_problems(path: Path) -> list[str]:
    """Payloads in the place of a star's id, as a name of a column and in a column that is not read."""
    problems = []
    for text in PAYLOADS:
        for columns in (
            {"source_id": [text]},
            {"source_id": [7], text or "x": [1]},
            {"source_id": [7], "phot_variable": [text]},
        ):
            table = Table({"ra": [1.0], "dec": [2.0], "phot_g_mean_mag": [3.0], **columns})
            table.write(path, format="ascii.csv", overwrite=True)
            try:
                read_catalog(path)
            except CatalogError as error:
                if not is_plain(str(error)) or "\n" in str(error):
                    problems.append(f"catalogue: {error}")
    return problems


# ---------------------------------------------------------------- R22: on the way in
def _import_problems(scratch: Path, number: int) -> list[str]:
    """Hostile headers and file names through a real import and its report."""
    field = make_field(scratch / "field", 1)
    workdir = make_workdir(scratch / "inner" / "workdir", field)
    names = [text for text in PAYLOADS if "/" not in text and len(text.encode()) < 200 and text.strip(" .")][
        :: max(1, 40 // number)
    ]
    texts = [text for text in PAYLOADS if text.isascii() and text.isprintable() and len(text) < 60][
        :: max(1, 40 // number)
    ]
    for name in names:
        (workdir.more / f"{name}.fits").write_bytes(b"not a frame")
    with fits.open(field.frames[0]) as hdus:
        for k, text in enumerate(texts):
            for key in ("OBJECT", "FILTER", "TELESCOP", "INSTRUME", "OBSERVER"):
                hdus[0].header[key] = text
            hdus[0].header["COMMENT"] = text
            hdus[0].data[0, 0] = k  # another frame by its content
            hdus.writeto(workdir.more / f"frame{k}{names[k % len(names)]}.fits")
    before = sorted(str(path) for path in scratch.rglob("*") if workdir.path not in path.parents)
    ended = command("run", str(workdir.path), "--stop", "read_convert_skysub_character_catalog")
    problems = (
        [] if ended.code == 10 and is_plain(ended.told) else [f"import: {ended.code} {ended.told[-300:]!r}"]
    )
    imported = workdir.sql("SELECT count(*) FROM frames")[0][0]
    quarantined = workdir.sql("SELECT count(*) FROM files WHERE state = 'quarantined'")[0][0]
    if (imported, quarantined) != (len(texts), len(names)):
        problems.append(
            f"import: {imported} of {len(texts)} frames, {quarantined} of {len(names)} quarantined: {ended.told[-300:]}"
        )
    made = [path for path in workdir.path.rglob("*") if workdir.more not in path.parents and path.is_file()]
    problems += [f"product {path.name!r}" for path in made if not is_safe_name(path.name)]
    if sorted(str(path) for path in scratch.rglob("*") if workdir.path not in path.parents) != before:
        problems.append("import: a file outside of the workdir")
    for log in (workdir.path / "logs").iterdir():
        lines = log.read_text("utf-8").split("\n")
        problems += [
            f"log: {line!r}"
            for line in lines
            if line and not (re.match(r"\d{4}-\d\d-\d\dT", line) and is_plain(line))
        ]
    report = command("report", str(workdir.path))
    problems += _command_problems(workdir.path)
    return problems if not report.code else [*problems, f"report: {report.told}"]


def hostile_text(scratch: Path, effort: Effort) -> Measured:
    """Each payload in every text of a workdir: alone in full, dealt out over one workdir else; and on the way in."""
    logging.getLogger("lightwatch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # pages are in the order of their filters, and the first text names one beside "r"
        before, after = (_harmless(scratch / text, text) for text in ("plain", "~plain"))
        usable = tuple(text for text in PAYLOADS if text.strip())
        dealt = [
            usable[k:] + usable[:k] for k in ((0, 41, 45) if not effort.full else range(0, len(usable), 5))
        ]
        alone = [(text,) for text in usable] if effort.full else []
        problems = [
            line
            for k, texts in enumerate([*dealt, *alone])
            for line in _outputs(scratch / f"w{k}", texts, before if texts[0] < "r" else after)
        ]
        problems += _log_problems() + _catalog_problems(scratch / "stars.csv")
        problems += _import_problems(scratch / "import", effort.of(6, 40))
    return Measured(
        f"{len(PAYLOADS)} payloads in {len(dealt) + len(alone)} workdirs, in headers, file names, names of the "
        f"configuration and star tables: {len(problems)} became more than text"
        + "".join(f"; {p}" for p in problems[:8]),
        not problems,
    )


# ---------------------------------------------------------------- R25
_SECRET = "hunter2-Zx9q"
_API_KEY = "astrometry-net-key-Q7w"


def _leaks(where: str, text: str) -> list[str]:
    return [
        f"{where} tells {name}"
        for name, secret in (("the password", _SECRET), ("the key", _API_KEY))
        if secret in text
    ]


def _leaks_of_wrong_urls(folder: Path) -> tuple[list[str], int]:
    """Every command on configurations whose database cannot be opened; leaks, and the number of outputs looked at."""
    urls = (
        f"url: postgresql://me:{_SECRET}@localhost:1/db", f"url: postgresql+psycopg://me:{_SECRET}@[bad/db",
        f"url: mysql://me:{_SECRET}@localhost/db", f"url: [postgresql://me:{_SECRET}@h/db]", f"{{url: {_SECRET}}}",
        f"urll: postgresql://me:{_SECRET}@h/db", f"url: sqlite:////nowhere/{_SECRET}/x.sqlite3",
        f"url: 'postgresql://me:{_SECRET}@h/db", f"url: postgresql://me:{_SECRET}@h/db\n url: 3",
    )  # fmt: skip
    found, looked = [], 0
    head = "raw_dirs: [raw]\nrois: {a: {coordinates: [1, 2]}}\ninstrument: simulation\ndatabase:\n  "
    for url in urls:
        (folder / "config.yaml").write_text(f"{head}{url}\n")
        for words in (
            ("config", "check"),
            ("config", "show"),
            ("config", "diff"),
            ("status",),
            ("run",),
            ("report",),
        ):
            found += _leaks(f"{' '.join(words)} with {url[:12]}", command(*words, str(folder)).told)
            looked += 1
        logs = [path for path in folder.rglob("*.log") if path.is_file()]
        found += [leak for path in logs for leak in _leaks(path.name, path.read_text("utf-8"))]
    return found, looked


def _leaks_of_a_run(scratch: Path) -> tuple[list[str], int]:
    """A real import into a database whose URL is a secret, with a header parser that writes down its environment."""
    field = make_field(scratch / "field", 2)
    workdir = make_workdir(scratch / "inner" / "workdir", field, range(2))
    (scratch / "inner" / "raw").mkdir()
    vault = scratch / "vault"
    vault.mkdir()
    secret = workdir.path / "url.secret"
    secret.write_text(f"sqlite:///{vault}/{_SECRET}.sqlite3\n")
    secret.chmod(0o600)
    parser = workdir.path / "header_parser" / "parse_header.py"
    parser.parent.mkdir(mode=0o755)
    seen = scratch / "environment.txt"
    shipped = Path(__file__).resolve().parents[2] / "header_parser" / "simulation.py"
    parser.write_text(
        f"{shipped.read_text()}\nimport os\nopen({str(seen)!r}, 'a').write(repr(dict(os.environ)))\n"
    )
    parser.chmod(0o644)
    text = workdir.config.read_text()
    workdir.config.write_text(
        re.sub(r"(?m)^instrument:.*\n", "", text) + "database: {url_file: url.secret}\n"
    )
    found, looked = [], 0
    for words in (("run", "--stop", "plate_solving"), ("status",), ("status", "--json"), ("plan",), ("report",),
                  ("config", "show"), ("config", "check"), ("config", "diff"), ("verify",)):  # fmt: skip
        place = 1 + (words[0] == "config")
        ended = command(*words[:place], str(workdir.path), *words[place:])
        found += _leaks(" ".join(words), ended.told) + (
            [f"{words}: {ended.told}"] if ended.code in (70, 78) else []
        )
        looked += 1
    shutil.move(vault, scratch / "gone")
    for words in (("run",), ("status",), ("report",)):
        found += _leaks(f"{words[0]} without the database", command(*words, str(workdir.path)).told)
        looked += 1
    files = [path for path in workdir.path.rglob("*") if path.is_file() and path != secret]
    files += [path for path in (scratch / "gone").rglob("*") if path.is_file()]
    for path in files:
        found += _leaks(path.name, path.read_bytes().decode("latin-1"))
    found += _leaks("the environment of a header parser", seen.read_text().replace(_API_KEY, ""))
    return found, looked + len(files) + 1


def secrets(scratch: Path, effort: Effort) -> Measured:
    """A password in the database's URL and a key in an older configuration; all outputs are searched for both."""
    old = scratch / "old.yaml"
    old.write_text(
        f"raw_dirs: [raw]\nastrometry_net_api_key: {_API_KEY}\nROI: {{a: {{coordinates: [1, 2]}}}}\n"
    )
    told = command("init", str(scratch / "new"), "--from-lightcurver", str(old)).told
    found = _leaks("init", told + (scratch / "new" / "config.yaml").read_text())
    folder = scratch / "wrong"
    folder.mkdir()
    with mock.patch.dict(os.environ, {"ASTROMETRY_NET_API_KEY": _API_KEY}):
        first, n_first = _leaks_of_wrong_urls(folder)
        second, n_second = _leaks_of_a_run(scratch / "run")
    found += first + second
    return Measured(
        f"{len(found)} of {1 + n_first + n_second} outputs (commands, logs, products, database, report, environment of "
        "children) tell a planted password or key" + "".join(f"; {each}" for each in found[:8]),
        not found,
    )


GOALS = (
    Goal(
        "R22",
        "Header text is hostile",
        "40 payloads in every text: no new element or script, no file outside, one line per event, no formula",
        hostile_text,
    ),
    Goal(
        "R25",
        "Secrets",
        "A planted key and password appear 0 times in logs, report, database, exceptions, environment of children",
        secrets,
    ),
)
