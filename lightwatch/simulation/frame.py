"""One simulated exposure: conditions, scene, detector, and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import NDArray

from lightwatch.simulation.extended import arc_profile, extended_image, lens_profile, sersic_profile
from lightwatch.simulation.psf import SimulatedPsf, draw_psf, star_image
from lightwatch.simulation.sky import (
    Columns,
    radec,
    rng_for,
    source_magnitude,
    star_magnitudes,
    star_positions,
)
from lightwatch.simulation.spec import FieldSpec

Floats = NDArray[np.float64]
Rows = list[dict[str, float | int | str]]

BOUND_SIZE = 24  # side of the cutout (pixels) on which Cramer-Rao bounds are given


@dataclass(frozen=True)
class Conditions:
    """What changes from frame to frame. Times are MJD (UTC) of start and middle of the exposure."""

    frame: int
    band: str
    mjd: float
    mjd_mid: float
    gain: float
    read_noise: float
    seeing_arcsec: float
    transparency: float
    sky_adu: float
    sky_gx: float
    sky_gy: float
    sky_g2: float
    dither_east: float
    dither_north: float
    rotation: float
    flipped: bool
    wcs_err_east: float
    wcs_err_north: float
    wcs_err_rotation: float
    n_cosmics: int
    psf: SimulatedPsf


@dataclass(frozen=True)
class SimulatedFrame:
    """Image in ADU with its header, and the truth: one row per frame, star and point source.

    Rows of stars and sources give ``x``, ``y`` (0-based pixels), ``flux_top`` (electron/s above the
    atmosphere), ``flux`` (at the detector, whole PSF) and ``crb``, the Cramer-Rao bound on ``flux`` with
    everything but the fluxes of the ROI's sources (or of the star) known.
    """

    image: NDArray
    header: fits.Header
    conditions: Conditions
    stars: Rows
    sources: Rows


def draw_conditions(spec: FieldSpec, seed: int, k: int) -> Conditions:
    """The conditions of frame k, whatever the number of frames."""
    rng = rng_for(seed, "conditions", k)
    low, high = spec.seeing_arcsec
    seeing = float(np.clip(rng.lognormal(np.log(0.9 * np.sqrt(low * high) / 0.917), 0.25), low, high))
    mjd = spec.start_mjd + spec.cadence_days * k + 0.2 + spec.cadence_jitter_days * rng.uniform(-1, 1)
    clear, opaque = spec.transparency[1], spec.transparency[0]
    cloud = rng.beta(4, 1.3) if rng.random() < 0.6 else rng.uniform()
    wrong = spec.wcs == "wrong"
    error = 60.0 if wrong else 0.03
    return Conditions(
        frame=k, band=spec.filters[k % len(spec.filters)], mjd=float(mjd),
        mjd_mid=float(mjd + spec.exptime / 86400 / 2),
        gain=float(rng.choice(spec.gain)), read_noise=float(rng.uniform(*spec.read_noise)),
        seeing_arcsec=seeing, transparency=float(opaque + (clear - opaque) * cloud),
        sky_adu=float(np.exp(rng.uniform(*np.log(spec.sky_adu)))),
        sky_gx=float(rng.uniform(-0.06, 0.06)), sky_gy=float(rng.uniform(-0.06, 0.06)),
        sky_g2=float(rng.uniform(-0.03, 0.03)),
        dither_east=float(rng.normal(0, spec.dither_arcsec) + k * spec.drift_arcsec_per_frame[0]),
        dither_north=float(rng.normal(0, spec.dither_arcsec) + k * spec.drift_arcsec_per_frame[1]),
        rotation=float(rng.uniform(*spec.rotation_deg)), flipped=bool(rng.random() < spec.flip_probability),
        wcs_err_east=float(rng.normal(0, error)), wcs_err_north=float(rng.normal(0, error)),
        wcs_err_rotation=3.0 if wrong else 0.0,
        n_cosmics=int(rng.poisson(spec.cosmics)) if rng.random() < 0.6 else 0,
        psf=draw_psf(rng, seeing / spec.pixel_scale),
    )  # fmt: skip


def frame_wcs(spec: FieldSpec, conditions: Conditions, *, of_header: bool = False) -> WCS:
    """True TAN WCS of a frame, or the one its header tells (with its errors)."""
    ra, dec = (v[0] for v in radec(spec, conditions.dither_east, conditions.dither_north))
    angle = np.radians(conditions.rotation + (conditions.wcs_err_rotation if of_header else 0))
    if of_header:
        ra = ra + conditions.wcs_err_east / 3600 / np.cos(np.radians(dec))
        dec = dec + conditions.wcs_err_north / 3600
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [spec.shape[1] / 2 + 0.5, spec.shape[0] / 2 + 0.5]
    parity = -1.0 if conditions.flipped else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    wcs.wcs.cd = spec.pixel_scale / 3600 * np.array([[-parity * cos, sin], [parity * sin, cos]])
    wcs.wcs.set()
    return wcs


@dataclass(frozen=True)
class _Placed:
    """A point source in the frame: its pixel, flux in electrons, and unit image around the pixel."""

    x: float
    y: float
    electrons: float
    unit: Floats

    @property
    def pixel(self) -> tuple[int, int]:
        return round(self.x), round(self.y)


def local_psf(spec: FieldSpec, conditions: Conditions, x: float) -> SimulatedPsf:
    """The PSF at column x: its FWHM may grow across the frame."""
    if spec.psf_gradient == 0:
        return conditions.psf
    return conditions.psf.stretched(1 + spec.psf_gradient * (x / spec.shape[1] - 0.5))


def _add(image: Floats, patch: Floats, ix: int, iy: int) -> None:
    """Add a patch centred on pixel (ix, iy), cut at the edges."""
    half = patch.shape[0] // 2
    y0, x0 = max(0, iy - half), max(0, ix - half)
    y1, x1 = min(image.shape[0], iy + half + 1), min(image.shape[1], ix + half + 1)
    if y1 > y0 and x1 > x0:
        image[y0:y1, x0:x1] += patch[y0 - iy + half : y1 - iy + half, x0 - ix + half : x1 - ix + half]


def _place(scene: Floats, spec: FieldSpec, conditions: Conditions, x: float, y: float, top: float) -> _Placed:
    """Draw a point source of ``top`` electron/s above the atmosphere into the scene."""
    electrons = top * conditions.transparency * spec.exptime
    reach = 150 if electrons > 3e5 else 80 if electrons > 3e4 else 50 if electrons > 5e3 else 32
    ix, iy = round(x), round(y)
    unit = star_image(local_psf(spec, conditions, x), x - ix, y - iy, reach)
    _add(scene, electrons * unit, ix, iy)
    near = slice(reach - 16, reach + 17)
    return _Placed(x, y, electrons, unit[near, near])


def _draw_stars(
    scene: Floats, spec: FieldSpec, conditions: Conditions, wcs: WCS, stars: Columns
) -> list[tuple[int, float, _Placed]]:
    """All stars that reach the frame; (index, flux_top, placed) of those whose centre is inside."""
    ra, dec = star_positions(stars, conditions.mjd_mid)
    x, y = wcs.all_world2pix(ra, dec, 0)
    top = 10 ** (-0.4 * (star_magnitudes(stars, spec, conditions.band, conditions.mjd_mid) - spec.zeropoint))
    ny, nx = scene.shape
    placed = []
    for i in np.flatnonzero((x > -60) & (x < nx + 60) & (y > -60) & (y < ny + 60)):
        source = _place(scene, spec, conditions, float(x[i]), float(y[i]), float(top[i]))
        if 0 <= x[i] < nx and 0 <= y[i] < ny:
            placed.append((int(i), float(top[i]), source))
    return placed


def _draw_extended(
    scene: Floats, spec: FieldSpec, conditions: Conditions, wcs: WCS, galaxies: Columns
) -> None:
    """Galaxies of the field, and the lens galaxies and arcs of the lensed targets."""
    profiles = [
        (g["east"], g["north"], g["mag"], sersic_profile(g["r_eff"], 1.0, g["q"], g["pa"]))
        for g in (dict(zip(galaxies, row, strict=True)) for row in zip(*galaxies.values(), strict=True))
    ]
    for roi in spec.rois:
        if roi.lens:
            place = roi.east + 0.03, roi.north - 0.08
            profiles += [(*place, 20.3, lens_profile()), (*place, 21.0, arc_profile())]
    cd = wcs.wcs.cd * 3600
    for east, north, mag, profile in profiles:
        x, y = (float(v[0]) for v in wcs.all_world2pix(*radec(spec, east, north), 0))
        if -20 < x < scene.shape[1] + 20 and -20 < y < scene.shape[0] + 20:
            psf = local_psf(spec, conditions, x)
            image = extended_image(profile, cd, psf, x - round(x), y - round(y))
            electrons = 10 ** (-0.4 * (mag - spec.zeropoint)) * conditions.transparency * spec.exptime
            _add(scene, electrons * image, round(x), round(y))


def _draw_sources(
    scene: Floats, spec: FieldSpec, seed: int, conditions: Conditions, wcs: WCS
) -> list[tuple[str, list[tuple[str, float, _Placed]]]]:
    """The point sources of every ROI: (name of the ROI, [(source, magnitude, placed)])."""
    placed = []
    for roi in spec.rois:
        members = []
        for source in roi.sources:
            position = radec(spec, roi.east + source.east, roi.north + source.north)
            x, y = (float(v[0]) for v in wcs.all_world2pix(*position, 0))
            mag = source_magnitude(spec, seed, roi, source, conditions.band, conditions.mjd_mid)
            top = 10 ** (-0.4 * (mag - spec.zeropoint))
            members.append((source.name, mag, _place(scene, spec, conditions, x, y, top)))
        placed.append((roi.name, members))
    return placed


def _sky(spec: FieldSpec, conditions: Conditions) -> Floats:
    """Sky in electrons per pixel, with gradients."""
    ny, nx = spec.shape
    y, x = np.meshgrid(np.arange(ny) / ny - 0.5, np.arange(nx) / nx - 0.5, indexing="ij")
    shape = 1 + 2 * (conditions.sky_gx * x + conditions.sky_gy * y) + 4 * conditions.sky_g2 * (x**2 + y**2)
    return conditions.sky_adu * conditions.gain * shape


def _cosmics(electrons: Floats, rng: np.random.Generator, count: int) -> NDArray[np.bool_]:
    """Add tracks of cosmic rays; True where they are."""
    hit = np.zeros(electrons.shape, bool)
    ny, nx = electrons.shape
    for _ in range(count):
        step = np.arange(rng.integers(1, 26))
        angle, x0, y0 = rng.uniform(0, 2 * np.pi), rng.uniform(0, nx), rng.uniform(0, ny)
        energy = np.exp(rng.uniform(np.log(500), np.log(15000)))
        x = np.round(x0 + step * np.cos(angle)).astype(int)
        y = np.round(y0 + step * np.sin(angle)).astype(int)
        inside = (x >= 0) & (y >= 0) & (x < nx) & (y < ny)
        electrons[y[inside], x[inside]] += energy
        hit[y[inside], x[inside]] = True
    return hit


def joint_flux_bound(units: Floats, variance: Floats) -> Floats:
    """Cramer-Rao bounds (1 sigma) on the fluxes of overlapping sources, positions and the rest known.

    units: (n_sources, ny, nx) images of unit flux; variance: (ny, nx) of the data. Result (n_sources,).
    """
    flat = units.reshape(len(units), -1)
    information = (flat / variance.ravel()) @ flat.T
    return np.sqrt(np.diag(np.linalg.inv(information)))


def _star_rows(
    frame: SimulatedFrame, scene: Floats, variance: Floats, hit: NDArray[np.bool_], stars: Columns,
    placed: list[tuple[int, float, _Placed]], spec: FieldSpec,
) -> Rows:  # fmt: skip
    rows: Rows = []
    half, saturated = BOUND_SIZE // 2, np.asarray(frame.image >= spec.saturation_adu)
    ny, nx = scene.shape
    core = slice(16 - half, 16 + half)
    for index, top, star in placed:
        ix, iy = star.pixel
        inside = half <= ix < nx - half and half <= iy < ny - half
        row: dict[str, float | int | str] = {
            "frame": frame.conditions.frame, "source_id": int(stars["source_id"][index]), "x": star.x,
            "y": star.y, "flux_top": top, "flux": top * frame.conditions.transparency, "inside": int(inside),
            "crb": np.nan, "snr": np.nan, "blend": np.nan, "n_cosmic": 0, "n_saturated": 0,
        }  # fmt: skip
        if inside:
            cut = slice(iy - half, iy + half), slice(ix - half, ix + half)
            unit = star.unit[core, core]
            own = variance[cut] - scene[cut] + star.electrons * unit
            information = float(np.sum(unit**2 / own))
            others = scene[cut] - star.electrons * unit
            row |= {
                "crb": information**-0.5 / spec.exptime, "snr": star.electrons * information**0.5,
                "blend": float(np.sum(unit * others / own)) / information / star.electrons,
                "n_cosmic": int(hit[cut].sum()), "n_saturated": int(saturated[cut].sum()),
            }  # fmt: skip
        rows.append(row)
    return rows


def _source_rows(
    conditions: Conditions, variance: Floats, spec: FieldSpec,
    placed: list[tuple[str, list[tuple[str, float, _Placed]]]],
) -> Rows:  # fmt: skip
    rows: Rows = []
    for roi, members in placed:
        bounds = _roi_bounds(variance, [member for _, _, member in members])
        for (name, mag, source), bound in zip(members, bounds, strict=True):
            flux = source.electrons / spec.exptime
            rows.append({
                "frame": conditions.frame, "roi": roi, "source": name, "x": source.x, "y": source.y,
                "mag": mag,
                "flux_top": flux / conditions.transparency, "flux": flux, "crb": float(bound) / spec.exptime,
            })  # fmt: skip
    return rows


def _roi_bounds(variance: Floats, members: list[_Placed]) -> Floats:
    """Joint bounds (electrons) on the fluxes of the sources of one ROI; NaN where one is off the frame."""
    units = np.zeros((len(members), *variance.shape))
    for unit, member in zip(units, members, strict=True):
        _add(unit, member.unit, *member.pixel)
    if not members or not all(unit.sum() > 0.5 for unit in units):
        return np.full(len(members), np.nan)
    lit = units.any(axis=0)
    return joint_flux_bound(units[:, lit], variance[lit])


def _header(spec: FieldSpec, conditions: Conditions) -> fits.Header:
    header = fits.Header()
    if spec.wcs != "none":
        header.update(frame_wcs(spec, conditions, of_header=True).to_header())
    header["EXPTIME"] = (spec.exptime, "s")
    header["GAIN"] = (conditions.gain, "electron/ADU")
    header["RDNOISE"] = (conditions.read_noise, "electron")
    header["SATURATE"] = (spec.saturation_adu, "ADU")
    header["FILTER"] = conditions.band
    header["DATE-OBS"] = (Time(conditions.mjd, format="mjd").isot, "UTC, start")
    header["MJD-OBS"] = (conditions.mjd, "UTC, start")
    header["OBJECT"] = "SIMULATED"
    header["PIXSCALE"] = (spec.pixel_scale, "arcsec per pixel")
    header["BUNIT"] = "adu"
    return header


def simulate_frame(spec: FieldSpec, seed: int, k: int, stars: Columns, galaxies: Columns) -> SimulatedFrame:
    """Frame k of the field whose sky was drawn with draw_stars and draw_galaxies."""
    conditions = draw_conditions(spec, seed, k)
    wcs = frame_wcs(spec, conditions)
    scene = np.zeros(spec.shape)
    placed = _draw_stars(scene, spec, conditions, wcs, stars)
    _draw_extended(scene, spec, conditions, wcs, galaxies)
    targets = _draw_sources(scene, spec, seed, conditions, wcs)
    expected = scene + _sky(spec, conditions)
    noise = rng_for(seed, "noise", k)
    electrons = noise.poisson(expected).astype(float)
    hit = _cosmics(electrons, rng_for(seed, "cosmics", k), conditions.n_cosmics)
    electrons += noise.normal(0, conditions.read_noise, electrons.shape)
    adu = np.minimum(electrons / conditions.gain, spec.saturation_adu)
    image = np.round(np.maximum(adu, 0)).astype(np.uint16) if spec.integer_adu else adu.astype(np.float32)
    variance = expected + conditions.read_noise**2
    frame = SimulatedFrame(image, _header(spec, conditions), conditions, [], [])
    star_rows = _star_rows(frame, scene, variance, hit, stars, placed, spec)
    source_rows = _source_rows(conditions, variance, spec, targets)
    return SimulatedFrame(image, frame.header, conditions, star_rows, source_rows)
