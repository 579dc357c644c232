"""Queries to begin with, shown beside the tables in a browser; docs/sql.md explains them, and a test executes them."""

from __future__ import annotations

#: name: (title, query)
CANNED: dict[str, tuple[str, str]] = {
    "progress_of_the_work": (
        "How far is the work?",
        "SELECT task, done, pending, rejected, failed FROM progress;",
    ),
    "points_above_suspicion": (
        "Points of light curves above suspicion, taken in good seeing",
        """SELECT point_source, mjd, mag FROM light_curves
WHERE flags = 0 AND seeing_arcseconds < 1.5 AND reduced_chi2 < 2
ORDER BY point_source, mjd;""",
    ),
    "nightly_means": (
        "Nightly means, weighted",
        """SELECT point_source, filter, CAST(mjd + 0.5 AS INTEGER) AS night, count(*) AS n,
       sum(flux / (flux_uncertainty * flux_uncertainty))
         / sum(1 / (flux_uncertainty * flux_uncertainty)) AS flux,
       1 / sqrt(sum(1 / (flux_uncertainty * flux_uncertainty))) AS flux_uncertainty
FROM light_curves
WHERE flags & 275413 = 0
GROUP BY point_source, filter, night
ORDER BY point_source, night;""",
    ),
    "frames_by_seeing": (
        "The best and the worst frames",
        """SELECT frame_id, image_relpath, seeing_arcseconds, limiting_magnitude, psf_chi2, coefficient
FROM frame_quality
WHERE eliminated = 0
ORDER BY seeing_arcseconds;""",
    ),
    "files_that_are_no_frames": (
        "Which raw files are no frames, and why",
        "SELECT path, state, reason_code, reason FROM files WHERE state <> 'imported';",
    ),
    "frames_refused_by_a_step": (
        "Which frames were refused by a step, and why",
        """SELECT f.image_relpath, t.task, t.reason_code, t.reason
FROM task_results t JOIN frames f ON f.id = t.frame_id
WHERE t.state <> 'done';""",
    ),
    "reference_stars": (
        "Which stars are used, and which are variable or odd",
        """SELECT s.name, s.gaia_id, s.gmag, s.distance_to_roi_arcsec,
       100 * n.excess_scatter AS excess_scatter_percent, n.n_frames, n.flags
FROM stars s
JOIN combined_footprint c ON c.hash = s.combined_footprint_hash AND c.is_current = 1
LEFT JOIN normalization_stars n
  ON n.combined_footprint_hash = s.combined_footprint_hash AND n.star_gaia_id = s.gaia_id
ORDER BY s.gmag;""",
    ),
    "last_runs": (
        "What ran when, and with which outcome",
        "SELECT started, ended, host, version, exit_code, summary FROM runs ORDER BY id DESC LIMIT 10;",
    ),
}
