"""The tables, with units in the comments, and the views for users' SQL.

Names of tables and columns that other people's queries rely on are a contract (docs/sql.md).
Every output row carries the ``recipe`` that made it and ``flags`` (lightwatch.flags.Flag).
Unknown is NULL; no number column accepts an infinity.
"""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

Number: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")
Big: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")

#: states of an item: done; rejected for a reason that is known; error: tried again
ITEM_STATES = ("done", "rejected", "error")
FILE_STATES = ("imported", "calibration", "duplicate", "quarantined", "deferred", "superseded", "missing")


def _number(name: str, comment: str, *, required: bool = False) -> tuple[Column[float], CheckConstraint]:
    """A column of numbers and the check that keeps infinities (and so overflows) out."""
    check = CheckConstraint(f"{name} IS NULL OR abs({name}) < 1e300", name=f"finite_{name}")
    return Column(name, Number, nullable=not required, comment=comment), check


def _boolean(name: str, comment: str, default: int | None = 0) -> tuple[Column[int], CheckConstraint]:
    server_default = None if default is None else str(default)
    column = Column(name, Integer, nullable=default is None, comment=comment, server_default=server_default)
    return column, CheckConstraint(f"{name} IN (0, 1)", name=f"boolean_{name}")


def _table(name: str, *parts: SchemaItem | tuple[SchemaItem, ...]) -> Table:
    flat: list[SchemaItem] = []
    for part in parts:
        flat.extend(part if isinstance(part, tuple) else (part,))
    return Table(name, metadata, *flat, sqlite_strict=True)


def _recipe() -> Column[str]:
    return Column(
        "recipe", Text, nullable=False, comment="what made this row: task, version, settings, upstream"
    )


def _flags() -> Column[int]:
    return Column(
        "flags", Integer, nullable=False, server_default="0", comment="bits of lightwatch.flags.Flag"
    )


def _frame_key(*, primary: bool = True) -> Column[int]:
    return Column(
        "frame_id", ForeignKey("frames.id", ondelete="CASCADE"), primary_key=primary, nullable=False
    )


def _footprint_key() -> Column[str]:
    return Column(
        "combined_footprint_hash",
        ForeignKey("combined_footprint.hash", ondelete="CASCADE"),
        primary_key=True,
        nullable=False,
    )


def _star_key() -> Column[int]:
    return Column("star_gaia_id", Big, primary_key=True, nullable=False, comment="source_id of the catalogue")


frames = _table(
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
    _number("mjd", "MJD (UTC) as the header parser gave it", required=True),
    _number("mjd_mid", "MJD (UTC) of mid-exposure", required=True),
    _number("bjd_tdb", "barycentric Julian date (TDB) of mid-exposure at the ROI"),
    _number("exptime", "exposure time, s", required=True),
    _number("gain", "electron/ADU", required=True),
    _number("read_noise", "electron"),
    _number("saturation_adu", "ADU"),
    _number("telescope_latitude", "deg, north positive"),
    _number("telescope_longitude", "deg, east positive"),
    _number("telescope_elevation", "m"),
    Column("telescope_name", Text),
    Column("telescope_imager_name", Text),
    Column("naxis1", Integer, nullable=False, comment="width, px"),
    Column("naxis2", Integer, nullable=False, comment="height, px"),
    _number("airmass", ""),
    _number("altitude", "deg"),
    _number("azimuth", "deg"),
    _number("sun_altitude", "deg"),
    _number("degrees_to_moon", "deg"),
    _number("moon_phase", "illuminated fraction, 0 to 1"),
    _number("seeing_pixels", "FWHM of stars, px"),
    _number("seeing_arcseconds", "FWHM of stars, arcsec"),
    _number("ellipticity", "1 - b/a of stars"),
    _number("sky_level_electron_per_second", "electron/s/px"),
    _number("background_rms_electron_per_second", "electron/s/px"),
    _number("noise_ratio", "background rms over the one expected from sky, gain and read noise"),
    Column("n_sources", Integer, comment="detected sources"),
    _number("limiting_magnitude", "5 sigma, in the band of the zero point"),
    _number("masked_fraction", "bad or saturated pixels, 0 to 1"),
    Column("header_wcs", Text, comment="WCS cards of the raw header, trimmed like the frame"),
    _number("pointing_ra", "deg, centre of the frame as the header says"),
    _number("pointing_dec", "deg"),
    _number("header_pixel_scale", "arcsec/px as the header says"),
    _boolean("attempted_plate_solve", "1 when tried"),
    _boolean("plate_solved", "1 when the WCS is trusted"),
    Column("wcs", Text, comment="WCS cards of the trusted solution"),
    Column("plate_solve_method", Text),
    _number("pixel_scale", "arcsec/px"),
    _number("angle_to_north", "deg, from +y to north, through east"),
    _number("pixel_anisotropy", "|scale_x / scale_y - 1|"),
    _number("astrometric_rms_ra_arcsec", "arcsec"),
    _number("astrometric_rms_dec_arcsec", "arcsec"),
    Column("astrometric_matches", Integer, comment="stars that hold the WCS"),
    _boolean("roi_in_footprint", "1 when an ROI lies inside of the frame", None),
    _boolean("eliminated", "1: never used; yours to write"),
    Column("comment", Text, comment="why; yours to write"),
    _recipe(),
    _flags(),
    UniqueConstraint("content_hash", "hdu_index"),
    UniqueConstraint("image_relpath"),
    Index(None, "mjd"),
    CheckConstraint("exptime > 0", name="positive_exptime"),
    CheckConstraint("gain > 0", name="positive_gain"),
)

