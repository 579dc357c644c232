"""Every kind of file of the corpus, before the reader: the whole night among them is goal R5."""

from __future__ import annotations

import numpy as np
import pytest
from reliability.corpus import Sample, unpacked_corpus
from reliability.read_one import LIMITS

from lightwatch.errors import FrameError
from lightwatch.structure.frames import check_pixels, header_wcs, read_frame

KINDS = unpacked_corpus()
#: what the reader alone must refuse; header values are the business of the header parser's check
REFUSED = [
    k
    for k in KINDS
    if k.verdict == "quarantined" and not k.code.startswith(("bad_meta", "bad_pixels:masked"))
]
ACCEPTED = [k for k in KINDS if k.verdict == "imported"]


@pytest.fixture(scope="session")
def sample(field):
    return Sample.of(field.frames[5])


def _read(path, saturation_adu=60000.0):
    frame = read_frame(path, hdu_data=None, hdu_headers=None, hdu_bad_pixels="auto", limits=LIMITS)
    check_pixels(
        frame.image, frame.good, name=path.name, min_side_px=32, min_good_fraction=0.6, saturation_adu=saturation_adu,
        max_saturated_fraction=0.5,
    )  # fmt: skip
    return frame


def test_corpus_is_as_large_as_promised():
    assert sum(kind.verdict == "quarantined" for kind in KINDS) >= 78
    assert len(ACCEPTED) >= 20
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    "kind",
    [k for k in REFUSED if k.code != "too_large" and k.name != "dangling link"],
    ids=lambda kind: kind.name,
)
def test_refused_with_its_reason(tmp_path, sample, kind):
    with pytest.raises(FrameError) as raised:
        _read(kind.make(tmp_path, sample), np.nan if kind.code == "bad_pixels:range" else 60000.0)
    assert raised.value.reason_code == kind.code
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("kind", ACCEPTED, ids=lambda kind: ascii(kind.name))
def test_read_with_its_doubt(tmp_path, sample, kind):
    frame = _read(kind.make(tmp_path, sample))
    assert frame.image.shape == sample.image.shape
    assert frame.damaged == (kind.code == "checksum")
    assert bool(frame.notes) == (kind.code == "bad_cards")
    if kind.code == "bad_wcs":
        with pytest.raises(FrameError, match="WCS"):
            header_wcs(frame.header, name="x")
    else:
        header_wcs(frame.header, name="x")
