"""Astrometry against simulated star fields whose WCS is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS, Sip

from lightwatch.errors import AstrometryError
from lightwatch.processes.astrometry import (
    accept_wcs,
    adopt_wcs,
    solve,
    solve_pattern,
    verify_wcs,
)
from lightwatch.processes.astrometry_chance import field_of
from lightwatch.processes.astrometry_pattern import ComplexArray, Limits, recognitions
from lightwatch.processes.astrometry_sky import (
    parse_wcs,
    pixel_to_sky,
    sky_to_pixel,
    sky_to_plane,
)
from lightwatch.processes.astrometry_types import (
    AstrometrySettings,
    Detections,
    Hints,
    ReferenceStars,
    Sibling,
)

NX, NY, SCALE = 1500, 1000, 1.14
SETTINGS = AstrometrySettings(
    min_matches=5,
    max_false_alarm_probability=1e-5,
    max_shift_px=100.0,
    match_radius_px=3.0,
    max_rms_px=1.0,
    max_anisotropy=0.02,
    max_sip_order=3,
)
UNKNOWN = Hints(np.nan, np.nan, np.nan, np.nan, np.nan)


def make_wcs(
    ra: float = 80.88, dec: float = -1.17, angle: float = 0.0, mirrored: bool = False, scale: float = SCALE
) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [NX / 2, NY / 2]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale / 3600 * np.array([[-c, s], [s, c]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    wcs.wcs.set()
    return wcs


def with_sip(wcs: WCS, amount: float = 1.0) -> WCS:
    """Up to about 5 px at the corners."""
    distorted = wcs.deepcopy()
    distorted.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a, b = np.zeros((2, 4, 4))
    a[2, 0], a[0, 2], b[1, 1] = 3e-6 * amount, -2e-6 * amount, 4e-6 * amount
    a[3, 0] = a[1, 2] = b[0, 3] = b[2, 1] = 5e-9 * amount
    distorted.sip = Sip(a, b, None, None, distorted.wcs.crpix)
    distorted.wcs.set()
    return distorted


def tpv(wcs: WCS) -> WCS:
    header = wcs.to_header()
    header.update(CTYPE1="RA---TPV", CTYPE2="DEC--TPV", PV1_1=1.0, PV1_4=5e-3, PV2_1=1.0, PV2_6=-4e-3)
    return parse_wcs(header)


def field(
    wcs: WCS,
    *,
    seed: int = 1,
    n_common: int = 10,
    n_only_stars: int = 20,
    n_only_detections: int = 190,
    noise_px: float = 0.1,
    offset: tuple[float, float] = (0.0, 0.0),
) -> tuple[Detections, ReferenceStars]:
    """Common objects in the frame, catalogue stars around it, and detections not in the catalogue."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 1, (n_common, 2)) * [NX - 1, NY - 1]
    mag = rng.uniform(8, 12, n_common)
    around = rng.uniform(-0.6, 1.6, (4 * n_only_stars + 10, 2)) * [NX, NY]
    outside = (around < 0).any(axis=1) | (around > [NX, NY]).any(axis=1)
    around = around[outside][:n_only_stars]
    ra, dec = pixel_to_sky(wcs, *np.concatenate([xy, around]).T)
    other = rng.uniform(0, 1, (n_only_detections, 2)) * [NX - 1, NY - 1]
    found = np.concatenate([xy + offset + rng.normal(0, noise_px, xy.shape), other])
    brightness = np.concatenate([mag + rng.normal(0, 0.5, n_common), rng.uniform(11, 15, n_only_detections)])
    order = rng.permutation(len(found))
    detections = Detections(
        *found[order].T, 10 ** (-0.4 * brightness[order]), np.full(len(found), noise_px), NX, NY
    )
    mags = np.concatenate([mag, rng.uniform(8, 12, len(around))])
    return detections, ReferenceStars(ra, dec, mags, np.full(len(ra), 0.05))


