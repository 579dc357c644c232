"""Keeping compiled numerics between runs: compiling costs more than a night's photometry."""

from __future__ import annotations

import os
from pathlib import Path

_MIN_COMPILE_SECONDS = 0.2


def keep_compiled_programs() -> None:
    """Let JAX store compiled programs in the user's cache directory, and find them there at the next run."""
    import jax

    if jax.config.values["jax_compilation_cache_dir"] is None:
        directory = cache_directory() / "jax"
        directory.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_COMPILE_SECONDS)


def cache_directory() -> Path:
    """lightwatch's part of the user's cache directory."""
    return Path(os.path.expanduser(os.getenv("XDG_CACHE_HOME") or "~/.cache")) / "lightwatch"
