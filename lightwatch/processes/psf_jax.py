"""The one place where JAX is set up for the numerical core (psf*, photometry*, roi_model*).

Import ``jax`` and ``jnp`` from here, never from jax itself: the core works in float64, and the
switch must be thrown before the first array is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

#: fields of the pytrees of the core: JAX arrays in compiled code, NumPy arrays at the surface
AnyArray: TypeAlias = Any

jax.config.update("jax_enable_x64", True)

__all__ = ["AnyArray", "core_jit", "frames_side_by_side", "jax", "jnp"]

# The older emitters of XLA compile these programs in half the time and run them as fast.
LEAN_COMPILATION = {"xla_cpu_use_fusion_emitters": False}


def core_jit(function: Callable, static: tuple[str, ...]) -> Callable:
    """jax.jit for the large programs of the core, with lean compilation where this XLA knows of it."""

    @cache
    def compiled() -> Callable:
        return jax.jit(function, static_argnames=static, compiler_options=_known_options())

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return compiled()(*args, **kwargs)

    return call


@cache
def _known_options() -> dict[str, bool] | None:
    """The options above, or None where the installed XLA refuses them."""
    try:
        jax.jit(lambda x: x, compiler_options=LEAN_COMPILATION)(0.0)
    except jax.errors.JaxRuntimeError:
        return None
    return LEAN_COMPILATION


def frames_side_by_side() -> int:
    """Frames to solve in one call: one on a CPU, whose linear algebra a leading axis slows down, more elsewhere."""
    return 1 if jax.default_backend() == "cpu" else 16
