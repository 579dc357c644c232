"""Astrometry of the real frames: a few by default; every frame was solved when this was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.table import Table

from lightwatch.errors import AstrometryError
from lightwatch.processes.astrometry import accept_wcs, adopt_wcs, solve, solve_pattern, verify_wcs
from lightwatch.processes.astrometry_sky import apply_proper_motion, parse_wcs, pixel_to_sky, sky_to_pixel
from lightwatch.processes.astrometry_types import (
    AstrometricSolution,
    AstrometrySettings,
    Detections,
    Hints,
    ReferenceStars,
    Sibling,
)

pytestmark = pytest.mark.real_data

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


def detect(image: np.ndarray) -> Detections:
    data = np.ascontiguousarray(image, dtype=np.float32)
    background = sep.Background(data)
    found = sep.extract(data - background, 5.0, err=background.globalrms)
    snr = found["flux"] / (background.globalrms * np.sqrt(found["npix"]))
    error = np.hypot(found["a"], found["b"]) / np.maximum(snr, 1.0)
    return Detections(found["x"], found["y"], found["flux"], error, data.shape[1], data.shape[0])


def reference_stars(path: Path, mjd: float) -> ReferenceStars:
    table = Table.read(path)
    column = {
        name: np.ma.filled(np.ma.asarray(table[name], float), np.nan)
        for name in ("ra", "dec", "pmra", "pmdec", "ref_epoch", "phot_g_mean_mag")
    }
    motion = (column["pmra"], column["pmdec"], column["ref_epoch"])
    ra, dec, extra = apply_proper_motion(column["ra"], column["dec"], *motion, mjd)
    catalog = np.where(np.asarray(table["source_id"]) > 0, 0.01, 0.1)
    return ReferenceStars(ra, dec, column["phot_g_mean_mag"], np.hypot(catalog, extra))


def offset_px(solution: AstrometricSolution, detections: Detections, stars: ReferenceStars) -> float:
    """Median distance, as a vector, of stars and detections under the written header."""
    pixels = sky_to_pixel(parse_wcs(solution.wcs_header), stars.ra, stars.dec)[solution.matched_stars]
    d = solution.matched_detections
    gap = np.column_stack([detections.x[d], detections.y[d]]) - pixels
    return float(np.hypot(*np.median(gap, axis=0)))


@pytest.mark.parametrize(("scale_error", "pointing_error"), [(1.1, (0.0, 0.25)), (0.91, (-0.36, 0.0))])
def test_hatp32_is_solved_from_poor_hints(
    shared_data: Path, scale_error: float, pointing_error: tuple[float, float]
) -> None:
    """Scale wrong by 10 %, pointing by 15 arcmin, 900 detections (many of them hot pixels)."""
    frames = sorted((shared_data / "hatp32" / "raw").glob("*.FITS"))[::24]
    stars = reference_stars(shared_data / "hatp32" / "stars.ecsv", 58107.2)
    scale = 5.16 * scale_error
    hint = Hints(31.0427 + pointing_error[0], 46.6878 + pointing_error[1], 0.5, scale * 0.88, scale * 1.12)
    for path in frames:
        detections = detect(fits.getdata(path))
        solution, attempts = solve(detections, stars, None, hint, siblings=(), settings=SETTINGS)
        assert solution is not None, (path.name, attempts)
        assert solution.pixel_scale_arcsec == pytest.approx(5.164, abs=0.01)
        assert solution.rms_px < 0.2
        assert solution.n_matches >= 30
        assert solution.parity == -1
        assert offset_px(solution, detections, stars) < 0.1


@pytest.fixture(scope="module")
def pds110(shared_data: Path) -> list[tuple[str, fits.Header, Detections]]:
    """First rp and first up frame of each visit and site."""
    frames = []
    for night in sorted((shared_data / "pds110" / "raw").iterdir()):
        for path in sorted(night.glob("*.fits.fz"))[::3]:
            with fits.open(path) as hdus:
                frames.append((path.name, hdus[1].header.copy(), detect(hdus[1].data)))
    return frames


@pytest.fixture(scope="module")
def pds110_stars(shared_data: Path) -> ReferenceStars:
    return reference_stars(shared_data / "pds110" / "stars.ecsv", 57981.0)


def solved_rp(frames: list[tuple[str, fits.Header, Detections]], stars: ReferenceStars) -> list[Sibling]:
    siblings = []
    for name, header, detections in frames:
        if header["FILTER"] == "rp":
            wcs = parse_wcs(header)
            solution = accept_wcs(wcs, detections, stars, method="header", settings=SETTINGS)
            siblings.append(Sibling(name, detections, parse_wcs(solution.wcs_header), 0.2))
    return siblings


def test_pds110_true_headers_are_believed_and_refined(
    pds110: list[tuple[str, fits.Header, Detections]], pds110_stars: ReferenceStars
) -> None:
    n = 0
    for name, header, detections in pds110:
        if header["FILTER"] == "rp":
            n += 1
            wcs = parse_wcs(header)
            assert verify_wcs(wcs, detections, pds110_stars, settings=SETTINGS).verdict == "agrees", name
            solution = accept_wcs(wcs, detections, pds110_stars, method="header", settings=SETTINGS)
            assert offset_px(solution, detections, pds110_stars) < 0.3, name
            assert solution.rms_px < 0.5, name
            hint = Hints(header["CRVAL1"] + 0.1, header["CRVAL2"], 0.25, 1.03, 1.28)
            blind = solve_pattern(detections, pds110_stars, hint, method="pattern", settings=SETTINGS)
            corners = np.array([[0.0, 0.0], [1522.0, 0.0], [1522.0, 1019.0], [0.0, 1019.0]])
            there = sky_to_pixel(parse_wcs(blind.wcs_header), *pixel_to_sky(wcs, *corners.T))
            assert np.abs(there - corners).max() < 2.0, name
    assert n == 5


def test_pds110_wrong_headers_are_never_believed(
    pds110: list[tuple[str, fits.Header, Detections]], pds110_stars: ReferenceStars
) -> None:
    """All nominal WCS of the up frames are wrong; the WCS of rp frames, confirmed by stars, replace them."""
    siblings = solved_rp(pds110, pds110_stars)
    for name, header, detections in pds110:
        if header["FILTER"] == "up":
            wcs = parse_wcs(header)
            with pytest.raises(AstrometryError) as caught:
                accept_wcs(wcs, detections, pds110_stars, method="header", settings=SETTINGS)
            assert caught.value.reason_code == "wcs_contradicted", name
            solution, attempts = solve(
                detections, pds110_stars, wcs, UNKNOWN, siblings=siblings, settings=SETTINGS
            )
            assert solution is not None, (name, attempts)
            assert attempts[0].outcome == "wcs_contradicted"
            assert offset_px(solution, detections, pds110_stars) < 0.3, name
            assert solution.rms_px < 0.5
            assert 1.14 < solution.pixel_scale_arcsec < 1.15


def test_pds110_hot_pixels_do_not_carry_a_pointing_to_another_frame(
    pds110: list[tuple[str, fits.Header, Detections]], pds110_stars: ReferenceStars
) -> None:
    """Uncleaned up frames share dozens of hot pixels with rp frames of their camera."""
    hint = Hints(80.88, -1.17, 0.25, 1.03, 1.28)
    siblings = {s.name.split("-")[1]: s for s in solved_rp(pds110, pds110_stars)}
    for name, header, detections in pds110:
        if header["FILTER"] == "up":
            camera = name.split("-")[1]
            try:
                adopted = adopt_wcs(detections, siblings[camera], hint, method="s", settings=SETTINGS)
            except AstrometryError:
                continue
            wcs = parse_wcs(adopted.wcs_header)
            assert verify_wcs(wcs, detections, pds110_stars, settings=SETTINGS).verdict == "agrees"
