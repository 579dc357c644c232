"""Which file names an override speaks of, and what holds where several do."""

from __future__ import annotations

import json

import pytest

from lightwatch.structure.config import Config
from lightwatch.structure.header_overrides import HeaderOverride, overrides_of
from lightwatch.structure.header_values import FrameMetadata, checked_metadata

CAMERA_B = {"*_camB_*": HeaderOverride(gain=1.4, filter="r")}


@pytest.mark.parametrize(
    ("pattern", "relpath", "matches"),
    [
        ("*_camB_*", "night1/x_camB_1.fits", True),
        ("*_CAMB_*", "night1/x_camb_1.FITS", True),  # as files_match_pattern, whatever the case
        ("*_camB_*", "of_camB_1/x.fits", False),  # a name, not a folder
        ("of_camB_1/*", "of_camB_1/x.fits", True),
        ("night1/*", "night2/x.fits", False),
        ("x.fits", "night1/x.fits", True),
        ("x", "x.fits", False),
    ],
)
def test_a_pattern_is_for_names_or_with_a_slash_for_paths(pattern, relpath, matches):
    assert bool(overrides_of({pattern: HeaderOverride(gain=1.4)}, relpath)) is matches


def test_of_several_patterns_the_later_one_holds_value_by_value():
    overrides = {"*": HeaderOverride(gain=1.0, filter="V"), "b*": HeaderOverride(gain=2.0)}
    assert overrides_of(overrides, "a.fits") == {"gain": 1.0, "filter": "V"}
    assert overrides_of(overrides, "b.fits") == {"gain": 2.0, "filter": "V"}
    backwards = dict(reversed(overrides.items()))
    assert overrides_of(backwards, "b.fits") == {"gain": 1.0, "filter": "V"}


def test_a_stored_configuration_says_the_same_again():
    config = Config.model_validate(
        {"raw_dirs": ["raw"], "rois": {"t": {"coordinates": (1.0, 2.0)}}, "header_overrides": CAMERA_B}
    )
    stored = json.loads(config.model_dump_json())
    assert stored["header_overrides"] == {"*_camB_*": {"gain": 1.4, "filter": "r"}}
    assert Config.model_validate(stored).header_overrides == CAMERA_B


def test_every_value_is_one_of_the_header_parsers_contract():
    """An override that no header parser could return would change nothing, silently."""
    values = {"exptime": 1.0, "gain": 1.0, "mjd": 60000.0}
    plain = checked_metadata(values, name="a", time_reference="start")
    texts = {"filter", "object", "telescope", "instrument"}
    probes = {"time_reference": "mid", "frame_type": "flat", "airmass": 2.0, "exptime": 2.0, "mjd": 6e4 + 1}
    for key in HeaderOverride.model_fields:
        if key == "time_offset_seconds":
            continue
        value = probes.get(key, "x" if key in texts else 12.0)
        said = {"ra": 12.0, "dec": 12.0} if key in ("ra", "dec") else {key: value}
        assert HeaderOverride(**said).values == said
        changed: FrameMetadata = checked_metadata({**values, key: value}, name="a", time_reference="start")
        assert changed != plain, key
