"""The joint model of a ROI against simulations whose every photon is known."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from lightwatch.errors import InputError, ProcessError
from lightwatch.flags import Flag
from lightwatch.processes.psf_model import LocalPSF, render
from lightwatch.processes.roi_background import (
    Lattice,
    Prior,
    covariance_root,
    design_matrix,
    fixed_lattice,
    solve_background,
    whitened,
)
from lightwatch.processes.roi_epoch import EpochData, eliminate, epoch_model
from lightwatch.processes.roi_model import (
    PointSources,
    ROIEpochs,
    ROISolution,
    add_epochs,
    background_image,
    fit_roi,
    high_resolution_image,
    reference_frame,
    regauged,
    taken_epochs,
)
from lightwatch.processes.roi_psf import psf_table, source_images
from lightwatch.processes.roi_result import UNRESOLVED, global_shares

SETTINGS = {
    "with_background": False,
    "fit_local_background": False,
    "shift_sigma_px": 0.3,
    "rejection_sigma": 6.0,
    "max_passes": 6,
}
QUADRATURE = 3
EXPOSURE = 300.0


def moffat(fwhm: float, beta: float, e1: float = 0.0, e2: float = 0.0) -> LocalPSF:
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    theta = np.array([np.log(alpha), e1, e2, np.log(beta - 1)])
    return LocalPSF(
        theta, np.zeros((1, 1)), np.float64(fwhm), np.float64(3.0), np.float64(12.0), np.float64(1)
    )


def stacked(psfs: list[LocalPSF]) -> LocalPSF:
    return LocalPSF(*(np.stack(column) for column in zip(*psfs, strict=True)))


def taken(epochs: ROIEpochs, index: object) -> ROIEpochs:
    values = {f.name: getattr(epochs, f.name) for f in fields(epochs)}
    psf = LocalPSF(*(np.asarray(field)[index] for field in values.pop("psf")))
    quadrature = values.pop("quadrature")
    return ROIEpochs(psf=psf, quadrature=quadrature, **{name: v[index] for name, v in values.items()})


def orientations(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Same camera; two cameras upside down to one another; or anything, mirrors included."""
    if kind == "same":
        return np.broadcast_to(np.eye(2), (count, 2, 2)).copy()
    turn = np.radians(180 * rng.integers(0, 2, count) if kind == "flipped" else rng.uniform(0, 360, count))
    mirror = rng.choice([-1.0, 1.0], count) if kind == "any" else np.ones(count)
    scale = rng.uniform(0.97, 1.03, count)
    matrix = np.array([[np.cos(turn) * mirror, -np.sin(turn)], [np.sin(turn) * mirror, np.cos(turn)]])
    return scale[:, None, None] * matrix.transpose(2, 0, 1)


def blob(size: int, psf: LocalPSF, position: np.ndarray) -> np.ndarray:
    x, y = position
    return render(psf, np.arange(size) - x, np.arange(size) - y, quadrature=QUADRATURE)


# light of the background in reference px: (x, y, fraction); points in a Gaussian disc of 2.2 px
RADIUS = 2.2 * np.sqrt(-2 * np.log(1 - (np.arange(90) + 0.5) / 90))
ANGLE = np.arange(90) * np.pi * (3 - np.sqrt(5))
DISC = np.stack([RADIUS * np.cos(ANGLE), RADIUS * np.sin(ANGLE), np.full(90, 1 / 90)], axis=1)


