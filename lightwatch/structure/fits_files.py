"""Writing FITS files whose bytes depend on their content alone."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning


class _Stream(io.RawIOBase):
    """A file of which astropy does not know that it is one.

    Into a plain file numpy writes by buffers of its own, and an error of writing the last of them is raised by nobody:
    a file without its end would pass for whole.
    """

    def __init__(self, stream: io.FileIO) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def write(self, data: Any) -> int | None:
        return self._stream.write(data)


def write_hdus(hdus: fits.HDUList, path: Path) -> None:
    """Write a FITS file with checksums; an existing one is replaced.

    Raises
    ------
    OSError
        When any byte cannot be written.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        hdus.update_extend()
        for hdu in hdus:
            # the comment that astropy would give is the moment: files of one content would differ
            hdu.add_checksum(when="checksum of this HDU")
        with path.open("wb", buffering=0) as stream, io.BufferedWriter(_Stream(stream)) as file:
            hdus.writeto(file)