def worst_px(header: str, truth: WCS, margin: float = 0.0) -> float:
    """Largest distance between two WCS over the frame."""
    x, y = np.meshgrid(np.linspace(margin, NX - 1 - margin, 12), np.linspace(margin, NY - 1 - margin, 8))
    sky = pixel_to_sky(truth, x.ravel(), y.ravel())
    gap = sky_to_pixel(parse_wcs(header), *sky) - np.column_stack([x.ravel(), y.ravel()])
    return float(np.hypot(*gap.T).max())


def hints(ra: float, dec: float, scale: float = SCALE, tolerance: float = 0.11) -> Hints:
    return Hints(ra, dec, 0.4, scale * (1 - tolerance), scale * (1 + tolerance))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("ra", "dec", "angle"),
    [(80.88, -1.17, 0.0), (0.05, 30.0, 123.0), (200.0, 88.9, 250.0), (10.0, -90.0, 180.0)],
)
def test_ten_stars_among_two_hundred_detections(ra: float, dec: float, angle: float, mirrored: bool) -> None:
    """Pointing off by 0.1 degrees, scale by 9 %, any orientation, at RA 0 and at the poles."""
    truth = make_wcs(ra, dec, angle, mirrored)
    detections, stars = field(truth)
    hint = hints(ra, dec - 0.1 * np.sign(dec), SCALE * 1.09)
    solution = solve_pattern(detections, stars, hint, method="pattern", settings=SETTINGS)
    assert worst_px(solution.wcs_header, truth) < 0.6
    assert solution.n_matches >= 8
    assert solution.parity == (-1 if mirrored else 1)
    assert solution.pixel_scale_arcsec == pytest.approx(SCALE, rel=1e-3)
    assert solution.rms_px == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("seed", range(8))
def test_a_hundred_detections_and_a_wide_catalogue(seed: int) -> None:
    truth = make_wcs(angle=40.0 * seed)
    detections, stars = field(truth, seed=seed, n_common=40, n_only_stars=220, n_only_detections=60)
    solution = solve_pattern(detections, stars, hints(80.9, -1.3), method="pattern", settings=SETTINGS)
    assert worst_px(solution.wcs_header, truth) < 0.25
    assert solution.n_matches >= 36


def test_nothing_known_but_the_stars() -> None:
    truth = make_wcs(angle=77.0)
    detections, stars = field(truth, n_common=25, n_only_stars=20, n_only_detections=60)
    solution = solve_pattern(detections, stars, UNKNOWN, method="pattern", settings=SETTINGS)
    assert worst_px(solution.wcs_header, truth) < 0.3


def test_the_same_input_gives_the_same_bits_in_any_order() -> None:
    detections, stars = field(make_wcs(angle=5.0))
    order = np.random.default_rng(3).permutation(len(detections.x))
    shuffled = replace(detections, x=detections.x[order], y=detections.y[order], flux=detections.flux[order])
    one, two = (
        solve_pattern(d, stars, hints(80.88, -1.17), method="pattern", settings=SETTINGS)
        for d in (detections, shuffled)
    )
    assert one.wcs_header == two.wcs_header
    np.testing.assert_array_equal(detections.x[one.matched_detections], shuffled.x[two.matched_detections])


@pytest.mark.parametrize("seed", range(6))
def test_unrelated_stars_are_never_believed(seed: int) -> None:
    detections, _ = field(make_wcs(), seed=seed, n_common=30, n_only_detections=170)
    _, strangers = field(make_wcs(angle=10.0), seed=1000 + seed, n_common=30, n_only_stars=60)
    solution, attempts = solve(
        detections, strangers, make_wcs(), hints(80.88, -1.17), siblings=(), settings=SETTINGS
    )
    assert solution is None
    assert [a.method for a in attempts] == ["header", "pattern"]
    assert attempts[0].outcome == "wcs_contradicted"
    assert attempts[1].outcome == "no_match"


