"""How many results each task has in each state, kept with the results themselves, so that nobody must count them.

SQLite keeps the table ``task_counts`` by triggers, in the transaction that changes a result, whoever changes it. On a
server it is a view that counts.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

SERVER_VIEW = """
    SELECT task, combined_footprint_hash, recipe, state,
           count(*) AS n, sum(frame_id) AS ids, sum(CAST(frame_id AS BIGINT) * frame_id) AS squares
    FROM task_results GROUP BY task, combined_footprint_hash, recipe, state"""
_MISCOUNTED = """
    SELECT task, combined_footprint_hash, recipe, state FROM (
        SELECT task, combined_footprint_hash, recipe, state, n, ids, squares FROM task_counts
        UNION ALL
        SELECT task, combined_footprint_hash, recipe, state, count(*), sum(frame_id), sum(frame_id * frame_id)
        FROM task_results GROUP BY task, combined_footprint_hash, recipe, state)
    GROUP BY task, combined_footprint_hash, recipe, state
    HAVING count(*) <> 2 OR min(n) <> max(n) OR min(ids) <> max(ids) OR min(squares) <> max(squares)"""
# 'INSERT ... WHERE NOT EXISTS' and not 'ON CONFLICT': the statement that fires a trigger decides about conflicts
_JOINS = """
    INSERT INTO task_counts (task, combined_footprint_hash, recipe, state, n, ids, squares)
        SELECT NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state, 0, 0, 0 WHERE NOT EXISTS (
            SELECT 1 FROM task_counts WHERE (task, combined_footprint_hash, recipe, state)
            = (NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state));
    UPDATE task_counts SET n = n + 1, ids = ids + NEW.frame_id, squares = squares + NEW.frame_id * NEW.frame_id
        WHERE (task, combined_footprint_hash, recipe, state)
        = (NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state);"""
_LEAVES = """
    UPDATE task_counts SET n = n - 1, ids = ids - OLD.frame_id, squares = squares - OLD.frame_id * OLD.frame_id
        WHERE (task, combined_footprint_hash, recipe, state)
        = (OLD.task, OLD.combined_footprint_hash, OLD.recipe, OLD.state);
    DELETE FROM task_counts WHERE n = 0 AND (task, combined_footprint_hash, recipe, state)
        = (OLD.task, OLD.combined_footprint_hash, OLD.recipe, OLD.state);"""
_MOVED = " OR ".join(
    f"NEW.{name} IS NOT OLD.{name}"
    for name in ("frame_id", "task", "combined_footprint_hash", "recipe", "state")
)
_TRIGGERS = {
    "task_counts_insert": f"AFTER INSERT ON task_results BEGIN {_JOINS} END",
    "task_counts_delete": f"AFTER DELETE ON task_results BEGIN {_LEAVES} END",
    "task_counts_update": f"AFTER UPDATE ON task_results WHEN {_MOVED} BEGIN {_LEAVES} {_JOINS} END",
}


def keep_counts(connection: Connection) -> None:
    """(Re)create the triggers, and count what is there (SQLite)."""
    if connection.dialect.name != "sqlite":
        return
    for name, body in _TRIGGERS.items():
        connection.execute(text(f"DROP TRIGGER IF EXISTS {name}"))
        connection.execute(text(f"CREATE TRIGGER {name} {body}"))
    recount(connection)


def counts_are_kept(connection: Connection) -> bool:
    """Whether the triggers are there and those of this version."""
    if connection.dialect.name != "sqlite":
        return True
    found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    stored: dict[str, str] = {row[0]: row[1] for row in found}
    return all(stored.get(name) == f"CREATE TRIGGER {name} {body}" for name, body in _TRIGGERS.items())


def recount(connection: Connection) -> None:
    """Count the results from scratch, where that differs from what is kept."""
    if miscounted(connection):
        connection.execute(text("DELETE FROM task_counts"))
        connection.execute(text(f"INSERT INTO task_counts {SERVER_VIEW}"))


def miscounted(connection: Connection) -> int:
    """How many of the counts are not what the results say; 0 on a server, which counts when it is asked."""
    if connection.dialect.name != "sqlite":
        return 0
    if not inspect(connection).has_table("task_counts"):  # a schema before the counts
        return 0
    return len(connection.execute(text(_MISCOUNTED)).all())
