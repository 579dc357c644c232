"""Alarms, what changed, causes with frames and advice: told where they are, with their numbers."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, insert, select, update

import lightwatch
from lightwatch.report import site
from lightwatch.report.advice import advice_for, known_codes
from lightwatch.report.alarms import visit_alarms
from lightwatch.report.chosen import newest_night
from lightwatch.report.epoch_pixels import evenly
from lightwatch.report.failures import causes_of_frames
from lightwatch.report.news import changed_settings, news_of
from lightwatch.report.summary import mjd_of
from lightwatch.structure import queries, queries_overview, schema
from lightwatch.structure.database import transaction

NIGHTS, PER_NIGHT = 12, 3
ERRORS = (
    "FrameError", "HeaderError", "CatalogError", "AstrometryError", "TooFewStars", "ProcessError", "ProductError",
    "InputError",
)  # fmt: skip
#: answers to a caller in a notebook: no frame fails with them
ASKED = {"no_psf", "off_frame", "unknown_frame", "bad_spec"}


def frames(**changed: dict[int, float]) -> list[dict]:
    """Nights of three frames a day apart; ``changed``: column to night to value."""
    rng = np.random.default_rng(2)
    rows = []
    for i in range(NIGHTS * PER_NIGHT):
        night = i // PER_NIGHT
        row = {
            "id": i + 1,
            "mjd_mid": 60000.0 + night + 0.01 * (i % PER_NIGHT),
            "filter": "r",
            "eliminated": 0,
            "attempted_plate_solve": 1,
            "plate_solved": 1,
            "seeing_arcseconds": 1.0 + 0.05 * rng.normal(),
            "sky_level_electron_per_second": 2.0 + 0.1 * rng.normal(),
            "coefficient": 1.0 + 0.02 * rng.normal(),
            "psf_chi2": 1.0,
            "psf_reserved_chi2": 1.0 + 0.02 * rng.normal(),
        }
        rows.append(
            row | {column: by_night[night] for column, by_night in changed.items() if night in by_night}
        )
    return rows


def alarms(rows: list[dict], fluxes: list[dict] = [], now: float = 70000.0) -> list:  # noqa: B006
    return visit_alarms(rows, fluxes, disowned=set(), night_gap_days=0.5, now_mjd=now)


def test_a_quiet_season_raises_no_alarm():
    assert alarms(frames()) == []
    assert alarms([]) == []


@pytest.mark.parametrize(
    ("column", "value", "kind", "told"),
    [
        ("seeing_arcseconds", 2.5, "seeing", "2.50″"),
        ("sky_level_electron_per_second", 9.0, "sky", "9 e⁻/s"),
        ("coefficient", 0.4, "transparency", "3 of 3 frames in r"),
        ("psf_reserved_chi2", 2.2, "psf", "2.20"),
        ("plate_solved", 0, "astrometry", "3 of 3 frames"),
    ],
)
@pytest.mark.parametrize("night", [4, NIGHTS - 1])
def test_one_night_off(column, value, kind, told, night):
    (alarm,) = alarms(frames(**{column: {night: value}}))
    assert alarm.kind == kind
    assert told in alarm.evidence
    assert alarm.newest == (night == NIGHTS - 1)
    assert alarm.frames == [night * PER_NIGHT + k + 1 for k in range(PER_NIGHT)]


def test_eliminated_frames_raise_no_alarm():
    assert alarms(frames(seeing_arcseconds={4: 2.5}, eliminated={4: 1})) == []


def star_fluxes(rows: list[dict], jump: int | None) -> list[dict]:
    rng = np.random.default_rng(8)
    return [
        {
            "frame_id": row["id"],
            "star_gaia_id": star,
            "normalised_flux": 1000.0 * (star + 1) * (1.3 if row["id"] == jump else 1.0) + rng.normal(),
            "flux_uncertainty": 1.0,
            "coefficient": row["coefficient"],
            "flags": 0,
        }
        for row in rows
        for star in range(8)
    ]


def test_stars_that_jump_together():
    rows = frames()
    assert alarms(rows, star_fluxes(rows, None)) == []
    (alarm,) = alarms(rows, star_fluxes(rows, jump=5))
    assert (alarm.kind, alarm.frames) == ("jump", [5])
    assert "8 of 8 reference stars" in alarm.evidence
    assert "+30.0 %" in alarm.evidence


def test_gap_and_silence():
    rows = frames()
    for row in rows[PER_NIGHT * 6 :]:
        row["mjd_mid"] += 20
    (gap,) = alarms(rows)
    assert (gap.kind, gap.title) == ("gap", "Gap of nights")
    assert "21 d" in gap.evidence
    (silence,) = alarms(frames(), now=60000.0 + NIGHTS + 10)
    assert silence.title == "No new frames"
    assert silence.newest
    assert alarms(frames(), now=60000.0 + NIGHTS + 100) == []  # an archive


def test_newest_night():
    assert newest_night(frames(), 0.5) == [36, 35, 34]
    assert newest_night([], 0.5) == []


def test_epochs_are_thinned_evenly_and_keep_what_is_wanted():
    ids = list(range(100))
    kept = evenly(ids, 10, [17])
    assert len(kept) == 11
    assert {0, 17, 99} <= set(kept)
    assert kept == sorted(kept)
    assert evenly(ids, 100, []) == ids


def test_mjd_of_a_moment():
    assert mjd_of(datetime(2000, 1, 1, 12, tzinfo=UTC)) == 51544.5


def test_changed_settings():
    before = json.dumps({"psf": {"min_snr": 40, "max_stars": 16}, "raw_dirs": ["raw"], "old": None})
    after = json.dumps({"psf": {"min_snr": 20, "max_stars": 16}, "raw_dirs": ["raw", "more"]})
    told = [(one.key, one.before, one.after) for one in changed_settings(before, after)]
    assert told == [
        ("old", "null", ""),
        ("psf.min_snr", "40", "20"),
        ("raw_dirs", '["raw"]', '["raw", "more"]'),
    ]


@pytest.fixture
def second_run(make_workdir, tmp_path):
    """A workdir whose second run added two frames, measured PSFs of all again, and failed on one."""
    workspace = make_workdir(tmp_path / "work", n_frames=6)
    r = schema.task_results
    run = {
        "id": 2, "started": "2026-01-02T00:00:00Z", "ended": "2026-01-02T00:01:00Z", "host": "h", "pid": 1,
        "version": "0.2.0", "config_hash": "1", "config": '{"psf": {"min_snr": 20}}', "exit_code": 10, "summary": "s",
    }  # fmt: skip
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.runs).values(config='{"psf": {"min_snr": 40}}'))
        connection.execute(insert(schema.runs), [run])
        connection.execute(
            update(r)
            .where(r.c.task == "read_convert_skysub_character_catalog", r.c.frame_id > 4)
            .values(run_id=2)
        )
        connection.execute(update(r).where(r.c.task == "psf_modeling").values(run_id=2))
    return workspace


def test_what_the_last_run_brought(second_run):
    news = news_of(second_run)
    assert (news.idle, news.n_new, news.new) == (False, 2, ["5.fits", "4.fits"])
    work = {one.task: (one.new, one.again, one.rejected, one.failed) for one in news.work}
    assert work == {"read_convert_skysub_character_catalog": (2, 0, 0, 0), "psf_modeling": (2, 3, 1, 0)}
    assert [(one.key, one.before, one.after) for one in news.settings] == [("psf.min_snr", "40", "20")]
    assert news.versions == ("0.1.0", "0.2.0")
    text = site.render(second_run)
    assert "psf.min_snr" in text
    assert "<b>2 new frames</b>" in text
    assert "imported again" not in text


def test_frames_whose_import_was_done_again_are_not_new(second_run):
    r = schema.task_results
    imports = r.c.task == "read_convert_skysub_character_catalog"
    with transaction(second_run.engine) as connection:
        connection.execute(update(r).where(imports, r.c.frame_id == 5).values(attempts=2))
    news = news_of(second_run)
    assert (news.n_new, news.new, news.n_again) == (1, ["5.fits"], 1)
    work = {one.task: (one.new, one.again, one.rejected, one.failed) for one in news.work}
    assert work == {"read_convert_skysub_character_catalog": (1, 1, 0, 0), "psf_modeling": (1, 4, 1, 0)}
    text = site.render(second_run)
    assert "<b>1 new frame</b>" in text
    assert "<b>1 frame imported again</b>" in text


def test_a_run_without_work_is_told_of(second_run):
    with transaction(second_run.engine) as connection:
        idle = {
            "id": 3,
            "started": "2026-01-03T00:00:00Z",
            "version": "1",
            "config_hash": "1",
            "config": "{}",
        }
        connection.execute(insert(schema.runs), [idle])
    assert news_of(second_run).idle
    assert "The last run found nothing to do" in site.render(second_run)


def test_settings_are_compared_with_the_last_run_that_finished(second_run):
    runs, r = schema.runs, schema.task_results
    with transaction(second_run.engine) as connection:
        connection.execute(
            update(runs).where(runs.c.id == 2).values(exit_code=130)
        )  # with min_snr 20, interrupted
        third = {"id": 3, "started": "2026-01-03T00:00:00Z", "version": "0.2.0", "config_hash": "1"}
        connection.execute(insert(runs), [third | {"config": '{"psf": {"min_snr": 20}}'}])
        connection.execute(update(r).where(r.c.run_id == 2).values(run_id=3))
    news = news_of(second_run)
    assert news.run["id"] == 3
    assert [(one.key, one.before, one.after) for one in news.settings] == [("psf.min_snr", "40", "20")]
    assert news.compared == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("exit_code", "told"),
    [
        (0, "ended well"),
        (10, "ended, some frames or files set aside"),
        (130, "interrupted"),
        (143, "interrupted"),
    ],
)
def test_how_a_run_ended_is_told_in_words(second_run, exit_code, told):
    with transaction(second_run.engine) as connection:
        connection.execute(update(schema.runs).values(exit_code=exit_code))
    text = site.render(second_run)
    assert f": {told}." in text
    assert "exit code" not in text


def test_nothing_to_compare_with_and_frames_without_result_are_no_good_news(second_run):
    card = site.render(second_run).split('id="news"')[1].split("</section>")[0]
    assert "nothing to compare with" in card
    assert "1 frame has no result" in card
    assert "✓" not in card
    (lost,) = (one.rejected_in for one in news_of(second_run).work if one.rejected)
    assert lost in ("1 in r", "1 in i")
    assert f'class="n odd">{lost}<' in card  # rejected is rejected here, too
    assert ">Rejected</th>" in card
    assert ">Failed</th>" not in card


def test_a_filter_without_light_curve_says_why(second_run):
    with transaction(second_run.engine) as connection:
        connection.execute(delete(schema.roi_flux).where(schema.roi_flux.c.filter == "i"))
        changed = {"state": "rejected", "reason_code": "too_few_psf_stars"}
        r = schema.task_results
        of_filter = select(schema.frames.c.id).where(schema.frames.c.filter == "i")
        connection.execute(
            update(r).where(r.c.task == "psf_modeling", r.c.frame_id.in_(of_filter)).values(changed)
        )
    text = site.render(second_run)
    assert "2 frames and no light curve: 2 rejected by psf_modeling (too_few_psf_stars)." in text
    assert "no light curve: " not in text.replace("2 frames and no light curve: ", "")


def test_causes_name_their_frames_and_what_to_do(second_run):
    rejections = queries.rows(second_run.reader, queries_overview.rejections("f" * 64))
    (cause,) = causes_of_frames(second_run, "f" * 64, rejections, run_id=2)
    assert (cause.task, cause.code, cause.n, cause.n_new) == ("psf_modeling", "too_few_stars", 1, 1)
    assert cause.frames == [(1, "0.fits")]


def test_every_reason_code_has_its_advice():
    codes: set[str] = set()
    for path in Path(lightwatch.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                codes |= _codes(node)
    assert len(codes) > 40
    general = {code.partition(":")[0] for code in codes}
    assert general - known_codes() - ASKED == set()


def _codes(call: ast.Call) -> set[str]:
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    given = [call.args[0]] if name in ERRORS and call.args else []
    given += [keyword.value for keyword in call.keywords if keyword.arg == "reason_code"]
    return {node.value for node in given if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_advice_of_an_unknown_code():
    assert "lightwatch why" in advice_for("never heard of")
    assert advice_for("bad_meta:mjd") == advice_for("bad_meta")
