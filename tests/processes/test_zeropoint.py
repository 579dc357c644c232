"""Zero points: recovered from simulated stars; relations checked at the Sun; too few stars said."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch.errors import InputError
from lightwatch.flags import Flag
from lightwatch.processes.zeropoint import (
    NO_COLOUR_TERM,
    band_named,
    catalog_magnitudes,
    fit_colour_term,
    frame_zeropoints,
    zeropoints_by_coefficient,
)

NAMES = ["G", "BP", "RP", "g_sdss", "r_sdss", "i_sdss", "z_sdss", "B", "V", "R", "Ic", "B_T", "V_T"]


def stars(seed, n=60):
    """Gaia magnitudes and the true r of stars that obey the relation with its scatter."""
    rng = np.random.default_rng(seed)
    g, bp_rp = rng.uniform(14, 18, n), rng.uniform(0.4, 2.5, n)
    r = g - np.polyval([0.02263, -0.1701, 0.1907, 0.08592, -0.09837], bp_rp) + rng.normal(0, 0.02, n)
    return g, g + 0.45 * bp_rp, g - 0.55 * bp_rp, r


def frames_of(mag, zeropoints, seed=0, error=0.005):
    rng = np.random.default_rng(seed)
    flux = 10 ** (-0.4 * (mag - np.asarray(zeropoints)[:, None]))
    return flux * (1 + error * rng.standard_normal(flux.shape)), error * flux


@pytest.mark.parametrize("name", NAMES)
def test_every_band_has_a_system_and_the_sun_keeps_its_colours(name):
    band = band_named(name)
    assert band.system in {"Vega", "AB"}
    # absolute magnitudes of the Sun (Willmer 2018, ApJS 236, 47) with BP - RP = 0.82, G = 4.67
    sun = {"g_sdss": 5.11, "r_sdss": 4.65, "i_sdss": 4.53, "z_sdss": 4.50, "B": 5.44, "V": 4.81}
    sun |= {"R": 4.43, "Ic": 4.10, "B_T": 5.58, "V_T": 4.88, "G": 4.67, "BP": 5.0, "RP": 4.18}
    result = catalog_magnitudes(
        np.array([4.67]), np.array([5.0]), np.array([4.18]), band=band, assumed_bp_rp=None
    )
    assert result.mag[0] == pytest.approx(sun[name], abs=0.08)


def test_unknown_band_names_the_known_ones():
    with pytest.raises(InputError, match="r_sdss") as caught:
        band_named("r")
    assert caught.value.reason_code == "unknown_band"


def test_star_outside_the_range_of_colours_has_no_magnitude():
    result = catalog_magnitudes(
        np.array([15.0, 15.0]),
        np.array([17.0, 15.3]),
        np.array([13.2, 14.5]),
        band=band_named("r_sdss"),
        assumed_bp_rp=None,
    )
    assert np.isnan(result.mag[0])
    assert result.flags.tolist() == [Flag.EXTRAPOLATED, 0]


def test_star_without_colour_is_used_only_on_request_and_with_a_wider_error():
    g, nan = np.array([15.0]), np.array([np.nan])
    band = band_named("g_sdss")
    assert np.isnan(catalog_magnitudes(g, nan, nan, band=band, assumed_bp_rp=None).mag[0])
    result = catalog_magnitudes(g, nan, nan, band=band, assumed_bp_rp=(1.0, 0.4))
    assert result.flags[0] == Flag.EXTRAPOLATED
    assert result.mag_uncertainty[0] > 0.3
    identity = catalog_magnitudes(g, nan, nan, band=band_named("G"), assumed_bp_rp=None)
    assert (identity.mag[0], identity.flags[0]) == (15.0, 0)


def test_zero_point_is_recovered_despite_variables_and_blends():
    g, bp, rp, r = stars(1)
    catalog = catalog_magnitudes(g, bp, rp, band=band_named("r_sdss"), assumed_bp_rp=None)
    truth = np.array([24.8, 24.1, 23.5, 25.0])
    flux, error = frames_of(r, truth)
    flux[:, :5] *= np.array([3, 0.3, 1.6, 5, 1.4])
    flux[2, 20:40] = np.nan
    result = frame_zeropoints(
        flux, error, catalog.mag, catalog.mag_uncertainty, catalog.bp_rp,
        colour_term=NO_COLOUR_TERM, clip_sigma=3.0, min_stars=3,
    )  # fmt: skip
    assert np.abs(result.zeropoint - truth).max() < 0.012
    assert np.all(np.abs(result.zeropoint - truth) < 4 * result.zeropoint_uncertainty)
    assert np.all((result.scatter > 0.012) & (result.scatter < 0.03))
    assert result.n_stars.tolist() == [55, 55, 35, 55]


def test_error_of_the_mean_is_honest():
    pulls = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        mag = rng.uniform(14, 18, 12)
        truth = mag + rng.normal(0, 0.08, 12)
        flux, error = frames_of(truth, [24.0], seed)
        result = frame_zeropoints(
            flux, error, mag, np.full(12, 0.02), np.full(12, np.nan),
            colour_term=NO_COLOUR_TERM, clip_sigma=4.0, min_stars=3,
        )  # fmt: skip
        pulls.append((result.zeropoint[0] - 24.0) / result.zeropoint_uncertainty[0])
    assert 0.9 < np.std(pulls) < 1.2


def test_colour_term_is_recovered_and_applied():
    g, bp, rp, r = stars(2, 80)
    catalog = catalog_magnitudes(g, bp, rp, band=band_named("r_sdss"), assumed_bp_rp=None)
    flux, error = frames_of(r - 0.10 * (bp - rp - 1.0), [24.0, 23.2, 24.5])
    args = flux, error, catalog.mag, catalog.mag_uncertainty, catalog.bp_rp
    term = fit_colour_term(*args, clip_sigma=3.0, min_stars=5)
    assert term.slope == pytest.approx(0.10, abs=4 * term.slope_uncertainty)
    assert term.slope_uncertainty < 0.02
    with_term = frame_zeropoints(*args, colour_term=term, clip_sigma=3.0, min_stars=3)
    without = frame_zeropoints(*args, colour_term=NO_COLOUR_TERM, clip_sigma=3.0, min_stars=3)
    assert np.all(with_term.scatter < 0.5 * without.scatter)
    expected = np.array([24.0, 23.2, 24.5]) + 0.10 * (term.pivot - 1.0)
    assert np.abs(with_term.zeropoint - expected).max() < 0.015


def test_no_colour_term_without_colours():
    flux, error = frames_of(np.full(10, 15.0), [24.0])
    nothing = np.full(10, np.nan)
    term = fit_colour_term(
        flux, error, np.full(10, 15.0), np.full(10, 0.02), nothing, clip_sigma=3.0, min_stars=5
    )
    assert term == NO_COLOUR_TERM


def test_too_few_stars_is_a_flag_and_no_number():
    flux = np.array([[100.0, np.nan, -3.0], [100.0, 90.0, 80.0]])
    mag = -2.5 * np.log10([100.0, 90.0, 80.0]) + 24
    result = frame_zeropoints(
        flux, np.full((2, 3), 1.0), mag, np.full(3, 0.02), np.full(3, np.nan),
        colour_term=NO_COLOUR_TERM, clip_sigma=3.0, min_stars=3,
    )  # fmt: skip
    assert np.isnan(result.zeropoint[0])
    assert result.flags.tolist() == [Flag.TOO_FEW_STARS, 0]
    assert result.n_stars.tolist() == [1, 3]
    assert result.zeropoint[1] == pytest.approx(24.0, abs=1e-9)


def test_zero_points_through_the_normalised_scale():
    g, bp, rp, r = stars(3)
    catalog = catalog_magnitudes(g, bp, rp, band=band_named("r_sdss"), assumed_bp_rp=None)
    flux, error = frames_of(r, [24.4], error=0.001)
    scale = frame_zeropoints(
        flux, error, catalog.mag, catalog.mag_uncertainty, catalog.bp_rp,
        colour_term=NO_COLOUR_TERM, clip_sigma=3.0, min_stars=3,
    )  # fmt: skip
    coefficient = np.array([1.0, 0.5, np.nan])
    result = zeropoints_by_coefficient(scale, coefficient, np.array([0.01, 0.01, np.nan]))
    assert result.zeropoint[0] == scale.zeropoint[0]
    assert result.zeropoint[1] == pytest.approx(scale.zeropoint[0] - 0.752575, abs=1e-6)
    assert np.isnan(result.zeropoint[2])
    assert result.zeropoint_uncertainty[1] > result.zeropoint_uncertainty[0] > scale.zeropoint_uncertainty[0]


def test_same_result_in_any_order():
    g, bp, rp, r = stars(4)
    catalog = catalog_magnitudes(g, bp, rp, band=band_named("V"), assumed_bp_rp=None)
    flux, error = frames_of(r, [24.4, 23.0])
    order = np.random.default_rng(0).permutation(60)
    options = {"colour_term": NO_COLOUR_TERM, "clip_sigma": 3.0, "min_stars": 3}
    first = frame_zeropoints(flux, error, catalog.mag, catalog.mag_uncertainty, bp - rp, **options)
    second = frame_zeropoints(
        flux[:, order], error[:, order], catalog.mag[order], catalog.mag_uncertainty[order],
        (bp - rp)[order], **options,
    )  # fmt: skip
    np.testing.assert_allclose(first.zeropoint, second.zeropoint, rtol=1e-13)
