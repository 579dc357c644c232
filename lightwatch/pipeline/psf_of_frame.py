"""The PSF of a frame anywhere on the sky that it covers, for notebooks.

>>> from lightwatch import psf_at  # doctest: +SKIP
>>> psf = psf_at("night3_0042.fits", 42.2031, 19.22528)  # doctest: +SKIP
>>> star = 1200.0 * psf.render(25, dx=0.3)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from lightwatch.errors import InputError, NoUsableData
from lightwatch.pipeline.frame_names import suggestion
from lightwatch.processes.astrometry_sky import parse_wcs, sky_to_pixel
from lightwatch.processes.psf_model import LocalPSF, PSFModel, local_psf, render
from lightwatch.processes.psf_shape import fwhm_of_pixels
from lightwatch.structure import queries, queries_overview, store, upgrade
from lightwatch.structure.queries import Row
from lightwatch.structure.unknown import or_nan
from lightwatch.structure.workspace import Workspace

_NAMED_IN_ERRORS = 3


@dataclass(frozen=True)
class PsfAt:
    """The continuous, pixel-integrated PSF of a frame at one place: what a star of flux one looks like there.

    ``x``, ``y``: the place on the frame, px, centre of the first pixel (0, 0). ``fwhm_px``: of the
    pixel-integrated PSF, from the area above half of its maximum. ``norm``: fraction of a star's whole light
    inside a centred cutout of ``cutout_size_px``. ``total_flux_error``: 1 sigma of ln(flux) that all stars
    measured with it share. ``reserved_chi2``: reduced chi2 of stars that the fit has not seen, NaN without any.
    ``flags``: see lightwatch.flags.Flag.
    """

    frame_id: int
    frame: str
    ra: float
    dec: float
    x: float
    y: float
    fwhm_px: float
    fwhm_arcsec: float
    norm: float
    cutout_size_px: int
    total_flux_error: float
    reduced_chi2: float
    reserved_chi2: float
    flags: int
    _psf: LocalPSF = field(repr=False)
    _quadrature: int = field(repr=False)

    def render(
        self, size_px: int, subsampling_factor: int = 1, dx: float = 0.0, dy: float = 0.0
    ) -> NDArray[np.float64]:
        """Image of a star of flux one, (dx, dy) px off the middle of size_px x size_px pixels.

        Every value is the fraction of the light that falls into a whole pixel around that point: the sum is
        at most one, the rest lies outside. With a ``subsampling_factor`` k there are k values per pixel and
        axis, spaced 1/k px, and their sum is k^2 times as large. Shape (k size_px, k size_px), [y, x].
        """
        if size_px < 1 or subsampling_factor < 1:
            raise ValueError(
                f"size_px={size_px} and subsampling_factor={subsampling_factor} must be positive"
            )
        offsets = _offsets(size_px, subsampling_factor)
        return render(self._psf, offsets - dx, offsets - dy, quadrature=self._quadrature)


def psf_at(frame: int | str | Path, ra: float, dec: float, workspace: Workspace | None = None) -> PsfAt:
    """The PSF of a frame at a position on the sky (degrees, ICRS).

    ``frame``: its id, its file, or a part of the file's name. Without a workspace, of the workdir whose config
    file the variable LIGHTWATCH_CONFIG names.

    Raises
    ------
    NoUsableData
        Before the first run.
    SchemaError
        When another version of lightwatch has made the database.
    InputError
        ``unknown_frame``, ``no_psf`` or ``off_frame``, with a line that says what to do.
    """
    if workspace is not None:
        return _psf_at(workspace, str(frame), float(ra), float(dec))
    opened = Workspace.open()
    try:
        return _psf_at(opened, str(frame), float(ra), float(dec))
    finally:
        opened.close()


def _offsets(size_px: int, subsampling_factor: int = 1) -> NDArray[np.float64]:
    side = size_px * subsampling_factor
    return (np.arange(side) - (side - 1) / 2) / subsampling_factor


def _psf_at(workspace: Workspace, name: str, ra: float, dec: float) -> PsfAt:
    if not workspace.has_database:
        raise NoUsableData(f"{workspace.workdir}: no database yet; run the steps up to psf_modeling first")
    upgrade.refuse_older(workspace.reader)
    frame = _frame(workspace, name)
    row = next(iter(queries.rows(workspace.reader, queries.current_psf(frame["id"]))), None)
    if row is None:
        raise InputError("no_psf", f"{_title(frame)} has no PSF: {_why(workspace, frame)}")
    x, y = _pixel(frame, ra, dec)
    model = _model(workspace, frame, row)
    psf = local_psf(model, x, y)
    fwhm = float(fwhm_of_pixels(psf, model.quadrature))
    offsets = _offsets(model.size)
    return PsfAt(
        frame_id=frame["id"],
        frame=frame["image_relpath"],
        ra=ra,
        dec=dec,
        x=x,
        y=y,
        fwhm_px=fwhm,
        fwhm_arcsec=fwhm * or_nan(frame["pixel_scale"]),
        norm=float(render(psf, offsets, offsets, quadrature=model.quadrature).sum()),
        cutout_size_px=model.size,
        total_flux_error=model.total_flux_error,
        reduced_chi2=or_nan(row["chi2"]),
        reserved_chi2=or_nan(row["reserved_chi2"]),
        flags=row["flags"],
        _psf=psf,
        _quadrature=model.quadrature,
    )


def _model(workspace: Workspace, frame: Row, row: Row) -> PSFModel:
    arrays = store.read_product(workspace.workdir, row["relpath"], prefix="model")
    try:
        return PSFModel.from_arrays(arrays)
    except KeyError as error:
        raise InputError(
            "no_psf",
            f"the PSF of {_title(frame)} is of another version of lightwatch; model_all_psfs() makes it anew",
        ) from error


def _frame(workspace: Workspace, name: str) -> Row:
    """The one frame that a name means."""
    found = queries.rows(workspace.reader, queries.frame_named(name))
    exact = [row for row in found if name in _names(row)]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        told = suggestion(workspace, name, queries_overview.paths_of_frames)
        raise InputError("unknown_frame", f"no frame is known by '{name}'; {told}")
    raise InputError(
        "unknown_frame", f"'{name}' may be any of {len(found)} frames: {_listed(found)}; give the id"
    )


def _names(row: Row) -> set[str]:
    paths = [PurePath(row["original_image_path"]), PurePath(row["image_relpath"])]
    return {str(row["id"])} | {name for path in paths for name in (str(path), path.name, path.stem)}


def _listed(rows: Sequence[Row]) -> str:
    more = ", ..." if len(rows) > _NAMED_IN_ERRORS else ""
    return ", ".join(_title(row) for row in rows[:_NAMED_IN_ERRORS]) + more


def _title(row: Row) -> str:
    return f"frame {row['id']} ({PurePath(row['original_image_path']).name})"


def _why(workspace: Workspace, frame: Row) -> str:
    """The last task that refused the frame, or what to run."""
    if frame["eliminated"]:
        return f"it is eliminated; 'lightwatch frames --restore {frame['id']}' takes it back"
    story = queries.rows(workspace.reader, queries.story_of_frame(frame["id"]))
    refused = [row for row in story if row["current"] and row["state"] != "done"]
    if refused:
        return f"{refused[0]['task']}: {refused[0]['reason'] or refused[0]['reason_code']}"
    return "psf_modeling has not been run on it under the present settings; model_all_psfs() does"


def _pixel(frame: Row, ra: float, dec: float) -> tuple[float, float]:
    x, y = sky_to_pixel(parse_wcs(frame["wcs"]), np.array([ra]), np.array([dec]))[0]
    if -0.5 <= x < frame["naxis1"] - 0.5 and -0.5 <= y < frame["naxis2"] - 0.5:
        return float(x), float(y)
    place = f"x={x:.0f}, y={y:.0f}" if np.isfinite(x + y) else "nowhere near"
    raise InputError(
        "off_frame",
        f"({ra:.5f}, {dec:.5f}) is not on {_title(frame)}: {place}, the frame has {frame['naxis1']} x "
        f"{frame['naxis2']} pixels; ra and dec are degrees",
    )