files = _table(
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
    Index(None, "content_hash"),
    Index(None, "frame_id"),
)

footprints = _table(
    "footprints",
    _frame_key(),
    Column("polygon", Text, nullable=False, comment="JSON list of [ra, dec], degrees"),
    _recipe(),
)

plate_solve_attempts = _table(
    "plate_solve_attempts",
    _frame_key(),
    Column("attempt", Integer, primary_key=True, comment="in the order tried"),
    Column("method", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("n_matches", Integer),
    _number("rms_arcsec", "arcsec"),
    Column("message", Text),
    _recipe(),
)

combined_footprint = _table(
    "combined_footprint",
    Column("id", Integer, primary_key=True),
    Column("hash", Text, nullable=False, unique=True, comment="of what defines the region and its stars"),
    Column("strategy", Text, nullable=False),
    Column("definition", Text, nullable=False, comment="canonical JSON that was hashed"),
    Column("largest", Text, comment="JSON: union of the frames, polygons of [ra, dec]"),
    Column("common", Text, comment="JSON: area common to all frames, polygons of [ra, dec]"),
    _number("largest_area_deg2", "deg2"),
    _number("common_area_deg2", "deg2"),
    Column("catalog_relpath", Text, comment="reference catalogue as it was used"),
    Column("catalog_name", Text),
    Column("catalog_digest", Text),
    Column("selection", Text, comment="JSON: stars dropped by each cut"),
    _boolean("is_current", "1 for the one in use"),
)

stars = _table(
    "stars",
    _footprint_key(),
    Column("gaia_id", Big, primary_key=True, nullable=False, comment="source_id of the catalogue"),
    Column("name", Text, nullable=False, comment="letters: a, b, ... aa"),
    _number("ra", "deg ICRS at ref_epoch", required=True),
    _number("dec", "deg ICRS at ref_epoch", required=True),
    _number("gmag", "G magnitude"),
    _number("rmag", "Gaia RP magnitude"),
    _number("bmag", "Gaia BP magnitude"),
    _number("pmra", "mas/yr, with cos(dec)"),
    _number("pmdec", "mas/yr"),
    _number("ref_epoch", "Julian year"),
    _number("distance_to_roi_arcsec", "to the nearest ROI"),
    _recipe(),
    _flags(),
    UniqueConstraint("combined_footprint_hash", "name", name="uq_stars_name"),
)


def _star_reference() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["combined_footprint_hash", "star_gaia_id"],
        ["stars.combined_footprint_hash", "stars.gaia_id"],
        ondelete="CASCADE",
    )


stars_in_frames = _table(
    "stars_in_frames",
    _footprint_key(),
    _frame_key(),
    _star_key(),
    _number("x", "px, 0-based, proper motion applied", required=True),
    _number("y", "px", required=True),
    _recipe(),
    _star_reference(),
    Index("ix_stars_in_frames_frame", "frame_id"),
)

catalog_star_photometry = _table(
    "catalog_star_photometry",
    Column("catalog", Text, primary_key=True, nullable=False),
    Column("band", Text, primary_key=True, nullable=False),
    _star_key(),
    _number("mag", "magnitude", required=True),
    _number("mag_err", "magnitude"),
    Column("original_catalog_id", Text),
    Column("system", Text, comment="AB or Vega"),
    _recipe(),
    _flags(),
)

