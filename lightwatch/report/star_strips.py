"""Data, model and residual of the stars of a frame, and what all its PSF stars leave over together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lightwatch.errors import StorageError
from lightwatch.flags import UNUSABLE_PIXEL, Flag
from lightwatch.pipeline.tasks.star_cutouts import FrameStars, stack
from lightwatch.processes.photometry import light_of_neighbours
from lightwatch.processes.psf_error import psf_error_variance
from lightwatch.processes.psf_model import PSFModel, local_psf, render
from lightwatch.report.pictures import (
    DATA_COLOURS,
    RESIDUAL_COLOURS,
    RESIDUAL_SIGMA,
    picture,
    residual_sigma,
    stretch,
)
from lightwatch.structure import queries, queries_report, store
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

_MAX_USED, _MAX_OTHERS = 16, 4
#: standard error of a median over that of a mean, for Gaussian noise
_MEDIAN_PRICE = float(np.sqrt(np.pi / 2))

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StarStrip:
    """A star on a frame: pictures as data URIs, and what to say of it."""

    name: str
    gmag: float | None
    used: bool
    chi2: float | None
    flags: str
    data: str
    model: str
    residual: str


@dataclass(frozen=True)
class StarStrips:
    """Stars of a frame, those of the PSF first; ``stacked``: their residuals together, in sigma of the stack.

    ``granted``: error of the PSF itself, as a fraction of the light, that chi2 and residuals allow for;
    ``problem``: why stars that were measured cannot be shown.
    """

    stars: list[StarStrip] = field(default_factory=list)
    stacked: str | None = None
    n_stacked: int = 0
    granted: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class StarPixels:
    """A star (row of measured_stars): (n, n) data and model, residual in the sigma of chi2; NaN: not used."""

    row: Row
    data: Floats
    model: Floats
    residual: Floats


def star_strips(workspace: Workspace, footprint_hash: str, psf: Row, *, strips: bool = True) -> StarStrips:
    """Stars of the frame of a row of PSFs; none where a product cannot be read.

    The model is the frame's PSF with the measured flux and place, and neighbours that a catalogue has, as in the
    photometry.
    """
    frame_id = psf["frame_id"]
    measured = queries.rows(workspace.reader, queries_report.measured_stars(footprint_hash, frame_id))
    regions = queries.rows(workspace.reader, queries.regions_of(footprint_hash, [frame_id]))
    if not regions or not measured:
        return StarStrips()
    known = [row for row in measured if row["flux"] is not None and row["x"] is not None]
    try:
        cut = store.read_product(workspace.workdir, regions[0]["relpath"])
        fit = store.read_product(workspace.workdir, psf["relpath"])
        used = {int(i) for i, use in zip(fit["stars/gaia_id"], fit["stars/used"], strict=True) if use}
        model = PSFModel.from_arrays(
            {n.removeprefix("model/"): a for n, a in fit.items() if n.startswith("model/")}
        )
        of_psf = [row for row in known if row["star_gaia_id"] in used][:_MAX_USED]
        others = [row for row in known if row["star_gaia_id"] not in used][: _MAX_OTHERS if strips else 0]
        stars = measured_pixels(cut, model, of_psf + others)
    except StorageError as error:
        return StarStrips(problem=str(error))
    except KeyError as error:
        return StarStrips(problem=f"its products have no {error.args[0]}, as those of another version")
    residuals = [one.residual for one in stars if one.row["star_gaia_id"] in used]
    return StarStrips(
        stars=[_strip(one, used=one.row["star_gaia_id"] in used) for one in stars] if strips else [],
        stacked=_stacked(residuals) if residuals else None,
        n_stacked=len(residuals),
        granted=float(model.model_error),
    )


def measured_pixels(cut: dict[str, NDArray], psf: PSFModel, rows: Sequence[Row]) -> list[StarPixels]:
    """Pixels of stars of a frame; ``cut``: its product of stamps, ``rows`` of measured_stars."""
    place = {int(star): k for k, star in enumerate(cut["stars/gaia_id"])}
    shown = [row for row in rows if row["star_gaia_id"] in place]
    neighbours = _neighbours(cut, psf, sorted(place[row["star_gaia_id"]] for row in shown))
    return [_star(cut, psf, row, place[row["star_gaia_id"]], neighbours) for row in shown]


def _neighbours(cut: dict[str, NDArray], psf: PSFModel, places: list[int]) -> dict[int, Floats]:
    """Light (n, n) of the neighbours of the stars at ``places`` of the cutouts."""
    arrays = {name.removeprefix("stars/"): values for name, values in cut.items()}
    chosen = np.zeros(len(arrays["gaia_id"]), dtype=bool)
    chosen[places] = True
    (light,) = light_of_neighbours([psf], stack([FrameStars(0, arrays, 0.0)], [chosen], only_catalogued=True))
    return dict(zip(places, light, strict=False))  # padded to one star where there is none


def _star(
    cut: dict[str, NDArray], psf: PSFModel, row: Row, place: int, neighbours: dict[int, Floats]
) -> StarPixels:
    data = np.asarray(cut["stars/data"][place], dtype=float)
    x0, y0 = cut["stars/corner"][place]
    u, v = (
        np.arange(size) + start - centre
        for size, start, centre in ((data.shape[1], x0, row["x"]), (data.shape[0], y0, row["y"]))
    )
    light = render(local_psf(psf, row["x"], row["y"]), u, v, quadrature=psf.quadrature)
    light, others = row["flux"] * np.asarray(light, dtype=float), neighbours[place]
    model = light + others + (row["local_background"] or 0.0)
    good = (cut["stars/mask"][place] & int(UNUSABLE_PIXEL)) == 0
    noise = cut["stars/background_rms"][place].astype(float) ** 2
    noise += np.maximum(light + others, 0) / float(cut["exptime"])
    variance = (
        noise + psf_error_variance(light, psf.model_error) + psf_error_variance(others, psf.model_error)
    )
    shown = np.where(good, data, np.nan)
    return StarPixels(row, shown, model, residual_sigma(data, model, variance, good & np.isfinite(data)))


def _strip(star: StarPixels, *, used: bool) -> StarStrip:
    known = star.data[np.isfinite(star.data)]
    low = float(np.percentile(known, 20)) if known.size else 0.0
    high = max(float(star.model.max()), low + 1e-9)
    return StarStrip(
        name=star.row["name"],
        gmag=star.row["gmag"],
        used=used,
        chi2=star.row["chi2"],
        flags=", ".join(Flag(star.row["flags"]).names).replace("_", " "),
        data=picture(stretch(star.data, low, high), DATA_COLOURS),
        model=picture(stretch(star.model, low, high), DATA_COLOURS),
        residual=_residual_uri(star.residual),
    )


def _stacked(residuals: Sequence[Floats]) -> str:
    """Median over the stars in units of its own noise: what the PSF gets wrong in all of them alike."""
    cube = np.stack(residuals)
    count = np.isfinite(cube).sum(axis=0)
    middle = np.full(cube.shape[1:], np.nan)
    some = count > 0
    middle[some] = np.nanmedian(cube[:, some], axis=0)
    return _residual_uri(middle * np.sqrt(np.maximum(count, 1)) / _MEDIAN_PRICE)


def _residual_uri(sigma: Floats) -> str:
    return picture(0.5 + sigma / (2 * RESIDUAL_SIGMA), RESIDUAL_COLOURS)
