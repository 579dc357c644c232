BEGIN TRANSACTION;
CREATE TABLE "PSFs" (
	combined_footprint_hash TEXT NOT NULL, 
	frame_id INTEGER NOT NULL, 
	psf_ref TEXT NOT NULL, 
	chi2 REAL, 
	reserved_chi2 REAL, 
	n_stars INTEGER NOT NULL, 
	n_reserved INTEGER NOT NULL, 
	stars_used TEXT NOT NULL, 
	stars_rejected TEXT, 
	subsampling_factor INTEGER NOT NULL, 
	fwhm_pixels REAL, 
	fwhm_arcseconds REAL, 
	ellipticity REAL, 
	residual_strength REAL, 
	model_error REAL, 
	spatial_terms INTEGER, 
	relpath TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, total_flux_error REAL CONSTRAINT "ck_PSFs_finite_total_flux_error" CHECK (total_flux_error IS NULL OR abs(total_flux_error) < 1e300), 
	PRIMARY KEY (combined_footprint_hash, frame_id, psf_ref), 
	CONSTRAINT "ck_PSFs_finite_chi2" CHECK (chi2 IS NULL OR abs(chi2) < 1e300), 
	CONSTRAINT "ck_PSFs_finite_ellipticity" CHECK (ellipticity IS NULL OR abs(ellipticity) < 1e300), 
	CONSTRAINT "ck_PSFs_finite_fwhm_arcseconds" CHECK (fwhm_arcseconds IS NULL OR abs(fwhm_arcseconds) < 1e300), 
	CONSTRAINT "ck_PSFs_finite_fwhm_pixels" CHECK (fwhm_pixels IS NULL OR abs(fwhm_pixels) < 1e300), 
	CONSTRAINT "ck_PSFs_finite_model_error" CHECK (model_error IS NULL OR abs(model_error) < 1e300), 
	CONSTRAINT "ck_PSFs_finite_reserved_chi2" CHECK (reserved_chi2 IS NULL OR abs(reserved_chi2) < 1e300), 
	CONSTRAINT "ck_PSFs_finite_residual_strength" CHECK (residual_strength IS NULL OR abs(residual_strength) < 1e300), 
	CONSTRAINT "fk_PSFs_combined_footprint_hash" FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT "fk_PSFs_frame_id" FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE, 
	CONSTRAINT "uq_PSFs_one_per_frame" UNIQUE (combined_footprint_hash, frame_id)
)
 STRICT

;
INSERT INTO "PSFs" VALUES('h',1,'psf_ref of PSFs',1.5,1.5,1,1,'stars_used of PSFs','stars_rejected of PSFs',1,1.5,1.5,1.5,1.5,1.5,1,'relpath of PSFs','sha256 of PSFs',1,'recipe of PSFs',1,1.5);
CREATE TABLE absolute_zeropoints (
	combined_footprint_hash TEXT NOT NULL, 
	frame_id INTEGER NOT NULL, 
	band TEXT NOT NULL, 
	source_catalog TEXT NOT NULL, 
	system TEXT NOT NULL, 
	zeropoint REAL NOT NULL, 
	zeropoint_uncertainty REAL, 
	zeropoint_scatter REAL, 
	normalised_zeropoint REAL, 
	normalised_zeropoint_uncertainty REAL, 
	n_stars INTEGER NOT NULL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, frame_id, band), 
	CONSTRAINT ck_absolute_zeropoints_finite_normalised_zeropoint CHECK (normalised_zeropoint IS NULL OR abs(normalised_zeropoint) < 1e300), 
	CONSTRAINT ck_absolute_zeropoints_finite_normalised_zeropoint_uncertainty CHECK (normalised_zeropoint_uncertainty IS NULL OR abs(normalised_zeropoint_uncertainty) < 1e300), 
	CONSTRAINT ck_absolute_zeropoints_finite_zeropoint CHECK (zeropoint IS NULL OR abs(zeropoint) < 1e300), 
	CONSTRAINT ck_absolute_zeropoints_finite_zeropoint_scatter CHECK (zeropoint_scatter IS NULL OR abs(zeropoint_scatter) < 1e300), 
	CONSTRAINT ck_absolute_zeropoints_finite_zeropoint_uncertainty CHECK (zeropoint_uncertainty IS NULL OR abs(zeropoint_uncertainty) < 1e300), 
	CONSTRAINT fk_absolute_zeropoints_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT fk_absolute_zeropoints_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "absolute_zeropoints" VALUES('h',1,'band of absolute_zeropoints','source_catalog of absolute_zeropoints','system of absolute_zeropoints',1.5,1.5,1.5,1.5,1.5,1,'recipe of absolute_zeropoints',1);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE catalog_star_photometry (
	catalog TEXT NOT NULL, 
	band TEXT NOT NULL, 
	star_gaia_id INTEGER NOT NULL, 
	mag REAL NOT NULL, 
	mag_err REAL, 
	original_catalog_id TEXT, 
	system TEXT, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (catalog, band, star_gaia_id), 
	CONSTRAINT ck_catalog_star_photometry_finite_mag CHECK (mag IS NULL OR abs(mag) < 1e300), 
	CONSTRAINT ck_catalog_star_photometry_finite_mag_err CHECK (mag_err IS NULL OR abs(mag_err) < 1e300)
)
 STRICT

;
INSERT INTO "catalog_star_photometry" VALUES('catalog of catalog_star_photometry','band of catalog_star_photometry',7,1.5,1.5,'original_catalog_id of catalog_star_photometry','system of catalog_star_photometry','recipe of catalog_star_photometry',1);
CREATE TABLE combined_footprint (
	id INTEGER NOT NULL, 
	hash TEXT NOT NULL, 
	strategy TEXT NOT NULL, 
	definition TEXT NOT NULL, 
	largest TEXT, 
	common TEXT, 
	largest_area_deg2 REAL, 
	common_area_deg2 REAL, 
	catalog_relpath TEXT, 
	catalog_name TEXT, 
	catalog_digest TEXT, 
	selection TEXT, 
	is_current INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT ck_combined_footprint_finite_common_area_deg2 CHECK (common_area_deg2 IS NULL OR abs(common_area_deg2) < 1e300), 
	CONSTRAINT ck_combined_footprint_boolean_is_current CHECK (is_current IN (0, 1)), 
	CONSTRAINT ck_combined_footprint_finite_largest_area_deg2 CHECK (largest_area_deg2 IS NULL OR abs(largest_area_deg2) < 1e300), 
	CONSTRAINT uq_combined_footprint_hash UNIQUE (hash)
)
 STRICT

