"""What every table, view and column of the database means: for docs/columns.md and for SQL in a browser.

A column's comment in the schema comes first; here stand words for names that mean the same wherever they occur.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, inspect

from lightwatch.structure.light_curve_columns import LIGHT_CURVE
from lightwatch.structure.schema import metadata

#: table or view: what a row of it is
TABLES: dict[str, str] = {
    "PSFs": "The PSF of a frame: its quality and the file that holds it.",
    "absolute_zeropoints": "Zero point of a frame in a band of a catalogue.",
    "alembic_version": "The version of this schema.",
    "catalog_star_photometry": "Catalogue magnitude of a star in a band.",
    "combined_footprint": "A choice of region and reference stars; the others hang on the one in use.",
    "files": "A raw file that was found, and what became of it.",
    "footprints": "Outline of a frame on the sky.",
    "frames": "An imported frame: when, where from, conditions, WCS. 'eliminated' and 'comment' are yours to write.",
    "group_results": "Result of a step that takes many frames at once, such as a normalization or a model.",
    "normalization_coefficients": "What a frame is divided by, so that frames of a filter have a common scale.",
    "normalization_exclusions": "A star, a frame or one flux that the normalization left out or trusted less.",
    "normalization_stars": "A reference star as the normalization of a filter judged it.",
    "plate_solve_attempts": "A way to solve a frame that was tried, and what came out.",
    "point_sources": "A point source of an ROI, as configured.",
    "regions": "The cutouts of the stars of a frame: a file.",
    "roi_flux": "Flux of a point source in a frame; the view light_curves has those under the settings in force alone.",
    "roi_models": "Prepared cutouts and joint model of an ROI in a filter.",
    "rois": "A region of interest, as configured.",
    "runs": "A run of the program, and how it ended.",
    "star_flux_in_frame": "Flux of a reference star in a frame.",
    "stars": "A reference star of a choice.",
    "stars_in_frames": "Place of a reference star in a frame.",
    "task_counts": "Number of results by step, settings and state; kept by the database itself.",
    "task_errors": "An error that will be tried again, as the run met it.",
    "task_recipes": "A step, and the settings in use that decide its numbers.",
    "task_results": "Result of a step for a frame; delete a row to have it done again.",
    "current_psfs": "View: the PSF in force of each frame.",
    "current_star_fluxes": "View: fluxes of reference stars in force, normalised too.",
    "frame_quality": "View: seeing, sky, depth, PSF, coefficient and zero point of each frame side by side.",
    "light_curves": "View: the light curves in force; a row per ROI, point source and frame.",
    "progress": "View: how far each step is.",
}
#: words for names that say the same in every table; a unit or a detail is in the schema's comment
_WORDS: dict[str, str] = {
    "airmass": "airmass at mid-exposure",
    "altitude": "of the ROI above the horizon",
    "aperture_flux": "in an aperture",
    "aperture_flux_uncertainty": "of aperture_flux",
    "astrometric_rms_dec_arcsec": "residuals of the WCS in declination, rms",
    "astrometric_rms_ra_arcsec": "residuals of the WCS in right ascension, rms",
    "at": "when it happened",
    "attempts": "how often it was tried",
    "azimuth": "of the ROI, from north through east",
    "background_rms_electron_per_second": "noise of the sky",
    "band": "band of the catalogue's magnitudes",
    "catalog": "catalogue that the magnitude is from",
    "catalog_digest": "of the reference catalogue's content",
    "catalog_name": "reference catalogue",
    "combined_footprint_hash": "the choice of region and stars",
    "common_area_deg2": "area common to all frames",
    "coefficient_uncertainty": "of coefficient",
    "config_hash": "sha256 of config",
    "cutouts_sha256": "of the file of cutouts",
    "dec": "declination",
    "degrees_to_moon": "from the ROI to the Moon",
    "done": "items with a result",
    "dx": "shift in x",
    "dy": "shift in y",
    "exit_code": "how the run ended; 0 is success",
    "failed": "items with an error; tried again",
    "filter": "filter of the frame",
    "flux": "of the star or point source",
    "flux_uncertainty": "of flux",
    "frame_id": "the frame",
    "frame_type": "science, or what else it was declared to be",
    "gain": "of the detector",
    "host": "machine of the run",
    "id": "number of the row",
    "inode": "of the raw file, to notice changes",
    "largest_area_deg2": "area of the union of the frames",
    "local_background": "constant under the source",
    "mag": "of the star or point source",
    "mag_err": "1 sigma of mag",
    "mean_flux_uncertainty": "1 sigma of mean_flux",
    "message": "one line for people",
    "method": "way of solving",
    "model_sha256": "of the file of the model",
    "mtime_ns": "time of the raw file's last change, ns since 1970",
    "n_epochs": "frames in the model",
    "n_frames": "frames with the star",
    "n_items": "frames or rows that went in",
    "n_matches": "stars matched with the catalogue",
    "n_reserved": "stars kept out of the fit, to test it",
    "n_stars": "stars used",
    "name": "its name",
    "normalised_zeropoint_uncertainty": "1 sigma of normalised_zeropoint",
    "object": "OBJECT of the header",
    "original_catalog_id": "the star's id in its own catalogue",
    "outcome": "what came out",
    "pending": "frames that wait for their turn; NULL for a step without a queue of frames: 'lightwatch plan' tells",
    "pid": "process of the run",
    "pixel_scale": "of the WCS",
    "plate_solve_method": "way that gave the WCS",
    "pmdec": "proper motion in declination",
    "pmra": "proper motion in right ascension",
    "pointing_dec": "declination of the centre as the header says",
    "ra": "right ascension",
    "read_noise": "of the detector",
    "reason": "why it is in this state",
    "reason_code": "why, as one of a few words",
    "ref_epoch": "epoch of the star's coordinates",
    "rejected": "items refused for a reason that is known",
    "rms_arcsec": "residuals of the stars matched, rms",
    "roi": "region of interest",
    "run_id": "the run that did it",
    "saturation_adu": "level above which pixels are full",
    "sha256": "of the file",
    "size": "of the file",
    "sky_level_electron_per_second": "sky",
    "source_catalog": "catalogue behind the zero point",
    "star_size_px": "width of a cutout",
    "state": "what became of it",
    "strategy": "how the region was chosen",
    "subsampling_factor": "points of the PSF per pixel and axis",
    "summary": "last line of the run",
    "sun_altitude": "of the Sun above the horizon",
    "task": "step of the night",
    "telescope_elevation": "of the telescope",
    "telescope_imager_name": "camera",
    "telescope_latitude": "of the telescope",
    "telescope_longitude": "of the telescope",
    "telescope_name": "telescope",
    "version": "of lightwatch",
    "version_num": "revision of the schema",
    "x": "column on the frame",
    "y": "row on the frame",
    "zeropoint_uncertainty": "1 sigma of the zero point",
}
#: views: the tables that a column's meaning is looked up in, in this order
_DRAWS_ON: dict[str, tuple[str, ...]] = {
    "current_psfs": ("PSFs", "frames"),
    "current_star_fluxes": ("star_flux_in_frame", "frames", "stars", "normalization_coefficients"),
    "frame_quality": ("frames", "normalization_coefficients", "absolute_zeropoints"),
    "light_curves": ("roi_flux", "frames"),
    "progress": ("task_recipes",),
}
#: columns that say something of their own there
_OWN: dict[tuple[str, str], str] = {
    ("current_star_fluxes", "normalised_flux"): "flux on the scale common to the frames, electron/s",
    ("current_star_fluxes", "star"): "letters of the star",
    (
        "frame_quality",
        "flags",
    ): "bits of lightwatch.flags.Flag: frame, PSF, normalization and zero point together",
    ("files", "recipe"): "parser and settings that the file was read with",
    ("frame_quality", "psf_chi2"): "reduced chi2 of the stars used for the PSF",
    ("frame_quality", "psf_reserved_chi2"): "reduced chi2 of the stars kept out of the fit of the PSF",
    ("task_counts", "recipe"): "what made the results that are counted",
}


def meaning(table: str, column: str) -> str:
    """What a column of a table or view is, with its unit; empty for a column that this version does not know."""
    if (table, column) in _OWN:
        return _OWN[table, column]
    for known in LIGHT_CURVE:
        if known.name == column and (
            table == "light_curves" or (table == "roi_flux" and known.kind == "number")
        ):
            return f"{known.description}, {known.unit}" if known.unit else known.description
    for name in _DRAWS_ON.get(table, (table,)):
        if name in metadata.tables and column in metadata.tables[name].columns:
            return "; ".join(_of_schema(metadata.tables[name].columns[column]))
    return _WORDS.get(column, "")


def _of_schema(column: Column[Any]) -> Iterator[str]:
    told = [text for text in (_WORDS.get(column.name), column.comment) if text]
    if told:
        yield ", ".join(told)
    for name in sorted(key.target_fullname for key in column.foreign_keys):
        yield f"of `{name}`"


def columns_by_table(connection: Connection) -> Mapping[str, Sequence[str]]:
    """Names of the columns of every table and view that a database has."""
    found = inspect(connection)
    names = [*found.get_table_names(), *found.get_view_names()]
    return {name: [column["name"] for column in found.get_columns(name)] for name in names}
