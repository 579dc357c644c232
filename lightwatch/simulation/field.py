"""Write a simulated field to disk."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from lightwatch.errors import InputError
from lightwatch.simulation.frame import Rows, SimulatedFrame, simulate_frame
from lightwatch.simulation.sky import (
    G_MINUS_BAND,
    Columns,
    draw_galaxies,
    draw_stars,
    radec,
    source_magnitude,
)
from lightwatch.simulation.spec import FieldSpec

_WCS_KINDS = ("good", "none", "wrong")


@dataclass(frozen=True)
class SimulatedField:
    """Where everything is. The truth folder holds

    ``frames.csv`` a row per frame (times, seeing, transparency, ...),
    ``stars.csv`` a row per frame and star inside it, ``star_list.csv`` a row per star,
    ``sources.csv`` a row per frame and point source of a ROI (absent when there is none),
    ``field.json`` the FieldSpec, the seed, the positions of the sources and the PSF of every frame.
    """

    root: Path
    config: Path
    frames: tuple[Path, ...]
    stars: Path
    truth: Path


def simulate_field(
    out_dir: str | Path,
    *,
    n_frames: int,
    seed: int,
    spec: FieldSpec | None = None,
    first_frame: int = 0,
) -> SimulatedField:
    """Write frames ``first_frame`` .. ``first_frame + n_frames - 1`` with star table, truth and config.

    Called again on the same folder with a later ``first_frame``, the truth tables grow: new nights arrive.

    Raises
    ------
    InputError ``unknown_band`` or ``bad_spec``.
    """
    spec = _checked(FieldSpec() if spec is None else spec)
    root = Path(out_dir)
    raw, truth = root / "raw", root / "truth"
    raw.mkdir(parents=True, exist_ok=True)
    truth.mkdir(exist_ok=True)
    stars, galaxies = draw_stars(spec, seed), draw_galaxies(spec, seed)
    _write_csv(root / "stars.csv", _catalog_rows(spec, seed, stars))
    _write_csv(truth / "star_list.csv", _rows_of(stars))
    frames, paths = [], []
    for k in range(first_frame, first_frame + n_frames):
        frame = simulate_frame(spec, seed, k, stars, galaxies)
        path = raw / f"sim_{k:04d}.fits"
        fits.PrimaryHDU(frame.image, frame.header).writeto(path, overwrite=True)
        frames.append(frame)
        paths.append(path)
    _write_truth(truth, spec, seed, frames)
    config = root / "config.yaml"
    config.write_text(config_text(spec))
    return SimulatedField(root, config, tuple(paths), root / "stars.csv", truth)


def _checked(spec: FieldSpec) -> FieldSpec:
    unknown = [name for name in spec.filters if name not in G_MINUS_BAND]
    if unknown or not spec.filters:
        raise InputError("unknown_band", f"filters to simulate: {', '.join(G_MINUS_BAND)}; not {unknown}")
    if spec.wcs not in _WCS_KINDS:
        raise InputError("bad_spec", f"wcs must be one of {', '.join(_WCS_KINDS)}, not {spec.wcs!r}")
    return spec


def config_text(spec: FieldSpec) -> str:
    """A config.yaml for the field, with no more than is needed."""
    lines = ["# Made together with the simulated frames beside it.", "raw_dirs: [raw]"]
    lines += ["instrument: simulation", "rois:"]
    for roi in spec.rois:
        ra, dec = (v[0] for v in radec(spec, roi.east, roi.north))
        lines += [f"  {roi.name}:", f"    coordinates: [{ra:.7f}, {dec:.7f}]"]
        if roi.sources:
            lines.append("    point_sources:")
        for source in roi.sources:
            ra, dec = (v[0] for v in radec(spec, roi.east + source.east, roi.north + source.north))
            lines.append(f"      {source.name}: [{ra:.7f}, {dec:.7f}]")
    lines += ["reference_stars:", "  catalog: stars.csv", "zeropoints:", f"  band: {spec.filters[0]}"]
    if spec.wcs == "none":
        lines += ["plate_solving:", f"  pixel_scale_arcsec: {spec.pixel_scale}"]
    return "\n".join(lines) + "\n"


def _catalog_rows(spec: FieldSpec, seed: int, stars: Columns) -> Rows:
    """The star table with Gaia DR3 column names."""
    rows: Rows = [
        _catalog_row(s["source_id"], s["ra"], s["dec"], s["pmra"], s["pmdec"], s["gmag"], s["bp_rp"],
                     s["flux_over_error"], s["excess_noise_sig"])
        for s in _rows_of(stars)
    ]  # fmt: skip
    if spec.targets_in_catalog:
        number = 20_000_000_000_000
        for roi in spec.rois:
            for source in roi.sources:
                number += 1_000_003
                ra, dec = (v[0] for v in radec(spec, roi.east + source.east, roi.north + source.north))
                mag = source_magnitude(spec, seed, roi, source, spec.filters[0], spec.start_mjd)
                rows.append(_catalog_row(number, ra, dec, 0.0, 0.0, mag, 1.0, 300.0, 1.0))
    return rows


def _catalog_row(
    source_id: float | int | str, ra: float, dec: float, pmra: float, pmdec: float, g: float, bp_rp: float,
    flux_over_error: float, excess: float,
) -> dict[str, float | int | str]:  # fmt: skip
    return {
        "source_id": source_id, "ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec, "ref_epoch": 2016.0,
        "phot_g_mean_mag": g, "phot_bp_mean_mag": g + 0.45 * bp_rp, "phot_rp_mean_mag": g - 0.55 * bp_rp,
        "bp_rp": bp_rp, "phot_g_mean_flux_over_error": flux_over_error,
        "astrometric_excess_noise": excess, "astrometric_excess_noise_sig": excess,
    }  # fmt: skip


def _rows_of(columns: Columns) -> list[dict]:
    lists = [column.tolist() for column in columns.values()]
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _extend_csv(path: Path, rows: list[dict], frames: set[int]) -> None:
    """Rows of these frames replace what was there; others stay; in order of frame."""
    old: list[dict] = []
    if path.exists():
        with path.open(newline="") as file:
            old = [row for row in csv.DictReader(file) if int(row["frame"]) not in frames]
    if old or rows:
        _write_csv(path, sorted([*old, *rows], key=lambda row: int(row["frame"])))


def _write_truth(truth: Path, spec: FieldSpec, seed: int, frames: list[SimulatedFrame]) -> None:
    numbers = {frame.conditions.frame for frame in frames}
    conditions = []
    for frame in frames:
        row = asdict(frame.conditions)
        psf = row.pop("psf")
        row["flipped"] = int(row["flipped"])
        conditions.append(
            {"frame": row["frame"], "file": f"sim_{row['frame']:04d}.fits", "fwhm_px": psf["fwhm"], **row}
        )
    _extend_csv(truth / "frames.csv", conditions, numbers)
    _extend_csv(truth / "stars.csv", [row for frame in frames for row in frame.stars], numbers)
    _extend_csv(truth / "sources.csv", [row for frame in frames for row in frame.sources], numbers)
    path = truth / "field.json"
    psfs = json.loads(path.read_text())["psf"] if path.exists() else {}
    psfs |= {str(frame.conditions.frame): asdict(frame.conditions.psf) for frame in frames}
    path.write_text(json.dumps({
        "seed": seed, "spec": asdict(spec), "source_positions": _source_positions(spec), "psf": psfs,
    }, indent=1, default=_plain))  # fmt: skip


def _source_positions(spec: FieldSpec) -> dict[str, dict[str, list[float]]]:
    """Right ascension and declination of the point sources by ROI and name."""
    return {
        roi.name: {
            s.name: [float(v[0]) for v in radec(spec, roi.east + s.east, roi.north + s.north)]
            for s in roi.sources
        }
        for roi in spec.rois
    }


def _plain(value: object) -> float | int:
    """NumPy scalars for JSON."""
    if isinstance(value, np.integer):
        return int(value)
    return float(value)  # type: ignore[arg-type]
