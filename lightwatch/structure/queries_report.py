"""What report and exports ask of a workdir: light curves with their covariates, quality, stars, models."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ScalarSelect, Select, and_, case, column, func, select, table

from lightwatch.structure import schema as s
from lightwatch.structure.queries_overview import of_light_curves

_CURVES = (
    "roi",
    "point_source",
    "filter",
    "frame_id",
    "mjd",
    "bjd_tdb",
    "flux",
    "flux_uncertainty",
    "mag",
    "mag_uncertainty_up",
    "mag_uncertainty_down",
    "mag_limit",
    "zeropoint",
    "seeing_arcseconds",
    "airmass",
    "sky_level_electron_per_second",
    "reduced_chi2",
    "flags",
)
_STAR_FLUXES = (
    "frame_id",
    "star_gaia_id",
    "star",
    "gmag",
    "filter",
    "mjd_mid",
    "flux",
    "flux_uncertainty",
    "chi2",
    "coefficient",
    "normalised_flux",
    "flags",
)
_IN_APERTURES = ("aperture_flux", "aperture_flux_uncertainty")


def light_curves_with_covariates() -> Select[Any]:
    """The view light_curves (which says what is current) with error budget, shifts and normalization."""
    view = table("light_curves", *(column(name) for name in _CURVES))
    c, x, f, k, p = s.combined_footprint, s.roi_flux, s.frames, s.normalization_coefficients, s.PSFs
    in_use = c.c.hash
    return (
        select(
            view,
            f.c.exptime,
            f.c.image_relpath,
            f.c.original_image_path,
            x.c.photon_uncertainty,
            x.c.background_uncertainty,
            x.c.normalization_uncertainty,
            x.c.zeropoint_uncertainty,
            x.c.dx,
            x.c.dy,
            x.c.local_background,
            k.c.coefficient.label("normalization_coefficient"),
            k.c.coefficient_uncertainty.label("normalization_coefficient_uncertainty"),
            k.c.flux_kind,
            p.c.chi2.label("psf_chi2"),
        )
        .select_from(view)
        .join(c, c.c.is_current == 1)
        .join(f, f.c.id == view.c.frame_id)
        .join(
            x,
            and_(
                x.c.combined_footprint_hash == in_use,
                x.c.roi == view.c.roi,
                x.c.point_source == view.c.point_source,
                x.c.frame_id == view.c.frame_id,
            ),
        )
        .outerjoin(k, and_(k.c.combined_footprint_hash == in_use, k.c.frame_id == view.c.frame_id))
        .outerjoin(p, and_(p.c.combined_footprint_hash == in_use, p.c.frame_id == view.c.frame_id))
        .order_by(view.c.roi, view.c.filter, view.c.point_source, view.c.mjd, view.c.frame_id)
    )


def relative_errors() -> Select[Any]:
    """Uncertainty over flux of every point of a light curve; NULL where there is no light."""
    x = s.roi_flux
    return select(case((x.c.flux > 0, x.c.flux_uncertainty / x.c.flux))).where(of_light_curves())


def point_sources() -> Select[Any]:
    """All point sources of all ROIs, with their coordinates."""
    return select(s.point_sources)


def wcs_of_frames() -> Select[Any]:
    """Trusted WCS of the frames that have one, as FITS cards."""
    f = s.frames
    return select(f.c.id, f.c.wcs).where(f.c.plate_solved == 1, f.c.wcs.is_not(None))


def _in_use(task: str) -> ScalarSelect[str]:
    """Recipe of a task: rows that carry another one tell of settings that were given up."""
    return select(s.task_recipes.c.recipe).where(s.task_recipes.c.task == task).scalar_subquery()


def quality_of_frames(footprint_hash: str, band: str) -> Select[Any]:
    """Every frame, in order of time, with its PSF's quality, coefficient and zero point where it has them."""
    f, p, k, z = s.frames, s.PSFs, s.normalization_coefficients, s.absolute_zeropoints
    return (
        select(
            f,
            p.c.chi2.label("psf_chi2"),
            p.c.reserved_chi2.label("psf_reserved_chi2"),
            p.c.n_stars.label("psf_stars"),
            p.c.flags.label("psf_flags"),
            p.c.model_error.label("psf_model_error"),
            k.c.coefficient,
            k.c.coefficient_uncertainty,
            k.c.n_stars.label("normalization_stars"),
            z.c.zeropoint,
            z.c.zeropoint_uncertainty,
            z.c.normalised_zeropoint,
            z.c.system,
            z.c.source_catalog,
            z.c.band,
        )
        .select_from(f)
        .outerjoin(
            p,
            and_(
                p.c.frame_id == f.c.id,
                p.c.combined_footprint_hash == footprint_hash,
                p.c.recipe == _in_use("psf_modeling"),
            ),
        )
        .outerjoin(
            k,
            and_(
                k.c.frame_id == f.c.id,
                k.c.combined_footprint_hash == footprint_hash,
                k.c.recipe == _in_use("calculate_normalization_coefficient"),
            ),
        )
        .outerjoin(
            z,
            and_(
                z.c.frame_id == f.c.id,
                z.c.combined_footprint_hash == footprint_hash,
                z.c.band == band,
                z.c.recipe == _in_use("calculate_absolute_zeropoints"),
            ),
        )
        .order_by(f.c.mjd_mid, f.c.id)
    )


