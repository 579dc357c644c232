"""Neighbours: peaks are found beside a brighter star, and each source is listed once."""

from __future__ import annotations

import numpy as np

from lightwatch.processes.neighbours import Peaks, find_neighbours, joined, peaks_in_cutouts

RMS, EXPTIME, FWHM_PX, SIZE = 2.0, 60.0, 2.0, 24


def gaussian(x: float, y: float, flux: float) -> np.ndarray:
    sigma = np.hypot(FWHM_PX, 0.9) / 2.3548
    at = np.arange(SIZE)
    r2 = (at[None, :] - x) ** 2 + (at[:, None] - y) ** 2
    return flux * np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def found(image: np.ndarray) -> Peaks:
    data = image + np.random.default_rng(4).normal(0, RMS, image.shape)
    one = data[None]
    return peaks_in_cutouts(
        one,
        np.full(one.shape, RMS),
        np.ones(one.shape, bool),
        np.array([[100, 200]]),
        np.array([111.5]),
        np.array([211.5]),
        exptime=EXPTIME,
        fwhm_px=FWHM_PX,
    )


def test_a_neighbour_on_the_flank_of_its_star_is_found() -> None:
    peaks = found(gaussian(11.5, 11.5, 20000) + gaussian(16.0, 13.2, 800))
    assert len(peaks.x) == 1
    assert np.hypot(peaks.x[0] - 116.0, peaks.y[0] - 213.2) < 0.7 * FWHM_PX
    assert 100 < peaks.flux[0] < 1600  # the dip around a brighter star takes most of it


def test_a_lone_star_has_no_neighbour() -> None:
    assert len(found(gaussian(11.7, 11.4, 20000)).x) == 0


def test_peaks_that_were_detected_are_listed_once() -> None:
    peaks = Peaks(
        *(np.array(a) for a in ([10.0, 30.0, 30.4], [10.0, 30.0, 30.0], [5.0, 4.0, 3.0], [50.0, 40.0, 30.0]))
    )
    detections = Peaks(np.array([10.3]), np.array([10.0]), np.array([6.0]), np.array([60.0]))
    both = joined(peaks, detections, fwhm_px=FWHM_PX)
    np.testing.assert_array_equal(both.x, [10.3, 30.0])
    assert len(joined(Peaks(*[np.empty(0)] * 4), detections, fwhm_px=FWHM_PX).x) == 1
    assert len(joined(peaks, Peaks(*[np.empty(0)] * 4), fwhm_px=FWHM_PX).x) == 2


def test_the_star_itself_is_not_its_neighbour() -> None:
    near = find_neighbours(
        star_x=np.array([50.0]),
        star_y=np.array([50.0]),
        catalog_x=np.array([50.0, 300.0]),
        catalog_y=np.array([50.0, 300.0]),
        catalog_mag=np.array([12.0, 12.0]),
        detected_x=np.array([50.1, 300.0, 55.0]),
        detected_y=np.array([50.0, 300.0, 50.0]),
        detected_flux=np.array([1000.0, 1000.0, 100.0]),
        detected_snr=np.array([100.0, 100.0, 30.0]),
        fwhm_px=FWHM_PX,
        reach_px=12.0,
        max_neighbours=8,
    )
    assert near.present.sum() == 1
    assert near.x[0, 0] == 55.0
    assert 0 < near.contamination[0] < 0.05
