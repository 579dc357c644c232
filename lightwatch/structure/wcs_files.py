"""A WCS beside a raw file: ``wcs/NAME.wcs`` in the workdir, as astrometry.net's solve-field writes them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lightwatch.errors import FrameError
from lightwatch.structure.files import path_text, write_atomically
from lightwatch.structure.frames_guard import BLOCK, cannot_be_read, open_regular, shown

if TYPE_CHECKING:
    from astropy.io import fits  # a run that finds nothing to do looks for these files, and needs no astropy

FOLDER, SUFFIX = "wcs", ".wcs"
_FITS_SUFFIX = re.compile(r"(\.(fits?|fts))?(\.(gz|fz))?$", re.IGNORECASE)
_MAX_BYTES = 50 * BLOCK


def wcs_files(workdir: Path) -> dict[str, Path]:
    """The files there are, by their path in the folder without the suffix."""
    folder = workdir / FOLDER
    found = folder.rglob(f"*{SUFFIX}") if folder.is_dir() else ()
    return {
        path_text(path.relative_to(folder)).removesuffix(SUFFIX): path for path in found if path.is_file()
    }


def wcs_beside(files: Mapping[str, Path], relpath: str) -> Path | None:
    """The one that belongs to a raw file: named as its path from the raw directory, else as itself."""
    stem = stem_of(relpath)
    return files.get(stem) or files.get(PurePosixPath(stem).name)


def stem_of(name: str) -> str:
    """A file name without what tells its format."""
    return _FITS_SUFFIX.sub("", name)


def read_wcs_file(path: Path, *, shape: tuple[int, int], trimmed_px: tuple[int, int]) -> str:
    """The WCS cards of a file, for an image of ``shape`` (ny, nx) of which ``trimmed_px`` (rows, columns) were cut off.

    IMAGEW and IMAGEH, where they are there, tell whether it was made for the image before or after that; else before.
    Raises FrameError(bad_wcs), FrameError(unreadable).
    """
    from lightwatch.structure.frames_headers import header_wcs

    header = _header_of(path)
    ny, nx = shape
    rows, columns = trimmed_px
    size = (header.get("IMAGEW"), header.get("IMAGEH"))
    if size in ((None, None), (nx + 2 * columns, ny + 2 * rows)):
        for key, cut in (("CRPIX1", columns), ("CRPIX2", rows)):
            if isinstance(header.get(key), int | float):
                header[key] -= cut
    elif size != (nx, ny):
        raise FrameError(
            "bad_wcs", f"{shown(path)}: made for an image of {size[0]} x {size[1]} pixels, not of {nx} x {ny}"
        )
    text = header_wcs(header, name=shown(path))
    if text is None:
        raise FrameError("bad_wcs", f"{shown(path)}: holds no WCS of the sky")
    return text


def _header_of(path: Path) -> fits.Header:
    from astropy.io import fits

    try:
        with open_regular(path) as file:
            content = file.read(_MAX_BYTES)
    except OSError as error:
        raise cannot_be_read(shown(path), error) from error
    try:
        if not content.startswith(b"SIMPLE"):
            raise ValueError("it begins otherwise")
        header = fits.Header.fromfile(io.BytesIO(content))
        for card in header.cards:
            _ = card.value
        return header
    except (OSError, ValueError, TypeError, fits.VerifyError) as error:
        raise FrameError("bad_wcs", f"{shown(path)}: no FITS header: {shown(str(error))}") from error


def write_wcs_file(path: Path, text: str, *, nx: int, ny: int) -> None:
    """A file that ``read_wcs_file`` reads; ``text``: cards as of ``header_wcs``.

    Raises StorageError.
    """
    from astropy.io import fits

    header = fits.PrimaryHDU().header
    header.extend(fits.Header.fromstring(text).cards, strip=True, update=True)
    header["IMAGEW"], header["IMAGEH"] = nx, ny
    write_atomically(path, lambda temporary: fits.PrimaryHDU(None, header).writeto(temporary, overwrite=True))
