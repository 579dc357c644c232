"""The configuration: frozen sections in the order of the night, and nothing unknown.

The model below is the only place where a default value stands. Its field descriptions make the commented
template (`lightwatch init`), the JSON Schema (`lightwatch config schema`) and docs/configuration.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

Degrees = Annotated[float, Field(ge=-360.0, le=360.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
Interval = tuple[float, float]


def _ordered(interval: Interval) -> Interval:
    if interval[0] >= interval[1]:
        raise ValueError(f"the lower end {interval[0]:g} must be below the upper end {interval[1]:g}")
    return interval


def _sky_position(position: tuple[float, float]) -> tuple[float, float]:
    ra, dec = position
    if not (0.0 <= ra < 360.0 and -90.0 <= dec <= 90.0):
        raise ValueError("expected [ra, dec] in degrees, 0 <= ra < 360 and -90 <= dec <= 90")
    return position


def _as_text(star: Any) -> Any:
    """An id may be written without quotes."""
    return str(star) if isinstance(star, int) and not isinstance(star, bool) else star


def _star_id(star: str) -> str:
    if not star.removeprefix("-").isdecimal():
        raise ValueError("expected the id of a star in the catalogue, a whole number")
    return star


OrderedInterval = Annotated[Interval, AfterValidator(_ordered)]
SkyPosition = Annotated[tuple[float, float], AfterValidator(_sky_position)]
Band = Literal["G", "BP", "RP", "g_sdss", "r_sdss", "i_sdss", "z_sdss", "B", "V", "R", "Ic", "B_T", "V_T"]
StarName = Annotated[str, BeforeValidator(_as_text)]
StarId = Annotated[str, BeforeValidator(_as_text), AfterValidator(_star_id)]
StarNames = list[StarName] | None


class Section(BaseModel):
    """Base of all sections: frozen, strict about names and numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Telescope(Section):
    """Where the frames were taken; the header parser may give it per frame."""

    name: str | None = Field(None, description="Name stored with every frame.")
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = Field(
        None, description="Degrees, north positive."
    )
    longitude: Degrees | None = Field(None, description="Degrees, east positive.")
    elevation: float = Field(0.0, description="Metres above sea level.")


class Roi(Section):
    """A region of interest: the target."""

    coordinates: SkyPosition = Field(description="[ra, dec] of its centre, degrees ICRS.")
    point_sources: dict[str, SkyPosition] | None = Field(
        None,
        description="Label: [ra, dec] of each point source; default: one at the coordinates, labelled as the ROI.",
    )


class Discovery(Section):
    """Which files are looked at."""

    recursive: bool = Field(True, description="Look into the subdirectories of raw_dirs.")
    min_file_age_seconds: NonNegative = Field(
        60.0, description="Younger files must keep their size for a second, else they wait for the next run."
    )
    max_frame_gigabytes: Positive = Field(
        4.0, description="Larger frames are refused before memory is taken."
    )


class Importation(Section):
    """From a raw file to a frame in electron/s."""

    hdu_data: int | str | None = Field(None, description="HDU of the image, number or name; null: found.")
    hdu_headers: list[int] | None = Field(
        None, description="HDUs whose headers are merged; null: primary, image."
    )
    hdu_bad_pixels: int | str | None = Field(
        None, description="HDU of a bad pixel map (non-zero = bad), or null."
    )
    trim_vertical_px: Annotated[int, Field(ge=0)] = Field(0, description="Rows cut off at bottom and top.")
    trim_horizontal_px: Annotated[int, Field(ge=0)] = Field(0, description="Columns cut off left and right.")
    time_reference: Literal["start", "mid", "end"] = Field(
        "start", description="What the header parser's mjd is: start, mid or end of the exposure."
    )


class BackgroundSettings(Section):
    """Sky background."""

    subtract: bool = Field(True, description="Subtract the background (its rms is measured in any case).")
    method: Literal["mesh", "masked_mesh"] = Field(
        "masked_mesh", description="sep mesh, or the same in two passes with the sources masked."
    )
    box_size_px: Annotated[int, Field(ge=8)] = Field(128, description="Side of a mesh box, pixels.")


class SourceExtraction(Section):
    """Detection of sources on each frame."""

    threshold_sigma: Positive = Field(5.0, description="Threshold in units of the background rms.")
    min_area_px: Count = Field(5, description="Connected pixels above the threshold that make a source.")
    deblend_levels: Count = Field(32, description="Levels of deblending.")
    deblend_contrast: Annotated[float, Field(gt=0, le=1)] = Field(
        0.005, description="Minimum flux of a part."
    )