def star_fluxes_on_frames() -> Select[Any]:
    """The view current_star_fluxes with the fluxes that the normalization rests on, in order of star and time."""
    view = table("current_star_fluxes", *(column(name) for name in _STAR_FLUXES), *map(column, _IN_APERTURES))
    f, c, k = s.frames, s.combined_footprint, s.normalization_coefficients
    in_apertures = func.coalesce(k.c.flux_kind, "psf") == "aperture"
    flux = case((in_apertures, view.c.aperture_flux), else_=view.c.flux)
    measured = {
        "flux": flux,
        "flux_uncertainty": case(
            (in_apertures, view.c.aperture_flux_uncertainty), else_=view.c.flux_uncertainty
        ),
        "normalised_flux": flux / view.c.coefficient,
    }
    return (
        select(
            *(measured[name].label(name) if name in measured else view.c[name] for name in _STAR_FLUXES),
            f.c.exptime,
        )
        .select_from(view)
        .join(f, f.c.id == view.c.frame_id)
        .join(c, c.c.is_current == 1)
        .outerjoin(
            k,
            and_(
                k.c.combined_footprint_hash == c.c.hash,
                k.c.frame_id == view.c.frame_id,
                k.c.recipe == _in_use("calculate_normalization_coefficient"),
            ),
        )
        .order_by(view.c.star_gaia_id, view.c.mjd_mid)
    )


def fluxes_of_star(star_id: int, filter_name: str) -> Select[Any]:
    """The same of one star in one filter."""
    known = star_fluxes_on_frames().subquery()
    return (
        select(known.c.frame_id, known.c.normalised_flux, known.c.flags)
        .where(known.c.star_gaia_id == star_id, known.c.filter == filter_name)
        .order_by(known.c.frame_id)
    )


def steady_stars(filter_name: str, band: str) -> Select[Any]:
    """Reference stars that nothing speaks against in a filter, with their magnitudes of the catalogue."""
    n, m, c = s.normalization_stars, s.catalog_star_photometry, s.combined_footprint
    return (
        select(n.c.star_gaia_id, n.c.mean_flux, n.c.n_frames, m.c.original_catalog_id, m.c.mag, m.c.mag_err)
        .join(c, and_(c.c.hash == n.c.combined_footprint_hash, c.c.is_current == 1))
        .outerjoin(
            m,
            and_(
                m.c.catalog == c.c.catalog_name,
                m.c.band == band,
                m.c.star_gaia_id == n.c.star_gaia_id,
                m.c.recipe == _in_use("calculate_absolute_zeropoints"),
            ),
        )
        .where(
            n.c.filter == filter_name,
            n.c.recipe == _in_use("calculate_normalization_coefficient"),
            n.c.flags == 0,
            n.c.mean_flux > 0,
        )
        .order_by(n.c.star_gaia_id)
    )


def measured_stars(footprint_hash: str, frame_id: int) -> Select[Any]:
    """Stars of a frame with what the star photometry of today's recipe measured, nearest to an ROI first."""
    x, n = s.star_flux_in_frame, s.stars
    return (
        select(x, n.c.name, n.c.gmag)
        .join(
            n,
            and_(n.c.combined_footprint_hash == x.c.combined_footprint_hash, n.c.gaia_id == x.c.star_gaia_id),
        )
        .where(
            x.c.combined_footprint_hash == footprint_hash,
            x.c.frame_id == frame_id,
            x.c.recipe == _in_use("star_photometry"),
        )
        .order_by(n.c.distance_to_roi_arcsec, x.c.star_gaia_id)
    )


