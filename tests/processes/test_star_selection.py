"""Selection of reference stars and of the stars that shape a PSF."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightwatch.flags import Flag
from lightwatch.processes.psf_star_selection import min_snr_for, told_reasons
from lightwatch.processes.star_selection import (
    CandidateStars,
    StarCuts,
    choose_psf_stars,
    crowding,
    distance_to_roi_arcsec,
    members,
    region_members,
    select_stars,
    star_names,
)

NO_CUTS = StarCuts(
    min_g_mag=None,
    max_g_mag=None,
    max_astrometric_excess_noise_sig=None,
    min_flux_over_error=None,
    max_contamination=None,
    exclude_variable=False,
    unknown_passes=True,
    roi_exclusion_arcsec=0.0,
    max_number=None,
)
ROI = (np.array([42.2031]), np.array([19.22528]))


def field(n=80, seed=3, ra0=42.2031, dec0=19.22528):
    rng = np.random.default_rng(seed)
    return CandidateStars(
        source_id=rng.permutation(np.arange(n) * 7919 + 10**13),
        ra_deg=ra0 + rng.uniform(-0.1, 0.1, n) / np.cos(np.radians(dec0)),
        dec_deg=dec0 + rng.uniform(-0.1, 0.1, n),
        g_mag=np.where(rng.random(n) < 0.1, np.nan, rng.uniform(13, 21, n)),
        astrometric_excess_noise_sig=np.where(rng.random(n) < 0.1, np.nan, rng.exponential(1.5, n)),
        flux_over_error=rng.uniform(20, 5000, n),
        variable=rng.choice([0.0, 1.0, np.nan], n, p=[0.6, 0.1, 0.3]),
    )


def select(stars, cuts=NO_CUTS, excluded=None, in_region=None):
    return select_stars(
        stars,
        in_region=np.ones(len(stars.source_id), bool) if in_region is None else in_region,
        roi_ra_deg=ROI[0],
        roi_dec_deg=ROI[1],
        cuts=cuts,
        excluded=excluded or {},
        fwhm_arcsec=1.0,
        aperture_radius_arcsec=2.0,
    )


def permuted(stars, order):
    return CandidateStars(**{key: value[order] for key, value in vars(stars).items()})


def test_no_cut_keeps_every_star_even_unknown_ones():
    selection = select(field())
    assert selection.kept.all()
    assert sum(number for _, number in selection.counts) == 0


@pytest.mark.parametrize(
    ("cut", "column", "violates"),
    [
        ({"min_g_mag": 15.0}, "g_mag", lambda v: v < 15),
        ({"max_g_mag": 19.0}, "g_mag", lambda v: v > 19),
        (
            {"max_astrometric_excess_noise_sig": 3.0},
            "astrometric_excess_noise_sig",
            lambda v: v > 3,
        ),
        ({"min_flux_over_error": 100.0}, "flux_over_error", lambda v: v < 100),
        ({"exclude_variable": True}, "variable", lambda v: v == 1),
    ],
)
def test_each_cut_refuses_exactly_its_violators_and_is_counted(cut, column, violates):
    stars = field()
    bad = violates(getattr(stars, column))
    lenient = select(stars, replace(NO_CUTS, **cut))
    assert np.array_equal(lenient.kept, ~bad)
    assert sum(number for _, number in lenient.counts) == bad.sum() > 0
    strict = select(stars, replace(NO_CUTS, **cut, unknown_passes=False))
    assert np.array_equal(strict.kept, ~bad & np.isfinite(getattr(stars, column)))
    assert all(strict.reason[~strict.kept] != "")


def test_selection_does_not_depend_on_the_order_of_the_catalogue():
    stars = field()
    cuts = replace(NO_CUTS, max_g_mag=19.5, max_number=20, max_contamination=0.05, roi_exclusion_arcsec=60.0)
    reference = select(stars, cuts)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(stars.source_id))
        other = select(permuted(stars, order), cuts)
        assert np.array_equal(other.kept, reference.kept[order])
        assert np.array_equal(other.name, reference.name[order])
        assert np.array_equal(other.reason, reference.reason[order])
        assert other.counts == reference.counts
        assert np.array_equal(stars.source_id[order][other.order], stars.source_id[reference.order])


def test_letters_follow_the_distance_to_the_roi():
    selection = select(field(), replace(NO_CUTS, max_number=40))
    distances = selection.distance_to_roi_arcsec[selection.order]
    assert np.all(np.diff(distances) >= 0)
    assert list(selection.name[selection.order]) == star_names(40)
    assert selection.distance_to_roi_arcsec[~selection.kept].min() >= distances.max()


def test_names_after_z_continue_with_two_letters():
    names = star_names(26 + 26 * 26 + 2)
    assert names[:3] == ["a", "b", "c"]
    assert names[25:28] == ["z", "aa", "ab"]
    assert names[26 + 26 * 26 - 1 :] == ["zz", "aaa", "aab"]
    assert len(set(names)) == len(names)


def test_no_reference_star_next_to_a_roi_and_excluded_ones_carry_their_reason():
    stars = field()
    bad = stars.source_id[:3].tolist()
    selection = select(stars, replace(NO_CUTS, roi_exclusion_arcsec=100.0), {"known variable": bad})
    assert selection.distance_to_roi_arcsec[selection.kept].min() >= 100.0
    assert not selection.kept[:3].any()
    far = selection.distance_to_roi_arcsec[:3] >= 100.0
    assert set(selection.reason[:3][far]) == {"known variable"}


def test_distance_near_the_pole_and_across_ra_zero():
    ra, dec = np.array([10.0, 190.0, 359.99]), np.array([89.9, 89.9, 0.0])
    assert distance_to_roi_arcsec(ra[:1], dec[:1], ra[1:2], dec[1:2])[0] == pytest.approx(0.2 * 3600)
    assert distance_to_roi_arcsec(ra[2:], dec[2:], np.array([0.01]), np.array([0.0]))[0] == pytest.approx(
        72.0
    )
    both = distance_to_roi_arcsec(ra, dec, np.array([10.0, 0.0]), np.array([89.9, 0.0]))
    assert both == pytest.approx([0.0, 720.0, 36.0], abs=1e-4)


def test_three_strategies():
    distance = np.array([10.0, 200.0, 50.0, 400.0])
    in_frames = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], bool)
    settings = {"distance_arcsec": distance, "radius_arcsec": 100.0, "in_frames": in_frames}
    assert region_members("ROI_disk", **settings).tolist() == [True, False, True, False]
    assert region_members("common_footprint_stars", **settings).tolist() == [True, True, False, False]
    assert region_members("stars_per_frame", **settings).tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match="none of"):
        region_members("disk", **settings)
    none = {**settings, "in_frames": np.zeros((0, 4), bool)}
    assert not region_members("common_footprint_stars", **none).any()


def test_contamination_agrees_with_pixels():
    """Light in an aperture against a finely drawn pair of Moffat profiles."""
    separation, fwhm, radius = 3.0, 1.2, 2.0
    dec = np.array([0.0, separation / 3600])
    nearest, share = crowding(
        np.zeros(2), dec, np.array([15.0, 14.0]), fwhm_arcsec=fwhm, aperture_radius_arcsec=radius
    )
    assert nearest == pytest.approx([separation] * 2)
    step = 0.02
    yy, xx = np.mgrid[-10:10:step, -10:10:step]
    alpha2 = (fwhm / 2) ** 2 / (2 ** (1 / 3) - 1)
    aperture = xx**2 + yy**2 < radius**2
    own = ((1 + (xx**2 + yy**2) / alpha2) ** -3)[aperture].sum()
    other = ((1 + (xx**2 + (yy - separation) ** 2) / alpha2) ** -3)[aperture].sum()
    assert share[0] == pytest.approx(10**0.4 * other / own, rel=0.02)
    assert share[1] == pytest.approx(10**-0.4 * other / own, rel=0.02)


def test_contamination_of_unknown_brightness_is_unknown():
    dec = np.array([0.0, 1.0, 30.0, 60.0]) / 3600
    _, share = crowding(
        np.zeros(4), dec, np.array([15.0, np.nan, 15.0, np.nan]), fwhm_arcsec=1.0, aperture_radius_arcsec=2.0
    )
    assert np.isnan(share[[0, 1, 3]]).all()
    assert share[2] == 0.0


def test_empty_and_single_star_catalogues():
    assert len(select(permuted(field(), np.arange(0))).kept) == 0
    single = select(permuted(field(), np.arange(1)))
    assert single.name.tolist() == ["a"]
    assert single.nearest_neighbour_arcsec[0] == np.inf


def test_members_by_letter_or_id():
    ids, names = np.array([5, 6, 7]), np.array(["a", "", "b"])
    meant, unknown = members(ids, names, ["b", 6, "q", ""])
    assert meant.tolist() == [False, True, True]
    assert unknown == ("q", "")


def psf_choice(n=60, seed=1, order=None, **changes):
    rng = np.random.default_rng(seed)
    settings = {
        "source_id": np.arange(n, dtype=np.int64) * 1_000_003 + 10**13,
        "x": rng.uniform(0, 1000, n),
        "y": rng.uniform(0, 800, n),
        "snr": rng.uniform(10, 900, n),
        "contamination": rng.exponential(0.01, n),
        "coverage": rng.uniform(0.9, 1.0, n),
        "saturated": rng.random(n) < 0.1,
        "flags": np.where(rng.random(n) < 0.05, int(Flag.VARIABLE), 0),
    } | changes
    if order is not None:
        settings = {key: value[order] for key, value in settings.items()}
    return settings, choose_psf_stars(
        **settings,
        shape=(800, 1000),
        edge_margin_px=15.0,
        min_snr=50.0,
        max_contamination=0.05,
        min_coverage=0.92,
        max_number=18,
        cells_per_side=3,
        reserved_fraction=0.2,
        min_number_to_reserve=10,
    )


def test_psf_stars_are_clean_spread_and_disjoint_from_reserved_ones():
    stars, choice = psf_choice(n=200)
    taken = choice.used | choice.reserved
    assert not (choice.used & choice.reserved).any()
    assert choice.used.sum() == 18
    assert np.all(choice.reasons[taken] == 0)
    assert np.all(stars["snr"][taken] >= 50)
    assert not stars["saturated"][taken].any()
    cells = {
        (int(x // (1000 / 3)), int(y // (800 / 3)))
        for x, y in zip(stars["x"][choice.used], stars["y"][choice.used], strict=True)
    }
    assert len(cells) == 9
    eligible = (choice.reasons == 0).sum()
    assert choice.reserved.sum() == round(0.2 * eligible)


def test_each_disqualification_sets_its_bit():
    n = 60
    base = {
        "snr": np.full(n, 100.0),
        "contamination": np.zeros(n),
        "coverage": np.ones(n),
        "saturated": np.zeros(n, bool),
        "flags": np.zeros(n, np.int64),
        "x": np.linspace(50, 900, n),
        "y": np.linspace(50, 700, n),
    }
    for key, value, bit in (
        ("snr", 3.0, Flag.LOW_SNR),
        ("snr", np.nan, Flag.LOW_SNR),
        ("contamination", 0.5, Flag.CONTAMINATED),
        ("coverage", 0.5, Flag.LOW_COVERAGE),
        ("saturated", True, Flag.SATURATED),
        ("flags", int(Flag.VARIABLE), Flag.VARIABLE),
        ("x", 5.0, Flag.OUTSIDE),
        ("y", 790.0, Flag.OUTSIDE),
    ):
        changed = base[key].copy()
        changed[7] = value
        _, choice = psf_choice(n, **{**base, key: changed})
        assert choice.reasons[7] == bit
        assert np.count_nonzero(choice.reasons) == 1
    _, choice = psf_choice(n, **{**base, "contamination": np.full(n, np.nan)})
    assert not choice.reasons.any()


def test_choice_of_psf_stars_does_not_depend_on_order():
    _, reference = psf_choice()
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(60)
        _, choice = psf_choice(order=order)
        assert np.array_equal(choice.used, reference.used[order])
        assert np.array_equal(choice.reserved, reference.reserved[order])


def test_few_stars_are_all_used():
    _, choice = psf_choice(
        n=6, snr=np.full(6, 100.0), saturated=np.zeros(6, bool), x=np.full(6, 500.0), y=np.full(6, 400.0)
    )
    assert not choice.reserved.any()
    assert choice.used.sum() == (choice.reasons == 0).sum()


def test_stars_kept_out_are_counted_once():
    """The counts in a message add up to the number of stars kept out."""
    low, off = int(Flag.LOW_SNR), int(Flag.OUTSIDE)
    reasons = np.array([low, low, 0, low | off, low, off])
    assert told_reasons(reasons) == "3 low_snr, 1 outside and low_snr, 1 outside"
    assert told_reasons(np.zeros(3, np.int64)) == ""


def test_limit_under_which_there_are_stars_enough():
    low, off = int(Flag.LOW_SNR), int(Flag.OUTSIDE)
    reasons = np.array([0, low, low | off, low, low])
    snr = np.array([50.0, 12.0, 30.0, 8.0, np.nan])
    assert [min_snr_for(n, reasons, snr) for n in (1, 2, 3)] == [50.0, 12.0, 8.0]
    assert np.isnan(min_snr_for(4, reasons, snr))