def everything_alike(kind: str) -> tuple[Detections, ComplexArray]:
    """Detections and stars (arcsec): chance brings all similarities of a tiny frame together; grids have few shapes."""
    rng = np.random.default_rng(2)
    side, pixels = 40, rng.uniform(0, 40, (80, 2))
    plane = rng.uniform(-360, 360, (300, 2))
    if kind == "grids":
        side, pixels = 4096, np.argwhere(np.ones((9, 9))) * 400.0 + 400.0
        plane = np.argwhere(np.ones((9, 9))) * 500.0 - 2000.0
    flux = np.linspace(2, 1, len(pixels))
    return Detections(*pixels.T, flux, np.full(len(pixels), 0.1), side, side), plane @ np.array([1.0, 1j])


@pytest.mark.parametrize("kind", ["tiny frame", "grids"])
def test_the_search_is_bounded_where_everything_is_alike(kind: str) -> None:
    detections, plane = everything_alike(kind)
    limits = Limits(1e-3, 1e3, np.inf)
    found = list(recognitions(field_of(detections), plane, np.arange(len(plane)), limits, 3.0))
    assert found
    assert found[-1].trials < 300_000


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.7, -1.5), (30.0, -50.0), (-3.0, 4.0)])
def test_a_header_wcs_with_a_constant_offset_is_kept_and_corrected(dx: float, dy: float) -> None:
    truth = make_wcs(angle=90.0)
    detections, stars = field(truth, seed=2)
    header = make_wcs(angle=90.0)
    header.wcs.crpix = truth.wcs.crpix - [dx, dy]
    check = verify_wcs(header, detections, stars, settings=SETTINGS)
    assert check.verdict == ("agrees" if np.hypot(dx, dy) < 2 else "shifted")
    solution, attempts = solve(detections, stars, header, UNKNOWN, siblings=(), settings=SETTINGS)
    assert solution is not None
    assert (solution.method, solution.model, len(attempts)) == ("header", "shift", 1)
    assert worst_px(solution.wcs_header, truth) < 0.15
    assert solution.rms_ra_arcsec == pytest.approx(0.1 * SCALE, rel=0.8)
    assert abs(solution.median_offset_ra_arcsec) < 0.1


@pytest.mark.parametrize(
    "wrong", [make_wcs(angle=3.0), make_wcs(angle=180.0), make_wcs(mirrored=True), make_wcs(scale=1.18),
              make_wcs(ra=80.95), make_wcs(ra=83.0), make_wcs(ra=260.0)]
)  # fmt: skip
def test_a_wrong_header_wcs_is_contradicted_and_replaced(wrong: WCS) -> None:
    truth = make_wcs()
    detections, stars = field(truth, n_common=14)
    assert verify_wcs(wrong, detections, stars, settings=SETTINGS).verdict in ("contradicted", "undecided")
    with pytest.raises(AstrometryError):
        accept_wcs(wrong, detections, stars, method="header", settings=SETTINGS)
    solution, attempts = solve(detections, stars, wrong, hints(80.88, -1.17), siblings=(), settings=SETTINGS)
    assert solution is not None
    assert [(a.method, a.outcome == "solved") for a in attempts] == [("header", False), ("pattern", True)]
    assert worst_px(solution.wcs_header, truth) < 0.5


def test_a_few_stars_that_chance_would_not_give_name_the_setting() -> None:
    detections, stars = field(make_wcs(), n_common=SETTINGS.min_matches - 1, n_only_stars=0)
    check = verify_wcs(make_wcs(), detections, stars, settings=SETTINGS)
    assert check.verdict == "undecided"
    asked = f"; fewer than the {SETTINGS.min_matches} that plate_solving.min_matches asks for"
    assert check.message.endswith(asked)


def test_too_few_stars_to_tell() -> None:
    detections, stars = field(make_wcs(), n_common=3, n_only_stars=0)
    assert verify_wcs(make_wcs(), detections, stars, settings=SETTINGS).verdict == "undecided"
    solution, attempts = solve(
        detections, stars, make_wcs(), hints(80.88, -1.17), siblings=(), settings=SETTINGS
    )
    assert solution is None
    assert [a.outcome for a in attempts] == ["too_few_sources", "too_few_sources"]


