"""What people ask of a workdir: state of the tasks, causes of failures, the story of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Engine,
    Select,
    Table,
    and_,
    case,
    cast,
    column,
    func,
    inspect,
    literal,
    literal_column,
    or_,
    select,
    table,
    union_all,
)

from lightwatch.structure import schema as s

_FRAME_QUALITY = (
    "frame_id", "image_relpath", "filter", "mjd_mid", "bjd_tdb", "exptime", "airmass", "seeing_arcseconds",
    "ellipticity", "sky_level_electron_per_second", "background_rms_electron_per_second",
    "limiting_magnitude", "plate_solved", "astrometric_rms_ra_arcsec", "astrometric_rms_dec_arcsec",
    "roi_in_footprint", "eliminated",
    "comment", "psf_chi2", "psf_reserved_chi2", "coefficient", "coefficient_uncertainty", "zeropoint",
    "zeropoint_uncertainty", "flags",
)  # fmt: skip


def has_tables(engine: Engine) -> bool:
    """False for a database that was begun and never finished."""
    return inspect(engine).has_table("task_recipes")


def progress() -> Select[Any]:
    """Numbers of items per task; ``pending`` is NULL where only a plan can tell it."""
    names = ("task", "done", "pending", "rejected", "failed", "position")
    view = table("progress", *(column(name) for name in names))
    return select(view.c.task, *(_whole(view.c[name]).label(name) for name in names[1:5])).order_by(
        view.c.position
    )


def newest_frame() -> Select[Any]:
    """The frame taken last."""
    f = s.frames
    return (
        select(f.c.id, f.c.image_relpath, f.c.original_image_path, f.c.mjd_mid, f.c.filter)
        .order_by(f.c.mjd.desc())
        .limit(1)
    )


def paths_of_frames(pieces: Sequence[str], limit: int) -> Select[Any]:
    """Raw files that the frames were made of: the ``limit`` that have most of ``pieces``, of equal ones the newest."""
    path = s.frames.c.original_image_path
    return select(path).order_by(*_most_of(pieces, path), s.frames.c.id.desc()).limit(limit)


def paths_of_files(pieces: Sequence[str], limit: int) -> Select[Any]:
    """Raw files, frames or not: the ``limit`` whose paths have most of ``pieces``, of equal ones the last."""
    path = s.files.c.path
    return select(path).order_by(*_most_of(pieces, path), path.desc()).limit(limit)


def _most_of(pieces: Sequence[str], text: ColumnElement[str]) -> list[ColumnElement[Any]]:
    """Order by the number of pieces that a text contains, large ones first; none where there are no pieces."""
    found = [case((text.contains(piece, autoescape=True), 1), else_=0) for piece in pieces]
    return [reduce(add, found).desc()] if found else []


def frame_counts() -> Select[Any]:
    """Number of frames, of eliminated ones, and the bytes that their pixels and masks take."""
    f = s.frames
    return select(
        func.count().label("frames"),
        _whole(func.coalesce(func.sum(f.c.eliminated), 0)).label("eliminated"),
        _whole(func.coalesce(func.sum(cast(f.c.naxis1, BigInteger) * f.c.naxis2 * 5), 0)).label("bytes"),
    )


def product_bytes() -> Select[Any]:
    """Bytes of cutouts and PSFs."""
    sizes = union_all(select(s.regions.c.size), select(s.PSFs.c.size)).subquery()
    return select(_whole(func.coalesce(func.sum(sizes.c.size), 0)))


def _whole(total: ColumnElement[Any]) -> ColumnElement[Any]:
    """A sum as an integer; servers make decimal numbers of it."""
    return cast(total, BigInteger)


def failures_of_run(run_id: int) -> Select[Any]:
    """Items that a run rejected or failed on, by task and cause, with an example."""
    parts = (
        _causes(s.task_results, s.frames.c.image_relpath, run_id).outerjoin(
            s.frames, s.frames.c.id == s.task_results.c.frame_id
        ),
        _causes(s.group_results, s.group_results.c.group_key, run_id),
    )
    causes = union_all(
        *(
            part.group_by(*(part.selected_columns[name] for name in ("task", "state", "reason_code")))
            for part in parts
        )
    ).subquery()
    return (
        select(causes)
        .join(s.task_recipes, s.task_recipes.c.task == causes.c.task)
        .order_by(s.task_recipes.c.position)
    )


def _causes(results: Table, item: Any, run_id: int) -> Select[Any]:
    return (
        select(
            results.c.task,
            results.c.state,
            results.c.reason_code,
            func.count().label("n"),
            func.min(item).label("example"),
            func.min(results.c.reason).label("reason"),
        )
        .select_from(results)
        .where(results.c.run_id == run_id, results.c.state != "done")
    )


def rejections(footprint_hash: str) -> Select[Any]:
    """Rejected and failed items of current recipes by task and reason, with an example."""
    t, r = s.task_results, s.task_recipes
    return (
        select(
            t.c.task,
            t.c.state,
            t.c.reason_code,
            func.count().label("n"),
            func.min(s.frames.c.image_relpath).label("example"),
            func.min(t.c.reason).label("reason"),
        )
        .join(r, and_(r.c.task == t.c.task, r.c.recipe == t.c.recipe))
        .join(s.frames, s.frames.c.id == t.c.frame_id)
        .where(
            t.c.state != literal_column("'done'"),  # in so many words, for the index of such rows
            t.c.combined_footprint_hash.in_(["", footprint_hash]),
        )
        .group_by(t.c.task, t.c.state, t.c.reason_code, r.c.position)
        .order_by(r.c.position)
    )


def rejected_groups(footprint_hash: str) -> Select[Any]:
    """The same of groups, whose task looks at the frames of a filter together."""
    g, r = s.group_results, s.task_recipes
    causes = (g.c.task, g.c.state, g.c.reason_code)
    return (
        select(
            *causes,
            func.count().label("n"),
            func.min(g.c.group_key).label("example"),
            func.min(g.c.reason).label("reason"),
        )
        .join(r, and_(r.c.task == g.c.task, r.c.recipe == g.c.recipe))
        .where(g.c.state != "done", g.c.combined_footprint_hash == footprint_hash)
        .group_by(*causes, r.c.position)
        .order_by(r.c.position)
    )


def quarantined_files() -> Select[Any]:
    """Raw files that are no frames, and why."""
    f = s.files
    columns = (f.c.path, f.c.mtime_ns, f.c.recipe, f.c.reason_code, f.c.reason)
    return select(*columns).where(f.c.state == "quarantined").order_by(f.c.path)


def run_of_process(pid: int) -> Select[Any]:
    """The latest run of a process."""
    return select(s.runs.c.id).where(s.runs.c.pid == pid).order_by(s.runs.c.id.desc()).limit(1)


def frame_quality() -> Select[Any]:
    """The view of the same name, in order of time."""
    view = table("frame_quality", *(column(name) for name in _FRAME_QUALITY))
    return select(view).order_by(view.c.mjd_mid, view.c.frame_id)


def psf_of_frame(frame_id: int) -> Select[Any]:
    """Reduced chi2 of its PSF, of the stars that made it and of those kept out."""
    view = table("current_psfs", *(column(name) for name in ("frame_id", "chi2", "reserved_chi2", "flags")))
    return select(view).where(view.c.frame_id == frame_id)


def flagged_stars(frame_id: int, bit: int) -> Select[Any]:
    """Stars of a frame whose fluxes have one of the bits of ``bit``, the worst fit first."""
    names = ("frame_id", "star", "star_gaia_id", "chi2", "flags")
    view = table("current_star_fluxes", *(column(name) for name in names))
    flagged = cast(view.c.flags, BigInteger).op("&")(bit) != 0
    return select(view).where(view.c.frame_id == frame_id, flagged).order_by(view.c.chi2.desc(), view.c.star)


def attempts_of_frame(frame_id: int) -> Select[Any]:
    """How its plate was tried to be solved."""
    a = s.plate_solve_attempts
    return select(a).where(a.c.frame_id == frame_id).order_by(a.c.attempt)


def files_of_frame(frame_id: int) -> Select[Any]:
    """Raw files with a frame's content."""
    f = s.files
    return select(f).where(f.c.frame_id == frame_id).order_by(f.c.path)


