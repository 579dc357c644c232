"""Every question to the database, named. What a usable frame is stands here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
)

from lightwatch.errors import ConfigError
from lightwatch.structure import schema as s

MAX_ATTEMPTS = 3
_DIGITS_OF_ID = 19  # more is no integer of a database
FRAME_ID = s.frames.c.id
Row = Mapping[str, Any]


def rows(engine: Engine, query: Select[Any]) -> list[Row]:
    """All rows of a query as mappings."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def stream(engine: Engine, query: Select[Any]) -> Iterator[Any]:
    """The rows of a query one after the other, for many of few columns."""
    with engine.connect() as connection:
        yield from connection.execute(query)


def scalar(engine: Engine, query: Select[Any]) -> Any:
    """The first value of a query, or None."""
    with engine.connect() as connection:
        return connection.execute(query).scalar()


def replace_rows(
    connection: Connection, table: Any, key: Mapping[str, Any], new_rows: Sequence[Mapping[str, Any]]
) -> None:
    """Put rows in the place of those with a key: no column of the old ones survives."""
    connection.execute(delete(table).where(*(table.c[name] == value for name, value in key.items())))
    if new_rows:
        connection.execute(insert(table), [dict(row) for row in new_rows])


# ---------------------------------------------------------------- frames
def usable_frames() -> ColumnElement[bool]:
    """A frame that may take part: of the sky, not eliminated by its owner."""
    return and_(s.frames.c.eliminated == 0, s.frames.c.frame_type == "science")


def usable_frames_with_roi() -> ColumnElement[bool]:
    """A usable frame with a trusted WCS and an ROI on it."""
    return and_(usable_frames(), s.frames.c.plate_solved == 1, s.frames.c.roi_in_footprint == 1)


def _finished(task: str, recipe: str, footprint_hash: str) -> ColumnElement[bool]:
    t = s.task_results.alias(f"finished_{task}")
    return exists(
        select(literal(1)).where(
            t.c.task == task,
            t.c.recipe == recipe,
            t.c.combined_footprint_hash == footprint_hash,
            t.c.frame_id == s.frames.c.id,
            t.c.state == "done",
        )
    )


def pending_frames(
    task: str,
    recipe: str,
    footprint_hash: str,
    *,
    upstream: tuple[str, str, str] | None,
    needs_roi: bool,
) -> Select[Any]:
    """Frames whose upstream result is current and whose own is missing, outdated, or worth another try."""
    own = s.task_results.alias("own")
    settled = exists(
        select(literal(1)).where(
            own.c.task == task,
            own.c.recipe == recipe,
            own.c.combined_footprint_hash == footprint_hash,
            own.c.frame_id == s.frames.c.id,
            or_(own.c.state != "error", own.c.attempts >= MAX_ATTEMPTS),
        )
    )
    conditions = [usable_frames_with_roi() if needs_roi else usable_frames(), ~settled]
    if upstream is not None:
        conditions.append(_waiting(task, recipe, footprint_hash, upstream))
    return select(s.frames).where(*conditions).order_by(s.frames.c.mjd_mid, s.frames.c.content_hash)


def _waiting(
    task: str, recipe: str, footprint_hash: str, upstream: tuple[str, str, str]
) -> ColumnElement[bool]:
    """Frames done upstream that have no good result here: told from one index, however many frames there are."""
    t = s.task_results

    def done(task: str, recipe: str, footprint_hash: str) -> Select[Any]:
        return select(t.c.frame_id).where(
            t.c.task == task,
            t.c.recipe == recipe,
            t.c.combined_footprint_hash == footprint_hash,
            t.c.state == "done",
        )

    return s.frames.c.id.in_(done(*upstream).except_(done(task, recipe, footprint_hash)))


def rejected_frames(task: str, recipe: str, max_attempts: int) -> Select[Any]:
    """Usable frames that a task rejected fewer than so many times."""
    t = s.task_results
    return (
        select(s.frames)
        .join(t, t.c.frame_id == s.frames.c.id)
        .where(
            usable_frames(),
            t.c.task == task,
            t.c.recipe == recipe,
            t.c.state == "rejected",
            t.c.attempts < max_attempts,
        )
        .order_by(s.frames.c.mjd_mid, s.frames.c.content_hash)
    )


