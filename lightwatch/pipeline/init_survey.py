"""What the user's own frames tell, so that nobody has to type it."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from astropy.io import fits

from lightwatch.errors import ConfigError
from lightwatch.pipeline import init_keywords, init_place
from lightwatch.pipeline.init_dates import doubts_of_dates
from lightwatch.pipeline.init_keywords import Guess, quoted
from lightwatch.pipeline.init_local_time import with_local_time
from lightwatch.pipeline.init_parser import from_pixels, parser_text
from lightwatch.pipeline.init_pixels import Pixels, look_at_pixels, read_stars
from lightwatch.pipeline.init_sample import Sample, sample_headers
from lightwatch.pipeline.init_target import wcs_text
from lightwatch.pipeline.init_time import TimeChoice, choose_time
from lightwatch.pipeline.init_trial import Asked, Trial, tried
from lightwatch.structure.frames import shown
from lightwatch.structure.header_parsing import FrameMetadata, HeaderParser, load_header_parser

#: what tells the frames of an instrument that lightwatch ships a header parser for: keyword and pattern
_SIGNATURES: dict[str, tuple[tuple[str, str], ...]] = {
    "simulation": (("OBJECT", "SIMULATED"), ("BUNIT", "adu")),
    "lco": (("ORIGIN", "LCOGT"), ("SITEID", ".+")),
    "microobservatory": (("CREATOR", "MicroObservatory.*"), ("UT-OBS", ".+")),
    "omegacam_vst": (("INSTRUME", "OMEGACAM"),),
}
_SOLVERS = re.compile(
    r"astrometry\.net|ASTAP|PinPoint|SCAMP|PlateSolve|All Sky Plate|twirl|prose", re.IGNORECASE
)
_NIGHT_DAYS = 0.3  # frames further apart belong to different nights


@dataclass(frozen=True)
class Survey:
    """What was found."""

    sample: Sample
    instrument: str | None  # shipped parser
    parser: str  # source of a parser made for these frames
    metadata: tuple[FrameMetadata, ...]  # what the parser (shipped, or made) says of the headers that pass
    refused: tuple[str, ...]  # why it refuses the others
    missing: tuple[str, ...]  # required values that nothing tells
    doubts: tuple[str, ...]
    wcs: tuple[str, ...]  # what is known of the WCS, a line each
    plate_solved: int  # how many of the headers hold a WCS
    pixel_scale: float | tuple[float, float] | None  # arcsec
    pixel_scale_why: str
    pointing: tuple[float, float] | None
    object: str | None
    pixels: Pixels
    detector: dict[
        str, Guess
    ]  # gain, read_noise and saturation, as the parser made for these frames has them

    @property
    def scale_arcsec(self) -> float | None:
        """Arcsec per pixel, of an interval the upper end; what the parser says where nothing else does."""
        if self.pixel_scale is not None:
            return max(self.pixel_scale) if isinstance(self.pixel_scale, tuple) else self.pixel_scale
        said = [m.pixel_scale_arcsec for m in self.metadata if math.isfinite(m.pixel_scale_arcsec)]
        return statistics.median(said) if said else None

    @property
    def filters(self) -> Counter[str]:
        """Frames by filter, of those looked at."""
        return Counter(meta.filter or "unknown" for meta in self.metadata)

    @property
    def nights(self) -> tuple[float, ...]:
        """MJD (UTC) of the first frame of every night."""
        times = sorted(meta.mjd_mid for meta in self.metadata)
        return tuple(t for i, t in enumerate(times) if i == 0 or t - times[i - 1] > _NIGHT_DAYS)


def survey(raw_dir: Path, *, catalog: Path | None = None) -> Survey:
    """Read headers of many, pixels of a few frames of a directory; ``catalog``: the user's table of stars.

    Raises
    ------
    NoUsableData
        When it holds no readable frame of the sky.
    """
    sample = sample_headers(raw_dir)
    headers = [item.header for item in sample.science]
    guesses = {
        "exptime": init_keywords.exposure(headers),
        "gain": init_keywords.gain(headers),
        "filter": init_keywords.filter_of(headers),
        "read_noise": init_keywords.read_noise(headers),
        "saturation": init_keywords.saturation(headers),
        "object": init_keywords.plain(headers, ("OBJECT", "TARGNAME", "TARGET", "OBJNAME", "FIELD", "OBJ")),
        "telescope": init_keywords.plain(headers, ("TELESCOP", "TELESCOPE", "TELNAME", "OBSERVAT")),
        "instrument": init_keywords.plain(headers, ("INSTRUME", "CAMERA", "DETECTOR", "DETNAM")),
        "airmass": init_keywords.plain(
            headers, ("AIRMASS", "AMSTART", "SECZ", "ESO TEL AIRM START"), init_keywords.is_number
        ),
        "pixel_scale": init_place.nominal_scale(headers),
    }
    guesses |= _pointing_guesses(headers[0])
    exposures = guesses["exptime"].values or (math.nan,) * len(headers)
    time = with_local_time(choose_time(headers, exposures), headers, exposures)
    mjds = [_mjd(time, header) for header in headers]
    dates = doubts_of_dates(time, headers, mjds)
    site, site_doubts = init_place.site(headers, mjds)
    epoch = statistics.median([mjd for mjd in mjds if math.isfinite(mjd)] or [60000.0])
    instrument = _instrument(headers)
    pixels = look_at_pixels(
        sample,
        needs_gain=instrument is None and guesses["gain"].code is None,
        catalog=read_stars(catalog) if catalog else None,
        epoch_mjd=epoch,
    )
    doubts = (
        *time.doubts,
        *dates,
        *(doubt for guess in guesses.values() for doubt in guess.doubts),
        *site_doubts,
    )
    guesses |= from_pixels(guesses, pixels)
    text = parser_text(sample, time, guesses | site, doubts)
    trial, instrument = _tried(sample, instrument, text)
    wcs_texts = [wcs for item in sample.science if (wcs := wcs_text(item))]
    scale, why = _pixel_scale(wcs_texts, guesses["pixel_scale"], len(headers))
    return Survey(
        sample=sample, instrument=instrument, parser=text, metadata=trial.metadata, refused=trial.refused,
        missing=() if instrument else _missing(guesses, time, pixels), doubts=dates if instrument else doubts,
        wcs=_wcs_evidence(headers, wcs_texts, pixels),
        plate_solved=len(wcs_texts), pixel_scale=scale, pixel_scale_why=why,
        pointing=init_place.pointing(headers), object=_common_object(headers, guesses["object"]), pixels=pixels,
        detector={name: guesses[name] for name in ("gain", "read_noise", "saturation")},
    )  # fmt: skip


def _pointing_guesses(header: Any) -> dict[str, Guess]:
    keys = init_place.position_keys(header)
    if keys is None or keys[0] == "CRVAL1":
        return {}
    position = init_place.position_of(header)
    assert position is not None  # position_keys has tried
    right_ascension = f"degrees(header.get({quoted(keys[0])}), hours=True)"
    if init_place.in_hours(header, keys[0]):
        right_ascension = f"15 * float(header[{quoted(keys[0])}])"
    return {
        "ra": Guess(right_ascension, position[0], keys[0]),
        "dec": Guess(f"degrees(header.get({quoted(keys[1])}))", position[1], keys[1]),
    }


def _mjd(time: TimeChoice, header: Any) -> float:
    values = (source.mjd(header) for source in time.sources)
    return next((mjd for mjd in values if mjd is not None), math.nan)


def _missing(guesses: dict[str, Guess], time: TimeChoice, pixels: Pixels) -> tuple[str, ...]:
    there = {
        "exptime": guesses["exptime"].code,
        "gain": guesses["gain"].code or pixels.transfer,
        "mjd": time.sources,
    }
    return tuple(name for name, found in there.items() if not found)


# ---------------------------------------------------------------- parser
def _instrument(headers: Sequence[Any]) -> str | None:
    """The shipped parser whose signature all headers bear."""
    for name, signature in _SIGNATURES.items():
        if all(
            re.fullmatch(pattern, str(header.get(key, "")).strip())
            for header in headers
            for key, pattern in signature
        ):
            return name
    return None


def _tried(sample: Sample, instrument: str | None, text: str) -> tuple[Trial, str | None]:
    """Metadata of the headers, by the shipped parser if it takes any of them, else by the one made here."""
    own = HeaderParser(
        Path("parse_header.py"), blake2b(text.encode(), digest_size=32).hexdigest(), text.encode()
    )
    asked: list[Asked] = [(item.path.name, item.header, {}) for item in sample.science]
    if instrument:
        trial = tried(_shipped(instrument, own), asked)
        if trial.metadata:
            return trial, instrument
    return tried(own, asked), None


def _shipped(instrument: str, otherwise: HeaderParser) -> HeaderParser:
    try:
        return load_header_parser(Path(), instrument)
    except ConfigError:
        return otherwise


# ---------------------------------------------------------------- sky
def _pixel_scale(
    solved: Sequence[str], nominal: Guess, n_headers: int
) -> tuple[float | tuple[float, float] | None, str]:
    if not solved:
        return nominal.value, nominal.why
    from lightwatch.processes.astrometry_refine import pixel_scale
    from lightwatch.processes.astrometry_sky import parse_wcs

    scale = float(f"{statistics.median(pixel_scale(parse_wcs(text)) for text in solved):.4g}")
    why = f"{scale} by the WCS of the headers"
    if isinstance(nominal.value, float) and abs(nominal.value / scale - 1) > 0.1:
        why += f", although {nominal.why}"
    return scale, why


def _wcs_evidence(headers: Sequence[Any], texts: Sequence[str], pixels: Pixels) -> tuple[str, ...]:
    lines = [f"{len(texts)} of {len(headers)} headers hold a WCS"]
    if not texts:
        return (*lines, "every frame will be solved from its stars")
    failed = [header for header in headers if header.get("WCSERR") not in (None, 0, 0.0, "0")]
    if failed:
        lines.append(f"WCSERR says that {len(failed)} of them are nominal pointings, not solutions")
    solvers = {found[0] for header in headers if (found := _SOLVERS.search(_remarks(header)))}
    if solvers:
        lines.append(f"made by {', '.join(sorted(solvers))}")
    elif any(header.get("PLTSOLVD") is True for header in headers):
        lines.append("PLTSOLVD says that they are solutions")
    lines += [shown(verdict) for verdict in pixels.wcs_verdicts]
    if not pixels.wcs_verdicts:
        lines.append(
            "not checked here: no star table; auto: the stars of every frame decide whether it is right"
        )
    return tuple(lines)


def _remarks(header: Any) -> str:
    texts = [str(header[key]) for key in ("HISTORY", "COMMENT", "SWCREATE", "PLTSOLV") if key in header]
    return " ".join(texts)


def _common_object(headers: Sequence[fits.Header], guess: Guess) -> str | None:
    if guess.code is None:
        return None
    names = Counter(shown(str(header.get(guess.why.split(", ")[0], "")).strip()) for header in headers)
    name, count = names.most_common(1)[0]
    return name if name and count > 0.5 * len(headers) else None
