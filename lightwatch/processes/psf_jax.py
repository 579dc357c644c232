"""The one place where JAX is set up for the numerical core (psf*, photometry*, roi_model*).

Import ``jax`` and ``jnp`` from here, never from jax itself: the core works in float64, and the
switch must be thrown before the first array is made.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

#: fields of the pytrees of the core: JAX arrays in compiled code, NumPy arrays at the surface
AnyArray: TypeAlias = Any

jax.config.update("jax_enable_x64", True)

__all__ = ["AnyArray", "jax", "jnp"]
