"""Whether the header parser of a configuration takes the frames there are: tried on a few of their headers."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightwatch.errors import HeaderError
from lightwatch.structure.header_parsing import FrameMetadata, HeaderParser, read_metadata

if TYPE_CHECKING:
    from astropy.io import fits

_SECONDS = 2.0  # for one header
_MEMORY_GIGABYTES = 4.0


@dataclass(frozen=True)
class Trial:
    """What a parser says of the headers that it takes, and why it refuses the others."""

    metadata: tuple[FrameMetadata, ...]
    refused: tuple[str, ...]


Asked = tuple[str, "fits.Header", Mapping[str, Any]]


def tried(parser: HeaderParser, asked: Sequence[Asked], *, time_reference: str = "start") -> Trial:
    """Run a parser that can be trusted on (name, header, overrides) of some frames."""
    metadata, refused = [], []
    for name, header, overrides in asked:
        try:
            metadata.append(
                read_metadata(
                    parser,
                    header,
                    name=name,
                    time_reference=time_reference,
                    overrides=overrides,
                    seconds=_SECONDS,
                )
            )
        except HeaderError as error:
            refused.append(str(error))
    return Trial(tuple(metadata), tuple(refused))


def tried_apart(parser: HeaderParser, asked: Sequence[Asked], *, time_reference: str) -> Trial:
    """The same in a process of its own, which foreign code may end, or fill, without harm."""
    from lightwatch.pipeline.executors import begin_worker

    with ProcessPoolExecutor(
        1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=begin_worker,
        initargs=(_MEMORY_GIGABYTES,),
    ) as pool:
        try:
            return pool.submit(tried, parser, asked, time_reference=time_reference).result()
        except BrokenProcessPool:
            return Trial((), (f"{parser.path}: the header parser ended its process",) * len(asked))
