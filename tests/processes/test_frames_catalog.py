"""A catalogue out of the frames' own detections, by truth."""

import numpy as np
import pytest

from lightwatch.errors import TooFewStars
from lightwatch.processes.frames_catalog import (
    BEST_FRAMES,
    FrameSources,
    best_frames,
    combine_sources,
    is_worth_renewing,
)


def frames(n_frames=5, n_stars=30, seed=3):
    """Frames of one field with a transparency, small position errors, and stars missing here and there."""
    rng = np.random.default_rng(seed)
    ra, dec = 359.99 + rng.uniform(0, 0.05, n_stars), rng.uniform(-0.02, 0.02, n_stars)
    flux = 10 ** rng.uniform(2, 4, n_stars)
    out = []
    for _ in range(n_frames):
        seen = rng.random(n_stars) < 0.85
        error = rng.normal(0, 0.2 / 3600, (2, n_stars))
        scale = rng.uniform(0.5, 1.0)
        out.append(FrameSources((ra + error[0])[seen] % 360, (dec + error[1])[seen], scale * flux[seen]))
    return (ra, dec, flux), out


def test_stars_are_found_once_with_their_magnitudes():
    (ra, dec, flux), seen = frames()
    found = combine_sources(seen, match_arcsec=2.0, min_fraction=0.5)
    assert len(found.ra) == 30
    order = np.argsort(-flux)
    apart = np.hypot((found.ra - ra[order] + 180) % 360 - 180, found.dec - dec[order]) * 3600
    assert np.max(apart) < 0.6
    offsets = found.mag + 2.5 * np.log10(flux[order])
    assert np.ptp(offsets) < 1e-6  # one scale for all, whatever frame a star is missing from


def test_what_few_frames_show_is_left_out():
    _, seen = frames()
    ghost = FrameSources(
        np.append(seen[2].ra, 10.0), np.append(seen[2].dec, 5.0), np.append(seen[2].flux, 1e6)
    )
    found = combine_sources([*seen[:2], ghost, *seen[3:]], match_arcsec=2.0, min_fraction=0.5)
    assert not np.any(np.abs(found.dec - 5.0) < 1)


def test_nothing_in_common_is_told():
    one = FrameSources(np.array([1.0]), np.array([0.0]), np.array([1.0]))
    other = FrameSources(np.array([2.0]), np.array([0.0]), np.array([1.0]))
    with pytest.raises(TooFewStars):
        combine_sources([one, other, other], match_arcsec=1.0, min_fraction=0.9)


def test_the_best_frames_are_of_the_filter_that_shows_most():
    names = [f"f{i:02d}" for i in range(30)]
    filters = ["up"] * 14 + ["rp"] * 16
    n_sources = [20] * 14 + list(range(100, 116))
    best = best_frames(names, filters, n_sources)
    assert best == names[:-13:-1]
    assert len(best) == BEST_FRAMES
    assert best_frames(["b", "a"], ["", ""], [5, 5]) == ["a", "b"], "the same whatever the order of arrival"
    assert best_frames([], [], []) == []


def test_a_catalogue_is_made_anew_a_few_times_and_then_stays():
    present, renewed = [], []
    for n in range(1, 40):
        best = [str(i) for i in range(min(n, BEST_FRAMES))]
        if is_worth_renewing(present, best):
            present = best
            renewed.append(n)
    assert renewed == [1, 2, 3, 5, 8, 12]
