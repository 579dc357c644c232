"""The first schema, as it was: never edited, later ones are migrations of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG: sa.types.TypeEngine[int] = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NUMBER: sa.types.TypeEngine[float] = sa.Double().with_variant(sa.REAL(), "sqlite")


def upgrade() -> None:
    """Create all tables."""
    _catalog_star_photometry()
    _combined_footprint()
    _frames()
    _group_results()
    _rois()
    _runs()
    _task_errors()
    _task_recipes()
    _psfs()
    _absolute_zeropoints()
    _files()
    _footprints()
    _normalization_coefficients()
    _plate_solve_attempts()
    _point_sources()
    _regions()
    _roi_models()
    _stars()
    _task_results()
    _normalization_stars()
    _roi_flux()
    _star_flux_in_frame()
    _stars_in_frames()


def _catalog_star_photometry() -> None:
    op.create_table(
        "catalog_star_photometry",
        sa.Column("catalog", sa.Text(), nullable=False),
        sa.Column("band", sa.Text(), nullable=False),
        sa.Column("star_gaia_id", BIG, nullable=False),
        sa.Column("mag", NUMBER, nullable=False),
        sa.Column("mag_err", NUMBER, nullable=True),
        sa.Column("original_catalog_id", sa.Text(), nullable=True),
        sa.Column("system", sa.Text(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "mag IS NULL OR abs(mag) < 1e300", name=op.f("ck_catalog_star_photometry_finite_mag")
        ),
        sa.CheckConstraint(
            "mag_err IS NULL OR abs(mag_err) < 1e300", name=op.f("ck_catalog_star_photometry_finite_mag_err")
        ),
        sa.PrimaryKeyConstraint("catalog", "band", "star_gaia_id"),
        sqlite_strict=True,
    )


def _combined_footprint() -> None:
    op.create_table(
        "combined_footprint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("largest", sa.Text(), nullable=True),
        sa.Column("common", sa.Text(), nullable=True),
        sa.Column("largest_area_deg2", NUMBER, nullable=True),
        sa.Column("common_area_deg2", NUMBER, nullable=True),
        sa.Column("catalog_relpath", sa.Text(), nullable=True),
        sa.Column("catalog_name", sa.Text(), nullable=True),
        sa.Column("catalog_digest", sa.Text(), nullable=True),
        sa.Column("selection", sa.Text(), nullable=True),
        sa.Column("is_current", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "common_area_deg2 IS NULL OR abs(common_area_deg2) < 1e300",
            name=op.f("ck_combined_footprint_finite_common_area_deg2"),
        ),
        sa.CheckConstraint("is_current IN (0, 1)", name=op.f("ck_combined_footprint_boolean_is_current")),
        sa.CheckConstraint(
            "largest_area_deg2 IS NULL OR abs(largest_area_deg2) < 1e300",
            name=op.f("ck_combined_footprint_finite_largest_area_deg2"),
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash", name=op.f("uq_combined_footprint_hash")),
        sqlite_strict=True,
    )


def _frames() -> None:
    op.create_table(
        "frames",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("hdu_index", sa.Integer(), server_default="0", nullable=False),
        sa.Column("original_image_path", sa.Text(), nullable=False),
        sa.Column("image_relpath", sa.Text(), nullable=False),
        sa.Column("image_sha256", sa.Text(), nullable=True),
        sa.Column("sources_relpath", sa.Text(), nullable=True),
        sa.Column("frame_type", sa.Text(), server_default="science", nullable=False),
        sa.Column("filter", sa.Text(), nullable=True),
        sa.Column("object", sa.Text(), nullable=True),
        sa.Column("mjd", NUMBER, nullable=False),
        sa.Column("mjd_mid", NUMBER, nullable=False),
        sa.Column("bjd_tdb", NUMBER, nullable=True),
        sa.Column("exptime", NUMBER, nullable=False),
        sa.Column("gain", NUMBER, nullable=False),
        sa.Column("read_noise", NUMBER, nullable=True),
        sa.Column("saturation_adu", NUMBER, nullable=True),
        sa.Column("telescope_latitude", NUMBER, nullable=True),
        sa.Column("telescope_longitude", NUMBER, nullable=True),
        sa.Column("telescope_elevation", NUMBER, nullable=True),
        sa.Column("telescope_name", sa.Text(), nullable=True),
        sa.Column("telescope_imager_name", sa.Text(), nullable=True),
        sa.Column("naxis1", sa.Integer(), nullable=False),
        sa.Column("naxis2", sa.Integer(), nullable=False),
        sa.Column("airmass", NUMBER, nullable=True),
        sa.Column("altitude", NUMBER, nullable=True),
        sa.Column("azimuth", NUMBER, nullable=True),
        sa.Column("sun_altitude", NUMBER, nullable=True),
        sa.Column("degrees_to_moon", NUMBER, nullable=True),
        sa.Column("moon_phase", NUMBER, nullable=True),
        sa.Column("seeing_pixels", NUMBER, nullable=True),
        sa.Column("seeing_arcseconds", NUMBER, nullable=True),
        sa.Column("ellipticity", NUMBER, nullable=True),
        sa.Column("sky_level_electron_per_second", NUMBER, nullable=True),
        sa.Column("background_rms_electron_per_second", NUMBER, nullable=True),
        sa.Column("noise_ratio", NUMBER, nullable=True),
        sa.Column("n_sources", sa.Integer(), nullable=True),
        sa.Column("limiting_magnitude", NUMBER, nullable=True),
        sa.Column("masked_fraction", NUMBER, nullable=True),
        sa.Column("header_wcs", sa.Text(), nullable=True),
        sa.Column("pointing_ra", NUMBER, nullable=True),
        sa.Column("pointing_dec", NUMBER, nullable=True),
        sa.Column("header_pixel_scale", NUMBER, nullable=True),
        sa.Column("attempted_plate_solve", sa.Integer(), server_default="0", nullable=False),
        sa.Column("plate_solved", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wcs", sa.Text(), nullable=True),
        sa.Column("plate_solve_method", sa.Text(), nullable=True),
        sa.Column("pixel_scale", NUMBER, nullable=True),
        sa.Column("angle_to_north", NUMBER, nullable=True),
        sa.Column("pixel_anisotropy", NUMBER, nullable=True),
        sa.Column("astrometric_rms_ra_arcsec", NUMBER, nullable=True),
        sa.Column("astrometric_rms_dec_arcsec", NUMBER, nullable=True),
        sa.Column("astrometric_matches", sa.Integer(), nullable=True),
        sa.Column("roi_in_footprint", sa.Integer(), nullable=True),
        sa.Column("eliminated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("airmass IS NULL OR abs(airmass) < 1e300", name=op.f("ck_frames_finite_airmass")),
        sa.CheckConstraint(
            "altitude IS NULL OR abs(altitude) < 1e300", name=op.f("ck_frames_finite_altitude")
        ),
        sa.CheckConstraint(
            "angle_to_north IS NULL OR abs(angle_to_north) < 1e300",
            name=op.f("ck_frames_finite_angle_to_north"),
        ),
        sa.CheckConstraint(
            "astrometric_rms_dec_arcsec IS NULL OR abs(astrometric_rms_dec_arcsec) < 1e300",
            name=op.f("ck_frames_finite_astrometric_rms_dec_arcsec"),
        ),
        sa.CheckConstraint(
            "astrometric_rms_ra_arcsec IS NULL OR abs(astrometric_rms_ra_arcsec) < 1e300",
            name=op.f("ck_frames_finite_astrometric_rms_ra_arcsec"),
        ),
        sa.CheckConstraint(
            "attempted_plate_solve IN (0, 1)", name=op.f("ck_frames_boolean_attempted_plate_solve")
        ),
        sa.CheckConstraint("azimuth IS NULL OR abs(azimuth) < 1e300", name=op.f("ck_frames_finite_azimuth")),
        sa.CheckConstraint(
            "background_rms_electron_per_second IS NULL OR abs(background_rms_electron_per_second) < 1e300",
            name=op.f("ck_frames_finite_background_rms_electron_per_second"),
        ),
        sa.CheckConstraint("bjd_tdb IS NULL OR abs(bjd_tdb) < 1e300", name=op.f("ck_frames_finite_bjd_tdb")),
        sa.CheckConstraint(
            "degrees_to_moon IS NULL OR abs(degrees_to_moon) < 1e300",
            name=op.f("ck_frames_finite_degrees_to_moon"),
        ),
        sa.CheckConstraint("eliminated IN (0, 1)", name=op.f("ck_frames_boolean_eliminated")),
        sa.CheckConstraint(
            "ellipticity IS NULL OR abs(ellipticity) < 1e300", name=op.f("ck_frames_finite_ellipticity")
        ),
        sa.CheckConstraint("exptime > 0", name=op.f("ck_frames_positive_exptime")),
        sa.CheckConstraint("exptime IS NULL OR abs(exptime) < 1e300", name=op.f("ck_frames_finite_exptime")),
        sa.CheckConstraint("gain > 0", name=op.f("ck_frames_positive_gain")),
        sa.CheckConstraint("gain IS NULL OR abs(gain) < 1e300", name=op.f("ck_frames_finite_gain")),
        sa.CheckConstraint(
            "header_pixel_scale IS NULL OR abs(header_pixel_scale) < 1e300",
            name=op.f("ck_frames_finite_header_pixel_scale"),
        ),
        sa.CheckConstraint(
            "limiting_magnitude IS NULL OR abs(limiting_magnitude) < 1e300",
            name=op.f("ck_frames_finite_limiting_magnitude"),
        ),
        sa.CheckConstraint(
            "masked_fraction IS NULL OR abs(masked_fraction) < 1e300",
            name=op.f("ck_frames_finite_masked_fraction"),
        ),
        sa.CheckConstraint("mjd IS NULL OR abs(mjd) < 1e300", name=op.f("ck_frames_finite_mjd")),
        sa.CheckConstraint("mjd_mid IS NULL OR abs(mjd_mid) < 1e300", name=op.f("ck_frames_finite_mjd_mid")),
        sa.CheckConstraint(
            "moon_phase IS NULL OR abs(moon_phase) < 1e300", name=op.f("ck_frames_finite_moon_phase")
        ),
        sa.CheckConstraint(
            "noise_ratio IS NULL OR abs(noise_ratio) < 1e300", name=op.f("ck_frames_finite_noise_ratio")
        ),
        sa.CheckConstraint(
            "pixel_anisotropy IS NULL OR abs(pixel_anisotropy) < 1e300",
            name=op.f("ck_frames_finite_pixel_anisotropy"),
        ),
        sa.CheckConstraint(
            "pixel_scale IS NULL OR abs(pixel_scale) < 1e300", name=op.f("ck_frames_finite_pixel_scale")
        ),
        sa.CheckConstraint("plate_solved IN (0, 1)", name=op.f("ck_frames_boolean_plate_solved")),
        sa.CheckConstraint(
            "pointing_dec IS NULL OR abs(pointing_dec) < 1e300", name=op.f("ck_frames_finite_pointing_dec")
        ),
        sa.CheckConstraint(
            "pointing_ra IS NULL OR abs(pointing_ra) < 1e300", name=op.f("ck_frames_finite_pointing_ra")
        ),
        sa.CheckConstraint(
            "read_noise IS NULL OR abs(read_noise) < 1e300", name=op.f("ck_frames_finite_read_noise")
        ),
        sa.CheckConstraint("roi_in_footprint IN (0, 1)", name=op.f("ck_frames_boolean_roi_in_footprint")),
        sa.CheckConstraint(
            "saturation_adu IS NULL OR abs(saturation_adu) < 1e300",
            name=op.f("ck_frames_finite_saturation_adu"),
        ),
        sa.CheckConstraint(
            "seeing_arcseconds IS NULL OR abs(seeing_arcseconds) < 1e300",
            name=op.f("ck_frames_finite_seeing_arcseconds"),
        ),
        sa.CheckConstraint(
            "seeing_pixels IS NULL OR abs(seeing_pixels) < 1e300", name=op.f("ck_frames_finite_seeing_pixels")
        ),
        sa.CheckConstraint(
            "sky_level_electron_per_second IS NULL OR abs(sky_level_electron_per_second) < 1e300",
            name=op.f("ck_frames_finite_sky_level_electron_per_second"),
        ),
        sa.CheckConstraint(
            "sun_altitude IS NULL OR abs(sun_altitude) < 1e300", name=op.f("ck_frames_finite_sun_altitude")
        ),
        sa.CheckConstraint(
            "telescope_elevation IS NULL OR abs(telescope_elevation) < 1e300",
            name=op.f("ck_frames_finite_telescope_elevation"),
        ),
        sa.CheckConstraint(
            "telescope_latitude IS NULL OR abs(telescope_latitude) < 1e300",
            name=op.f("ck_frames_finite_telescope_latitude"),
        ),
        sa.CheckConstraint(
            "telescope_longitude IS NULL OR abs(telescope_longitude) < 1e300",
            name=op.f("ck_frames_finite_telescope_longitude"),
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("content_hash", "hdu_index", name=op.f("uq_frames_content_hash")),
        sa.UniqueConstraint("image_relpath", name=op.f("uq_frames_image_relpath")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_frames_mjd"), "frames", ["mjd"], unique=False)


def _group_results() -> None:
    op.create_table(
        "group_results",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("n_items", sa.Integer(), nullable=False),
        sa.Column("seconds", NUMBER, nullable=True),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('done', 'rejected', 'error')", name=op.f("ck_group_results_state")),
        sa.CheckConstraint(
            "seconds IS NULL OR abs(seconds) < 1e300", name=op.f("ck_group_results_finite_seconds")
        ),
        sa.PrimaryKeyConstraint("task", "combined_footprint_hash", "group_key"),
        sqlite_strict=True,
    )


def _rois() -> None:
    op.create_table(
        "rois",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ra", NUMBER, nullable=False),
        sa.Column("dec", NUMBER, nullable=False),
        sa.CheckConstraint("dec IS NULL OR abs(dec) < 1e300", name=op.f("ck_rois_finite_dec")),
        sa.CheckConstraint("ra IS NULL OR abs(ra) < 1e300", name=op.f("ck_rois_finite_ra")),
        sa.PrimaryKeyConstraint("name"),
        sqlite_strict=True,
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("started", sa.Text(), nullable=False),
        sa.Column("ended", sa.Text(), nullable=True),
        sa.Column("host", sa.Text(), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )


def _task_errors() -> None:
    op.create_table(
        "task_errors",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=True),
        sa.Column("reason_code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=True),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )


def _task_recipes() -> None:
    op.create_table(
        "task_recipes",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task"),
        sqlite_strict=True,
    )


def _psfs() -> None:
    op.create_table(
        "PSFs",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("psf_ref", sa.Text(), nullable=False),
        sa.Column("chi2", NUMBER, nullable=True),
        sa.Column("reserved_chi2", NUMBER, nullable=True),
        sa.Column("n_stars", sa.Integer(), nullable=False),
        sa.Column("n_reserved", sa.Integer(), nullable=False),
        sa.Column("stars_used", sa.Text(), nullable=False),
        sa.Column("stars_rejected", sa.Text(), nullable=True),
        sa.Column("subsampling_factor", sa.Integer(), nullable=False),
        sa.Column("fwhm_pixels", NUMBER, nullable=True),
        sa.Column("fwhm_arcseconds", NUMBER, nullable=True),
        sa.Column("ellipticity", NUMBER, nullable=True),
        sa.Column("residual_strength", NUMBER, nullable=True),
        sa.Column("model_error", NUMBER, nullable=True),
        sa.Column("spatial_terms", sa.Integer(), nullable=True),
        sa.Column("relpath", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("chi2 IS NULL OR abs(chi2) < 1e300", name=op.f("ck_PSFs_finite_chi2")),
        sa.CheckConstraint(
            "ellipticity IS NULL OR abs(ellipticity) < 1e300", name=op.f("ck_PSFs_finite_ellipticity")
        ),
        sa.CheckConstraint(
            "fwhm_arcseconds IS NULL OR abs(fwhm_arcseconds) < 1e300",
            name=op.f("ck_PSFs_finite_fwhm_arcseconds"),
        ),
        sa.CheckConstraint(
            "fwhm_pixels IS NULL OR abs(fwhm_pixels) < 1e300", name=op.f("ck_PSFs_finite_fwhm_pixels")
        ),
        sa.CheckConstraint(
            "model_error IS NULL OR abs(model_error) < 1e300", name=op.f("ck_PSFs_finite_model_error")
        ),
        sa.CheckConstraint(
            "reserved_chi2 IS NULL OR abs(reserved_chi2) < 1e300", name=op.f("ck_PSFs_finite_reserved_chi2")
        ),
        sa.CheckConstraint(
            "residual_strength IS NULL OR abs(residual_strength) < 1e300",
            name=op.f("ck_PSFs_finite_residual_strength"),
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_PSFs_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_PSFs_frame_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "frame_id", "psf_ref"),
        sa.UniqueConstraint("combined_footprint_hash", "frame_id", name="uq_PSFs_one_per_frame"),
        sqlite_strict=True,
    )


def _absolute_zeropoints() -> None:
    op.create_table(
        "absolute_zeropoints",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("band", sa.Text(), nullable=False),
        sa.Column("source_catalog", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("zeropoint", NUMBER, nullable=False),
        sa.Column("zeropoint_uncertainty", NUMBER, nullable=True),
        sa.Column("zeropoint_scatter", NUMBER, nullable=True),
        sa.Column("normalised_zeropoint", NUMBER, nullable=True),
        sa.Column("normalised_zeropoint_uncertainty", NUMBER, nullable=True),
        sa.Column("n_stars", sa.Integer(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "normalised_zeropoint IS NULL OR abs(normalised_zeropoint) < 1e300",
            name=op.f("ck_absolute_zeropoints_finite_normalised_zeropoint"),
        ),
        sa.CheckConstraint(
            "normalised_zeropoint_uncertainty IS NULL OR abs(normalised_zeropoint_uncertainty) < 1e300",
            name=op.f("ck_absolute_zeropoints_finite_normalised_zeropoint_uncertainty"),
        ),
        sa.CheckConstraint(
            "zeropoint IS NULL OR abs(zeropoint) < 1e300",
            name=op.f("ck_absolute_zeropoints_finite_zeropoint"),
        ),
        sa.CheckConstraint(
            "zeropoint_scatter IS NULL OR abs(zeropoint_scatter) < 1e300",
            name=op.f("ck_absolute_zeropoints_finite_zeropoint_scatter"),
        ),
        sa.CheckConstraint(
            "zeropoint_uncertainty IS NULL OR abs(zeropoint_uncertainty) < 1e300",
            name=op.f("ck_absolute_zeropoints_finite_zeropoint_uncertainty"),
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_absolute_zeropoints_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_absolute_zeropoints_frame_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "frame_id", "band"),
        sqlite_strict=True,
    )


def _files() -> None:
    op.create_table(
        "files",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("mtime_ns", BIG, nullable=False),
        sa.Column("inode", BIG, nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("frame_id", sa.Integer(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('imported', 'calibration', 'duplicate', 'quarantined', 'deferred', 'superseded', 'missing')",
            name=op.f("ck_files_state"),
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_files_frame_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("path"),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_files_content_hash"), "files", ["content_hash"], unique=False)
    op.create_index(op.f("ix_files_frame_id"), "files", ["frame_id"], unique=False)


def _footprints() -> None:
    op.create_table(
        "footprints",
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("polygon", sa.Text(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_footprints_frame_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("frame_id"),
        sqlite_strict=True,
    )


def _normalization_coefficients() -> None:
    op.create_table(
        "normalization_coefficients",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("coefficient", NUMBER, nullable=False),
        sa.Column("coefficient_uncertainty", NUMBER, nullable=True),
        sa.Column("reduced_chi2", NUMBER, nullable=True),
        sa.Column("n_stars", sa.Integer(), nullable=False),
        sa.Column("flux_kind", sa.Text(), server_default="psf", nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "coefficient > 0", name=op.f("ck_normalization_coefficients_positive_coefficient")
        ),
        sa.CheckConstraint(
            "coefficient IS NULL OR abs(coefficient) < 1e300",
            name=op.f("ck_normalization_coefficients_finite_coefficient"),
        ),
        sa.CheckConstraint(
            "coefficient_uncertainty IS NULL OR abs(coefficient_uncertainty) < 1e300",
            name=op.f("ck_normalization_coefficients_finite_coefficient_uncertainty"),
        ),
        sa.CheckConstraint(
            "reduced_chi2 IS NULL OR abs(reduced_chi2) < 1e300",
            name=op.f("ck_normalization_coefficients_finite_reduced_chi2"),
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_normalization_coefficients_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"],
            ["frames.id"],
            name=op.f("fk_normalization_coefficients_frame_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "frame_id"),
        sqlite_strict=True,
    )


def _plate_solve_attempts() -> None:
    op.create_table(
        "plate_solve_attempts",
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("n_matches", sa.Integer(), nullable=True),
        sa.Column("rms_arcsec", NUMBER, nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "rms_arcsec IS NULL OR abs(rms_arcsec) < 1e300",
            name=op.f("ck_plate_solve_attempts_finite_rms_arcsec"),
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_plate_solve_attempts_frame_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("frame_id", "attempt"),
        sqlite_strict=True,
    )


def _point_sources() -> None:
    op.create_table(
        "point_sources",
        sa.Column("roi", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ra", NUMBER, nullable=False),
        sa.Column("dec", NUMBER, nullable=False),
        sa.CheckConstraint("dec IS NULL OR abs(dec) < 1e300", name=op.f("ck_point_sources_finite_dec")),
        sa.CheckConstraint("ra IS NULL OR abs(ra) < 1e300", name=op.f("ck_point_sources_finite_ra")),
        sa.ForeignKeyConstraint(
            ["roi"], ["rois.name"], name=op.f("fk_point_sources_roi"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("roi", "name"),
        sqlite_strict=True,
    )


def _regions() -> None:
    op.create_table(
        "regions",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("relpath", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("n_stars", sa.Integer(), nullable=False),
        sa.Column("star_size_px", sa.Integer(), nullable=False),
        sa.Column("cosmic_fraction", NUMBER, nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "cosmic_fraction IS NULL OR abs(cosmic_fraction) < 1e300",
            name=op.f("ck_regions_finite_cosmic_fraction"),
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_regions_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_regions_frame_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "frame_id"),
        sqlite_strict=True,
    )


def _roi_models() -> None:
    op.create_table(
        "roi_models",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("roi", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("n_epochs", sa.Integer(), nullable=False),
        sa.Column("cutouts_relpath", sa.Text(), nullable=True),
        sa.Column("cutouts_sha256", sa.Text(), nullable=True),
        sa.Column("model_relpath", sa.Text(), nullable=True),
        sa.Column("model_sha256", sa.Text(), nullable=True),
        sa.Column("reduced_chi2", NUMBER, nullable=True),
        sa.Column("astrometry", sa.Text(), nullable=True),
        sa.Column("constant_offsets", sa.Text(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "reduced_chi2 IS NULL OR abs(reduced_chi2) < 1e300",
            name=op.f("ck_roi_models_finite_reduced_chi2"),
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_roi_models_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["roi"], ["rois.name"], name=op.f("fk_roi_models_roi"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "roi", "filter"),
        sqlite_strict=True,
    )


def _stars() -> None:
    op.create_table(
        "stars",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("gaia_id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ra", NUMBER, nullable=False),
        sa.Column("dec", NUMBER, nullable=False),
        sa.Column("gmag", NUMBER, nullable=True),
        sa.Column("rmag", NUMBER, nullable=True),
        sa.Column("bmag", NUMBER, nullable=True),
        sa.Column("pmra", NUMBER, nullable=True),
        sa.Column("pmdec", NUMBER, nullable=True),
        sa.Column("ref_epoch", NUMBER, nullable=True),
        sa.Column("distance_to_roi_arcsec", NUMBER, nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("bmag IS NULL OR abs(bmag) < 1e300", name=op.f("ck_stars_finite_bmag")),
        sa.CheckConstraint("dec IS NULL OR abs(dec) < 1e300", name=op.f("ck_stars_finite_dec")),
        sa.CheckConstraint(
            "distance_to_roi_arcsec IS NULL OR abs(distance_to_roi_arcsec) < 1e300",
            name=op.f("ck_stars_finite_distance_to_roi_arcsec"),
        ),
        sa.CheckConstraint("gmag IS NULL OR abs(gmag) < 1e300", name=op.f("ck_stars_finite_gmag")),
        sa.CheckConstraint("pmdec IS NULL OR abs(pmdec) < 1e300", name=op.f("ck_stars_finite_pmdec")),
        sa.CheckConstraint("pmra IS NULL OR abs(pmra) < 1e300", name=op.f("ck_stars_finite_pmra")),
        sa.CheckConstraint("ra IS NULL OR abs(ra) < 1e300", name=op.f("ck_stars_finite_ra")),
        sa.CheckConstraint(
            "ref_epoch IS NULL OR abs(ref_epoch) < 1e300", name=op.f("ck_stars_finite_ref_epoch")
        ),
        sa.CheckConstraint("rmag IS NULL OR abs(rmag) < 1e300", name=op.f("ck_stars_finite_rmag")),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_stars_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "gaia_id"),
        sa.UniqueConstraint("combined_footprint_hash", "name", name="uq_stars_name"),
        sqlite_strict=True,
    )


def _task_results() -> None:
    op.create_table(
        "task_results",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason_code", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("seconds", NUMBER, nullable=True),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('done', 'rejected', 'error')", name=op.f("ck_task_results_state")),
        sa.CheckConstraint(
            "seconds IS NULL OR abs(seconds) < 1e300", name=op.f("ck_task_results_finite_seconds")
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_task_results_frame_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task", "combined_footprint_hash", "frame_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_task_results_frame", "task_results", ["frame_id"], unique=False)


def _normalization_stars() -> None:
    op.create_table(
        "normalization_stars",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("star_gaia_id", BIG, nullable=False),
        sa.Column("mean_flux", NUMBER, nullable=True),
        sa.Column("mean_flux_uncertainty", NUMBER, nullable=True),
        sa.Column("excess_scatter", NUMBER, nullable=True),
        sa.Column("influence", NUMBER, nullable=True),
        sa.Column("n_frames", sa.Integer(), nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "excess_scatter IS NULL OR abs(excess_scatter) < 1e300",
            name=op.f("ck_normalization_stars_finite_excess_scatter"),
        ),
        sa.CheckConstraint(
            "influence IS NULL OR abs(influence) < 1e300",
            name=op.f("ck_normalization_stars_finite_influence"),
        ),
        sa.CheckConstraint(
            "mean_flux IS NULL OR abs(mean_flux) < 1e300",
            name=op.f("ck_normalization_stars_finite_mean_flux"),
        ),
        sa.CheckConstraint(
            "mean_flux_uncertainty IS NULL OR abs(mean_flux_uncertainty) < 1e300",
            name=op.f("ck_normalization_stars_finite_mean_flux_uncertainty"),
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash", "star_gaia_id"],
            ["stars.combined_footprint_hash", "stars.gaia_id"],
            name=op.f("fk_normalization_stars_combined_footprint_hash_star_gaia_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_normalization_stars_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "filter", "star_gaia_id"),
        sqlite_strict=True,
    )


def _roi_flux() -> None:
    op.create_table(
        "roi_flux",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("roi", sa.Text(), nullable=False),
        sa.Column("point_source", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("flux", NUMBER, nullable=True),
        sa.Column("flux_uncertainty", NUMBER, nullable=True),
        sa.Column("photon_uncertainty", NUMBER, nullable=True),
        sa.Column("background_uncertainty", NUMBER, nullable=True),
        sa.Column("normalization_uncertainty", NUMBER, nullable=True),
        sa.Column("reduced_chi2", NUMBER, nullable=True),
        sa.Column("dx", NUMBER, nullable=True),
        sa.Column("dy", NUMBER, nullable=True),
        sa.Column("local_background", NUMBER, nullable=True),
        sa.Column("zeropoint", NUMBER, nullable=True),
        sa.Column("zeropoint_uncertainty", NUMBER, nullable=True),
        sa.Column("mag", NUMBER, nullable=True),
        sa.Column("mag_uncertainty_up", NUMBER, nullable=True),
        sa.Column("mag_uncertainty_down", NUMBER, nullable=True),
        sa.Column("mag_limit", NUMBER, nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "background_uncertainty IS NULL OR abs(background_uncertainty) < 1e300",
            name=op.f("ck_roi_flux_finite_background_uncertainty"),
        ),
        sa.CheckConstraint("dx IS NULL OR abs(dx) < 1e300", name=op.f("ck_roi_flux_finite_dx")),
        sa.CheckConstraint("dy IS NULL OR abs(dy) < 1e300", name=op.f("ck_roi_flux_finite_dy")),
        sa.CheckConstraint("flux IS NULL OR abs(flux) < 1e300", name=op.f("ck_roi_flux_finite_flux")),
        sa.CheckConstraint(
            "flux_uncertainty IS NULL OR abs(flux_uncertainty) < 1e300",
            name=op.f("ck_roi_flux_finite_flux_uncertainty"),
        ),
        sa.CheckConstraint(
            "flux_uncertainty IS NULL OR flux_uncertainty > 0", name=op.f("ck_roi_flux_positive_uncertainty")
        ),
        sa.CheckConstraint(
            "local_background IS NULL OR abs(local_background) < 1e300",
            name=op.f("ck_roi_flux_finite_local_background"),
        ),
        sa.CheckConstraint("mag IS NULL OR abs(mag) < 1e300", name=op.f("ck_roi_flux_finite_mag")),
        sa.CheckConstraint(
            "mag_limit IS NULL OR abs(mag_limit) < 1e300", name=op.f("ck_roi_flux_finite_mag_limit")
        ),
        sa.CheckConstraint(
            "mag_uncertainty_down IS NULL OR abs(mag_uncertainty_down) < 1e300",
            name=op.f("ck_roi_flux_finite_mag_uncertainty_down"),
        ),
        sa.CheckConstraint(
            "mag_uncertainty_up IS NULL OR abs(mag_uncertainty_up) < 1e300",
            name=op.f("ck_roi_flux_finite_mag_uncertainty_up"),
        ),
        sa.CheckConstraint(
            "normalization_uncertainty IS NULL OR abs(normalization_uncertainty) < 1e300",
            name=op.f("ck_roi_flux_finite_normalization_uncertainty"),
        ),
        sa.CheckConstraint(
            "photon_uncertainty IS NULL OR abs(photon_uncertainty) < 1e300",
            name=op.f("ck_roi_flux_finite_photon_uncertainty"),
        ),
        sa.CheckConstraint(
            "reduced_chi2 IS NULL OR abs(reduced_chi2) < 1e300", name=op.f("ck_roi_flux_finite_reduced_chi2")
        ),
        sa.CheckConstraint(
            "zeropoint IS NULL OR abs(zeropoint) < 1e300", name=op.f("ck_roi_flux_finite_zeropoint")
        ),
        sa.CheckConstraint(
            "zeropoint_uncertainty IS NULL OR abs(zeropoint_uncertainty) < 1e300",
            name=op.f("ck_roi_flux_finite_zeropoint_uncertainty"),
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_roi_flux_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_roi_flux_frame_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["roi", "point_source"],
            ["point_sources.roi", "point_sources.name"],
            name=op.f("fk_roi_flux_roi_point_source"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "roi", "point_source", "frame_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_roi_flux_frame", "roi_flux", ["frame_id"], unique=False)


def _star_flux_in_frame() -> None:
    op.create_table(
        "star_flux_in_frame",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("star_gaia_id", BIG, nullable=False),
        sa.Column("flux", NUMBER, nullable=True),
        sa.Column("flux_uncertainty", NUMBER, nullable=True),
        sa.Column("aperture_flux", NUMBER, nullable=True),
        sa.Column("aperture_flux_uncertainty", NUMBER, nullable=True),
        sa.Column("chi2", NUMBER, nullable=True),
        sa.Column("x", NUMBER, nullable=True),
        sa.Column("y", NUMBER, nullable=True),
        sa.Column("dx", NUMBER, nullable=True),
        sa.Column("dy", NUMBER, nullable=True),
        sa.Column("local_background", NUMBER, nullable=True),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column("flags", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "aperture_flux IS NULL OR abs(aperture_flux) < 1e300",
            name=op.f("ck_star_flux_in_frame_finite_aperture_flux"),
        ),
        sa.CheckConstraint(
            "aperture_flux_uncertainty IS NULL OR abs(aperture_flux_uncertainty) < 1e300",
            name=op.f("ck_star_flux_in_frame_finite_aperture_flux_uncertainty"),
        ),
        sa.CheckConstraint(
            "chi2 IS NULL OR abs(chi2) < 1e300", name=op.f("ck_star_flux_in_frame_finite_chi2")
        ),
        sa.CheckConstraint("dx IS NULL OR abs(dx) < 1e300", name=op.f("ck_star_flux_in_frame_finite_dx")),
        sa.CheckConstraint("dy IS NULL OR abs(dy) < 1e300", name=op.f("ck_star_flux_in_frame_finite_dy")),
        sa.CheckConstraint(
            "flux IS NULL OR abs(flux) < 1e300", name=op.f("ck_star_flux_in_frame_finite_flux")
        ),
        sa.CheckConstraint(
            "flux_uncertainty IS NULL OR abs(flux_uncertainty) < 1e300",
            name=op.f("ck_star_flux_in_frame_finite_flux_uncertainty"),
        ),
        sa.CheckConstraint(
            "flux_uncertainty IS NULL OR flux_uncertainty > 0",
            name=op.f("ck_star_flux_in_frame_positive_uncertainty"),
        ),
        sa.CheckConstraint(
            "local_background IS NULL OR abs(local_background) < 1e300",
            name=op.f("ck_star_flux_in_frame_finite_local_background"),
        ),
        sa.CheckConstraint("x IS NULL OR abs(x) < 1e300", name=op.f("ck_star_flux_in_frame_finite_x")),
        sa.CheckConstraint("y IS NULL OR abs(y) < 1e300", name=op.f("ck_star_flux_in_frame_finite_y")),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash", "star_gaia_id"],
            ["stars.combined_footprint_hash", "stars.gaia_id"],
            name=op.f("fk_star_flux_in_frame_combined_footprint_hash_star_gaia_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_star_flux_in_frame_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_star_flux_in_frame_frame_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "frame_id", "star_gaia_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_star_flux_in_frame_frame", "star_flux_in_frame", ["frame_id"], unique=False)
    op.create_index("ix_star_flux_in_frame_star", "star_flux_in_frame", ["star_gaia_id"], unique=False)


def _stars_in_frames() -> None:
    op.create_table(
        "stars_in_frames",
        sa.Column("combined_footprint_hash", sa.Text(), nullable=False),
        sa.Column("frame_id", sa.Integer(), nullable=False),
        sa.Column("star_gaia_id", BIG, nullable=False),
        sa.Column("x", NUMBER, nullable=False),
        sa.Column("y", NUMBER, nullable=False),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.CheckConstraint("x IS NULL OR abs(x) < 1e300", name=op.f("ck_stars_in_frames_finite_x")),
        sa.CheckConstraint("y IS NULL OR abs(y) < 1e300", name=op.f("ck_stars_in_frames_finite_y")),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash", "star_gaia_id"],
            ["stars.combined_footprint_hash", "stars.gaia_id"],
            name=op.f("fk_stars_in_frames_combined_footprint_hash_star_gaia_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["combined_footprint_hash"],
            ["combined_footprint.hash"],
            name=op.f("fk_stars_in_frames_combined_footprint_hash"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["frame_id"], ["frames.id"], name=op.f("fk_stars_in_frames_frame_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("combined_footprint_hash", "frame_id", "star_gaia_id"),
        sqlite_strict=True,
    )
    op.create_index("ix_stars_in_frames_frame", "stars_in_frames", ["frame_id"], unique=False)
