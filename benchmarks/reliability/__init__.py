"""The scoreboard of reliability: every goal, what was measured, and whether that is enough."""
