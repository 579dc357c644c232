"""A WCS beside a raw file: ``wcs/NAME.wcs`` in the workdir, as astrometry.net's solve-field writes them."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from lightwatch.errors import FrameError
from lightwatch.structure.files import path_text, write_atomically
from lightwatch.structure.frames_guard import BLOCK, open_regular, shown

if TYPE_CHECKING:
    from astropy.io import fits  # a run that finds nothing to do looks for these files, and needs no astropy

FOLDER, SUFFIX = "wcs", ".wcs"
_FITS_SUFFIX = re.compile(r"(\.(fits?|fts))?(\.(gz|fz))?$", re.IGNORECASE)
_MAX_BYTES = 50 * BLOCK


def wcs_files(workdir: Path) -> dict[str, Path]:
    """The files there are, by their path in the folder without the suffix."""
    folder = workdir / FOLDER
    found = folder.rglob(f"*{SUFFIX}") if folder.is_dir() else ()
    return {path_text(path.relative_to(folder)).removesuffix(SUFFIX): path for path in found if _is_one(path)}


def _is_one(path: Path) -> bool:
    """What cannot be looked at is one too: its frame tells why it has no use for it."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def wcs_beside(files: Mapping[str, Path], relpath: str, raw_dirs: Sequence[Path]) -> Path | None:
    """The one that belongs to a raw file: named as its path from the raw directory.

    None where several raw directories have such a file: it is not told which of them is meant.
    """
    found = files.get(stem_of(relpath))
    if found is None or len(raw_dirs) == 1:
        return found
    places = {os.path.realpath(raw / relpath) for raw in raw_dirs if os.path.lexists(raw / relpath)}
    return found if len(places) <= 1 else None


def wcs_digest(path: Path) -> str:
    """What tells that a file has changed: hash of its content, or that it has none to be used."""
    try:
        return sha256(_content_of(path)).hexdigest()
    except FrameError as error:
        return error.reason_code


def stem_of(name: str) -> str:
    """A file name without what tells its format."""
    return _FITS_SUFFIX.sub("", name)


def read_wcs_file(path: Path, *, shape: tuple[int, int], trimmed_px: tuple[int, int]) -> str:
    """The WCS cards of a file, for an image of ``shape`` (ny, nx) of which ``trimmed_px`` (rows, columns) were cut off.

    IMAGEW and IMAGEH, where they are there, tell whether it was made for the image before or after that; else before.
    Raises FrameError(bad_wcs).
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

    content = _content_of(path)
    try:
        if not content.startswith(b"SIMPLE"):
            raise ValueError("it begins otherwise")
        header = fits.Header.fromfile(io.BytesIO(content))
        for card in header.cards:
            _ = card.value
        return header
    except (OSError, ValueError, TypeError, fits.VerifyError) as error:
        raise FrameError("bad_wcs", f"{shown(path)}: no FITS header: {shown(str(error))}") from error


def _content_of(path: Path) -> bytes:
    """Bytes of a small file. Whatever hinders it is ``bad_wcs``: the frame can do without."""
    try:
        with open_regular(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FrameError("bad_wcs", f"{shown(path)}: cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise FrameError("bad_wcs", f"{shown(path)}: more than {_MAX_BYTES} bytes, no header of a WCS")
    return content


def write_wcs_file(path: Path, text: str, *, nx: int, ny: int) -> None:
    """A file that ``read_wcs_file`` reads; ``text``: cards as of ``header_wcs``.

    Raises StorageError.
    """
    from astropy.io import fits

    header = fits.PrimaryHDU().header
    header.extend(fits.Header.fromstring(text).cards, strip=True, update=True)
    header["IMAGEW"], header["IMAGEH"] = nx, ny
    write_atomically(path, lambda temporary: fits.PrimaryHDU(None, header).writeto(temporary, overwrite=True))