class PlateSolving(Section):
    """The WCS of each frame."""

    already_plate_solved: bool | Literal["auto"] = Field(
        "auto",
        description="auto: a header WCS that the stars confirm is refined, else solved; true: believed.",
    )
    catalog: str | None = Field(
        None, description="Reference stars for astrometry, as reference_stars.catalog; null: the same."
    )
    pixel_scale_arcsec: Positive | OrderedInterval | None = Field(
        None, description="Arcsec per pixel, or [low, high]; null: from the header parser."
    )
    scale_tolerance: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Fraction a single scale may be off."
    )
    search_radius_arcmin: Positive = Field(30.0, description="How far the pointing may be off.")
    use_solve_field: bool = Field(True, description="Try astrometry.net's solve-field when it is installed.")
    min_matches: Annotated[int, Field(ge=4)] = Field(6, description="Fewer matched stars are no solution.")
    max_rms_px: Positive = Field(1.0, description="A solution with a larger scatter is rejected.")
    max_pixel_anisotropy: Positive = Field(
        0.02, description="A solution with less square pixels is rejected."
    )
    max_sip_order: Annotated[int, Field(ge=1, le=4)] = Field(
        3, description="Highest order of distortion tried."
    )


class ReferenceStars(Section):
    """The stars that carry PSF, normalization and zero point."""

    catalog: str = Field(
        "gaia", description="gaia (TAP), vizier, frames (made from the frames), or the path of a table."
    )
    strategy: Literal["ROI_disk", "common_footprint_stars", "stars_per_frame"] = Field(
        "ROI_disk",
        description="Stars within a disk around each ROI, in the area common to all frames, or per frame.",
    )
    roi_disk_radius_arcsec: Positive | None = Field(
        None, description="Radius of ROI_disk; null: the frame's extent."
    )
    min_gmag: float | None = Field(
        None, description="Brightest G magnitude; null: no cut (saturation is measured)."
    )
    max_gmag: float | None = Field(None, description="Faintest G magnitude; null: no cut (S/N is measured).")
    max_astrometric_excess_noise_sig: Positive | None = Field(
        3.0, description="Larger: likely a galaxy; null: no cut."
    )
    min_phot_g_mean_flux_over_error: NonNegative | None = Field(
        100.0, description="Smaller for its magnitude: likely a variable star; null: no cut."
    )
    exclude: list[StarId] = Field(default_factory=list, description="Ids of stars never to be used.")
    roi_exclusion_arcsec: NonNegative = Field(
        3.5, description="No reference star closer to an ROI's point source."
    )
    min_number: Count = Field(3, description="Fewer stars stop the run here.")
    max_number: Count = Field(200, description="More are cut, the brightest stay.")

    @model_validator(mode="after")
    def _ordered_magnitudes(self) -> ReferenceStars:
        if self.min_gmag is not None and self.max_gmag is not None:
            _ordered((self.min_gmag, self.max_gmag))
        return self


class Cutouts(Section):
    """Small squares of pixels around stars and ROIs."""

    star_size_px: Annotated[int, Field(ge=8, le=256)] | None = Field(
        None, description="Side; null: from the seeing."
    )
    roi_size_px: Annotated[int, Field(ge=8, le=512)] | None = Field(
        None, description="Side; null: from the ROI."
    )
    mask_bad_rows_and_columns: bool = Field(True, description="Find and mask bad rows and columns.")
    clean_cosmics: bool = Field(True, description="Mask cosmic rays (L.A.Cosmic, astroscrappy).")
    cosmics_sigclip: Positive = Field(4.5, description="Laplacian significance of a cosmic ray.")
    cosmics_sigfrac: Annotated[float, Field(gt=0, le=1)] = Field(
        0.3, description="Fraction of it for neighbours."
    )
    cosmics_objlim: Positive = Field(5.0, description="Contrast against the fine structure.")


class Psf(Section):
    """PSF of each frame."""

    stars_to_use: StarNames = Field(None, description="Letters or ids; null: chosen per frame.")
    stars_to_exclude: list[StarName] = Field(default_factory=list, description="Letters or ids.")
    min_stars: Count = Field(3, description="A frame with fewer usable stars gets no PSF.")
    max_stars: Count = Field(16, description="At most so many stars make the PSF.")
    min_snr: Positive = Field(40.0, description="Fainter stars do not make the PSF.")
    reserved_fraction: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.15, description="Fraction of the stars kept out of the fit to judge it."
    )
    subsampling_factor: Annotated[int, Field(ge=1, le=8)] = Field(2, description="Of the rendered grid.")


class StarPhotometry(Section):
    """Fluxes of the reference stars."""

    position_sigma_px: Positive = Field(
        0.3, description="Prior on the catalogue position after the common shift."
    )
    local_background: bool = Field(False, description="Fit a constant under each star.")
    aperture_radius_fwhm: Positive = Field(1.2, description="Aperture radius in units of the seeing.")


class Normalization(Section):
    """Relative transparency of the frames."""

    stars_to_use: StarNames = Field(None, description="Letters or ids; null: all that serve.")
    stars_to_exclude: list[StarName] = Field(default_factory=list, description="Letters or ids.")
    min_snr: Positive = Field(20.0, description="Fainter measurements are left out.")
    min_stars: Count = Field(2, description="A frame with fewer gets no coefficient.")
    max_psf_chi2: Positive = Field(3.0, description="Frames with a worse PSF are left out.")