@pytest.mark.parametrize("empty", ["detections", "stars", "both"])
def test_nothing_in_the_frame_or_the_catalogue(empty: str) -> None:
    detections, stars = field(make_wcs())
    none = np.zeros(0)
    if empty != "stars":
        detections = Detections(none, none, none, none, NX, NY)
    if empty != "detections":
        stars = ReferenceStars(none, none, none, none)
    solution, attempts = solve(detections, stars, make_wcs(), UNKNOWN, siblings=(), settings=SETTINGS)
    assert solution is None
    assert all(a.outcome == "too_few_sources" for a in attempts)


def test_unknown_values_are_left_out() -> None:
    truth = make_wcs()
    detections, stars = field(truth)
    x, flux = detections.x.copy(), detections.flux.copy()
    x[:20], flux[20:30] = np.nan, np.nan
    stars = replace(
        stars, mag=np.full(len(stars.ra), np.nan), uncertainty_arcsec=np.full(len(stars.ra), np.nan)
    )
    some = replace(detections, x=x, flux=flux, uncertainty_px=np.full(len(x), np.nan))
    solution = accept_wcs(truth, some, stars, method="header", settings=SETTINGS)
    assert worst_px(solution.wcs_header, truth) < 0.2
    assert not np.isin(solution.matched_detections, np.arange(30)).any()


def test_the_distortion_of_a_header_is_kept_with_few_stars() -> None:
    """Rotation and scale change between nights; SIP and TPV stay."""
    for distort in (with_sip, tpv):
        truth, header = distort(make_wcs(angle=0.03, scale=SCALE * 1.0005)), distort(make_wcs())
        detections, stars = field(truth, n_common=12, noise_px=0.03)
        solution = accept_wcs(header, detections, stars, method="header", settings=SETTINGS)
        assert solution.model in ("similarity", "affine")
        assert worst_px(solution.wcs_header, truth) < 0.15


def test_a_distortion_is_fitted_when_many_stars_show_it() -> None:
    truth = with_sip(make_wcs(angle=30.0))
    detections, stars = field(truth, n_common=150, n_only_detections=50, noise_px=0.05)
    solution = solve_pattern(detections, stars, hints(80.88, -1.17), method="pattern", settings=SETTINGS)
    assert solution.model == "sip3"
    assert solution.n_matches > 140
    assert worst_px(solution.wcs_header, truth, margin=30.0) < 0.1
    linear = replace(SETTINGS, max_sip_order=1, max_rms_px=5.0)
    solution = solve_pattern(detections, stars, hints(80.88, -1.17), method="p", settings=linear)
    assert solution.model in ("similarity", "affine")


def test_a_distortion_beyond_the_matching_radius_is_followed_to_the_corners() -> None:
    """A plain header WCS, 15 px off at the corners, where few stars match at first."""
    truth = with_sip(make_wcs(angle=100.0), amount=3.0)
    for seed in range(3):
        detections, stars = field(truth, seed=seed, n_common=150, n_only_detections=30, noise_px=0.1)
        header = make_wcs(ra=80.881, angle=100.0)
        solution = accept_wcs(header, detections, stars, method="header", settings=SETTINGS)
        assert worst_px(solution.wcs_header, truth) < 0.5
        assert solution.n_matches > 140


def test_a_distortion_is_not_extrapolated_into_an_empty_quarter() -> None:
    truth = with_sip(make_wcs())
    detections, stars = field(truth, n_common=200, n_only_detections=0, noise_px=0.05)
    seen = (detections.x < NX / 2) | (detections.y < NY / 2)
    some = replace(detections, flux=np.where(seen, detections.flux, np.nan))
    relaxed = replace(SETTINGS, max_rms_px=3.0)
    solution = solve_pattern(some, stars, hints(80.88, -1.17), method="pattern", settings=relaxed)
    assert solution.model in ("similarity", "affine")


