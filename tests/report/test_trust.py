"""Whether a light curve's uncertainties may be believed: told from stars as bright, with the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch.flags import Flag
from lightwatch.report import site
from lightwatch.report.star_scatter import calibration_by_filter, star_scatter
from lightwatch.report.trust import trust_of

NIGHTS, PER_NIGHT, STARS = 10, 4, 12
NOISE, SHARE = 0.004, 0.003
LEVEL = 3000.0


def workdir(
    between: float, cameras: tuple[str, ...] = ("one", "two"), flags: int = 0, missed: int = 0
) -> tuple:
    """Rows of frames, star fluxes and a light curve; each star has an offset of its own in each visit."""
    rng = np.random.default_rng(7)
    frames, fluxes, curve = [], [], []
    for i in range(NIGHTS * PER_NIGHT):
        night = i // PER_NIGHT
        frames.append({
            "id": i + 1, "mjd_mid": 60000.0 + night + 0.01 * (i % PER_NIGHT), "filter": "r", "exptime": 60.0,
            "telescope_name": "T", "telescope_imager_name": cameras[night % len(cameras)], "coefficient": 1.0,
            "coefficient_uncertainty": SHARE, "normalization_stars": STARS, "normalised_zeropoint": 25.0,
            "psf_chi2": 0.9, "psf_reserved_chi2": 1.2, "psf_model_error": 0.15 if i < missed else 0.0,
            "astrometric_rms_ra_arcsec": 0.03, "astrometric_rms_dec_arcsec": 0.04,
        })  # fmt: skip
        curve.append({
            "roi": "R", "filter": "r", "point_source": "R", "frame_id": i + 1, "flux": LEVEL,
            "flux_uncertainty": LEVEL * np.hypot(NOISE, SHARE), "normalization_uncertainty": LEVEL * SHARE,
            "mag": 16.3, "mag_limit": None, "reduced_chi2": 1.1, "flux_kind": "psf",
            "flags": flags if i else int(Flag.POOR_FIT),
        })  # fmt: skip
    offset = rng.normal(0, between, (NIGHTS, STARS))
    for star, level in enumerate(LEVEL * np.linspace(0.5, 1.5, STARS)):
        for i, frame in enumerate(frames):
            noise = rng.normal(0, np.hypot(NOISE, SHARE))
            flux = level * (1 + offset[i // PER_NIGHT, star] + noise)
            fluxes.append({
                "frame_id": frame["id"], "star_gaia_id": star, "star": str(star), "filter": "r", "flux": flux,
                "normalised_flux": flux, "coefficient": 1.0, "exptime": 60.0, "flags": 0,
                "flux_uncertainty": NOISE * level,
            })  # fmt: skip
    return curve, frames, fluxes


def verdict(curve: list[dict], frames: list[dict], fluxes: list[dict], judged: tuple = ()):
    scatter = star_scatter(fluxes, judged, *calibration_by_filter(frames))
    (one,) = trust_of(curve, frames, fluxes, scatter, night_gap_days=0.5)
    return one


def test_stars_that_scatter_as_stated():
    one = verdict(*workdir(between=0.0))
    (source,) = one.sources
    assert source.finding == "as stated"
    assert "where their errors say 0.50 %." in source.headline
    assert "(10 visits of 2 cameras)" in " ".join(source.sentences)
    assert "missing" not in " ".join(source.sentences)


def test_what_is_missing_between_visits_is_told():
    one = verdict(*workdir(between=0.012))
    (source,) = one.sources
    assert source.finding == "more"
    assert "times as much" in source.headline
    told = " ".join(source.sentences)
    assert "8 of 8 stars scatter more" in told
    within, missing = (
        float(told.split(words)[1].split(" %")[0])
        for words in ("within a visit single frames by ", "Between visits ")
    )
    assert within == pytest.approx(0.5, abs=0.1)
    assert missing == pytest.approx(1.2, abs=0.3)


def test_no_star_in_two_visits_is_said_in_words():
    curve, frames, fluxes = workdir(between=0.0)
    for i, frame in enumerate(frames):
        frame["mjd_mid"] = 60000.0 + 0.01 * i + (i >= 20)
        frame["telescope_imager_name"] = "one"
    apart = [row for row in fluxes if (row["frame_id"] > 20) == row["star_gaia_id"] % 2]
    told = " ".join(verdict(curve, frames, apart).sources[0].sentences)
    assert "No star was measured in two of the 2 visits" in told
    assert "nan" not in told


def test_percentages_are_plain_digits():
    curve, frames, fluxes = workdir(between=0.0)
    loud = [row | {"flux_uncertainty": LEVEL} for row in curve]
    stated = verdict(loud, frames, fluxes).sources[0].sentences[0]
    assert stated == "Stated for a frame: 100 % (median), of it 0.30 % normalization."


def test_too_few_frames_or_stars_are_said():
    curve, frames, fluxes = workdir(between=0.0)
    three = verdict(curve[:3], frames, fluxes)
    assert three.finding == "unknown"
    assert three.line == "Too few frames to tell: 3 of 8."
    single = [row for row in fluxes if row["star_gaia_id"] == 6]
    assert "Too few stars to tell: 1 of 4 measured" in verdict(curve, frames, single).line
    seldom = [row for row in fluxes if row["frame_id"] > 20]
    assert "Too few stars to tell: none of 4 measured" in verdict(curve[:20], frames, seldom).line


def test_facts_are_told_with_their_numbers():
    facts = {what: told for what, told, _ in verdict(*workdir(between=0.0)).facts}
    assert facts["Points"] == "1 of 40 doubtful by their flags (poor fit 1)"
    assert facts["Joint model"] == "reduced χ² 1.10 (median)"
    assert facts["PSF"] == "reduced χ² 1.20 of stars kept out of its fit, 0.90 of those in it"
    missing = {what: told for what, told, _ in verdict(*workdir(between=0.0, missed=10)).facts}["PSF"]
    assert "on 10 of 40 frames it misses 15 % of the light (median) and 15 % at most" in missing
    assert facts["Normalization"].startswith("rests on 12 stars a frame")
    assert facts["Astrometry"].startswith("stars lie 0.05″")


def test_disowned_stars_are_not_compared():
    curve, frames, fluxes = workdir(between=0.0)
    wild = {5, 6, 7}
    for row in fluxes:
        if row["star_gaia_id"] in wild:
            row["normalised_flux"] *= 1 + 0.2 * np.sin(row["frame_id"])
    judged = [{"filter": "r", "star_gaia_id": star, "flags": int(Flag.VARIABLE)} for star in wild]
    assert verdict(curve, frames, fluxes, judged).sources[0].finding == "as stated"


def test_where_data_are_lacking_it_says_so():
    curve, frames, fluxes = workdir(between=0.0)
    assert verdict(curve, frames, []).sources[0].finding == "unknown"
    faint = [row | {"flux": -1.0} for row in curve]
    assert "has no light" in verdict(faint, frames, fluxes).sources[0].headline
    one_night = [
        row | {"mjd_mid": 60000.0 + 0.01 * row["id"], "telescope_imager_name": "one"} for row in frames
    ]
    assert "All frames are of one visit" in " ".join(verdict(curve, one_night, fluxes).sources[0].sentences)
    brighter = [row | {"flux": 10 * row["flux"]} for row in curve]
    assert "all fainter than the source" in " ".join(verdict(brighter, frames, fluxes).sources[0].sentences)
    doubtful = workdir(between=0.0, flags=int(Flag.POOR_FIT))
    assert "doubtful ones too" in " ".join(verdict(*doubtful).sources[0].sentences)


def test_several_sources_have_one_line():
    curve, frames, fluxes = workdir(between=0.012)
    twins = [row | {"point_source": name} for name in "AB" for row in curve]
    dark = [row | {"point_source": "C", "flux": -1.0} for row in curve]
    one = verdict(twins + dark, frames, fluxes)
    factor = max(source.factor for source in one.sources[:2])
    assert one.finding == "more"
    assert one.line == (
        f"A, B: stars as bright scatter up to {factor:.1f} times as much as their errors say; "
        "C: too little to compare with."
    )
    assert factor > 1.3


def test_the_report_has_a_card_for_every_light_curve(workspace):
    page = site.render(workspace)
    assert page.count('<details class="verdict') == 2  # two filters, their sources within
    assert page.count(" open>") == 0
    assert 'href="#trust"' in page
