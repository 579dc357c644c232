"""A workdir as the pipeline leaves it, made of rows and products directly: small, and with known numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml

from lightwatch.flags import Flag
from lightwatch.structure import frame_store, schema, store
from lightwatch.structure.database import transaction
from lightwatch.structure.workspace import Workspace

HASH = "f" * 64
ZEROPOINT = 27.0
TASKS = (
    "read_convert_skysub_character_catalog",
    "plate_solving",
    "stamp_extraction",
    "psf_modeling",
    "star_photometry",
    "calculate_normalization_coefficient",
    "calculate_absolute_zeropoints",
    "prepare_calibrated_cutouts",
    "model_calibrated_cutouts",
)
CENTRE = (42.2031, 19.22528)
SHAPE = (80, 96)


class Builder:
    """Fills a workdir; ``text`` is put into every string that comes from headers and file names."""

    def __init__(self, directory: Path, n_frames: int, text: str, roi: str, sources: tuple[str, ...]) -> None:
        self.n, self.text, self.roi, self.sources = n_frames, text, roi, sources
        self.rng = np.random.default_rng(5)
        quoted = {name: [CENTRE[0], CENTRE[1] + 1e-4 * k] for k, name in enumerate(sources)}
        config = {
            "raw_dirs": ["raw"],
            "rois": {roi: {"coordinates": list(CENTRE), "point_sources": quoted}},
            "reference_stars": {"catalog": "gaia.csv"},
            "zeropoints": {"band": "r_sdss"},
        }
        (directory / "raw").mkdir(parents=True)
        (directory / "gaia.csv").write_text("source_id,ra,dec,phot_g_mean_mag\n")
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
        self.workspace = Workspace.open(directory / "config.yaml")
        self.workspace.initialize()
        self.ids = list(range(1, n_frames + 1))
        # two frames a night
        self.mjd = 60000.0 + np.arange(n_frames) // 2 + 0.01 * (np.arange(n_frames) % 2)
        self.filters = np.where(np.arange(n_frames) < n_frames * 2 // 3, "r", "i")

    def insert(self, table, rows) -> None:
        with transaction(self.workspace.engine) as connection:
            connection.execute(table.insert(), rows)

    def frames(self) -> None:
        rows = []
        for i, frame_id in enumerate(self.ids):
            rows.append(
                {
                    "id": frame_id,
                    "content_hash": f"c{i}",
                    "original_image_path": f"raw/{self.text}{i}.fits",
                    "image_relpath": f"frames/f{i}.fits",
                    "sources_relpath": f"frames/f{i}_sources.fits",
                    "filter": str(self.filters[i]),
                    "object": self.text,
                    "telescope_name": self.text or "T",
                    "mjd": self.mjd[i],
                    "mjd_mid": self.mjd[i],
                    "bjd_tdb": self.mjd[i] + 2400000.505,
                    "exptime": 300.0,
                    "gain": 1.0,
                    "naxis1": SHAPE[1],
                    "naxis2": SHAPE[0],
                    "airmass": 1.2 + 0.01 * i,
                    "seeing_pixels": 3.0,
                    "seeing_arcseconds": 1.1 + 0.02 * i,
                    "ellipticity": 0.05,
                    "sky_level_electron_per_second": 2.0,
                    "background_rms_electron_per_second": 0.1,
                    "limiting_magnitude": 22.0,
                    "plate_solved": 1,
                    "attempted_plate_solve": 1,
                    "pixel_scale": 0.4,
                    "roi_in_footprint": 1,
                    "comment": self.text,
                    "recipe": "r0",
                    "n_sources": 20,
                }
            )
        self.insert(schema.frames, rows)
        self.insert(
            schema.files,
            [
                {
                    "path": f"raw/{self.text}bad.fits",
                    "size": 1,
                    "mtime_ns": 1,
                    "inode": 1,
                    "state": "quarantined",
                    "reason_code": "header",
                    "reason": self.text or "no MJD",
                    "recipe": "r0",
                }
            ],
        )
        polygon = [[42.1, 19.1], [42.3, 19.1], [42.3, 19.3], [42.1, 19.3]]
        self.insert(
            schema.footprints,
            [{"frame_id": i, "polygon": json.dumps(polygon), "recipe": "r0"} for i in self.ids],
        )
        self._frame_files()

    def _frame_files(self) -> None:
        image = self.rng.normal(0, 0.1, SHAPE).astype(np.float32)
        image[40:43, 50:53] += 30
        mesh = np.ones((2, 2), np.float32)
        from astropy.io import fits

        for i in range(min(self.n, 12)):
            frame = frame_store.StoredFrame(image, np.zeros(SHAPE, np.uint8), mesh, mesh, fits.Header())
            frame_store.write_frame(self.workspace.workdir, f"frames/f{i}.fits", frame)
            frame_store.write_sources(
                self.workspace.workdir,
                f"frames/f{i}_sources.fits",
                {
                    "x": np.array([51.0]),
                    "y": np.array([41.0]),
                    "flux": np.array([200.0]),
                    "fwhm": np.array([3.0]),
                },
            )

    def recipes(self) -> None:
        self.insert(
            schema.task_recipes,
            [
                {
                    "task": task,
                    "position": p,
                    "upstream": TASKS[p - 1] if 0 < p < 5 else None,
                    "recipe": f"r{p}",
                    "settings": "{}",
                }
                for p, task in enumerate(TASKS)
            ],
        )
        self.insert(
            schema.task_results,
            [
                {
                    "task": task,
                    "combined_footprint_hash": "" if p < 2 else HASH,
                    "frame_id": i,
                    "state": "rejected" if (p, i) == (3, 1) else "done",
                    "reason_code": "too_few_stars" if (p, i) == (3, 1) else None,
                    "reason": self.text if (p, i) == (3, 1) else None,
                    "recipe": f"r{p}",
                    "run_id": 1,
                    "seconds": 0.1,
                }
                for p, task in enumerate(TASKS[:5])
                for i in self.ids
            ],
        )
        self.insert(
            schema.runs,
            [
                {
                    "id": 1,
                    "started": "2026-01-01T00:00:00Z",
                    "ended": "2026-01-01T00:10:00Z",
                    "host": self.text,
                    "pid": 1,
                    "version": "0.1.0",
                    "config_hash": "0" * 64,
                    "config": "{}",
                    "exit_code": 0,
                    "summary": self.text or "all well",
                }
            ],
        )
        self.insert(
            schema.task_errors,
            [
                {
                    "run_id": 1,
                    "task": TASKS[0],
                    "item": self.text,
                    "reason_code": "bug",
                    "message": self.text,
                    "details": self.text,
                    "at": "2026-01-01T00:05:00Z",
                    "recipe": "r0",
                }
            ],
        )

    def stars(self) -> None:
        self.insert(
            schema.combined_footprint,
            [
                {
                    "id": 1,
                    "hash": HASH,
                    "strategy": "ROI_disk",
                    "definition": "{}",
                    "is_current": 1,
                    "common": json.dumps([[[42.12, 19.12], [42.28, 19.12], [42.28, 19.28], [42.12, 19.28]]]),
                    "catalog_name": "gaia",
                }
            ],
        )
        names = "abcdef"
        self.insert(
            schema.stars,
            [
                {
                    "combined_footprint_hash": HASH,
                    "gaia_id": 100 + s,
                    "name": names[s],
                    "ra": 42.2 + 0.01 * s,
                    "dec": 19.2 + 0.01 * s,
                    "gmag": 15.0 + s,
                    "distance_to_roi_arcsec": 30.0 + s,
                    "recipe": "r0",
                }
                for s in range(6)
            ],
        )
        self.insert(
            schema.stars_in_frames,
            [
                {
                    "combined_footprint_hash": HASH,
                    "frame_id": i,
                    "star_gaia_id": 100 + s,
                    "x": 12.0 * (s + 1),
                    "y": 10.0 * (s + 1),
                    "recipe": "r0",
                }
                for i in self.ids
                for s in range(6)
            ],
        )
        size = 16
        # a few files serve all frames
        cut = [self._regions(i, size) for i in self.ids[:6]]
        psf = [self._psf(i, size) for i in self.ids[:6]]
        key = {"combined_footprint_hash": HASH}
        self.insert(schema.regions, [key | {"frame_id": i} | cut[k % 6] for k, i in enumerate(self.ids)])
        self.insert(schema.PSFs, [key | {"frame_id": i} | psf[k % 6] for k, i in enumerate(self.ids)])

    def _regions(self, frame_id: int, size: int) -> dict:
        relpath = f"regions/{HASH[:16]}/f{frame_id}.h5"
        arrays = {"exptime": 300.0, "frame_shape": np.array(SHAPE), "stars/gaia_id": np.arange(100, 106)}
        arrays |= self._cutouts("stars", 6, size) | self._cutouts("rois/J0248", 1, size)
        product = store.write_product(self.workspace.workdir, relpath, arrays, {"recipe": "r2"})
        row = {"relpath": relpath, "sha256": product.sha256, "size": product.size}
        return row | {"n_stars": 6, "star_size_px": size, "recipe": "r2"}

    def _cutouts(self, group: str, count: int, size: int) -> dict:
        yy, xx = np.mgrid[:size, :size] - (size - 1) / 2
        star = 50 * np.exp(-(xx**2 + yy**2) / 5)
        data = (star + self.rng.normal(0, 0.1, (count, size, size))).astype(np.float32)
        data[0, 0, 0] = np.nan
        return {
            f"{group}/data": data,
            f"{group}/background_rms": np.full(data.shape, 0.1, np.float32),
            f"{group}/noisemap": np.full(data.shape, 0.2, np.float32),
            f"{group}/mask": (~np.isfinite(data)).astype(np.uint8),
            f"{group}/corner": np.zeros((count, 2), int),
        }

    def _psf(self, frame_id: int, size: int) -> dict:
        yy, xx = np.mgrid[: 2 * size + 1, : 2 * size + 1] - size
        grid = np.exp(-(xx**2 + yy**2) / 20)
        relpath = f"psfs/{HASH[:16]}/f{frame_id}.h5"
        arrays = {
            "full_psf": grid / grid.sum(),
            "subsampling_factor": 2,
            "stars/gaia_id": np.arange(100, 106),
            "stars/used": np.array([True] * 5 + [False]),
            "stars/flags": np.zeros(6, int),
            "stars/reduced_chi2": np.ones(6),
        }
        product = store.write_product(self.workspace.workdir, relpath, arrays, {"recipe": "r3"})
        return {
            "psf_ref": "psf_x",
            "chi2": 1.05,
            "reserved_chi2": 1.1,
            "n_stars": 5,
            "n_reserved": 1,
            "stars_used": "[100,101,102,103,104]",
            "stars_rejected": "{}",
            "subsampling_factor": 2,
            "total_flux_error": 0.0042,
            "fwhm_pixels": 3.0,
            "fwhm_arcseconds": 1.2,
            "relpath": relpath,
            "sha256": product.sha256,
            "size": product.size,
            "recipe": "r3",
        }

    def fluxes(self) -> None:
        true = 10 ** (-0.4 * (15.0 + np.arange(6) - ZEROPOINT))
        coefficient = 1 + 0.1 * np.sin(np.arange(self.n))
        rows = []
        for k, i in enumerate(self.ids):
            for s in range(6):
                sigma = np.sqrt(true[s] / 300 + 1.0)
                rows.append(
                    {
                        "combined_footprint_hash": HASH,
                        "frame_id": i,
                        "star_gaia_id": 100 + s,
                        "flux": coefficient[k] * (true[s] + self.rng.normal(0, sigma)),
                        "flux_uncertainty": sigma,
                        "chi2": 1.0,
                        "recipe": "r4",
                    }
                )
        self.insert(schema.star_flux_in_frame, rows)
        common = {"combined_footprint_hash": HASH}
        self.insert(
            schema.normalization_coefficients,
            [
                common
                | {
                    "frame_id": i,
                    "filter": str(self.filters[k]),
                    "coefficient": coefficient[k],
                    "coefficient_uncertainty": 0.002,
                    "reduced_chi2": 1.0,
                    "n_stars": 6,
                    "recipe": "r5",
                }
                for k, i in enumerate(self.ids)
            ],
        )
        self.insert(
            schema.absolute_zeropoints,
            [
                common
                | {
                    "frame_id": i,
                    "band": "r_sdss",
                    "source_catalog": self.text or "gaia",
                    "system": "AB",
                    "zeropoint": ZEROPOINT + 2.5 * np.log10(coefficient[k]),
                    "zeropoint_uncertainty": 0.01,
                    "zeropoint_scatter": 0.02,
                    "normalised_zeropoint": ZEROPOINT,
                    "n_stars": 6,
                    "recipe": "r6",
                }
                for k, i in enumerate(self.ids)
            ],
        )
        self.insert(
            schema.normalization_stars,
            [
                common
                | {
                    "filter": name,
                    "star_gaia_id": 100 + s,
                    "mean_flux": true[s],
                    "mean_flux_uncertainty": 0.1,
                    "excess_scatter": 0.001,
                    "influence": 0.001 * (s + 1),
                    "influence_rms": 0.0004 * (s + 1),
                    "n_frames": self.n,
                    "recipe": "r5",
                    "flags": int(Flag.VARIABLE) if s == 5 else 0,
                }
                for s in range(6)
                for name in ("r", "i")
            ],
        )
        self._exclusions(common)

    def _exclusions(self, common: dict) -> None:
        """A star, a frame, and more single fluxes than the page shows."""
        one = {"frame_id": None, "star_gaia_id": None, "residual": None, "weight": None}
        reasons = [("variable", None, 105), ("outlier: the frame", 2, None)]
        rows = [
            one | {"frame_id": frame, "star_gaia_id": star, "reason": self.text or reason}
            for reason, frame, star in reasons
        ]
        rows += [
            {"frame_id": 1, "star_gaia_id": 100, "residual": 0.001 * k, "weight": 0.25, "reason": f"flux {k}"}
            for k in range(1, 100)
        ]
        self.insert(
            schema.normalization_exclusions,
            [common | {"filter": "r", "recipe": "r5", "flags": int(Flag.OUTLIER)} | row for row in rows],
        )

    def rois(self) -> None:
        self.insert(schema.rois, [{"name": self.roi, "ra": CENTRE[0], "dec": CENTRE[1]}])
        self.insert(
            schema.point_sources,
            [{"roi": self.roi, "name": name, "ra": CENTRE[0], "dec": CENTRE[1]} for name in self.sources],
        )

    def models(self) -> None:
        for name in ("r", "i"):
            chosen = [k for k in range(self.n) if self.filters[k] == name]
            self._model(name, chosen)

    def _model(self, filter_name: str, chosen: list[int]) -> None:
        size, t = 16, len(chosen)
        yy, xx = np.mgrid[:size, :size] - (size - 1) / 2
        model = np.tile(20 * np.exp(-(xx**2 + yy**2) / 5), (t, 1, 1))
        data = model + self.rng.normal(0, 0.2, model.shape)
        data[0, 3, 3] = 0.0
        cutouts, solution = f"prepared_roi_cutouts/c_{filter_name}.h5", f"roi_models/m_{filter_name}.h5"
        frame_ids = np.array([self.ids[k] for k in chosen])
        first = {
            "frame_id": frame_ids,
            "data": data,
            "noisemap": np.full(data.shape, 0.2),
            "mjd": self.mjd[chosen],
            "model/good": np.ones(data.shape, bool),
            "model/coefficient": np.ones(t),
            "model/background_variance": np.full(data.shape, 0.04),
            "model/psf_model_error": np.zeros(t),
            "exptime": np.full(t, 300.0),
        }
        a = store.write_product(self.workspace.workdir, cutouts, first, {"recipe": "r7"})
        second = {
            "frame_id": frame_ids,
            "labels": list(self.sources),
            "solution/model": model,
            "solution/point_source_model": model,
            "solution/rejected": np.zeros(data.shape, bool),
            "background_image": np.zeros((20, 20)),
        }
        b = store.write_product(self.workspace.workdir, solution, second, {"recipe": "r8"})
        self.insert(
            schema.roi_models,
            [
                {
                    "combined_footprint_hash": HASH,
                    "roi": self.roi,
                    "filter": filter_name,
                    "n_epochs": t,
                    "cutouts_relpath": cutouts,
                    "cutouts_sha256": a.sha256,
                    "model_relpath": solution,
                    "model_sha256": b.sha256,
                    "reduced_chi2": 1.0,
                    "recipe": "r7",
                    "astrometry": json.dumps({name: [*CENTRE, 0.01, 0.01] for name in self.sources}),
                }
            ],
        )
        self.insert(schema.roi_flux, [row for k in chosen for row in self._points(k, filter_name)])

    def _points(self, k: int, filter_name: str) -> list[dict]:
        """A bright source, and one that is too faint on every third frame."""
        rows = []
        for s, source in enumerate(self.sources):
            faint = s > 0 and k % 3 == 0
            flux, sigma = (-1.0, 2.0) if faint else (1000.0 + 10 * k - 300 * s, 5.0)
            rows.append(
                {
                    "combined_footprint_hash": HASH,
                    "roi": self.roi,
                    "point_source": source,
                    "frame_id": self.ids[k],
                    "filter": filter_name,
                    "flux": flux,
                    "flux_uncertainty": sigma,
                    "photon_uncertainty": 0.9 * sigma,
                    "background_uncertainty": 0.1 * sigma,
                    "normalization_uncertainty": 0.2 * sigma,
                    "reduced_chi2": 1.0,
                    "dx": 0.01,
                    "dy": -0.02,
                    "local_background": 0.0,
                    "zeropoint": ZEROPOINT,
                    "zeropoint_uncertainty": 0.02,
                    "mag": None if faint else ZEROPOINT - 2.5 * np.log10(flux),
                    "mag_uncertainty_up": None if faint else 1.0857 * sigma / flux,
                    "mag_uncertainty_down": None if faint else 1.08 * sigma / flux,
                    "mag_limit": ZEROPOINT - 2.5 * np.log10(3 * sigma) if faint else None,
                    "flags": int(Flag.LOW_SNR) if faint else int(Flag.POOR_FIT) if k == 1 else 0,
                    "recipe": "r8",
                }
            )
        return rows


STEPS = ("frames", "recipes", "stars", "fluxes", "rois", "models")


def build(
    directory: Path,
    *,
    n_frames: int = 12,
    text: str = "",
    roi: str = "J0248",
    sources: tuple[str, ...] = ("A", "B_1"),
    steps: tuple[str, ...] = STEPS,
) -> Workspace:
    """A workdir that got as far as ``steps``."""
    builder = Builder(directory, n_frames, text, roi, sources)
    for step in steps:
        getattr(builder, step)()
    return builder.workspace
