"""Normalization: by truth (injected transparency) and by property (order, exclusion, gauge, links)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from lightwatch.errors import InputError, TooFewStars
from lightwatch.flags import Flag
from lightwatch.processes.normalization import apertures_serve_better, gauge_fluxes, normalize

SETTINGS = {
    "common_error": None,
    "gauge_flux": None,
    "min_stars": 2,
    "min_snr": 5.0,
    "scatter_floor": 0.001,
    "variable_scatter": 0.01,
    "outlying_frame_scatter": 0.05,
    "coefficient_range": (0.02, 50.0),
    "outlier_sigma": 6.0,
    "max_iterations": 40,
}


@dataclass
class Sky:
    transparency: np.ndarray
    star_flux: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    good: np.ndarray


def make_sky(seed, n_frames=30, n_stars=10, scatter=0.002, missing=0.0, log_flux=(1.5, 4.0), exptime=300.0):
    """Stars (electron/s) with white excess scatter of their own behind a varying transparency."""
    rng = np.random.default_rng(seed)
    transparency = rng.uniform(0.5, 1.0, n_frames)
    star_flux = 10 ** rng.uniform(*log_flux, n_stars)
    own = scatter * rng.lognormal(0, 0.5, n_stars)
    noiseless = transparency[:, None] * star_flux * (1 + own * rng.standard_normal((n_frames, n_stars)))
    flux = noiseless + rng.standard_normal(noiseless.shape) * np.sqrt(9.0 + noiseless / exptime)
    error = np.sqrt(9.0 + np.maximum(flux, 0) / exptime)
    return Sky(transparency, star_flux, flux, error, rng.random(flux.shape) >= missing)


def run(sky, **changes):
    return normalize(sky.flux, sky.error, sky.good, **{**SETTINGS, **changes})


def relative_error(result, transparency):
    """ln(coefficient / truth) with the common constant (the gauge) removed."""
    error = np.log(result.coefficient / transparency)
    return error - np.median(error)


@pytest.mark.parametrize(
    ("n_frames", "n_stars", "missing"), [(20, 10, 0.0), (20, 40, 0.3), (150, 10, 0.0), (100, 40, 0.4)]
)
def test_pulls_against_truth_have_unit_width(n_frames, n_stars, missing):
    pulls = []
    for seed in range(20):
        sky = make_sky(seed, n_frames, n_stars, missing=missing)
        result = run(sky)
        assert result.converged
        relative = result.coefficient_uncertainty / result.coefficient
        pulls.append(relative_error(result, sky.transparency) / relative)
    assert 0.9 < np.std(pulls) < 1.2


def test_transparency_is_recovered_to_two_permille():
    sky = make_sky(5, n_frames=40, n_stars=12, log_flux=(3.0, 4.0))
    assert np.std(relative_error(run(sky), sky.transparency)) < 0.002


def test_median_coefficient_is_one_and_star_fluxes_complete_the_model():
    sky = make_sky(1)
    result = run(sky)
    assert np.median(result.coefficient) == pytest.approx(1.0, abs=1e-12)
    model = result.coefficient[:, None] * result.star_flux
    bright = sky.star_flux > 1000
    assert np.median(sky.flux[:, bright] / model[:, bright]) == pytest.approx(1.0, abs=1e-3)


def test_one_variable_star_among_ten_changes_nothing_and_is_flagged():
    sky = make_sky(2, log_flux=(3.3, 4.0))
    without = run(Sky(sky.transparency, sky.star_flux, sky.flux, sky.error, sky.good & (np.arange(10) != 4)))
    wave = 1 + 0.15 * np.sin(np.arange(30) * 0.7)
    varying = np.where(np.arange(10) == 4, sky.flux * wave[:, None], sky.flux)
    with_it = run(Sky(sky.transparency, sky.star_flux, varying, sky.error, sky.good))
    change = with_it.coefficient / without.coefficient
    assert np.abs(change / np.median(change) - 1).max() < 1e-3
    assert np.flatnonzero(with_it.star_flags & Flag.VARIABLE).tolist() == [4]
    assert with_it.star_scatter[4] == pytest.approx(0.15 / np.sqrt(2), rel=0.3)


def test_outlying_star_has_less_than_a_permille_effect():
    sky = make_sky(3, log_flux=(3.0, 4.0))
    without = run(Sky(sky.transparency, sky.star_flux, sky.flux, sky.error, sky.good & (np.arange(10) != 7)))
    wild = sky.flux.copy()
    wild[:, 7] *= np.random.default_rng(0).lognormal(0, 1.0, 30)
    change = run(Sky(sky.transparency, sky.star_flux, wild, sky.error, sky.good)).coefficient
    change = change / without.coefficient
    assert np.abs(change / np.median(change) - 1).max() < 1e-3


def test_single_struck_measurement_is_disowned():
    sky = make_sky(4, log_flux=(3.0, 4.0))
    before = run(sky)
    struck = sky.flux.copy()
    struck[11, 2] *= 1.6
    after = run(Sky(sky.transparency, sky.star_flux, struck, sky.error, sky.good))
    assert np.argwhere(after.pair_outlier).tolist() == [[11, 2]]
    assert after.pair_share[11, 2] == 0
    share = before.pair_share[11, 2]
    # the frame may move by what the pair contributed before, not by what it says now
    own = abs(sky.flux[11, 2] / (before.coefficient[11] * before.star_flux[2]) - 1)
    assert abs(after.coefficient[11] / before.coefficient[11] - 1) < share * own / (1 - share) + 5e-4


def test_excluded_star_never_enters():
    sky = make_sky(6)
    keep = sky.good & (np.arange(10) != 3)
    first = normalize(sky.flux, sky.error, keep, **SETTINGS)
    flux, error = sky.flux.copy(), sky.error.copy()
    flux[:, 3], error[:, 3] = np.nan, 1e-9
    second = normalize(flux, error, keep, **SETTINGS)
    np.testing.assert_array_equal(first.coefficient, second.coefficient)
    assert np.isnan(second.star_flux[3])
    assert second.star_n_frames[3] == 0


def test_order_of_frames_and_stars_does_not_matter():
    sky = make_sky(7, n_frames=60, n_stars=15, missing=0.3)
    rng = np.random.default_rng(0)
    frames, stars = rng.permutation(60), rng.permutation(15)
    block = np.ix_(frames, stars)
    first = run(sky)
    second = normalize(sky.flux[block], sky.error[block], sky.good[block], **SETTINGS)
    np.testing.assert_allclose(second.coefficient, first.coefficient[frames], rtol=1e-12)
    np.testing.assert_allclose(second.star_flux, first.star_flux[stars], rtol=1e-12)
    np.testing.assert_allclose(
        second.coefficient_uncertainty, first.coefficient_uncertainty[frames], rtol=1e-9
    )


def test_drifting_field_is_tied_together_by_the_joint_solution():
    sky = make_sky(8, n_frames=80, n_stars=40, log_flux=(3.0, 4.0))
    # no star is seen throughout: a window of ten stars moves over the field
    centre = np.linspace(0, 40, 80)[:, None]
    drifting = np.abs(np.arange(40) - centre) <= 5
    result = normalize(sky.flux, sky.error, drifting, **SETTINGS)
    assert np.isfinite(result.coefficient).all()
    error = relative_error(result, sky.transparency)
    pull = error * result.coefficient / result.coefficient_uncertainty
    assert np.abs(error).max() < 0.01
    assert np.std(pull) < 2.0  # errors of neighbours are correlated along the chain: one draw, few modes


def test_unlinked_frames_get_no_coefficient():
    sky = make_sky(9, n_frames=30, n_stars=10)
    sky.good[:] = False
    sky.good[:20, :6] = True
    sky.good[20:, 6:] = True
    result = run(sky)
    assert (result.frame_flags[20:] == Flag.UNLINKED).all()
    assert np.isnan(result.coefficient[20:]).all()
    assert np.isfinite(result.coefficient[:20]).all()
    assert (result.star_flags[6:] == Flag.UNLINKED).all()
    assert set(result.frame_group) == {0, 1}


def test_faint_stars_with_negative_fluxes_do_not_bias():
    """S/N of 5 to 20 and noise that follows the measured flux: the mean of the errors stays near zero."""
    means = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        transparency = np.where(np.arange(40) % 2 == 0, 1.0, 0.25)
        star_flux = 10 ** rng.uniform(1.2, 2.2, 60)
        truth = transparency[:, None] * star_flux
        flux = truth + rng.standard_normal(truth.shape) * np.sqrt(4.0 + truth)
        error = np.sqrt(4.0 + np.maximum(flux, 0))
        result = normalize(flux, error, np.isfinite(flux), **{**SETTINGS, "min_snr": 1.0})
        measured = np.log(result.coefficient[1::2]).mean() - np.log(result.coefficient[::2]).mean()
        means.append(measured - np.log(0.25))
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(len(means)) + 0.003


def test_leave_one_out_influence_agrees_with_leaving_out():
    sky = make_sky(10, n_frames=25, n_stars=8, log_flux=(3.0, 4.0))
    full = run(sky)
    for star in range(8):
        rest = normalize(sky.flux, sky.error, sky.good & (np.arange(8) != star), **SETTINGS)
        change = np.log(rest.coefficient / full.coefficient)
        truth = np.sqrt(np.mean((change - change.mean()) ** 2))
        assert full.influence_rms[star] == pytest.approx(truth, rel=0.5, abs=1e-4)
    assert (full.influence_max >= full.influence_rms).all()


def test_gauge_of_expected_fluxes_stays_when_frames_are_added():
    sky = make_sky(11, n_frames=40, n_stars=12, log_flux=(3.0, 4.0))
    expected = sky.star_flux * np.random.default_rng(1).lognormal(0, 0.04, 12)
    expected[0] = np.nan
    few = normalize(sky.flux[:30], sky.error[:30], sky.good[:30], **{**SETTINGS, "gauge_flux": expected})
    all_ = run(sky, gauge_flux=expected)
    assert np.abs(all_.coefficient[:30] / few.coefficient - 1).max() < 1e-3
    assert np.median(all_.coefficient / sky.transparency) == pytest.approx(1.0, abs=0.05)


def test_frame_with_scattered_stars_is_an_outlier():
    sky = make_sky(12, n_frames=30, n_stars=20, log_flux=(3.0, 4.0))
    sky.flux[13] *= np.random.default_rng(3).lognormal(0, 0.2, 20)
    result = run(sky)
    assert np.flatnonzero(result.frame_flags & Flag.OUTLIER).tolist() == [13]
    others = np.delete(result.coefficient_uncertainty, 13)
    assert result.coefficient_uncertainty[13] > 5 * others.max()


def test_too_few_stars_is_said():
    sky = make_sky(13)
    sky.good[5, 1:] = False
    result = run(sky)
    assert result.frame_flags[5] == Flag.TOO_FEW_STARS
    assert np.isnan(result.coefficient[5])
    assert np.isfinite(np.delete(result.coefficient, 5)).all()
    with pytest.raises(TooFewStars):
        run(sky, min_snr=1e9)


def test_faint_star_is_flagged_and_shapes_are_checked():
    sky = make_sky(14)
    sky.flux[:, 0] = np.random.default_rng(0).normal(0, 3, 30)
    result = run(sky)
    assert result.star_flags[0] == Flag.LOW_SNR
    with pytest.raises(InputError):
        normalize(sky.flux, sky.error[:, 1:], sky.good, **SETTINGS)


def test_inputs_stay_as_they_were():
    sky = make_sky(15)
    copies = sky.flux.copy(), sky.error.copy(), sky.good.copy()
    run(sky)
    for now, before in zip((sky.flux, sky.error, sky.good), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_a_field_with_more_stars_than_frames():
    sky = make_sky(16, n_frames=4, n_stars=60)
    result = run(sky)
    pull = relative_error(result, sky.transparency) * result.coefficient / result.coefficient_uncertainty
    assert np.abs(pull).max() < 4


@pytest.mark.slow
def test_ten_thousand_frames():
    sky = make_sky(17, n_frames=10_000, n_stars=300, missing=0.3)
    result = run(sky)
    assert result.converged
    pull = relative_error(result, sky.transparency) * result.coefficient / result.coefficient_uncertainty
    assert 0.9 < np.std(pull) < 1.2


def test_what_a_frame_has_in_common_widens_its_error_and_nothing_else():
    sky = make_sky(18)
    without = run(sky)
    common = np.full(30, 0.003)
    common[4] = np.nan
    result = run(sky, common_error=common)
    np.testing.assert_array_equal(result.coefficient, without.coefficient)
    np.testing.assert_array_equal(np.isnan(result.common_uncertainty), np.arange(30) == 4)
    whole = np.hypot(without.coefficient_uncertainty, 0.003 * result.coefficient)
    np.testing.assert_allclose(np.delete(result.coefficient_uncertainty, 4), np.delete(whole, 4))
    assert result.coefficient_uncertainty[4] == without.coefficient_uncertainty[4]


def test_pulls_with_an_error_common_to_the_frame():
    """The PSF of each frame is wrong by a factor: the transparency is uncertain by it, and says so."""
    pulls = []
    for seed in range(20):
        sky = make_sky(seed, n_frames=30, n_stars=30, log_flux=(3.0, 4.0))
        factor = np.random.default_rng(seed + 100).normal(1, 0.002, (30, 1))
        result = run(Sky(None, None, sky.flux * factor, sky.error, sky.good), common_error=np.full(30, 0.002))
        relative = result.coefficient_uncertainty / result.coefficient
        pulls.append(relative_error(result, sky.transparency) / relative)
    assert 0.9 < np.std(pulls) < 1.2


def test_single_fluxes_show_how_much_of_their_weight_they_kept():
    sky = make_sky(4, log_flux=(3.0, 4.0))
    sky.flux[11, 2] *= 1.6
    sky.good[3, 5] = False
    result = run(sky)
    assert result.pair_weight[11, 2] == 0
    assert result.pair_residual[11, 2] == pytest.approx(0.6, abs=0.05)
    assert np.isnan(result.pair_weight[3, 5])
    assert np.isnan(result.pair_residual[3, 5])
    assert np.nanmedian(result.pair_weight) > 0.9


def test_gauge_stays_when_frames_are_added_and_needs_magnitudes():
    g_mag = np.array([15.0, 16.0, np.nan])
    flux = 10 ** (-0.4 * (np.array([15.0, 16.0, 17.0]) - 24.9)) * np.array([[1.0], [0.8]])
    good = np.ones((2, 3), bool)
    first = gauge_fluxes(flux[:1], good[:1], g_mag, step_mag=0.5)
    np.testing.assert_array_equal(first, gauge_fluxes(flux, good, g_mag, step_mag=0.5))
    np.testing.assert_allclose(first[:2], 10 ** (-0.4 * (g_mag[:2] - 25.0)))
    assert np.isnan(first[2])
    assert gauge_fluxes(flux, good, np.full(3, np.nan), step_mag=0.5) is None


LIMITS = {"least_model_error": 0.03, "largest_fwhm_px": 2.5}


@pytest.mark.parametrize(
    ("model_error", "fwhm_px", "expected"),
    [
        ([0.07, 0.05, 0.09], [1.4, 1.0, 2.2], True),
        ([0.07, 0.07, 0.0], [1.4, 1.4, 1.4], True),  # a frame with few stars may not know its error
        ([0.07, 0.0, 0.0], [1.4, 1.4, 1.4], False),
        ([0.07, 0.0], [1.4, 1.4], False),  # even: the PSF
        ([0.07, np.nan, np.nan], [1.4, 1.4, np.nan], True),  # frames without PSF have no say
        ([0.07, 0.05, 0.09], [4.0, 3.0, 2.6], False),  # stars that are well sampled
        ([0.0, 0.0, 0.0], [2.0, 1.5, 1.2], False),  # small stars whose PSF explains the data
        ([np.nan], [np.nan], False),
    ],
)
def test_apertures_serve_where_most_psfs_miss_stars_that_are_small_against_pixels(
    model_error, fwhm_px, expected
):
    assert apertures_serve_better(np.array(model_error), np.array(fwhm_px), **LIMITS) is expected


def test_one_more_frame_does_not_change_the_kind_of_flux():
    rng = np.random.default_rng(0)
    error, fwhm = rng.uniform(0.05, 0.12, 142), rng.uniform(1.0, 2.2, 142)  # a night of undersampled frames
    kinds = {apertures_serve_better(error[:n], fwhm[:n], **LIMITS) for n in range(1, 143)}
    assert kinds == {True}
    kinds = {
        apertures_serve_better(np.r_[error, [0.0] * n], np.r_[fwhm, [4.0] * n], **LIMITS) for n in range(140)
    }
    assert kinds == {True}


def test_pulls_keep_their_width_when_faint_stars_pin_the_scale():
    """An error of the scale is common to all frames and none of a coefficient's."""
    pulls = []
    for seed in range(20):
        sky = make_sky(seed, n_frames=25, n_stars=40, log_flux=(1.0, 4.0))
        relative = run(sky, gauge_flux=sky.star_flux)
        error = relative.coefficient_uncertainty / relative.coefficient
        pulls.append(relative_error(relative, sky.transparency) / error)
    assert 0.9 < np.std(pulls) < 1.2
