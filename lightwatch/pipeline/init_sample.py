"""Which of the user's files ``init`` looks at: headers of many, spread over folders and nights, pixels of a few."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits

from lightwatch.errors import FrameError, NoUsableData
from lightwatch.structure.config import Config, Importation
from lightwatch.structure.frames import FoundFile, ReadLimits, classify_frame, find_files
from lightwatch.structure.frames_image_header import read_image_header

LIMITS = ReadLimits(header_bytes=10_000_000, data_bytes=4_000_000_000, inflation=20.0, hdus=1000)
_HEADERS = 60
_PER_FOLDER = 3  # of every folder, before the rest is spread evenly


@dataclass(frozen=True)
class SampledHeader:
    """One file's header."""

    path: Path
    header: fits.Header
    kind: str  # science, bias, dark, flat, focus
    hdu_index: int
    bitpix: int
    shape: tuple[int, int]  # ny, nx
    alike: tuple[int, ...] = ()  # HDUs that hold images like it: other chips

    @property
    def camera(self) -> tuple[str, tuple[int, int]]:
        """What must be alike for two frames to have the same gain, as far as headers tell."""
        names = (str(self.header.get(key, "")).strip() for key in ("TELESCOP", "INSTRUME", "XBINNING"))
        return " ".join(names), self.shape


@dataclass(frozen=True)
class Sample:
    """What was looked at below a directory."""

    raw_dir: Path
    n_files: int
    science: tuple[SampledHeader, ...]
    others: tuple[SampledHeader, ...]  # calibration frames
    unreadable: tuple[str, ...]  # messages


def sample_headers(raw_dir: Path, *, config: Config | None = None, wanted: int = _HEADERS) -> Sample:
    """Headers of at most ``wanted`` frames; ``config`` says which files and HDUs, else those of its defaults.

    Raises
    ------
    NoUsableData
        When there is no file, or none that is a readable frame of the sky.
    """
    patterns = config.patterns if config else Config.model_fields["files_match_pattern"].default
    hdus = config.importation if config else Importation()
    recursive = config.discovery.recursive if config else True
    found = find_files([raw_dir], patterns, recursive=recursive, follow_links=True)
    if not found.files:
        raise NoUsableData(f"{raw_dir}: no FITS file there or below (looked for {', '.join(patterns)})")
    headers: list[SampledHeader] = []
    unreadable: list[str] = []
    for path in spread([item.path for item in found.files], wanted):
        try:
            image = read_image_header(
                path, limits=LIMITS, hdu_data=hdus.hdu_data, hdu_headers=hdus.hdu_headers
            )
        except FrameError as error:
            unreadable.append(str(error))
            continue
        header, hdu = image.header, image.hdu
        kind = classify_frame(header, file_name=path.name, declared=None).kind
        shape = (int(header["NAXIS2"]), int(header["NAXIS1"]))
        headers.append(SampledHeader(path, header, kind, hdu.index, hdu.bitpix, shape, image.alike))
    science = tuple(item for item in headers if item.kind == "science")
    if not science:
        raise NoUsableData(f"{raw_dir}: {_none_of_the_sky(found.files, headers, unreadable)}")
    others = tuple(item for item in headers if item.kind != "science")
    return Sample(raw_dir, len(found.files), science, others, tuple(unreadable))


def _none_of_the_sky(
    files: Sequence[FoundFile], headers: Sequence[SampledHeader], unreadable: Sequence[str]
) -> str:
    if headers:
        kinds = ", ".join(sorted({item.kind for item in headers}))
        return f"{len(files)} files, but no frame of the sky among those looked at (they are: {kinds})"
    return f"{len(files)} files of frames' names, none could be read ({unreadable[-1]})"


def spread(paths: Sequence[Path], wanted: int) -> list[Path]:
    """At most ``wanted`` of the files, in their order: a few of every folder, then evenly over all."""
    if len(paths) <= wanted:
        return list(paths)
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        folders[path.parent].append(path)
    firsts = [path for folder in folders.values() for path in _evenly(folder, _PER_FOLDER)]
    chosen = set(_evenly(firsts, wanted))
    rest = [path for path in paths if path not in chosen]
    chosen |= set(_evenly(rest, wanted - len(chosen)))
    return [path for path in paths if path in chosen]


def _evenly(paths: Sequence[Path], wanted: int) -> list[Path]:
    """First, last, and those between at even steps."""
    if len(paths) <= wanted:
        return list(paths)
    return [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, wanted).astype(int))] if wanted else []


def pairs_of_one_camera(
    items: Sequence[SampledHeader], wanted: int
) -> list[tuple[SampledHeader, SampledHeader]]:
    """Neighbours in the list that were taken alike, spread over the list: for photon transfer."""
    pairs = [
        (one, other)
        for one, other in pairwise(items)
        if one.camera == other.camera and _alike(one.header, other.header)
    ]
    if len(pairs) <= wanted:
        return pairs
    return [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, wanted).astype(int))]


def _alike(one: fits.Header, other: fits.Header) -> bool:
    keys = ("EXPTIME", "EXPOSURE", "FILTER", "GAIN", "BUNIT")
    return all(one.get(key) == other.get(key) for key in keys)
