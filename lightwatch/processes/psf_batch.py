"""Fixed shapes for compiled code: many items in one call, few compilations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from lightwatch.processes.psf_jax import jax

Tree = TypeVar("Tree")


def bucket(count: int, sizes: tuple[int, ...]) -> int:
    """Smallest size that holds ``count``; above the largest, a multiple of the largest."""
    for size in sizes:
        if count <= size:
            return size
    return -(-count // sizes[-1]) * sizes[-1]


def solve_in_batches(solver: Callable[[Any, int], Tree], items: Any, *, block: int, blocks: int) -> Tree:
    """Call ``solver(items in blocks, number of blocks in use)`` until all items are solved.

    ``items`` is a pytree of NumPy arrays with a leading axis of N items; every call sees the fixed
    shape (blocks, block, ...), zeros where there is nothing. Returns NumPy arrays of N results.
    """
    total = len(jax.tree.leaves(items)[0])
    results = []
    for first in range(0, total, block * blocks):
        part = jax.tree.map(lambda a, i=first: a[i : i + block * blocks], items)
        count = len(jax.tree.leaves(part)[0])
        padded = jax.tree.map(lambda a: _in_blocks(a, block, blocks), part)
        solved = solver(padded, -(-count // block))
        results.append(jax.tree.map(lambda a, c=count: _flat(a)[:c], solved))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *results)


def _in_blocks(array: np.ndarray, block: int, blocks: int) -> np.ndarray:
    """Padded to block * blocks items by repeating the first, which is always a solvable one."""
    more = block * blocks - len(array)
    filled = np.concatenate([array, np.broadcast_to(array[:1], (more, *array.shape[1:]))]) if more else array
    return filled.reshape(blocks, block, *array.shape[1:])


def _flat(array: jax.Array) -> np.ndarray:
    return np.asarray(array).reshape(array.shape[0] * array.shape[1], *array.shape[2:])
