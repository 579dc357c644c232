"""Which pixels not to trust, and why: one bit per reason."""

from __future__ import annotations

import astroscrappy
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from lightwatch.errors import ProcessError
from lightwatch.flags import UNUSABLE_PIXEL, Flag
from lightwatch.processes.cutouts import extract_cutouts

_FWHM_PER_SIGMA = 2.354820045
_UNKNOWN_FWHM_PX = 2.0  # the narrowest stars met, hence the most careful choice
#: stars may be this much sharper than the mean round star: ellipticity, variation over the field
_SHARPNESS_MARGIN = 0.75
_SHARPNESS_SIGMA = 3.0
_FEWEST_STARS = 6  # that tell how sharp stars are
_STRUCK_PERCENT = 5.0  # of stars, at most, have a cosmic ray or a hot pixel at their peak
#: L.A.Cosmic looks 6 pixels around; one that is struck touches the tiles within _REACH_PX
_TILE_PX, _TILE_MARGIN_PX, _REACH_PX = 16, 8, 2
_HOT_NEIGHBOUR, _HOT_MEAN = 0.3, 0.15
_BLANK_SQUARE_PX, _NEARLY_ALL = 16, 0.95
_LINE_NEIGHBOURHOOD = 25  # lines compared with
_LEAST_OFFSET = 1.0  # sigma of a pixel; medians of quantised data wander by less
_NEIGHBOUR_AXES = ((0, 1), (1, 0), (1, 1), (1, -1))  # (dy, dx)


