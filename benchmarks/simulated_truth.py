"""The truth of a simulated field, as ``lightwatch.simulation`` or the shared simulator has written it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy.table import Table
from psf_metric import phases
from scipy.spatial import cKDTree

from lightwatch.simulation import joint_flux_bound
from lightwatch.simulation.extended import arc_profile, extended_image, lens_profile
from lightwatch.simulation.psf import SimulatedPsf, integrated, star_image

SCALE_ARCSEC = 0.213
SHARED_SHAPE = 1024, 1024
LENS_MAG, ARC_MAG = 20.3, 21.0
BOX_HALF = 20  # of the box around a point source on which the joint bound is taken
SHARED_NAMES = {"ell": "ellipticity", "gsig": "gauss_sigma"}


@dataclass(frozen=True)
class Truth:
    """Tables of a truth folder, PSFs as functions, and what follows from them."""

    frames: dict[int, dict[str, float]]  # by number of the frame
    stars: Table
    sources: Table  # with column "source"
    psfs: dict[int, SimulatedPsf]  # at the centre of the frame
    gradient: float  # growth of the FWHM from the left to the right edge
    shape: tuple[int, int]

    def psf(self, frame: int, x: float) -> SimulatedPsf:
        """PSF at column ``x`` of a frame."""
        return self.psfs[frame].stretched(1 + self.gradient * (x / self.shape[1] - 0.5))

    def transparency(self, frame: int) -> float:
        return self.frames[frame]["transparency"]

    @cached_property
    def nearest_px(self) -> dict[tuple[int, int], float]:
        """Distance (px) of every star in every frame, by (frame, id), to the nearest other one."""
        distance: dict[tuple[int, int], float] = {}
        for frame in self.frames:
            rows = self.stars[self.stars["frame"] == frame]
            place = np.column_stack([rows["x"], rows["y"]])
            apart = cKDTree(place).query(place, k=2)[0][:, 1]
            keys = ((frame, int(star)) for star in rows["source_id"])
            distance.update(zip(keys, apart.tolist(), strict=True))
        return distance

    @cached_property
    def source_bounds(self) -> dict[tuple[int, str], float]:
        """Joint Cramer-Rao bounds by (frame, source) on fluxes (electron/s above the atmosphere): all point
        sources of the ROI fitted jointly, with PSF, positions, sky and extended light known.
        """
        if "crb" in self.sources.colnames:
            return {
                (int(r["frame"]), str(r["source"])): float(r["crb"]) / self.transparency(int(r["frame"]))
                for r in self.sources
            }
        return {key: bound for frame in self.frames for key, bound in self._joint_bounds(frame).items()}

    def _joint_bounds(self, frame: int) -> dict[tuple[int, str], float]:
        """For the shared simulator, which does not state them."""
        rows, conditions = self.sources[self.sources["frame"] == frame], self.frames[frame]
        psf, seconds = self.psf(frame, float(np.mean(rows["x"]))), conditions["exptime"]
        middle = np.round([np.mean(rows["x"]), np.mean(rows["y"])])
        units = np.array([star_image(psf, r["x"] - middle[0], r["y"] - middle[1], BOX_HALF) for r in rows])
        light = np.tensordot(np.asarray(rows["flux"]) * seconds, units, 1) + self._extended(
            frame, rows, middle
        )
        sky = conditions["sky_centre_e"] + conditions["read_noise"] ** 2
        bound = joint_flux_bound(units, light + sky) / seconds / conditions["transparency"]
        return {(frame, str(r["source"])): float(b) for r, b in zip(rows, bound, strict=True)}

    def _extended(self, frame: int, rows: Table, middle: np.ndarray) -> np.ndarray:
        """Lens galaxy and arc in electrons; both stand (0.03, -0.08) arcsec from the middle of the images, which
        are (-0.005, -0.0575) arcsec from the centre of the ROI.
        """
        conditions = self.frames[frame]
        angle = np.radians(conditions["rotation"])
        cos, sin = np.cos(angle), np.sin(angle)
        cd = SCALE_ARCSEC * np.array([[-cos, sin], [sin, cos]])
        offset = np.linalg.solve(cd, [0.03 + 0.005, -0.08 + 0.0575])
        dx, dy = np.array([np.mean(rows["x"]), np.mean(rows["y"])]) + offset - middle
        seconds = conditions["exptime"] * conditions["transparency"]
        psf = self.psf(frame, float(middle[0]))
        return seconds * sum(
            10 ** (-0.4 * (mag - 24.8)) * extended_image(profile, cd, psf, dx, dy)
            for mag, profile in ((LENS_MAG, lens_profile()), (ARC_MAG, arc_profile()))
        )


def unit_stars(psf: SimulatedPsf, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise-free unit stars (P, n, n), and where they are in x and y (P,) px from the centre of the cutout."""
    x, y = phases()
    return np.array([star_at(psf, a, b, size) for a, b in zip(x, y, strict=True)]), x, y


def star_at(psf: SimulatedPsf, x: float, y: float, size: int) -> np.ndarray:
    """Pixel-integrated unit star (n, n) at (x, y) px from the centre of the cutout."""
    nodes = 3 if psf.fwhm >= 4 else 5
    if size % 2:
        return integrated(psf, x, y, size // 2, nodes)
    # the centre of an even cutout lies between pixels
    return integrated(psf, x + 0.5, y + 0.5, size // 2, nodes)[1:, 1:]


def read_truth(folder: Path) -> Truth:
    """Of either simulator."""
    frames = Table.read(folder / "frames.csv", format="ascii.csv")
    ours = (folder / "field.json").exists()
    text = json.loads((folder / ("field.json" if ours else "meta.json")).read_text())
    if ours:
        psfs = {int(frame): SimulatedPsf(**values) for frame, values in text["psf"].items()}
        gradient, shape = text["spec"]["psf_gradient"], tuple(text["spec"]["shape"])
    else:
        renamed = (
            {SHARED_NAMES.get(name, name): v for name, v in row.items()} for row in text["psf_parameters"]
        )
        psfs = {int(f): SimulatedPsf(**row) for f, row in zip(frames["frame"], renamed, strict=True)}
        gradient, shape = text["psf_field_gradient"], SHARED_SHAPE
    path = next((p for p in (folder / "quasar.csv", folder / "sources.csv") if p.exists()), None)
    sources = Table.read(path, format="ascii.csv") if path else Table(names=["frame", "source", "crb"])
    if "image" in sources.colnames:
        sources.rename_column("image", "source")
    by_number = {int(r["frame"]): {n: r[n] for n in frames.colnames} for r in frames}
    stars = Table.read(folder / "stars.csv", format="ascii.csv")
    return Truth(by_number, stars, sources, psfs, float(gradient), shape)
