"""Footprints against areas and positions known from geometry."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS, Sip
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwatch.errors import ProcessError
from lightwatch.processes.footprint import (
    area_deg2,
    catalog_digest,
    common_and_total,
    contains,
    footprint_hash,
    frame_outline,
    in_frame,
    outline_from_json,
    outline_to_json,
    region_from_json,
    region_to_json,
)

NX, NY, SCALE = 600, 400, 1.0 / 3600.0


def tan(ra: float, dec: float, angle: float = 0.0, scale: float = SCALE, centre: bool = True) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(NX + 1) / 2, (NY + 1) / 2] if centre else [1.0, 1.0]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = scale * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def tan_rectangle_deg2(width: float, height: float) -> float:
    """Solid angle of a rectangle in the tangent plane about its centre; sides in degrees there."""
    a, b = np.radians(width) / 2, np.radians(height) / 2
    return float(np.degrees(np.degrees(4 * np.arctan(a * b / np.sqrt(1 + a**2 + b**2)))))


def outline(wcs: WCS) -> np.ndarray:
    return frame_outline(wcs, NX, NY, points_per_edge=1)


@pytest.mark.parametrize(
    ("ra", "dec"), [(150.0, 2.0), (0.0, 0.0), (359.99, 46.0), (42.0, 88.7), (10.0, 90.0)]
)
@pytest.mark.parametrize("angle", [0.0, 33.0])
@pytest.mark.parametrize("scale", [SCALE, 60 * SCALE])
def test_the_area_of_one_frame_is_the_solid_angle(ra: float, dec: float, angle: float, scale: float) -> None:
    common, total = common_and_total([outline(tan(ra, dec, angle, scale))])
    truth = tan_rectangle_deg2(np.degrees(np.radians(NX * scale)), np.degrees(np.radians(NY * scale)))
    assert area_deg2(common) == pytest.approx(truth, rel=1e-8)
    assert area_deg2(total) == pytest.approx(truth, rel=1e-8)


@pytest.mark.parametrize(
    ("ra", "dec"), [(150.0, 0.0), (0.0, 0.0), (359.95, -30.0), (12.0, 88.7), (200.0, -90.0)]
)
def test_common_and_total_area_of_three_dithers(ra: float, dec: float) -> None:
    """Frames moved by whole pixels of one WCS: rectangles of the same tangent plane."""
    wcs = tan(ra, dec)
    outlines = []
    for dx, dy in [(0, 0), (100, 0), (0, -60)]:
        moved = wcs.deepcopy()
        moved.wcs.crpix = wcs.wcs.crpix - [dx, dy]
        outlines.append(outline(moved))
    common, total = common_and_total(outlines)
    pixel = SCALE**2  # of 1 arcsec: the tangent plane is flat to 1e-6 here
    n_common, n_total = 500 * 340, NX * NY + 100 * NY + 60 * NX
    assert area_deg2(common) == pytest.approx(n_common * pixel, rel=1e-5)
    assert area_deg2(total) == pytest.approx(n_total * pixel, rel=1e-5)


def test_frames_without_overlap_have_no_common_footprint_and_two_parts() -> None:
    common, total = common_and_total([outline(tan(359.9, 10.0)), outline(tan(0.2, 10.0))])
    assert common.polygons == ()
    assert area_deg2(common) == 0.0
    assert len(total.polygons) == 2
    assert not contains(common, np.array([0.05]), np.array([10.0]))[0]


def test_a_hole_between_frames_is_not_covered() -> None:
    """Four bars around a gap."""
    wcs = tan(0.0, 0.0)
    bars = [(-300, -300, 900, 100), (-300, 200, 900, 100), (-300, -300, 100, 600), (500, -300, 100, 600)]
    outlines = []
    for x0, y0, nx, ny in bars:
        moved = wcs.deepcopy()
        moved.wcs.crpix = wcs.wcs.crpix - [x0, y0]
        outlines.append(frame_outline(moved, nx, ny, points_per_edge=1))
    _, total = common_and_total(outlines)
    gap, bar = wcs.all_pix2world([[100.0, 0.0], [100.0, 250.0]], 0)
    assert contains(total, *np.array([gap, bar]).T).tolist() == [False, True]
    assert area_deg2(total) == pytest.approx((900 * 600 - 700 * 400) * SCALE**2, rel=1e-5)


@pytest.mark.parametrize(
    ("ra", "dec"), [(0.0, 0.0), (359.99, 45.0), (120.0, 88.7), (77.0, 89.99), (0.0, -90.0)]
)
def test_membership_agrees_with_pixels(ra: float, dec: float) -> None:
    wcs = tan(ra, dec, 20.0, 10 * SCALE)
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-300, NX + 300, 400), rng.uniform(-300, NY + 300, 400)
    sky = wcs.all_pix2world(x, y, 0)
    truth = (x > -0.5) & (x < NX - 0.5) & (y > -0.5) & (y < NY - 0.5)
    region, _ = common_and_total([outline(wcs)])
    np.testing.assert_array_equal(contains(region, *sky), truth)
    np.testing.assert_array_equal(in_frame(wcs, NX, NY, *sky, margin_px=0.0), truth)


def test_pole_inside_the_frame() -> None:
    region, _ = common_and_total([outline(tan(30.0, 89.98))])
    ra = np.arange(0.0, 360.0, 15.0)
    assert contains(region, ra, np.full(ra.shape, 90.0)).all()
    assert contains(region, ra, np.full(ra.shape, 89.99)).all()
    assert not contains(region, ra, np.full(ra.shape, 89.0)).any()
    assert not contains(region, ra, np.full(ra.shape, -90.0)).any()


def test_the_margin_is_measured_in_pixels_from_the_outer_edge() -> None:
    wcs = tan(0.0, 88.7)
    sky = np.array(
        wcs.all_pix2world([[9.4, 200.0], [9.6, 200.0], [NX - 10.6, 200.0], [NX - 10.4, 200.0]], 0)
    ).T
    assert in_frame(wcs, NX, NY, *sky, margin_px=10.0).tolist() == [False, True, True, False]


def test_positions_without_a_pixel_are_outside() -> None:
    wcs = tan(0.0, 20.0)
    far_side = np.array([180.0, 0.0, np.nan, 90.0]), np.array([-20.0, -89.0, 20.0, np.nan])
    assert not in_frame(wcs, NX, NY, *far_side, margin_px=0.0).any()
    region, _ = common_and_total([outline(wcs)])
    assert not contains(region, *far_side).any()


def test_a_wild_distortion_far_outside_does_not_bring_stars_into_the_frame() -> None:
    wcs = tan(0.0, 20.0, scale=10 * SCALE)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a = np.zeros((4, 4))
    a[3, 0] = -4e-7
    wcs.sip = Sip(a, a.T, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    x, y = np.random.default_rng(0).uniform(0, 400, (2, 200))
    sky = wcs.all_pix2world(x, y, 0)
    assert in_frame(wcs, NX, NY, *sky, margin_px=-1.0).mean() > 0.99
    ra, dec = np.meshgrid(np.linspace(-20, 20, 21), np.linspace(0, 40, 21))
    near = SkyCoord(ra.ravel(), dec.ravel(), unit="deg").separation(SkyCoord(0, 20, unit="deg")).deg < 1.1
    inside = in_frame(wcs, NX, NY, ra.ravel(), dec.ravel(), margin_px=0.0)
    assert not inside[~near].any()


def test_curved_edges_are_followed_by_more_points() -> None:
    wcs = tan(0.0, 20.0)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    b = np.zeros((3, 3))
    b[2, 0] = 1e-4  # 9 px at the corners
    wcs.sip = Sip(np.zeros((3, 3)), b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    x, y = np.arange(NX, dtype=float), np.full(NX, 0.0)
    edge = wcs.all_pix2world(x, y, 0)
    for points, right in ((1, False), (32, True)):
        region, _ = common_and_total([frame_outline(wcs, NX, NY, points_per_edge=points)])
        assert contains(region, *edge).all() == right


def test_json_keeps_every_bit() -> None:
    _, total = common_and_total([outline(tan(359.9, 10.0)), outline(tan(0.2, 10.0))])
    again = region_from_json(region_to_json(total))
    assert area_deg2(again) == area_deg2(total)
    one = outline(tan(1.0, 2.0))
    np.testing.assert_array_equal(outline_from_json(outline_to_json(one)), one)


@pytest.mark.parametrize("text", ["", "3", "[[1, 2]]", "[[[[1, NaN], [1, 2], [3, 4]]]]", '{"a": 1}'])
def test_what_is_not_a_region_is_refused(text: str) -> None:
    with pytest.raises(ProcessError) as caught:
        region_from_json(text)
    assert caught.value.reason_code == "bad_region"


def test_opposite_sides_of_the_sky_are_refused() -> None:
    with pytest.raises(ProcessError) as caught:
        common_and_total([outline(tan(ra, 0.0)) for ra in (0.0, 120.0, 140.0)])
    assert caught.value.reason_code == "footprint_too_wide"


DEFINITION = {
    "strategy": "ROI_disk",
    "rois": {"J0248": [42.2031, 19.22528]},
    "radius_arcsec": 300.0,
    "catalog": {"name": "gaia", "digest": "ab12"},
    "mag_limits": [12, 19.5],
    "max_ruwe": None,
    "isolated": True,
}


PINNED = "233101c607fbbe625552281c211400e7cbb816af6dec22b73e5f20faa0c8fc00"


def test_the_hash_is_pinned() -> None:
    """Stored light curves are keyed by it: this literal must never change."""
    assert footprint_hash(DEFINITION) == PINNED


def test_the_hash_is_the_same_in_another_interpreter_with_another_seed() -> None:
    code = f"from lightwatch.processes.footprint import footprint_hash\nprint(footprint_hash({DEFINITION!r}))"
    for seed in ("0", "123"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == PINNED


def test_the_hash_ignores_order_of_keys_and_type_of_numbers() -> None:
    same = dict(reversed(DEFINITION.items()))
    same |= {"radius_arcsec": np.float32(300.0), "mag_limits": (np.int64(12), 19.5)}
    assert footprint_hash(same) == PINNED


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "common_footprint_stars"},
        {"rois": {"J0248": [42.2031, 19.22529]}},
        {"rois": {"J0249": [42.2031, 19.22528]}},
        {"radius_arcsec": 300.001},
        {"catalog": {"name": "gaia", "digest": "ab13"}},
        {"catalog": {"name": "vizier", "digest": "ab12"}},
        {"mag_limits": [12, 19.4]},
        {"mag_limits": [19.5, 12]},
        {"max_ruwe": 1.4},
        {"max_ruwe": 0},
        {"isolated": 1},
        {"isolated": "true"},
        {"extra": None},
    ],
)
def test_any_changed_cut_changes_the_hash(change: dict[str, object]) -> None:
    assert footprint_hash(DEFINITION | change) != PINNED


@pytest.mark.parametrize("bad", [np.nan, np.inf, {1, 2}, object(), b"x", {1: 2}])
def test_what_has_no_canonical_form_is_refused(bad: object) -> None:
    with pytest.raises(ProcessError) as caught:
        footprint_hash({"a": bad})
    assert caught.value.reason_code == "bad_definition"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.floats(1e-6, 360.0))
def test_noise_of_the_last_bits_does_not_change_the_hash(value: float) -> None:
    rounded = float(f"{value:.8e}")
    assert footprint_hash({"a": rounded}) == footprint_hash({"a": np.nextafter(rounded, np.inf)})


def test_catalog_digest_ignores_order_and_knows_content() -> None:
    rows = [{"source_id": 356472561763207168, "ra": 1.5, "g": np.nan}, {"source_id": 2, "ra": 3.0, "g": 12.0}]
    digest = catalog_digest(rows)
    assert catalog_digest([dict(reversed(r.items())) for r in reversed(rows)]) == digest
    assert catalog_digest([rows[0] | {"g": None}, rows[1]]) == digest
    assert catalog_digest([rows[0] | {"source_id": 356472561763207169}, rows[1]]) != digest
    assert catalog_digest(rows[:1]) != digest
