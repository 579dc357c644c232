"""A LightCurver configuration translated: every key has a counterpart, or a reason why it needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightwatch.errors import ConfigError

_RECIPES = "not needed: what depends on a changed setting is redone by itself"
_CONVERGED = "not needed: the fit stops when it has converged"
_REPORT = "not needed: 'lightwatch report' draws"


@dataclass(frozen=True)
class Translation:
    """Values by dotted key, and a line for every key that was not carried over."""

    values: dict[str, Any]
    left_out: tuple[str, ...]
    workdir: Path
    header_parser: Path | None


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _letters(value: Any) -> list[str]:
    """Stars named by a string of letters, or a list of names."""
    return [str(item) for item in (value if isinstance(value, list) else str(value))]


def _number(value: Any) -> float:
    return float(value)  # YAML reads 2e-2 as text


#: LightCurver's key: our dotted key and how its value is translated
RENAMED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "files_match_pattern": ("files_match_pattern", _as_list),
    "hdu_data_index": ("importation.hdu_data", int),
    "hdu_header_indexes": ("importation.hdu_headers", _as_list),
    "trim_vertical": ("importation.trim_vertical_px", int),
    "trim_horizontal": ("importation.trim_horizontal_px", int),
    "multiprocessing_cpu_count": ("executor.jobs", int),
    "ROI_size": ("reference_stars.roi_exclusion_arcsec", _number),
    "do_background_subtraction": ("background.subtract", bool),
    "mask_sources_before_background": ("background.method", lambda two: "masked_mesh" if two else "mesh"),
    "source_extraction_threshold": ("source_extraction.threshold_sigma", _number),
    "source_extraction_min_area": ("source_extraction.min_area_px", int),
    "already_plate_solved": ("plate_solving.already_plate_solved", bool),
    "plate_scale_interval": (
        "plate_solving.pixel_scale_arcsec",
        lambda pair: [_number(item) for item in pair],
    ),
    "max_pixel_anisotropy": ("plate_solving.max_pixel_anisotropy", _number),
    "star_selection_strategy": ("reference_stars.strategy", str),
    "ROI_disk_radius_arcseconds": ("reference_stars.roi_disk_radius_arcsec", _number),
    "star_min_gmag": ("reference_stars.min_gmag", _number),
    "star_max_gmag": ("reference_stars.max_gmag", _number),
    "star_max_astrometric_excess_noise": ("reference_stars.max_astrometric_excess_noise_sig", _number),
    "min_phot_g_mean_flux_over_error": ("reference_stars.min_phot_g_mean_flux_over_error", _number),
    "min_number_stars": ("reference_stars.min_number", int),
    "gaia_provider": ("reference_stars.catalog", str),
    "stars_to_exclude_psf": ("psf.stars_to_exclude", _letters),
    "stars_to_exclude_norm": ("normalization.stars_to_exclude", _letters),
    "stamp_size_stars": ("cutouts.star_size_px", int),
    "stamp_size_ROI": ("cutouts.roi_size_px", int),
    "mask_bad_rows_and_columns": ("cutouts.mask_bad_rows_and_columns", bool),
    "clean_cosmics": ("cutouts.clean_cosmics", bool),
    "subsampling_factor": ("psf.subsampling_factor", int),
    "star_photometry_uniform_background_per_epoch": ("star_photometry.local_background", bool),
    "constraints_on_frame_columns_for_roi": ("calibrated_cutouts.constraints_on_frame_columns", dict),
    "do_ROI_model": ("roi_model.enabled", bool),
}
#: keys that are carried over by functions of their own below
_SPECIAL = (
    "raw_dirs", "ROI", "point_sources", "telescope", "stars_to_use_psf", "stars_to_use_norm",
    "photometric_band",
    "cosmics_masking_params", "constraints_on_normalization_coeff", "fix_point_source_astrometry",
)  # fmt: skip
#: keys without a counterpart, and why
LEFT_OUT = {
    "workdir": "the new workdir is the directory of this file",
    "background_estimation_n_boxes": "background.box_size_px is the side of a box in pixels instead",
    "source_extraction_do_plots": _REPORT,
    "plate_solve_frames": _RECIPES,
    "plate_solving_strategy": "not needed: header, catalogue and solved frames are tried in turn",
    "reference_frame_for_wcs": "not needed: solved frames serve as guesses for the others",
    "alternate_plate_solve_gaia_radius": "not needed: the radius follows from the frames",
    "astrometry_net_api_key": "not used; solve-field is, when installed",
    "plate_solving_min_success_fraction": "not used: 'lightwatch status' and the exit code tell",
    "gaia_query_redo": _RECIPES,
    "redo_stamp_extraction": _RECIPES,
    "redo_psf": _RECIPES,
    "redo_star_photometry": _RECIPES,
    "field_distortion": "not needed: the PSF varies across the frame when the stars show it",
    "psf_n_iter_analytic": _CONVERGED,
    "psf_n_iter_pixels": _CONVERGED,
    "star_deconv_n_iter": _CONVERGED,
    "roi_deconv_translations_iters": _CONVERGED,
    "roi_deconv_all_iters": _CONVERGED,
    "psf_fit_exclude_strategy": "normalization.max_psf_chi2 is the limit instead",
    "fluxes_fit_exclude_strategy": "not needed: outliers are found by the robust fit of the normalization",
    "star_photometry_starlet_global_background": "not needed: neighbours are modelled",
    "prepared_roi_cutouts_path": "always prepared_roi_cutouts/ of the workdir",
    "starting_background": "not needed: the background starts from zero",
    "further_optimize_background": "roi_model.background switches it",
    "roi_model_regularization": "not needed: strengths are found by the evidence",
}


def translate(path: Path) -> Translation:
    """Our keys for a LightCurver config file.

    Raises
    ------
    ConfigError
        When the file cannot be read, or a value cannot be translated.
    """
    old = _read(path)
    values: dict[str, Any] = {}
    left_out: list[str] = []
    for key, value in old.items():
        if key in RENAMED and value is not None:
            ours, convert = RENAMED[key]
            values[ours] = _converted(path, key, value, convert)
        elif key not in RENAMED and key not in _SPECIAL:
            left_out.append(f"{key}: {LEFT_OUT.get(key, 'unknown to lightwatch')}")
    values |= _targets(path, old)
    for special in (_directories, _telescope, _star_names, _cosmics, _limits, _band):
        found, remarks = special(path, old)
        values |= found
        left_out += remarks
    workdir = _workdir(path, old)
    parser = workdir / "header_parser" / "parse_header.py"
    return Translation(values, tuple(left_out), workdir, parser if _is_file(parser) else None)


def _workdir(path: Path, old: Mapping[str, Any]) -> Path:
    """The directory that the configuration names; where there is none (it was moved), that of the file."""
    named = path.parent / str(old.get("workdir") or "")
    try:
        return named if named.is_dir() else path.parent
    except OSError:  # no path that a directory could have
        return path.parent


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no path that a file could have
        return False


def _read(path: Path) -> dict[str, Any]:
    try:
        old = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(old, dict) or not ({"ROI", "raw_dirs"} & set(old)):
        raise ConfigError(f"{path}: no LightCurver configuration: it has neither 'ROI' nor 'raw_dirs'")
    return old


def _converted(path: Path, key: str, value: Any, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{path}: {key}: cannot be translated (got {value!r})") from None


_Found = tuple[dict[str, Any], list[str]]


def _targets(path: Path, old: Mapping[str, Any]) -> dict[str, Any]:
    rois = old.get("ROI")
    if not isinstance(rois, Mapping) or not rois:
        raise ConfigError(f"{path}: ROI: expected a name with its coordinates")
    out: dict[str, Any] = {}
    for name, roi in rois.items():
        if not isinstance(roi, Mapping) or "coordinates" not in roi:
            raise ConfigError(f"{path}: ROI.{name}: expected coordinates: [ra, dec]")
        out[str(name)] = {"coordinates": roi["coordinates"]}
    sources = old.get("point_sources")
    if isinstance(sources, Mapping) and sources:
        out[next(iter(out))]["point_sources"] = {str(label): position for label, position in sources.items()}
    return {"rois": out}


def _directories(path: Path, old: Mapping[str, Any]) -> _Found:
    if not old.get("raw_dirs"):
        return {}, []
    return {"raw_dirs": [str((path.parent / str(raw)).absolute()) for raw in _as_list(old["raw_dirs"])]}, []


def _telescope(_path: Path, old: Mapping[str, Any]) -> _Found:
    given = old.get("telescope")
    if not isinstance(given, Mapping):
        return {}, []
    names = ("name", "latitude", "longitude", "elevation")
    remarks = (
        ["telescope.imager_name: the header parser's 'instrument' says it"] if "imager_name" in given else []
    )
    return {f"telescope.{name}": given[name] for name in names if given.get(name) is not None}, remarks


def _star_names(_path: Path, old: Mapping[str, Any]) -> _Found:
    values: dict[str, Any] = {}
    remarks = []
    for key, ours in (("stars_to_use_psf", "psf"), ("stars_to_use_norm", "normalization")):
        chosen = old.get(key)
        if isinstance(chosen, str | list):
            values[f"{ours}.stars_to_use"] = _letters(chosen)
        elif isinstance(chosen, int) and ours == "psf":
            values["psf.max_stars"] = chosen
        elif chosen is not None:
            remarks.append(f"{key}: a number of stars has no counterpart; all that serve are used")
    return values, remarks


def _cosmics(_path: Path, old: Mapping[str, Any]) -> _Found:
    given = old.get("cosmics_masking_params")
    if not isinstance(given, Mapping):
        return {}, []
    names = ("sigclip", "sigfrac", "objlim")
    return {f"cutouts.cosmics_{name}": given[name] for name in names if name in given}, []


def _limits(_path: Path, old: Mapping[str, Any]) -> _Found:
    values: dict[str, Any] = {}
    remarks = []
    given = old.get("constraints_on_normalization_coeff")
    if isinstance(given, Mapping):
        if "coefficient" in given:
            values["calibrated_cutouts.constraints_on_coefficient"] = given["coefficient"]
        others = [str(name) for name in given if name != "coefficient"]
        remarks += [f"constraints_on_normalization_coeff.{name}: no counterpart" for name in others]
    fixed = old.get("fix_point_source_astrometry")
    if fixed is not None:
        values["roi_model.astrometry"] = (
            {True: "fixed", False: "free"}[fixed] if isinstance(fixed, bool) else fixed
        )
    return values, remarks


def _band(_path: Path, old: Mapping[str, Any]) -> _Found:
    band = old.get("photometric_band")
    if not isinstance(band, str):
        return {}, []
    if band.endswith("_panstarrs"):
        return {}, [f"photometric_band: {band}: bands come from Gaia; choose zeropoints.band"]
    return {"zeropoints.band": band}, []