regions = _table(
    "regions",
    _footprint_key(),
    _frame_key(),
    Column("relpath", Text, nullable=False, comment="HDF5 file of the cutouts, relative to the workdir"),
    Column("sha256", Text, nullable=False),
    Column("size", Big, nullable=False, comment="bytes"),
    Column("n_stars", Integer, nullable=False),
    Column("star_size_px", Integer, nullable=False),
    _number("cosmic_fraction", "pixels of the cutouts masked as cosmic rays, 0 to 1"),
    _recipe(),
    _flags(),
)

PSFs = _table(
    "PSFs",
    _footprint_key(),
    _frame_key(),
    Column("psf_ref", Text, primary_key=True, nullable=False, comment="psf_ and a digest of the stars used"),
    _number("chi2", "reduced chi2 of the stars used"),
    _number("reserved_chi2", "reduced chi2 of the stars kept out of the fit"),
    Column("n_stars", Integer, nullable=False),
    Column("n_reserved", Integer, nullable=False),
    Column("stars_used", Text, nullable=False, comment="JSON list of star ids"),
    Column("stars_rejected", Text, comment="JSON: star id to flags"),
    Column("subsampling_factor", Integer, nullable=False),
    _number("fwhm_pixels", "px, at the ROI"),
    _number("fwhm_arcseconds", "arcsec, at the ROI"),
    _number("ellipticity", "of the analytic core"),
    _number("residual_strength", "sigma of the smooth residual found by evidence"),
    _number("model_error", "fraction of the PSF that the stars disagree on beyond their noise"),
    _number("total_flux_error", "1 sigma of ln(flux) common to all fluxes measured with this PSF"),
    Column("spatial_terms", Integer, comment="1 constant, 3 linear in x and y"),
    Column("relpath", Text, nullable=False, comment="HDF5 file, relative to the workdir"),
    Column("sha256", Text, nullable=False),
    Column("size", Big, nullable=False, comment="bytes"),
    _recipe(),
    _flags(),
    UniqueConstraint("combined_footprint_hash", "frame_id", name="uq_PSFs_one_per_frame"),
)

star_flux_in_frame = _table(
    "star_flux_in_frame",
    _footprint_key(),
    _frame_key(),
    _star_key(),
    _number("flux", "electron/s, whole PSF"),
    _number("flux_uncertainty", "electron/s, 1 sigma"),
    _number("aperture_flux", "electron/s, corrected to the whole PSF"),
    _number("aperture_flux_uncertainty", "electron/s, 1 sigma"),
    _number("chi2", "reduced chi2"),
    _number("x", "px, measured"),
    _number("y", "px, measured"),
    _number("dx", "px, measured minus predicted"),
    _number("dy", "px, measured minus predicted"),
    _number("local_background", "electron/s/px"),
    _recipe(),
    _flags(),
    _star_reference(),
    CheckConstraint("flux_uncertainty IS NULL OR flux_uncertainty > 0", name="positive_uncertainty"),
    Index("ix_star_flux_in_frame_frame", "frame_id"),
    Index("ix_star_flux_in_frame_star", "star_gaia_id"),
)

normalization_coefficients = _table(
    "normalization_coefficients",
    _footprint_key(),
    _frame_key(),
    Column("filter", Text, nullable=False, comment="'' when unknown"),
    _number("coefficient", "a frame is divided by it", required=True),
    _number("coefficient_uncertainty", "1 sigma, all parts"),
    _number("psf_uncertainty", "part: total flux of the frame's PSF, in which an ROI's fluxes share"),
    _number("reduced_chi2", "of the stars of the frame"),
    Column("n_stars", Integer, nullable=False),
    Column(
        "flux_kind", Text, nullable=False, server_default="psf", comment="flux it rests on: psf or aperture"
    ),
    _recipe(),
    _flags(),
    CheckConstraint("coefficient > 0", name="positive_coefficient"),
)

