"""solve-field is asked with what is known, in its own units; a program of the same name stands in for it."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lightwatch.errors import AstrometryError
from lightwatch.structure import solve_field

_STANDS_IN = """#!{python}
import sys
from pathlib import Path
words = sys.argv[1:]
Path({told!r}).write_text("\\n".join(words))
{end}
"""
_SOLVES = """
from astropy.io import fits
header = fits.Header({"CTYPE1": "RA---TAN", "CRVAL1": 12.5})
fits.PrimaryHDU(header=header).writeto(Path(words[0]).with_suffix(".wcs"))
"""
X, Y, FLUX = np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 3.0]), np.array([5.0, 50.0, 500.0])


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Put a program in the place of solve-field; what it was told is in the file that comes back."""

    def put(end: str):
        told = tmp_path / "told"
        program = tmp_path / "bin" / "solve-field"
        program.parent.mkdir(exist_ok=True)
        kept = f"import shutil; shutil.copy(words[0], {str(tmp_path / 'list.fits')!r})\n"
        program.write_text(_STANDS_IN.format(python=sys.executable, told=str(told), end=kept + end))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))
        return told

    return put


def _solve(ra=1.0, scale=(0.4, 0.5)):
    return solve_field.solve(X, Y, FLUX, 100, 80, ra=ra, dec=2.0, radius=0.5, scale=scale)


def test_it_is_told_sources_brightest_first_from_pixel_one_and_all_hints(installed, tmp_path):
    told = installed(_SOLVES)
    assert solve_field.is_installed()
    assert fits.Header.fromstring(_solve())["CRVAL1"] == 12.5
    words = told.read_text().splitlines()
    given = dict(itertools.pairwise(words))
    assert [given[key] for key in ("--ra", "--dec", "--radius")] == ["1.0", "2.0", "0.5"]
    assert [given[key] for key in ("--width", "--height")] == ["100", "80"]
    assert [given[f"--scale-{key}"] for key in ("units", "low", "high")] == ["arcsecperpix", "0.4", "0.5"]
    listed = Table.read(tmp_path / "list.fits")
    assert list(listed["X"]) == [31.0, 21.0, 11.0]
    assert list(listed["FLUX"]) == [500.0, 50.0, 5.0]


def test_what_is_unknown_is_not_told(installed):
    told = installed(_SOLVES)
    _solve(ra=np.nan, scale=(np.nan, np.nan))
    assert not {"--ra", "--radius", "--scale-low"} & set(told.read_text().splitlines())


@pytest.mark.parametrize("end", ["sys.exit(1)", "pass"], ids=["fails", "writes nothing"])
def test_no_solution_is_said(installed, end):
    installed(end)
    with pytest.raises(AstrometryError) as refused:
        _solve()
    assert refused.value.reason_code == "solve_field_failed"


def test_it_is_not_installed_where_it_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not solve_field.is_installed()
    with pytest.raises(AstrometryError, match="no solution"):
        _solve()
