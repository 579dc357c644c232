"""The views for users' SQL: always of what is in use now, whatever else is kept (docs/sql.md)."""

from __future__ import annotations

VIEWS: dict[str, str] = {
    # from the counts that are kept of all results, what the few frames that are left out gave is taken away again.
    # a task is compared with its upstream frame by frame only where number, sum and sum of squares of the ids differ
    "progress": """
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
        FROM recipes r WHERE r.task <> 'initialize_database'  -- which has no items
        ORDER BY r.position""",
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
