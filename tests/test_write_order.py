"""R4: the lint of the order of writing finds what a power cut could take away, in traces as strace writes them."""

from __future__ import annotations

import pytest
from reliability.system_calls import parse, violations

WORKDIR = "/w"
SOUND = """
7  mkdir("/w/regions", 0777) = 0
7  fsync(4</w>) = 0
7  write(5</w/regions/.a.h5.7.tmp>, "\\211HDF", 4) = 4
7  write(5</w/regions/.a.h5.7.tmp>, "x", 1) = 1
7  fsync(5</w/regions/.a.h5.7.tmp>) = 0
7  rename("/w/regions/.a.h5.7.tmp", "/w/regions/a.h5") = 0
7  fsync(6</w/regions>) = 0
7  pwrite64(8</w/database.sqlite3-wal>, "row", 3, 0) = 3
7  fdatasync(8</w/database.sqlite3-wal>) = 0
""".strip().splitlines()


def _without(*numbers):
    return [line for k, line in enumerate(SOUND) if k not in numbers]


def test_the_order_of_a_sound_run():
    assert violations(parse(SOUND), WORKDIR) == []


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (_without(4), ["renamed before it was synced: /w/regions/a.h5"]),
        ([*SOUND[:3], SOUND[4], SOUND[3], *SOUND[5:]], ["renamed before it was synced: /w/regions/a.h5"]),
        (_without(6), ["written to the database before the directory was synced: rename to /w/regions/a.h5"]),
        (
            [*SOUND[:6], SOUND[7], SOUND[6], SOUND[8]],
            ["written to the database before the directory was synced: rename to /w/regions/a.h5"],
        ),
        (_without(1), ["written to the database before the directory was synced: new directory /w/regions"]),
        (SOUND[:6], ["never synced: rename to /w/regions/a.h5"]),
        (
            [*SOUND[:4], SOUND[4].replace("= 0", "= -1 EIO (Input/output error)"), *SOUND[5:]],
            ["renamed before it was synced: /w/regions/a.h5"],
        ),
    ],
    ids=[
        "no sync", "written after the sync", "directory not synced", "directory synced after the row",
        "new directory", "at the end", "failed sync",
    ],
)  # fmt: skip
def test_what_is_planted_is_found(lines, found):
    assert violations(parse(lines), WORKDIR) == found


def test_calls_are_counted_by_name_within_the_first_thread():
    lines = [SOUND[2], '9  write(3</w/x>, "y", 1) = 1', SOUND[4], SOUND[3], "7  +++ exited with 0 +++"]
    calls = parse(lines)
    assert [(call.name, call.number) for call in calls] == [("write", 1), ("fsync", 1), ("write", 2)]
    assert calls[0].path == "/w/regions/.a.h5.7.tmp"
    assert parse([SOUND[5]])[0].target == "/w/regions/a.h5"