def bad_pixels(
    image: NDArray[np.floating], bad_pixel_map: NDArray[np.integer] | NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Not finite, or set (non-zero) in the detector's map of bad pixels, (ny, nx).

    Raises ProcessError ``bad_pixel_map_shape`` when the map is of another shape.
    """
    bad = ~np.isfinite(image)
    if bad_pixel_map is None:
        return bad
    if bad_pixel_map.shape != image.shape:
        raise ProcessError(
            "bad_pixel_map_shape", f"bad pixel map {bad_pixel_map.shape} for a frame {image.shape}"
        )
    return bad | (bad_pixel_map != 0)


def blank_areas(image: NDArray[np.float32], saturation_adu: float) -> NDArray[np.bool_]:
    """Areas (ny, nx) that were never exposed or filled in later: squares of 16 pixels that all have one value.

    No sky with noise looks so. Saturated areas (at or above ``saturation_adu``) are none of them, nor is a frame
    that is nearly all of one value: that is judged as a whole.
    """
    size = _BLANK_SQUARE_PX
    my, mx = image.shape[0] // size, image.shape[1] // size
    value, blank = np.zeros((my, mx), np.float32), np.zeros((my, mx), bool)
    for i in range(my):
        row = image[i * size : (i + 1) * size, : mx * size].reshape(size, mx, size)
        value[i] = row.min(axis=(0, 2))
        blank[i] = (value[i] == row.max(axis=(0, 2))) & ~(value[i] >= saturation_adu)
    result = np.zeros(image.shape, bool)
    if not blank.any() or blank.mean() > _NEARLY_ALL:
        return result
    for filled in np.unique(value[blank]):
        around = grow(blank & (value == filled), 1)
        for i, j in zip(*np.nonzero(around), strict=True):
            square = (
                slice(i * size, (i + 1) * size if i < my - 1 else None),
                slice(j * size, (j + 1) * size if j < mx - 1 else None),
            )
            result[square] |= image[square] == filled
    return result


def hot_pixels(
    image: NDArray[np.float32], background_rms: NDArray[np.float32], good: NDArray[np.bool_], n_sigma: float
) -> NDArray[np.bool_]:
    """Single pixels (ny, nx) far above all that surrounds them: hot ones, and the shortest cosmic rays.

    ``image`` sky-subtracted. The light of a star of FWHM 1.5 px, centred on a pixel, is 0.37 of the middle in
    each of the four next pixels; a pixel above ``n_sigma`` whose brightest neighbour has less than
    ``_HOT_NEIGHBOUR`` of it and whose neighbours have less than ``_HOT_MEAN`` on average is no light.
    """
    light = np.where(good, image, 0).astype(np.float32)
    padded = np.pad(light, 1, mode="reflect")
    y, x = np.nonzero(good & (light > n_sigma * background_rms))
    peak = light[y, x]
    around = np.stack([padded[y + 1 + dy, x + 1 + dx] for dy, dx in ((0, -1), (0, 1), (-1, 0), (1, 0))])
    lonely = (around.max(0) < _HOT_NEIGHBOUR * peak) & (around.mean(0) < _HOT_MEAN * peak)
    hot = np.zeros(image.shape, bool)
    hot[y[lonely], x[lonely]] = True
    return hot


def bad_lines(
    image: NDArray[np.float32], background_rms: NDArray[np.float32], good: NDArray[np.bool_], n_sigma: float
) -> NDArray[np.bool_]:
    """Rows and columns that differ as a whole from those around them, (ny, nx) True = bad.

    ``image`` sky-subtracted electron/s. The median significance over each line is compared with the median
    of 25 lines around it; a line is bad beyond ``n_sigma`` of the scatter of lines *and* when more than
    a sigma of a pixel off, or when more than half of its pixels are not good.
    """
    significance = np.where(good, image / background_rms, np.nan).astype(np.float32)
    rows = _line_is_bad(significance, n_sigma)
    columns = _line_is_bad(significance.T, n_sigma)
    return rows[:, None] | columns[None, :]


def cosmic_rays(
    image: NDArray[np.float32],
    background_rms: NDArray[np.float32],
    mask: NDArray[np.integer],
    *,
    exptime: float,
    fwhm_px: float,
    ellipticity: float,
    star_x: NDArray[np.float64],
    star_y: NDArray[np.float64],
    sigclip: float,
    sigfrac: float,
    objlim: float,
    max_iterations: int,
) -> NDArray[np.bool_]:
    """Pixels (ny, nx) struck by cosmic rays in a sky-subtracted ``image`` electron/s.

    L.A.Cosmic (van Dokkum 2001, PASP 113, 1420; library astroscrappy) in electrons. It is run on tiles
    around pixels that are sharper than stars of ``fwhm_px`` and ``ellipticity`` (NaN: unknown) can be, and
    sharper than the brighter stars of the frame at ``star_x, star_y`` (may be empty) are; what it finds is
    kept next to such a pixel. So cores of undersampled or comatic stars are spared, and most of
    the frame needs no work. Hot pixels are found, too. ``mask``: bits already known (bad, saturated); such
    pixels are ignored.
    """
    ignored = ((mask & np.int32(UNUSABLE_PIXEL)) != 0) | ~np.isfinite(image) | ~np.isfinite(background_rms)
    data, rms = np.where(ignored, 0, image), np.where(ignored, 1, background_rms)
    minor_fwhm_px = fwhm_px * np.sqrt(1 - ellipticity)  # the axis along which a star is sharpest
    peaks = _star_peaks(data, star_x, star_y)
    sharp = _sharper_than_stars(data, rms, ignored, exptime, minor_fwhm_px, peaks, sigclip)
    struck = np.zeros(image.shape, bool)
    if not sharp.any():
        return struck
    rows, columns = _tiles_around(sharp)
    size, centre = _TILE_PX + 2 * _TILE_MARGIN_PX, (_TILE_PX - 1) / 2
    tiles, tile_rms, tile_ignored = (
        extract_cutouts(array, columns + centre, rows + centre, size, fill=fill).values.reshape(-1, size)
        for array, fill in ((data, 0), (rms, 1), (ignored, True))
    )
    electrons = (tiles * exptime).astype(np.float32)
    found, _ = astroscrappy.detect_cosmics(
        electrons,
        inmask=tile_ignored,
        invar=((tile_rms * exptime) ** 2 + np.maximum(electrons, 0)).astype(np.float32),
        sigclip=sigclip,
        sigfrac=sigfrac,
        objlim=objlim,
        gain=1.0,
        readnoise=0.0,
        satlevel=np.inf,
        niter=max_iterations,
    )
    inner = slice(_TILE_MARGIN_PX, _TILE_MARGIN_PX + _TILE_PX)
    for tile, y, x in zip(found.reshape(-1, size, size)[:, inner, inner], rows, columns, strict=True):
        window = struck[y : y + _TILE_PX, x : x + _TILE_PX]
        window |= tile.astype(bool)[: window.shape[0], : window.shape[1]]
    return (sharp | (struck & grow(sharp, 1))) & ~ignored


def combine_mask(
    bad: NDArray[np.bool_],
    saturated: NDArray[np.bool_],
    cosmic_ray: NDArray[np.bool_],
    *,
    grow_saturated_px: int,
    grow_px: int,
) -> NDArray[np.int32]:
    """Mask (ny, nx) int32 of the bits BAD, SATURATED, COSMIC_RAY and NEIGHBOUR_OF_BAD.

    Saturated regions grow by ``grow_saturated_px`` (the bit SATURATED itself: light that bled); everything
    then gets a rim of ``grow_px`` pixels of NEIGHBOUR_OF_BAD.
    """
    saturated = grow(saturated, grow_saturated_px)
    mask = np.where(bad, np.int32(Flag.BAD), np.int32(0))
    mask |= np.where(saturated, np.int32(Flag.SATURATED), np.int32(0))
    mask |= np.where(cosmic_ray, np.int32(Flag.COSMIC_RAY), np.int32(0))
    flagged = mask != 0
    mask |= np.where(grow(flagged, grow_px) & ~flagged, np.int32(Flag.NEIGHBOUR_OF_BAD), np.int32(0))
    return mask


def grow(flagged: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    """Dilate by a disc of ``radius_px`` (0: a copy)."""
    if radius_px <= 0 or not flagged.any():
        return flagged.copy()
    offsets = range(-radius_px, radius_px + 1)
    disc = [(dy, dx) for dy in offsets for dx in offsets if dy**2 + dx**2 <= (radius_px + 0.5) ** 2]
    rim = np.pad(np.zeros_like(flagged), radius_px)
    y, x = np.nonzero(flagged)  # few
    for dy, dx in disc:
        rim[y + radius_px + dy, x + radius_px + dx] = True
    return rim[radius_px:-radius_px, radius_px:-radius_px]


def _line_is_bad(significance: NDArray[np.float32], n_sigma: float) -> NDArray[np.bool_]:
    """Of the rows of ``significance`` (NaN: not good)."""
    missing = np.isnan(significance).mean(axis=1) > 0.5
    middle = np.zeros(len(significance))
    middle[~missing] = _row_medians(significance[~missing])
    around = median_filter(middle, min(_LINE_NEIGHBOURHOOD, len(middle)), mode="reflect")
    off = middle - around
    scatter = 1.4826 * np.median(np.abs(off[~missing])) if not missing.all() else 0.0
    own_error = 1.2533 / np.sqrt(significance.shape[1])
    return missing | (np.abs(off) > np.maximum(n_sigma * max(scatter, own_error), _LEAST_OFFSET))


def _row_medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row without its NaN, which sorting puts last; every row has a number."""
    ordered = np.sort(values, axis=1)
    count = np.count_nonzero(~np.isnan(values), axis=1)
    rows = np.arange(len(values))
    return (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / np.float32(2)


def _tiles_around(sharp: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First rows and columns of the tiles that hold the sharp pixels and what is next to them."""
    y, x = np.nonzero(sharp)
    corners = [
        np.stack([np.clip(y + dy, 0, sharp.shape[0] - 1), np.clip(x + dx, 0, sharp.shape[1] - 1)])
        for dy in (-_REACH_PX, _REACH_PX)
        for dx in (-_REACH_PX, _REACH_PX)
    ]
    rows, columns = np.unique(np.concatenate(corners, axis=1) // _TILE_PX, axis=1) * _TILE_PX
    return rows, columns


def _sharper_than_stars(
    data: NDArray[np.floating],
    rms: NDArray[np.floating],
    ignored: NDArray[np.bool_],
    exptime: float,
    fwhm_px: float,
    star_peaks: tuple[NDArray[np.int64], NDArray[np.int64]],
    sigclip: float,
) -> NDArray[np.bool_]:
    """Significant pixels that stand out of a pair of opposite neighbours more than in any star.

    For a Gaussian star, wherever its centre, the mean of two opposite neighbours at distance d is at least
    exp(-d^2 / 2 sigma^2) times the pixel between them; where real stars are sharper, they set the limit.
    """
    fwhm = fwhm_px if np.isfinite(fwhm_px) else _UNKNOWN_FWHM_PX
    variance_px = (fwhm / _FWHM_PER_SIGMA) ** 2 + 1 / 12
    padded, padded_rms = np.pad(data, 1, mode="edge"), np.pad(rms, 1, mode="edge")
    padded_ignored = np.pad(ignored, 1, constant_values=True)
    y, x = np.nonzero((data > sigclip * rms) & ~ignored)
    peak = data[y, x]
    sharp = np.zeros(len(y), bool)
    for dy, dx in _NEIGHBOUR_AXES:
        ratio = np.exp(-0.5 * (dy * dy + dx * dx) / variance_px)
        ratio = _SHARPNESS_MARGIN * min(ratio, _ratio_of_stars(padded, star_peaks, dy, dx))
        first, second = (y + 1 + dy, x + 1 + dx), (y + 1 - dy, x + 1 - dx)
        pair = (padded[first] + padded[second]) / 2
        noise = np.sqrt(
            0.5 * (padded_rms[first] ** 2 + np.maximum(pair, 0) / exptime)
            + ratio**2 * (rms[y, x] ** 2 + peak / exptime)
        )
        known = ~(padded_ignored[first] | padded_ignored[second])
        sharp |= known & (ratio * peak - pair > _SHARPNESS_SIGMA * noise)
    result = np.zeros(data.shape, bool)
    result[y[sharp], x[sharp]] = True
    return result


def _star_peaks(
    data: NDArray[np.floating], star_x: NDArray[np.float64], star_y: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the brightest pixel next to each star, the brighter half of the stars."""
    if len(star_x) < _FEWEST_STARS:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    cut = extract_cutouts(data, star_x, star_y, 3, fill=-np.inf)
    brightest = cut.values.reshape(len(star_x), 9).argmax(axis=1)
    y, x = cut.y0 + brightest // 3, cut.x0 + brightest % 3
    peak = cut.values.reshape(len(star_x), 9).max(axis=1)
    chosen = np.isfinite(peak) & (peak >= np.median(peak))
    return y[chosen], x[chosen]


def _ratio_of_stars(
    padded: NDArray[np.floating], star_peaks: tuple[NDArray[np.int64], NDArray[np.int64]], dy: int, dx: int
) -> float:
    """Mean of two opposite neighbours over the peak of the sharpest stars, a struck few aside; 1: no star."""
    y, x = star_peaks
    if len(y) == 0:
        return 1.0
    pair = (padded[y + 1 + dy, x + 1 + dx] + padded[y + 1 - dy, x + 1 - dx]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = pair / padded[y + 1, x + 1]
    return float(np.clip(np.nanpercentile(ratio, _STRUCK_PERCENT), 0.05, 1))