normalization_stars = _table(
    "normalization_stars",
    _footprint_key(),
    Column("filter", Text, primary_key=True, nullable=False),
    _star_key(),
    _number("mean_flux", "electron/s, normalised scale"),
    _number("mean_flux_uncertainty", "electron/s"),
    _number("excess_scatter", "fractional scatter beyond the noise"),
    _number("influence", "largest fractional change of a coefficient when the star is left out"),
    _number("influence_rms", "rms fractional change of the coefficients when the star is left out"),
    Column("n_frames", Integer, nullable=False),
    _recipe(),
    _flags(),
    _star_reference(),
)

normalization_exclusions = _table(
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
    _number("residual", "fraction by which the flux is off its model"),
    _number("weight", "fraction of its weight that was kept"),
    Column("reason", Text, nullable=False, comment="one line for people"),
    _recipe(),
    _flags(),
    CheckConstraint("frame_id IS NOT NULL OR star_gaia_id IS NOT NULL", name="frame_or_star"),
    Index("ix_normalization_exclusions_group", "combined_footprint_hash", "filter"),
)

absolute_zeropoints = _table(
    "absolute_zeropoints",
    _footprint_key(),
    _frame_key(),
    Column("band", Text, primary_key=True, nullable=False),
    Column("source_catalog", Text, nullable=False),
    Column("system", Text, nullable=False, comment="AB or Vega"),
    _number("zeropoint", "magnitude of 1 electron/s in this frame", required=True),
    _number("zeropoint_uncertainty", "error of the mean, magnitude"),
    _number("zeropoint_scatter", "star to star, magnitude"),
    _number("normalised_zeropoint", "magnitude of 1 electron/s on the normalised scale of the filter"),
    _number("normalised_zeropoint_uncertainty", "magnitude"),
    Column("n_stars", Integer, nullable=False),
    _recipe(),
    _flags(),
)

rois = _table(
    "rois",
    Column("name", Text, primary_key=True),
    _number("ra", "deg ICRS", required=True),
    _number("dec", "deg ICRS", required=True),
)