;
INSERT INTO "combined_footprint" VALUES(1,'h','strategy of combined_footprint','definition of combined_footprint','largest of combined_footprint','common of combined_footprint',1.5,1.5,'catalog_relpath of combined_footprint','catalog_name of combined_footprint','catalog_digest of combined_footprint','selection of combined_footprint',1);
CREATE TABLE files (
	path TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	mtime_ns INTEGER NOT NULL, 
	inode INTEGER NOT NULL, 
	content_hash TEXT, 
	state TEXT NOT NULL, 
	reason_code TEXT, 
	reason TEXT, 
	frame_id INTEGER, 
	recipe TEXT NOT NULL, 
	PRIMARY KEY (path), 
	CONSTRAINT ck_files_state CHECK (state IN ('imported', 'calibration', 'duplicate', 'quarantined', 'deferred', 'superseded', 'missing')), 
	CONSTRAINT fk_files_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE SET NULL
)
 STRICT

;
INSERT INTO "files" VALUES('path of files',1,1,1,'content_hash of files','imported','reason_code of files','reason of files',1,'recipe of files');
CREATE TABLE footprints (
	frame_id INTEGER NOT NULL, 
	polygon TEXT NOT NULL, 
	recipe TEXT NOT NULL, 
	PRIMARY KEY (frame_id), 
	CONSTRAINT fk_footprints_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "footprints" VALUES(1,'polygon of footprints','recipe of footprints');
CREATE TABLE frames (
	id INTEGER NOT NULL, 
	content_hash TEXT NOT NULL, 
	hdu_index INTEGER DEFAULT '0' NOT NULL, 
	original_image_path TEXT NOT NULL, 
	image_relpath TEXT NOT NULL, 
	image_sha256 TEXT, 
	sources_relpath TEXT, 
	frame_type TEXT DEFAULT 'science' NOT NULL, 
	filter TEXT, 
	object TEXT, 
	mjd REAL NOT NULL, 
	mjd_mid REAL NOT NULL, 
	bjd_tdb REAL, 
	exptime REAL NOT NULL, 
	gain REAL NOT NULL, 
	read_noise REAL, 
	saturation_adu REAL, 
	telescope_latitude REAL, 
	telescope_longitude REAL, 
	telescope_elevation REAL, 
	telescope_name TEXT, 
	telescope_imager_name TEXT, 
	naxis1 INTEGER NOT NULL, 
	naxis2 INTEGER NOT NULL, 
	airmass REAL, 
	altitude REAL, 
	azimuth REAL, 
	sun_altitude REAL, 
	degrees_to_moon REAL, 
	moon_phase REAL, 
	seeing_pixels REAL, 
	seeing_arcseconds REAL, 
	ellipticity REAL, 
	sky_level_electron_per_second REAL, 
	background_rms_electron_per_second REAL, 
	noise_ratio REAL, 
	n_sources INTEGER, 
	limiting_magnitude REAL, 
	masked_fraction REAL, 
	header_wcs TEXT, 
	pointing_ra REAL, 
	pointing_dec REAL, 
	header_pixel_scale REAL, 
	attempted_plate_solve INTEGER DEFAULT '0' NOT NULL, 
	plate_solved INTEGER DEFAULT '0' NOT NULL, 
	wcs TEXT, 
	plate_solve_method TEXT, 
	pixel_scale REAL, 
	angle_to_north REAL, 
	pixel_anisotropy REAL, 
	astrometric_rms_ra_arcsec REAL, 
	astrometric_rms_dec_arcsec REAL, 
	astrometric_matches INTEGER, 
	roi_in_footprint INTEGER, 
	eliminated INTEGER DEFAULT '0' NOT NULL, 
	comment TEXT, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT ck_frames_finite_airmass CHECK (airmass IS NULL OR abs(airmass) < 1e300), 
	CONSTRAINT ck_frames_finite_altitude CHECK (altitude IS NULL OR abs(altitude) < 1e300), 
	CONSTRAINT ck_frames_finite_angle_to_north CHECK (angle_to_north IS NULL OR abs(angle_to_north) < 1e300), 
	CONSTRAINT ck_frames_finite_astrometric_rms_dec_arcsec CHECK (astrometric_rms_dec_arcsec IS NULL OR abs(astrometric_rms_dec_arcsec) < 1e300), 
	CONSTRAINT ck_frames_finite_astrometric_rms_ra_arcsec CHECK (astrometric_rms_ra_arcsec IS NULL OR abs(astrometric_rms_ra_arcsec) < 1e300), 
	CONSTRAINT ck_frames_boolean_attempted_plate_solve CHECK (attempted_plate_solve IN (0, 1)), 
	CONSTRAINT ck_frames_finite_azimuth CHECK (azimuth IS NULL OR abs(azimuth) < 1e300), 
	CONSTRAINT ck_frames_finite_background_rms_electron_per_second CHECK (background_rms_electron_per_second IS NULL OR abs(background_rms_electron_per_second) < 1e300), 
	CONSTRAINT ck_frames_finite_bjd_tdb CHECK (bjd_tdb IS NULL OR abs(bjd_tdb) < 1e300), 
	CONSTRAINT ck_frames_finite_degrees_to_moon CHECK (degrees_to_moon IS NULL OR abs(degrees_to_moon) < 1e300), 
	CONSTRAINT ck_frames_boolean_eliminated CHECK (eliminated IN (0, 1)), 
	CONSTRAINT ck_frames_finite_ellipticity CHECK (ellipticity IS NULL OR abs(ellipticity) < 1e300), 
	CONSTRAINT ck_frames_positive_exptime CHECK (exptime > 0), 
	CONSTRAINT ck_frames_finite_exptime CHECK (exptime IS NULL OR abs(exptime) < 1e300), 
	CONSTRAINT ck_frames_positive_gain CHECK (gain > 0), 
	CONSTRAINT ck_frames_finite_gain CHECK (gain IS NULL OR abs(gain) < 1e300), 
	CONSTRAINT ck_frames_finite_header_pixel_scale CHECK (header_pixel_scale IS NULL OR abs(header_pixel_scale) < 1e300), 
	CONSTRAINT ck_frames_finite_limiting_magnitude CHECK (limiting_magnitude IS NULL OR abs(limiting_magnitude) < 1e300), 
	CONSTRAINT ck_frames_finite_masked_fraction CHECK (masked_fraction IS NULL OR abs(masked_fraction) < 1e300), 
	CONSTRAINT ck_frames_finite_mjd CHECK (mjd IS NULL OR abs(mjd) < 1e300), 
	CONSTRAINT ck_frames_finite_mjd_mid CHECK (mjd_mid IS NULL OR abs(mjd_mid) < 1e300), 
	CONSTRAINT ck_frames_finite_moon_phase CHECK (moon_phase IS NULL OR abs(moon_phase) < 1e300), 
	CONSTRAINT ck_frames_finite_noise_ratio CHECK (noise_ratio IS NULL OR abs(noise_ratio) < 1e300), 
	CONSTRAINT ck_frames_finite_pixel_anisotropy CHECK (pixel_anisotropy IS NULL OR abs(pixel_anisotropy) < 1e300), 
	CONSTRAINT ck_frames_finite_pixel_scale CHECK (pixel_scale IS NULL OR abs(pixel_scale) < 1e300), 
	CONSTRAINT ck_frames_boolean_plate_solved CHECK (plate_solved IN (0, 1)), 
	CONSTRAINT ck_frames_finite_pointing_dec CHECK (pointing_dec IS NULL OR abs(pointing_dec) < 1e300), 
	CONSTRAINT ck_frames_finite_pointing_ra CHECK (pointing_ra IS NULL OR abs(pointing_ra) < 1e300), 
	CONSTRAINT ck_frames_finite_read_noise CHECK (read_noise IS NULL OR abs(read_noise) < 1e300), 
	CONSTRAINT ck_frames_boolean_roi_in_footprint CHECK (roi_in_footprint IN (0, 1)), 
	CONSTRAINT ck_frames_finite_saturation_adu CHECK (saturation_adu IS NULL OR abs(saturation_adu) < 1e300), 
	CONSTRAINT ck_frames_finite_seeing_arcseconds CHECK (seeing_arcseconds IS NULL OR abs(seeing_arcseconds) < 1e300), 
	CONSTRAINT ck_frames_finite_seeing_pixels CHECK (seeing_pixels IS NULL OR abs(seeing_pixels) < 1e300), 
	CONSTRAINT ck_frames_finite_sky_level_electron_per_second CHECK (sky_level_electron_per_second IS NULL OR abs(sky_level_electron_per_second) < 1e300), 
	CONSTRAINT ck_frames_finite_sun_altitude CHECK (sun_altitude IS NULL OR abs(sun_altitude) < 1e300), 
	CONSTRAINT ck_frames_finite_telescope_elevation CHECK (telescope_elevation IS NULL OR abs(telescope_elevation) < 1e300), 
	CONSTRAINT ck_frames_finite_telescope_latitude CHECK (telescope_latitude IS NULL OR abs(telescope_latitude) < 1e300), 
	CONSTRAINT ck_frames_finite_telescope_longitude CHECK (telescope_longitude IS NULL OR abs(telescope_longitude) < 1e300), 
	CONSTRAINT uq_frames_content_hash UNIQUE (content_hash, hdu_index), 
	CONSTRAINT uq_frames_image_relpath UNIQUE (image_relpath)
)
 STRICT

;
INSERT INTO "frames" VALUES(1,'content_hash of frames',1,'original_image_path of frames','image_relpath of frames','image_sha256 of frames','sources_relpath of frames','frame_type of frames','r','object of frames',1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,'telescope_name of frames','telescope_imager_name of frames',1,1,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1,1.5,1.5,'header_wcs of frames',1.5,1.5,1.5,1,1,'wcs of frames','plate_solve_method of frames',1.5,1.5,1.5,1.5,1.5,1,1,1,'comment of frames','recipe of frames',1);
CREATE TABLE group_results (
	task TEXT NOT NULL, 
	combined_footprint_hash TEXT NOT NULL, 
	group_key TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason_code TEXT, 
	reason TEXT, 
	attempts INTEGER DEFAULT '1' NOT NULL, 
	n_items INTEGER NOT NULL, 
	seconds REAL, 
	run_id INTEGER, 
	recipe TEXT NOT NULL, 
	PRIMARY KEY (task, combined_footprint_hash, group_key), 
	CONSTRAINT ck_group_results_state CHECK (state IN ('done', 'rejected', 'error')), 
	CONSTRAINT ck_group_results_finite_seconds CHECK (seconds IS NULL OR abs(seconds) < 1e300)
)
 STRICT

;
INSERT INTO "group_results" VALUES('task of group_results','h','group_key of group_results','digest of group_results','done','reason_code of group_results','reason of group_results',1,1,1.5,1,'recipe of group_results');
CREATE TABLE normalization_coefficients (
	combined_footprint_hash TEXT NOT NULL, 
	frame_id INTEGER NOT NULL, 
	filter TEXT NOT NULL, 
	coefficient REAL NOT NULL, 
	coefficient_uncertainty REAL, 
	reduced_chi2 REAL, 
	n_stars INTEGER NOT NULL, 
	flux_kind TEXT DEFAULT 'psf' NOT NULL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, psf_uncertainty REAL CONSTRAINT "ck_normalization_coefficients_finite_psf_uncertainty" CHECK (psf_uncertainty IS NULL OR abs(psf_uncertainty) < 1e300), 
	PRIMARY KEY (combined_footprint_hash, frame_id), 
	CONSTRAINT ck_normalization_coefficients_positive_coefficient CHECK (coefficient > 0), 
	CONSTRAINT ck_normalization_coefficients_finite_coefficient CHECK (coefficient IS NULL OR abs(coefficient) < 1e300), 
	CONSTRAINT ck_normalization_coefficients_finite_coefficient_uncertainty CHECK (coefficient_uncertainty IS NULL OR abs(coefficient_uncertainty) < 1e300), 
	CONSTRAINT ck_normalization_coefficients_finite_reduced_chi2 CHECK (reduced_chi2 IS NULL OR abs(reduced_chi2) < 1e300), 
	CONSTRAINT fk_normalization_coefficients_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT fk_normalization_coefficients_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "normalization_coefficients" VALUES('h',1,'r',1.5,1.5,1.5,1,'flux_kind of normalization_coefficients','recipe of normalization_coefficients',1,1.5);
CREATE TABLE normalization_exclusions (
	id INTEGER NOT NULL, 
	combined_footprint_hash TEXT NOT NULL, 
	filter TEXT NOT NULL, 
	frame_id INTEGER, 
	star_gaia_id INTEGER, 
	residual REAL, 
	weight REAL, 
	reason TEXT NOT NULL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT ck_normalization_exclusions_finite_residual CHECK (residual IS NULL OR abs(residual) < 1e300), 
	CONSTRAINT ck_normalization_exclusions_finite_weight CHECK (weight IS NULL OR abs(weight) < 1e300), 
	CONSTRAINT ck_normalization_exclusions_frame_or_star CHECK (frame_id IS NOT NULL OR star_gaia_id IS NOT NULL), 
	CONSTRAINT fk_normalization_exclusions_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT fk_normalization_exclusions_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "normalization_exclusions" VALUES(1,'h','r',1,7,1.5,1.5,'reason of normalization_exclusions','recipe of normalization_exclusions',1);
CREATE TABLE normalization_stars (
	combined_footprint_hash TEXT NOT NULL, 
	filter TEXT NOT NULL, 
	star_gaia_id INTEGER NOT NULL, 
	mean_flux REAL, 
	mean_flux_uncertainty REAL, 
	excess_scatter REAL, 
	influence REAL, 
	n_frames INTEGER NOT NULL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, influence_rms REAL CONSTRAINT "ck_normalization_stars_finite_influence_rms" CHECK (influence_rms IS NULL OR abs(influence_rms) < 1e300), 
	PRIMARY KEY (combined_footprint_hash, filter, star_gaia_id), 
	CONSTRAINT ck_normalization_stars_finite_excess_scatter CHECK (excess_scatter IS NULL OR abs(excess_scatter) < 1e300), 
	CONSTRAINT ck_normalization_stars_finite_influence CHECK (influence IS NULL OR abs(influence) < 1e300), 
	CONSTRAINT ck_normalization_stars_finite_mean_flux CHECK (mean_flux IS NULL OR abs(mean_flux) < 1e300), 
	CONSTRAINT ck_normalization_stars_finite_mean_flux_uncertainty CHECK (mean_flux_uncertainty IS NULL OR abs(mean_flux_uncertainty) < 1e300), 
	CONSTRAINT fk_normalization_stars_combined_footprint_hash_star_gaia_id FOREIGN KEY(combined_footprint_hash, star_gaia_id) REFERENCES stars (combined_footprint_hash, gaia_id) ON DELETE CASCADE, 
	CONSTRAINT fk_normalization_stars_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "normalization_stars" VALUES('h','r',7,1.5,1.5,1.5,1.5,1,'recipe of normalization_stars',1,1.5);
CREATE TABLE plate_solve_attempts (
	frame_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	method TEXT NOT NULL, 
	outcome TEXT NOT NULL, 
	n_matches INTEGER, 
	rms_arcsec REAL, 
	message TEXT, 
	recipe TEXT NOT NULL, 
	PRIMARY KEY (frame_id, attempt), 
	CONSTRAINT ck_plate_solve_attempts_finite_rms_arcsec CHECK (rms_arcsec IS NULL OR abs(rms_arcsec) < 1e300), 
	CONSTRAINT fk_plate_solve_attempts_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "plate_solve_attempts" VALUES(1,1,'method of plate_solve_attempts','outcome of plate_solve_attempts',1,1.5,'message of plate_solve_attempts','recipe of plate_solve_attempts');
CREATE TABLE point_sources (
	roi TEXT NOT NULL, 
	name TEXT NOT NULL, 
	ra REAL NOT NULL, 
	dec REAL NOT NULL, 
	PRIMARY KEY (roi, name), 
	CONSTRAINT ck_point_sources_finite_dec CHECK (dec IS NULL OR abs(dec) < 1e300), 
	CONSTRAINT ck_point_sources_finite_ra CHECK (ra IS NULL OR abs(ra) < 1e300), 
	CONSTRAINT fk_point_sources_roi FOREIGN KEY(roi) REFERENCES rois (name) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "point_sources" VALUES('target','A',1.5,1.5);
CREATE TABLE regions (
	combined_footprint_hash TEXT NOT NULL, 
	frame_id INTEGER NOT NULL, 
	relpath TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	size INTEGER NOT NULL, 
	n_stars INTEGER NOT NULL, 
	star_size_px INTEGER NOT NULL, 
	cosmic_fraction REAL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, frame_id), 
	CONSTRAINT ck_regions_finite_cosmic_fraction CHECK (cosmic_fraction IS NULL OR abs(cosmic_fraction) < 1e300), 
	CONSTRAINT fk_regions_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT fk_regions_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "regions" VALUES('h',1,'relpath of regions','sha256 of regions',1,1,1,1.5,'recipe of regions',1);
CREATE TABLE roi_flux (
	combined_footprint_hash TEXT NOT NULL, 
	roi TEXT NOT NULL, 
	point_source TEXT NOT NULL, 
	frame_id INTEGER NOT NULL, 
	filter TEXT NOT NULL, 
	flux REAL, 
	flux_uncertainty REAL, 
	photon_uncertainty REAL, 
	background_uncertainty REAL, 
	normalization_uncertainty REAL, 
	reduced_chi2 REAL, 
	dx REAL, 
	dy REAL, 
	local_background REAL, 
	zeropoint REAL, 
	zeropoint_uncertainty REAL, 
	mag REAL, 
	mag_uncertainty_up REAL, 
	mag_uncertainty_down REAL, 
	mag_limit REAL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, roi, point_source, frame_id), 
	CONSTRAINT ck_roi_flux_finite_background_uncertainty CHECK (background_uncertainty IS NULL OR abs(background_uncertainty) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_dx CHECK (dx IS NULL OR abs(dx) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_dy CHECK (dy IS NULL OR abs(dy) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_flux CHECK (flux IS NULL OR abs(flux) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_flux_uncertainty CHECK (flux_uncertainty IS NULL OR abs(flux_uncertainty) < 1e300), 
	CONSTRAINT ck_roi_flux_positive_uncertainty CHECK (flux_uncertainty IS NULL OR flux_uncertainty > 0), 
	CONSTRAINT ck_roi_flux_finite_local_background CHECK (local_background IS NULL OR abs(local_background) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_mag CHECK (mag IS NULL OR abs(mag) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_mag_limit CHECK (mag_limit IS NULL OR abs(mag_limit) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_mag_uncertainty_down CHECK (mag_uncertainty_down IS NULL OR abs(mag_uncertainty_down) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_mag_uncertainty_up CHECK (mag_uncertainty_up IS NULL OR abs(mag_uncertainty_up) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_normalization_uncertainty CHECK (normalization_uncertainty IS NULL OR abs(normalization_uncertainty) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_photon_uncertainty CHECK (photon_uncertainty IS NULL OR abs(photon_uncertainty) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_reduced_chi2 CHECK (reduced_chi2 IS NULL OR abs(reduced_chi2) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_zeropoint CHECK (zeropoint IS NULL OR abs(zeropoint) < 1e300), 
	CONSTRAINT ck_roi_flux_finite_zeropoint_uncertainty CHECK (zeropoint_uncertainty IS NULL OR abs(zeropoint_uncertainty) < 1e300), 
	CONSTRAINT fk_roi_flux_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT fk_roi_flux_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE, 
	CONSTRAINT fk_roi_flux_roi_point_source FOREIGN KEY(roi, point_source) REFERENCES point_sources (roi, name) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "roi_flux" VALUES('h','target','A',1,'r',1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,'recipe of roi_flux',1);
CREATE TABLE roi_models (
	combined_footprint_hash TEXT NOT NULL, 
	roi TEXT NOT NULL, 
	filter TEXT NOT NULL, 
	n_epochs INTEGER NOT NULL, 
	cutouts_relpath TEXT, 
	cutouts_sha256 TEXT, 
	model_relpath TEXT, 
	model_sha256 TEXT, 
	reduced_chi2 REAL, 
	astrometry TEXT, 
	constant_offsets TEXT, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, roi, filter), 
	CONSTRAINT ck_roi_models_finite_reduced_chi2 CHECK (reduced_chi2 IS NULL OR abs(reduced_chi2) < 1e300), 
	CONSTRAINT fk_roi_models_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT fk_roi_models_roi FOREIGN KEY(roi) REFERENCES rois (name) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "roi_models" VALUES('h','target','r',1,'cutouts_relpath of roi_models','cutouts_sha256 of roi_models','model_relpath of roi_models','model_sha256 of roi_models',1.5,'astrometry of roi_models','constant_offsets of roi_models','recipe of roi_models',1);
CREATE TABLE rois (
	name TEXT NOT NULL, 
	ra REAL NOT NULL, 
	dec REAL NOT NULL, 
	PRIMARY KEY (name), 
	CONSTRAINT ck_rois_finite_dec CHECK (dec IS NULL OR abs(dec) < 1e300), 
	CONSTRAINT ck_rois_finite_ra CHECK (ra IS NULL OR abs(ra) < 1e300)
)
 STRICT

;
INSERT INTO "rois" VALUES('target',1.5,1.5);
CREATE TABLE runs (
	id INTEGER NOT NULL, 
	started TEXT NOT NULL, 
	ended TEXT, 
	host TEXT, 
	pid INTEGER, 
	version TEXT NOT NULL, 
	config_hash TEXT NOT NULL, 
	config TEXT NOT NULL, 
	exit_code INTEGER, 
	summary TEXT, boot_id TEXT, heartbeat TEXT, 
	PRIMARY KEY (id)
)
 STRICT

;
INSERT INTO "runs" VALUES(1,'2026-01-01T00:00:00.000000Z','ended of runs','host of runs',1,'version of runs','config_hash of runs','config of runs',1,'summary of runs','boot_id of runs','heartbeat of runs');
CREATE TABLE star_flux_in_frame (
	combined_footprint_hash TEXT NOT NULL, 
	frame_id INTEGER NOT NULL, 
	star_gaia_id INTEGER NOT NULL, 
	flux REAL, 
	flux_uncertainty REAL, 
	aperture_flux REAL, 
	aperture_flux_uncertainty REAL, 
	chi2 REAL, 
	x REAL, 
	y REAL, 
	dx REAL, 
	dy REAL, 
	local_background REAL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, frame_id, star_gaia_id), 
	CONSTRAINT ck_star_flux_in_frame_finite_aperture_flux CHECK (aperture_flux IS NULL OR abs(aperture_flux) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_finite_aperture_flux_uncertainty CHECK (aperture_flux_uncertainty IS NULL OR abs(aperture_flux_uncertainty) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_finite_chi2 CHECK (chi2 IS NULL OR abs(chi2) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_finite_dx CHECK (dx IS NULL OR abs(dx) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_finite_dy CHECK (dy IS NULL OR abs(dy) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_finite_flux CHECK (flux IS NULL OR abs(flux) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_finite_flux_uncertainty CHECK (flux_uncertainty IS NULL OR abs(flux_uncertainty) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_positive_uncertainty CHECK (flux_uncertainty IS NULL OR flux_uncertainty > 0), 
	CONSTRAINT ck_star_flux_in_frame_finite_local_background CHECK (local_background IS NULL OR abs(local_background) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_finite_x CHECK (x IS NULL OR abs(x) < 1e300), 
	CONSTRAINT ck_star_flux_in_frame_finite_y CHECK (y IS NULL OR abs(y) < 1e300), 
	CONSTRAINT fk_star_flux_in_frame_combined_footprint_hash_star_gaia_id FOREIGN KEY(combined_footprint_hash, star_gaia_id) REFERENCES stars (combined_footprint_hash, gaia_id) ON DELETE CASCADE, 
	CONSTRAINT fk_star_flux_in_frame_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT fk_star_flux_in_frame_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "star_flux_in_frame" VALUES('h',1,7,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,'recipe of star_flux_in_frame',1);
CREATE TABLE stars (
	combined_footprint_hash TEXT NOT NULL, 
	gaia_id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	ra REAL NOT NULL, 
	dec REAL NOT NULL, 
	gmag REAL, 
	rmag REAL, 
	bmag REAL, 
	pmra REAL, 
	pmdec REAL, 
	ref_epoch REAL, 
	distance_to_roi_arcsec REAL, 
	recipe TEXT NOT NULL, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, gaia_id), 
	CONSTRAINT ck_stars_finite_bmag CHECK (bmag IS NULL OR abs(bmag) < 1e300), 
	CONSTRAINT ck_stars_finite_dec CHECK (dec IS NULL OR abs(dec) < 1e300), 
	CONSTRAINT ck_stars_finite_distance_to_roi_arcsec CHECK (distance_to_roi_arcsec IS NULL OR abs(distance_to_roi_arcsec) < 1e300), 
	CONSTRAINT ck_stars_finite_gmag CHECK (gmag IS NULL OR abs(gmag) < 1e300), 
	CONSTRAINT ck_stars_finite_pmdec CHECK (pmdec IS NULL OR abs(pmdec) < 1e300), 
	CONSTRAINT ck_stars_finite_pmra CHECK (pmra IS NULL OR abs(pmra) < 1e300), 
	CONSTRAINT ck_stars_finite_ra CHECK (ra IS NULL OR abs(ra) < 1e300), 
	CONSTRAINT ck_stars_finite_ref_epoch CHECK (ref_epoch IS NULL OR abs(ref_epoch) < 1e300), 
	CONSTRAINT ck_stars_finite_rmag CHECK (rmag IS NULL OR abs(rmag) < 1e300), 
	CONSTRAINT fk_stars_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT uq_stars_name UNIQUE (combined_footprint_hash, name)
)
 STRICT

;
INSERT INTO "stars" VALUES('h',7,'name of stars',1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,1.5,'recipe of stars',1);
CREATE TABLE stars_in_frames (
	combined_footprint_hash TEXT NOT NULL, 
	frame_id INTEGER NOT NULL, 
	star_gaia_id INTEGER NOT NULL, 
	x REAL NOT NULL, 
	y REAL NOT NULL, 
	recipe TEXT NOT NULL, 
	PRIMARY KEY (combined_footprint_hash, frame_id, star_gaia_id), 
	CONSTRAINT ck_stars_in_frames_finite_x CHECK (x IS NULL OR abs(x) < 1e300), 
	CONSTRAINT ck_stars_in_frames_finite_y CHECK (y IS NULL OR abs(y) < 1e300), 
	CONSTRAINT fk_stars_in_frames_combined_footprint_hash_star_gaia_id FOREIGN KEY(combined_footprint_hash, star_gaia_id) REFERENCES stars (combined_footprint_hash, gaia_id) ON DELETE CASCADE, 
	CONSTRAINT fk_stars_in_frames_combined_footprint_hash FOREIGN KEY(combined_footprint_hash) REFERENCES combined_footprint (hash) ON DELETE CASCADE, 
	CONSTRAINT fk_stars_in_frames_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "stars_in_frames" VALUES('h',1,7,1.5,1.5,'recipe of stars_in_frames');
CREATE TABLE task_counts (
	task TEXT NOT NULL, 
	combined_footprint_hash TEXT NOT NULL, 
	recipe TEXT NOT NULL, 
	state TEXT NOT NULL, 
	n INTEGER NOT NULL, 
	ids INTEGER NOT NULL, 
	squares INTEGER NOT NULL, 
	PRIMARY KEY (task, combined_footprint_hash, recipe, state)
)
 STRICT

;
INSERT INTO "task_counts" VALUES('task of task_results','h','recipe of task_results','done',1,1,1);
CREATE TABLE task_errors (
	id INTEGER NOT NULL, 
	run_id INTEGER, 
	task TEXT NOT NULL, 
	item TEXT NOT NULL, 
	frame_id INTEGER, 
	reason_code TEXT NOT NULL, 
	message TEXT NOT NULL, 
	details TEXT, 
	at TEXT NOT NULL, 
	recipe TEXT NOT NULL, 
	PRIMARY KEY (id)
)
 STRICT

;
INSERT INTO "task_errors" VALUES(1,1,'task of task_errors','item of task_errors',1,'reason_code of task_errors','message of task_errors','details of task_errors','at of task_errors','recipe of task_errors');
CREATE TABLE task_recipes (
	task TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	upstream TEXT, 
	recipe TEXT NOT NULL, 
	settings TEXT NOT NULL, 
	PRIMARY KEY (task)
)
 STRICT

;
INSERT INTO "task_recipes" VALUES('task of task_recipes',1,'upstream of task_recipes','recipe of task_recipes','settings of task_recipes');
CREATE TABLE task_results (
	task TEXT NOT NULL, 
	combined_footprint_hash TEXT NOT NULL, 
	frame_id INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	reason_code TEXT, 
	reason TEXT, 
	flags INTEGER DEFAULT '0' NOT NULL, 
	attempts INTEGER DEFAULT '1' NOT NULL, 
	seconds REAL, 
	run_id INTEGER, 
	recipe TEXT NOT NULL, 
	PRIMARY KEY (task, combined_footprint_hash, frame_id), 
	CONSTRAINT ck_task_results_state CHECK (state IN ('done', 'rejected', 'error')), 
	CONSTRAINT ck_task_results_finite_seconds CHECK (seconds IS NULL OR abs(seconds) < 1e300), 
	CONSTRAINT fk_task_results_frame_id FOREIGN KEY(frame_id) REFERENCES frames (id) ON DELETE CASCADE
)
 STRICT

;
INSERT INTO "task_results" VALUES('task of task_results','h',1,'done','reason_code of task_results','reason of task_results',1,1,1.5,1,'recipe of task_results');
CREATE INDEX ix_frames_mjd ON frames (mjd);
CREATE INDEX ix_files_content_hash ON files (content_hash);
CREATE INDEX ix_files_frame_id ON files (frame_id);
CREATE INDEX ix_task_results_frame ON task_results (frame_id);
CREATE INDEX ix_roi_flux_frame ON roi_flux (frame_id);
CREATE INDEX ix_star_flux_in_frame_frame ON star_flux_in_frame (frame_id);
CREATE INDEX ix_star_flux_in_frame_star ON star_flux_in_frame (star_gaia_id);
CREATE INDEX ix_stars_in_frames_frame ON stars_in_frames (frame_id);
CREATE INDEX ix_normalization_exclusions_group ON normalization_exclusions (combined_footprint_hash, filter);
CREATE INDEX ix_normalization_exclusions_frame ON normalization_exclusions (frame_id);
CREATE INDEX ix_task_results_counting ON task_results (task, recipe, combined_footprint_hash, frame_id, state, run_id);
CREATE INDEX ix_frames_counting ON frames (naxis1, naxis2, eliminated, roi_in_footprint);
CREATE INDEX ix_files_state ON files (state, reason_code);
CREATE INDEX ix_regions_size ON regions (size);
CREATE INDEX "ix_PSFs_size" ON "PSFs" (size);
CREATE INDEX ix_task_results_not_done ON task_results (task, recipe) WHERE state <> 'done';
CREATE VIEW "progress" AS 
        WITH places AS MATERIALIZED (
            SELECT '' AS place UNION SELECT hash FROM combined_footprint WHERE is_current = 1),
        passed AS MATERIALIZED (
            SELECT task, recipe, combined_footprint_hash AS place,
                   sum(n) AS n, sum(ids) AS ids, sum(squares) AS squares,
                   sum(CASE WHEN state = 'done' THEN n ELSE 0 END) AS done,
                   sum(CASE WHEN state = 'done' THEN ids ELSE 0 END) AS done_ids,
                   sum(CASE WHEN state = 'done' THEN squares ELSE 0 END) AS done_squares,
                   sum(CASE WHEN state = 'rejected' THEN n ELSE 0 END) AS rejected,
                   sum(CASE WHEN state = 'error' THEN n ELSE 0 END) AS failed
            FROM task_counts GROUP BY task, recipe, combined_footprint_hash),
        recipes AS MATERIALIZED (
            SELECT r.task, r.recipe, r.position, u.task AS upstream, u.recipe AS upstream_recipe,
                   CASE WHEN r.task IN ('plate_solving', 'calculate_common_and_total_footprint')
                        THEN 0 ELSE 1 END AS needs_roi,
                   CASE WHEN (own.n, own.ids, own.squares) = (up.done, up.done_ids, up.done_squares)
                        THEN 1 ELSE 0 END AS level
            FROM task_recipes r LEFT JOIN task_recipes u ON u.task = r.upstream
            LEFT JOIN passed own ON own.task = r.task AND own.recipe = r.recipe
                AND own.place IN (SELECT place FROM places)
            LEFT JOIN passed up ON up.task = u.task AND up.recipe = u.recipe
                AND up.place IN (SELECT place FROM places)),
        left_out AS MATERIALIZED (
            SELECT id, eliminated FROM frames
            WHERE eliminated = 1 OR roi_in_footprint = 0 OR roi_in_footprint IS NULL),
        counted AS MATERIALIZED (
            SELECT r.task, p.done, p.rejected, p.failed FROM recipes r JOIN passed p
            ON p.task = r.task AND p.recipe = r.recipe AND p.place IN (SELECT place FROM places)
            UNION ALL
            SELECT r.task, -sum(CASE WHEN t.state = 'done' THEN 1 ELSE 0 END),
                   -sum(CASE WHEN t.state = 'rejected' THEN 1 ELSE 0 END),
                   -sum(CASE WHEN t.state = 'error' THEN 1 ELSE 0 END)
            FROM left_out CROSS JOIN task_results t ON t.frame_id = left_out.id
            JOIN recipes r ON r.task = t.task AND r.recipe = t.recipe
            WHERE left_out.eliminated = 1 AND t.combined_footprint_hash IN (SELECT place FROM places) GROUP BY r.task
            UNION ALL
            SELECT r.task, sum(CASE WHEN g.state = 'done' THEN 1 ELSE 0 END),
                   sum(CASE WHEN g.state = 'rejected' THEN 1 ELSE 0 END),
                   sum(CASE WHEN g.state = 'error' THEN 1 ELSE 0 END)
            FROM recipes r JOIN group_results g ON g.task = r.task AND g.recipe = r.recipe
            WHERE g.combined_footprint_hash IN (SELECT place FROM places) GROUP BY r.task),
        waiting AS MATERIALIZED (
            SELECT r.task, count(*) AS n FROM recipes r CROSS JOIN places p CROSS JOIN task_results t
            ON t.task = r.upstream AND t.recipe = r.upstream_recipe AND t.combined_footprint_hash = p.place
            WHERE r.level = 0 AND t.state = 'done' AND NOT EXISTS (
                SELECT 1 FROM places q CROSS JOIN task_results o ON o.task = r.task AND o.recipe = r.recipe
                AND o.combined_footprint_hash = q.place AND o.frame_id = t.frame_id) GROUP BY r.task
            UNION ALL
            SELECT r.task, -count(*) FROM recipes r CROSS JOIN left_out CROSS JOIN task_results t
            ON t.frame_id = left_out.id AND t.task = r.upstream AND t.recipe = r.upstream_recipe
            WHERE r.level = 0 AND (left_out.eliminated = 1 OR r.needs_roi = 1) AND t.state = 'done'
            AND t.combined_footprint_hash IN (SELECT place FROM places) AND NOT EXISTS (
                SELECT 1 FROM places q CROSS JOIN task_results o ON o.task = r.task AND o.recipe = r.recipe
                AND o.combined_footprint_hash = q.place AND o.frame_id = t.frame_id) GROUP BY r.task)
        SELECT r.task,
               (SELECT coalesce(sum(done), 0) FROM counted c WHERE c.task = r.task) AS done,
               CASE WHEN r.upstream IS NOT NULL
                    THEN (SELECT coalesce(sum(n), 0) FROM waiting w WHERE w.task = r.task) END AS pending,
               (SELECT coalesce(sum(rejected), 0) FROM counted c WHERE c.task = r.task) AS rejected,
               (SELECT coalesce(sum(failed), 0) FROM counted c WHERE c.task = r.task) AS failed,
               r.position
        FROM recipes r ORDER BY r.position;
CREATE VIEW "current_psfs" AS 
        SELECT p.*, f.mjd_mid, f.filter, f.image_relpath
        FROM "PSFs" p JOIN frames f ON f.id = p.frame_id
        JOIN task_recipes r ON r.task = 'psf_modeling' AND r.recipe = p.recipe
        JOIN combined_footprint c ON c.hash = p.combined_footprint_hash AND c.is_current = 1;
CREATE VIEW "current_star_fluxes" AS 
        SELECT s.*, n.name AS star, n.gmag, f.mjd_mid, f.bjd_tdb, f.filter,
               k.coefficient, s.flux / k.coefficient AS normalised_flux
        FROM star_flux_in_frame s JOIN frames f ON f.id = s.frame_id
        JOIN stars n ON n.combined_footprint_hash = s.combined_footprint_hash AND n.gaia_id = s.star_gaia_id
        JOIN task_recipes r ON r.task = 'star_photometry' AND r.recipe = s.recipe
        JOIN combined_footprint c ON c.hash = s.combined_footprint_hash AND c.is_current = 1
        LEFT JOIN normalization_coefficients k
          ON k.combined_footprint_hash = s.combined_footprint_hash AND k.frame_id = s.frame_id
          AND k.recipe = (SELECT recipe FROM task_recipes WHERE task = 'calculate_normalization_coefficient');
CREATE VIEW "frame_quality" AS 
        SELECT f.id AS frame_id, f.image_relpath, f.filter, f.mjd_mid, f.bjd_tdb, f.exptime, f.airmass,
               f.seeing_arcseconds, f.ellipticity, f.sky_level_electron_per_second,
               f.background_rms_electron_per_second, f.limiting_magnitude, f.plate_solved,
               f.astrometric_rms_ra_arcsec, f.astrometric_rms_dec_arcsec, f.roi_in_footprint,
               f.eliminated, f.comment, p.chi2 AS psf_chi2, p.reserved_chi2 AS psf_reserved_chi2,
               k.coefficient, k.coefficient_uncertainty, z.zeropoint, z.zeropoint_uncertainty,
               f.flags | coalesce(p.flags, 0) | coalesce(k.flags, 0) | coalesce(z.flags, 0) AS flags
        FROM frames f
        LEFT JOIN combined_footprint c ON c.is_current = 1
        LEFT JOIN "PSFs" p ON p.frame_id = f.id AND p.combined_footprint_hash = c.hash
          AND p.recipe = (SELECT recipe FROM task_recipes WHERE task = 'psf_modeling')
        LEFT JOIN normalization_coefficients k ON k.frame_id = f.id AND k.combined_footprint_hash = c.hash
          AND k.recipe = (SELECT recipe FROM task_recipes WHERE task = 'calculate_normalization_coefficient')
        LEFT JOIN absolute_zeropoints z ON z.frame_id = f.id AND z.combined_footprint_hash = c.hash
          AND z.recipe = (SELECT recipe FROM task_recipes WHERE task = 'calculate_absolute_zeropoints');
CREATE VIEW "light_curves" AS 
        SELECT x.roi, x.point_source, x.filter, x.frame_id, f.mjd_mid AS mjd, f.bjd_tdb,
               x.flux, x.flux_uncertainty,
               x.mag, x.mag_uncertainty_up, x.mag_uncertainty_down, x.mag_limit,
               x.zeropoint, f.seeing_arcseconds, f.airmass, f.sky_level_electron_per_second,
               x.reduced_chi2, x.flags
        FROM roi_flux x JOIN frames f ON f.id = x.frame_id
        JOIN task_recipes r ON r.task = 'model_calibrated_cutouts' AND r.recipe = x.recipe
        JOIN combined_footprint c ON c.hash = x.combined_footprint_hash AND c.is_current = 1
        WHERE f.eliminated = 0 AND x.flux IS NOT NULL;
CREATE TRIGGER task_counts_insert AFTER INSERT ON task_results BEGIN 
    INSERT INTO task_counts (task, combined_footprint_hash, recipe, state, n, ids, squares)
        SELECT NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state, 0, 0, 0 WHERE NOT EXISTS (
            SELECT 1 FROM task_counts WHERE (task, combined_footprint_hash, recipe, state)
            = (NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state));
    UPDATE task_counts SET n = n + 1, ids = ids + NEW.frame_id, squares = squares + NEW.frame_id * NEW.frame_id
        WHERE (task, combined_footprint_hash, recipe, state)
        = (NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state); END;
CREATE TRIGGER task_counts_delete AFTER DELETE ON task_results BEGIN 
    UPDATE task_counts SET n = n - 1, ids = ids - OLD.frame_id, squares = squares - OLD.frame_id * OLD.frame_id
        WHERE (task, combined_footprint_hash, recipe, state)
        = (OLD.task, OLD.combined_footprint_hash, OLD.recipe, OLD.state);
    DELETE FROM task_counts WHERE n = 0 AND (task, combined_footprint_hash, recipe, state)
        = (OLD.task, OLD.combined_footprint_hash, OLD.recipe, OLD.state); END;
CREATE TRIGGER task_counts_update AFTER UPDATE ON task_results WHEN NEW.frame_id IS NOT OLD.frame_id OR NEW.task IS NOT OLD.task OR NEW.combined_footprint_hash IS NOT OLD.combined_footprint_hash OR NEW.recipe IS NOT OLD.recipe OR NEW.state IS NOT OLD.state BEGIN 
    UPDATE task_counts SET n = n - 1, ids = ids - OLD.frame_id, squares = squares - OLD.frame_id * OLD.frame_id
        WHERE (task, combined_footprint_hash, recipe, state)
        = (OLD.task, OLD.combined_footprint_hash, OLD.recipe, OLD.state);
    DELETE FROM task_counts WHERE n = 0 AND (task, combined_footprint_hash, recipe, state)
        = (OLD.task, OLD.combined_footprint_hash, OLD.recipe, OLD.state); 
    INSERT INTO task_counts (task, combined_footprint_hash, recipe, state, n, ids, squares)
        SELECT NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state, 0, 0, 0 WHERE NOT EXISTS (
            SELECT 1 FROM task_counts WHERE (task, combined_footprint_hash, recipe, state)
            = (NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state));
    UPDATE task_counts SET n = n + 1, ids = ids + NEW.frame_id, squares = squares + NEW.frame_id * NEW.frame_id
        WHERE (task, combined_footprint_hash, recipe, state)
        = (NEW.task, NEW.combined_footprint_hash, NEW.recipe, NEW.state); END;
COMMIT;
