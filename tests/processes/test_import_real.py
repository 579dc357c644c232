"""The processes of import together, on real frames of two very different cameras."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from lightwatch.processes.background import estimate_background, noise_ratio
from lightwatch.processes.calibration import saturated_pixels, to_electron_per_second
from lightwatch.processes.detection import detect_sources, stellar_locus
from lightwatch.processes.masks import bad_lines, bad_pixels, combine_mask, cosmic_rays

pytestmark = pytest.mark.real_data


def measure(adu, gain, exptime, saturation, bad_map, min_snr):
    image = to_electron_per_second(adu, gain, exptime)
    bad, saturated = bad_pixels(image, bad_map), saturated_pixels(adu, saturation)
    background = estimate_background(
        image, ~(bad | saturated), method="masked_mesh", box_px=100, filter_boxes=3
    )
    image -= background.level
    bad |= bad_lines(image, background.rms, ~(bad | saturated), n_sigma=10.0)
    mask = combine_mask(bad, saturated, np.zeros_like(bad), grow_saturated_px=1, grow_px=0)
    sources = detect_sources(
        image,
        background.rms,
        mask,
        exptime=exptime,
        threshold_sigma=5.0,
        min_area_px=5,
        kernel_fwhm_px=2.0,
        deblend_levels=32,
        deblend_contrast=0.005,
        max_sources=5000,
    )
    seeing = stellar_locus(
        image, background.rms, mask, sources, exptime=exptime, min_snr=min_snr, max_stars=40
    )
    struck = cosmic_rays(
        image,
        background.rms,
        mask,
        exptime=exptime,
        fwhm_px=seeing.fwhm_px,
        ellipticity=seeing.ellipticity,
        star_x=sources.x[seeing.is_star],
        star_y=sources.y[seeing.is_star],
        sigclip=4.5,
        sigfrac=0.3,
        objlim=5.0,
        max_iterations=2,
    )
    return background, bad, sources, seeing, struck


def struck_stars(sources, seeing, struck):
    """Fraction of the bright stars with a struck pixel within a pixel of their centre."""
    stars = np.flatnonzero(seeing.is_star & (sources.snr > 50))
    x, y = np.rint(sources.x[stars]).astype(int), np.rint(sources.y[stars]).astype(int)
    return np.mean(
        [struck[max(0, j - 1) : j + 2, max(0, i - 1) : i + 2].any() for i, j in zip(x, y, strict=True)]
    )


def test_undersampled_crowded_frames_of_an_uncalibrated_camera(shared_data):
    for path in sorted((shared_data / "hatp32" / "raw").iterdir())[5::60]:
        adu = fits.getdata(path)
        _, bad, sources, seeing, struck = measure(adu, 1.0, 60.0, 4000.0, None, 20.0)
        assert np.flatnonzero(bad.all(axis=1)).tolist()[:5] == [0, 1, 2, 3, 4]
        assert bad.mean() < 0.02
        assert 1.3 < seeing.fwhm_px < 2.8
        assert seeing.n_stars > 15
        assert struck_stars(sources, seeing, struck) <= 0.02
        assert 1e-4 < struck.mean() < 0.02


def test_frames_of_an_observatory(shared_data):
    paths = [
        p
        for p in sorted((shared_data / "pds110" / "raw").rglob("*.fz"))
        if fits.getval(p, "FILTER", 1) == "rp"
    ]
    for path in paths[1::6]:
        with fits.open(path) as hdus:
            header, adu, bad_map = hdus[1].header, hdus[1].data, hdus[3].data
        exptime = header["EXPTIME"]
        background, _, sources, seeing, struck = measure(
            adu, header["GAIN"], exptime, header["SATURATE"], bad_map, 20.0
        )
        assert noise_ratio(background, exptime, header["RDNOISE"]) == pytest.approx(1.04, abs=0.06)
        assert seeing.n_stars > 10
        assert seeing.fwhm_px * header["PIXSCALE"] == pytest.approx(header["L1FWHM"], rel=0.3)
        assert struck_stars(sources, seeing, struck) <= 0.03
        assert struck.mean() < 2e-3
