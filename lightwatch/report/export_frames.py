"""Frames as FITS files for other programs, with their zero point and normalization in the header."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath

from astropy.io import fits

from lightwatch.errors import ConfigError
from lightwatch.report.reading import all_frames
from lightwatch.structure import frame_store
from lightwatch.structure.files import write_atomically
from lightwatch.structure.fits_files import write_hdus
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

#: keyword: (column of the frame's quality, comment)
_CARDS = {
    "ZPTMAG": ("zeropoint", "magnitude of 1 electron/s in this frame"),
    "ZPTMUCER": ("zeropoint_uncertainty", "its 1 sigma, mag"),
    "ZPTBAND": ("band", "band of ZPTMAG"),
    "ZPTSYS": ("system", "magnitude system of ZPTMAG"),
    "NORMCOEF": ("coefficient", "divide by it for the normalised scale"),
    "NORMUCER": ("coefficient_uncertainty", "its 1 sigma"),
    "SEEING": ("seeing_arcseconds", "FWHM of stars, arcsec"),
}


def export_frames(workspace: Workspace, out_dir: Path | str, frame_ids: Iterable[int]) -> list[Path]:
    """Copies of frames (electron/s, sky-subtracted, with mask) with ZPTMAG and ZPTMUCER where they are known.

    Raises
    ------
    ConfigError
        For an id that is no frame.
    StorageError
        When a frame's file is gone, or a copy cannot be written.
    """
    rows = {row["id"]: row for row in all_frames(workspace)}
    wanted = list(dict.fromkeys(frame_ids))
    unknown = [str(frame_id) for frame_id in wanted if frame_id not in rows]
    if unknown:
        raise ConfigError(f"no frame with id {', '.join(unknown)}")
    return [_export(workspace, rows[frame_id], Path(out_dir)) for frame_id in wanted]


def _export(workspace: Workspace, row: Row, folder: Path) -> Path:
    frame = frame_store.read_stored_frame(workspace.workdir, row["image_relpath"])
    image = fits.PrimaryHDU(frame.image, header=frame.cards)
    image.header["BUNIT"] = "electron/s"
    for keyword, (column, comment) in _CARDS.items():
        if row[column] is not None:
            image.header[keyword] = (row[column], comment)
    hdus = fits.HDUList([image, fits.ImageHDU(frame.mask, name="MASK")])
    path = folder / PurePosixPath(row["image_relpath"]).name
    write_atomically(path, partial(write_hdus, hdus))
    return path
