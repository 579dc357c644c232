"""R19: the archive of reference stars is down, slow or talks nonsense; a run waits little, loses nothing, goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from astropy.table import Table

from lightwatch.pipeline import catalogs
from lightwatch.structure.catalogs import GAIA_SERVICES
from lightwatch.structure.config import Network
from reliability.fake_tap import NOWHERE, Server, fake_tap
from reliability.goal import Effort, Goal, Measured
from reliability.small_night import Workdir, make_field, make_workdir

N_FRAMES = 2
_SOLVING = "plate_solving"
#: seconds that a run may take beside waiting for the network
_OVERHEAD_S = 5.0

#: how the service misbehaves; 'down' listens nowhere, 'impostor' has no certificate
BEHAVIOURS = (
    "down", "impostor", "silent", "drips", "endless_header", "endless", "truncated", "broken", "html", "zero",
    "error500", "busy", "redirects", "wrong_columns", "not_numbers", "refused", "bomb", "gzip_bomb",
)  # fmt: skip
_IN_SMALL = ("down", "drips", "html", "zero", "busy", "truncated", "redirects", "not_numbers")


@dataclass(frozen=True)
class Trial:
    """What a run did without its archive, and the next one with it."""

    code: int
    line: str
    seconds: float
    network_seconds: float
    states: Mapping[str, int]  # results of plate solving by state
    next_code: int
    solved: int


def _address(server: Server, behaviour: str) -> str:
    if behaviour == "down":
        return NOWHERE
    if behaviour == "impostor":
        return server.url("ok").replace("http:", "https:")
    return server.url(behaviour)


@contextmanager
def _services(*addresses: str) -> Iterator[None]:
    found = tuple(
        replace(GAIA_SERVICES[0], name=name, url=url)
        for name, url in zip(("gaia", "mirror"), addresses, strict=False)
    )
    with mock.patch.object(catalogs, "GAIA_SERVICES", found):
        yield


def _workdir(scratch: Path, field: Any, budget_s: float) -> Workdir:
    """Frames whose stars come from an archive."""
    workdir = make_workdir(scratch / "workdir", field, range(N_FRAMES))
    (scratch / "raw").mkdir()  # one of its two raw directories stays empty
    workdir.configure("catalog: stars.csv", "catalog: gaia")
    _allow(workdir, budget_s)
    return workdir


def _allow(workdir: Workdir, budget_s: float) -> None:
    """Set the time that a run may wait for the network; nothing is done again for that."""
    text = workdir.config.read_text().partition("network:")[0]
    workdir.config.write_text(f"{text}network: {{budget_seconds: {budget_s}}}\n")


def _trial(workdir: Workdir, server: Server, behaviour: str) -> Trial:
    begun = time.perf_counter()
    address = _address(server, behaviour)
    with _services(address, address):
        result = workdir.run(stop=_SOLVING)
    seconds = time.perf_counter() - begun
    summary = next(s for s in result.summaries if s.task == _SOLVING)
    states = dict(
        workdir.sql("SELECT state, count(*) FROM task_results WHERE task = ? GROUP BY state", _SOLVING)
    )
    workdir.configure(
        "network: {budget_seconds: ", "network: {timeout_seconds: 5, budget_seconds: 3"
    )  # 3x.x s
    with _services(address, server.url("ok")):
        after = workdir.run(stop=_SOLVING)
    solved = workdir.sql("SELECT count(*) FROM task_results WHERE task = ? AND state = 'done'", _SOLVING)[0][
        0
    ]
    return Trial(result.exit_code, result.line, seconds, summary.seconds, states, after.exit_code, solved)


def _is_right(trial: Trial, budget_s: float) -> bool:
    return (
        trial.code == 10
        and "waits: " in trial.line
        and "\n" not in trial.line
        and trial.network_seconds <= budget_s + _OVERHEAD_S
        and not trial.states
        and trial.next_code == 0
        and trial.solved == N_FRAMES
    )


def _stars(field: Any) -> dict[str, Any]:
    table = Table.read(field.stars, format="ascii.csv")
    return {name: table[name] for name in table.colnames}


def _others_go_on(scratch: Path, field: Any, server: Server, budget_s: float) -> list[str]:
    """What goes wrong when frames come while the archive is down, with its answer in the cache and without."""
    workdir = _workdir(scratch, field, budget_s)
    last = shutil.move(workdir.more / field.frames[N_FRAMES - 1].name, scratch / "later.fits")
    with _services(server.url("ok")):
        workdir.run(stop=_SOLVING)
    problems = []
    shutil.copy2(last, workdir.more)
    with _services(NOWHERE):
        result = workdir.run(stop=_SOLVING)
    if result.exit_code != 0:
        problems.append(f"the cache was not used: {result.line}")
    shutil.rmtree(workdir.path / "catalogs")
    with _services(NOWHERE):
        result = workdir.run(stop="query_gaia_for_stars")
    footprints = next(s for s in result.summaries if s.task == "calculate_common_and_total_footprint")
    if result.exit_code != 10 or footprints.done != N_FRAMES:
        problems.append(f"another task waited too: {result.line}")
    return problems


def _without_network(scratch: Path, imported: Workdir) -> list[str]:
    """What goes wrong when the command itself runs on a machine without network."""
    copy = Workdir(scratch / "workdir")
    shutil.copytree(imported.path.parent, scratch)
    command = [
        sys.executable,
        "-m",
        "lightwatch.pipeline.cli",
        "run",
        str(copy.path),
        "--stop",
        _SOLVING,
        "-q",
    ]
    environment = dict(os.environ)
    if (
        shutil.which("unshare")
        and not subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode
    ):
        command = ["unshare", "-rn", *command]
    else:
        environment |= {"HTTPS_PROXY": NOWHERE, "https_proxy": NOWHERE, "NO_PROXY": ""}
    begun = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    told = (ended.stdout + ended.stderr).strip()
    right = ended.returncode == 10 and "waits: " in told and len(told.splitlines()) == 1
    return [] if right and time.perf_counter() - begun < 60 else [f"network off: {ended.returncode}: {told}"]


def network_trouble(scratch: Path, effort: Effort) -> Measured:
    """Each behaviour of the archive, for a workdir of its own whose frames are imported already."""
    budget_s = 12.0 if effort.full else 0.9
    names = BEHAVIOURS if effort.full else _IN_SMALL
    field = make_field(scratch / "field", N_FRAMES)
    trials: dict[str, Trial] = {}
    with mock.patch.dict(os.environ, {"NO_PROXY": "127.0.0.1"}), fake_tap(_stars(field)) as server:
        server.slowness_s = 2.0 * budget_s
        imported = _workdir(scratch / "imported", field, budget_s)
        imported.run(stop="read_convert_skysub_character_catalog")
        for name in names:
            copy = Workdir(scratch / name / "workdir")
            shutil.copytree(imported.path.parent, copy.path.parent)
            trials[name] = _trial(copy, server, name)
        problems = _others_go_on(scratch / "others", field, server, budget_s)
    problems += _without_network(scratch / "off", imported)
    wrong = [f"{name}: {trial}" for name, trial in trials.items() if not _is_right(trial, budget_s)]
    default = Network().budget_seconds
    text = (
        f"{len(names) - len(wrong)} of {len(names)} behaviours: frames stay pending, exit code 10, one line, and the "
        f"next run solves them; longest wait {max(t.network_seconds for t in trials.values()):.1f} s where "
        f"{budget_s:g} s were allowed (default {default:g} s); {3 - len(problems)} of 3: cache used, "
        "other tasks go on, network off"
    )
    return Measured("; ".join([text, *wrong, *problems]), not wrong and not problems and default <= 60)


GOALS = (
    Goal(
        "R19",
        "Network",
        "Archive down, slow, truncated, HTML, zero rows: only the dependent task waits, at most 60 s a run",
        network_trouble,
    ),
)