def simulate(
    seed: int,
    *,
    count: int,
    size: int,
    position: np.ndarray,
    flux: np.ndarray,
    fwhm: tuple[float, float],
    kind: str = "same",
    background: float = 0.0,
    sky: float = 0.1,
    star_shift_sigma: float = np.inf,
) -> tuple[ROIEpochs, np.ndarray, np.ndarray]:
    """Epochs, model without noise, and the 1 sigma bound (T, S) of each flux (shift free, rest known)."""
    rng = np.random.default_rng(seed)
    psfs = [moffat(rng.uniform(*fwhm), rng.uniform(2.5, 4), *rng.normal(0, 0.05, 2)) for _ in range(count)]
    jacobian = orientations(kind, count, rng)
    origin = (size - 1) / 2 + rng.uniform(-0.5, 0.5, (count, 2))
    shift = rng.normal(0, 0.1, (count, 2))
    shift -= shift.mean(axis=0) if kind == "same" else 0
    coefficient = rng.uniform(0.6, 1.1, count)
    flux = np.broadcast_to(flux, (count, len(position)))
    model, bound = np.zeros((count, size, size)), np.zeros((count, len(position)))
    for t in range(count):
        centre = origin[t] + shift[t]

        def scene(moved: np.ndarray, t: int = t) -> tuple[np.ndarray, np.ndarray]:
            stars = np.array([blob(size, psfs[t], moved + jacobian[t] @ c) for c in position])
            disc = np.zeros((size, size))
            if background:
                disc += sum(w * blob(size, psfs[t], moved + jacobian[t] @ (x, y)) for x, y, w in DISC)
            return coefficient[t] * stars, coefficient[t] * background * disc

        stars, disc = scene(centre)
        model[t] = np.tensordot(flux[t], stars, 1) + disc
        columns = [*stars.reshape(len(position), -1)]
        for step in 0.01 * np.eye(2):
            up, down = (
                np.tensordot(flux[t], s, 1) + b for s, b in (scene(centre + step), scene(centre - step))
            )
            columns.append((up - down).ravel() / 0.02)
        weighted = np.array(columns) / np.sqrt(sky**2 + model[t].ravel() / EXPOSURE)
        bound[t] = np.sqrt(np.diag(np.linalg.inv(weighted @ weighted.T)))[: len(position)]
    noise = rng.normal(0, sky, model.shape)
    data = rng.poisson(model * EXPOSURE) / EXPOSURE + noise
    known = np.isfinite(star_shift_sigma)
    epochs = ROIEpochs(
        data=data,
        background_variance=np.full(model.shape, sky**2),
        good=np.ones(model.shape, bool),
        exposure=np.full(count, EXPOSURE),
        psf=stacked(psfs),
        quadrature=QUADRATURE,
        jacobian=jacobian,
        origin=origin,
        star_shift=shift + rng.normal(0, star_shift_sigma, (count, 2)) if known else np.zeros((count, 2)),
        star_shift_sigma=np.full(count, star_shift_sigma),
        coefficient=coefficient,
        coefficient_uncertainty=np.full(count, 0.002),
    )
    return epochs, model, bound


def free(position: np.ndarray) -> PointSources:
    return PointSources(position, np.full(len(position), np.inf))


ONE = np.array([[0.3, -0.2]])
CLOSE = np.array([[-1.2, 0.5], [1.1, -0.4]])
TWO = np.array([[-2.6, 1.2], [2.4, -0.9]])


@pytest.fixture(scope="module")
def transit() -> tuple[ROIEpochs, np.ndarray, np.ndarray]:
    return simulate(
        4, count=100, size=20, position=ONE, flux=np.array([80.0]), fwhm=(2.0, 2.6), kind="flipped"
    )


@pytest.fixture(scope="module")
def lens() -> tuple[ROIEpochs, np.ndarray, np.ndarray, ROISolution]:
    setup = simulate(
        2,
        count=10,
        size=22,
        position=TWO,
        flux=np.array([150.0, 60.0]),
        fwhm=(3, 4.5),
        kind="any",
        background=40,
    )
    solution = fit_roi(setup[0], free(TWO + 0.07), **SETTINGS | {"with_background": True})
    return *setup, solution


def test_isolated_source_in_two_orientations_reaches_the_bound(transit) -> None:
    epochs, _, bound = transit
    solution = fit_roi(epochs, free(ONE + 0.15), **SETTINGS)
    error = solution.flux - 80.0
    assert solution.converged
    assert not solution.flags.any()
    assert np.std(error / bound) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(error / bound)) < 4 / np.sqrt(100)
    np.testing.assert_allclose(solution.local_uncertainty, bound, rtol=0.05)
    np.testing.assert_allclose(
        solution.normalization_uncertainty[:, 0], solution.flux[:, 0] * 0.002 / epochs.coefficient
    )
    assert solution.reduced_chi2.mean() == pytest.approx(1, abs=0.02)
    assert solution.position_px == pytest.approx(ONE, abs=0.05)