class ZeroPoints(Section):
    """Absolute scale."""

    band: Band = Field("G", description="G, BP, RP, g_sdss, r_sdss, i_sdss, z_sdss, B, V, R, Ic, B_T or V_T.")
    use_uncoloured_stars: bool = Field(
        True, description="Use stars without a colour, with a wider uncertainty."
    )
    colour_term: bool = Field(False, description="Fit one colour term per filter where colours exist.")
    min_stars: Count = Field(3, description="With fewer a zero point is flagged.")


class CalibratedCutouts(Section):
    """Which frames enter the light curves."""

    constraints_on_frame_columns: dict[str, OrderedInterval] = Field(
        default_factory=dict, description="Column of the table frames: [low, high]."
    )
    constraints_on_coefficient: OrderedInterval = Field(
        (0.05, 20.0), description="Range of the normalization."
    )


class RoiModel(Section):
    """Joint model of all epochs of an ROI."""

    enabled: bool = Field(True, description="Model the ROI (else stop at its calibrated cutouts).")
    background: bool | Literal["auto"] = Field(
        "auto",
        description="Extended light common to all epochs; auto: when an ROI has several point sources.",
    )
    local_background: bool = Field(True, description="A constant per epoch.")
    astrometry: Literal["free", "fixed"] | Positive = Field(
        "free", description="Of the point sources: free, fixed, or the sigma of a prior in pixels."
    )
    translation_sigma_px: Positive = Field(
        1.0,
        description="Prior on the shift of an epoch against its WCS, where the stars of the frame say less.",
    )


class LightCurves(Section):
    """How fluxes are told."""

    limit_sigma: Positive = Field(
        3.0, description="Below this S/N a magnitude is an upper limit of as many sigma."
    )
    night_gap_days: Positive = Field(0.8, description="A longer gap begins a new night.")


class Executor(Section):
    """Where the work runs; never changes a number."""

    kind: Literal["processes", "serial", "dask"] = Field(
        "processes", description="Worker processes, none, or Dask."
    )
    jobs: Count | None = Field(
        None,
        description="Worker processes, at most; null: the number of cores, at most 8. One serves 16 frames.",
    )
    dask_scheduler: str | None = Field(None, description="Address of a Dask scheduler.")
    frame_timeout_seconds: Positive = Field(300.0, description="One frame may take so long in a worker.")
    memory_limit_gigabytes: Positive = Field(1.0, description="For one batch of fits; sets the batch size.")


class DatabaseSettings(Section):
    """Where rows are kept."""

    url: SecretStr | None = Field(None, description="SQLAlchemy URL; null: database.sqlite3 in the workdir.")


class Network(Section):
    """Reference catalogues from afar."""

    timeout_seconds: Positive = Field(20.0, description="For one request.")
    budget_seconds: Positive = Field(60.0, description="For all requests of a run together.")
    offline: bool = Field(False, description="Never use the network; caches and tables only.")


class Config(Section):
    """The whole configuration of a workdir."""

    workdir: Path | None = Field(None, description="Where products go; default: the directory of this file.")
    raw_dirs: list[Path] = Field(
        description="Directories where frames land; they are never written to.", min_length=1
    )
    files_match_pattern: list[str] | str = Field(
        ["*.fits*", "*.fit", "*.fit.gz", "*.fts", "*.fts.gz", "*.fz"], description="Names of frames."
    )
    instrument: str | None = Field(
        None, description="A shipped header parser; null: header_parser/parse_header.py."
    )
    telescope: Telescope = Field(default_factory=lambda: Telescope())
    rois: dict[str, Roi] = Field(description="Regions of interest by name.", min_length=1)
    discovery: Discovery = Field(default_factory=lambda: Discovery())
    importation: Importation = Field(default_factory=lambda: Importation())
    background: BackgroundSettings = Field(default_factory=lambda: BackgroundSettings())
    source_extraction: SourceExtraction = Field(default_factory=lambda: SourceExtraction())
    plate_solving: PlateSolving = Field(default_factory=lambda: PlateSolving())
    reference_stars: ReferenceStars = Field(default_factory=lambda: ReferenceStars())
    cutouts: Cutouts = Field(default_factory=lambda: Cutouts())
    psf: Psf = Field(default_factory=lambda: Psf())
    star_photometry: StarPhotometry = Field(default_factory=lambda: StarPhotometry())
    normalization: Normalization = Field(default_factory=lambda: Normalization())
    zeropoints: ZeroPoints = Field(default_factory=lambda: ZeroPoints())
    calibrated_cutouts: CalibratedCutouts = Field(default_factory=lambda: CalibratedCutouts())
    roi_model: RoiModel = Field(default_factory=lambda: RoiModel())
    light_curves: LightCurves = Field(default_factory=lambda: LightCurves())
    executor: Executor = Field(default_factory=lambda: Executor())
    database: DatabaseSettings = Field(default_factory=lambda: DatabaseSettings())
    network: Network = Field(default_factory=lambda: Network())

    @property
    def patterns(self) -> list[str]:
        """File name patterns as a list."""
        pattern = self.files_match_pattern
        return [pattern] if isinstance(pattern, str) else list(pattern)

    def section(self, name: str) -> Any:
        """JSON-ready values of one section or key, for recipes."""
        return self.model_dump(mode="json", include={name})[name]
