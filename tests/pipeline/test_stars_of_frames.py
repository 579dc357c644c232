"""Reference stars made of the frames themselves: from a handful at first, anew while the frames become many more."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

FOOTPRINT, STARS = "calculate_common_and_total_footprint", "query_gaia_for_stars"


@pytest.fixture
def of_frames(empty_workdir, field):
    """A workdir with two frames whose stars carry the photometry; the table serves for the WCS alone."""
    workdir = empty_workdir([0, 1])
    config = yaml.safe_load(workdir.config.read_text())
    config["reference_stars"] = {"catalog": "frames", "min_number": 1}
    config["plate_solving"] = {"catalog": str(field.stars)}
    workdir.config.write_text(yaml.safe_dump(config))
    return workdir


def _made_of(workdir) -> list[str]:
    ((definition,),) = workdir.sql("SELECT definition FROM combined_footprint WHERE is_current = 1")
    return json.loads(definition)["catalog_frames"]


def _brightest(workdir) -> str:
    """Content of the frame of the filter with most sources that shows most of them."""
    query = (
        "SELECT content_hash FROM frames WHERE filter = (SELECT filter FROM frames GROUP BY 1 ORDER BY sum(n_sources) "
        "DESC LIMIT 1) ORDER BY n_sources DESC, content_hash LIMIT 1"
    )
    return workdir.sql(query)[0][0]


def test_stars_of_few_frames_give_way_to_those_of_many(of_frames, field):
    of_frames.run(stop=STARS)
    first = _made_of(of_frames)
    assert len(first) == 2
    ((few,),) = of_frames.sql("SELECT count(DISTINCT combined_footprint_hash) FROM stars")
    for path in field.frames[3:5]:
        shutil.copy2(path, of_frames.more)
    of_frames.run(stop=STARS)
    second = _made_of(of_frames)
    assert len(second) == 4
    assert set(first) < set(second)
    assert second[0] == _brightest(of_frames)
    ((now,),) = of_frames.sql("SELECT count(DISTINCT combined_footprint_hash) FROM stars")
    assert (few, now) == (1, 2)
    shutil.copy2(field.frames[6], of_frames.more)
    of_frames.run(stop=STARS)
    assert _made_of(of_frames) == second, "one more frame is no reason for other stars"
    of_frames.run(stop=STARS, renew_footprint=True)
    assert len(_made_of(of_frames)) == 5
    of_frames.check_database()