def normalization_stars_of(footprint_hash: str) -> Select[Any]:
    """Reference stars as the normalization judged them, all filters."""
    n = s.normalization_stars
    return select(n).where(n.c.combined_footprint_hash == footprint_hash)


def exclusions_of(footprint_hash: str, filter_name: str, limit: int) -> Select[Any]:
    """What the normalization of a filter trusted less or left out: stars, then frames, then the fluxes most off."""
    x, f, n = s.normalization_exclusions, s.frames, s.stars
    return (
        select(x, f.c.original_image_path, n.c.name.label("star"))
        .outerjoin(f, f.c.id == x.c.frame_id)
        .outerjoin(
            n,
            and_(n.c.combined_footprint_hash == x.c.combined_footprint_hash, n.c.gaia_id == x.c.star_gaia_id),
        )
        .where(x.c.combined_footprint_hash == footprint_hash, x.c.filter == filter_name)
        .order_by(
            x.c.frame_id.is_not(None), x.c.star_gaia_id.is_not(None), func.abs(x.c.residual).desc(), x.c.id
        )
        .limit(limit)
    )


def number_of_exclusions(footprint_hash: str) -> Select[Any]:
    """How many there are of them, by filter."""
    x = s.normalization_exclusions
    return (
        select(x.c.filter, func.count().label("n"))
        .where(x.c.combined_footprint_hash == footprint_hash)
        .group_by(x.c.filter)
    )


def roi_models_of(footprint_hash: str) -> Select[Any]:
    """Prepared cutouts and models of all ROIs and filters."""
    m = s.roi_models
    return select(m).where(m.c.combined_footprint_hash == footprint_hash).order_by(m.c.roi, m.c.filter)


def fitted_positions() -> Select[Any]:
    """Positions that the joint models of the footprint in use found, as JSON, per ROI and filter."""
    m, c = s.roi_models, s.combined_footprint
    return (
        select(m.c.roi, m.c.filter, m.c.astrometry)
        .join(c, and_(c.c.hash == m.c.combined_footprint_hash, c.c.is_current == 1))
        .where(m.c.astrometry.is_not(None))
        .order_by(m.c.roi, m.c.filter)
    )


def mean_seeing(roi: str, filter_name: str) -> Select[Any]:
    """Of the frames of an ROI's light curve in a filter; NULL where it is not known of any."""
    x, f, c = s.roi_flux, s.frames, s.combined_footprint
    of_curve = (
        select(x.c.frame_id)
        .join(c, and_(c.c.hash == x.c.combined_footprint_hash, c.c.is_current == 1))
        .where(x.c.roi == roi, x.c.filter == filter_name)
    )
    return select(func.avg(f.c.seeing_arcseconds)).where(f.c.id.in_(of_curve))


def stars_on_any_frame(footprint_hash: str) -> Select[Any]:
    """Ids of the reference stars that lie on a frame which is not eliminated."""
    x, f = s.stars_in_frames, s.frames
    return (
        select(x.c.star_gaia_id)
        .distinct()
        .join(f, f.c.id == x.c.frame_id)
        .where(x.c.combined_footprint_hash == footprint_hash, f.c.eliminated == 0)
    )


def polygons_of_frames() -> Select[Any]:
    """Footprints of the frames that are not eliminated."""
    f = s.footprints
    return (
        select(f.c.frame_id, f.c.polygon)
        .join(s.frames, s.frames.c.id == f.c.frame_id)
        .where(s.frames.c.eliminated == 0)
    )


def zeropoint_systems(footprint_hash: str, band: str) -> Select[Any]:
    """Catalogue and magnitude system behind the zero points of a band."""
    z = s.absolute_zeropoints
    return (
        select(z.c.source_catalog, z.c.system, func.count().label("n"))
        .where(z.c.combined_footprint_hash == footprint_hash, z.c.band == band)
        .group_by(z.c.source_catalog, z.c.system)
        .order_by(func.count().desc())
    )
