"""Frames in electron/s as FITS files: image, mask, and the coarse meshes of background level and noise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from numpy.typing import NDArray

from lightwatch.structure.damage import unreadable
from lightwatch.structure.files import ProductRef, write_atomically
from lightwatch.structure.fits_files import write_hdus

_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class StoredFrame:
    """``image`` (ny, nx) float32 electron/s, sky-subtracted; ``mask`` (ny, nx) bits of flags.Flag;
    ``level_mesh`` and ``rms_mesh`` coarse float32 maps, electron/s; ``cards`` the header."""

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    level_mesh: NDArray[np.float32]
    rms_mesh: NDArray[np.float32]
    cards: fits.Header


def write_frame(workdir: Path, relpath: str, frame: StoredFrame) -> ProductRef:
    """Write a frame; it appears whole or not at all."""
    primary = fits.PrimaryHDU(frame.image, header=frame.cards)
    primary.header["BUNIT"] = ("electron/s", "sky-subtracted")
    hdus = fits.HDUList(
        [
            primary,
            fits.ImageHDU(frame.mask, name="MASK"),
            fits.ImageHDU(frame.level_mesh, name="BKG_LEVEL"),
            fits.ImageHDU(frame.rms_mesh, name="BKG_RMS"),
        ]
    )
    digest, size = write_atomically(workdir / relpath, partial(write_hdus, hdus))
    return ProductRef(relpath, digest, size)


def read_stored_frame(workdir: Path, relpath: str) -> StoredFrame:
    """Read a frame back.

    Raises
    ------
    ProductError
        When it is missing or damaged.
    StorageError
        When the disk fails.
    """
    path = workdir / relpath
    try:
        _check(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=False) as hdus:
                return StoredFrame(
                    image=np.asarray(hdus[0].data, dtype=np.float32),
                    mask=np.asarray(hdus["MASK"].data, dtype=np.uint8),
                    level_mesh=np.asarray(hdus["BKG_LEVEL"].data, dtype=np.float32),
                    rms_mesh=np.asarray(hdus["BKG_RMS"].data, dtype=np.float32),
                    cards=hdus[0].header.copy(),
                )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise unreadable(workdir, relpath, error) from error


def _check(path: Path) -> None:
    """Refuse a file that is not as it was written.

    With a CHECKSUM in every header the 32-bit words of each HDU, and so of the file, add up to zero in ones'
    complement arithmetic (Seaman, Pence & Rots 2012): one sum knows every flipped bit, of headers and padding too,
    in a third of the time that reading takes.
    """
    total = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            total += int(np.frombuffer(chunk, ">u4").sum(dtype=np.uint64))
    if total % 0xFFFFFFFF:
        raise ValueError("its checksum is wrong")


def is_own_file(path: Path) -> bool:
    """Whether a FITS file is a frame or a table of sources as written here, by its extensions."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            with fits.open(path, memmap=True) as hdus:
                return [hdu.name for hdu in hdus][1:] in (["MASK", "BKG_LEVEL", "BKG_RMS"], ["SOURCES"])
    except (OSError, ValueError, TypeError):
        return False


def replace_wcs(workdir: Path, relpath: str, wcs_text: str) -> ProductRef:
    """Put a new WCS into the header of a frame's file, so that any viewer shows the sky; twice is the same as once."""
    frame = read_stored_frame(workdir, relpath)
    cards = frame.cards.copy()
    new = fits.Header.fromstring(wcs_text)
    for keyword in list(cards):
        if keyword in _REPLACED or keyword in new or keyword.startswith(_WCS_PREFIXES):
            cards.remove(keyword, ignore_missing=True, remove_all=True)
    cards.extend(new.cards, strip=True)
    return write_frame(
        workdir, relpath, StoredFrame(frame.image, frame.mask, frame.level_mesh, frame.rms_mesh, cards)
    )


_REPLACED = {"CHECKSUM", "DATASUM", "WCSAXES", "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2",
             "CDELT1", "CDELT2", "CUNIT1", "CUNIT2", "CROTA1", "CROTA2", "LONPOLE", "LATPOLE", "RADESYS",
             "EQUINOX"}  # fmt: skip
_WCS_PREFIXES = ("CD1_", "CD2_", "PC1_", "PC2_", "PV1_", "PV2_", "A_", "B_", "AP_", "BP_")


def write_sources(workdir: Path, relpath: str, columns: Mapping[str, Any]) -> ProductRef:
    """Write a table of detected sources."""
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    table = np.empty(
        len(next(iter(arrays.values()))), [(name, array.dtype) for name, array in arrays.items()]
    )
    for name, array in arrays.items():
        table[name] = array
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(table, name="SOURCES")])
    digest, size = write_atomically(workdir / relpath, partial(write_hdus, hdus))
    return ProductRef(relpath, digest, size)


def read_sources(workdir: Path, relpath: str) -> dict[str, NDArray[Any]]:
    """Columns of a table of detected sources.

    Raises
    ------
    ProductError
        When it is missing or damaged.
    StorageError
        When the disk fails.
    """
    path = workdir / relpath
    try:
        _check(path)
        with fits.open(path, memmap=False) as hdus:
            data = hdus["SOURCES"].data
            return {
                name: np.asarray(data[name]).astype(data[name].dtype.newbyteorder("=")) for name in data.names
            }
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise unreadable(workdir, relpath, error) from error