def test_no_distortion_is_invented() -> None:
    truth = make_wcs()
    for seed in range(5):
        detections, stars = field(truth, seed=seed, n_common=80, noise_px=0.2)
        solution = solve_pattern(detections, stars, hints(80.88, -1.17), method="pattern", settings=SETTINGS)
        assert solution.model in ("similarity", "affine")
        assert worst_px(solution.wcs_header, truth) < 0.3


def test_the_inverse_of_a_fitted_distortion_is_written_too() -> None:
    """AP and BP for other programs: a hundredth of a pixel within the frame."""
    truth = with_sip(make_wcs())
    detections, stars = field(truth, n_common=150, n_only_detections=0, noise_px=0.02)
    solution = solve_pattern(detections, stars, hints(80.88, -1.17), method="pattern", settings=SETTINGS)
    wcs = parse_wcs(solution.wcs_header)
    x, y = np.random.default_rng(0).uniform(0, NY, (2, 100))
    back = wcs.sip_foc2pix(wcs.sip_pix2foc(np.column_stack([x, y]), 0), 0)
    np.testing.assert_allclose(back, np.column_stack([x, y]), atol=0.02)


def test_mistaken_matches_do_not_pull_the_fit() -> None:
    """A fifth of the stars is displaced by 2 px: double stars, unknown proper motions."""
    truth = make_wcs()
    detections, stars = field(truth, n_common=40, n_only_detections=20, noise_px=0.05)
    x, y = sky_to_pixel(truth, stars.ra, stars.dec).T
    x[:8] += 2.0
    ra, dec = pixel_to_sky(truth, x, y)
    solution = accept_wcs(truth, detections, replace(stars, ra=ra, dec=dec), method="h", settings=SETTINGS)
    assert worst_px(solution.wcs_header, truth) < 0.1
    assert not np.isin(solution.matched_stars, np.arange(8)).any()


@pytest.mark.parametrize(
    ("change", "code"),
    [({"max_anisotropy": 0.001}, "anisotropic"), ({"max_rms_px": 0.05}, "rms_too_large"),
     ({"min_matches": 20}, "no_match")],
)  # fmt: skip
def test_solutions_outside_of_the_limits_are_refused(change: dict[str, float], code: str) -> None:
    truth = make_wcs()
    truth.wcs.cd = truth.wcs.cd @ np.diag([1.004, 1.0])
    detections, stars = field(truth, n_common=15)
    kept = solve_pattern(detections, stars, hints(80.88, -1.17), method="p", settings=SETTINGS)
    assert kept.anisotropy == pytest.approx(0.004, abs=0.001)
    with pytest.raises(AstrometryError) as caught:
        solve_pattern(
            detections, stars, hints(80.88, -1.17), method="p", settings=replace(SETTINGS, **change)
        )
    assert caught.value.reason_code == code


@pytest.mark.parametrize(
    ("angle", "mirrored", "north"), [(0, False, 0), (30, False, 30), (30, True, 30), (180, False, 180)]
)
def test_orientation_is_measured(angle: float, mirrored: bool, north: float) -> None:
    """The angle is where +y points on the sky, from north through east."""
    truth = make_wcs(angle=angle, mirrored=mirrored)
    detections, stars = field(truth)
    solution = accept_wcs(truth, detections, stars, method="header", settings=SETTINGS)
    east, up = sky_to_plane(*pixel_to_sky(truth, [750.0, 750.0], [500.0, 510.0]), 80.88, -1.17)
    assert solution.angle_to_north_deg == pytest.approx(
        np.degrees(np.arctan2(east[1] - east[0], up[1] - up[0])) % 360, abs=0.1
    )
    assert (solution.angle_to_north_deg - north + 180) % 360 - 180 == pytest.approx(0.0, abs=0.1)


