"""R18, R23, R27: configurations, names that reach SQL, and what the package is made of."""

from __future__ import annotations

import ast
import json
import random
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from lightwatch.errors import ConfigError, LightwatchError
from lightwatch.pipeline.init_lightcurver import translate
from lightwatch.structure import schema
from lightwatch.structure.config_file import load_config, resolve_paths
from lightwatch.structure.header_tools import sky_position
from reliability.commands import command
from reliability.goal import Effort, Goal, Measured, NotMeasured
from reliability.wrong_configs import BASE, BY_HAND, by_chance, examples

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "lightwatch"
_SEED = 18
_LINE = re.compile(r"config\.yaml:(\d+): .+?: \S")


# ---------------------------------------------------------------- R18
def _problems(path: Path) -> list[str] | None:
    """What is told of a file; None when it is accepted."""
    try:
        resolve_paths(load_config(path), path)
    except ConfigError as error:
        return error.problems
    return None


def _by_hand(path: Path) -> tuple[int, int]:
    """How many handwritten mistakes are accepted, and how many are told with the right line and key."""
    accepted = right = 0
    for key, text in BY_HAND:
        path.write_text(text)
        told = _problems(path)
        line = 1 + text[: text.index("#!")].count("\n")
        accepted += told is None
        right += any(problem.startswith(f"config.yaml:{line}: {key}") for problem in told or ())
    return accepted, right


def _is_well_told(problem: str, content: bytes) -> bool:
    found = _LINE.match(problem)
    lines = max(len(re.split(r"\r\n|[\n\r\x85\u2028\u2029]", content.decode("utf-8", "replace"))), 1)
    return bool(found) and int(found[1]) <= lines and problem.isprintable()


