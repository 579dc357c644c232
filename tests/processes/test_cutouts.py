from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from lightwatch.errors import ProcessError
from lightwatch.flags import Flag
from lightwatch.processes.cutouts import cutout_header, extract_cutouts

NY, NX = 23, 31
IMAGE = np.arange(NY * NX, dtype=np.float32).reshape(NY, NX)

positions = st.lists(
    st.tuples(st.floats(-60, NX + 60), st.floats(-60, NY + 60))
    | st.tuples(st.sampled_from([-0.5, 0.0, NX - 1.0, NX - 0.5]), st.sampled_from([-0.5, 0.0, NY - 1.0])),
    min_size=1,
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(positions=positions, size=st.integers(1, 70))
def test_any_position_and_size(positions, size):
    x, y = np.array(positions).T
    cut = extract_cutouts(IMAGE, x, y, size, fill=np.nan)
    assert cut.values.shape == (len(x), size, size)
    half = (size - 1) / 2
    assert ((cut.dx >= -0.5) & (cut.dx < 0.5) & (cut.dy >= -0.5) & (cut.dy < 0.5)).all()
    np.testing.assert_allclose(cut.x0 + half + cut.dx, x, atol=1e-9)
    np.testing.assert_allclose(cut.y0 + half + cut.dy, y, atol=1e-9)
    for k in range(len(x)):
        expected = np.full((size, size), np.nan)
        for i in range(size):
            for j in range(size):
                row, column = cut.y0[k] + i, cut.x0[k] + j
                if 0 <= row < NY and 0 <= column < NX:
                    expected[i, j] = IMAGE[row, column]
        np.testing.assert_array_equal(cut.values[k], expected)
        np.testing.assert_array_equal(cut.inside[k], np.isfinite(expected))
        assert cut.coverage[k] == pytest.approx(np.isfinite(expected).mean())


def test_outside_of_a_mask_is_flagged_outside():
    cut = extract_cutouts(np.zeros((9, 9), np.int32), [0.0], [8.0], 5, fill=Flag.OUTSIDE)
    assert cut.values.dtype == np.int32
    assert cut.values[0].tolist() == [[16, 16, 0, 0, 0]] * 3 + [[16] * 5] * 2


def test_the_frame_is_neither_altered_nor_shared():
    image = IMAGE.copy()
    extract_cutouts(image, 5.0, 5.0, 3, fill=0).values[:] = -1
    np.testing.assert_array_equal(image, IMAGE)


@pytest.mark.parametrize(("x", "size", "reason"), [(np.nan, 5, "bad_position"), (4.0, 0, "bad_size")])
def test_nonsense_is_refused(x, size, reason):
    with pytest.raises(ProcessError) as caught:
        extract_cutouts(IMAGE, x, 4.0, size, fill=0)
    assert caught.value.reason_code == reason


def test_the_wcs_of_a_cutout_is_that_of_the_frame_shifted():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.wcs.crval, wcs.wcs.crpix = [12.3, 88.7], [512.5, 500.2]
    wcs.wcs.cd = 1e-4 * np.array([[-0.6, 0.8], [0.8, 0.6]])
    header = wcs.to_header()
    header["A_ORDER"], header["B_ORDER"], header["A_2_0"], header["B_0_2"] = 2, 2, 1e-6, -2e-6
    text = header.tostring()
    frame = WCS(fits.Header.fromstring(text))
    cutout = WCS(fits.Header.fromstring(cutout_header(text, 300, -17)))
    ra, dec = frame.all_pix2world([310.0, 333.3], [0.0, 12.5], 0)
    x, y = cutout.all_world2pix(ra, dec, 0)
    np.testing.assert_allclose(x, [10.0, 33.3], atol=1e-6)
    np.testing.assert_allclose(y, [17.0, 29.5], atol=1e-6)


def test_a_header_without_wcs_is_refused():
    with pytest.raises(ProcessError, match="CRPIX1"):
        cutout_header(fits.Header([("EXPTIME", 3.0)]).tostring(), 1, 2)
