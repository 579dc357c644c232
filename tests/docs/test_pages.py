"""The pages say what is so: configuration keys, old keys, commands, targets, links, locked dependencies."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from lightwatch.flags import DOUBTFUL, Flag
from lightwatch.pipeline import init_lightcurver
from lightwatch.pipeline.cli import app
from lightwatch.structure.config import Config
from lightwatch.structure.config_file import load_config
from lightwatch.structure.schema import metadata

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md"]
EXAMPLES = sorted((ROOT / "example_config").glob("*.yaml"))
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-test.lock"]
ALL_LOCKS = [*LOCKS, *sorted((ROOT / "benchmarks").glob("*.lock"))]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# ---------------------------------------------------------------- configuration
def test_page_of_all_keys_is_what_the_model_says():
    document = runpy.run_path(str(ROOT / "docs" / "configuration.py"))["document"]
    assert text_of(ROOT / "docs" / "configuration.md") == document(), "renew it: python docs/configuration.py"


def test_page_of_all_columns_is_what_dictionary_and_schema_say():
    document = runpy.run_path(str(ROOT / "docs" / "columns.py"))["document"]
    assert text_of(ROOT / "docs" / "columns.md") == document(), "renew it: python docs/columns.py"


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_example_is_a_configuration(path, tmp_path):
    (tmp_path / "config.yaml").write_text(text_of(path))
    config = load_config(tmp_path / "config.yaml")
    assert (ROOT / "header_parser" / f"{config.instrument}.py").is_file()


def test_smallest_configuration_of_the_page_is_one(tmp_path):
    (block,) = re.findall(r"```yaml\n(.*?)```", text_of(ROOT / "docs" / "configuration.md"), re.DOTALL)
    (tmp_path / "config.yaml").write_text(block)
    assert load_config(tmp_path / "config.yaml").reference_stars.catalog == "gaia.csv"


def test_every_key_of_lightcurver_has_its_line():
    page = text_of(ROOT / "docs" / "migrating.md")
    lines = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE))
    known = {*init_lightcurver.RENAMED, *init_lightcurver.LEFT_OUT, *init_lightcurver._SPECIAL}
    assert set(lines) == known
    for key, (ours, _) in init_lightcurver.RENAMED.items():
        assert f"`{ours}`" in lines[key]
    sections = "|".join(name for name, field in Config.model_fields.items() if field.annotation is not None)
    for section, key in re.findall(rf"`({sections})\.(\w+)`", "\n".join(lines.values())):
        if section != "rois":
            assert key in Config.model_fields[section].annotation.model_fields, f"{section}.{key}"


def test_method_names_tables_columns_and_keys_that_exist():
    keys = {
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        for key in getattr(field.annotation, "model_fields", ())
    }
    columns = {
        f"{table.name}.{column.name}" for table in metadata.tables.values() for column in table.columns
    }
    known = keys | columns | set(metadata.tables) | {name.split(".")[1] for name in columns}
    known |= {"background_rms", "full_psf"}  # arrays of products
    known |= {flag.name.lower() for flag in Flag}
    named = re.findall(r"`([a-zA-Z_0-9.]+)`", text_of(ROOT / "docs" / "method.md"))
    assert {name for name in named if "_" in name} <= known


def test_doubtful_points_are_told_by_their_number():
    told = re.findall(r"flags & (\d{5,}) (<>|=) 0", text_of(ROOT / "docs" / "sql.md"))
    assert told == [(str(int(DOUBTFUL)), "="), (str(int(DOUBTFUL)), "<>")]


# ---------------------------------------------------------------- commands
def commands(page: Path) -> list[str]:
    """Lines of code blocks that call lightwatch."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in fenced if not language]
    calls = [
        re.search(r"\blightwatch ([a-z][^>|&]*)", line) for block in blocks for line in block.splitlines()
    ]
    return [call.group(1) for call in calls if call]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page):
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`lightwatch ([a-z][^`]*)`", prose.replace("\n", " "))
    for call in [*commands(page), *inline]:
        command, words = get_command(app), call.split()
        while hasattr(command, "commands"):
            assert words[0] in command.commands, call
            command = command.commands[words.pop(0)]
            if not words:
                break
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert {word for word in words if re.match(r"-[-a-zA-Z]", word)} <= options, call


def test_make_targets_of_the_readme_exist():
    rules = text_of(ROOT / "Makefile")
    targets = set(re.findall(r"^(\w+):", rules, re.MULTILINE))
    readme = text_of(ROOT / "README.md")
    assert {"demo", "test"} <= set(re.findall(r"make (\w+)", readme)) <= targets
    for variable in re.findall(r"\b([A-Z]{2,})=", readme):
        assert f"$({variable})" in rules


# ---------------------------------------------------------------- links, locks
def anchors(path: Path) -> set[str]:
    """What a link may name behind '#': headings in small letters, without their punctuation."""
    prose = re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", text_of(page)):
        found = page.parent / target if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def pages_of(entries: list[Any]) -> list[str]:
    """Pages of the navigation of the site, from top to bottom."""
    values = [value for entry in entries for value in entry.values()]
    return [page for value in values for page in ([value] if isinstance(value, str) else pages_of(value))]


def test_the_site_lists_every_page_once():
    hooks = runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))
    listed = pages_of(yaml.safe_load(text_of(ROOT / "mkdocs.yml"))["nav"])
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted([*written, *hooks["BESIDE"].values()])
    assert all((ROOT / path).exists() for path in [*hooks["BESIDE"], *hooks["modules"]()])


@pytest.mark.parametrize(
    ("page", "link", "led"),
    [
        ("index.md", "docs/sql.md#flags", "sql.md#flags"),
        ("method.md", "../lightwatch/processes/noise.py", "api/lightwatch.processes.noise.md"),
        ("benchmarks/README.md", "../docs/accuracy.md", "../accuracy.md"),
        ("decisions/002-task-results.md", "001-footprint-hash.md", "001-footprint-hash.md"),
        ("examples/hatp32.md", "../../example_config", "../example_config.md"),
        ("report.md", "images/report-400.png", "images/report-400.png"),
    ],
)
def test_links_of_the_repository_lead_to_pages_of_the_site(page, link, led):
    hooks = runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))
    assert hooks["with_links"](f"[text]({link})", page) == f"[text]({led})"


def test_what_the_tutorial_prints_and_draws_stands_under_its_code():
    hooks = runpy.run_path(str(ROOT / "docs" / "site_hooks.py"))
    outputs = [
        {"output_type": "stream", "text": ["\x1b[32m6 done\x1b[0m\n"]},
        {"output_type": "display_data", "data": {"image/png": "iVBORw==", "text/plain": ["<Figure>"]}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Steps"]},
        {"cell_type": "code", "source": ["run()"], "outputs": outputs},
    ]
    text = hooks["notebook_as_markdown"]({"cells": cells})
    picture = "images/tutorial-01-1.png"
    drawn = f"![what the code above draws]({picture})"
    assert text == f"# Steps\n\n```python\nrun()\n```\n\n```text\n6 done\n```\n\n{drawn}"
    assert hooks["pictures_of"]({"cells": cells}) == {picture: b"\x89PNG"}


@pytest.mark.parametrize("lock", ALL_LOCKS, ids=name_of)
def test_locks_hold_names_versions_and_hashes_only(lock):
    lines = [line for line in text_of(lock).splitlines() if line and not line.startswith("#")]
    assert "://" not in text_of(lock)
    requirement = re.compile(
        r'[a-z0-9._-]+==[a-z0-9.+!]+( ; sys_platform == "darwin")? \\|    --hash=sha256:[0-9a-f]{64}( \\)?'
    )
    assert [line for line in lines if not requirement.fullmatch(line)] == []


def test_locks_hold_every_dependency():
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    declared = project["project"]["dependencies"]
    extra = project["project"]["optional-dependencies"]["test"]
    builders = project["build-system"]["requires"]
    for lock, wanted in zip(LOCKS, [[*declared, *builders], [*declared, *extra, *builders]], strict=True):
        locked = set(re.findall(r"^([a-z0-9._-]+)==", text_of(lock), re.MULTILINE))
        assert {re.split(r"[<>=\[ ]", name)[0].lower() for name in wanted} <= locked