def test_order_of_the_epochs_does_not_matter(transit) -> None:
    epochs = taken(transit[0], np.arange(12))
    order = np.random.default_rng(0).permutation(12)
    one, other = (fit_roi(e, free(ONE), **SETTINGS) for e in (epochs, taken(epochs, order)))
    np.testing.assert_allclose(other.flux, one.flux[order], rtol=1e-6)
    np.testing.assert_allclose(other.shift_px, one.shift_px[order], atol=1e-5)


def test_faint_sources_are_unbiased() -> None:
    flux = 2.3  # about 3 sigma
    epochs, _, bound = simulate(3, count=150, size=16, position=ONE, flux=np.array([flux]), fwhm=(2.5, 3.5))
    sources = PointSources(ONE, np.zeros(1))
    solution = fit_roi(epochs, sources, **SETTINGS | {"shift_sigma_px": 0.1})
    pull = (solution.flux - flux) / solution.local_uncertainty
    assert 2.5 < flux / bound.mean() < 5
    assert abs(pull.mean()) < 0.25
    assert pull.std() == pytest.approx(1, abs=0.2)
    assert (solution.flux < 0.5 * flux).any()  # low values are kept as they are


def test_blend_on_a_background_in_any_orientation(lens) -> None:
    epochs, truth, bound, solution = lens
    error = solution.flux - [150.0, 60.0]
    constant = np.average(error, axis=0, weights=bound**-2)
    assert solution.converged
    assert (np.std(error - constant, axis=0) / bound.mean(axis=0) < 1.5).all()
    assert (np.abs(constant) < 3 * solution.constant_offset_uncertainty).all()
    assert (np.abs(constant) < 0.05 * np.array([150.0, 60.0])).all()
    assert solution.reduced_chi2.mean() == pytest.approx(1, abs=0.05)
    excess = (solution.model - truth) / np.sqrt(epochs.background_variance + truth / EXPOSURE)
    assert np.std(excess) < 0.3  # the model is far closer to the truth than the data are


def test_added_epochs_agree_with_the_joint_fit(lens) -> None:
    """Tolerance of the docs: a tenth of the uncertainty, or of that of the constant which all epochs share."""
    epochs, _, _, solution = lens
    settings = SETTINGS | {"with_background": True}
    first = fit_roi(taken(epochs, np.arange(9)), free(TWO + 0.07), **settings)
    longer = add_epochs(first, taken(epochs, [9]), free(TWO + 0.07), rejection_sigma=6.0)
    assert longer.flux.shape == (10, 2)
    difference = longer.flux - solution.flux
    constant = np.mean(difference, axis=0)
    assert (np.abs(constant) < 0.3 * solution.constant_offset_uncertainty).all()
    assert (np.abs(difference - constant) < 0.1 * solution.flux_uncertainty).all()
    np.testing.assert_allclose(longer.flux_uncertainty, solution.flux_uncertainty, rtol=0.1)
    np.testing.assert_allclose(longer.position_px, solution.position_px, atol=0.01)
    again = add_epochs(longer, taken(epochs, [9]), free(TWO + 0.07), rejection_sigma=6.0)
    assert (again.position_covariance_px2.diagonal() < longer.position_covariance_px2.diagonal()).all()


def test_added_epochs_do_not_depend_on_their_order(lens) -> None:
    epochs, _, _, _ = lens
    sources, settings = free(TWO + 0.07), SETTINGS | {"with_background": True}
    first = fit_roi(taken(epochs, np.arange(7)), sources, **settings)
    one, other = (
        add_epochs(
            add_epochs(first, taken(epochs, [a]), sources, rejection_sigma=6.0),
            taken(epochs, [b]),
            sources,
            rejection_sigma=6.0,
        )
        for a, b in ((8, 9), (9, 8))
    )
    other = taken_epochs(other, np.array([0, 1, 2, 3, 4, 5, 6, 8, 7]))
    assert (np.abs(one.flux - other.flux) < 0.02 * one.flux_uncertainty).all()