def flags_of_points() -> Select[Any]:
    """Flags of the points of all light curves, each with its number."""
    x = s.roi_flux
    return select(x.c.flags, func.count().label("n")).where(of_light_curves()).group_by(x.c.flags)


def of_light_curves() -> ColumnElement[bool]:
    """What rows of roi_flux the view light_curves has, told without its joins, which take longer than the rows."""
    x, c, r, f = s.roi_flux, s.combined_footprint, s.task_recipes, s.frames
    return and_(
        x.c.flux.is_not(None),
        x.c.recipe == select(r.c.recipe).where(r.c.task == "model_calibrated_cutouts").scalar_subquery(),
        x.c.combined_footprint_hash == select(c.c.hash).where(c.c.is_current == 1).scalar_subquery(),
        x.c.frame_id.not_in(select(f.c.id).where(f.c.eliminated != 0)),
    )


def groups_of_frame(frame_id: int) -> Select[Any]:
    """Results of the joint tasks for the filter of a frame."""
    g, r = s.group_results, s.task_recipes
    name = select(func.coalesce(s.frames.c.filter, "")).where(s.frames.c.id == frame_id).scalar_subquery()
    return (
        select(g, r.c.position, (g.c.recipe == r.c.recipe).label("current"))
        .join(r, r.c.task == g.c.task)
        .join(
            s.combined_footprint,
            and_(
                s.combined_footprint.c.hash == g.c.combined_footprint_hash,
                s.combined_footprint.c.is_current == 1,
            ),
        )
        .where(or_(g.c.group_key == name, g.c.group_key.endswith(literal("|") + name, autoescape=False)))
        .order_by(r.c.position, g.c.group_key)
    )


def light_curve_points(frame_id: int) -> Select[Any]:
    """What a frame gave to the light curves."""
    names = (
        "roi",
        "point_source",
        "filter",
        "frame_id",
        "flux",
        "flux_uncertainty",
        "mag",
        "mag_limit",
        "reduced_chi2",
        "flags",
    )
    view = table("light_curves", *(column(name) for name in names))
    k, c, r = s.normalization_coefficients, s.combined_footprint, s.task_recipes
    kind = (
        select(k.c.flux_kind)
        .join(c, and_(c.c.hash == k.c.combined_footprint_hash, c.c.is_current == 1))
        .join(r, and_(r.c.recipe == k.c.recipe, r.c.task == "calculate_normalization_coefficient"))
        .where(k.c.frame_id == frame_id)
        .scalar_subquery()
    )
    query = select(view, kind.label("flux_kind")).where(view.c.frame_id == frame_id)
    return query.order_by(view.c.roi, view.c.point_source)
