"""The views for users' SQL: always of what is in use now, whatever else is kept (docs/sql.md)."""

from __future__ import annotations

VIEWS: dict[str, str] = {
    # counted from indices alone: of all results those of the few frames that are left out are taken away again
    "progress": """
        WITH recipes AS MATERIALIZED (
            SELECT r.task, r.recipe, r.position, u.task AS upstream, u.recipe AS upstream_recipe,
                   r.task NOT IN ('plate_solving', 'calculate_common_and_total_footprint') AS needs_roi
            FROM task_recipes r LEFT JOIN task_recipes u ON u.task = r.upstream),
        places AS MATERIALIZED (
            SELECT '' AS place UNION SELECT hash FROM combined_footprint WHERE is_current = 1),
        out AS MATERIALIZED (SELECT id, 1 AS eliminated FROM frames WHERE eliminated = 1
            UNION ALL SELECT id, 0 FROM frames WHERE eliminated = 0 AND roi_in_footprint = 0
            UNION ALL SELECT id, 0 FROM frames WHERE eliminated = 0 AND roi_in_footprint IS NULL),
        counted AS (
            SELECT r.task, t.state, count(*) AS n FROM recipes r CROSS JOIN places p CROSS JOIN task_results t
            ON t.task = r.task AND t.recipe = r.recipe AND t.combined_footprint_hash = p.place GROUP BY 1, 2
            UNION ALL
            SELECT r.task, t.state, -count(*) FROM out CROSS JOIN task_results t ON t.frame_id = out.id
            JOIN recipes r ON r.task = t.task AND r.recipe = t.recipe
            WHERE out.eliminated = 1 AND t.combined_footprint_hash IN (SELECT place FROM places) GROUP BY 1, 2
            UNION ALL
            SELECT r.task, g.state, count(*) FROM recipes r JOIN group_results g
            ON g.task = r.task AND g.recipe = r.recipe
            WHERE g.combined_footprint_hash IN (SELECT place FROM places) GROUP BY 1, 2),
        waiting AS (
            SELECT r.task, count(*) AS n FROM recipes r CROSS JOIN places p CROSS JOIN task_results t
            ON t.task = r.upstream AND t.recipe = r.upstream_recipe AND t.combined_footprint_hash = p.place
            WHERE t.state = 'done' AND NOT EXISTS (
                SELECT 1 FROM places q CROSS JOIN task_results o ON o.task = r.task AND o.recipe = r.recipe
                AND o.combined_footprint_hash = q.place AND o.frame_id = t.frame_id) GROUP BY 1
            UNION ALL
            SELECT r.task, -count(*) FROM recipes r CROSS JOIN out CROSS JOIN task_results t
            ON t.frame_id = out.id AND t.task = r.upstream AND t.recipe = r.upstream_recipe
            WHERE (out.eliminated = 1 OR r.needs_roi) AND t.state = 'done'
            AND t.combined_footprint_hash IN (SELECT place FROM places) AND NOT EXISTS (
                SELECT 1 FROM places q CROSS JOIN task_results o ON o.task = r.task AND o.recipe = r.recipe
                AND o.combined_footprint_hash = q.place AND o.frame_id = t.frame_id) GROUP BY 1)
        SELECT r.task,
               (SELECT coalesce(sum(n), 0) FROM counted c WHERE c.task = r.task AND c.state = 'done') AS done,
               (SELECT coalesce(sum(n), 0) FROM waiting w WHERE w.task = r.task) AS pending,
               (SELECT coalesce(sum(n), 0) FROM counted c WHERE c.task = r.task AND c.state = 'rejected') AS rejected,
               (SELECT coalesce(sum(n), 0) FROM counted c WHERE c.task = r.task AND c.state = 'error') AS failed,
               r.position
        FROM recipes r ORDER BY r.position""",
    "current_psfs": """
        SELECT p.*, f.mjd_mid, f.filter, f.image_relpath
        FROM "PSFs" p JOIN frames f ON f.id = p.frame_id
        JOIN task_recipes r ON r.task = 'psf_modeling' AND r.recipe = p.recipe
        JOIN combined_footprint c ON c.hash = p.combined_footprint_hash AND c.is_current = 1""",
    "current_star_fluxes": """
        SELECT s.*, n.name AS star, n.gmag, f.mjd_mid, f.bjd_tdb, f.filter,
               k.coefficient, s.flux / k.coefficient AS normalised_flux
        FROM star_flux_in_frame s JOIN frames f ON f.id = s.frame_id
        JOIN stars n ON n.combined_footprint_hash = s.combined_footprint_hash AND n.gaia_id = s.star_gaia_id
        JOIN task_recipes r ON r.task = 'star_photometry' AND r.recipe = s.recipe
        JOIN combined_footprint c ON c.hash = s.combined_footprint_hash AND c.is_current = 1
        LEFT JOIN normalization_coefficients k
          ON k.combined_footprint_hash = s.combined_footprint_hash AND k.frame_id = s.frame_id
          AND k.recipe = (SELECT recipe FROM task_recipes WHERE task = 'calculate_normalization_coefficient')""",
    "frame_quality": """
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
          AND z.recipe = (SELECT recipe FROM task_recipes WHERE task = 'calculate_absolute_zeropoints')""",
    "light_curves": """
        SELECT x.roi, x.point_source, x.filter, x.frame_id, f.mjd_mid AS mjd, f.bjd_tdb,
               x.flux, x.flux_uncertainty,
               x.mag, x.mag_uncertainty_up, x.mag_uncertainty_down, x.mag_limit,
               x.zeropoint, f.seeing_arcseconds, f.airmass, f.sky_level_electron_per_second,
               x.reduced_chi2, x.flags
        FROM roi_flux x JOIN frames f ON f.id = x.frame_id
        JOIN task_recipes r ON r.task = 'model_calibrated_cutouts' AND r.recipe = x.recipe
        JOIN combined_footprint c ON c.hash = x.combined_footprint_hash AND c.is_current = 1
        WHERE f.eliminated = 0 AND x.flux IS NOT NULL""",
}
