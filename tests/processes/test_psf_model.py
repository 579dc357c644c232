"""The PSF as a function: normalised over the plane, differentiable, storable."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch.processes.psf_jax import jax, jnp
from lightwatch.processes.psf_model import (
    LocalPSF,
    PSFModel,
    evaluate_psf_with_gradient,
    local_psf,
    render,
    rendered_grid,
    stack_psfs,
)
from lightwatch.processes.psf_profile import prior_variance, structure_integral


def some_model(fwhm_px: float = 4.0, size: int = 32, *, varies: bool = False) -> PSFModel:
    rng = np.random.default_rng(3)
    theta = np.array([[np.log(fwhm_px / 1.2), 0.05, -0.08, np.log(2.0)]])
    extent = 1.08 * np.arcsinh((size / 2 + 1) / fwhm_px)
    coefficients = (
        0.1 * np.sqrt(np.asarray(prior_variance(12, jnp.asarray(extent)))) * rng.normal(size=(12, 12))
    )
    if varies:
        theta = np.concatenate([theta, [[0.1, 0, 0.02, 0]], [[0, 0.03, 0, 0]]])
    amplitude = np.zeros(len(theta))
    amplitude[0] = 1.0
    model = PSFModel(
        theta,
        coefficients,
        amplitude,
        extent,
        size / 2,
        3,
        (1000, 1200),
        size,
        fwhm_px,
        0.1,
        1,
        0.1,
        50,
        0.0,
        0.0,
    )
    amplitude[0] = 1 / (1 + float(structure_integral(local_psf(model, 599.5, 499.5))))
    return model


@pytest.mark.parametrize(("fwhm_px", "size"), [(2.2, 16), (4.0, 32), (7.0, 48)])
def test_the_flux_of_the_whole_plane_is_one(fwhm_px: float, size: int) -> None:
    psf = local_psf(some_model(fwhm_px, size), 599.5, 499.5)
    offsets = np.arange(-400.0, 401.0)
    total = render(psf, offsets + 0.13, offsets - 0.2, quadrature=3).sum()
    # S is not a pixel integral: at 2 px a lattice sum is off by its aliasing
    assert total == pytest.approx(1, abs=1e-3 if fwhm_px < 3 else 1e-5)


def test_the_gradient_is_the_derivative_inside_and_outside_of_the_fitted_box() -> None:
    psf = local_psf(some_model(), 10.0, 20.0)
    u, v, step = np.arange(-25.0, 26.0) + 0.3, np.arange(-25.0, 26.0) - 0.1, 1e-5
    _, d_u, d_v = evaluate_psf_with_gradient(psf, jnp.asarray(u), jnp.asarray(v), quadrature=2)
    by_u = (render(psf, u + step, v, quadrature=2) - render(psf, u - step, v, quadrature=2)) / (2 * step)
    by_v = (render(psf, u, v + step, quadrature=2) - render(psf, u, v - step, quadrature=2)) / (2 * step)
    np.testing.assert_allclose(d_u, by_u, atol=1e-8 * np.abs(by_u).max(), rtol=1e-6)
    np.testing.assert_allclose(d_v, by_v, atol=1e-8 * np.abs(by_v).max(), rtol=1e-6)


@pytest.mark.parametrize("varies", [False, True])
def test_arrays_hold_the_whole_psf(varies: bool) -> None:
    model = some_model(varies=varies)
    again = PSFModel.from_arrays(model.to_arrays())
    offsets = np.arange(-5.0, 6.0)
    for x, y in ((0.0, 0.0), (1100.0, 300.0)):
        before, after = local_psf(model, x, y), local_psf(again, x, y)
        same = render(before, offsets, offsets, quadrature=2) == render(after, offsets, offsets, quadrature=2)
        assert same.all()
    assert again.varies == varies
    assert sum(array.nbytes for array in model.to_arrays().values()) < 4000


def test_a_varying_psf_is_broader_where_its_slope_says_so() -> None:
    model = some_model(varies=True)
    left, right = local_psf(model, 0.0, 500.0), local_psf(model, 1199.0, 500.0)
    assert np.log(float(right.u0) / float(left.u0)) == pytest.approx(0.2, abs=1e-6)


def test_local_psfs_of_many_places_are_those_of_each() -> None:
    model = some_model(varies=True)
    x, y = np.array([3.0, 700.0]), np.array([5.0, 900.0])
    batch = local_psf(model, x, y)
    stacked = stack_psfs([local_psf(model, float(a), float(b)) for a, b in zip(x, y, strict=True)])
    jax.tree.map(np.testing.assert_allclose, batch, stacked)


def test_stacking_psfs_with_fewer_modes_does_not_change_them() -> None:
    small = local_psf(some_model(), 5.0, 5.0)
    large = small._replace(coefficients=np.pad(np.asarray(small.coefficients), (0, 4)))
    offsets = np.arange(-8.0, 9.0)
    first = LocalPSF(*(field[0] for field in stack_psfs([small, large])))
    np.testing.assert_allclose(
        render(first, offsets, offsets, quadrature=2),
        render(small, offsets, offsets, quadrature=2),
        rtol=1e-12,
    )


def test_the_grid_is_centred_and_of_unit_sum() -> None:
    grid = rendered_grid(local_psf(some_model(), 5.0, 5.0), size_px=32, subsampling_factor=2, quadrature=2)
    assert grid.shape == (65, 65)
    assert grid.sum() == pytest.approx(1)
    centre = np.unravel_index(grid.argmax(), grid.shape)
    assert np.abs(np.array(centre) - 32).max() <= 1