def test_added_epochs_without_any_light_are_flagged(lens) -> None:
    epochs, _, _, solution = lens
    blind = replace(taken(epochs, [0, 1]), good=np.zeros((2, 22, 22), bool))
    longer = add_epochs(solution, blind, free(TWO), rejection_sigma=6.0)
    assert np.isnan(longer.flux[-2:]).all()
    assert all(Flag.BAD in Flag(int(f)) for f in longer.flags[-2:])
    np.testing.assert_allclose(longer.flux[:-2], solution.flux, rtol=1e-9)


def test_epochs_added_to_a_fit_that_has_not_converged_say_so(lens) -> None:
    epochs, _, _, solution = lens
    for converged in (True, False):
        longer = add_epochs(
            replace(solution, converged=converged), taken(epochs, [0]), free(TWO), rejection_sigma=6.0
        )
        assert (Flag.NOT_CONVERGED in Flag(int(longer.flags[-1]))) != converged


def test_another_scale_of_the_coefficients_changes_the_fluxes_alone(lens) -> None:
    """A common factor is exact: as if the joint fit had had it."""
    epochs, _, _, solution = lens
    more = 1.25 * epochs.coefficient
    changed, rest = regauged(solution, more, 1.25 * epochs.coefficient_uncertainty)
    np.testing.assert_allclose(rest, 0, atol=1e-12)
    joint = fit_roi(
        replace(epochs, coefficient=more, coefficient_uncertainty=1.25 * epochs.coefficient_uncertainty),
        free(TWO + 0.07),
        **SETTINGS | {"with_background": True},
    )
    assert (np.abs(changed.flux - joint.flux) < 0.01 * joint.flux_uncertainty).all()
    np.testing.assert_allclose(changed.flux_uncertainty, joint.flux_uncertainty, rtol=1e-3)
    np.testing.assert_allclose(changed.background, joint.background, atol=0.01 * joint.background.max())
    added, expected = (
        add_epochs(one, taken(epochs, [3]), free(TWO + 0.07), rejection_sigma=6.0) for one in (changed, joint)
    )
    assert (np.abs(added.flux - expected.flux) < 0.02 * expected.flux_uncertainty).all()


def test_solution_survives_storage(lens) -> None:
    solution = lens[3]
    back = ROISolution.from_arrays(solution.to_arrays())
    for field in fields(ROISolution):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(solution, field.name))
    assert isinstance(back.converged, bool)


def test_pictures_hold_the_light(lens) -> None:
    solution = lens[3]
    background = background_image(solution)
    assert background.shape[0] % 2 == 1
    assert background.sum() == pytest.approx(solution.background.sum(), rel=0.05)
    image = high_resolution_image(solution, fwhm_px=1.0, subsampling_factor=3, size_px=20)
    light = solution.background.sum() + np.median(solution.flux, axis=0).sum()
    assert image.sum() == pytest.approx(light, rel=0.05)


def test_struck_and_missing_pixels_do_no_harm(transit) -> None:
    epochs = taken(transit[0], np.arange(12))
    clean = fit_roi(epochs, free(ONE), **SETTINGS)
    data, good = epochs.data.copy(), epochs.good.copy()
    data[3, 11, 12] += 40.0  # beside the core
    data[5, 2, 3:9] += 15.0
    data[7, 4, 4] = np.nan
    good[9, :, :2] = False
    struck = fit_roi(replace(epochs, data=data, good=good), free(ONE), **SETTINGS)
    assert struck.rejected[3, 11, 12]
    assert struck.rejected[5, 2, 3:9].all()
    assert struck.rejected.sum() < 25
    assert (np.abs(struck.flux - clean.flux) < 1.5 * clean.flux_uncertainty).all()
    quiet = np.setdiff1d(np.arange(12), [3, 5, 7, 9])
    assert (np.abs(struck.flux - clean.flux)[quiet] < 0.05 * clean.flux_uncertainty[quiet]).all()


