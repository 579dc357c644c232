"""Exported frames carry their zero point."""

from __future__ import annotations

import time

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from lightwatch.errors import ConfigError
from lightwatch.report.export_frames import export_frames
from lightwatch.structure.frame_store import read_stored_frame


def test_zero_point_is_in_the_header(workspace, tmp_path):
    paths = export_frames(workspace, tmp_path, [1, 2, 2])
    assert [path.name for path in paths] == ["f0.fits", "f1.fits"]
    with fits.open(paths[1], checksum=True) as hdus:
        header = hdus[0].header
        assert header["ZPTMAG"] == pytest.approx(27 + 2.5 * np.log10(1 + 0.1 * np.sin(1)))
        assert header["ZPTMUCER"] == pytest.approx(0.01)
        assert header["NORMCOEF"] == pytest.approx(1 + 0.1 * np.sin(1))
        assert header["ZPTSYS"] == "AB"
        np.testing.assert_array_equal(
            hdus[0].data, read_stored_frame(workspace.workdir, "frames/f1.fits").image
        )


@pytest.mark.filterwarnings("error::astropy.units.UnitsWarning")
def test_unit_is_one_that_astropy_reads(workspace, tmp_path):
    (path,) = export_frames(workspace, tmp_path, [1])
    assert CCDData.read(path).unit == u.electron / u.s


def test_unknown_zero_point_is_absent(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "work", n_frames=2, steps=("frames", "recipes"))
    (path,) = export_frames(workspace, tmp_path, [1])
    assert "ZPTMAG" not in fits.getheader(path)


def test_same_content_has_the_same_bytes(workspace, tmp_path):
    (first,) = export_frames(workspace, tmp_path / "first", [1])
    time.sleep(1.1)  # a moment written into the file would be another second
    (second,) = export_frames(workspace, tmp_path / "second", [1])
    assert first.read_bytes() == second.read_bytes()
    with fits.open(first) as hdus:
        assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus)


def test_unknown_frame(workspace, tmp_path):
    with pytest.raises(ConfigError, match="99"):
        export_frames(workspace, tmp_path, [1, 99])
    assert not list(tmp_path.iterdir())
