"""The tables of what was done, when, and with which result: runs, recipes in use, results, errors."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, Text, text

from lightwatch.structure.schema_columns import (
    Big,
    flags_column,
    frame_key,
    number,
    recipe_column,
    strict_table,
)

#: states of an item: done; rejected for a reason that is known; error: tried again
ITEM_STATES = ("done", "rejected", "error")

runs = strict_table(
    "runs",
    Column("id", Integer, primary_key=True),
    Column("started", Text, nullable=False, comment="UTC, ISO 8601"),
    Column("ended", Text, comment="UTC; NULL: still running, or crashed"),
    Column("host", Text),
    Column("pid", Integer),
    Column("boot_id", Text, comment="of the host when it began: a pid means nothing after a restart"),
    Column("heartbeat", Text, comment="UTC of the last sign of life, renewed at most once a minute"),
    Column("version", Text, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("config", Text, nullable=False, comment="JSON, without secrets"),
    Column("exit_code", Integer),
    Column("summary", Text),
)

task_recipes = strict_table(
    "task_recipes",
    Column("task", Text, primary_key=True),
    Column("position", Integer, nullable=False, comment="in the order of the night"),
    Column("upstream", Text, comment="task whose finished frames this one takes; NULL for joint tasks"),
    Column("recipe", Text, nullable=False, comment="the one in use"),
    Column("settings", Text, nullable=False, comment="JSON of what decides the task's numbers"),
)

task_results = strict_table(
    "task_results",
    Column("task", Text, primary_key=True, nullable=False),
    Column(
        "combined_footprint_hash",
        Text,
        primary_key=True,
        nullable=False,
        comment="'' before stars are chosen",
    ),
    frame_key(),
    Column("state", Text, nullable=False),
    Column("reason_code", Text),
    Column("reason", Text, comment="one line for people"),
    flags_column(),
    Column("attempts", Integer, nullable=False, server_default="1"),
    number("seconds", "wall time"),
    Column("run_id", Integer),
    recipe_column(),
    CheckConstraint(f"state IN {ITEM_STATES}", name="state"),
    Index("ix_task_results_frame", "frame_id"),
    Index(
        "ix_task_results_counting",
        "task",
        "recipe",
        "combined_footprint_hash",
        "frame_id",
        "state",
        "run_id",
    ),
    Index(
        "ix_task_results_not_done",
        "task",
        "recipe",
        sqlite_where=text("state <> 'done'"),
        postgresql_where=text("state <> 'done'"),
    ),
)

task_counts = strict_table(
    "task_counts",
    Column("task", Text, primary_key=True, nullable=False),
    Column("combined_footprint_hash", Text, primary_key=True, nullable=False),
    Column("recipe", Text, primary_key=True, nullable=False),
    Column("state", Text, primary_key=True, nullable=False),
    Column(
        "n", Big, nullable=False, comment="results in task_results; kept by triggers (structure/counts.py)"
    ),
    Column("ids", Big, nullable=False, comment="sum of their frame_id"),
    Column("squares", Big, nullable=False, comment="sum of the squares of their frame_id"),
)

group_results = strict_table(
    "group_results",
    Column("task", Text, primary_key=True, nullable=False),
    Column("combined_footprint_hash", Text, primary_key=True, nullable=False),
    Column("group_key", Text, primary_key=True, nullable=False, comment="filter, or ROI and filter"),
    Column("digest", Text, nullable=False, comment="of the rows consumed"),
    Column("state", Text, nullable=False),
    Column("reason_code", Text),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default="1"),
    Column("n_items", Integer, nullable=False),
    number("seconds", "wall time"),
    Column("run_id", Integer),
    recipe_column(),
    CheckConstraint(f"state IN {ITEM_STATES}", name="state"),
)

task_errors = strict_table(
    "task_errors",
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer),
    Column("task", Text, nullable=False),
    Column("item", Text, nullable=False, comment="file, frame or group"),
    Column("frame_id", Integer),
    Column("reason_code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", Text, comment="where in the code"),
    Column("at", Text, nullable=False, comment="UTC"),
    recipe_column(),
)