def test_hopeless_epochs_are_flagged_and_the_others_untouched(transit) -> None:
    epochs = taken(transit[0], np.arange(10))
    good, data, theta = epochs.good.copy(), epochs.data.copy(), np.array(epochs.psf.theta)
    good[1] = False
    data[2] = np.nan
    good[3, 6:14, 6:14] = False
    theta[4] = np.nan
    theta[5, 0] += 0.8  # a PSF more than twice too wide
    origin = epochs.origin.copy()
    origin[6] += 300
    spoilt = replace(epochs, good=good, data=data, origin=origin, psf=epochs.psf._replace(theta=theta))
    solution = fit_roi(spoilt, free(ONE), **SETTINGS)
    flags = [Flag(int(f)) for f in solution.flags]
    assert Flag.BAD in flags[1]
    assert Flag.BAD in flags[2]
    assert Flag.LOW_COVERAGE in Flag(int(solution.source_flags[3, 0]))
    assert Flag.PSF_UNCERTAIN in flags[4]
    assert Flag.POOR_FIT in flags[5]
    assert Flag.OUTSIDE in flags[6]
    assert np.isnan(solution.flux[[1, 2, 3, 4, 6]]).all()
    assert solution.epoch_weight[5] < 0.5
    kept = [0, 7, 8, 9]
    clean = fit_roi(taken(epochs, kept), free(ONE), **SETTINGS)
    assert (np.abs(solution.flux[kept] - clean.flux) < 0.1 * clean.flux_uncertainty).all()


def test_refuses_what_it_cannot_use(transit) -> None:
    epochs = taken(transit[0], np.arange(3))
    with pytest.raises(ProcessError) as caught:
        fit_roi(replace(epochs, good=np.zeros_like(epochs.good)), free(ONE), **SETTINGS)
    assert caught.value.reason_code == "no_usable_epochs"
    with pytest.raises(InputError):
        fit_roi(replace(epochs, exposure=np.ones(2)), free(ONE), **SETTINGS)


def test_shifts_known_from_the_stars_cost_the_fluxes_nothing() -> None:
    setup = {"count": 60, "size": 18, "position": CLOSE, "flux": np.array([60.0, 40.0]), "fwhm": (3.5, 4)}
    told, _, bound = simulate(11, **setup, sky=0.15, star_shift_sigma=0.003)
    solution = fit_roi(told, PointSources(CLOSE, np.zeros(2)), **SETTINGS)
    assert solution.shift_scatter_px == 0
    np.testing.assert_allclose(solution.shift_px, told.star_shift, atol=0.012)
    assert (solution.local_uncertainty < bound * 0.95).all()  # the bound of simulate is for free shifts
    pull = (solution.flux - [60.0, 40.0]) / solution.local_uncertainty
    assert pull.std() == pytest.approx(1, abs=0.15)


def test_stars_that_err_about_the_shift_are_found_out() -> None:
    epochs, _, _ = simulate(12, count=30, size=18, position=ONE, flux=np.array([80.0]), fwhm=(3, 3.5))
    wrong = np.random.default_rng(1).normal(0, 0.15, (30, 2))
    told = replace(epochs, star_shift=wrong, star_shift_sigma=np.full(30, 0.003))
    solution = fit_roi(told, free(ONE), **SETTINGS)
    assert solution.shift_scatter_px == pytest.approx(np.hypot(0.15, 0.1), rel=0.3)
    pull = (solution.flux - 80.0) / solution.local_uncertainty
    assert pull.std() == pytest.approx(1, abs=0.3)


