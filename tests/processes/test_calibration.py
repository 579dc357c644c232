from __future__ import annotations

import numpy as np
import pytest

from lightwatch.errors import FrameError, HeaderError, ProcessError
from lightwatch.processes.calibration import (
    photon_transfer,
    pile_up_level,
    saturated_pixels,
    stored_step,
    to_electron_per_second,
)


@pytest.mark.parametrize("dtype", [">i2", "<u2", ">f4", "f8"])
def test_a_constant_frame_becomes_n_gain_over_exptime(dtype):
    adu = np.full((5, 7), 1000, dtype)
    image = to_electron_per_second(adu, gain=1.5, exptime=300.0)
    assert image.dtype == np.float32
    assert image.dtype.isnative
    np.testing.assert_allclose(image, 1000 * 1.5 / 300, rtol=1e-6)
    assert (adu == 1000).all()


@pytest.mark.parametrize("gain", [0.0, -1.0, np.nan, np.inf])
def test_an_impossible_gain_is_refused(gain):
    with pytest.raises(HeaderError) as caught:
        to_electron_per_second(np.ones((2, 2)), gain, 10.0)
    assert caught.value.reason_code == "bad_gain"


@pytest.mark.parametrize("exptime", [0.0, -5.0, np.nan])
def test_an_impossible_exposure_time_is_refused(exptime):
    with pytest.raises(HeaderError) as caught:
        to_electron_per_second(np.ones((2, 2)), 1.0, exptime)
    assert caught.value.reason_code == "bad_exptime"


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (0, 5)])
def test_what_is_not_an_image_is_refused(shape):
    with pytest.raises(FrameError):
        to_electron_per_second(np.ones(shape), 1.0, 1.0)


def test_saturation_counts_from_the_level_on_and_needs_one():
    adu = np.array([[59999.0, 60000.0, 65535.0, np.nan]])
    assert saturated_pixels(adu, 60000.0).tolist() == [[False, True, True, False]]
    assert not saturated_pixels(adu, None).any()
    assert not saturated_pixels(adu, np.nan).any()


def sky_pairs(gain, read_noise, levels, *, pedestal=500.0):
    """Pairs of frames with a sky of these electrons; stars and seeing of the two frames of a pair differ a little."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:256, :256]
    pairs = []
    for level in levels:
        pair = []
        for k in range(2):
            scene = np.full(x.shape, float(level))
            for star in range(15):
                at = 20 + 15 * star % 230 + rng.normal(0, 1)
                width = 1.5 + 0.2 * k
                scene += 2e4 * np.exp(-((x - at) ** 2 + (y - (53 * star) % 256) ** 2) / (2 * width**2))
            pair.append(np.rint((rng.poisson(scene) + rng.normal(0, read_noise, x.shape)) / gain + pedestal))
        pairs.append((pair[0], pair[1]))
    return pairs


@pytest.mark.parametrize(
    ("gain", "read_noise", "levels"),
    [(1.8, 5.0, (100, 300, 600)), (0.6, 12.0, (500, 1500, 3000)), (11.0, 15.0, (2000, 6000, 12000))],
)
def test_photon_transfer_of_the_sky_finds_gain_and_read_noise(gain, read_noise, levels):
    found = photon_transfer(sky_pairs(gain, read_noise, levels), pedestal_adu=500.0)
    assert found.gain == pytest.approx(gain, rel=0.05)
    assert abs(found.gain - gain) < 4 * found.gain_uncertainty
    assert found.read_noise == pytest.approx(read_noise, rel=0.25)
    unknown = photon_transfer(sky_pairs(gain, read_noise, levels), pedestal_adu=np.nan)
    assert unknown.gain == found.gain
    assert np.isnan(unknown.read_noise)


def test_photon_transfer_needs_frames_and_a_range():
    for pairs, reason in (([], "too_few_frames"), (sky_pairs(1.0, 5.0, (500, 520)), "no_range_of_levels")):
        with pytest.raises(ProcessError) as caught:
            photon_transfer(pairs, pedestal_adu=np.nan)
        assert caught.value.reason_code == reason


def test_photon_transfer_is_not_deceived_by_a_bias_that_drifts():
    rng = np.random.default_rng(2)
    pairs = [
        tuple(rng.normal(level, 8.0, (2, 256, 256))) for level in (300.0, 400.0, 500.0)
    ]  # levels without photons: no more noise where it is brighter
    with pytest.raises(ProcessError) as caught:
        photon_transfer(pairs, pedestal_adu=np.nan)
    assert caught.value.reason_code == "no_range_of_levels"


def test_pixels_that_pile_up_tell_saturation_and_peaks_of_stars_do_not():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:200, :200]
    sky = rng.normal(300, 10, x.shape)
    for peak, piled in ((3000.0, False), (60000.0, True)):
        image = sky.copy()
        for k in range(12):
            r2 = (x - 15 * k - 10) ** 2 + (y - (37 * k) % 180 - 10) ** 2
            image += peak * (0.5 + k / 12) * np.exp(-r2 / (2 * 2.5**2))
        level = pile_up_level(np.minimum(image, 4095.0))
        assert (3900 < level < 4095) if piled else np.isnan(level)
    assert np.isnan(pile_up_level(sky))


def test_steps_of_the_counts():
    counts = np.random.default_rng(4).poisson(200, (64, 64))
    assert [stored_step(counts * k + 3) for k in (1, 4, 16)] == [1, 4, 16]
    assert stored_step(counts + 0.5) == 1