def finished_frames(
    task: str, recipe: str, footprint_hash: str, *, filter_name: str | None = None
) -> Select[Any]:
    """Usable frames with an ROI and a current result of a task, in order of time; of one filter, or of all."""
    query = (
        select(s.frames)
        .where(usable_frames_with_roi(), _finished(task, recipe, footprint_hash))
        .order_by(s.frames.c.mjd_mid, s.frames.c.content_hash)
    )
    return query if filter_name is None else query.where(_of_filter(filter_name))


def frames_of_filter(name: str) -> Select[Any]:
    """Ids of all frames of a filter."""
    return select(s.frames.c.id).where(_of_filter(name))


def _of_filter(name: str) -> ColumnElement[bool]:
    return func.coalesce(s.frames.c.filter, "") == name


def frames_within(constraints: Mapping[str, tuple[float, float]]) -> ColumnElement[bool]:
    """Frames whose columns lie within [low, high].

    Raises
    ------
    ConfigError
        For a name that is no column of the table frames.
    """
    unknown = [name for name in constraints if name not in s.frames.c]
    if unknown:
        raise ConfigError(
            f"calibrated_cutouts.constraints_on_frame_columns: '{unknown[0]}' is no column of the table frames"
        )
    return and_(
        literal(1) == 1, *(s.frames.c[name].between(*interval) for name, interval in constraints.items())
    )


def frame_named(text: str) -> Select[Any]:
    """Frames by id, path or part of the name; a number that is no id may be a part of a name too."""
    f = s.frames
    by_name = or_(f.c.image_relpath == text, f.c.original_image_path.contains(text, autoescape=True))
    if not text.isdecimal():  # a number may be a part of the hash in our name
        by_name = or_(by_name, f.c.image_relpath.contains(text, autoescape=True))
    elif len(text) < _DIGITS_OF_ID and not text.startswith("0"):
        is_id = f.c.id == int(text)
        by_name = or_(is_id, and_(by_name, ~exists(select(f.c.id).where(is_id).correlate(None))))
    return select(f).where(by_name).order_by(f.c.id)


def files_named(text: str) -> Select[Any]:
    """Raw files by path or part of it."""
    return select(s.files).where(s.files.c.path.contains(text, autoescape=True)).order_by(s.files.c.path)


def all_files() -> Select[Any]:
    """Every raw file that was ever found."""
    return select(s.files)


def settled_files(recipe: str) -> Select[Any]:
    """Raw files that were dealt with under a recipe of the import, and what tells that they have not changed since.

    The recipe of a file begins with that of the task, and goes on where it depends on more.
    """
    f = s.files
    return select(f.c.path, f.c.size, f.c.mtime_ns, f.c.inode, f.c.recipe).where(
        f.c.recipe.startswith(recipe, autoescape=True), f.c.state != "deferred"
    )


def any_frame() -> Select[Any]:
    """One id, when there is a frame at all."""
    return select(s.frames.c.id).limit(1)


def any_frame_with_roi() -> Select[Any]:
    """One id, when a usable frame holds an ROI."""
    return select(s.frames.c.id).where(usable_frames_with_roi()).limit(1)


def frames_beside_rois() -> Select[Any]:
    """Number of usable frames with a trusted WCS and no ROI on them."""
    beside = and_(usable_frames(), s.frames.c.plate_solved == 1, s.frames.c.roi_in_footprint == 0)
    return select(func.count()).where(beside)


def plate_solved_frames() -> Select[Any]:
    """Usable frames with a trusted WCS."""
    return select(s.frames).where(usable_frames(), s.frames.c.plate_solved == 1)


def frames_by_content(hashes: Sequence[str]) -> Select[Any]:
    """The frames with these pixels, usable or not."""
    return select(s.frames).where(s.frames.c.content_hash.in_(hashes))


