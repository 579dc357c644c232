"""Which catalogue stars become reference stars of a region.

Independent of the order in which the stars are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lightwatch.processes.psf_star_selection import PsfStars, choose_psf_stars

__all__ = [
    "STRATEGIES",
    "CandidateStars",
    "PsfStars",
    "Selection",
    "StarCuts",
    "choose_psf_stars",
    "crowding",
    "distance_to_roi_arcsec",
    "members",
    "region_members",
    "select_stars",
    "star_names",
]

_ARCSEC_PER_RADIAN = 206264.80624709636
STRATEGIES = ("ROI_disk", "common_footprint_stars", "stars_per_frame")
_MOFFAT_BETA = 3.0  # wings of a typical seeing disk


@dataclass(frozen=True)
class CandidateStars:
    """Catalogue columns a selection needs, each (n,); NaN is unknown."""

    source_id: NDArray[np.int64]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    g_mag: NDArray[np.float64]
    astrometric_excess_noise_sig: NDArray[np.float64]
    flux_over_error: NDArray[np.float64]  # of the G flux: low for variables
    variable: NDArray[np.float64]  # 1, 0, NaN


@dataclass(frozen=True)
class StarCuts:
    """Limits on reference stars; None is no cut."""

    min_g_mag: float | None
    max_g_mag: float | None
    max_astrometric_excess_noise_sig: float | None
    min_flux_over_error: float | None
    max_contamination: float | None  # light of others over own light, in the aperture
    exclude_variable: bool
    unknown_passes: bool  # whether NaN passes a cut
    roi_exclusion_arcsec: float  # no star closer to a ROI
    max_number: int | None


@dataclass(frozen=True)
class Selection:
    """The outcome for every candidate, in the order in which they were given."""

    kept: NDArray[np.bool_]  # (n,)
    reason: NDArray[np.str_]  # (n,) name of the first cut that refused the star; empty when kept
    name: NDArray[np.str_]  # (n,) letters of kept stars, nearest to a ROI first; empty otherwise
    distance_to_roi_arcsec: NDArray[np.float64]  # (n,) to the nearest ROI
    nearest_neighbour_arcsec: NDArray[np.float64]  # (n,) inf when alone
    contamination: NDArray[np.float64]  # (n,)
    counts: tuple[tuple[str, int], ...]  # (cut, number refused by it), in the order of the cuts

    @property
    def order(self) -> NDArray[np.int64]:
        """Indices of the kept stars, nearest to a ROI first: star a, b, c .."""
        kept = np.flatnonzero(self.kept)
        names = self.name[kept]
        return kept[np.lexsort((names, np.char.str_len(names)))]


def _unit_vectors(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) directions: true on the whole sphere, poles and RA 0 included."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _arcsec_of_chord(chord: NDArray[np.float64]) -> NDArray[np.float64]:
    arcsec: NDArray[np.float64] = 2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)) * _ARCSEC_PER_RADIAN
    return arcsec


def _chord_of_arcsec(arcsec: float) -> float:
    return float(2.0 * np.sin(min(arcsec / _ARCSEC_PER_RADIAN, np.pi) / 2.0))


def distance_to_roi_arcsec(
    ra_deg: NDArray[np.float64],
    dec_deg: NDArray[np.float64],
    roi_ra_deg: NDArray[np.float64],
    roi_dec_deg: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Great-circle distance (n,) of each star to the nearest ROI."""
    rois = cKDTree(_unit_vectors(np.atleast_1d(roi_ra_deg), np.atleast_1d(roi_dec_deg)))
    chord, _ = rois.query(_unit_vectors(ra_deg, dec_deg))
    return _arcsec_of_chord(np.asarray(chord))