def sibling_of(detections: Detections, wcs: WCS) -> Sibling:
    return Sibling("night1", detections, wcs, 0.05)


def frames_with_defects(shift: tuple[float, float], n_stars: int) -> tuple[Detections, Detections, WCS, WCS]:
    """Two frames of one field, the second moved; both have the same 120 hot pixels."""
    rng = np.random.default_rng(11)
    one, two = make_wcs(), make_wcs()
    two.wcs.crpix = one.wcs.crpix + shift
    xy = rng.uniform(0.1, 0.9, (n_stars, 2)) * [NX, NY]
    hot = rng.uniform(0, 1, (120, 2)) * [NX, NY]
    flux = np.concatenate([rng.uniform(1, 100, n_stars), rng.uniform(1, 60, 120)])
    frames = []
    for offset in ((0.0, 0.0), shift):
        points = np.concatenate([xy + offset + rng.normal(0, 0.1, xy.shape), hot])
        frames.append(Detections(*points.T, flux, np.full(len(flux), 0.1), NX, NY))
    return frames[0], frames[1], one, two


def test_a_wcs_is_adopted_from_a_sibling_despite_defects_of_the_detector() -> None:
    first, second, wcs, truth = frames_with_defects((14.0, -9.0), 60)
    solution = adopt_wcs(second, sibling_of(first, wcs), UNKNOWN, method="s", settings=SETTINGS)
    assert worst_px(solution.wcs_header, truth) < 0.25
    assert (solution.matched_stars < 60).all()
    np.testing.assert_array_equal(np.sort(solution.matched_stars), np.sort(solution.matched_detections))


def test_defects_alone_are_never_a_reason_to_believe() -> None:
    first, second, wcs, _ = frames_with_defects((14.0, -9.0), 3)
    with pytest.raises(AstrometryError):
        adopt_wcs(second, sibling_of(first, wcs), UNKNOWN, method="s", settings=SETTINGS)


def test_the_chain_uses_the_sibling_when_the_catalogue_is_too_sparse() -> None:
    first, second, wcs, truth = frames_with_defects((300.0, -200.0), 60)
    none = np.zeros(0)
    no_stars = ReferenceStars(none, none, none, none)
    solution, attempts = solve(
        second, no_stars, None, UNKNOWN, siblings=[sibling_of(first, wcs)], settings=SETTINGS
    )
    assert solution is not None
    assert [a.method for a in attempts] == ["wcs_of:night1", "pattern", "pattern_of:night1"]
    assert [a.outcome for a in attempts] == ["too_few_sources", "too_few_sources", "solved"]
    assert worst_px(solution.wcs_header, truth) < 0.3


def test_a_siblings_wcs_is_a_guess_that_the_catalogue_confirms() -> None:
    truth = make_wcs(angle=12.0)
    detections, stars = field(truth, n_common=7, n_only_detections=250)
    near = make_wcs(angle=12.0)
    near.wcs.crpix = truth.wcs.crpix + np.array([40.0, 12.0])
    other, _ = field(near, seed=5)
    solution, attempts = solve(
        detections,
        stars,
        make_wcs(angle=192.0),
        UNKNOWN,
        siblings=[sibling_of(other, near)],
        settings=SETTINGS,
    )
    assert solution is not None
    assert [a.method for a in attempts] == ["header", "wcs_of:night1"]
    assert attempts[1].shift_px == pytest.approx(np.hypot(40, 12), abs=1.0)
    assert worst_px(solution.wcs_header, truth) < 0.3


def test_inputs_are_not_altered() -> None:
    header = make_wcs(angle=0.05)
    detections, stars = field(make_wcs())
    before = [a.copy() for a in (detections.x, detections.flux, stars.ra, header.wcs.crval, header.wcs.cd)]
    solve(detections, stars, header, UNKNOWN, siblings=[sibling_of(detections, header)], settings=SETTINGS)
    after = (detections.x, detections.flux, stars.ra, header.wcs.crval, header.wcs.cd)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, two)
