"""Cutouts and PSFs of generated frames, so that ROIs can be prepared and modelled without any image."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import bindparam, update

from lightwatch.structure import schema, store
from lightwatch.structure.database import transaction
from lightwatch.structure.files import ProductRef
from reliability.generated_workdir import CUTOUT_PX, EXPTIME, FOOTPRINT, PIXEL_SCALE, RMS, ROI, Workdir, draw

ROI_FLUX = 600.0
_BETA = 3.0
_FRAME_PX = 2000
_CENTRE = 1000.0

Floats = NDArray[np.float64]


def write_pixels(workdir: Workdir, first: int, n_frames: int, n_stars: int) -> None:
    """Real products in the place of the empty ones, for frames with ids from ``first`` on."""
    numbers = draw(first, n_frames, n_stars)
    names = {row[0]: row[1:] for row in workdir.sql(
        "SELECT r.frame_id, r.relpath, p.relpath FROM regions r JOIN PSFs p ON p.frame_id = r.frame_id "
        "WHERE r.frame_id >= ?", first,
    )}  # fmt: skip
    regions, psfs = [], []
    for i, k in enumerate(numbers.ids):
        region, psf = names[k]
        cutout = _cutout(k, float(numbers.coefficient[i]), float(numbers.seeing_px[i]))
        regions.append((k, store.write_product(workdir.path, region, cutout, {})))
        psfs.append((k, store.write_product(workdir.path, psf, _psf(float(numbers.seeing_px[i])), {})))
    workspace = workdir.open()
    with transaction(workspace.engine) as connection:
        for table, products in ((schema.regions, regions), (schema.PSFs, psfs)):
            change = update(table).where(
                table.c.frame_id == bindparam("frame"), table.c.combined_footprint_hash == FOOTPRINT
            )
            connection.execute(
                change.values(sha256=bindparam("digest"), size=bindparam("bytes")), _named(products)
            )
    workspace.close()


def _named(products: Iterable[tuple[int, ProductRef]]) -> list[dict[str, object]]:
    return [{"frame": k, "digest": product.sha256, "bytes": product.size} for k, product in products]


def _cutout(frame_id: int, coefficient: float, seeing_px: float) -> dict[str, object]:
    rng = np.random.default_rng((frame_id, 1))
    shift = rng.uniform(-0.5, 0.5, 2)
    grid = np.arange(CUTOUT_PX) - CUTOUT_PX // 2
    light = coefficient * ROI_FLUX * _moffat(grid - shift[0], grid - shift[1], seeing_px)
    noise = np.sqrt(RMS**2 + light / EXPTIME)
    data = light + noise * rng.standard_normal(light.shape)
    shape = (1, CUTOUT_PX, CUTOUT_PX)
    corner = np.array([[_CENTRE - CUTOUT_PX // 2] * 2])
    group = f"rois/{ROI}"
    return {
        f"{group}/data": data.astype(np.float32).reshape(shape),
        f"{group}/background_rms": np.full(shape, RMS, np.float32),
        f"{group}/noisemap": noise.astype(np.float32).reshape(shape),
        f"{group}/mask": np.zeros(shape, np.uint8),
        f"{group}/corner": corner,
        f"{group}/image_pixel_coordinates": _CENTRE + shift,
        f"{group}/jacobian_px_per_arcsec": np.array([[-1.0, 0.0], [0.0, 1.0]]) / PIXEL_SCALE,
        f"{group}/pixel_scale_arcsec": PIXEL_SCALE,
        f"{group}/wcs": "generated",
    }


def _moffat(u: Floats, v: Floats, fwhm_px: float) -> Floats:
    """(nv, nu) light of a star of flux one in the middles of pixels."""
    k = (2 * math.sqrt(2 ** (1 / _BETA) - 1) / fwhm_px) ** 2
    r2 = k * (u[None, :] ** 2 + v[:, None] ** 2)
    return np.asarray((_BETA - 1) * k / np.pi * (1 + r2) ** -_BETA)


def _psf(fwhm_px: float) -> dict[str, object]:
    a = fwhm_px / (2 * math.sqrt(2 ** (1 / _BETA) - 1))
    model = {
        "theta": np.array([[math.log(a), 0.0, 0.0, math.log(_BETA - 1)]]),
        "coefficients": np.zeros((16, 16)),
        "amplitude": np.ones(1),
        "quadrature": 1,
        "frame_shape": np.array([_FRAME_PX, _FRAME_PX]),
        "size": CUTOUT_PX,
        "extent": CUTOUT_PX / 2,
        "edge": 2.0,
        "fwhm_px": fwhm_px,
        "ellipticity": 0.0,
        "norm": 0.98,
        "prior_sigma": 0.01,
        "effective_modes": 1.0,
        "model_error": 0.0,
        "total_flux_error": 0.0005,
    }
    return {f"model/{name}": value for name, value in model.items()}
