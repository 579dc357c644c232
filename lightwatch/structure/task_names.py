"""Names of tasks that storage knows; without imports, for workers and the command line read it before the libraries."""

from __future__ import annotations

#: makes the frames, from which all others begin
IMPORT_TASK = "read_convert_skysub_character_catalog"