def story_of_frame(frame_id: int) -> Select[Any]:
    """Every task's result for a frame, in the order of the night, and whether it is current."""
    t, r = s.task_results, s.task_recipes
    return (
        select(t, r.c.position, (t.c.recipe == r.c.recipe).label("current"))
        .join(r, r.c.task == t.c.task)
        .where(t.c.frame_id == frame_id)
        .order_by(r.c.position, t.c.combined_footprint_hash)
    )


# ---------------------------------------------------------------- footprint and stars
def current_footprint() -> Select[Any]:
    """The combined footprint in use."""
    return select(s.combined_footprint).where(s.combined_footprint.c.is_current == 1)


def outlines_of_frames_with_roi() -> Select[Any]:
    """Footprints of the frames that hold an ROI, with what tells their extent and how many sources they show."""
    f = s.frames
    extent = (s.footprints.c.polygon, f.c.naxis1, f.c.naxis2, f.c.pixel_scale)
    return (
        select(*extent, f.c.content_hash, f.c.filter, f.c.n_sources)
        .join(f, f.c.id == s.footprints.c.frame_id)
        .where(usable_frames_with_roi())
    )


def number_of_stars(footprint_hash: str, recipe: str) -> Select[Any]:
    """How many reference stars a footprint has under a recipe."""
    return select(func.count()).where(
        s.stars.c.combined_footprint_hash == footprint_hash, s.stars.c.recipe == recipe
    )


def stars_of(footprint_hash: str) -> Select[Any]:
    """Reference stars of a footprint, nearest to the ROI first."""
    return (
        select(s.stars)
        .where(s.stars.c.combined_footprint_hash == footprint_hash)
        .order_by(s.stars.c.distance_to_roi_arcsec, s.stars.c.gaia_id)
    )


def stars_on_frames(footprint_hash: str, frame_ids: Sequence[int]) -> Select[Any]:
    """Stars on some frames, with their pixel positions."""
    f = s.stars_in_frames
    return (
        select(f, s.stars.c.name, s.stars.c.gmag)
        .join(
            s.stars,
            and_(
                s.stars.c.combined_footprint_hash == f.c.combined_footprint_hash,
                s.stars.c.gaia_id == f.c.star_gaia_id,
            ),
        )
        .where(f.c.combined_footprint_hash == footprint_hash, f.c.frame_id.in_(frame_ids))
        .order_by(f.c.frame_id, s.stars.c.distance_to_roi_arcsec, f.c.star_gaia_id)
    )


# ---------------------------------------------------------------- products
def regions_of(footprint_hash: str, frame_ids: Sequence[int]) -> Select[Any]:
    """Cutout products of frames."""
    r = s.regions
    return select(r).where(r.c.combined_footprint_hash == footprint_hash, r.c.frame_id.in_(frame_ids))


def region_links(footprint_hash: str, recipe: str) -> Select[Any]:
    """Name of every frame with cutouts, and the product that holds them."""
    r, f = s.regions, s.frames
    return (
        select(f.c.image_relpath, r.c.relpath)
        .join(f, f.c.id == r.c.frame_id)
        .where(r.c.combined_footprint_hash == footprint_hash, r.c.recipe == recipe)
    )


def psfs_of(footprint_hash: str, frame_ids: Sequence[int]) -> Select[Any]:
    """PSF products of frames."""
    p = s.PSFs
    return select(p).where(p.c.combined_footprint_hash == footprint_hash, p.c.frame_id.in_(frame_ids))


def current_psf(frame_id: int) -> Select[Any]:
    """The PSF of a frame under the present settings and footprint."""
    p, r, c = s.PSFs, s.task_recipes, s.combined_footprint
    return (
        select(p)
        .join(r, and_(r.c.task == "psf_modeling", r.c.recipe == p.c.recipe))
        .join(c, and_(c.c.hash == p.c.combined_footprint_hash, c.c.is_current == 1))
        .where(p.c.frame_id == frame_id)
    )