def _through_the_command(folder: Path) -> tuple[int, int]:
    """How many of a sample of mistakes end the real command as they should; the sample."""
    sample = BY_HAND[:: len(BY_HAND) // 12]
    right = 0
    for _key, text in sample:
        (folder / "config.yaml").write_text(text)
        ended = command("run", str(folder))
        lines = ended.err.splitlines()
        told = bool(lines) and all(line.startswith("config.yaml:") for line in lines)
        right += (
            ended.code == 78
            and told
            and not ended.out
            and [p.name for p in folder.iterdir()] == ["config.yaml"]
        )
    return right, len(sample)


def _other_words(scratch: Path, number: int) -> int:
    """Positions as text, and LightCurver configurations with random edits: exceptions that are no message."""
    chance = random.Random(_SEED)
    raised = 0
    texts = [
        "",
        "nan",
        "12:xx",
        "400",
        "-1",
        "1:2:3:4",
        "½",
        "02h48m48.7s",
        "1e400",
        "None",
        "a" * 999,
        "12:60:00",
        "\0",
    ]
    for ra in texts:
        try:
            sky_position(ra, chance.choice(texts))
        except ValueError:
            continue
        except Exception:
            raised += 1
    path = scratch / "lightcurver.yaml"
    old = "workdir: /x\nraw_dirs: [raw]\nROI:\n  A:\n    coordinates: [1, 2]\npoint_sources: {A: [1, 2]}\n"
    old += "telescope: {name: x, latitude: 1}\nstars_to_use_psf: abc\nfix_point_source_astrometry: false\n"
    for content in by_chance([old], _SEED, number):
        path.write_bytes(content)
        try:
            translate(path)
        except LightwatchError:
            continue
        except Exception:
            raised += 1
    return raised


def wrong_configurations(scratch: Path, effort: Effort) -> Measured:
    """By hand, by chance, through the command; positions and older configurations too."""
    path = scratch / "config.yaml"
    accepted, right = _by_hand(path)
    number = effort.of(300, 5000)
    refused = badly_told = raised = 0
    longest = 0.0
    for content in by_chance(examples(ROOT), _SEED, number):
        path.write_bytes(content)
        begun = time.perf_counter()
        try:
            told = _problems(path)
        except Exception:
            raised += 1
            continue
        finally:
            longest = max(longest, time.perf_counter() - begun)
        refused += told is not None
        badly_told += not all(_is_well_told(problem, content) for problem in told or ())
    folder = scratch / "workdir"
    folder.mkdir()
    ended, sample = _through_the_command(folder)
    raised += _other_words(scratch, number // 10)
    n = len(BY_HAND)
    return Measured(
        f"{n} mistakes by hand: {accepted} accepted, {right} told with line and key; {number} random edits: "
        f"{refused} refused, {badly_told} badly told, {raised} tracebacks, longest {longest:.2f} s; "
        f"{ended} of {sample} through the command: exit code 78, nothing written",
        accepted == badly_told == raised == 0 and right == n and ended == sample and refused > 0.5 * number,
    )


# ---------------------------------------------------------------- R23
_SQL_CALLS = ("text", "exec_driver_sql", "execute", "executescript", "literal_column", "executemany")
#: the one file that knows the dialect, and definitions of the schema: names in them are their own constants
_SPEAK_SQL = (
    "structure/database.py",
    "structure/views.py",
    "structure/counts.py",
    "structure/migrations/",
    "structure/schema",
)


def _built_sql() -> list[str]:
    """Places where SQL is made of an f-string, a sum or a format, outside of the files that define the schema."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if name.startswith(_SPEAK_SQL):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            made = isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
            if called in _SQL_CALLS and made and name != "report/figure.py":
                found.append(f"{name}:{node.lineno}")
    return found


def _names_by_chance(number: int) -> Iterator[str]:
    chance = random.Random(_SEED)
    known = [column.name for column in schema.frames.columns]
    parts = (
        "--",
        ";",
        "'",
        '"',
        " OR 1=1",
        ") UNION SELECT",
        "/*",
        "\n",
        "é",
        "seeing",
        "(",
        "`",
        "*",
        "1=1",
        "id",
    )
    for _ in range(number):
        name = list(chance.choice(known))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(name) + 1)
            action = chance.random()
            if action < 0.4:
                name[at:at] = chance.choice(parts)
            elif action < 0.7 and len(name) > 1:
                del name[at % len(name)]
            else:
                name[at % len(name)] = chance.choice("abcxyz_%; ")
        if "".join(name) not in known:
            yield "".join(name)


def sql_names(scratch: Path, effort: Effort) -> Measured:
    """Names of columns from a configuration, and a look at the source."""
    path = scratch / "config.yaml"
    known = {column.name for column in schema.frames.columns}
    names = list(_names_by_chance(effort.of(150, 3000)))
    refused = hinted = 0
    for name in names:
        quoted = "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in name)
        path.write_text(
            f'{BASE}calibrated_cutouts: {{constraints_on_frame_columns: {{"{quoted}": [1, 2]}}}}\n'
        )
        told = _problems(path) or []
        refused += bool(told)
        hints = [re.search(r"did you mean '(\w+)'", problem) for problem in told]
        hinted += any(hint and hint[1] in known for hint in hints)
    n, complaints, built = len(names), _ruff("S608"), _built_sql()
    return Measured(
        f"{refused} of {n} names that are no column refused, {hinted} with the nearest one; "
        f"ruff S608: {len(complaints)}; SQL built of strings outside the schema's own files: {len(built)}"
        + "".join(f"; {place}" for place in (*complaints, *built)),
        refused == hinted == n and not complaints and not built,
    )


def _ruff(*rules: str) -> list[str]:
    """What ruff says of the package by these rules."""
    program = shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
    arguments = [
        "check",
        "--select",
        ",".join(rules),
        "--ignore",
        "S101,S311",
        "--output-format",
        "concise",
        "--quiet",
        "lightwatch",
        "header_parser",
    ]
    ended = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.stdout.splitlines() + ended.stderr.splitlines()


# ---------------------------------------------------------------- R27
_LOCKS = ("requirements.lock", "requirements-test.lock", "benchmarks/requirements-bench.lock",
          "benchmarks/requirements-audit.lock")  # fmt: skip
#: rules that may be set aside in a line, with their reason there
_EXCUSED = {"S102": 1, "S104": 1, "S603": 1, "S608": 1, "S704": 4}
_FORBIDDEN_CALLS = {"eval", "exec", "compile", "system", "popen", "__import__"}
_FORBIDDEN_WORDS = {"shell": True, "verify": False, "allow_pickle": True}
_FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "xmlrpc", "telnetlib"}
#: the user's own header parser is code, and is run only when nobody else can have changed it (R26)
_ALLOWED = {("structure/header_parsing.py", "exec"), ("structure/header_parsing.py", "compile")}


def _requirements(path: Path) -> dict[str, tuple[int, str]]:
    """Hashes and text of each requirement of a lock file."""
    joined = path.read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in joined.splitlines():
        plain = line.partition("#")[0].strip()
        if plain:
            name = re.split(r"[=<>!~ ;\[]", plain)[0].lower().replace("_", "-")
            found[name] = (len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", plain)), plain)
    return found


def lock_problems(root: Path) -> list[str]:
    """Requirements without version or hash, addresses, and dependencies that no lock file covers."""
    problems = []
    locks = {name: _requirements(root / name) for name in _LOCKS}
    for name, requirements in locks.items():
        text = (root / name).read_text(encoding="utf-8")
        problems += [
            f"{name}: address"
            for mark in ("://", "--index", "--find-links", "--trusted", "@ ")
            if mark in text
        ]
        problems += [f"{name}: {key}: no hash" for key, (hashes, _) in requirements.items() if not hashes]
        problems += [
            f"{name}: {key}: no version" for key, (_, text) in requirements.items() if "==" not in text
        ]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {
        "requirements.lock": project["dependencies"],
        "requirements-test.lock": project["optional-dependencies"]["test"],
    }
    for name, dependencies in wanted.items():
        covered = locks["requirements.lock"] | locks[name]
        bare = [re.split(r"[=<>!~ ;\[]", each)[0].lower() for each in dependencies]
        problems += [f"{name}: {each} is not in it" for each in bare if each not in covered]
    return problems


def forbidden_code(package: Path) -> list[str]:
    """Code that runs data, unpickles, calls a shell or trusts any certificate."""
    found = []
    for path in sorted(package.rglob("*.py")):
        name = str(path.relative_to(package))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            found += [f"{name}:{node.lineno}: {m}" for m in modules if m.split(".")[0] in _FORBIDDEN_MODULES]
            if isinstance(node, ast.Call):
                found += [f"{name}:{node.lineno}: {what}" for what in _forbidden_in_call(name, node)]
    return found


def _forbidden_in_call(name: str, call: ast.Call) -> Iterator[str]:
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = getattr(call.func.value, "id", "") if isinstance(call.func, ast.Attribute) else ""
    if called in _FORBIDDEN_CALLS and owner in ("", "os", "builtins") and (name, called) not in _ALLOWED:
        yield called
    if owner == "yaml" and called in ("load", "load_all", "unsafe_load", "full_load"):
        yield f"yaml.{called}"
    for keyword in call.keywords:
        value = getattr(keyword.value, "value", None)
        if keyword.arg in _FORBIDDEN_WORDS and value is _FORBIDDEN_WORDS[keyword.arg]:
            yield f"{keyword.arg}={value}"


def _excuses(package: Path) -> dict[str, int]:
    """How often each security rule is set aside in a line of the package."""
    found: dict[str, int] = {}
    for path in package.rglob("*.py"):
        for rules in re.findall(r"# noqa: ([A-Z0-9, ]+)", path.read_text(encoding="utf-8")):
            for rule in re.findall(r"\bS\d+", rules):
                found[rule] = found.get(rule, 0) + 1
    return found


def supply_chain(scratch: Path, effort: Effort) -> Measured:
    """Lock files, rules of security, and known vulnerabilities where the service that knows them answers."""
    locks, code, complaints, excuses = (
        lock_problems(ROOT),
        forbidden_code(PACKAGE),
        _ruff("S", "TID251"),
        _excuses(PACKAGE),
    )
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    holes = [
        f"{files}: {rule}" for files, rules in settings["per-file-ignores"].items() for rule in rules
        if rule.startswith("S") and files.startswith(("lightwatch", "header_parser"))
    ] + [rule for rule in settings["ignore"] if rule.startswith("S") and rule not in ("S101", "S311")
         and not rule.startswith("SIM")]  # fmt: skip
    unexpected = {rule: n for rule, n in excuses.items() if n > _EXCUSED.get(rule, 0)}
    pinned = sum(len(_requirements(ROOT / name)) for name in _LOCKS)
    known = audit() if effort.full else "not asked in the small version"
    wrong = [*locks, *code, *complaints, *holes, *(f"{rule}: {n} lines" for rule, n in unexpected.items())]
    text = (
        f"{pinned} requirements pinned, {len(locks)} without hash, with an address or missing; "
        f"forbidden code: {len(code)}; "
        f"ruff S: {len(complaints)}, set aside in {sum(excuses.values())} lines with a reason; "
        f"known vulnerabilities: {known}" + "".join(f"; {each}" for each in wrong)
    )
    if known.startswith("not answered") and not wrong:
        raise NotMeasured(text)
    return Measured(text, not wrong and not known.startswith("found"))


def audit() -> str:
    """What pip-audit says of the lock files: 0, found so many, or why it could not be asked.

    It counts what its service does not know as no vulnerability: an answer holds only where nothing was skipped.
    """
    program = ROOT / ".venv-audit" / "bin" / "pip-audit"
    if not program.is_file():
        return "not asked (make audit installs what asks)"
    arguments = [
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner",
        "off",
        "--timeout",
        "20",
        "--format",
        "json",
    ]
    for name in ("requirements.lock", "requirements-test.lock"):
        arguments += ["-r", name]
    command_line = [str(program), *arguments]
    ended = subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    try:
        audited = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        return "not answered: " + (ended.stderr.strip().splitlines() or ["no reason told"])[-1][:200]
    found = [f"{each['name']} {v['id']}" for each in audited for v in each.get("vulns", ())]
    skipped = sum("skip_reason" in each for each in audited)
    if found:
        return f"found {len(found)}: {', '.join(found)}"
    return f"not answered for {skipped} of {len(audited)}" if skipped else f"0 in {len(audited)}"


GOALS = (
    Goal(
        "R18",
        "Config errors",
        "Any wrong YAML: one line with file, line and key, exit code 78, nothing written; 5,000 random edits",
        wrong_configurations,
    ),
    Goal(
        "R23",
        "SQL through parameters and an allow-list only",
        "100 % of names that are no column refused; ruff S608 clean",
        sql_names,
    ),
    Goal(
        "R27",
        "Supply chain",
        "Locked with hashes, 0 known vulnerabilities, no pickle, eval, shell or unverified TLS",
        supply_chain,
    ),
)
