"""The tables, with units in the comments.

Names of tables and columns that other people's queries rely on are a contract (docs/sql.md).
Every output row carries the ``recipe`` that made it and ``flags`` (lightwatch.flags.Flag).
Unknown is NULL; no number column accepts an infinity.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Text,
    UniqueConstraint,
)

from lightwatch.structure.magnitude_systems import SYSTEM_COMMENT
from lightwatch.structure.schema_columns import (
    Big,
    boolean,
    flags_column,
    footprint_key,
    frame_key,
    metadata,
    number,
    recipe_column,
    star_key,
    strict_table,
)
from lightwatch.structure.schema_runs import (
    group_results,
    runs,
    task_counts,
    task_errors,
    task_recipes,
    task_results,
)

__all__ = [
    "PSFs",
    "absolute_zeropoints",
    "catalog_star_photometry",
    "combined_footprint",
    "files",
    "footprints",
    "frames",
    "group_results",
    "metadata",
    "normalization_coefficients",
    "normalization_exclusions",
    "normalization_stars",
    "plate_solve_attempts",
    "point_sources",
    "regions",
    "roi_flux",
    "roi_models",
    "rois",
    "runs",
    "star_flux_in_frame",
    "stars",
    "stars_in_frames",
    "task_counts",
    "task_errors",
    "task_recipes",
    "task_results",
]

FILE_STATES = ("imported", "calibration", "duplicate", "quarantined", "deferred", "superseded", "missing")

frames = strict_table(
    "frames",
    Column("id", Integer, primary_key=True),
    Column("content_hash", Text, nullable=False, comment="blake2b of the raw file's bytes"),
    Column(
        "hdu_index", Integer, nullable=False, server_default="0", comment="HDU of the image in the raw file"
    ),
    Column("original_image_path", Text, nullable=False, comment="where the raw file was found"),
    Column("image_relpath", Text, nullable=False, comment="frame in electron/s, relative to the workdir"),
    Column("image_sha256", Text, comment="of that file when written"),
    Column("sources_relpath", Text, comment="table of detected sources"),
    Column("frame_type", Text, nullable=False, server_default="science"),
    Column("filter", Text),
    Column("object", Text),
    number("mjd", "MJD (UTC) as the header parser gave it", required=True),
    number("mjd_mid", "MJD (UTC) of mid-exposure", required=True),
    number("bjd_tdb", "barycentric Julian date (TDB) of mid-exposure at the ROI"),
    number("exptime", "exposure time, s", required=True),
    number("gain", "electron/ADU", required=True),
    number("read_noise", "electron"),
    number("saturation_adu", "ADU"),
    number("telescope_latitude", "deg, north positive"),
    number("telescope_longitude", "deg, east positive"),
    number("telescope_elevation", "m"),
    Column("telescope_name", Text),
    Column("telescope_imager_name", Text),
    Column("naxis1", Integer, nullable=False, comment="width, px"),
    Column("naxis2", Integer, nullable=False, comment="height, px"),
    number("airmass", ""),
    number("altitude", "deg"),
    number("azimuth", "deg"),
    number("sun_altitude", "deg"),
    number("degrees_to_moon", "deg"),
    number("moon_phase", "illuminated fraction, 0 to 1"),
    number("seeing_pixels", "FWHM of stars, px"),
    number("seeing_arcseconds", "FWHM of stars, arcsec"),
    number("ellipticity", "1 - b/a of stars"),
    number("sky_level_electron_per_second", "electron/s/px"),
    number("background_rms_electron_per_second", "electron/s/px"),
    number("noise_ratio", "background rms over the one expected from sky, gain and read noise"),
    Column("n_sources", Integer, comment="detected sources"),
    number("limiting_magnitude", "5 sigma, in the band of the zero point"),
    number("masked_fraction", "bad or saturated pixels, 0 to 1"),
    Column("header_wcs", Text, comment="WCS cards of the raw header, trimmed like the frame"),
    number("pointing_ra", "deg, centre of the frame as the header says"),
    number("pointing_dec", "deg"),
    number("header_pixel_scale", "arcsec/px as the header says"),
    boolean("attempted_plate_solve", "1 when tried"),
    boolean("plate_solved", "1 when the WCS is trusted"),
    Column("wcs", Text, comment="WCS cards of the trusted solution"),
    Column("plate_solve_method", Text),
    number("pixel_scale", "arcsec/px"),
    number("angle_to_north", "deg, from +y to north, through east"),
    number("pixel_anisotropy", "|scale_x / scale_y - 1|"),
    number("astrometric_rms_ra_arcsec", "arcsec"),
    number("astrometric_rms_dec_arcsec", "arcsec"),
    Column("astrometric_matches", Integer, comment="stars that hold the WCS"),
    boolean("roi_in_footprint", "1 when an ROI lies inside of the frame", None),
    boolean("eliminated", "1: never used; yours to write"),
    Column("comment", Text, comment="why; yours to write"),
    recipe_column(),
    flags_column(),
    UniqueConstraint("content_hash", "hdu_index"),
    UniqueConstraint("image_relpath"),
    Index(None, "mjd"),
    Index("ix_frames_counting", "naxis1", "naxis2", "eliminated", "roi_in_footprint"),
    CheckConstraint("exptime > 0", name="positive_exptime"),
    CheckConstraint("gain > 0", name="positive_gain"),
)

files = strict_table(
    "files",
    Column("path", Text, primary_key=True, comment="raw file"),
    Column("size", Big, nullable=False, comment="bytes"),
    Column("mtime_ns", Big, nullable=False),
    Column("inode", Big, nullable=False),
    Column("content_hash", Text, comment="blake2b of its bytes; NULL when not read"),
    Column("state", Text, nullable=False),
    Column("reason_code", Text),
    Column("reason", Text, comment="one line for people"),
    Column("frame_id", ForeignKey("frames.id", ondelete="SET NULL")),
    Column("recipe", Text, nullable=False),
    CheckConstraint(f"state IN {FILE_STATES}", name="state"),
    Index("ix_files_state", "state", "reason_code"),
    Index(None, "content_hash"),
    Index(None, "frame_id"),
)

footprints = strict_table(
    "footprints",
    frame_key(),
    Column("polygon", Text, nullable=False, comment="JSON list of [ra, dec], degrees"),
    recipe_column(),
)

plate_solve_attempts = strict_table(
    "plate_solve_attempts",
    frame_key(),
    Column("attempt", Integer, primary_key=True, comment="in the order tried"),
    Column("method", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("n_matches", Integer),
    number("rms_arcsec", "arcsec"),
    Column("message", Text),
    recipe_column(),
)

combined_footprint = strict_table(
    "combined_footprint",
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False, unique=True, comment="of what defines the region and its stars"),
    Column("strategy", Text, nullable=False),
    Column("definition", Text, nullable=False, comment="canonical JSON that was hashed"),
    Column("largest", Text, comment="JSON: union of the frames, polygons of [ra, dec]"),
    Column("common", Text, comment="JSON: area common to all frames, polygons of [ra, dec]"),
    number("largest_area_deg2", "deg2"),
    number("common_area_deg2", "deg2"),
    Column("catalog_relpath", Text, comment="reference catalogue as it was used"),
    Column("catalog_name", Text),
    Column("catalog_digest", Text),
    Column("selection", Text, comment="JSON: stars dropped by each cut"),
    boolean("is_current", "1 for the one in use"),
)

stars = strict_table(
    "stars",
    footprint_key(),
    Column("gaia_id", Big, primary_key=True, nullable=False, comment="source_id of the catalogue"),
    Column("name", Text, nullable=False, comment="letters: a, b, ... aa"),
    number("ra", "deg ICRS at ref_epoch", required=True),
    number("dec", "deg ICRS at ref_epoch", required=True),
    number("gmag", "G magnitude"),
    number("rmag", "Gaia RP magnitude"),
    number("bmag", "Gaia BP magnitude"),
    number("pmra", "mas/yr, with cos(dec)"),
    number("pmdec", "mas/yr"),
    number("ref_epoch", "Julian year"),
    number("distance_to_roi_arcsec", "to the nearest ROI"),
    recipe_column(),
    flags_column(),
    UniqueConstraint("combined_footprint_hash", "name", name="uq_stars_name"),
)


def _star_reference() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["combined_footprint_hash", "star_gaia_id"],
        ["stars.combined_footprint_hash", "stars.gaia_id"],
        ondelete="CASCADE",
    )


stars_in_frames = strict_table(
    "stars_in_frames",
    footprint_key(),
    frame_key(),
    star_key(),
    number("x", "px, 0-based, proper motion applied", required=True),
    number("y", "px", required=True),
    recipe_column(),
    _star_reference(),
    Index("ix_stars_in_frames_frame", "frame_id"),
)

catalog_star_photometry = strict_table(
    "catalog_star_photometry",
    Column("catalog", Text, primary_key=True, nullable=False),
    Column("band", Text, primary_key=True, nullable=False),
    star_key(),
    number("mag", "magnitude", required=True),
    number("mag_err", "magnitude"),
    Column("original_catalog_id", Text),
    Column("system", Text, comment=SYSTEM_COMMENT),
    recipe_column(),
    flags_column(),
)

regions = strict_table(
    "regions",
    footprint_key(),
    frame_key(),
    Column("relpath", Text, nullable=False, comment="HDF5 file of the cutouts, relative to the workdir"),
    Column("sha256", Text, nullable=False),
    Column("size", Big, nullable=False, comment="bytes"),
    Column("n_stars", Integer, nullable=False),
    Column("star_size_px", Integer, nullable=False),
    number("cosmic_fraction", "pixels of the cutouts masked as cosmic rays, 0 to 1"),
    recipe_column(),
    flags_column(),
    Index("ix_regions_size", "size"),
)

PSFs = strict_table(
    "PSFs",
    footprint_key(),
    frame_key(),
    Column("psf_ref", Text, primary_key=True, nullable=False, comment="psf_ and a digest of the stars used"),
    number("chi2", "reduced chi2 of the stars used"),
    number("reserved_chi2", "reduced chi2 of the stars kept out of the fit"),
    Column("n_stars", Integer, nullable=False),
    Column("n_reserved", Integer, nullable=False),
    Column("stars_used", Text, nullable=False, comment="JSON list of star ids"),
    Column("stars_rejected", Text, comment="JSON: star id to flags"),
    Column("subsampling_factor", Integer, nullable=False),
    number("fwhm_pixels", "px, at the ROI"),
    number("fwhm_arcseconds", "arcsec, at the ROI"),
    number("ellipticity", "of the analytic core"),
    number("residual_strength", "sigma of the smooth residual found by evidence"),
    number("model_error", "fraction of the PSF that the stars disagree on beyond their noise"),
    number("total_flux_error", "1 sigma of ln(flux) common to all fluxes measured with this PSF"),
    Column("spatial_terms", Integer, comment="1 constant, 3 linear in x and y"),
    Column("relpath", Text, nullable=False, comment="HDF5 file, relative to the workdir"),
    Column("sha256", Text, nullable=False),
    Column("size", Big, nullable=False, comment="bytes"),
    recipe_column(),
    flags_column(),
    Index("ix_PSFs_size", "size"),
    UniqueConstraint("combined_footprint_hash", "frame_id", name="uq_PSFs_one_per_frame"),
)

star_flux_in_frame = strict_table(
    "star_flux_in_frame",
    footprint_key(),
    frame_key(),
    star_key(),
    number("flux", "electron/s, whole PSF"),
    number("flux_uncertainty", "electron/s, 1 sigma"),
    number("aperture_flux", "electron/s, corrected to the whole PSF"),
    number("aperture_flux_uncertainty", "electron/s, 1 sigma"),
    number("chi2", "reduced chi2"),
    number("x", "px, measured"),
    number("y", "px, measured"),
    number("dx", "px, measured minus predicted"),
    number("dy", "px, measured minus predicted"),
    number("local_background", "electron/s/px"),
    recipe_column(),
    flags_column(),
    _star_reference(),
    CheckConstraint("flux_uncertainty IS NULL OR flux_uncertainty > 0", name="positive_uncertainty"),
    Index("ix_star_flux_in_frame_frame", "frame_id"),
    Index("ix_star_flux_in_frame_star", "star_gaia_id"),
)

normalization_coefficients = strict_table(
    "normalization_coefficients",
    footprint_key(),
    frame_key(),
    Column("filter", Text, nullable=False, comment="'' when unknown"),
    number("coefficient", "a frame is divided by it", required=True),
    number("coefficient_uncertainty", "1 sigma, all parts"),
    number("psf_uncertainty", "part: total flux of the frame's PSF, in which an ROI's fluxes share"),
    number("reduced_chi2", "of the stars of the frame"),
    Column("n_stars", Integer, nullable=False),
    Column(
        "flux_kind", Text, nullable=False, server_default="psf", comment="flux it rests on: psf or aperture"
    ),
    recipe_column(),
    flags_column(),
    CheckConstraint("coefficient > 0", name="positive_coefficient"),
)

normalization_stars = strict_table(
    "normalization_stars",
    footprint_key(),
    Column("filter", Text, primary_key=True, nullable=False),
    star_key(),
    number("mean_flux", "electron/s, normalised scale"),
    number("mean_flux_uncertainty", "electron/s"),
    number("excess_scatter", "fractional scatter beyond the noise"),
    number("influence", "largest fractional change of a coefficient when the star is left out"),
    number("influence_rms", "rms fractional change of the coefficients when the star is left out"),
    Column("n_frames", Integer, nullable=False),
    recipe_column(),
    flags_column(),
    _star_reference(),
)

normalization_exclusions = strict_table(
    "normalization_exclusions",
    Column("id", Integer, primary_key=True),
    Column(
        "combined_footprint_hash",
        ForeignKey("combined_footprint.hash", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("filter", Text, nullable=False),
    Column("frame_id", ForeignKey("frames.id", ondelete="CASCADE"), comment="NULL: the star, in all frames"),
    Column("star_gaia_id", Big, comment="NULL: the frame, with all its stars"),
    number("residual", "fraction by which the flux is off its model"),
    number("weight", "fraction of its weight that was kept"),
    Column("reason", Text, nullable=False, comment="one line for people"),
    recipe_column(),
    flags_column(),
    CheckConstraint("frame_id IS NOT NULL OR star_gaia_id IS NOT NULL", name="frame_or_star"),
    Index("ix_normalization_exclusions_group", "combined_footprint_hash", "filter"),
    Index("ix_normalization_exclusions_frame", "frame_id"),
)

absolute_zeropoints = strict_table(
    "absolute_zeropoints",
    footprint_key(),
    frame_key(),
    Column("band", Text, primary_key=True, nullable=False),
    Column("source_catalog", Text, nullable=False),
    Column("system", Text, nullable=False, comment=SYSTEM_COMMENT),
    number("zeropoint", "magnitude of 1 electron/s in this frame", required=True),
    number("zeropoint_uncertainty", "error of the mean, magnitude"),
    number("zeropoint_scatter", "star to star, magnitude"),
    number("normalised_zeropoint", "magnitude of 1 electron/s on the normalised scale of the filter"),
    number("normalised_zeropoint_uncertainty", "magnitude"),
    Column("n_stars", Integer, nullable=False),
    recipe_column(),
    flags_column(),
)

rois = strict_table(
    "rois",
    Column("name", Text, primary_key=True),
    number("ra", "deg ICRS", required=True),
    number("dec", "deg ICRS", required=True),
)

point_sources = strict_table(
    "point_sources",
    Column("roi", ForeignKey("rois.name", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("name", Text, primary_key=True, nullable=False),
    number("ra", "deg ICRS, as configured", required=True),
    number("dec", "deg ICRS, as configured", required=True),
)

roi_models = strict_table(
    "roi_models",
    footprint_key(),
    Column("roi", ForeignKey("rois.name", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("filter", Text, primary_key=True, nullable=False),
    Column("n_epochs", Integer, nullable=False),
    Column("cutouts_relpath", Text, comment="prepared cutouts, relative to the workdir"),
    Column("cutouts_sha256", Text),
    Column("model_relpath", Text, comment="solution of the joint model, relative to the workdir"),
    Column("model_sha256", Text),
    number("reduced_chi2", "of all epochs"),
    Column("astrometry", Text, comment="JSON: point source to [ra, dec, sigma_ra_arcsec, sigma_dec_arcsec]"),
    Column("constant_offsets", Text, comment="JSON: point source to the 1 sigma of its constant, electron/s"),
    recipe_column(),
    flags_column(),
)

roi_flux = strict_table(
    "roi_flux",
    footprint_key(),
    Column("roi", Text, primary_key=True, nullable=False),
    Column("point_source", Text, primary_key=True, nullable=False),
    frame_key(),
    Column("filter", Text, nullable=False),
    number("flux", "electron/s on the normalised scale"),
    number("flux_uncertainty", "electron/s, 1 sigma, all parts"),
    number("photon_uncertainty", "part: photons, sky, shifts"),
    number("background_uncertainty", "part: common background"),
    number("normalization_uncertainty", "part: normalization coefficient"),
    number("reduced_chi2", "of the epoch's cutout"),
    number("dx", "px, shift of the epoch against its WCS"),
    number("dy", "px"),
    number("local_background", "electron/s/px"),
    number("zeropoint", "magnitude of 1 electron/s of the normalised scale"),
    number("zeropoint_uncertainty", "magnitude"),
    number("mag", "magnitude; NULL below the limit of light_curves.limit_sigma"),
    number("mag_uncertainty_up", "towards larger magnitudes (fainter)"),
    number("mag_uncertainty_down", "towards smaller magnitudes (brighter)"),
    number("mag_limit", "upper limit in brightness where there is no mag"),
    recipe_column(),
    flags_column(),
    ForeignKeyConstraint(
        ["roi", "point_source"], ["point_sources.roi", "point_sources.name"], ondelete="CASCADE"
    ),
    CheckConstraint("flux_uncertainty IS NULL OR flux_uncertainty > 0", name="positive_uncertainty"),
    Index("ix_roi_flux_frame", "frame_id"),
)