def test_fixed_positions_and_trusted_wcs_stay() -> None:
    epochs, _, _ = simulate(5, count=4, size=16, position=ONE, flux=np.array([50.0]), fwhm=(2.5, 3))
    solution = fit_roi(epochs, PointSources(ONE, np.zeros(1)), **SETTINGS | {"shift_sigma_px": 0.0})
    np.testing.assert_array_equal(solution.position_px, ONE)
    np.testing.assert_array_equal(solution.shift_px, 0)
    np.testing.assert_array_equal(solution.position_covariance_px2, 0)


def test_stars_that_say_less_than_the_setting_move_nothing() -> None:
    epochs, _, _ = simulate(5, count=4, size=16, position=ONE, flux=np.array([50.0]), fwhm=(2.5, 3))
    vague = replace(epochs, star_shift=np.full((4, 2), 0.3), star_shift_sigma=np.full(4, 0.5))
    for sigma in (0.0, 0.1):
        one, other = (
            fit_roi(e, PointSources(ONE, np.zeros(1)), **SETTINGS | {"shift_sigma_px": sigma})
            for e in (epochs, vague)
        )
        np.testing.assert_array_equal(one.shift_px, other.shift_px)


def test_local_background_is_taken_out() -> None:
    epochs, _, bound = simulate(6, count=8, size=20, position=ONE, flux=np.array([50.0]), fwhm=(2.5, 3))
    level = np.linspace(-0.3, 0.3, 8)
    raised = replace(epochs, data=epochs.data + level[:, None, None])
    solution = fit_roi(raised, free(ONE), **SETTINGS | {"fit_local_background": True})
    assert solution.local_background == pytest.approx(level, abs=0.05)
    assert (np.abs(solution.flux - 50) < 4 * solution.flux_uncertainty).all()
    assert (solution.local_uncertainty > bound).all()


def test_background_alone_needs_no_point_source() -> None:
    epochs, _, _ = simulate(
        7, count=4, size=18, position=ONE, flux=np.array([0.0]), fwhm=(3, 4), background=60, kind="flipped"
    )
    nothing = PointSources(np.zeros((0, 2)), np.zeros(0))
    solution = fit_roi(epochs, nothing, **SETTINGS | {"with_background": True, "shift_sigma_px": 0.0})
    assert solution.flux.shape == (4, 0)
    assert solution.reduced_chi2.mean() < 1.3


def test_design_matrix_is_the_psf_at_every_offset() -> None:
    psf, size = moffat(2.6, 3.0, 0.1, -0.05), 12
    turn = np.radians(33)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    origin = np.array([5.3, 6.1])
    lattice = fixed_lattice(7, 1.7, size, matrix[None], origin[None])
    position = origin + lattice.nodes @ matrix.T
    columns = design_matrix(psf_table(psf, lattice.table_half_size_px, quadrature=QUADRATURE), position, size)
    exact = np.array([blob(size, psf, p).ravel() for p in position])
    assert np.abs(columns - exact).max() < 0.005 * exact.max()


