"""What is said of a raw file beside its content, in the configuration or in files: it reaches that frame alone."""

from __future__ import annotations

import pytest
from astropy.io import fits

from lightwatch.pipeline.night import NAMES, NIGHT
from lightwatch.pipeline.planning import plan
from lightwatch.structure.elimination_list import write_eliminations
from lightwatch.structure.wcs_files import write_wcs_file

IMPORT = NAMES[1]
END = "executor: {kind: serial}"


def names(workdir) -> list[str]:
    return [path.rpartition("/")[2] for (path,) in workdir.sql("SELECT path FROM files ORDER BY path")]


def planned(workdir) -> dict[str, int]:
    workspace = workdir.open()
    lines = plan(workspace, NIGHT)
    workspace.close()
    return {line.task: line.total for line in lines if line.total}


def columns(workdir, names: str) -> dict[int, tuple]:
    return {row[0]: row[1:] for row in workdir.sql(f"SELECT id, {names} FROM frames ORDER BY id")}


def test_an_override_imports_again_the_files_it_names(workdir):
    first = names(workdir)[0]
    before = columns(workdir, "gain, mjd_mid, telescope_name, recipe, sky_level_electron_per_second")
    workdir.configure(
        END,
        f"{END}\nheader_overrides: {{'{first}': {{gain: 2.5, time_offset_seconds: -60, telescope: North}}}}",
    )
    work = planned(workdir)
    assert {work[task.name] for task in NIGHT if task.scope in ("files", "frames")} == {1}
    assert workdir.done(stop=IMPORT)[IMPORT].items == 1
    now = columns(workdir, "gain, mjd_mid, telescope_name, recipe, sky_level_electron_per_second")
    (changed,) = [key for key in now if now[key] != before[key]]
    assert workdir.sql("SELECT original_image_path FROM frames WHERE id = ?", changed)[0][0].endswith(first)
    gain, mjd, telescope, _, sky = now[changed]
    assert (gain, telescope) == (2.5, "North")
    assert mjd == pytest.approx(before[changed][1] - 60 / 86400, abs=1e-9)
    assert sky / before[changed][4] == pytest.approx(2.5 / before[changed][0], rel=1e-4)
    assert IMPORT not in planned(workdir)
    workdir.configure("gain: 2.5, ", "")
    assert planned(workdir)[IMPORT] == 1


def test_an_override_without_effect_does_nothing(workdir):
    workdir.configure(END, END + "\nheader_overrides: {'*_camB_*': {gain: 2.5}}")
    assert planned(workdir) == {}


def test_a_file_refused_for_its_header_is_taken_with_an_override(workdir):
    """A camera that writes no gain: quarantined with the reason, then imported by what the configuration says."""
    (raw,) = workdir.sql("SELECT path FROM files ORDER BY path LIMIT 1")[0]
    with fits.open(raw) as hdus:
        hdus[0].header["GAIN"] = 0.0
        hdus[0].data = hdus[0].data + 1
        hdus.writeto(workdir.more / "x_camB_1.fits")
    assert workdir.done(stop=IMPORT)[IMPORT].rejected == 1
    assert workdir.sql("SELECT reason_code FROM files WHERE path LIKE '%camB%'") == [("bad_meta:gain",)]
    workdir.configure(END, END + "\nheader_overrides: {'*_camB_*': {gain: 1.4}}")
    assert planned(workdir)[IMPORT] == 1
    assert workdir.done(stop=IMPORT)[IMPORT].items == 1
    assert workdir.sql(
        "SELECT state, gain FROM files f JOIN frames g ON g.id = f.frame_id WHERE path LIKE '%camB%'"
    ) == [("imported", 1.4)]


def test_a_frame_can_be_declared_to_be_none_of_the_sky(workdir):
    first = names(workdir)[0]
    workdir.configure(END, f"{END}\nheader_overrides: {{'{first}': {{frame_type: focus}}}}")
    assert workdir.done(stop=IMPORT)[IMPORT].items == 1
    assert workdir.sql("SELECT state, reason_code FROM files ORDER BY path LIMIT 1") == [
        ("calibration", "focus")
    ]


def test_a_wcs_beside_a_file_takes_the_place_of_its_headers(workdir):
    """Frames are imported again when one comes, changes or goes; one that does not fit is told of, and not used."""
    first = names(workdir)[0]
    query = "SELECT header_wcs, reason_code FROM frames f JOIN files g ON g.frame_id = f.id WHERE path LIKE ?"
    ((own, _),) = workdir.sql(query, f"%{first}")
    moved = fits.Header.fromstring(own)
    moved["CRPIX1"] += 1.5
    target = workdir.path / "wcs" / f"{first.partition('.')[0]}.wcs"
    write_wcs_file(target, moved.tostring(sep="", endcard=False, padding=False), nx=320, ny=320)
    assert workdir.done(stop=IMPORT)[IMPORT].items == 1
    ((beside, doubt),) = workdir.sql(query, f"%{first}")
    assert fits.Header.fromstring(beside)["CRPIX1"] == moved["CRPIX1"]
    assert doubt is None
    target.write_text("no FITS")
    assert workdir.done(stop=IMPORT)[IMPORT].items == 1
    assert workdir.sql(query, f"%{first}") == [(own, "bad_wcs")]
    assert IMPORT not in planned(workdir)
    target.unlink()
    target.symlink_to("/proc/self/mem")
    assert workdir.done(stop=IMPORT)[IMPORT].items == 1
    assert workdir.sql(query, f"%{first}") == [(own, "bad_wcs")]
    assert IMPORT not in planned(workdir)
    target.unlink()
    assert planned(workdir)[IMPORT] == 1


def test_a_frame_on_the_list_is_eliminated_once_and_may_be_restored(workdir):
    """The list is for frames to come: what was decided later of a frame stays, whatever is done to it."""
    first = names(workdir)[0]
    write_eliminations(workdir.path, [(first, "known"), ("/gone/more/new.fits", "trail"), ("no.fits", "")])
    assert planned(workdir) == {}
    with fits.open(workdir.sql("SELECT path FROM files ORDER BY path")[0][0]) as hdus:
        hdus[0].data = hdus[0].data + 1
        hdus.writeto(workdir.more / "new.fits")
    done = workdir.done(stop=IMPORT)[IMPORT]
    assert done.items == 1
    assert "eliminated_frames.csv: 1 match no file (line 4: no.fits)" in done.note
    assert workdir.sql("SELECT comment FROM frames WHERE eliminated = 1") == [("trail",)]
    workdir.change("UPDATE frames SET eliminated = 0, comment = NULL")
    workdir.configure(END, f"{END}\nheader_overrides: {{'new.fits': {{gain: 2.5}}}}")
    assert workdir.done(stop=IMPORT)[IMPORT].items == 1
    assert workdir.sql("SELECT count(*) FROM frames WHERE eliminated = 1") == [(0,)]