point_sources = _table(
    "point_sources",
    Column("roi", ForeignKey("rois.name", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("name", Text, primary_key=True, nullable=False),
    _number("ra", "deg ICRS, as configured", required=True),
    _number("dec", "deg ICRS, as configured", required=True),
)

roi_models = _table(
    "roi_models",
    _footprint_key(),
    Column("roi", ForeignKey("rois.name", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("filter", Text, primary_key=True, nullable=False),
    Column("n_epochs", Integer, nullable=False),
    Column("cutouts_relpath", Text, comment="prepared cutouts, relative to the workdir"),
    Column("cutouts_sha256", Text),
    Column("model_relpath", Text, comment="solution of the joint model, relative to the workdir"),
    Column("model_sha256", Text),
    _number("reduced_chi2", "of all epochs"),
    Column("astrometry", Text, comment="JSON: point source to [ra, dec, sigma_ra_arcsec, sigma_dec_arcsec]"),
    Column("constant_offsets", Text, comment="JSON: point source to the 1 sigma of its constant, electron/s"),
    _recipe(),
    _flags(),
)

roi_flux = _table(
    "roi_flux",
    _footprint_key(),
    Column("roi", Text, primary_key=True, nullable=False),
    Column("point_source", Text, primary_key=True, nullable=False),
    _frame_key(),
    Column("filter", Text, nullable=False),
    _number("flux", "electron/s on the normalised scale"),
    _number("flux_uncertainty", "electron/s, 1 sigma, all parts"),
    _number("photon_uncertainty", "part: photons, sky, shifts"),
    _number("background_uncertainty", "part: common background"),
    _number("normalization_uncertainty", "part: normalization coefficient"),
    _number("reduced_chi2", "of the epoch's cutout"),
    _number("dx", "px, shift of the epoch against its WCS"),
    _number("dy", "px"),
    _number("local_background", "electron/s/px"),
    _number("zeropoint", "magnitude of 1 electron/s of the normalised scale"),
    _number("zeropoint_uncertainty", "magnitude"),
    _number("mag", "magnitude; NULL below the limit of light_curves.limit_sigma"),
    _number("mag_uncertainty_up", "towards larger magnitudes (fainter)"),
    _number("mag_uncertainty_down", "towards smaller magnitudes (brighter)"),
    _number("mag_limit", "upper limit in brightness where there is no mag"),
    _recipe(),
    _flags(),
    ForeignKeyConstraint(
        ["roi", "point_source"], ["point_sources.roi", "point_sources.name"], ondelete="CASCADE"
    ),
    CheckConstraint("flux_uncertainty IS NULL OR flux_uncertainty > 0", name="positive_uncertainty"),
    Index("ix_roi_flux_frame", "frame_id"),
)

runs = _table(
    "runs",
    Column("id", Integer, primary_key=True),
    Column("started", Text, nullable=False, comment="UTC, ISO 8601"),
    Column("ended", Text, comment="UTC; NULL: still running, or crashed"),
    Column("host", Text),
    Column("pid", Integer),
    Column("version", Text, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("config", Text, nullable=False, comment="JSON, without secrets"),
    Column("exit_code", Integer),
    Column("summary", Text),
)

task_recipes = _table(
    "task_recipes",
    Column("task", Text, primary_key=True),
    Column("position", Integer, nullable=False, comment="in the order of the night"),
    Column("upstream", Text, comment="task whose finished frames this one takes; NULL for joint tasks"),
    Column("recipe", Text, nullable=False, comment="the one in use"),
    Column("settings", Text, nullable=False, comment="JSON of what decides the task's numbers"),
)

task_results = _table(
    "task_results",
    Column("task", Text, primary_key=True, nullable=False),
    Column(
        "combined_footprint_hash",
        Text,
        primary_key=True,
        nullable=False,
        comment="'' before stars are chosen",
    ),
    _frame_key(),
    Column("state", Text, nullable=False),
    Column("reason_code", Text),
    Column("reason", Text, comment="one line for people"),
    _flags(),
    Column("attempts", Integer, nullable=False, server_default="1"),
    _number("seconds", "wall time"),
    Column("run_id", Integer),
    _recipe(),
    CheckConstraint(f"state IN {ITEM_STATES}", name="state"),
    Index("ix_task_results_frame", "frame_id"),
)

group_results = _table(
    "group_results",
    Column("task", Text, primary_key=True, nullable=False),
    Column("combined_footprint_hash", Text, primary_key=True, nullable=False),
    Column("group_key", Text, primary_key=True, nullable=False, comment="filter, or ROI and filter"),
    Column("digest", Text, nullable=False, comment="of the rows consumed"),
    Column("state", Text, nullable=False),
    Column("reason_code", Text),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default="1"),
    Column("n_items", Integer, nullable=False),
    _number("seconds", "wall time"),
    Column("run_id", Integer),
    _recipe(),
    CheckConstraint(f"state IN {ITEM_STATES}", name="state"),
)

task_errors = _table(
    "task_errors",
    Column("id", Integer, primary_key=True),
    Column("run_id", Integer),
    Column("task", Text, nullable=False),
    Column("item", Text, nullable=False, comment="file, frame or group"),
    Column("frame_id", Integer),
    Column("reason_code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", Text, comment="where in the code"),
    Column("at", Text, nullable=False, comment="UTC"),
    _recipe(),
)

VIEWS: dict[str, str] = {
    "progress": """
        WITH current_results AS (
            SELECT t.task, t.frame_id, t.state, f.roi_in_footprint AS holds_roi FROM task_results t
            JOIN task_recipes r ON r.task = t.task AND r.recipe = t.recipe
            JOIN frames f ON f.id = t.frame_id AND f.eliminated = 0
            WHERE t.combined_footprint_hash IN ('', (SELECT hash FROM combined_footprint WHERE is_current = 1))
            UNION ALL
            SELECT g.task, NULL, g.state, 1 FROM group_results g
            JOIN task_recipes r ON r.task = g.task AND r.recipe = g.recipe
            WHERE g.combined_footprint_hash IN ('', (SELECT hash FROM combined_footprint WHERE is_current = 1)))
        SELECT r.task,
               (SELECT count(*) FROM current_results c WHERE c.task = r.task AND c.state = 'done') AS done,
               (SELECT count(*) FROM current_results u WHERE u.task = r.upstream AND u.state = 'done'
                   AND (u.holds_roi = 1 OR r.task IN ('plate_solving', 'calculate_common_and_total_footprint'))
                   AND NOT EXISTS (SELECT 1 FROM current_results o
                                   WHERE o.task = r.task AND o.frame_id = u.frame_id)) AS pending,
               (SELECT count(*) FROM current_results c WHERE c.task = r.task AND c.state = 'rejected') AS rejected,
               (SELECT count(*) FROM current_results c WHERE c.task = r.task AND c.state = 'error') AS failed,
               r.position
        FROM task_recipes r ORDER BY r.position""",
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
