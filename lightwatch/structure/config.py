"""The configuration: frozen sections in the order of the night, and nothing unknown.

The model below is the only place where a default value stands. Its field descriptions make the commented
template (`lightwatch init`), the JSON Schema (`lightwatch config schema`) and docs/configuration.md.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from lightwatch.structure.config_values import (
    Arcminutes,
    Band,
    Count,
    DatabaseUrl,
    Degrees,
    FrameColumn,
    GivenPath,
    Magnitude,
    Name,
    NonNegative,
    Number,
    OrderedInterval,
    Positive,
    Seconds,
    Section,
    SkyPosition,
    StarId,
    StarName,
    StarNames,
    Switch,
    Trim,
    Whole,
    in_order,
    no_star_twice,
    separation_deg,
)  # fmt: skip
from lightwatch.structure.files import safe_word
from lightwatch.structure.header_overrides import HeaderOverride

#: half of the largest cutout (512 px), at 28 arcsec per pixel
_FARTHEST_SOURCE_DEG = 2.0


class Telescope(Section):
    """Where the frames were taken; the header parser may give it per frame."""

    name: str | None = Field(None, description="Name stored with every frame.")
    latitude: Annotated[Number, Field(ge=-90, le=90)] | None = Field(
        None, description="Degrees, north positive."
    )
    longitude: Degrees | None = Field(None, description="Degrees, east positive.")
    elevation: Annotated[Number, Field(ge=-500, le=10000)] = Field(0.0, description="Metres above sea level.")


class Roi(Section):
    """A region of interest: the target."""

    coordinates: SkyPosition = Field(
        description="[ra, dec] of its centre, ICRS: degrees, or 02:48:48.74 +19:13:31.0; BJD is for the first ROI."
    )
    point_sources: Annotated[dict[Name, SkyPosition], Field(min_length=1)] | None = Field(
        None,
        description="Label: [ra, dec] of each point source, as coordinates; default: one there, labelled as the ROI.",
    )

    @model_validator(mode="after")
    def _sources_in_reach(self) -> Roi:
        placed: dict[tuple[float, float], str] = {}
        for label, position in (self.point_sources or {}).items():
            apart = separation_deg(self.coordinates, position)
            if apart > _FARTHEST_SOURCE_DEG:
                raise ValueError(f"point source {label} lies {apart:.2g} degrees from the ROI's coordinates")
            if position in placed:
                raise ValueError(f"point sources {placed[position]} and {label} have the same position")
            placed[position] = label
        return self


class Discovery(Section):
    """Which files are looked at."""

    recursive: Switch = Field(True, description="Look into the subdirectories of raw_dirs.")
    min_file_age_seconds: NonNegative = Field(
        60.0, description="Younger files must keep their size for a second, else they wait for the next run."
    )
    max_frame_gigabytes: Positive = Field(
        4.0, description="Larger frames are refused before memory is taken."
    )


class Importation(Section):
    """From a raw file to a frame in electron/s."""

    hdu_data: Whole | str | None = Field(None, description="HDU of the image, number or name; null: found.")
    hdu_headers: list[Annotated[Whole, Field(ge=0)]] | None = Field(
        None, description="HDUs whose headers are merged; null: primary, image."
    )
    hdu_bad_pixels: Whole | str | None = Field(
        None,
        description="HDU of a bad pixel map (non-zero = bad), number or name; auto: BPM, MASK or DQ; null: none.",
    )
    trim_vertical_px: Trim = Field(0, description="Rows cut off at bottom and top.")
    trim_horizontal_px: Trim = Field(0, description="Columns cut off left and right.")
    time_reference: Literal["start", "mid", "end"] = Field(
        "start", description="What the header parser's mjd is: start, mid or end of the exposure."
    )


class BackgroundSettings(Section):
    """Sky background."""

    subtract: Switch = Field(True, description="Subtract the background (its rms is measured in any case).")
    method: Literal["mesh", "masked_mesh"] = Field(
        "masked_mesh", description="sep mesh, or the same in two passes with the sources masked."
    )
    box_size_px: Annotated[Whole, Field(ge=8, le=10_000)] = Field(
        128, description="Side of a mesh box, pixels."
    )


class SourceExtraction(Section):
    """Detection of sources on each frame."""

    threshold_sigma: Positive = Field(5.0, description="Threshold in units of the background rms.")
    min_area_px: Count = Field(5, description="Connected pixels above the threshold that make a source.")
    deblend_levels: Count = Field(32, description="Levels of deblending.")
    deblend_contrast: Annotated[Number, Field(gt=0, le=1)] = Field(
        0.005, description="Minimum flux of a part."
    )


class PlateSolving(Section):
    """The WCS of each frame."""

    already_plate_solved: Switch | Literal["auto"] = Field(
        "auto",
        description="auto: a header WCS that the stars confirm is refined, else solved; true: believed.",
    )
    catalog: Name | None = Field(
        None, description="Reference stars for astrometry, as reference_stars.catalog; null: the same."
    )
    pixel_scale_arcsec: Positive | OrderedInterval | None = Field(
        None, description="Arcsec per pixel, or [low, high]; null: from the header parser."
    )
    scale_tolerance: Annotated[Number, Field(gt=0, lt=1)] = Field(
        0.1, description="Fraction a single scale may be off."
    )
    search_radius_arcmin: Arcminutes = Field(30.0, description="How far the pointing may be off.")
    use_solve_field: Switch = Field(
        True, description="Try astrometry.net's solve-field when it is installed."
    )
    min_matches: Annotated[Whole, Field(ge=4, le=10_000)] = Field(
        6, description="Fewer matched stars are no solution."
    )
    max_rms_px: Positive = Field(1.0, description="A solution with a larger scatter is rejected.")
    max_pixel_anisotropy: Positive = Field(
        0.02, description="A solution with less square pixels is rejected."
    )
    max_sip_order: Annotated[Whole, Field(ge=1, le=4)] = Field(
        3, description="Highest order of distortion tried."
    )


class ReferenceStars(Section):
    """The stars that carry PSF, normalization and zero point."""

    catalog: Name = Field(
        "gaia", description="gaia (TAP), vizier, frames (made from the frames), or the path of a table."
    )
    strategy: Literal["ROI_disk", "common_footprint_stars", "stars_per_frame"] = Field(
        "ROI_disk",
        description="Stars within a disk around each ROI, in the area common to all frames, or per frame.",
    )
    roi_disk_radius_arcsec: Positive | None = Field(
        None, description="Radius of ROI_disk; null: the frame's extent."
    )
    min_gmag: Magnitude | None = Field(
        None, description="Brightest G magnitude; null: no cut (saturation is measured)."
    )
    max_gmag: Magnitude | None = Field(
        None, description="Faintest G magnitude; null: no cut (S/N is measured)."
    )
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
    def _ordered_limits(self) -> ReferenceStars:
        in_order("min_gmag", self.min_gmag, "max_gmag", self.max_gmag)
        in_order("min_number", self.min_number, "max_number", self.max_number)
        return self


class Cutouts(Section):
    """Small squares of pixels around stars and ROIs."""

    star_size_px: Annotated[Whole, Field(ge=8, le=256)] | None = Field(
        None, description="Side; null: from the seeing."
    )
    roi_size_px: Annotated[Whole, Field(ge=8, le=512)] | None = Field(
        None, description="Side; null: from the ROI."
    )
    mask_bad_rows_and_columns: Switch = Field(True, description="Find and mask bad rows and columns.")
    clean_cosmics: Switch = Field(True, description="Mask cosmic rays (L.A.Cosmic, astroscrappy).")
    cosmics_sigclip: Positive = Field(4.5, description="Laplacian significance of a cosmic ray.")
    cosmics_sigfrac: Annotated[Number, Field(gt=0, le=1)] = Field(
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
    reserved_fraction: Annotated[Number, Field(ge=0, le=0.5)] = Field(
        0.15, description="Fraction of the stars kept out of the fit to judge it."
    )
    subsampling_factor: Annotated[Whole, Field(ge=1, le=8)] = Field(2, description="Of the rendered grid.")

    @model_validator(mode="after")
    def _possible_choice(self) -> Psf:
        in_order("min_stars", self.min_stars, "max_stars", self.max_stars)
        no_star_twice(self.stars_to_use, self.stars_to_exclude)
        return self


class StarPhotometry(Section):
    """Fluxes of the reference stars."""

    position_sigma_px: Positive = Field(
        0.3, description="Prior on the catalogue position after the common shift."
    )
    local_background: Switch = Field(False, description="Fit a constant under each star.")
    aperture_radius_fwhm: Positive = Field(
        1.2,
        description="Aperture radius in units of the PSF's FWHM, at least 4 px: of stars, and ROIs measured like them.",
    )


class Normalization(Section):
    """Relative transparency of the frames."""

    stars_to_use: StarNames = Field(None, description="Letters or ids; null: all that serve.")
    stars_to_exclude: list[StarName] = Field(default_factory=list, description="Letters or ids.")
    min_snr: Positive = Field(20.0, description="Fainter measurements are left out.")
    min_stars: Count = Field(2, description="A frame with fewer gets no coefficient.")
    max_psf_chi2: Positive = Field(3.0, description="Frames with a worse PSF are left out.")

    @model_validator(mode="after")
    def _possible_choice(self) -> Normalization:
        no_star_twice(self.stars_to_use, self.stars_to_exclude)
        return self


class ZeroPoints(Section):
    """Absolute scale."""

    band: Band = Field("G", description="G, BP, RP, g_sdss, r_sdss, i_sdss, z_sdss, B, V, R, Ic, B_T or V_T.")
    use_uncoloured_stars: Switch = Field(
        True, description="Use stars without a colour, with a wider uncertainty."
    )
    colour_term: Switch = Field(False, description="Fit one colour term per filter where colours exist.")
    min_stars: Count = Field(3, description="With fewer a zero point is flagged.")


class CalibratedCutouts(Section):
    """Which frames enter the light curves."""

    constraints_on_frame_columns: dict[FrameColumn, OrderedInterval] = Field(
        default_factory=dict, description="Column of the table frames: [low, high]."
    )
    constraints_on_coefficient: OrderedInterval = Field(
        (0.05, 20.0), description="Range of the normalization."
    )


class RoiModel(Section):
    """Joint model of all epochs of an ROI."""

    enabled: Switch = Field(True, description="Model the ROI (else stop at its calibrated cutouts).")
    background: Switch | Literal["auto"] = Field(
        "auto",
        description="Extended light common to all epochs; auto: when an ROI has several point sources.",
    )
    local_background: Switch = Field(True, description="A constant per epoch.")
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
    jobs: Annotated[Whole, Field(ge=1, le=1024)] | None = Field(
        None,
        description="Worker processes, at most; null: the number of cores, at most 8. One serves 16 frames.",
    )
    dask_scheduler: str | None = Field(None, description="Address of a Dask scheduler.")
    frame_timeout_seconds: Seconds = Field(300.0, description="One frame may take so long in a worker.")
    memory_limit_gigabytes: Positive = Field(1.0, description="For one batch of fits; sets the batch size.")
    worker_memory_gigabytes: Positive = Field(
        4.0,
        description="Memory of one worker process; a frame that needs more is an error, not the end of the run.",
    )


class DatabaseSettings(Section):
    """Where rows are kept."""

    url: DatabaseUrl | None = Field(
        None,
        description="SQLAlchemy URL, such as sqlite:///other.sqlite3; null: database.sqlite3 in the workdir.",
    )
    url_file: GivenPath | None = Field(
        None, description="File that holds the URL instead, readable by its owner alone (chmod 600)."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> DatabaseSettings:
        if self.url is not None and self.url_file is not None:
            raise ValueError("give url or url_file, not both")
        return self


class Network(Section):
    """Reference catalogues from afar."""

    timeout_seconds: Seconds = Field(20.0, description="For one request.")
    budget_seconds: Seconds = Field(60.0, description="For all requests of a run together.")
    offline: Switch = Field(False, description="Never use the network; caches and tables only.")


class Config(Section):
    """The whole configuration of a workdir."""

    workdir: GivenPath | None = Field(
        None, description="Where products go; default: the directory of this file."
    )
    raw_dirs: list[GivenPath] = Field(
        description="Directories where frames land; they are never written to.", min_length=1
    )
    files_match_pattern: Annotated[list[Name], Field(min_length=1)] | Name = Field(
        ["*.fits*", "*.fit", "*.fit.gz", "*.fts", "*.fts.gz", "*.fz"], description="Names of frames."
    )
    instrument: Name | None = Field(
        None, description="A shipped header parser; null: header_parser/parse_header.py."
    )
    header_overrides: dict[Name, HeaderOverride] = Field(
        default_factory=dict,
        description='Pattern of file names: values in place of the header\'s, such as {"*_camB_*": {gain: 1.4}}.',
    )
    telescope: Telescope = Field(default_factory=lambda: Telescope())
    rois: dict[Name, Roi] = Field(description="Regions of interest by name.", min_length=1)
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

    @field_validator("rois")
    @classmethod
    def _files_of_their_own(cls, rois: dict[str, Roi]) -> dict[str, Roi]:
        named: dict[str, str] = {}
        for name in rois:
            other = named.setdefault(safe_word(name).lower(), name)
            if other != name:
                raise ValueError(f"two ROIs would share their files, {other} and {name}: rename one")
        return rois

    @property
    def patterns(self) -> list[str]:
        """File name patterns as a list."""
        pattern = self.files_match_pattern
        return [pattern] if isinstance(pattern, str) else list(pattern)

    def section(self, name: str) -> Any:
        """JSON-ready values of one section or key, for recipes."""
        return self.model_dump(mode="json", include={name})[name]