def epoch_problem(seed: int) -> tuple[EpochData, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    size, flux = 10, np.array([30.0, 20.0])
    epoch = EpochData(
        data=rng.normal(0, 1, size**2),
        background_variance=rng.uniform(0.5, 1.5, size**2),
        good=rng.uniform(size=size**2) > 0.1,
        exposure=100.0,
        weight=0.7,
        measurable=np.array([True, True]),
        local_precision=np.array([0, 0, 4.0, 4.0, 0]),
        local_active=np.array([True] * 5),
    )
    psf = stacked([moffat(2.5, 3.0)])
    images = source_images(psf, np.array([[[4.0, 4.5], [6.0, 5.0]]]), size=size, quadrature=2)[0]
    return epoch, images, np.array([*flux, 0.1, -0.1, 0.05]), rng.normal(0, 1, (6, size**2))


def test_elimination_equals_the_full_normal_equations() -> None:
    epoch, images, local, columns = epoch_problem(0)
    model = epoch_model(epoch, images, np.zeros((10, 10)), local, np.eye(2))
    one = eliminate(epoch, model, local, columns)
    weight = np.where(epoch.good, epoch.weight / model.variance, 0)
    full = np.hstack([model.local_columns, columns.T])
    normal = full.T @ (weight[:, None] * full)
    prior = np.concatenate([epoch.local_precision, np.zeros(6)])
    vector = full.T @ (weight * model.residual) - prior * np.concatenate([local, np.zeros(6)])
    normal += np.diag(prior)
    schur = normal[5:, 5:] - normal[5:, :5] @ np.linalg.solve(normal[:5, :5], normal[:5, 5:])
    np.testing.assert_allclose(one.information, schur, rtol=1e-4, atol=1e-4)
    step = np.linalg.solve(normal, vector)
    np.testing.assert_allclose(np.linalg.solve(one.information, one.vector), step[5:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(one.step - one.response @ step[5:], step[:5], rtol=1e-4, atol=1e-5)


def test_posterior_of_background_and_positions_is_the_gaussian_one() -> None:
    rng = np.random.default_rng(1)
    root, factor = rng.normal(size=(30, 9)), np.tril(rng.normal(size=(7, 7))) + 2 * np.eye(7)
    truth = np.concatenate([factor @ rng.normal(size=7), [0.3, -0.2]])
    information = root.T @ root
    vector = information @ truth + root.T @ rng.normal(size=30)
    precision, mean = np.array([2.0, 3.0]), np.array([0.1, 0.2])
    priors = Prior(factor, precision, mean)
    data = whitened(information, vector, priors)
    found = solve_background(data, priors)
    root, modes = covariance_root(data, priors, found.scale)
    prior = np.zeros((9, 9))
    prior[:7, :7] = np.linalg.inv(found.scale**2 * factor @ factor.T)
    prior[7:, 7:] = np.diag(precision)
    covariance = np.linalg.inv(information + prior)
    expected = covariance @ (vector + prior @ np.concatenate([np.zeros(7), mean]))
    np.testing.assert_allclose(root @ root.T, covariance, atol=1e-10)
    np.testing.assert_allclose(found.mean, expected, atol=1e-10)
    assert 0.3 < found.scale < 3  # the truth was drawn with 1
    assert 0 < modes < 7


def test_uncertainty_of_a_constant_covers_what_no_smooth_prior_decides() -> None:
    """Its parts add in quadrature: posterior, other priors, structure below the resolution; epochs differ apart."""
    rng = np.random.default_rng(3)
    response, root = rng.normal(size=(4, 2, 7)).astype(np.float32), rng.normal(size=(7, 7))
    background, other, sigma = rng.uniform(1, 2, 5), rng.normal(size=7), rng.uniform(1, 2, (4, 2))
    sigma[0, 1] = np.nan
    varying, constant = global_shares(response, root, background, [other, 0.1 * other], sigma)
    for s, used in ((0, slice(0, 4)), (1, slice(1, 4))):
        weight = sigma[used, s] ** -2.0 / (sigma[used, s] ** -2.0).sum()
        mean = weight @ response[used, s]
        of_nodes = UNRESOLVED * mean[:5] * background
        total = mean @ root @ root.T @ mean + (mean @ other) ** 2 + of_nodes @ of_nodes
        assert constant[s] == pytest.approx(np.sqrt(total), rel=1e-5)
        apart = (response[used, s] - mean) @ root
        np.testing.assert_allclose(varying[used, s], np.sqrt((apart**2).sum(axis=1)), rtol=1e-4)


def test_reference_frame_is_central_whatever_the_order() -> None:
    rng = np.random.default_rng(2)
    matrices = orientations("flipped", 9, rng) * 4.7
    matrices[0] = 4.7 * np.array([[0, 1], [-1, 0]])
    reference, jacobian = reference_frame(matrices)
    other, _ = reference_frame(matrices[::-1])
    np.testing.assert_array_equal(reference, other)
    np.testing.assert_allclose(jacobian @ reference, matrices, atol=1e-12)
    assert not np.array_equal(reference, matrices[0])


def test_lattice_nodes_are_centred() -> None:
    nodes = Lattice(5, 1.5, 0).nodes
    np.testing.assert_allclose(nodes.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(nodes[1] - nodes[0], [1.5, 0])
