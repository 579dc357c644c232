"""Whether, and how, the PSF changes across the frame: what the stars of a fitted frame say about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lightwatch.processes.psf_model import FloatArray
from lightwatch.processes.psf_work import Work, chi2_of_stars, reduced_chi2, solution_of

MIN_STARS_TO_VARY = 6
GRADIENT_SIGMA = (0.15, 0.1, 0.1, 0.2)  # prior of theta's slopes, per half field


def asks_for_gradient(work: Work) -> bool:
    """Whether the stars promise (a score test) that slopes of theta pay their price, without any one of them."""
    price, there = _price_of_gradient(work), work.present
    if there.sum() < MIN_STARS_TO_VARY or _gradient_step(work, there)[1] <= price:
        return False
    others = there * (1 - np.eye(len(there)))
    return all(_gradient_step(work, rest)[1] > price for rest in others[there > 0])


def with_gradient(work: Work) -> Work:
    """Theta and its slopes moved to where the stars ask for them."""
    step, _ = _gradient_step(work, work.present)
    s = solution_of(work)
    moved = s._replace(state=s.state._replace(theta=s.state.theta + step[0]))
    return replace(work, gradient=work.gradient + step[1:], solution=moved)


def _gradient_step(work: Work, stars: FloatArray) -> tuple[FloatArray, float]:
    """Step (3, 4) of theta and of its slopes along X and Y that ``stars`` (K,) 1 or 0 ask for, and the drop of
    chi2 that the slopes promise.
    """
    says = solution_of(work).assessment
    h = np.einsum("kp,kq,kab,k->paqb", work.terms, work.terms, says.theta_information, stars).reshape(12, 12)
    g = np.einsum("kp,ka,k->pa", work.terms, says.theta_score, stars).ravel()
    prior = np.tile(np.array(GRADIENT_SIGMA) ** -2.0, 2)
    h += np.diag(np.concatenate([np.full(4, 1e-6), prior]))
    g[4:] -= prior * work.gradient.ravel()
    step = np.linalg.solve(h, g)
    return step.reshape(3, 4), float(g @ step - g[:4] @ np.linalg.solve(h[:4, :4], g[:4]))


def _price_of_gradient(work: Work) -> float:
    """Drop of chi2 that the 8 gradient terms must bring, in units of the fit's own reduced chi2.

    The BIC with the number of stars, not of pixels: the stars sample the field.
    """
    stars = float(work.present.sum())
    return 8 * (1 + float(np.log(max(stars, 1.0)))) * max(reduced_chi2(work), 1.0)


def better(old: Work, varying: Work) -> Work:
    """The varying PSF where the stars common to both fits pay its price, or improve on one that varies.

    All but the one that gains most: a blend or a galaxy must not bend the PSF of the whole field.
    """
    gain = (chi2_of_stars(old) - chi2_of_stars(varying))[(old.present > 0) & (varying.present > 0)]
    if old.varies:
        return varying if gain.sum() > 0 else old
    return varying if gain.sum() - gain.max(initial=0) > _price_of_gradient(varying) else old
