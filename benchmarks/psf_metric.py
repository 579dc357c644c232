"""How far a PSF is from the true one at the scale of pixels, free of the choice of flux and centre.

The noise-free image T of a star is fitted by flux * PSF(x, y), all pixels alike, and the rest is
rms = |flux * PSF - T| / |T|, averaged over sub-pixel positions. NumPy only: a PSF is a function that draws
unit stars, so that every program is measured alike, in whatever environment it runs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Floats = np.ndarray
Render = Callable[[Floats, Floats], Floats]  # x (P,), y (P,) px from the centre of the cutout -> (P, n, n)

N_PHASES = 8
_STEP_PX = 0.01  # of the differences that stand for derivatives
_ITERATIONS = 6
_LONGEST_MOVE_PX = 0.5


def phases() -> tuple[Floats, Floats]:
    """Positions within a pixel at which PSFs are compared, each (P,): a lattice of good cover, always the same."""
    index = np.arange(N_PHASES)
    return (index + 0.5) / N_PHASES - 0.5, (index * 3 % N_PHASES + 0.5) / N_PHASES - 0.5


def normalized_rms(render: Render, truth: Floats, x: Floats, y: Floats) -> float:
    """Of a PSF against noise-free unit stars ``truth`` (P, n, n) at (x, y) px from the centre of the cutout."""
    start_x, start_y = x, y
    for _ in range(_ITERATIONS):
        image = render(x, y)
        along_x = (render(x + _STEP_PX, y) - render(x - _STEP_PX, y)) / (2 * _STEP_PX)
        along_y = (render(x, y + _STEP_PX) - render(x, y - _STEP_PX)) / (2 * _STEP_PX)
        columns = np.stack([image, along_x, along_y], 1).reshape(len(x), 3, -1)
        normal = columns @ columns.transpose(0, 2, 1)
        solved = np.linalg.solve(normal, columns @ truth.reshape(len(x), -1, 1))[..., 0]
        move = np.clip(solved[:, 1:] / solved[:, :1], -_LONGEST_MOVE_PX, _LONGEST_MOVE_PX)
        x, y = x + move[:, 0], y + move[:, 1]
    if not (np.isfinite(x).all() and np.hypot(x - start_x, y - start_y).max() < truth.shape[-1] / 4):
        return float("nan")
    image = render(x, y)
    flux = (image * truth).sum((1, 2)) / (image**2).sum((1, 2))
    rest = flux[:, None, None] * image - truth
    return float(np.mean(np.sqrt((rest**2).sum((1, 2)) / (truth**2).sum((1, 2)))))