def region_members(
    strategy: str,
    *,
    distance_arcsec: NDArray[np.float64],
    radius_arcsec: float,
    in_frames: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Stars (n,) in the region of a strategy; ``in_frames`` is (n_frames, n).

    ``ROI_disk``: closer than the radius to a ROI; ``common_footprint_stars``: inside every frame;
    ``stars_per_frame``: inside at least one.  Raises ValueError for another strategy.
    """
    if strategy == "ROI_disk":
        return distance_arcsec <= radius_arcsec
    if strategy == "common_footprint_stars":
        return np.all(in_frames, axis=0) & (len(in_frames) > 0)
    if strategy == "stars_per_frame":
        return np.any(in_frames, axis=0)
    raise ValueError(f"strategy {strategy!r} is none of {STRATEGIES}")


def crowding(
    ra_deg: NDArray[np.float64],
    dec_deg: NDArray[np.float64],
    g_mag: NDArray[np.float64],
    *,
    fwhm_arcsec: float,
    aperture_radius_arcsec: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance to the nearest neighbour (arcsec), and light of others over own light in the aperture.

    The light is that of Moffat profiles (beta 3) of the given FWHM.  Contamination is NaN where the own
    magnitude is unknown, or that of a neighbour which reaches into the aperture.
    """
    count = len(ra_deg)
    vectors = _unit_vectors(ra_deg, dec_deg)
    tree = cKDTree(vectors)
    nearest = np.full(count, np.inf)
    if count > 1:
        nearest = _arcsec_of_chord(np.asarray(tree.query(vectors, k=2)[0])[:, 1])
    reach = aperture_radius_arcsec + 10.0 * fwhm_arcsec
    pairs = tree.query_pairs(_chord_of_arcsec(reach), output_type="ndarray").reshape(-1, 2)
    first, second = np.concatenate([pairs, pairs[:, ::-1]]).T
    separation = _arcsec_of_chord(np.linalg.norm(vectors[first] - vectors[second], axis=1))
    grid, fraction = _aperture_fraction(reach, fwhm_arcsec, aperture_radius_arcsec)
    share = np.interp(separation, grid, fraction) / fraction[0]
    ratio = np.power(10.0, -0.4 * (g_mag[second] - g_mag[first])) * share
    # a neighbour of unknown brightness in the outskirts says nothing; one in the aperture spoils it
    ignorable = np.isnan(g_mag[second]) & (separation > aperture_radius_arcsec + fwhm_arcsec)
    contamination = np.zeros(count)
    np.add.at(contamination, first, np.where(ignorable, 0.0, ratio))
    contamination[np.isnan(g_mag)] = np.nan
    return nearest, contamination


def _aperture_fraction(
    reach_arcsec: float, fwhm_arcsec: float, radius_arcsec: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of a Moffat source's light in a disk, on a grid of distances from the disk's centre."""
    alpha2 = (fwhm_arcsec / 2.0) ** 2 / (2.0 ** (1.0 / _MOFFAT_BETA) - 1.0)
    # midpoints of 48 rings of equal area and 48 angles: accurate to 1e-3 of the light
    ring = radius_arcsec * np.sqrt((np.arange(48) + 0.5) / 48)
    angle = (np.arange(48) + 0.5) * (2.0 * np.pi / 48)
    x, y = (ring[:, None] * np.cos(angle)).ravel(), (ring[:, None] * np.sin(angle)).ravel()
    distance = np.linspace(0.0, reach_arcsec, 257)
    r2 = (x[None, :] - distance[:, None]) ** 2 + y**2
    brightness = (_MOFFAT_BETA - 1.0) / (np.pi * alpha2) * (1.0 + r2 / alpha2) ** -_MOFFAT_BETA
    return distance, brightness.mean(axis=1) * np.pi * radius_arcsec**2


def select_stars(
    stars: CandidateStars,
    *,
    in_region: NDArray[np.bool_],
    roi_ra_deg: NDArray[np.float64],
    roi_dec_deg: NDArray[np.float64],
    cuts: StarCuts,
    excluded: Mapping[str, Sequence[int]],
    fwhm_arcsec: float,
    aperture_radius_arcsec: float,
) -> Selection:
    """Apply region, exclusion lists (reason -> source ids), cuts and the maximum number, in this order.

    ``stars`` should be the whole catalogue around the region: neighbours too faint to be selected count
    in the contamination.
    """
    distance = distance_to_roi_arcsec(stars.ra_deg, stars.dec_deg, roi_ra_deg, roi_dec_deg)
    nearest, contamination = crowding(
        stars.ra_deg,
        stars.dec_deg,
        stars.g_mag,
        fwhm_arcsec=fwhm_arcsec,
        aperture_radius_arcsec=aperture_radius_arcsec,
    )
    refusals = {"outside the region": ~in_region, "close to a ROI": distance < cuts.roi_exclusion_arcsec}
    for listed in sorted(excluded):
        refusals[listed] = np.isin(stars.source_id, np.asarray(excluded[listed], dtype=np.int64))
    refusals |= _cut_refusals(stars, contamination, cuts)

    reason = np.full(len(stars.source_id), "", dtype=f"U{max(len(key) for key in refusals) + 20}")
    counts = []
    for label, refused in refusals.items():
        now = refused & (reason == "")
        reason[now] = label
        counts.append((label, int(now.sum())))
    names, surplus = _named(stars.source_id, distance, reason == "", cuts.max_number)
    reason[surplus] = "beyond the maximum number"
    counts.append(("beyond the maximum number", int(surplus.sum())))
    return Selection(reason == "", reason, names, distance, nearest, contamination, tuple(counts))


def _cut_refusals(
    stars: CandidateStars, contamination: NDArray[np.float64], cuts: StarCuts
) -> dict[str, NDArray[np.bool_]]:
    """Stars refused by each cut, with its limit in the name; cuts that are None are not there."""
    noise, over_error = stars.astrometric_excess_noise_sig, stars.flux_over_error
    bounds: list[tuple[str, NDArray[np.float64], float | None, float | None]] = [
        ("g_mag", stars.g_mag, cuts.min_g_mag, cuts.max_g_mag),
        ("astrometric_excess_noise_sig", noise, None, cuts.max_astrometric_excess_noise_sig),
        ("flux_over_error", over_error, cuts.min_flux_over_error, None),
        ("variable", stars.variable, None, 0.5 if cuts.exclude_variable else None),
        ("contamination", contamination, None, cuts.max_contamination),
    ]
    refusals: dict[str, NDArray[np.bool_]] = {}
    for label, values, low, high in bounds:
        if low is not None:
            refusals[f"{label} below limit"] = values < low
        if high is not None:
            refusals[f"{label} above limit" if label != "variable" else label] = values > high
        if (low is not None or high is not None) and not cuts.unknown_passes:
            refusals[f"{label} unknown"] = np.isnan(values)
    return refusals


def _named(
    source_id: NDArray[np.int64],
    distance: NDArray[np.float64],
    eligible: NDArray[np.bool_],
    max_number: int | None,
) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """Letters by distance to a ROI, then by id; and the stars beyond the maximum number."""
    # rounded: the order must not hang on the last bit of a sine
    ranked = np.lexsort((source_id, np.round(distance, 6)))
    ranked = ranked[eligible[ranked]]
    surplus = np.zeros(len(source_id), dtype=bool)
    if max_number is not None:
        surplus[ranked[max_number:]] = True
        ranked = ranked[:max_number]
    names = np.full(len(source_id), "", dtype="U8")
    names[ranked] = star_names(len(ranked))
    return names, surplus


def star_names(count: int) -> list[str]:
    """a .. z, aa, ab .. az, ba ..: the first ``count`` of them."""
    return [_letters(i) for i in range(count)]


def _letters(index: int) -> str:
    """Bijective base 26."""
    quotient, remainder = divmod(index, 26)
    return (_letters(quotient - 1) if quotient else "") + chr(ord("a") + remainder)


def members(
    source_id: NDArray[np.int64], name: NDArray[np.str_], wanted: Sequence[str | int]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Stars (n,) meant by a list of letters or source ids, and the entries that mean no star."""
    texts = [str(entry) for entry in wanted]
    ids = source_id.astype(np.str_)
    meant: NDArray[np.bool_] = np.isin(name, [text for text in texts if text]) | np.isin(ids, texts)
    known = {*name[meant], *ids[meant]} - {""}
    return meant, tuple(text for text in texts if text not in known)