def star_fluxes(footprint_hash: str, recipe: str, filter_name: str) -> Select[Any]:
    """Measured fluxes of one filter, with what is known of the PSF of each frame."""
    x, f, p = s.star_flux_in_frame, s.frames, s.PSFs
    return (
        select(
            x.c.frame_id,
            x.c.star_gaia_id,
            x.c.flux,
            x.c.flux_uncertainty,
            x.c.aperture_flux,
            x.c.aperture_flux_uncertainty,
            x.c.chi2,
            x.c.flags,
            p.c.chi2.label("psf_chi2"),
            p.c.total_flux_error.label("psf_total_flux_error"),
            p.c.model_error.label("psf_model_error"),
            p.c.fwhm_pixels.label("psf_fwhm_pixels"),
            p.c.flags.label("psf_flags"),
        )
        .join(f, f.c.id == x.c.frame_id)
        .join(
            p, and_(p.c.frame_id == x.c.frame_id, p.c.combined_footprint_hash == x.c.combined_footprint_hash)
        )
        .where(
            usable_frames_with_roi(),
            x.c.combined_footprint_hash == footprint_hash,
            x.c.recipe == recipe,
            _of_filter(filter_name),
        )
    )


def star_offsets(footprint_hash: str, frame_ids: Sequence[int]) -> Select[Any]:
    """Measured positions less predicted ones of the stars of frames, with what weighs them."""
    x = s.star_flux_in_frame
    return select(x.c.frame_id, x.c.dx, x.c.dy, x.c.flux, x.c.flux_uncertainty).where(
        x.c.combined_footprint_hash == footprint_hash,
        x.c.frame_id.in_(frame_ids),
        x.c.flux.is_not(None),
        x.c.dx.is_not(None),
        x.c.dy.is_not(None),
        x.c.flags == 0,
    )


def normalization_of(footprint_hash: str, recipe: str, filter_name: str) -> Select[Any]:
    """Coefficients of one filter."""
    k = s.normalization_coefficients
    return select(k).where(
        k.c.combined_footprint_hash == footprint_hash, k.c.recipe == recipe, k.c.filter == filter_name
    )


def normalised_stars(footprint_hash: str, recipe: str, filter_name: str) -> Select[Any]:
    """Mean fluxes of the reference stars of one filter."""
    n = s.normalization_stars
    return select(n).where(
        n.c.combined_footprint_hash == footprint_hash, n.c.recipe == recipe, n.c.filter == filter_name
    )


def zeropoints_of(footprint_hash: str, recipe: str, band: str) -> Select[Any]:
    """Zero points in a band."""
    z = s.absolute_zeropoints
    return select(z).where(
        z.c.combined_footprint_hash == footprint_hash, z.c.recipe == recipe, z.c.band == band
    )


def roi_model_row(footprint_hash: str, roi: str, filter_name: str) -> Select[Any]:
    """Prepared cutouts and model of an ROI in a filter."""
    m = s.roi_models
    return select(m).where(
        m.c.combined_footprint_hash == footprint_hash, m.c.roi == roi, m.c.filter == filter_name
    )


# ---------------------------------------------------------------- results and runs
def group_result(task: str, footprint_hash: str, group_key: str) -> Select[Any]:
    """What is known of a joint task's group."""
    g = s.group_results
    return select(g).where(
        g.c.task == task, g.c.combined_footprint_hash == footprint_hash, g.c.group_key == group_key
    )


def recipes_in_use() -> Select[Any]:
    """Recipe and settings of every task as the last run left them, in the order of the night."""
    return select(s.task_recipes).order_by(s.task_recipes.c.position)


def last_run() -> Select[Any]:
    """The latest run."""
    return select(s.runs).order_by(s.runs.c.id.desc()).limit(1)


def errors_of_run(run_id: int) -> Select[Any]:
    """Unexpected failures of a run."""
    return select(s.task_errors).where(s.task_errors.c.run_id == run_id).order_by(s.task_errors.c.id)


def file_states() -> Select[Any]:
    """Number of raw files by state and reason."""
    f, one = s.files, s.files.alias("one")
    example = (
        select(one.c.path)
        .where(one.c.state == f.c.state, one.c.reason_code.is_not_distinct_from(f.c.reason_code))
        .limit(1)
        .scalar_subquery()
    )
    counted = select(f.c.state, f.c.reason_code, func.count().label("n"), example.label("example"))
    return counted.group_by(f.c.state, f.c.reason_code)
