from __future__ import annotations

import numpy as np
import pytest

from lightwatch.errors import FrameError, HeaderError, ProcessError
from lightwatch.processes.calibration import (
    estimate_gain_read_noise,
    saturated_pixels,
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


@pytest.mark.parametrize(("gain", "read_noise"), [(1.8, 5.0), (0.6, 12.0)])
def test_photon_transfer_recovers_gain_and_read_noise(gain, read_noise):
    rng = np.random.default_rng(1)
    ramp = np.tile(np.geomspace(5, 20000, 256), (256, 1))
    frames = np.array([rng.poisson(ramp) + rng.normal(0, read_noise, ramp.shape) for _ in range(3)])
    frames = np.rint(frames / gain)
    frames[1, 5:9, 5:9] += 5000  # a cosmic ray
    measured = estimate_gain_read_noise(frames, n_levels=20)
    assert measured == pytest.approx((gain, read_noise), rel=0.1)
    assert measured[0] == pytest.approx(gain, rel=0.02)


def test_photon_transfer_needs_frames_and_a_range():
    flat = np.random.default_rng(0).normal(1000, 30, (2, 128, 128))
    for frames, reason in ((flat[:1], "too_few_frames"), (flat, "no_range_of_levels")):
        with pytest.raises(ProcessError) as caught:
            estimate_gain_read_noise(frames, n_levels=5)
        assert caught.value.reason_code == reason
