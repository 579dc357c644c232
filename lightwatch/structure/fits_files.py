"""Writing FITS files whose bytes depend on their content alone."""

from __future__ import annotations

import warnings
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning


def write_hdus(hdus: fits.HDUList, path: Path) -> None:
    """Write a FITS file with checksums; an existing one is replaced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        hdus.update_extend()
        for (
            hdu
        ) in hdus:  # the comment that astropy would give is the moment: files of one content would differ
            hdu.add_checksum(when="checksum of this HDU")
        hdus.writeto(path, overwrite=True)
